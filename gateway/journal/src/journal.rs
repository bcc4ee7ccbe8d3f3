//! The journal as its users see it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    thread::JoinHandle,
};

use crate::{
    Closed, Dispatch, Encoded, Entry, Failed, Failure, LaneId, LaneInfo, LaneReader, LaneSpec, Lsn, OpenError, Options,
    Recovered, Scan, Stats, Waiter, Watch, committer,
    disk::{Disk, OsDisk},
    format::meta::State,
    inner::{Inner, wake},
    recovery,
    sync::hold,
    tend,
    watermark::block_on,
};

/// The write-ahead log. Clones are the same journal; when the last one goes, its threads end (what was appended is
/// written, but only [`Journal::close`] makes the stop a clean one).
pub struct Journal<D: Disk = OsDisk> {
    pub(crate) inner: Arc<Inner<D>>,
    threads: Arc<Threads<D>>,
}

impl<D: Disk> Clone for Journal<D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), threads: self.threads.clone() }
    }
}

struct Threads<D: Disk> {
    inner: Arc<Inner<D>>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl<D: Disk> Threads<D> {
    /// Writes what was appended, then ends both threads.
    fn stop(&self) {
        self.inner.shut(Closed::Stopping);
        hold(&self.inner.bell).stop = true;
        self.inner.ringing.notify_all();
        for thread in std::mem::take(&mut *hold(&self.running)) {
            // A panic there has been printed; the journal is not closed cleanly then.
            let _ = thread.join();
        }
    }
}

impl<D: Disk> Drop for Threads<D> {
    fn drop(&mut self) {
        self.stop();
        self.inner.mark.end();
    }
}

impl<D: Disk> Journal<D> {
    /// Opens the log in `options.dir`, or begins one; recovers what an unclean stop left.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed before the lanes were checked.
    pub fn open(disk: D, options: Options) -> Result<Self, OpenError> {
        let threads = options.threads;
        let inner = Arc::new(recovery::open(disk, options)?);
        let journal = Self { threads: Arc::new(Threads { inner: inner.clone(), running: Mutex::default() }), inner };
        if threads {
            journal.start("journal-commit", |inner| committer::run(inner))?;
            journal.start("journal-tend", tend::run)?;
        }
        Ok(journal)
    }

    fn start(&self, name: &'static str, run: fn(&Arc<Inner<D>>)) -> Result<(), OpenError> {
        let inner = self.inner.clone();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                // A thread that is gone would leave a journal that takes events and never says that they are durable.
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&inner))) {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                    let error = format!("it panicked: {}", text.unwrap_or_default());
                    inner.fail(&Failure { what: format!("run its thread {name}"), error });
                }
            })
            .map_err(OpenError::io(format!("start the thread {name}")))?;
        hold(&self.threads.running).push(thread);
        Ok(())
    }

    /// What tells this log from every other: random, made with the data directory, the same for its whole life.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.inner.uuid
    }

    /// Takes all events of one message or none; they get consecutive LSNs, and the last is given back. A memory copy
    /// under one short mutex: no I/O, no waiting. Durable later, see [`Journal::poll_durable`].
    ///
    /// # Errors
    /// Why nothing was kept, see [`Closed`].
    pub fn append(&self, entries: &[Encoded<'_>]) -> Result<Lsn, Closed> {
        let (last, idle) = {
            let mut intake = hold(&self.inner.intake);
            let last = intake.append(entries)?;
            (last, std::mem::take(&mut intake.idle))
        };
        if idle {
            self.inner.work.notify_one();
        }
        Ok(Lsn(last))
    }

    /// Everything up to here is durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn(self.inner.mark.durable())
    }

    /// The last LSN that was given out; durable or not.
    #[must_use]
    pub fn last(&self) -> Lsn {
        Lsn(hold(&self.inner.intake).next() - 1)
    }

    /// Ready when `lsn` is durable.
    ///
    /// # Errors
    /// The journal failed or was closed before: it may or may not have been kept.
    pub fn poll_durable(&self, cx: &mut Context<'_>, lsn: Lsn, waiter: &mut Waiter) -> Poll<Result<(), Failed>> {
        self.inner.mark.poll(cx, lsn.0, waiter)
    }

    /// The watermark alone, without the disk's type.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.inner.mark.clone())
    }

    /// One future per list of waiters, to be spawned on the runtime whose tasks wait.
    #[must_use]
    pub fn dispatchers(&self) -> Vec<Dispatch> {
        (0..self.inner.mark.lists()).map(|index| Dispatch { mark: self.inner.mark.clone(), index }).collect()
    }

    /// Ready when a message of `entries` events with `bytes` bytes in all could be appended now. It is no reservation:
    /// another may be quicker; then `append` says `Full` or `Busy` again.
    ///
    /// # Errors
    /// What never passes: `TooLarge`, `Failed`, `Stopping`.
    pub fn poll_room(&self, cx: &mut Context<'_>, entries: usize, bytes: usize) -> Poll<Result<(), Closed>> {
        let (answer, shaken) = hold(&self.inner.intake).poll_room(cx, entries, bytes);
        wake(shaken);
        answer
    }

    /// Whether such a message could be appended now.
    #[must_use]
    pub fn has_room(&self, entries: usize, bytes: usize) -> bool {
        hold(&self.inner.intake).check(entries, bytes).is_ok()
    }

    /// Ready when the disk failed: the process must end with exit code 74.
    pub fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut ending = hold(&self.inner.ending);
        if let Some(failure) = &ending.failure {
            return Poll::Ready(failure.clone());
        }
        if !ending.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            ending.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The first error of the disk, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        hold(&self.inner.ending).failure.clone()
    }

    /// The reader of a lane, at its low mark. One per lane at a time.
    #[must_use]
    pub fn lane(&self, id: LaneId) -> LaneReader<D> {
        LaneReader::new(self.inner.clone(), id)
    }

    /// The lanes of the config, lane 0 not among them.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneInfo> {
        let meta = hold(&self.inner.meta);
        let active = meta.lanes.iter().filter(|l| l.state == State::Active && l.id != LaneId::DEAD_LETTERS);
        active
            .map(|l| LaneInfo { id: l.id, name: l.name.clone(), kind: l.kind.clone(), config_hash: l.config_hash })
            .collect()
    }

    /// The lane of a backend.
    #[must_use]
    pub fn lane_id(&self, name: &str) -> Option<LaneId> {
        self.lanes().into_iter().find(|lane| lane.name == name).map(|lane| lane.id)
    }

    /// Fits the lanes to a new config; their ids in the order of `lanes`. Durable when it returns.
    ///
    /// # Errors
    /// `LanesMissing` when a lane with events is not among them: nothing changed.
    pub fn set_lanes(&self, lanes: &[LaneSpec]) -> Result<Vec<LaneId>, OpenError> {
        recovery::set_lanes(&self.inner, lanes)
    }

    /// Reads what is retained from the oldest on, of one lane or of all, and touches no cursor.
    #[must_use]
    pub fn scan(&self, lane: Option<LaneId>) -> Scan<D> {
        Scan::new(&self.inner, lane, Lsn::ZERO)
    }

    /// One event, if it is still retained, in the ring or in a backlog, and durable. Reads the headers of one segment.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read.
    pub fn read_at(&self, lsn: Lsn) -> io::Result<Option<Entry>> {
        Scan::one(&self.inner, lsn)
    }

    /// Marks an event of a lane done, in any order; `false` if it was so before.
    pub fn done(&self, lane: LaneId, lsn: Lsn) -> bool {
        self.inner.done(lane.index(), lsn.0)
    }

    /// Whether the lane is done with the event.
    #[must_use]
    pub fn is_done(&self, lane: LaneId, lsn: Lsn) -> bool {
        hold(&self.inner.lanes[lane.index()]).tracker.is_done(lsn.0)
    }

    /// Durable events of a lane that are not done.
    #[must_use]
    pub fn pending(&self, lane: LaneId) -> u64 {
        self.inner.pending(lane.index())
    }

    /// Saves the cursors that changed, now. The helper thread does it every `cursor_every`.
    ///
    /// # Errors
    /// The disk's; the journal has failed then.
    pub fn save_cursors(&self) -> io::Result<()> {
        tend::save_cursors(&self.inner).inspect_err(|e| self.inner.fail(&Failure::new("save cursors", e)))
    }

    /// What the start found.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.inner.recovered
    }

    /// Counters and fill levels.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = &*self.inner;
        let (abouts, files, spares) = {
            let ring = hold(&inner.ring);
            (ring.segments.iter().map(|s| (s.about, s.sealed)).collect::<Vec<_>>(), ring.files(), ring.spares.len())
        };
        let used = abouts.iter().filter(|(about, sealed)| !sealed || tend::needed(inner, about)).count() as u64;
        let counters = &inner.counters;
        let get = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        Stats {
            used_bytes: used * inner.options.segment_size,
            capacity_bytes: inner.options.segment_size * inner.options.segments as u64,
            segments: files,
            spares,
            groups: get(&counters.groups),
            events: get(&counters.events),
            bytes: get(&counters.bytes),
            syncs: std::array::from_fn(|i| get(&counters.syncs[i])),
            sync_micros: get(&counters.sync_micros),
            last_sync_micros: get(&counters.last_sync_micros),
            corrupt_groups: get(&counters.corrupt_groups) + inner.recovered.corrupt_groups,
            corrupt_events: get(&counters.corrupt_events) + inner.recovered.corrupt_events,
            cursor_saves: get(&counters.cursor_saves),
            recycled: get(&counters.recycled),
            ids: get(&counters.ids),
            durable: self.durable(),
            full: inner.full.load(Ordering::Relaxed),
        }
    }

    /// Blocks this thread until everything that was appended so far is durable. For tests, tools and shutdown.
    ///
    /// # Errors
    /// The journal failed or was closed before.
    pub fn sync(&self) -> Result<(), Failed> {
        let last = hold(&self.inner.intake).next() - 1;
        let mut waiter = Waiter::new();
        block_on(|cx| self.inner.mark.poll(cx, last, &mut waiter))
    }

    /// Writes what was appended, saves the cursors, marks the stop as clean and ends the threads. Blocks for that.
    /// Appends are refused with `Stopping` from here on.
    ///
    /// # Errors
    /// The disk failed before or now: the next start will recover.
    pub fn close(&self) -> Result<(), Failed> {
        self.threads.stop();
        while self.commit_step()? {}
        let closed = self.save_cursors().and_then(|()| {
            let mut meta = hold(&self.inner.meta);
            meta.next = hold(&self.inner.intake).next();
            meta.clean = true;
            self.inner.write_meta(&mut meta)
        });
        self.inner.mark.end();
        match (closed, self.failure()) {
            (Ok(()), None) => Ok(()),
            (Ok(()) | Err(_), _) => Err(Failed),
        }
    }

    /// One turn of the committer, for `Options::threads == false`; `false` if there was nothing to commit.
    ///
    /// # Errors
    /// The journal has failed.
    pub fn commit_step(&self) -> Result<bool, Failed> {
        match committer::step(&self.inner) {
            Ok(_) if self.inner.has_failed() => Err(Failed),
            Ok(more) => Ok(more),
            Err(failure) => {
                self.inner.fail(&failure);
                Err(Failed)
            }
        }
    }

    /// One turn of the helper, for `Options::threads == false`: has segments ready, and saves cursors if asked to.
    ///
    /// # Errors
    /// The journal has failed.
    pub fn tend_step(&self, cursors: bool) -> Result<(), Failed> {
        let done = tend::step(&self.inner, cursors);
        if let Err(failure) = &done {
            self.inner.fail(failure);
        }
        if self.inner.has_failed() { Err(Failed) } else { Ok(()) }
    }
}
