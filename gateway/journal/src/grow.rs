//! Makes files ready to be written: their room taken, zeros written, all of it durable, so that a group's sync has nothing to
//! wait for but its own bytes.
//!
//! Zeros share the disk with the log: a sync waits for what the disk has in hand. So they are written in small pieces, each
//! synced, with rests between them in which the log has the disk for itself; there are no rests while no segment is ready, and
//! larger pieces when appends wait or soon will. The segment that a log begins with is zeroed at its head only, so that a start is quick.

use std::{
    io,
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    Failure, Notice, Options,
    disk::{Disk, DiskFile, Open},
    format::segment,
    inner::Inner,
    ring::Blank,
    spill,
    sync::hold,
    tend,
};

/// Zeros written and synced at once, and in a hurry: each sync costs, and stands in the log's way.
const PIECE: u64 = 1 << 20;
const PIECE_PRESSED: u64 = 4 << 20;
/// Zeroed of the first segment before the journal is open.
const HEAD: u64 = 16 << 20;
/// The rest after a piece, in times of what the piece took, and at most.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(20);
const TEMPORARY: &str = "next.tmp";

/// Makes one more segment; `false`: there is no room, or the journal ends.
pub(crate) fn grow<D: Disk>(inner: &Inner<D>, files: usize) -> Result<bool, Failure> {
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
    let number = tend::next_number(inner);
    let made = make_segment(&inner.disk, &inner.options, number, |file| {
        file.reserve(inner.options.segment_size)?;
        fill(inner, file)
    });
    match made {
        Ok(file) => {
            tend::add(inner, Blank { number, file });
            Ok(true)
        }
        Err(e) if spill::is_no_room(&e) || e.kind() == io::ErrorKind::Interrupted => {
            hold(&inner.ring).in_hand -= 1;
            let _ = inner.disk.remove(&inner.journal_dir().join(TEMPORARY));
            if spill::is_no_room(&e) {
                no_space(e.to_string());
            }
            Ok(false)
        }
        Err(e) => Err(Failure::new(format!("make {}", inner.segment_path(number).display()), &e)),
    }
}

/// Zeroes a whole file; `Interrupted` when the journal ends meanwhile.
pub(crate) fn fill<D: Disk>(inner: &Inner<D>, file: &D::File) -> io::Result<()> {
    let (size, mut at) = (inner.options.segment_size, 0);
    while at < size {
        let piece = if hold(&inner.intake).is_pressed() { PIECE_PRESSED } else { PIECE };
        let (begun, to) = (Instant::now(), size.min(at + piece));
        file.zero(at, to)?;
        file.sync_data()?;
        at = to;
        // A whole segment may take seconds, and cursors do not wait so long.
        tend::save_due(inner).map_err(|e| io::Error::other(format!("save cursors: {e}")))?;
        if at < size && rest(inner, begun.elapsed()) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

/// The first segment of a start: its room taken, its head zeroed, durable. Also how far the zeros go.
pub(crate) fn first_segment<D: Disk>(disk: &D, options: &Options, number: u64) -> io::Result<(D::File, u64)> {
    let head = HEAD.min(options.segment_size);
    let file = make_segment(disk, options, number, |file| {
        file.reserve(options.segment_size)?;
        file.zero(0, head)?;
        file.sync_data()
    })?;
    Ok((file, head))
}

/// A new file under its final name, when `fill` has given it its bytes and synced them.
fn make_segment<D: Disk>(
    disk: &D,
    options: &Options,
    number: u64,
    fill: impl FnOnce(&D::File) -> io::Result<()>,
) -> io::Result<D::File> {
    let dir = options.dir.join("journal");
    let temporary = dir.join(TEMPORARY);
    let file = disk.open(&temporary, Open::Create)?;
    fill(&file)?;
    disk.rename(&temporary, &dir.join(segment::name(number)))?;
    disk.sync_dir(&dir)?;
    Ok(file)
}

/// Leaves the disk to the log for a while, unless no segment is ready; `true` when the journal ends.
fn rest<D: Disk>(inner: &Inner<D>, took: Duration) -> bool {
    let left = if hold(&inner.intake).spares == 0 { Duration::ZERO } else { REST_MAX.min(took * REST) };
    let bell = hold(&inner.bell);
    inner.ringing.wait_timeout_while(bell, left, |bell| !bell.stop).unwrap_or_else(PoisonError::into_inner).0.stop
}
