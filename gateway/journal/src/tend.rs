//! The helper thread: saves cursors, and has the next segments ready before they are needed.
//!
//! A segment becomes ready by being made (written with zeros, synced, renamed into place, directory synced) or by being used
//! again: when no lane needs anything in it **and the cursors that say so are saved**, it is renamed to its next number and
//! the directory is synced. Its old groups carry the old number and never verify under the new one.

use std::{io, sync::PoisonError, sync::atomic::Ordering, time::Duration, time::Instant};

use crate::{
    Failure, LANES, LaneId, Notice,
    disk::{Disk, DiskFile, Open},
    format::{cursor, segment::Sealed},
    inner::{Inner, wake},
    ring::Blank,
    sync::hold,
};

/// Segments to have ready.
const READY: usize = 2;
/// When the ring is full, look again after this.
const PATIENCE: Duration = Duration::from_millis(5);
const TEMPORARY: &str = "next.tmp";

/// The helper's thread.
pub(crate) fn run<D: Disk>(inner: &Inner<D>) {
    let mut saved = Instant::now();
    loop {
        let stop = {
            let mut bell = hold(&inner.bell);
            if !bell.rung && !bell.stop {
                let mut left = inner.options.cursor_every.saturating_sub(saved.elapsed());
                if inner.full.load(Ordering::Relaxed) {
                    left = left.min(10 * PATIENCE);
                }
                bell = inner.ringing.wait_timeout(bell, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            bell.rung = false;
            bell.stop
        };
        if stop || inner.has_failed() {
            return;
        }
        let due = saved.elapsed() >= inner.options.cursor_every;
        if due {
            saved = Instant::now();
        }
        if let Err(failure) = step(inner, due) {
            inner.fail(&failure);
            return;
        }
        if inner.full.load(Ordering::Relaxed) {
            std::thread::sleep(PATIENCE);
        }
    }
}

/// One turn: cursors if they are due, then segments.
pub(crate) fn step<D: Disk>(inner: &Inner<D>, cursors: bool) -> Result<(), Failure> {
    if inner.has_failed() {
        return Ok(());
    }
    if cursors {
        save_cursors(inner).map_err(|e| Failure::new("save cursors", &e))?;
    }
    while hold(&inner.ring).spares.len() < READY {
        if !ready_one(inner)? {
            break;
        }
    }
    let full = hold(&inner.ring).spares.is_empty();
    if inner.full.swap(full, Ordering::Relaxed) != full {
        inner.notice(if full { &Notice::RingFull } else { &Notice::RingRoom });
    }
    let waiting = {
        let mut intake = hold(&inner.intake);
        intake.exhausted = full;
        if full { Vec::new() } else { intake.wakers() }
    };
    wake(waiting);
    Ok(())
}

/// Makes one segment ready; `false` if there is no way to.
fn ready_one<D: Disk>(inner: &Inner<D>) -> Result<bool, Failure> {
    let (scrap, files) = {
        let mut ring = hold(&inner.ring);
        let scrap = ring.scrap.pop();
        ring.in_hand += usize::from(scrap.is_some());
        (scrap, ring.files())
    };
    if let Some(blank) = scrap {
        return reuse(inner, blank);
    }
    if files >= inner.options.keep
        && let Some(passed) = passed(inner)
    {
        // Not before the cursors that passed it are on disk.
        save_cursors(inner).map_err(|e| Failure::new("save cursors", &e))?;
        return match take_out(inner, passed) {
            Some(blank) => {
                inner.counters.recycled.fetch_add(1, Ordering::Relaxed);
                reuse(inner, blank)
            }
            // A reader holds its file for this moment: next time.
            None => Ok(false),
        };
    }
    if files >= inner.options.segments {
        return Ok(false);
    }
    grow(inner, files)
}

/// A sealed segment that no lane needs.
fn passed<D: Disk>(inner: &Inner<D>) -> Option<u64> {
    let sealed: Vec<Sealed> = hold(&inner.ring).segments.iter().filter(|s| s.sealed).map(|s| s.about).collect();
    sealed.into_iter().find(|about| !needed(inner, about)).map(|about| about.number)
}

pub(crate) fn needed<D: Disk>(inner: &Inner<D>, about: &Sealed) -> bool {
    let wanted = about.lanes & inner.in_use.load(Ordering::Acquire);
    (0..LANES)
        .filter(|lane| wanted & (1 << lane) != 0)
        .any(|lane| !hold(&inner.lanes[lane]).tracker.is_past(about.first, about.last))
}

fn take_out<D: Disk>(inner: &Inner<D>, number: u64) -> Option<Blank<D::File>> {
    let mut ring = hold(&inner.ring);
    let at = ring.segments.iter().position(|s| s.about.number == number && s.sealed)?;
    let segment = ring.segments.remove(at)?;
    match std::sync::Arc::try_unwrap(segment.file) {
        Ok(file) => {
            ring.in_hand += 1;
            Some(Blank { number, file })
        }
        Err(file) => {
            ring.segments.insert(at, crate::ring::Segment { file, ..segment });
            None
        }
    }
}

/// Renames a file that nobody needs to the next number.
fn reuse<D: Disk>(inner: &Inner<D>, blank: Blank<D::File>) -> Result<bool, Failure> {
    let number = next_number(inner);
    let (from, to) = (inner.segment_path(blank.number), inner.segment_path(number));
    let size = inner.options.segment_size;
    let work = || -> io::Result<()> {
        if blank.file.len()? < size {
            blank.file.zero(size)?;
            blank.file.sync_data()?;
        }
        inner.disk.rename(&from, &to)?;
        inner.disk.sync_dir(&inner.journal_dir())
    };
    work().map_err(|e| Failure::new(format!("rename {} to {}", from.display(), to.display()), &e))?;
    add(inner, Blank { number, file: blank.file });
    Ok(true)
}

fn grow<D: Disk>(inner: &Inner<D>, files: usize) -> Result<bool, Failure> {
    // Told once: `full` is set after the first time.
    let no_space = |error: String| {
        if !inner.full.load(Ordering::Relaxed) {
            inner.notice(&Notice::NoSpace { segments: files, error });
        }
    };
    if inner.disk.free(&inner.options.dir).is_ok_and(|free| free < inner.options.segment_size) {
        no_space("the file system has less room than a segment takes".into());
        return Ok(false);
    }
    hold(&inner.ring).in_hand += 1;
    let number = next_number(inner);
    match make_segment(&inner.disk, &inner.options, number, true) {
        Ok(file) => {
            add(inner, Blank { number, file });
            Ok(true)
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            hold(&inner.ring).in_hand -= 1;
            let _ = inner.disk.remove(&inner.journal_dir().join(TEMPORARY));
            no_space(e.to_string());
            Ok(false)
        }
        Err(e) => Err(Failure::new(format!("make {}", inner.segment_path(number).display()), &e)),
    }
}

/// A new file under its final name, with its room taken, all of it durable.
pub(crate) fn make_segment<D: Disk>(
    disk: &D,
    options: &crate::Options,
    number: u64,
    zeroed: bool,
) -> io::Result<D::File> {
    let dir = options.dir.join("journal");
    let temporary = dir.join(TEMPORARY);
    let file = disk.open(&temporary, Open::Create)?;
    if zeroed {
        file.zero(options.segment_size)?;
    } else {
        file.reserve(options.segment_size)?;
    }
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(crate::format::segment::name(number)))?;
    disk.sync_dir(&dir)?;
    Ok(file)
}

fn next_number<D: Disk>(inner: &Inner<D>) -> u64 {
    let mut ring = hold(&inner.ring);
    ring.next_number += 1;
    ring.next_number - 1
}

fn add<D: Disk>(inner: &Inner<D>, blank: Blank<D::File>) {
    {
        let mut ring = hold(&inner.ring);
        ring.in_hand -= 1;
        ring.spares.push_back(blank);
    }
    let waiting = {
        let mut intake = hold(&inner.intake);
        intake.spares += 1;
        intake.exhausted = false;
        intake.wakers()
    };
    wake(waiting);
}

/// Writes the cursors that changed into their older slots and syncs them.
pub(crate) fn save_cursors<D: Disk>(inner: &Inner<D>) -> io::Result<()> {
    let _alone = hold(&inner.saving);
    for (index, lane) in inner.lanes.iter().enumerate() {
        let (file, cursor) = {
            let mut lane = hold(lane);
            let Some(file) = lane.file.clone().filter(|_| lane.dirty) else { continue };
            lane.dirty = false;
            lane.generation += 1;
            (file, lane.cursor())
        };
        let Some(id) = u8::try_from(index).ok().and_then(LaneId::new) else { continue };
        put_cursor(&*file, id, &cursor, inner.seed)?;
        inner.counters.cursor_saves.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

pub(crate) fn put_cursor<F: DiskFile>(file: &F, id: LaneId, cursor: &cursor::Cursor, seed: u32) -> io::Result<()> {
    file.write_at(&cursor.encode(id, seed), cursor.generation % 2 * cursor::SLOT as u64)?;
    file.sync_data()
}
