//! The trace ring: the last events and deliveries, so that `anygate trace` and `anygate tail` can say what happened.
//!
//! Bounded: the oldest are overwritten. It keeps attributes and decisions, never data, and what costs time (why a route did
//! not match) is worked out when somebody asks.
//!
//! Bounded in work, too: when more events come than [`NOTED_PER_SECOND`], it keeps one trace in 2, 4, 8, … so that it still
//! reaches about a second back. Which ones depends on the trace id alone, so that a trace is kept as a whole: all its events and
//! all their deliveries. What was not simply kept (refused, dropped, dead letters) and what the sender marked *sampled* is
//! always noted. Journal and stores know the others ([`crate::admin::trace`]).
use super::metrics::Count;
use crate::{router::RoutePlan, stack::Batch};
use backends::Position;
use schemas::{AckLevel, ByteStr, Door, Envelope, Event, ItemVerdict, TraceContext, Verdict, Word};
use smallvec::SmallVec;
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::broadcast;

/// Events that the ring remembers.
pub const EVENTS_MAX: usize = 8192;
/// Deliveries that the ring remembers.
pub const DELIVERIES_MAX: usize = 16384;
/// Events that the ring takes in a second before it leaves out traces.
pub const NOTED_PER_SECOND: u64 = 8192;
/// Events that a slow live tail may be behind before it misses some.
const TAIL_BEHIND_MAX: usize = 1024;
/// Data above this is left out of a live tail: the tail must not hold much memory.
const TAIL_DATA_MAX: usize = 64 * 1024;

/// What the ring knows of one event.
#[derive(Clone)]
pub struct Seen {
    /// Its attributes; the data is left out.
    pub envelope: Envelope,
    /// The door it came through.
    pub door: Door,
    /// `http` or `mqtt`, and the version.
    pub protocol: (&'static str, &'static str),
    /// What the protocol calls the sender.
    pub client: ByteStr,
    /// The gateway's span.
    pub trace: TraceContext,
    /// When its message was received.
    pub received: SystemTime,
    /// From received to kept or settled.
    pub kept_after: Duration,
    /// What became of it at the door; `None`: it was kept.
    pub fate: Option<ItemVerdict>,
    /// Why it is a dead letter, if it is one.
    pub dead: Option<Word>,
    /// Its ack level.
    pub level: AckLevel,
    /// Its record's LSN (the last one, when views differ); 0 for none.
    pub lsn: u64,
    /// The routes that took it.
    pub routes: SmallVec<[u32; 2]>,
    /// The generation's routes, to say why.
    pub plan: Option<Arc<RoutePlan>>,
    /// When the verdict left, and what it was.
    pub settled: Option<(Duration, &'static str)>,
    message: u64,
}

/// One delivery, or its end as a dead letter.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The event's trace id.
    pub trace_id: [u8; 16],
    /// The event's id.
    pub id: ByteStr,
    /// The record's LSN.
    pub lsn: u64,
    /// The backend.
    pub backend: ByteStr,
    /// Where it is now, or why it is nowhere.
    pub place: Result<Position, (Word, ByteStr)>,
    /// Tries before this one.
    pub attempts: u32,
    /// From received to confirmed.
    pub after: Duration,
}

impl Delivered {
    /// How an event ended at a backend.
    pub fn new(
        event: &Event,
        backend: &ByteStr,
        place: Result<Position, (Word, ByteStr)>,
        attempts: u32,
        after: Duration,
    ) -> Self {
        let (trace_id, id) = (event.trace.trace_id, event.envelope.shared_id());
        Delivered { trace_id, id, lsn: event.lsn, backend: backend.clone(), place, attempts, after }
    }
}

/// One event for a live tail.
#[derive(Clone, Debug)]
pub struct Tailed {
    /// The event, with its data unless that is larger than 64 KiB.
    pub envelope: Envelope,
    /// The door it came through.
    pub door: Door,
    /// `kept`, `dead_letter`, `duplicate`, `dropped` or `refused`, and the word if there is one.
    pub outcome: (&'static str, Option<Word>),
    /// The names of the routes that took it.
    pub routes: Vec<ByteStr>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Seen>,
    deliveries: VecDeque<Delivered>,
    /// The number of the event at the front of `events`; they are numbered from 1.
    first: u64,
}

/// The ring. One for the process.
pub struct Ring {
    inner: Mutex<Inner>,
    tail: broadcast::Sender<Tailed>,
    /// Events settled at the door.
    came: Count,
    tuned: Mutex<(Instant, u64)>,
    /// A trace is noted when the low bits of its id under this mask are zero.
    mask: AtomicU64,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Default for Ring {
    fn default() -> Self {
        Ring {
            inner: Mutex::new(Inner { first: 1, ..Inner::default() }),
            tail: broadcast::channel(TAIL_BEHIND_MAX).0,
            came: Count::default(),
            tuned: Mutex::new((crate::clock::now(), 0)),
            mask: AtomicU64::new(0),
        }
    }
}

impl Ring {
    /// Whether this trace is noted, at the rate at which events come now.
    pub fn notes(&self, trace_id: &[u8; 16]) -> bool {
        let mask = self.mask.load(Ordering::Relaxed);
        // The first half: senders may fill the other one with a time or a counter.
        let low = trace_id.first_chunk().map_or(0, |half| u64::from_be_bytes(*half));
        low & mask == 0
    }

    /// Looks how many events came since the last time, and notes more traces or fewer from now on. Called a few times a second.
    pub fn tune(&self) {
        let came = self.came.get();
        let mut tuned = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = u64::try_from(crate::clock::since(tuned.0).as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = came.saturating_sub(tuned.1).saturating_mul(1000) / millis;
        *tuned = (crate::clock::now(), came);
        let one_in = per_second.div_ceil(NOTED_PER_SECOND).max(1).next_power_of_two();
        self.mask.store(one_in - 1, Ordering::Relaxed);
    }

    /// A message was settled at the door: its events enter the ring. Returns the number under which its verdict is noted; 0 when
    /// it is not.
    pub fn message(&self, batch: &Batch, last_lsn: u64, records: usize) -> u64 {
        self.send_tail(batch);
        self.came.inc_by(u64::try_from(batch.items.len()).unwrap_or(0));
        let simply_kept = batch.faults.is_empty()
            && batch.items.iter().all(|item| item.fate.is_none() && item.dead.is_none())
            && !batch.parent.is_some_and(|parent| parent.is_sampled());
        if simply_kept && !self.notes(&batch.trace.trace_id) {
            return 0;
        }
        self.note(batch, last_lsn, records)
    }

    fn note(&self, batch: &Batch, last_lsn: u64, records: usize) -> u64 {
        let mut lsn = last_lsn.saturating_sub(u64::try_from(records).unwrap_or(0));
        let kept_after = crate::clock::since(batch.arrived);
        // Made before the lock is taken; what falls out of the ring is dropped after it is given back.
        let mut events: SmallVec<[Seen; 1]> = SmallVec::with_capacity(batch.items.len());
        for item in &batch.items {
            let journaled = item.fate.is_none() && item.level != AckLevel::Delivered;
            if journaled {
                lsn += if item.dead.is_some() { 1 } else { u64::try_from(item.views.len()).unwrap_or(0) };
            }
            let seen = Seen {
                envelope: item.envelope.without_data(),
                door: batch.door.clone(),
                protocol: (batch.origin.protocol, batch.origin.version),
                client: batch.origin.client.clone(),
                trace: batch.trace,
                received: batch.received,
                kept_after,
                fate: item.fate.clone(),
                dead: item.dead.as_ref().map(|(word, _)| *word),
                level: item.level,
                lsn: if journaled { lsn } else { 0 },
                routes: item.routes.clone(),
                plan: batch.plan.clone(),
                settled: None,
                message: 0,
            };
            events.push(seen);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let message = inner.first + u64::try_from(inner.events.len()).unwrap_or(0);
        for seen in &mut events {
            seen.message = message;
        }
        let old = replace(&mut inner.events, events, EVENTS_MAX);
        inner.first += u64::try_from(old.len()).unwrap_or(0);
        drop(inner);
        drop(old);
        message
    }

    /// A message's verdict is about to leave.
    pub fn settled(&self, message: u64, after: Duration, verdict: &Verdict) {
        if message == 0 {
            return;
        }
        let what = match verdict {
            Verdict::Receipt(receipt) => receipt.level.as_str(),
            Verdict::Refusal(_) => "refused",
            Verdict::Unknown(_) => "unknown",
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Its first events may have fallen out; then its number is below that of the front.
        let start = usize::try_from(message.saturating_sub(inner.first)).unwrap_or(usize::MAX).min(inner.events.len());
        for seen in inner.events.range_mut(start..).take_while(|seen| seen.message == message) {
            seen.settled = Some((after, what));
        }
    }

    /// A backend confirmed events.
    pub fn delivered(&self, hops: Vec<Delivered>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let old = replace(&mut inner.deliveries, hops, DELIVERIES_MAX);
        drop(inner);
        drop(old);
    }

    /// An event became a dead letter of a lane.
    pub fn dead_lettered(&self, event: &Event, backend: &ByteStr, letter: &Event) {
        let Some(death) = &letter.death else { return };
        let after = SystemTime::now().duration_since(event.received).unwrap_or_default();
        let place = Err((death.word, death.detail.clone()));
        self.delivered(vec![Delivered::new(event, backend, place, death.attempts, after)]);
    }

    /// The events whose trace id begins with `text` (hex), or whose id is `text`, oldest first, with their deliveries.
    pub fn find(&self, text: &str) -> Vec<(Seen, Vec<Delivered>)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |trace: &[u8; 16], id: &str| {
            let hex = TraceContext { trace_id: *trace, span_id: [0; 8], flags: 0 }.trace_id_hex();
            id == text || (text.len() >= 8 && hex.starts_with(text))
        };
        let deliveries: Vec<&Delivered> =
            inner.deliveries.iter().filter(|hop| wanted(&hop.trace_id, &hop.id)).collect();
        inner
            .events
            .iter()
            .filter(|seen| wanted(&seen.trace.trace_id, seen.envelope.id()))
            .map(|seen| {
                let own =
                    |hop: &&&Delivered| hop.trace_id == seen.trace.trace_id && hop.id.as_str() == seen.envelope.id();
                (seen.clone(), deliveries.iter().filter(own).map(|hop| (*hop).clone()).collect())
            })
            .collect()
    }

    /// A live tail: events from now on.
    pub fn tail(&self) -> broadcast::Receiver<Tailed> {
        self.tail.subscribe()
    }

    fn send_tail(&self, batch: &Batch) {
        if self.tail.receiver_count() == 0 {
            return;
        }
        for item in &batch.items {
            let outcome = match (&item.fate, &item.dead) {
                (None | Some(ItemVerdict::Kept { .. }), Some((word, _))) => ("dead_letter", Some(*word)),
                (None | Some(ItemVerdict::Kept { .. }), None) => ("kept", None),
                (Some(ItemVerdict::Duplicate), _) => ("duplicate", None),
                (Some(ItemVerdict::Dropped(word)), _) => ("dropped", Some(*word)),
                (Some(ItemVerdict::Refused(word, _)), _) => ("refused", Some(*word)),
            };
            let route = |number: &u32| Some(batch.plan.as_ref()?.routes().get(*number as usize)?.name.clone());
            let routes = item.routes.iter().filter_map(route).collect();
            let large = item.envelope.data().len() > TAIL_DATA_MAX;
            let envelope = if large { item.envelope.without_data() } else { item.envelope.clone() };
            // An error says that nobody listens any more.
            let _nobody = self.tail.send(Tailed { envelope, door: batch.door.clone(), outcome, routes });
        }
    }
}

/// Puts `new` at the end, and returns what falls out at the front.
fn replace<T>(queue: &mut VecDeque<T>, new: impl IntoIterator<Item = T>, most: usize) -> Vec<T> {
    queue.extend(new);
    let surplus = queue.len().saturating_sub(most);
    queue.drain(..surplus).collect()
}
