//! The lane's loop: read what is durable, deliver, treat outcomes, mark done.
//!
//! One future per lane and no task per event. It stops reading when enough is under way or parked, so that memory is bounded
//! whatever the backlog is.
use super::{
    Lane,
    direct::Directs,
    hand_back::asked,
    strands::{Strands, Waiting},
    suspects::{POISON_EXITS, SUSPECT_EXITS, Suspects},
};
use crate::{clock, state::Shared, telemetry::Delivered};
use backends::{Events, Order, Outcome, Why};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use journal::{AnyDisk, LaneId, LaneReader, Lsn};
use schemas::{Event, Word, record};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use transports::net::Shutdown;

/// Bytes read from the journal at a time.
const READ_BYTES: usize = 256 * 1024;
/// After a read of less than this the lane rests: a lane that reads every small group as it comes wakes as often as the journal
/// syncs, and costs more than its work.
const READ_WORTH: usize = 64 * 1024;
/// How long it rests. An event that comes to an idle lane is delivered at once; one that comes right after another waits this
/// long at most, or until the timer's next whole millisecond.
const REST: Duration = Duration::from_millis(1);
/// Most events of one delivery.
pub(super) const DELIVERY_EVENTS: usize = 4096;
/// How often a held destination is probed.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How often a far end that is well is looked at all the same: what it takes, and how safe it is, may change.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// How often the age of the oldest event is published.
const AGE_EVERY: Duration = Duration::from_millis(200);

/// One event of a delivery.
pub(super) struct Job {
    pub(super) event: Arc<Event>,
    pub(super) attempts: u32,
    /// It may be what ended the process before.
    pub(super) suspect: bool,
    /// The number of the direct message it belongs to, if any.
    pub(super) direct: Option<u64>,
}

/// A delivery under way: its number, and what comes back.
type Flight = BoxFuture<'static, (u64, Vec<Job>, Vec<Outcome>)>;

/// When a delivery began, and when the oldest of its events was received.
pub(super) struct Began {
    wall: SystemTime,
    pub(super) at: Instant,
    oldest: Option<SystemTime>,
}

/// Runs one lane until it is told to stop and nothing is under way.
pub struct Runner {
    pub(super) lane: Arc<Lane>,
    pub(super) shared: Arc<Shared>,
    pub(super) reader: LaneReader<AnyDisk>,
    pub(super) strands: Strands,
    pub(super) flights: FuturesUnordered<Flight>,
    /// When the delivery began whose outcomes are being treated.
    pub(super) landing: SystemTime,
    /// When each delivery under way began, by its number.
    pub(super) began: BTreeMap<u64, Began>,
    pub(super) probe: FuturesUnordered<BoxFuture<'static, Result<(), Why>>>,
    pub(super) probe_due: Option<Instant>,
    pub(super) under_way: (usize, usize),
    pub(super) directs: Directs,
    /// Dead letters that found no room in the journal.
    pub(super) letters: VecDeque<(Arc<Event>, Event)>,
    /// Dead letters appended but not durable yet, with the event they stand for.
    pub(super) unsynced: VecDeque<(Lsn, u64)>,
    /// When the delivery ended whose outcomes are being treated, and what it confirmed.
    pub(super) landed_at: SystemTime,
    pub(super) hops: Vec<Delivered>,
    pub(super) exhausted: bool,
    /// Until when the lane rests after a small read.
    pub(super) rest: Option<Instant>,
    /// Events that may be what ended the process before.
    pub(super) suspects: Suspects,
    /// The journal could not be read: not again before the next tick.
    pub(super) unreadable: bool,
    /// Whether a probe has ever succeeded: before that nothing is delivered, because what the far end takes is not known.
    pub(super) known: bool,
    /// When the far end was last looked at, and whether the look under way is one of those that nothing depends on.
    pub(super) looked: (Instant, bool),
    /// When the age of the oldest event was last published.
    pub(super) aged: Instant,
    /// Fired when another instance of the backend is to take over, or the lane is to go.
    pub(super) hand_back: Option<Shutdown>,
    /// Set when it was fired: until when outcomes are waited for.
    pub(super) leaving: Option<Instant>,
}

impl Runner {
    /// A runner for `lane`; there is one per lane.
    pub fn new(lane: Arc<Lane>, shared: Arc<Shared>) -> Option<Self> {
        let reader = shared.journal.lane(LaneId::new(lane.id)?);
        let directs = Directs::new(lane.take_direct());
        Some(Runner {
            lane,
            shared,
            reader,
            strands: Strands::default(),
            flights: FuturesUnordered::new(),
            landing: SystemTime::UNIX_EPOCH,
            began: BTreeMap::new(),
            probe: FuturesUnordered::new(),
            probe_due: None,
            under_way: (0, 0),
            directs,
            letters: VecDeque::new(),
            unsynced: VecDeque::new(),
            landed_at: SystemTime::UNIX_EPOCH,
            hops: Vec::new(),
            exhausted: false,
            rest: None,
            suspects: Suspects::default(),
            unreadable: false,
            known: false,
            looked: (clock::now(), false),
            aged: clock::now(),
            hand_back: None,
            leaving: None,
        })
    }

    /// The backend's name.
    pub fn name(&self) -> &str {
        &self.lane.name
    }

    /// Runs until `drained` is fired: the caller fires it when the lane is empty or the drain time is over.
    pub async fn run(mut self, mut stop: Shutdown) {
        // What is wrong from the start is said at the start: no broker answers, the topic is missing.
        self.probe.push(self.lane.backend.probe());
        while !self.has_handed_back() {
            self.lane.beat.beat();
            self.look_out();
            self.take_due();
            if self.can_read() && !self.exhausted {
                self.read();
                // Other lanes share the runtime's workers.
                tokio::task::yield_now().await;
            }
            self.publish();
            let tick = self.next_tick();
            let can_read = self.can_read() && self.exhausted && !self.unreadable && self.rest.is_none();
            tokio::select! {
                biased;
                Some((number, jobs, outcomes)) = self.flights.next() => self.landed(number, jobs, outcomes),
                Some(outcome) = self.probe.next() => self.probed(outcome),
                () = stop.fired() => break,
                () = asked(&mut self.hand_back), if self.leaving.is_none() => self.hand_back(),
                new = poll_fn(|cx| self.reader.poll_new(cx)), if can_read => {
                    if new.is_err() { break }
                    self.exhausted = false;
                }
                direct = self.directs.receive() => self.take_direct(direct),
                () = tokio::time::sleep(tick), if self.exhausted || !self.can_read() => self.tick(),
                () = std::future::ready(()), if !self.exhausted && self.can_read() => {}
            }
        }
        self.finish_letters().await;
        self.settle_open();
        self.lane.backend.close().await;
    }

    fn read(&mut self) {
        let entries = match self.reader.read(if self.suspects.one_by_one() { 1 } else { READ_BYTES }) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(backend = %self.lane.name, %error, "the journal could not be read");
                self.lane.health.failed(Word::Internal, &format!("the journal could not be read: {error}"), false);
                self.exhausted = true;
                self.unreadable = true;
                return;
            }
        };
        self.exhausted = entries.is_empty();
        let bytes: usize = entries.iter().map(|entry| entry.body.len()).sum();
        if !self.suspects.one_by_one() && bytes > 0 && bytes < READ_WORTH {
            self.exhausted = true;
            self.rest = Some(clock::now() + REST);
        }
        let mut jobs = Vec::with_capacity(entries.len());
        let mut begun = (self.lane.backend.order() == Order::OnePerStrand).then(HashSet::new);
        let discards = self.lane.backend.discards();
        self.landed_at = SystemTime::now();
        for entry in entries {
            let (lsn, exits) = (entry.lsn, entry.attempts);
            if discards && exits < POISON_EXITS && self.discard(lsn, &entry.body) {
                continue;
            }
            match record::decode_event(&Bytes::from_owner(entry.body), lsn.get()) {
                Ok(event) if exits >= POISON_EXITS => self.quarantine(event, exits),
                Ok(event) => self.line_up(event, exits >= SUSPECT_EXITS, &mut begun, &mut jobs),
                Err(error) => {
                    // The checksum held, so this is a record of a newer version or a fault of ours. It was acknowledged: it stays
                    // pending in the journal, for a program that can read it.
                    tracing::error!(backend = %self.lane.name, %lsn, %error, "a record cannot be read; it stays in the journal");
                    self.lane.meter.retried(Word::Internal);
                    self.reader.parked([lsn]);
                    let why = format!("the record at lsn {lsn} cannot be read: {error}");
                    self.lane.health.left_behind(Word::Internal, why);
                }
            }
        }
        self.fly(jobs);
    }

    /// An event for a backend that discards: done as it is. `false` when somebody traces it, so that it must be read.
    fn discard(&mut self, lsn: Lsn, body: &[u8]) -> bool {
        let Some(seen) = record::glance(body) else { return false };
        if seen.trace.is_sampled() || self.shared.ring.notes(&seen.trace.trace_id) {
            return false;
        }
        self.well();
        self.reader.done(lsn);
        self.lane.meter.delivered_after(self.landed_at.duration_since(seen.received).unwrap_or_default());
        true
    }

    /// Into the next delivery, or behind its strand. `begun`: the strands of that delivery, for a backend that takes one call
    /// per strand at a time: a call may hold many events of a strand.
    fn line_up(&mut self, event: Event, suspect: bool, begun: &mut Option<HashSet<u64>>, jobs: &mut Vec<Job>) {
        let strand = self.lane.strand(&event);
        let event = Arc::new(event);
        let in_this_call = begun.as_ref().is_some_and(|begun| begun.contains(&strand));
        if !in_this_call && self.strands.is_waiting(strand) {
            self.reader.parked([Lsn::from_raw(event.lsn)]);
            self.strands.push(strand, Waiting { event, attempts: 0, suspect });
            return;
        }
        if let Some(begun) = begun
            && begun.insert(strand)
        {
            self.strands.begin(strand);
        }
        jobs.push(Job { event, attempts: 0, suspect, direct: None });
    }

    fn take_due(&mut self) {
        let one = self.lane.backend.order() == Order::OnePerStrand;
        if !self.may_retry() || self.strands.next_due().is_none_or(|due| due > clock::now()) {
            return;
        }
        let waiting = if self.suspects.one_by_one() {
            self.strands.take_first(clock::now(), one).into_iter().collect()
        } else {
            self.strands.take_due(clock::now(), DELIVERY_EVENTS, one)
        };
        // Direct events have no place in the journal.
        let lsns = waiting.iter().map(|waiting| waiting.event.lsn).filter(|lsn| *lsn > 0).map(Lsn::from_raw);
        if self.reader.again(lsns).is_err() {
            // The journal has failed, and says so itself: they are for the next start.
            return;
        }
        self.fly(waiting.into_iter().map(Job::from).collect());
    }

    /// Starts deliveries: in the order given, at most [`DELIVERY_EVENTS`] each, unless that would split a strand over two calls.
    pub(super) fn fly(&mut self, mut jobs: Vec<Job>) {
        let whole = self.lane.backend.order() == Order::OnePerStrand;
        while !jobs.is_empty() {
            let rest =
                if !whole && jobs.len() > DELIVERY_EVENTS { jobs.split_off(DELIVERY_EVENTS) } else { Vec::new() };
            self.suspects.began(&jobs);
            self.under_way.0 += jobs.len();
            self.under_way.1 += jobs.iter().map(|job| job.event.envelope.size()).sum::<usize>();
            let events: Events = jobs.iter().map(|job| Arc::clone(&job.event)).collect();
            // `deliver` takes its place in line before it returns: order is the order of these calls.
            let outcome = self.lane.backend.deliver(events);
            let number = self.began.last_key_value().map_or(0, |(number, _)| number + 1);
            let oldest = jobs.iter().map(|job| job.event.received).min();
            self.began.insert(number, Began { wall: SystemTime::now(), at: clock::now(), oldest });
            self.flights.push(Box::pin(async move { (number, jobs, outcome.await) }));
            jobs = rest;
        }
    }

    fn landed(&mut self, number: u64, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        self.landed_at = SystemTime::now();
        if let Some(began) = self.began.remove(&number) {
            self.landing = began.wall;
        }
        self.suspects.ended(&jobs);
        self.under_way.0 -= jobs.len();
        self.under_way.1 -= jobs.iter().map(|job| job.event.envelope.size()).sum::<usize>();
        if jobs.len() != outcomes.len() {
            tracing::error!(backend = %self.lane.name, events = jobs.len(), outcomes = outcomes.len(), "a backend broke its contract");
        }
        let missing = Outcome::Retry(Why::new(Word::Internal, "the backend gave no outcome"));
        let outcomes = outcomes.into_iter().chain(std::iter::repeat(missing));
        let one = self.lane.backend.order() == Order::OnePerStrand;
        let mut ended = HashSet::new();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            if one && job.direct.is_none() {
                ended.insert(self.lane.strand(&job.event));
            }
            match job.direct {
                Some(number) => self.landed_direct(number, outcome),
                None => self.landed_stored(job, outcome),
            }
        }
        if !self.hops.is_empty() {
            self.shared.ring.delivered(std::mem::take(&mut self.hops));
        }
        for strand in ended {
            self.strands.end(strand, clock::now());
        }
    }

    fn tick(&mut self) {
        let now = clock::now();
        if self.is_slow() && self.lane.health.trouble().is_none() {
            self.probe_due.get_or_insert(now);
        }
        if self.probe_due.is_some_and(|due| due <= now) && self.probe.is_empty() {
            self.probe_due = None;
            self.probe.push(self.lane.backend.probe());
        } else if self.known && clock::since(self.looked.0) > LOOK_AGAIN && self.probe.is_empty() {
            self.looked = (now, true);
            self.probe.push(self.lane.backend.probe());
        }
        self.write_letters();
        self.settle_letters();
        self.tend_direct(now);
        // The rest is over, and a read error is tried again.
        self.exhausted = false;
        self.unreadable = false;
        self.rest = None;
    }

    fn publish(&mut self) {
        self.lane.meter.inflight.set(i64::try_from(self.under_way.0).unwrap_or(i64::MAX));
        if clock::since(self.aged) < AGE_EVERY {
            return;
        }
        self.aged = clock::now();
        let under_way = self.began.values().filter_map(|began| began.oldest).min();
        let oldest = under_way.into_iter().chain(self.strands.oldest()).min();
        let age = oldest.and_then(|oldest| oldest.elapsed().ok()).unwrap_or_default();
        self.lane.meter.oldest_age.set(age.as_secs_f64());
    }
}
