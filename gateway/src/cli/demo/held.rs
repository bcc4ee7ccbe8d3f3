//! What the gateway holds in the end, asked from outside its hot path: the stores' files, the dead letters, the metrics; and
//! whether that is what the senders' ledger says.
use super::{
    DemoFault,
    ledger::{Answer, Entry},
    stage::Folder,
};
use crate::{runtime::Gateway, state::Shared};
use backends::store::{Filter, StoreReader};
use journal::{Body, LaneId};
use schemas::record::{self, Record};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// How long lanes may take to bring everything to their stores.
const SETTLE_TIME: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 * 1024;

type TraceId = [u8; 16];

/// What is held.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Events in the store `events`.
    pub stored: u64,
    /// Events in the store `alarms`; each is in `events` too.
    pub alarms: u64,
    /// Dead letters by failure word.
    pub dead: BTreeMap<String, u64>,
    /// Events that still wait in lanes.
    pub pending: u64,
    /// The door's own counts.
    pub counts: Counts,
    by_trace: HashMap<TraceId, u64>,
}

/// The metrics of the door, in events: `received = refused + dropped + duplicate + kept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read from messages.
    pub received: u64,
    /// Nothing kept.
    pub refused: u64,
    /// Messages that a listener refused before they were events: attributes that its binding cannot take.
    pub at_listener: u64,
    /// Dropped as configured.
    pub dropped: u64,
    /// Kept before.
    pub duplicate: u64,
    /// Kept.
    pub kept: u64,
    /// Kept × the lanes each went to.
    pub targeted: u64,
    /// Given to lanes.
    pub entered: u64,
    /// Confirmed by backends.
    pub delivered: u64,
}

/// How ledger and gateway differ; all zero when they agree. In events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Acknowledged, but held nowhere.
    pub missing: u64,
    /// Held, but refused; or held more often than acknowledged; or never sent.
    pub extra: u64,
}

impl Held {
    /// Waits until the lanes are empty, then looks.
    ///
    /// # Errors
    /// A store or the journal cannot be read.
    pub fn look(gateway: &Gateway, folder: &Folder) -> Result<Held, DemoFault> {
        let shared = gateway.shared();
        let begin = Instant::now();
        while pending(shared) > 0 && begin.elapsed() < SETTLE_TIME {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut held =
            Held { pending: pending(shared), counts: Counts::read(&shared.metrics.render()), ..Held::default() };
        read_store(folder, "events", &mut |trace| {
            held.stored += 1;
            *held.by_trace.entry(trace).or_default() += 1;
        })?;
        read_store(folder, "alarms", &mut |_| held.alarms += 1)?;
        held.read_dead(shared)?;
        Ok(held)
    }

    /// Dead letters in all.
    pub fn dead_all(&self) -> u64 {
        self.dead.values().sum()
    }

    fn read_dead(&mut self, shared: &Shared) -> Result<(), DemoFault> {
        let fault = |what: String| DemoFault::Held(format!("the dead letters cannot be read: {what}"));
        let mut scan = shared.journal.scan(Some(LaneId::DEAD_LETTERS));
        loop {
            let entries = scan.read(READ_BYTES).map_err(|error| fault(error.to_string()))?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                let body: &Body = &entry.body;
                let body = bytes::Bytes::copy_from_slice(body);
                let (trace, word) =
                    match record::decode(&body, entry.lsn.get()).map_err(|error| fault(error.to_string()))? {
                        Record::Event(event) => (event.trace, event.death.as_ref().map(|death| death.word)),
                        Record::Letter(letter) => (letter.trace, Some(letter.death.word)),
                    };
                let word = word.map_or_else(|| "unnamed".to_owned(), |word| word.to_string());
                *self.dead.entry(word).or_default() += 1;
                *self.by_trace.entry(trace.trace_id).or_default() += 1;
            }
        }
    }

    /// Compares each entry of the ledger with what is held under its trace id. What carried no trace is compared in sum.
    pub fn compare(&self, ledger: &[Entry]) -> Difference {
        let mut left = self.by_trace.clone();
        let mut difference = Difference::default();
        let (mut untraced, mut unsure) = (0, 0);
        for entry in ledger {
            let events = u64::from(entry.events);
            let (least, most) = match &entry.answer {
                // Only what was dropped as configured may be acknowledged and not held: the demo's config drops nothing.
                Answer::Acked { .. } => (events, events),
                Answer::Refused { .. } => (0, 0),
                Answer::Unknown | Answer::Lost(_) => (0, events),
            };
            let Some(trace) = entry.trace else {
                untraced += least;
                unsure += most - least;
                continue;
            };
            let held = left.remove(&trace.trace_id).unwrap_or(0);
            difference.missing += least.saturating_sub(held);
            difference.extra += held.saturating_sub(most);
        }
        let strangers: u64 = left.values().sum();
        difference.missing += untraced.saturating_sub(strangers);
        difference.extra += strangers.saturating_sub(untraced + unsure);
        difference
    }
}

fn pending(shared: &Shared) -> u64 {
    shared.lanes().iter().filter_map(|lane| LaneId::new(lane.id)).map(|id| shared.journal.pending(id)).sum()
}

fn read_store(folder: &Folder, backend: &str, each: &mut dyn FnMut(TraceId)) -> Result<(), DemoFault> {
    let fault = |error: backends::store::StoreFault| DemoFault::Held(error.to_string());
    let reader = StoreReader::open(folder.store(backend)).map_err(fault)?;
    reader.query(&Filter::default(), &mut |event| each(event.trace.trace_id)).map_err(fault)
}

impl Counts {
    /// Adds up the counters of a page of metrics, over all their labels.
    pub fn read(page: &str) -> Counts {
        let sum = |name: &str| -> u64 {
            let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        Counts {
            received: sum("anygate_events_received_total"),
            refused: sum("anygate_events_refused_total"),
            at_listener: sum("anygate_listener_refused_total"),
            dropped: sum("anygate_events_dropped_total"),
            duplicate: sum("anygate_events_duplicate_total"),
            kept: sum("anygate_events_kept_total"),
            targeted: sum("anygate_events_targeted_total"),
            entered: sum("anygate_lane_entered_total"),
            delivered: sum("anygate_lane_delivered_total"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::demo::world::{Protocol, new_trace};

    fn entry(answer: Answer, traced: bool) -> Entry {
        let trace = traced.then(new_trace);
        Entry {
            protocol: Protocol::Http,
            trace,
            events: 2,
            to: "/events".to_owned(),
            answer,
            at: std::time::UNIX_EPOCH,
            after: Duration::ZERO,
        }
    }

    fn acked() -> Answer {
        Answer::Acked { level: "durable".to_owned(), dead_letter: None }
    }

    #[test]
    fn a_ledger_is_compared_message_by_message() {
        let refused = Answer::Refused { word: "malformed".to_owned(), detail: String::new() };
        let ledger = [entry(acked(), true), entry(refused, true), entry(Answer::Unknown, true), entry(acked(), false)];
        let trace = |index: usize| ledger[index].trace.unwrap().trace_id;
        let mut held = Held::default();
        held.by_trace.insert(trace(0), 2);
        held.by_trace.insert(trace(2), 1);
        held.by_trace.insert([9; 16], 2);
        assert_eq!(held.compare(&ledger), Difference::default());
        held.by_trace.insert(trace(0), 1);
        assert_eq!(held.compare(&ledger), Difference { missing: 1, extra: 0 }, "one of the acknowledged is gone");
        held.by_trace.insert(trace(0), 2);
        held.by_trace.insert(trace(1), 2);
        assert_eq!(held.compare(&ledger), Difference { missing: 0, extra: 2 }, "a refused message was kept");
        held.by_trace.remove(&trace(1));
        held.by_trace.remove(&[9; 16]);
        assert_eq!(held.compare(&ledger), Difference { missing: 2, extra: 0 }, "the one without a trace is gone");
    }

    #[test]
    fn counters_are_added_over_their_labels() {
        let page = "# TYPE anygate_events_kept counter\nanygate_events_kept_total{a=\"b\"} 3\nanygate_events_kept_total{a=\"c\"} 4\n\
                    anygate_events_kept_total_other{a=\"c\"} 9\nanygate_events_targeted_total 8\n";
        let counts = Counts::read(page);
        assert_eq!((counts.kept, counts.targeted), (7, 8));
    }
}
