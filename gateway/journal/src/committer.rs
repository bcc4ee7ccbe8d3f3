//! The one thread that writes groups: take what there is, write, sync, move the mark; then again. Group N+1 is written
//! only after the sync of group N returned. The first error ends the journal: nothing is ever tried twice.

use std::{sync::PoisonError, time::Instant};

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{
    Failure,
    disk::{Disk, DiskFile},
    format::{
        PAGE64,
        group::{self, Parts},
        segment,
    },
    inner::{Inner, wake},
    intake::Filled,
    ring::{Blank, count},
    sync::hold,
};

/// What only the committer needs: the buffer that it is not using.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    empty: Option<Filled>,
}

/// The committer's thread.
pub(crate) fn run<D: Disk>(inner: &Inner<D>) {
    loop {
        {
            let mut intake = hold(&inner.intake);
            while intake.is_empty() && intake.closed.is_none() {
                intake.idle = true;
                intake = inner.work.wait(intake).unwrap_or_else(PoisonError::into_inner);
            }
            intake.idle = false;
            if intake.is_empty() {
                return;
            }
        }
        match step(inner) {
            Ok(_) => {}
            Err(failure) => {
                inner.fail(&failure);
                return;
            }
        }
    }
}

/// Commits one group; `false` if there was nothing to commit.
pub(crate) fn step<D: Disk>(inner: &Inner<D>) -> Result<bool, Failure> {
    let mut committer = hold(&inner.committer);
    if inner.has_failed() {
        return Ok(false);
    }
    let Some((mut filled, waiting)) = hold(&inner.intake).take(&mut committer.empty) else { return Ok(false) };
    wake(waiting);
    if filled.fresh {
        roll(inner, filled.first)?;
    }
    write(inner, &mut filled)?;
    filled.clear();
    committer.empty = Some(filled);
    Ok(true)
}

fn write<D: Disk>(inner: &Inner<D>, filled: &mut Filled) -> Result<(), Failure> {
    let Some((file, number, end)) =
        hold(&inner.ring).segments.back().map(|s| (s.file.clone(), s.about.number, s.about.end))
    else {
        return Err(Failure { what: "find the active segment".into(), error: "there is none".into() });
    };
    let failed = |what: &str, e| Failure::new(format!("{what} {}", inner.segment_path(number).display()), &e);
    let counts = count(filled.lanes.iter().copied().zip(filled.rows.iter().map(|row| row.len())));
    let unowed = counts.first().filter(|share| share.lane == 0).map_or(0, |_| unowed(filled));
    let parts =
        Parts { flags: 0, segment: number, first: filled.first, rows: &filled.rows, lanes: &filled.lanes, lsns: None };
    group::finish(&mut filled.buf, &parts, inner.seed);
    let Some(header) = group::peek(&filled.buf, number) else {
        return Err(Failure { what: "make a group".into(), error: "it does not read back".into() });
    };
    file.write_at(&filled.buf, end).map_err(|e| failed("write", e))?;
    let begun = Instant::now();
    file.sync_data().map_err(|e| failed("sync", e))?;
    inner.counters.synced(begun.elapsed());
    // Before a lane can read and settle them.
    for share in &counts {
        inner.accounts[share.lane].enter(share.bytes);
    }
    inner.unowed.enter(unowed);
    hold(&inner.ring).publish(&header, &counts, filled.keyed);
    inner.mark.advance(header.last());
    inner.counters.groups.fetch_add(1, Relaxed);
    inner.counters.events.fetch_add(u64::from(header.count), Relaxed);
    inner.counters.bytes.fetch_add(filled.buf.len() as u64, Relaxed);
    Ok(())
}

/// Bytes of dead letters whose senders got no receipt.
fn unowed(filled: &Filled) -> u64 {
    let letters = filled.rows.iter().zip(&filled.lanes).filter(|(row, lanes)| *lanes & 1 != 0 && !row.is_owed());
    letters.map(|(row, _)| u64::from(row.len())).sum()
}

/// Puts the next segment into use: its header is durable before its first group is written.
fn roll<D: Disk>(inner: &Inner<D>, first: u64) -> Result<(), Failure> {
    let (spare, sealed, entered) = {
        let mut ring = hold(&inner.ring);
        (ring.spares.pop_front(), ring.sealed(), Some(Box::new(ring.entered.clone())))
    };
    let Some(Blank { number, file }) = spare else {
        return Err(Failure { what: "take the next segment".into(), error: "none is ready".into() });
    };
    let header = segment::Header {
        uuid: inner.uuid,
        number,
        first,
        resume: first,
        created: now_micros(),
        size: inner.options.segment_size,
        entered,
        sealed,
    };
    put_header(&file, &header, inner.seed)
        .map_err(|e| Failure::new(format!("write the header of {}", inner.segment_path(number).display()), &e))?;
    hold(&inner.ring).push(Arc::new(file), number, first, header.created);
    inner.ring_bell();
    Ok(())
}

pub(crate) fn put_header<F: DiskFile>(file: &F, header: &segment::Header, seed: u32) -> std::io::Result<()> {
    let page = header.encode(seed);
    debug_assert_eq!(page.len() as u64, PAGE64);
    file.write_at(&page, 0)?;
    file.sync_data()
}

pub(crate) fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
