//! The lane's loop: read what is durable, deliver, treat outcomes, mark done.
//!
//! One future per lane and no task per event. It stops reading when enough is under way or parked, so that memory is bounded
//! whatever the backlog is.
use super::{
    Direct, Lane, dead,
    strands::{Strands, Waiting, backoff},
};
use crate::{random, state::Shared, telemetry::spans::Delivery};
use backends::{Events, Order, Outcome, Position, Why};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use journal::{LaneId, LaneReader, Lsn, OsDisk};
use schemas::{Event, Refusal, Unknown, Verdict, Word, record};
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::mpsc;
use transports::net::Shutdown;

/// Most bytes of events under way to one backend.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Most events under way to one backend.
const WINDOW_EVENTS: usize = 20_000;
/// Bytes read from the journal at a time.
const READ_BYTES: usize = 256 * 1024;
/// Most events of one delivery.
const DELIVERY_EVENTS: usize = 4096;
/// How often a held destination is probed.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// How often deadlines and dead letters that found no room are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One event of a delivery.
struct Job {
    event: Arc<Event>,
    attempts: u32,
    /// The number of the direct message it belongs to, if any.
    direct: Option<u64>,
}

/// A delivery under way: when it began, and what comes back.
type Flight = BoxFuture<'static, (SystemTime, Vec<Job>, Vec<Outcome>)>;

/// Runs one lane until it is told to stop and nothing is under way.
pub struct Runner {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
    reader: LaneReader<OsDisk>,
    strands: Strands,
    flights: FuturesUnordered<Flight>,
    /// When the delivery began whose outcomes are being treated.
    landing: SystemTime,
    probe: FuturesUnordered<BoxFuture<'static, Result<(), Why>>>,
    probe_due: Option<Instant>,
    under_way: (usize, usize),
    direct: Option<mpsc::Receiver<Direct>>,
    direct_open: HashMap<u64, Direct>,
    direct_deadlines: VecDeque<(Instant, u64)>,
    direct_next: u64,
    /// Dead letters that found no room in the journal.
    letters: VecDeque<(Arc<Event>, Event)>,
    /// Dead letters appended but not durable yet, with the event they stand for.
    unsynced: VecDeque<(Lsn, u64)>,
    exhausted: bool,
}

impl Runner {
    /// A runner for `lane`; there is one per lane.
    pub fn new(lane: Arc<Lane>, shared: Arc<Shared>) -> Option<Self> {
        let reader = shared.journal.lane(LaneId::new(lane.id)?);
        let direct = lane.take_direct();
        Some(Runner {
            lane,
            shared,
            reader,
            strands: Strands::default(),
            flights: FuturesUnordered::new(),
            landing: SystemTime::UNIX_EPOCH,
            probe: FuturesUnordered::new(),
            probe_due: None,
            under_way: (0, 0),
            direct,
            direct_open: HashMap::new(),
            direct_deadlines: VecDeque::new(),
            direct_next: 0,
            letters: VecDeque::new(),
            unsynced: VecDeque::new(),
            exhausted: false,
        })
    }

    /// Runs until `drained` is fired: the caller fires it when the lane is empty or the drain time is over.
    pub async fn run(mut self, mut stop: Shutdown) {
        loop {
            self.take_due();
            if self.can_read() && !self.exhausted {
                self.read();
                // Other lanes share the runtime's workers.
                tokio::task::yield_now().await;
            }
            self.publish();
            let tick = self.next_tick();
            let can_read = self.can_read() && self.exhausted;
            let can_direct = self.under_way.0 < WINDOW_EVENTS;
            tokio::select! {
                biased;
                Some((began, jobs, outcomes)) = self.flights.next() => {
                    self.landing = began;
                    self.landed(jobs, outcomes);
                }
                Some(outcome) = self.probe.next() => self.probed(outcome),
                () = stop.fired() => break,
                new = poll_fn(|cx| self.reader.poll_new(cx)), if can_read => {
                    if new.is_err() { break }
                    self.exhausted = false;
                }
                direct = receive(&mut self.direct), if can_direct => self.take_direct(direct),
                () = tokio::time::sleep(tick), if self.exhausted || !self.can_read() => self.tick(),
                () = std::future::ready(()), if !self.exhausted && self.can_read() => {}
            }
        }
        self.settle_open();
        self.lane.backend.close().await;
    }

    fn can_read(&self) -> bool {
        let held = self.lane.health.trouble().is_some_and(|trouble| trouble.destination);
        !held && self.under_way.0 < WINDOW_EVENTS && self.under_way.1 < WINDOW_BYTES && self.strands.has_room() && self.letters.is_empty()
    }

    fn read(&mut self) {
        let entries = match self.reader.read(READ_BYTES) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(backend = %self.lane.name, %error, "the journal could not be read");
                self.lane.health.failed(Word::Internal, &format!("the journal could not be read: {error}"), false);
                self.exhausted = true;
                return;
            }
        };
        self.exhausted = entries.is_empty();
        let mut jobs = Vec::with_capacity(entries.len());
        let one = self.lane.backend.order() == Order::OnePerStrand;
        for entry in entries {
            let lsn = entry.lsn;
            match record::decode_event(&Bytes::from_owner(entry.body), lsn.get()) {
                Ok(event) => self.line_up(event, one, &mut jobs),
                Err(error) => {
                    // The checksum held, so this is a record of a newer version or a fault of ours; it stays in the journal.
                    tracing::error!(backend = %self.lane.name, %lsn, %error, "a record cannot be read");
                    self.lane.meter.dropped(Word::Internal);
                    self.reader.done(lsn);
                }
            }
        }
        self.fly(jobs);
    }

    fn line_up(&mut self, event: Event, one: bool, jobs: &mut Vec<Job>) {
        let strand = self.lane.backend.strand(&event);
        let event = Arc::new(event);
        if self.strands.is_waiting(strand) {
            self.strands.push(strand, Waiting { event, attempts: 0 });
            return;
        }
        if one {
            self.strands.begin(strand);
        }
        jobs.push(Job { event, attempts: 0, direct: None });
    }

    fn take_due(&mut self) {
        let one = self.lane.backend.order() == Order::OnePerStrand;
        let held = self.lane.health.trouble().is_some_and(|trouble| trouble.destination);
        if held || self.strands.next_due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        let waiting = self.strands.take_due(Instant::now(), DELIVERY_EVENTS, one);
        self.fly(waiting.into_iter().map(|waiting| Job { event: waiting.event, attempts: waiting.attempts, direct: None }).collect());
    }

    /// Starts deliveries: in the order given, at most [`DELIVERY_EVENTS`] each.
    fn fly(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            let rest = if jobs.len() > DELIVERY_EVENTS { jobs.split_off(DELIVERY_EVENTS) } else { Vec::new() };
            self.under_way.0 += jobs.len();
            self.under_way.1 += jobs.iter().map(|job| job.event.envelope.size()).sum::<usize>();
            let events: Events = jobs.iter().map(|job| Arc::clone(&job.event)).collect();
            // `deliver` takes its place in line before it returns: order is the order of these calls.
            let outcome = self.lane.backend.deliver(events);
            let began = SystemTime::now();
            self.flights.push(Box::pin(async move { (began, jobs, outcome.await) }));
            jobs = rest;
        }
    }

    fn landed(&mut self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        self.under_way.0 -= jobs.len();
        self.under_way.1 -= jobs.iter().map(|job| job.event.envelope.size()).sum::<usize>();
        if jobs.len() != outcomes.len() {
            tracing::error!(backend = %self.lane.name, events = jobs.len(), outcomes = outcomes.len(), "a backend broke its contract");
        }
        let missing = Outcome::Retry(Why::new(Word::Internal, "the backend gave no outcome"));
        let outcomes = outcomes.into_iter().chain(std::iter::repeat(missing));
        let one = self.lane.backend.order() == Order::OnePerStrand;
        let now = Instant::now();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let strand = self.lane.backend.strand(&job.event);
            let stored = job.direct.is_none();
            match job.direct {
                Some(number) => self.landed_direct(number, outcome),
                None => self.landed_stored(job, outcome),
            }
            if one && stored {
                self.strands.end(strand, now);
            }
        }
    }

    fn landed_stored(&mut self, job: Job, outcome: Outcome) {
        match outcome {
            Outcome::Done(position) => self.done(&job, &position),
            Outcome::Retry(why) => {
                self.trouble(&why, false);
                self.lane.meter.retried(why.word);
                let attempts = job.attempts + 1;
                if self.lane.treatment.attempts.is_some_and(|most| attempts >= most) {
                    self.give_up(&job.event, &why, attempts);
                    return;
                }
                let (low, high) = self.lane.treatment.backoff;
                let due = Instant::now() + backoff(job.attempts, low, high, random::u32());
                let strand = self.lane.backend.strand(&job.event);
                self.strands.park(strand, Waiting { event: job.event, attempts }, due);
            }
            Outcome::Record(why) => self.give_up(&job.event, &why, job.attempts + 1),
            Outcome::Destination(why) => {
                self.trouble(&why, true);
                self.lane.meter.retried(why.word);
                self.probe_due.get_or_insert(Instant::now() + PROBE_EVERY);
                let strand = self.lane.backend.strand(&job.event);
                // It leaves when a probe has succeeded; the tries do not count against the event.
                self.strands.park(strand, Waiting { event: job.event, attempts: job.attempts }, Instant::now() + PROBE_EVERY);
            }
        }
    }

    fn done(&mut self, job: &Job, position: &Position) {
        self.well();
        if job.event.lsn > 0 {
            self.reader.done(Lsn::from_raw(job.event.lsn));
        }
        self.delivered(&job.event, position, job.attempts);
    }

    fn delivered(&self, event: &Arc<Event>, position: &Position, attempts: u32) {
        let took = SystemTime::now().duration_since(event.received).unwrap_or_default();
        self.lane.meter.delivered_after(took);
        self.shared.ring.delivered(event, &self.lane.name, position, attempts, took);
        self.span(event, Ok(position), attempts);
    }

    fn span(&self, event: &Event, end: Result<&Position, &Why>, attempts: u32) {
        let (backend, began) = (&self.lane.name, self.landing);
        self.shared.spans.delivery(event, || Delivery { backend, kind: self.lane.backend.kind(), attempts, began, end });
    }

    fn give_up(&mut self, event: &Arc<Event>, why: &Why, attempts: u32) {
        let trace_id = event.trace.trace_id_hex();
        tracing::warn!(backend = %self.lane.name, event_id = event.envelope.id(), trace_id, code = why.word.as_str(), detail = %why.detail, "an event cannot be delivered");
        self.span(event, Err(why), attempts);
        if !self.lane.treatment.dead_letter {
            self.lane.meter.dropped(why.word);
            self.reader.done(Lsn::from_raw(event.lsn));
            return;
        }
        let letter = dead::of_lane(event, &self.lane.name, why, attempts);
        self.letters.push_back((Arc::clone(event), letter));
        self.write_letters();
    }

    /// Appends dead letters; what finds no room is tried again at the next tick, and the lane reads no more until then.
    fn write_letters(&mut self) {
        while let Some((event, letter)) = self.letters.front() {
            match dead::append(&self.shared, letter) {
                Ok(lsn) => {
                    self.unsynced.push_back((Lsn::from_raw(lsn), event.lsn));
                    self.lane.meter.dead_lettered.inc();
                    self.shared.ring.dead_lettered(event, &self.lane.name, letter);
                    self.letters.pop_front();
                }
                Err(_) => return,
            }
        }
    }

    /// Events whose dead letter is durable are done here.
    fn settle_letters(&mut self) {
        let durable = self.shared.journal.durable();
        while let Some((letter, event)) = self.unsynced.front().copied().filter(|(letter, _)| *letter <= durable) {
            let _ = letter;
            self.reader.done(Lsn::from_raw(event));
            self.unsynced.pop_front();
        }
    }

    fn trouble(&self, why: &Why, destination: bool) {
        self.lane.meter.up.set(0);
        if self.lane.health.failed(why.word, &why.detail, destination) {
            if destination {
                tracing::error!(backend = %self.lane.name, code = why.word.as_str(), detail = %why.detail, "the destination is wrong; the lane holds its events until it is mended");
            } else {
                tracing::warn!(backend = %self.lane.name, code = why.word.as_str(), detail = %why.detail, "deliveries fail and are tried again");
            }
        }
    }

    fn well(&self) {
        if let Some(before) = self.lane.health.well() {
            self.lane.meter.up.set(1);
            let seconds = before.since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(backend = %self.lane.name, seconds, "deliveries succeed again");
        }
    }

    fn probed(&mut self, outcome: Result<(), Why>) {
        match outcome {
            Ok(()) => {
                self.well();
                self.probe_due = None;
                self.strands.all_due(Instant::now());
            }
            Err(why) => {
                self.trouble(&why, true);
                self.probe_due = Some(Instant::now() + PROBE_EVERY);
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.probe_due.is_some_and(|due| due <= now) && self.probe.is_empty() {
            self.probe_due = None;
            self.probe.push(self.lane.backend.probe());
        }
        self.write_letters();
        self.settle_letters();
        self.expire_direct(now);
        // A read error is tried again.
        self.exhausted = false;
    }

    fn next_tick(&self) -> Duration {
        let now = Instant::now();
        let open = !self.unsynced.is_empty() || !self.letters.is_empty() || !self.direct_open.is_empty();
        let look = if open { LOOK_EVERY } else { Duration::from_secs(1) };
        let due = self.strands.next_due().into_iter().chain(self.probe_due).min();
        due.map_or(look, |due| due.saturating_duration_since(now).min(look)).max(Duration::from_millis(1))
    }

    fn publish(&self) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.lane.meter.inflight.set(number(self.under_way.0));
        self.lane.meter.pending.set(i64::try_from(self.reader.pending()).unwrap_or(i64::MAX).saturating_add(number(self.direct_open.len())));
    }

    fn take_direct(&mut self, direct: Direct) {
        let number = self.direct_next;
        self.direct_next += 1;
        let job = Job { event: Arc::clone(&direct.event), attempts: 0, direct: Some(number) };
        self.direct_deadlines.push_back((direct.deadline, number));
        self.direct_open.insert(number, direct);
        let mut jobs = vec![job];
        while jobs.len() < DELIVERY_EVENTS
            && let Some(direct) = self.direct.as_mut().and_then(|receiver| receiver.try_recv().ok())
        {
            let number = self.direct_next;
            self.direct_next += 1;
            jobs.push(Job { event: Arc::clone(&direct.event), attempts: 0, direct: Some(number) });
            self.direct_deadlines.push_back((direct.deadline, number));
            self.direct_open.insert(number, direct);
        }
        self.fly(jobs);
    }

    fn landed_direct(&mut self, number: u64, outcome: Outcome) {
        match &outcome {
            Outcome::Done(_) => self.well(),
            Outcome::Retry(why) => self.trouble(why, false),
            Outcome::Destination(why) => {
                self.trouble(why, true);
                self.probe_due.get_or_insert(Instant::now() + PROBE_EVERY);
            }
            Outcome::Record(_) => {}
        }
        // Nobody waits any more when the deadline has passed; it was counted then.
        let Some(direct) = self.direct_open.remove(&number) else { return };
        self.lane.direct_left(&direct);
        if let Outcome::Retry(why) | Outcome::Record(why) | Outcome::Destination(why) = &outcome {
            self.span(&direct.event, Err(why), 0);
        }
        let verdict = match outcome {
            Outcome::Done(position) => {
                self.delivered(&direct.event, &position, 0);
                None
            }
            // It may have reached the backend: not a refusal.
            Outcome::Retry(why) => {
                self.lane.meter.dropped(why.word);
                Some(Verdict::Unknown(Unknown { word: Word::Timeout }))
            }
            Outcome::Record(why) => {
                self.lane.meter.dropped(why.word);
                Some(Refusal::new(why.word, why.detail).into())
            }
            Outcome::Destination(why) => {
                self.lane.meter.dropped(why.word);
                let refusal = Refusal::new(Word::BackendUnavailable, why.detail).retry_after(PROBE_EVERY);
                Some(refusal.into())
            }
        };
        direct.slot.settle(verdict);
    }

    /// Senders whose deadline has passed are told *unknown*; the delivery goes on.
    fn expire_direct(&mut self, now: Instant) {
        while let Some((_, number)) = self.direct_deadlines.front().copied().filter(|(deadline, _)| *deadline <= now) {
            self.direct_deadlines.pop_front();
            if let Some(direct) = self.direct_open.remove(&number) {
                self.lane.direct_left(&direct);
                self.lane.meter.dropped(Word::Timeout);
                direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::Timeout })));
            }
        }
    }

    /// The lane stops: whoever waits for a direct delivery is told the truth, which is that nobody knows.
    fn settle_open(&mut self) {
        self.settle_letters();
        for (_, direct) in self.direct_open.drain() {
            self.lane.direct_left(&direct);
            self.lane.meter.dropped(Word::ShuttingDown);
            direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::ShuttingDown })));
        }
    }
}

/// The next direct event; never ready when the window is closed.
async fn receive(direct: &mut Option<mpsc::Receiver<Direct>>) -> Direct {
    if let Some(receiver) = direct
        && let Some(event) = receiver.recv().await
    {
        return event;
    }
    std::future::pending().await
}
