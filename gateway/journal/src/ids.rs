//! Dedupe ids over restarts. When a segment is sealed its events' ids go to a file of their own, which outlives the segment;
//! a start takes the window's ids from these files, and from the segments that have none.
//!
//! What an id is only the gateway knows (`Options::key_of`); without it nothing of this happens. Files that are damaged or
//! missing cost a scan of the segment while it is there, and its ids when it is not: never a start.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    Failure, Lsn, Notice, backlog,
    committer::now_micros,
    disk::{Disk, DiskFile, Open, read_up_to},
    format::{
        ids::{self, Head},
        segment::Counts,
    },
    inner::Inner,
    reader::{Reach, Reader, Sink},
    spill,
    sync::hold,
    tracker::Met,
};

/// Read at once from a segment.
const STEP: usize = 256 << 10;
const TEMPORARY: &str = "next.tmp";

/// The dedupe id of an event, and when it was received (µs since 1970).
pub type Key = ([u8; 16], u64);

/// Gives the dedupe id of a body; `None`: it has none. Called by the helper thread for every event of a sealed segment, and
/// by whoever calls [`crate::Journal::recent_ids`].
pub type KeyOf = Arc<dyn Fn(&[u8]) -> Option<Key> + Send + Sync>;

/// An id of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentId {
    /// As `Options::key_of` gave it.
    pub key: [u8; 16],
    /// The event.
    pub lsn: Lsn,
    /// As `Options::key_of` gave it, µs since 1970.
    pub time: u64,
}

/// Which files there are.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// By number: segment, newest time, ids. Those of earlier runs are looked at when the first is written.
    known: VecDeque<Head>,
    looked: bool,
    /// Segments up to here have their file, or had it.
    pub done: u64,
    /// There was no room for the last one: the ring does not wait for it.
    blocked: bool,
}

/// All events.
struct Everything;

impl Sink for Everything {
    fn seen(&self) -> u64 {
        0
    }

    fn wants(&self, _lanes: u64) -> bool {
        true
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

fn dir<D: Disk>(inner: &Inner<D>) -> PathBuf {
    inner.options.dir.join("ids")
}

/// At a start: up to which segment there are files. Reads names only.
pub(crate) fn at_start<D: Disk>(disk: &D, options: &crate::Options) -> io::Result<Files> {
    if options.key_of.is_none() {
        return Ok(Files::default());
    }
    let names = disk.list(&options.dir.join("ids"))?;
    let done = names.iter().filter_map(|name| ids::number(name)).max().unwrap_or(0);
    Ok(Files { done, ..Files::default() })
}

/// Whether a segment may be used again as far as its ids go.
pub(crate) fn has<D: Disk>(inner: &Inner<D>, number: u64) -> bool {
    let files = hold(&inner.ids);
    inner.options.key_of.is_none() || number <= files.done || files.blocked
}

/// Writes what sealed segments lack; deletes what is out of the window.
pub(crate) fn tend<D: Disk>(inner: &Arc<Inner<D>>) -> Result<(), Failure> {
    let Some(key_of) = inner.options.key_of.clone() else { return Ok(()) };
    let done = hold(&inner.ids).done;
    let lack: Vec<(u64, bool)> = {
        let ring = hold(&inner.ring);
        ring.segments.iter().filter(|s| s.sealed && s.about.number > done).map(|s| (s.about.number, s.keyed)).collect()
    };
    for (number, keyed) in lack {
        let failed = |e: &io::Error| Failure::new(format!("write {}", dir(inner).join(ids::name(number)).display()), e);
        match write(inner, number, keyed.then_some(&key_of)) {
            Ok(head) => {
                let mut files = hold(&inner.ids);
                files.known.push_back(head);
                (files.done, files.blocked) = (number, false);
            }
            // Tried again while the segment is there. If it is used again before, the window is shorter after a restart.
            Err(e) if spill::is_no_room(&e) => {
                let _ = inner.disk.remove(&dir(inner).join(TEMPORARY));
                if !std::mem::replace(&mut hold(&inner.ids).blocked, true) {
                    inner.notice(&Notice::IdsLost { segment: number, error: e.to_string() });
                }
                return Ok(());
            }
            Err(e) => return Err(failed(&e)),
        }
        prune(inner).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// Writes the file of a segment; without `key_of` that of one whose events have no ids.
fn write<D: Disk>(inner: &Arc<Inner<D>>, number: u64, key_of: Option<&KeyOf>) -> io::Result<Head> {
    let (disk, dir) = (&inner.disk, dir(inner));
    disk.create_dir(&dir)?;
    disk.sync_dir(&inner.options.dir)?;
    backlog::gone(disk.remove(&dir.join(TEMPORARY)))?;
    let file = disk.open(&dir.join(TEMPORARY), Open::Create)?;
    let mut head = Head { number, newest: 0, count: 0 };
    let (mut rows, mut at, mut crc) = (Vec::new(), ids::HEAD as u64, inner.seed);
    let mut flush = |rows: &mut Vec<u8>, crc: &mut u32| -> io::Result<()> {
        file.write_at(rows, at)?;
        *crc = crc32c::crc32c_append(*crc, rows);
        at += rows.len() as u64;
        rows.clear();
        Ok(())
    };
    if let Some(key_of) = key_of {
        each(inner, number, key_of, |id| {
            ids::row(&mut rows, &id.key, id.lsn.0, id.time);
            (head.newest, head.count) = (head.newest.max(id.time), head.count + 1);
            if rows.len() >= STEP { flush(&mut rows, &mut crc) } else { Ok(()) }
        })?;
    }
    rows.extend_from_slice(&head.tail(crc32c::crc32c_append(crc, &rows)));
    flush(&mut rows, &mut crc)?;
    file.write_at(&head.encode(), 0)?;
    file.sync_data()?;
    disk.rename(&dir.join(TEMPORARY), &dir.join(ids::name(number)))?;
    disk.sync_dir(&dir)?;
    inner.counters.ids.fetch_add(head.count, Relaxed);
    Ok(head)
}

/// The ids of a segment's events.
fn each<D: Disk>(
    inner: &Arc<Inner<D>>,
    number: u64,
    key_of: &KeyOf,
    mut take: impl FnMut(RecentId) -> io::Result<()>,
) -> io::Result<()> {
    // Damage is told by those who read for a lane.
    let mut reader = Reader::new(inner.clone(), 0, Reach::Segment(number)).quiet();
    loop {
        let entries = reader.read(&mut Everything, STEP)?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if let Some((key, time)) = key_of(&entry.body) {
                take(RecentId { key, lsn: entry.lsn, time })?;
            }
        }
    }
}

fn oldest_time(window: Duration) -> u64 {
    now_micros().saturating_sub(u64::try_from(window.as_micros()).unwrap_or(u64::MAX))
}

/// Deletes files whose ids are all out of the window, by time or because newer ones fill it.
fn prune<D: Disk>(inner: &Inner<D>) -> io::Result<()> {
    let from = oldest_time(inner.options.ids_window);
    let mut files = hold(&inner.ids);
    if !std::mem::replace(&mut files.looked, true) {
        let ours = std::mem::take(&mut files.known);
        files.known = earlier(inner)?;
        files.known.retain(|head| ours.iter().all(|our| our.number != head.number));
        files.known.extend(ours);
    }
    let mut newer: u64 = files.known.iter().map(|head| head.count).sum();
    let mut gone = Vec::new();
    while let Some(head) = files.known.front().copied() {
        newer -= head.count;
        // The newest file says how far the segments are done.
        if files.known.len() == 1 || (head.newest >= from && newer < inner.options.ids_count) {
            break;
        }
        files.known.pop_front();
        gone.push(head.number);
    }
    drop(files);
    for number in gone {
        backlog::gone(inner.disk.remove(&dir(inner).join(ids::name(number))))?;
    }
    Ok(())
}

/// The files that are there, by number; one that does not say what it is counts as empty and old.
fn earlier<D: Disk>(inner: &Inner<D>) -> io::Result<VecDeque<Head>> {
    let mut numbers: Vec<u64> = inner.disk.list(&dir(inner))?.iter().filter_map(|name| ids::number(name)).collect();
    numbers.sort_unstable();
    let mut heads = VecDeque::new();
    for number in numbers {
        let file = inner.disk.open(&dir(inner).join(ids::name(number)), Open::Existing)?;
        let head = Head::decode(&read_up_to(&file, 0, ids::HEAD)?).filter(|head| head.number == number);
        heads.push_back(head.unwrap_or(Head { number, newest: 0, count: 0 }));
    }
    Ok(heads)
}

/// The ids of the window, in LSN order.
pub(crate) fn recent<D: Disk>(inner: &Arc<Inner<D>>) -> io::Result<Vec<RecentId>> {
    let Some(key_of) = inner.options.key_of.clone() else { return Ok(Vec::new()) };
    let from = oldest_time(inner.options.ids_window);
    let limit = usize::try_from(inner.options.ids_count).unwrap_or(usize::MAX);
    let in_ring: Vec<(u64, u64)> = hold(&inner.ring).segments.iter().map(|s| (s.about.number, s.created)).collect();
    let in_files = inner.disk.list(&dir(inner))?;
    let in_files = in_files.iter().filter_map(|name| ids::number(name));
    let mut numbers: Vec<u64> = in_ring.iter().map(|(number, _)| *number).chain(in_files).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut out: Vec<RecentId> = Vec::new();
    // When the segment behind the one that is looked at was begun: nothing in that one is younger.
    let mut sealed_at = u64::MAX;
    for number in numbers.into_iter().rev() {
        if out.len() >= limit || sealed_at < from {
            break;
        }
        let created = in_ring.iter().find(|(other, _)| *other == number).map(|(_, created)| *created);
        let mut found = match read(inner, number)? {
            Some(found) => found,
            None if created.is_some() => {
                let mut found = Vec::new();
                each(inner, number, &key_of, |id| {
                    found.push(id);
                    Ok(())
                })?;
                found
            }
            None => Vec::new(),
        };
        sealed_at = created.filter(|created| *created > 0).unwrap_or(sealed_at);
        found.retain(|id| id.time >= from);
        out.extend(found.into_iter().rev().take(limit - out.len()));
    }
    out.reverse();
    Ok(out)
}

/// The ids in a file; `None` if there is none that verifies.
fn read<D: Disk>(inner: &Inner<D>, number: u64) -> io::Result<Option<Vec<RecentId>>> {
    let file = match inner.disk.open(&dir(inner).join(ids::name(number)), Open::Existing) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let head = Head::decode(&read_up_to(&file, 0, ids::HEAD)?);
    // Before as much memory is taken.
    let is_whole = head.and_then(|head| head.len()).is_some_and(|want| want == len as u64);
    let rows = if is_whole { ids::rows(&read_up_to(&file, 0, len)?, number, inner.seed) } else { None };
    if rows.is_none() {
        inner.notice(&Notice::IdsLost { segment: number, error: "the file does not verify".into() });
    }
    let id = |(key, lsn, time)| RecentId { key, lsn: Lsn(lsn), time };
    Ok(rows.map(|rows| rows.into_iter().map(id).collect()))
}
