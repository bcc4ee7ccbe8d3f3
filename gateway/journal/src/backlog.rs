//! The backlogs' segments: which there are at a start, how one is opened, and when one is deleted. `spill` writes them.

use std::{collections::VecDeque, io, sync::Arc, sync::atomic::Ordering::Relaxed};

use crate::{
    LaneId, Notice, Options,
    disk::{Disk, Open, read_up_to},
    format::{
        PAGE,
        piece::{Piece, folder},
        segment::{Header, Sealed},
    },
    inner::Inner,
    ring::Segment,
    sync::hold,
};

/// The segments of a lane's backlog, oldest first. Reads names only.
pub(crate) fn list<D: Disk>(disk: &D, options: &Options, lane: LaneId) -> io::Result<VecDeque<Piece>> {
    let names = disk.list(&folder(options, lane))?;
    let mut pieces: Vec<Piece> = names.iter().filter_map(|name| Piece::parse(name)).collect();
    pieces.sort_unstable_by_key(|piece| (piece.first, piece.number));
    Ok(pieces.into())
}

/// Removes everything in a lane's folder, which another lane had before or which is a leftover.
pub(crate) fn clear<D: Disk>(disk: &D, options: &Options, lane: LaneId) -> io::Result<()> {
    let folder = folder(options, lane);
    for name in disk.list(&folder)? {
        gone(disk.remove(&folder.join(name)))?;
    }
    Ok(())
}

/// Fine if it was not there.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens a segment of a backlog; `None` if its file is gone. A bad header costs its counts only.
pub(crate) fn open<D: Disk>(inner: &Inner<D>, lane: LaneId, piece: &Piece) -> io::Result<Option<Segment<D::File>>> {
    let path = inner.backlog_dir(lane).join(piece.name());
    let file = match inner.disk.open(&path, Open::Existing) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let header = Header::decode(&read_up_to(&file, 0, PAGE)?, inner.seed).good();
    let header = header.filter(|header| header.number == piece.number);
    if header.is_none() {
        inner.notice(&Notice::CorruptSegment { segment: piece.number });
    }
    let Piece { number, first, last, size, .. } = *piece;
    Ok(Some(Segment {
        file: Arc::new(file),
        about: Sealed { number, first, last, end: size, lanes: u64::MAX },
        resume: first,
        entered: header.and_then(|header| header.entered),
        created: 0,
        sealed: true,
        keyed: true,
    }))
}

/// A file that should be there is not: its events are lost, and counted. `false`: the lane is past it, and nothing is.
pub(crate) fn lost<D: Disk>(inner: &Inner<D>, lane: LaneId, piece: &Piece) -> bool {
    let was_there = {
        let mut state = hold(&inner.lanes[lane.index()]);
        let at = state.backlog.iter().position(|other| other == piece);
        at.and_then(|at| state.backlog.remove(at)).is_some()
    };
    // Otherwise it was deleted because its lane is past it.
    if was_there {
        inner.counters.corrupt_groups.fetch_add(1, Relaxed);
        inner.counters.corrupt_events.fetch_add(piece.events, Relaxed);
        inner.notice(&Notice::CorruptGroup { segment: piece.number, offset: 0, events: piece.events });
    }
    was_there
}

/// Deletes segments that the lane is past, says its saved cursor.
pub(crate) fn delete<D: Disk>(inner: &Inner<D>, lane: LaneId, pieces: &[Piece]) -> io::Result<()> {
    if pieces.is_empty() {
        return Ok(());
    }
    let folder = inner.backlog_dir(lane);
    for piece in pieces {
        // The directory is not synced: what comes back after a power cut is past, too, and deleted again.
        gone(inner.disk.remove(&folder.join(piece.name())))?;
    }
    let is_empty = {
        let mut state = hold(&inner.lanes[lane.index()]);
        state.backlog.retain(|piece| !pieces.contains(piece));
        state.tally.read_back += pieces.len() as u64;
        state.backlog.is_empty()
    };
    if is_empty {
        inner.notice(&Notice::SpillEnded { lane });
    }
    Ok(())
}
