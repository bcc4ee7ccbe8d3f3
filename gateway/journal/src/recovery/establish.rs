//! Recovery's writing half: opens a journal on what the survey found. Each step is durable before the next relies on it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, atomic::AtomicBool, atomic::AtomicU64},
    time::Instant,
};

use super::{
    JUMP, lanes,
    progress::{Reading, accounts, read_backlogs},
    survey::{LastGroup, Survey, Surveyor, read_meta},
};
use crate::{
    LANES, LaneId, Lsn, Notice, OpenError, Options, Recovered,
    account::Account,
    committer::{now_micros, put_header},
    damage::Spot,
    disk::{Disk, DiskFile, Open},
    format::{
        PAGE64,
        cursor::Cursor,
        group::{self, COPY, HEADER, Row},
        meta::{Meta, SLOT, State},
        piece::Piece,
        seed,
        segment::{self, Counts},
    },
    grow, ids,
    inner::{Bell, Ending, Inner, LaneState, meta_path, no_lanes, write_meta},
    intake::Intake,
    ring::{Blank, Ring, Segment, count},
    stats::Counters,
    sync::hold,
    tracker::Tracker,
    watermark::Watermark,
};

/// With the lanes that the log has, if that is asked for. Before the lock makes a directory and a file.
fn with_lanes<D: Disk>(disk: &D, mut options: Options) -> Result<Options, OpenError> {
    if options.lanes_as_found {
        options.lanes = match read_meta(disk, &options)? {
            Some(meta) => lanes::specs(&meta.lanes),
            None => return Err(OpenError::Missing { path: options.dir }),
        };
    }
    Ok(options)
}

/// Opens the journal; its threads are started by the caller.
pub(crate) fn open<D: Disk>(disk: D, options: Options) -> Result<Inner<D>, OpenError> {
    options.check()?;
    let mut options = with_lanes(&disk, options)?;
    let lock = take_lock(&disk, &options)?;
    let found = read_meta(&disk, &options)?;
    let old = found.is_some();
    let mut meta = match found {
        Some(meta) => meta,
        None => first_meta(&disk, &options)?,
    };
    options.segment_size = meta.segment_size;
    options.check()?;
    let seed = seed(&meta.uuid);
    let mut survey = Surveyor { disk: &disk, options: &options, seed, size: meta.segment_size }.survey()?;
    // A clean stop left everything synced; what is torn or missing all the same is damage, and then nothing is trusted.
    let clean = old && meta.clean && survey.next <= meta.next && !survey.torn && !survey.segments.is_empty();
    survey.next = survey.next.max(meta.next);
    let backlogs = read_backlogs(&disk, &options, &meta)?;
    let ids =
        ids::at_start(&disk, &options).map_err(OpenError::io(format!("list {}", options.dir.join("ids").display())))?;
    let reading = Reading { disk: &disk, options: &options, meta: &meta, survey: &survey, backlogs: &backlogs, seed };
    let (cursors, lost) = reading.cursors()?;
    let pending = |id: LaneId| match cursors[id.index()].as_ref() {
        Some(cursor) => survey.entered.events[id.index()].saturating_sub(Tracker::restore(cursor).settled()),
        None => 0,
    };
    let plan = lanes::plan(&meta.lanes, &options.lanes, pending)?;
    let per_lane = std::array::from_fn(|lane| {
        let id = u8::try_from(lane).ok().and_then(LaneId::new).unwrap_or(LaneId::DEAD_LETTERS);
        if plan.begins.contains(&id) { 0 } else { pending(id) }
    });

    // From here on it writes.
    disk.create_dir(&options.dir.join("journal"))
        .and_then(|()| disk.sync_dir(&options.dir))
        .map_err(OpenError::io(format!("make {}", options.dir.join("journal").display())))?;
    let _ = disk.remove(&options.dir.join("journal").join("next.tmp"));
    let next = if clean || !old { survey.next } else { survey.next + JUMP };
    let start = Start { disk: &disk, options: &options, uuid: meta.uuid, seed, next, clean };
    let states = start.lanes(&plan, cursors, backlogs, &lost, &survey.entered, old && !clean)?;
    meta.lanes = plan.lanes;
    meta.starts += 1;
    meta.clean = false;
    meta.next = next;
    meta.generation += 1;
    write_meta(&disk, &options, &meta)
        .map_err(OpenError::io(format!("write {}", options.dir.join("meta").display())))?;
    let recovered = Recovered {
        clean: clean || !old,
        starts: meta.starts,
        per_lane,
        torn_tail: survey.torn,
        torn_events: survey.last.as_ref().map_or(0, |last| last.torn),
        corrupt_groups: survey.corrupt_groups,
        corrupt_events: survey.corrupt_events,
        next: Lsn(next),
    };
    let mut notices = std::mem::take(&mut survey.notices);
    notices.extend(lost.into_iter().map(|lane| Notice::CursorLost { lane }));
    let (ring, zeroed) = start.ring(survey)?;
    let inner = assemble(Parts { disk, options, lock, seed, meta, states, ring, zeroed, ids, recovered });
    for notice in &notices {
        if let Notice::CorruptGroup { segment, offset, events } = *notice {
            // Counted in `recovered`: a reader that comes by does not count it again.
            hold(&inner.damage).note(Spot::Groups { backlog: None, segment, offset }, events);
        }
        inner.notice(notice);
    }
    Ok(inner)
}

/// What a journal is put together from.
struct Parts<D: Disk> {
    disk: D,
    options: Options,
    lock: D::Lock,
    seed: u32,
    meta: Meta,
    states: Vec<Mutex<LaneState<D::File>>>,
    ring: Ring<D::File>,
    zeroed: u64,
    ids: ids::Files,
    recovered: Recovered,
}

fn assemble<D: Disk>(parts: Parts<D>) -> Inner<D> {
    let Parts { disk, options, lock, seed, meta, states, ring, zeroed, ids, recovered } = parts;
    let next = recovered.next.0;
    let accounts = accounts(&meta, &options, &ring.entered, &states);
    let active_end = ring.segments.back().map_or(PAGE64, |segment| segment.about.end);
    let left = options.segment_size.saturating_sub(active_end);
    let tail = left.min(zeroed.saturating_sub(active_end));
    let bits = meta.lanes.iter().filter(|lane| lane.state == State::Active).fold(0, |bits, lane| bits | lane.id.bit());
    Inner {
        seed,
        uuid: meta.uuid,
        mark: Arc::new(Watermark::new(next - 1, options.shards)),
        intake: Mutex::new(Intake::new(next, options.group_bytes, options.segment_size, tail, left - tail)),
        work: Condvar::new(),
        committer: Mutex::default(),
        ring: Mutex::new(ring),
        ids: Mutex::new(ids),
        lanes: states,
        accounts,
        unowed: Account::new(0, 0, options.unowed_quota),
        in_use: AtomicU64::new(bits),
        saving: Mutex::new(()),
        saved: Mutex::new(Instant::now()),
        meta: Mutex::new(meta),
        bell: Mutex::new(Bell { rung: true, stop: false }),
        ringing: Condvar::new(),
        ending: Mutex::new(Ending::default()),
        full: AtomicBool::new(false),
        backlog_wants: AtomicU64::new(0),
        damage: Mutex::default(),
        counters: Counters::default(),
        recovered,
        lock,
        disk,
        options,
    }
}

fn take_lock<D: Disk>(disk: &D, options: &Options) -> Result<D::Lock, OpenError> {
    let path = options.dir.join("LOCK");
    disk.create_dir(&options.dir).map_err(OpenError::io(format!("make {}", options.dir.display())))?;
    match disk.lock(&path).map_err(OpenError::io(format!("lock {}", path.display())))? {
        Ok(lock) => Ok(lock),
        Err(pid) => Err(OpenError::Locked { path, pid }),
    }
}

/// A new log: both slots get their room, the first is written, all durable before the first segment is made.
fn first_meta<D: Disk>(disk: &D, options: &Options) -> Result<Meta, OpenError> {
    let dir = options.dir.join("journal");
    let names = disk.list(&dir).map_err(OpenError::io(format!("list {}", dir.display())))?;
    if let Some(name) = names.iter().find(|name| segment::number(name).is_some()) {
        return Err(OpenError::Damaged {
            path: options.dir.join("meta.0"),
            what: format!(
                "neither meta.0 nor meta.1 can be read, but there are segments ({name}): restore one of the two from a \
                 backup, or move the whole directory away to begin a new log"
            ),
        });
    }
    let hash = |n: u8| {
        use std::hash::BuildHasher as _;
        std::hash::RandomState::new().hash_one((n, now_micros(), std::process::id())).to_le_bytes()
    };
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&hash(0));
    uuid[8..].copy_from_slice(&hash(1));
    let meta = Meta {
        generation: 1,
        uuid,
        starts: 0,
        clean: false,
        next: 1,
        segment_size: options.segment_size,
        lanes: Vec::new(),
    };
    let work = || -> io::Result<()> {
        for slot in 0..2 {
            let file = disk.open(&meta_path(options, slot), Open::Create)?;
            file.zero(0, SLOT as u64)?;
            file.sync_data()?;
        }
        write_meta(disk, options, &meta)?;
        disk.sync_dir(&options.dir)
    };
    work().map_err(OpenError::io(format!("make {}", options.dir.join("meta.0").display())))?;
    Ok(meta)
}

/// The steps of a start that write.
struct Start<'a, D: Disk> {
    disk: &'a D,
    options: &'a Options,
    uuid: [u8; 16],
    seed: u32,
    next: u64,
    clean: bool,
}

impl<D: Disk> Start<'_, D> {
    /// Opens the cursor files of the plan's lanes; those that begin or were lost are saved first.
    fn lanes(
        &self,
        plan: &lanes::Plan,
        cursors: Vec<Option<Cursor>>,
        mut backlogs: Vec<VecDeque<Piece>>,
        lost: &[LaneId],
        entered: &Counts,
        unclean: bool,
    ) -> Result<Vec<Mutex<LaneState<D::File>>>, OpenError> {
        let mut states = no_lanes();
        for (index, cursor) in cursors.into_iter().enumerate() {
            let Some(id) = u8::try_from(index).ok().and_then(LaneId::new) else { continue };
            if !plan.lanes.iter().any(|lane| lane.id == id && lane.state == State::Active) {
                continue;
            }
            let begins = plan.begins.contains(&id);
            let opened = match cursor {
                Some(mut cursor) if !begins => {
                    // A cursor of before bytes were counted: nothing waits, as far as bytes go.
                    cursor.passed_bytes.get_or_insert(entered.bytes[index]);
                    lanes::open_cursor(self.disk, self.options, id, &cursor, self.seed, lost.contains(&id))
                        .map(|file| (cursor, file))
                }
                Some(_) | None => {
                    backlogs[index].clear();
                    let begun =
                        lanes::Begun { low: self.next, passed: entered.events[index], bytes: entered.bytes[index] };
                    lanes::begin_cursor(self.disk, self.options, id, begun, self.seed)
                }
            };
            let (cursor, file) = opened.map_err(OpenError::io(format!("open the cursor of lane {id}")))?;
            let backlog = std::mem::take(&mut backlogs[index]);
            states[index] = Mutex::new(lanes::state(cursor, file, backlog, unclean));
        }
        Ok(states)
    }

    /// The ring to go on with: the last segment after a clean stop, a fresh one with a copy of the last group otherwise. Also
    /// how far the zeros of that go.
    fn ring(&self, survey: Survey<D::File>) -> Result<(Ring<D::File>, u64), OpenError> {
        let mut ring = Ring {
            segments: VecDeque::from(survey.segments),
            spares: VecDeque::new(),
            scrap: survey.scrap,
            in_hand: 0,
            next_number: survey.next_number,
            entered: survey.entered,
            // Not known: a reader looks at everything that was there.
            latest: [self.next - 1; LANES],
        };
        if self.clean {
            if let Some(active) = ring.segments.back_mut() {
                active.sealed = false;
            }
            return Ok((ring, self.options.segment_size));
        }
        // The last segment ends before its last group from now on; if nothing is left of it, it is replaced, but it is not
        // scrap yet: until the copy is durable it has the last group.
        let mut replaced = None;
        if let Some(mut old) = ring.segments.pop_back() {
            if let Some(about) = survey.before_last {
                old.about = about;
            }
            if old.about.last < old.about.first {
                replaced = Some(old);
            } else {
                ring.segments.push_back(old);
            }
        }
        let (fresh, zeroed) = self.fresh(&mut ring, survey.last.as_ref())?;
        if let Some((number, file)) = replaced.and_then(|old| Some((old.about.number, Arc::into_inner(old.file)?))) {
            ring.scrap.push(Blank { number, file });
        }
        ring.segments.push_back(fresh);
        Ok((ring, zeroed))
    }

    /// A fresh segment with a copy of the last group. Its header is written last: only then does it count.
    fn fresh(&self, ring: &mut Ring<D::File>, last: Option<&LastGroup>) -> Result<(Segment<D::File>, u64), OpenError> {
        let mut entered = Box::new(ring.entered.clone());
        for share in last.map(|last| count(last.kept())).unwrap_or_default() {
            entered.events[share.lane] -= share.events;
            entered.bytes[share.lane] -= share.bytes;
        }
        let number = ring.next_number;
        ring.next_number += 1;
        let path = self.options.dir.join("journal").join(segment::name(number));
        let work = || OpenError::io(format!("write {}", path.display()));
        let (file, zeroed) = fresh_file(self.disk, self.options, ring, number).map_err(work())?;
        let first = last.map_or(self.next, |last| last.header.first);
        let header = segment::Header {
            uuid: self.uuid,
            number,
            first,
            resume: self.next,
            created: now_micros(),
            size: self.options.segment_size,
            entered: Some(entered.clone()),
            sealed: ring.sealed(),
        };
        let mut about = segment::Sealed { number, first, last: first - 1, end: PAGE64, lanes: 0 };
        if let Some(last) = last {
            let bytes = copy(last, number, self.seed);
            file.write_at(&bytes, PAGE64).and_then(|()| file.sync_data()).map_err(work())?;
            about.last = last.header.last();
            about.end += bytes.len() as u64;
            about.lanes = last.header.lanes;
        }
        put_header(&file, &header, self.seed).map_err(work())?;
        let (file, resume, created) = (Arc::new(file), self.next, header.created);
        let entered = Some(entered);
        Ok((Segment { file, about, resume, entered, created, sealed: false, keyed: last.is_some() }, zeroed))
    }
}

/// An empty file, and how far its zeros (or bytes of an earlier life) go.
fn fresh_file<D: Disk>(
    disk: &D,
    options: &Options,
    ring: &mut Ring<D::File>,
    number: u64,
) -> io::Result<(D::File, u64)> {
    let dir = options.dir.join("journal");
    // Files that are ready or were replaced earlier are taken first, so that a start needs no free space.
    if let Some(blank) = ring.scrap.pop() {
        if blank.file.len()? < options.segment_size {
            blank.file.reserve(options.segment_size)?;
            blank.file.sync_data()?;
        }
        disk.rename(&dir.join(segment::name(blank.number)), &dir.join(segment::name(number)))?;
        disk.sync_dir(&dir)?;
        return Ok((blank.file, options.segment_size));
    }
    grow::first_segment(disk, options, number)
}

/// The last group under another segment's number, with holes where an event did not survive.
fn copy(last: &LastGroup, number: u64, seed: u32) -> Vec<u8> {
    let mut buf = vec![0; HEADER];
    let mut rows = Vec::with_capacity(last.events.len());
    for event in &last.events {
        rows.push(match event {
            Some((row, body)) => {
                let offset = u32::try_from(buf.len()).unwrap_or(u32::MAX);
                buf.extend_from_slice(body);
                Row { offset, ..*row }
            }
            None => Row::HOLE,
        });
    }
    let parts = group::Parts {
        flags: COPY,
        segment: number,
        first: last.header.first,
        rows: &rows,
        lanes: &last.lanes,
        lsns: None,
    };
    group::finish(&mut buf, &parts, seed);
    buf
}
