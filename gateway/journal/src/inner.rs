//! What the journal's users, its two threads and its readers share, and the one way in which it fails.
//!
//! Locks, in the order in which they may be held together: `saving` or `meta` → `lanes[i]` → `ring`. All others are held
//! alone, and none over I/O but `committer`, `saving` and `meta`, which exist for that.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use crate::{
    Closed, Failure, LANES, LaneId, Notice, Options, Recovered,
    account::Account,
    committer::Committer,
    damage::Damage,
    disk::Disk,
    format::{
        cursor::Cursor,
        meta::{Meta, SLOT},
        piece::Piece,
        segment,
    },
    ids,
    intake::Intake,
    ring::Ring,
    stats::Counters,
    sync::hold,
    tracker::Tracker,
    watermark::Watermark,
};

/// A lane's progress and its cursor file.
pub(crate) struct LaneState<F> {
    pub tracker: Tracker,
    /// Unclean exits of those in flight at the last one.
    pub exits: BTreeMap<u64, u32>,
    /// Handed out, and not in flight: see [`crate::LaneReader::parked`].
    pub parked: BTreeSet<u64>,
    pub state: Vec<u8>,
    /// `None`: not a lane of the config.
    pub file: Option<Arc<F>>,
    pub generation: u64,
    pub dirty: bool,
    /// The segments of its backlog, oldest first.
    pub backlog: VecDeque<Piece>,
    /// What it has open up to here is in the backlog: it needs no segment of the ring that ends there or before.
    pub spilled: u64,
    /// So many reads that hand something out save the cursor before they do, see [`crate::LaneReader::read`].
    pub careful: u32,
    /// So many hand-outs of parked events do: reads must not use them up, because an event may end the process at a later try only.
    pub careful_again: u32,
    /// The cursor that this run began with may have had no room for all that was done.
    pub forgetful: bool,
    pub tally: Tally,
}

/// What a lane has copied and read back in this run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub spilled_segments: u64,
    pub spilled_events: u64,
    pub read_back: u64,
    /// Events that were lost to damage, and those of them that [`crate::Journal::take_lost`] gave out.
    pub lost: u64,
    pub lost_taken: u64,
}

impl<F> LaneState<F> {
    pub(crate) const fn unused() -> Self {
        Self {
            tracker: Tracker::new(),
            exits: BTreeMap::new(),
            parked: BTreeSet::new(),
            state: Vec::new(),
            file: None,
            generation: 0,
            dirty: false,
            backlog: VecDeque::new(),
            spilled: 0,
            careful: 0,
            careful_again: 0,
            forgetful: false,
            tally: Tally { spilled_segments: 0, spilled_events: 0, read_back: 0, lost: 0, lost_taken: 0 },
        }
    }

    /// Whether the cursor has to be saved before events are handed out; `suspects`: some were in flight at an unclean exit.
    pub(crate) fn is_careful(&mut self, suspects: bool) -> bool {
        let careful = self.careful > 0 || suspects;
        self.careful = self.careful.saturating_sub(1);
        careful && self.file.is_some()
    }

    /// The same before parked events are tried again.
    pub(crate) fn is_careful_again(&mut self, suspects: bool) -> bool {
        let careful = self.careful_again > 0 || suspects;
        self.careful_again = self.careful_again.saturating_sub(1);
        careful && self.file.is_some()
    }

    pub(crate) fn cursor(&self) -> Cursor {
        let mut cursor = self.tracker.snapshot(&self.exits, &self.parked);
        cursor.generation = self.generation;
        cursor.state.clone_from(&self.state);
        cursor
    }
}

/// What the helper thread is asked for.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    pub rung: bool,
    pub stop: bool,
}

#[derive(Default)]
pub(crate) struct Ending {
    pub failure: Option<Failure>,
    pub wakers: Vec<Waker>,
}

pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    pub options: Options,
    pub seed: u32,
    pub uuid: [u8; 16],
    pub mark: Arc<Watermark>,
    pub intake: Mutex<Intake>,
    /// The committer waits here for events.
    pub work: Condvar,
    pub committer: Mutex<Committer>,
    pub ring: Mutex<Ring<D::File>>,
    pub ids: Mutex<ids::Files>,
    pub lanes: Vec<Mutex<LaneState<D::File>>>,
    /// Per lane, the bytes that wait.
    pub accounts: Box<[Account]>,
    /// Of those of lane 0: the letters whose senders got no receipt. Letters of earlier runs count when they are met.
    pub unowed: Account,
    /// Bits of the lanes of the config.
    pub in_use: AtomicU64,
    pub saving: Mutex<()>,
    /// When the helper last saved the cursors because it was time to.
    pub saved: Mutex<Instant>,
    pub meta: Mutex<Meta>,
    pub bell: Mutex<Bell>,
    pub ringing: Condvar,
    pub ending: Mutex<Ending>,
    pub full: AtomicBool,
    /// A backlog found no room: so many bytes it wanted. 0: it has room.
    pub backlog_wants: AtomicU64,
    pub damage: Mutex<Damage>,
    pub counters: Counters,
    pub recovered: Recovered,
    #[expect(dead_code, reason = "held while the journal is open")]
    pub lock: D::Lock,
}

impl<D: Disk> Inner<D> {
    pub(crate) fn notice(&self, notice: &Notice) {
        if let Some(hook) = &self.options.hook {
            hook(notice);
        }
    }

    /// The first error of a write or sync: stops everything for good.
    pub(crate) fn fail(&self, failure: &Failure) {
        let wakers = {
            let mut ending = hold(&self.ending);
            if ending.failure.is_some() {
                return;
            }
            ending.failure = Some(failure.clone());
            std::mem::take(&mut ending.wakers)
        };
        self.shut(Closed::Failed);
        self.mark.end();
        for waker in wakers {
            waker.wake();
        }
        self.notice(&Notice::Failed(failure.clone()));
        self.ring_bell();
    }

    /// No more appends.
    pub(crate) fn shut(&self, why: Closed) {
        let waiting = {
            let mut intake = hold(&self.intake);
            if intake.closed != Some(Closed::Failed) {
                intake.closed = Some(why);
            }
            intake.wakers()
        };
        self.work.notify_all();
        wake(waiting);
    }

    /// Gets the helper thread going.
    pub(crate) fn ring_bell(&self) {
        hold(&self.bell).rung = true;
        self.ringing.notify_all();
    }

    pub(crate) fn has_failed(&self) -> bool {
        hold(&self.ending).failure.is_some()
    }

    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.options.dir.join("journal")
    }

    pub(crate) fn backlog_dir(&self, lane: LaneId) -> PathBuf {
        crate::format::piece::folder(&self.options, lane)
    }

    pub(crate) fn segment_path(&self, number: u64) -> PathBuf {
        self.journal_dir().join(segment::name(number))
    }

    /// Marks an event done, and gets the helper going if the ring waits for that.
    pub(crate) fn done(&self, lane: usize, lsn: u64) -> bool {
        let fresh = self.lane(lane, |state| {
            let fresh = state.tracker.done(lsn);
            state.exits.remove(&lsn);
            state.parked.remove(&lsn);
            state.dirty |= fresh;
            fresh
        });
        if fresh && self.full.load(Ordering::Relaxed) {
            self.ring_bell();
        }
        fresh
    }

    /// Works on a lane's progress, and keeps its account.
    pub(crate) fn lane<T>(&self, lane: usize, work: impl FnOnce(&mut LaneState<D::File>) -> T) -> T {
        let mut state = hold(&self.lanes[lane]);
        let unowed = state.tracker.unowed_bytes();
        let done = work(&mut state);
        self.accounts[lane].settle(&state.tracker);
        self.unowed.leave(unowed.saturating_sub(state.tracker.unowed_bytes()));
        done
    }

    /// Events of a lane that are durable and not done.
    pub(crate) fn pending(&self, lane: usize) -> u64 {
        let settled = hold(&self.lanes[lane]).tracker.settled();
        hold(&self.ring).entered.events[lane].saturating_sub(settled)
    }

    /// Writes the next meta slot and syncs it.
    pub(crate) fn write_meta(&self, meta: &mut Meta) -> std::io::Result<()> {
        meta.generation += 1;
        write_meta(&self.disk, &self.options, meta)
    }
}

/// Writes `meta` into the slot of its generation and syncs it. The slots' files are there and have their room.
pub(crate) fn write_meta<D: Disk>(disk: &D, options: &Options, meta: &Meta) -> std::io::Result<()> {
    use crate::disk::{DiskFile as _, Open};
    let bytes = meta.encode();
    debug_assert!(bytes.len() <= SLOT);
    let file = disk.open(&meta_path(options, meta.generation % 2), Open::Existing)?;
    file.write_at(&bytes, 0)?;
    file.sync_data()
}

pub(crate) fn meta_path(options: &Options, slot: u64) -> PathBuf {
    options.dir.join(format!("meta.{slot}"))
}

pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

/// One lane state per possible lane.
pub(crate) fn no_lanes<F>() -> Vec<Mutex<LaneState<F>>> {
    (0..LANES).map(|_| Mutex::new(LaneState::unused())).collect()
}
