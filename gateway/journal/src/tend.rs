//! The helper thread: saves cursors, and has the next segments ready before they are needed.
//!
//! A segment becomes ready by being made (written with zeros, synced, renamed into place, directory synced) or by being used
//! again: when no lane needs anything in it **and the cursors that say so are saved**, it is renamed to its next number and
//! the directory is synced. Its old groups carry the old number and never verify under the new one. When no more segments may
//! be made and lanes need all that are there, what they need of the oldest is copied to their backlogs first (`spill`).

use std::{
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{
    Failure, LANES, LaneId, Notice, backlog,
    disk::{Disk, DiskFile},
    format::{
        cursor::{self, MAX_RANGES},
        segment::Sealed,
    },
    grow, ids,
    inner::{Inner, wake},
    ring::Blank,
    spill,
    sync::hold,
};

/// Segments to have ready.
const READY: usize = 2;
/// When the ring is full, look again after this.
const PATIENCE: Duration = Duration::from_millis(5);

/// The helper's thread.
pub(crate) fn run<D: Disk>(inner: &Arc<Inner<D>>) {
    *hold(&inner.saved) = Instant::now();
    loop {
        let stop = {
            let mut bell = hold(&inner.bell);
            if !bell.rung && !bell.stop {
                let mut left = inner.options.cursor_every.saturating_sub(hold(&inner.saved).elapsed());
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
        if let Err(failure) = step(inner, is_due(inner)) {
            inner.fail(&failure);
            return;
        }
        if inner.full.load(Ordering::Relaxed) {
            std::thread::sleep(PATIENCE);
        }
    }
}

/// Whether it is time to save the cursors; if so, time runs anew.
fn is_due<D: Disk>(inner: &Inner<D>) -> bool {
    let mut saved = hold(&inner.saved);
    let due = saved.elapsed() >= inner.options.cursor_every;
    if due {
        *saved = Instant::now();
    }
    due
}

/// Saves the cursors if it is time to, in the middle of work that takes long. Only where time counts: turns by hand say themselves
/// what they save.
pub(crate) fn save_due<D: Disk>(inner: &Inner<D>) -> io::Result<()> {
    if inner.options.threads && is_due(inner) { save_cursors(inner) } else { Ok(()) }
}

/// One turn: cursors if they are due, then segments.
pub(crate) fn step<D: Disk>(inner: &Arc<Inner<D>>, cursors: bool) -> Result<(), Failure> {
    if inner.has_failed() {
        return Ok(());
    }
    if cursors {
        save_cursors(inner).map_err(|e| Failure::new("save cursors", &e))?;
    }
    ids::tend(inner)?;
    // A small ring keeps one segment to write to.
    let ready = READY.min(inner.options.segments - 1);
    while hold(&inner.ring).spares.len() < ready {
        if !ready_one(inner)? {
            break;
        }
    }
    if hold(&inner.bell).stop {
        return Ok(());
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
fn ready_one<D: Disk>(inner: &Arc<Inner<D>>) -> Result<bool, Failure> {
    let (scrap, files) = {
        let mut ring = hold(&inner.ring);
        let scrap = ring.scrap.pop();
        ring.in_hand += usize::from(scrap.is_some());
        (scrap, ring.files())
    };
    if let Some(blank) = scrap {
        return reuse(inner, blank);
    }
    if files >= inner.options.keep && recycle(inner)? {
        return Ok(true);
    }
    if files < inner.options.segments && grow::grow(inner, files)? {
        return Ok(true);
    }
    // A segment that was not made because the journal ends needs none in its place.
    if hold(&inner.bell).stop {
        return Ok(false);
    }
    // A ring that could not grow for want of space uses again what it has, however small it is.
    if recycle(inner)? {
        return Ok(true);
    }
    Ok(spill::oldest(inner)? && recycle(inner)?)
}

/// Uses a segment again that nobody needs; `false` if there is none.
fn recycle<D: Disk>(inner: &Inner<D>) -> Result<bool, Failure> {
    let Some(passed) = passed(inner) else { return Ok(false) };
    // Not before the cursors that passed it are on disk.
    save_cursors(inner).map_err(|e| Failure::new("save cursors", &e))?;
    match take_out(inner, passed) {
        Some(blank) => {
            inner.counters.recycled.fetch_add(1, Ordering::Relaxed);
            reuse(inner, blank)
        }
        // A reader holds its file for this moment: next time.
        None => Ok(false),
    }
}

/// A sealed segment that no lane needs, and whose ids are kept.
fn passed<D: Disk>(inner: &Inner<D>) -> Option<u64> {
    let sealed: Vec<Sealed> = hold(&inner.ring).segments.iter().filter(|s| s.sealed).map(|s| s.about).collect();
    sealed.into_iter().find(|about| !needed(inner, about) && ids::has(inner, about.number)).map(|about| about.number)
}

pub(crate) fn needed<D: Disk>(inner: &Inner<D>, about: &Sealed) -> bool {
    (0..LANES).any(|lane| needs(inner, lane, about))
}

/// Whether the lane has open events in the segment that are not in its backlog.
pub(crate) fn needs<D: Disk>(inner: &Inner<D>, lane: usize, about: &Sealed) -> bool {
    if about.lanes & inner.in_use.load(Ordering::Acquire) & (1 << lane) == 0 {
        return false;
    }
    let state = hold(&inner.lanes[lane]);
    state.spilled < about.last && !state.tracker.is_past(about.first, about.last)
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
            grow::fill(inner, &blank.file)?;
        }
        inner.disk.rename(&from, &to)?;
        inner.disk.sync_dir(&inner.journal_dir())
    };
    match work() {
        Ok(()) => {}
        // The journal ends. The next start finds the file as it is.
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            hold(&inner.ring).in_hand -= 1;
            return Ok(false);
        }
        Err(e) => return Err(Failure::new(format!("rename {} to {}", from.display(), to.display()), &e)),
    }
    add(inner, Blank { number, file: blank.file });
    Ok(true)
}

pub(crate) fn next_number<D: Disk>(inner: &Inner<D>) -> u64 {
    let mut ring = hold(&inner.ring);
    ring.next_number += 1;
    ring.next_number - 1
}

pub(crate) fn add<D: Disk>(inner: &Inner<D>, blank: Blank<D::File>) {
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

/// Writes the cursors that changed into their older slots and syncs them; deletes what backlogs do not need then.
pub(crate) fn save_cursors<D: Disk>(inner: &Inner<D>) -> io::Result<()> {
    for index in 0..LANES {
        let Some(lane) = u8::try_from(index).ok().and_then(LaneId::new) else { continue };
        if hold(&inner.lanes[index]).dirty {
            save_cursor(inner, lane)?;
        }
    }
    Ok(())
}

/// Saves one cursor, changed or not; what it says.
pub(crate) fn save_cursor<D: Disk>(inner: &Inner<D>, lane: LaneId) -> io::Result<cursor::Cursor> {
    let _alone = hold(&inner.saving);
    let (file, cursor, past) = {
        let mut state = hold(&inner.lanes[lane.index()]);
        state.dirty = false;
        let mut cursor = state.cursor();
        let Some(file) = state.file.clone() else { return Ok(cursor) };
        state.generation += 1;
        cursor.generation = state.generation;
        // What is done above the low mark is known to the next start only if the cursor has room for it.
        let whole = cursor.ranges.len() <= MAX_RANGES;
        cursor.ranges.truncate(MAX_RANGES);
        let is_past = |first, last| last < cursor.low || (whole && state.tracker.is_past(first, last));
        let met = state.backlog.iter().take_while(|piece| piece.last <= state.tracker.frontier());
        let past: Vec<_> = met.filter(|piece| is_past(piece.first, piece.last)).copied().collect();
        (file, cursor, past)
    };
    put_cursor(&*file, lane, &cursor, inner.seed)?;
    inner.counters.cursor_saves.fetch_add(1, Ordering::Relaxed);
    backlog::delete(inner, lane, &past)?;
    Ok(cursor)
}

pub(crate) fn put_cursor<F: DiskFile>(file: &F, id: LaneId, cursor: &cursor::Cursor, seed: u32) -> io::Result<()> {
    file.write_at(&cursor.encode(id, seed), cursor.generation % 2 * cursor::SLOT as u64)?;
    file.sync_data()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Encoded, LaneSpec, MemoryDisk, Options, committer, recovery};

    fn options() -> Options {
        let lanes = vec![LaneSpec { name: "a".into(), ..LaneSpec::default() }];
        Options { lanes, segment_size: 32 << 10, group_bytes: 16 << 10, segments: 4, keep: 3, ..Options::new("/data") }
    }

    #[test]
    fn a_stop_copies_nothing_to_backlogs() {
        let inner = Arc::new(recovery::open(MemoryDisk::new(), Options { threads: false, ..options() }).unwrap());
        loop {
            let files = hold(&inner.ring).files();
            if files < inner.options.segments {
                assert!(ready_one(&inner).unwrap());
            }
            if hold(&inner.intake).append(&[Encoded::new(&[7; 10_000], 2)]).is_err() {
                break;
            }
            committer::step(&inner).unwrap();
        }
        let pieces = || hold(&inner.lanes[1]).backlog.len();
        hold(&inner.bell).stop = true;
        assert!(!ready_one(&inner).unwrap() && pieces() == 0);
        hold(&inner.bell).stop = false;
        assert!(ready_one(&inner).unwrap() && pieces() == 1);
    }

    #[test]
    fn cursors_do_not_wait_for_a_segment_that_is_being_made() {
        for threads in [true, false] {
            let timed = Options { threads, cursor_every: Duration::ZERO, segment_size: 4 << 20, ..options() };
            let inner = Arc::new(recovery::open(MemoryDisk::new(), timed).unwrap());
            hold(&inner.lanes[1]).dirty = true;
            let files = hold(&inner.ring).files();
            assert!(grow::grow(&inner, files).unwrap());
            // Without threads nothing depends on the time.
            assert_eq!(hold(&inner.lanes[1]).dirty, !threads);
        }
    }
}
