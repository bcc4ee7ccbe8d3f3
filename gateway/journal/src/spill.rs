//! Makes room in the ring when lanes lag: copies what a lane has open in the oldest segment to the lane's own backlog, so
//! that the segment can be used again.
//!
//! The order of steps makes a crash at any of them harmless:
//! 1. the lane's cursor is saved; what *it* says is not done is copied, so that cursor and backlog together have everything;
//! 2. the copy is written under another name, synced, and only then gets its name; the directory is synced;
//! 3. the lane needs the segment no longer. Until it is used again its events are in both places, and a start that finds both
//!    reads the backlog's (`reader`);
//! 4. the segment is used again, after another save of the cursors (`tend`).
//!
//! No room on the disk is no failure here: the part that was written is deleted, the ring stays as it is, and it is tried
//! again when there is room.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    Entry, Failure, LANES, LaneId, Notice, backlog,
    committer::now_micros,
    disk::{Disk, DiskFile, Open},
    format::{
        PAGE64,
        group::{self, HEADER, MAX_EVENTS, Parts, Row, UNOWED},
        piece::{Piece, TEMPORARY},
        segment::{self, Counts, Sealed},
    },
    inner::Inner,
    reader::{Reach, Reader, Sink},
    sync::hold,
    tend,
    tracker::{Met, Tracker},
};

/// Bytes of bodies in a group of a backlog, about, and read at once.
const GROUP: usize = 256 << 10;
/// Synced after so many bytes, so that the committer's own syncs do not wait for a whole segment.
const STRIDE: u64 = 4 << 20;

/// Whether an error says that there is no room: on the file system, in the quota, or for another open file.
pub(crate) fn is_no_room(e: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || matches!(e.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Copies what lanes need of the oldest sealed segment; `true`: no lane needs it any more.
pub(crate) fn oldest<D: Disk>(inner: &Arc<Inner<D>>) -> Result<bool, Failure> {
    let sealed: Vec<_> =
        hold(&inner.ring).segments.iter().filter(|s| s.sealed).map(|s| (s.about, s.entered.clone())).collect();
    let Some((about, entered)) = sealed.into_iter().find(|(about, _)| tend::needed(inner, about)) else {
        return Ok(false);
    };
    let wants = inner.backlog_wants.load(Relaxed);
    if wants > 0 && inner.disk.free(&inner.options.dir).is_ok_and(|free| free < wants) {
        return Ok(false);
    }
    let mut all = true;
    for lane in (0..LANES).filter(|lane| tend::needs(inner, *lane, &about)) {
        let Some(lane) = u8::try_from(lane).ok().and_then(LaneId::new) else { continue };
        all &= one(inner, lane, &about, entered.as_deref())?;
    }
    if all {
        inner.backlog_wants.store(0, Relaxed);
    }
    Ok(all)
}

/// Copies what one lane needs; `false`: no room.
fn one<D: Disk>(
    inner: &Arc<Inner<D>>,
    lane: LaneId,
    about: &Sealed,
    entered: Option<&Counts>,
) -> Result<bool, Failure> {
    let cursor =
        tend::save_cursor(inner, lane).map_err(|e| Failure::new(format!("save the cursor of lane {lane}"), &e))?;
    let done = Tracker::restore(&cursor);
    let mut copy = Copy { inner, lane, number: about.number, open: None, written: 0 };
    match copy.run(about, entered, &done) {
        Ok(piece) => {
            keep(inner, lane, about, piece);
            Ok(true)
        }
        Err(e) if is_no_room(&e) => {
            let wants = copy.written + PAGE64;
            drop(copy);
            let _ = inner.disk.remove(&inner.backlog_dir(lane).join(TEMPORARY));
            if inner.backlog_wants.swap(wants, Relaxed) == 0 {
                inner.notice(&Notice::BacklogNoSpace { lane, error: e.to_string() });
            }
            Ok(false)
        }
        Err(e) => Err(Failure::new(format!("write {}", inner.backlog_dir(lane).display()), &e)),
    }
}

/// The lane has its copy: it needs nothing of the ring up to there.
fn keep<D: Disk>(inner: &Inner<D>, lane: LaneId, about: &Sealed, piece: Option<Piece>) {
    let begins = {
        let mut state = hold(&inner.lanes[lane.index()]);
        let begins = state.backlog.is_empty() && piece.is_some();
        state.spilled = state.spilled.max(about.last);
        if let Some(piece) = piece {
            state.tally.spilled_segments += 1;
            state.tally.spilled_events += piece.events;
            state.backlog.push_back(piece);
        }
        begins
    };
    if begins {
        inner.notice(&Notice::SpillBegun { lane });
    }
}

/// All events of a lane.
struct Everything(LaneId);

impl Sink for Everything {
    fn seen(&self) -> u64 {
        0
    }

    fn wants(&self, lanes: u64) -> bool {
        lanes & self.0.bit() != 0
    }

    fn meet(&mut self, _met: Met) -> bool {
        true
    }

    fn lose(&mut self, _met: Met) {}

    fn pass(&mut self, _lsn: u64) {}

    fn enter(&mut self, _entered: &Counts, _harmed: bool) {}

    fn attempts(&self, _lsn: u64) -> u32 {
        0
    }
}

/// A copy being written.
struct Copy<'a, D: Disk> {
    inner: &'a Arc<Inner<D>>,
    lane: LaneId,
    number: u64,
    open: Option<Written<D::File>>,
    /// Bytes that it wanted so far.
    written: u64,
}

/// The file, and the group that is being filled.
struct Written<F> {
    file: F,
    end: u64,
    synced: u64,
    events: u64,
    bytes: u64,
    buf: Vec<u8>,
    rows: Vec<Row>,
    lanes: Vec<u64>,
    first: u64,
    lsns: Vec<u32>,
}

impl<D: Disk> Copy<'_, D> {
    /// `None`: there was nothing to copy.
    fn run(&mut self, about: &Sealed, entered: Option<&Counts>, done: &Tracker) -> io::Result<Option<Piece>> {
        let mut reader = Reader::new(self.inner.clone(), 0, Reach::Segment(about.number));
        loop {
            let entries = reader.read(&mut Everything(self.lane), GROUP)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries.iter().filter(|entry| !done.is_done(entry.lsn.0)) {
                self.add(entry)?;
            }
        }
        self.finish(about, entered)
    }

    /// Room for one more event, in a group of its own if need be.
    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let lsn = entry.lsn.0;
        let is_full = self.open.as_ref().is_some_and(|open| {
            open.buf.len() + entry.body.len() > HEADER + GROUP
                || open.rows.len() == MAX_EVENTS
                || lsn - open.first > u64::from(u32::MAX)
        });
        if is_full {
            self.flush()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if open.rows.is_empty() {
            open.first = lsn;
        }
        let too_long = |_| io::Error::other("an event is longer than 2 GiB");
        let offset = u32::try_from(open.buf.len()).map_err(too_long)?;
        let len = u32::try_from(entry.body.len()).map_err(too_long)?;
        let size = if entry.owed { len } else { len | UNOWED };
        open.buf.extend_from_slice(&entry.body);
        open.rows.push(Row { offset, size, crc: crc32c::crc32c(&entry.body) });
        open.lanes.push(entry.lanes);
        // Below 4 Gi: looked at above.
        open.lsns.push(u32::try_from(lsn - open.first).unwrap_or(u32::MAX));
        open.events += 1;
        open.bytes += u64::from(len);
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<Written<D::File>> {
        let (disk, folder) = (&self.inner.disk, self.inner.backlog_dir(self.lane));
        disk.create_dir(&folder)?;
        if let Some(parent) = folder.parent() {
            disk.sync_dir(parent)?;
        }
        let path = folder.join(TEMPORARY);
        backlog::gone(disk.remove(&path))?;
        Ok(Written {
            file: disk.open(&path, Open::Create)?,
            end: PAGE64,
            synced: 0,
            events: 0,
            bytes: 0,
            buf: vec![0; HEADER],
            rows: Vec::new(),
            lanes: Vec::new(),
            first: 0,
            lsns: Vec::new(),
        })
    }

    /// Writes the group that was filled.
    fn flush(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| !open.rows.is_empty()) else { return Ok(()) };
        let parts = Parts {
            flags: 0,
            segment: self.number,
            first: open.first,
            rows: &open.rows,
            lanes: &open.lanes,
            lsns: Some(&open.lsns),
        };
        group::finish(&mut open.buf, &parts, self.inner.seed);
        self.written = open.end + open.buf.len() as u64;
        open.file.write_at(&open.buf, open.end)?;
        open.end = self.written;
        if open.end - open.synced >= STRIDE {
            open.file.sync_data()?;
            open.synced = open.end;
        }
        open.buf.clear();
        open.buf.resize(HEADER, 0);
        open.rows.clear();
        open.lanes.clear();
        open.lsns.clear();
        Ok(())
    }

    fn finish(&mut self, about: &Sealed, entered: Option<&Counts>) -> io::Result<Option<Piece>> {
        self.flush()?;
        let Some(open) = self.open.take() else { return Ok(None) };
        let Sealed { number, first, last, .. } = *about;
        let header = segment::Header {
            uuid: self.inner.uuid,
            number,
            first,
            resume: first,
            created: now_micros(),
            size: open.end,
            entered: entered.cloned().map(Box::new),
            sealed: vec![Sealed { number, first, last, end: open.end, lanes: self.lane.bit() }],
        };
        open.file.write_at(&header.encode(self.inner.seed), 0)?;
        open.file.sync_data()?;
        let piece = Piece { number, first, last, events: open.events, bytes: open.bytes, size: open.end };
        let folder = self.inner.backlog_dir(self.lane);
        self.inner.disk.rename(&folder.join(TEMPORARY), &folder.join(piece.name()))?;
        self.inner.disk.sync_dir(&folder)?;
        Ok(Some(piece))
    }
}
