//! Strands that wait: within a lane, the events that must keep their order.
//!
//! A retry parks its strand, not the lane: what comes later for the same strand queues behind, everything else goes on.
//! A strand whose backend takes one call at a time queues here, too. Bounded by bytes: above it the lane stops reading.
use schemas::Event;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Most bytes of events that wait in strands; above it the lane reads no more.
pub const PARKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An event that waits, with the tries it had.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The event.
    pub event: Arc<Event>,
    /// Deliveries tried so far.
    pub attempts: u32,
    /// It may be what ended the process before.
    pub suspect: bool,
}

#[derive(Debug, Default)]
struct Strand {
    queue: BTreeMap<u64, Waiting>,
    /// Nothing leaves before; `None`: a call of this strand is under way.
    due: Option<Instant>,
}

/// All waiting strands of one lane.
#[derive(Debug, Default)]
pub struct Strands {
    waiting: HashMap<u64, Strand>,
    bytes: usize,
    /// The strands in which suspects wait, by the suspects' LSNs.
    suspects: BTreeMap<u64, u64>,
}

impl Strands {
    /// Whether a strand waits or is under way: then later events of it must queue.
    pub fn is_waiting(&self, strand: u64) -> bool {
        self.waiting.contains_key(&strand)
    }

    /// Whether the lane may read on.
    pub fn has_room(&self) -> bool {
        self.bytes < PARKED_BYTES_MAX
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.waiting.values().map(|strand| strand.queue.len()).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.values().all(|strand| strand.queue.is_empty())
    }

    /// Marks a strand as under way: for backends that take one call per strand.
    pub fn begin(&mut self, strand: u64) {
        self.waiting.entry(strand).or_default().due = None;
    }

    /// Queues an event behind its strand.
    pub fn push(&mut self, strand: u64, waiting: Waiting) {
        self.bytes += waiting.event.envelope.size();
        if waiting.suspect {
            self.suspects.insert(waiting.event.lsn, strand);
        }
        self.waiting.entry(strand).or_default().queue.insert(waiting.event.lsn, waiting);
    }

    /// Puts back an event that must be tried again at `due`, in its place.
    pub fn park(&mut self, strand: u64, waiting: Waiting, due: Instant) {
        self.push(strand, waiting);
        if let Some(strand) = self.waiting.get_mut(&strand) {
            strand.due = Some(strand.due.map_or(due, |before| before.max(due)));
        }
    }

    /// A call of the strand ended: what queued behind it may leave now.
    pub fn end(&mut self, strand: u64, now: Instant) {
        if let Some(found) = self.waiting.get_mut(&strand) {
            if found.queue.is_empty() {
                self.waiting.remove(&strand);
            } else {
                found.due.get_or_insert(now);
            }
        }
    }

    /// When the oldest event that waits was received.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.waiting
            .values()
            .filter_map(|strand| strand.queue.first_key_value())
            .map(|(_, waiting)| waiting.event.received)
            .min()
    }

    /// When the next strand is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().filter(|strand| !strand.queue.is_empty()).filter_map(|strand| strand.due).min()
    }

    /// Takes the events of strands that are due, whole strands, each in order, until there are `most` events. With `one` the
    /// strands stay under way until [`Strands::end`].
    pub fn take_due(&mut self, now: Instant, most: usize, one: bool) -> Vec<Waiting> {
        let is_due = |strand: &Strand| !strand.queue.is_empty() && strand.due.is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.waiting.iter().filter(|(_, strand)| is_due(strand)).map(|(number, _)| *number).take(most).collect();
        let mut taken = Vec::new();
        for number in due {
            if let Some(strand) = self.waiting.remove(&number) {
                taken.extend(strand.queue.into_values());
            }
            if one {
                self.begin(number);
            }
            if taken.len() >= most {
                break;
            }
        }
        taken.iter().for_each(|waiting| self.left(waiting));
        taken.sort_by_key(|waiting| waiting.event.lsn);
        taken
    }

    /// Takes the oldest event of a strand that is due, and nothing else; for the rest as [`Strands::take_due`]. For a lane that
    /// delivers one event at a time.
    pub fn take_first(&mut self, now: Instant, one: bool) -> Option<Waiting> {
        let is_due = |strand: &Strand| strand.due.is_some_and(|due| due <= now);
        let due = self.waiting.iter().filter(|(_, strand)| is_due(strand));
        let first = due.filter_map(|(number, strand)| Some((*strand.queue.first_key_value()?.0, *number))).min();
        let number = first?.1;
        let strand = self.waiting.get_mut(&number)?;
        let (_, waiting) = strand.queue.pop_first()?;
        self.left(&waiting);
        let strand = self.waiting.get_mut(&number)?;
        if one {
            strand.due = None;
        } else if strand.queue.is_empty() {
            self.waiting.remove(&number);
        }
        Some(waiting)
    }

    fn left(&mut self, waiting: &Waiting) {
        self.bytes -= waiting.event.envelope.size();
        self.suspects.remove(&waiting.event.lsn);
    }

    /// Whether suspects wait.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether a strand is due in which a suspect waits.
    pub fn suspect_is_due(&self, now: Instant) -> bool {
        let is_due =
            |strand: &u64| self.waiting.get(strand).and_then(|strand| strand.due).is_some_and(|due| due <= now);
        self.suspects.values().any(is_due)
    }

    /// Makes everything due now: the destination is back.
    pub fn all_due(&mut self, now: Instant) {
        for strand in self.waiting.values_mut() {
            if strand.due.is_some() {
                strand.due = Some(now);
            }
        }
    }
}

/// The pause before the next try: exponential from `low` to `high`, with full jitter. `random` is uniform in 0..=u32::MAX.
pub fn backoff(attempts: u32, low: Duration, high: Duration, random: u32) -> Duration {
    let doubled = low.saturating_mul(1u32.checked_shl(attempts.min(30)).unwrap_or(u32::MAX));
    let ceiling = doubled.min(high).max(low);
    let part = f64::from(random) / f64::from(u32::MAX);
    // Never less than a tenth of the shortest pause: full jitter must not become a spin.
    ceiling.mul_f64(part).max(low / 10)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use schemas::{AckLevel, Attributes, ByteStr, Door, Headers, Kind, TraceContext};

    fn waiting(lsn: u64) -> Waiting {
        let mut attributes = Attributes::default();
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            attributes.set(name, value, Kind::String).unwrap();
        }
        let event = Event {
            lsn,
            lanes: 2,
            envelope: attributes.freeze(bytes::Bytes::new()).unwrap(),
            door: Door::default(),
            headers: Headers::new(),
            received: SystemTime::now(),
            trace: TraceContext::from_random([1; 24], 0),
            route: ByteStr::EMPTY,
            level: AckLevel::Durable,
            key: ByteStr::EMPTY,
            death: None,
        };
        Waiting { event: Arc::new(event), attempts: 0, suspect: false }
    }

    fn lsns(taken: &[Waiting]) -> Vec<u64> {
        taken.iter().map(|waiting| waiting.event.lsn).collect()
    }

    #[test]
    fn a_parked_strand_keeps_its_order_and_delays_no_other() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        let mut strands = Strands::default();
        strands.park(7, waiting(10), later);
        strands.push(7, waiting(12));
        strands.park(8, waiting(11), now);
        // Two calls of one strand were under way: the earlier event fails after the later one.
        strands.park(7, waiting(9), later);
        assert!(strands.is_waiting(7) && !strands.is_waiting(9));
        assert_eq!(lsns(&strands.take_due(now, 100, false)), [11]);
        assert_eq!(lsns(&strands.take_due(later, 100, false)), [9, 10, 12]);
        assert!(strands.is_empty() && strands.has_room());
    }

    #[test]
    fn one_by_one() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for one in [false, true] {
            let mut strands = Strands::default();
            for (strand, lsn, due) in [(7, 12, now), (7, 10, now), (8, 11, now), (9, 1, later)] {
                strands.park(strand, waiting(lsn), due);
            }
            let mut next = || {
                let taken = strands.take_first(now, one)?.event.lsn;
                // The call of its strand ends.
                (7..=8).for_each(|strand| strands.end(strand, now));
                Some(taken)
            };
            assert_eq!([next(), next(), next(), next()], [Some(10), Some(11), Some(12), None]);
            assert!(!strands.is_waiting(7) && strands.is_waiting(9) && strands.len() == 1);
            strands.push(9, Waiting { suspect: true, ..waiting(13) });
            assert!(!strands.suspect_is_due(now) && strands.suspect_is_due(later));
            assert_eq!(strands.take_due(later, 10, false).len(), 2);
            assert!(!strands.suspect_is_due(later));
        }
    }

    #[test]
    fn one_call_per_strand() {
        let now = Instant::now();
        let mut strands = Strands::default();
        strands.begin(7);
        strands.push(7, waiting(2));
        strands.push(7, waiting(3));
        assert!(strands.take_due(now, 100, true).is_empty(), "a call is under way");
        strands.end(7, now);
        assert_eq!(lsns(&strands.take_due(now, 100, true)), [2, 3]);
        assert!(strands.is_waiting(7), "the next call is under way");
        strands.end(7, now);
        assert!(!strands.is_waiting(7));
    }

    #[test]
    fn backoff_is_bounded_and_never_a_spin() {
        let (low, high) = (Duration::from_millis(200), Duration::from_secs(30));
        assert_eq!(backoff(0, low, high, u32::MAX), low);
        assert_eq!(backoff(40, low, high, u32::MAX), high);
        assert_eq!(backoff(3, low, high, 0), low / 10);
    }
}
