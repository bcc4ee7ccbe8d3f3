//! The contract of a backend, asked of any [`Backend`].
//!
//! * an empty call has no outcomes; any other has one per event, in the same order: one bad event changes no neighbour's fate;
//! * calls made one after the other, without waiting, keep their order at the far end;
//! * [`Outcome::Done`] means that the far end has the event, and a position that it gives is not given twice;
//! * the same events may be offered again, also after the future of an earlier call was dropped;
//! * equal order keys are one strand, always; `accepts`, `probe` and `close` answer in time.
use crate::{Broken, Found, codec::is_word};
use backends::{Backend, Events, Order, Outcome, Position};
use schemas::{AckLevel, Attributes, Event, Headers, Kind, TraceContext, order_key};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long one call may take. Generous: a far end on a busy machine.
const CALL_MAX: Duration = Duration::from_secs(30);

/// A backend, healthy and with an empty far end, and how to look at it.
pub struct Subject<'a> {
    /// The backend.
    pub backend: &'a dyn Backend,
    /// Makes the event of a number; the same id, key and data for the same number. [`event`] does for most.
    pub event: &'a dyn Fn(u64) -> Event,
    /// An event that this backend never takes, if there is one: its outcome is `Record`.
    pub spoilt: Option<Event>,
    /// The ids of what the far end holds, in its order; `None` for a far end that keeps nothing.
    pub held: Option<&'a dyn Fn() -> Vec<String>>,
}

/// A plain event with this number: its place in the journal, its id (`event-N`) and its data. All have one order key.
///
/// # Panics
/// Never: its attributes are valid.
pub fn event(number: u64) -> Event {
    let mut attributes = Attributes::default();
    for (name, value) in
        [("id", format!("event-{number}").as_str()), ("source", "/conformance"), ("type", "conformance.event")]
    {
        attributes.set(name, value, Kind::String).expect("a valid attribute");
    }
    let envelope = attributes.freeze(format!("data of {number}").into()).expect("all required attributes");
    let mut span = [7; 24];
    span[16..].copy_from_slice(&(number + 1).to_be_bytes());
    Event {
        lsn: number + 1,
        lanes: 2,
        key: order_key(&envelope),
        envelope,
        door: schemas::Door { listener: "conformance".into(), subject: "/events".into(), ..Default::default() },
        headers: Headers::new(),
        received: SystemTime::now(),
        trace: TraceContext::from_random(span, 1),
        route: "conformance".into(),
        level: AckLevel::Durable,
        death: None,
    }
}

/// Asks a backend for its contract, and closes it. See the module's documentation.
///
/// # Errors
/// What it breaks.
pub async fn check_backend(subject: &Subject<'_>) -> Result<(), Broken> {
    let mut check = Check { subject, found: Found::default(), positions: BTreeMap::new(), done: BTreeSet::new() };
    let backend = subject.backend;
    check.found.expect(is_word(backend.kind()), || {
        format!("the kind {:?} is not of lower-case letters, digits and _", backend.kind())
    });
    if let Some(Err(why)) = check.in_time("probe", backend.probe()).await {
        check.found.expect(false, || format!("probe: a healthy far end is not fine: {why}"));
    }
    check.strands();
    check.empty().await;
    check.in_order().await;
    check.spoilt().await;
    check.dropped().await;
    check.again().await;
    check.held();
    check.in_time("close", backend.close()).await;
    check.found.verdict()
}

struct Check<'a> {
    subject: &'a Subject<'a>,
    found: Found,
    /// The last position of each place and partition.
    positions: BTreeMap<(String, i32), i64>,
    /// Ids of events that were called done.
    done: BTreeSet<String>,
}

impl Check<'_> {
    fn events(&self, numbers: Range<u64>) -> Events {
        numbers.map(|number| Arc::new((self.subject.event)(number))).collect()
    }

    async fn in_time<T>(&mut self, what: &str, future: impl Future<Output = T>) -> Option<T> {
        let answer = tokio::time::timeout(CALL_MAX, future).await.ok();
        self.found.expect(answer.is_some(), || format!("{what}: no answer within {CALL_MAX:?}"));
        answer
    }

    /// Waits for a call that was made and checks that all of it is done.
    async fn all_done(&mut self, what: &str, call: &Events, future: impl Future<Output = Vec<Outcome>>, first: bool) {
        let Some(outcomes) = self.in_time(what, future).await else { return };
        self.found.expect(outcomes.len() == call.len(), || {
            format!("{what}: {} outcomes for {} events", outcomes.len(), call.len())
        });
        for (event, outcome) in call.iter().zip(&outcomes) {
            match outcome {
                Outcome::Done(position) => {
                    self.done.insert(event.envelope.id().to_owned());
                    if first {
                        self.position(what, position);
                    }
                }
                Outcome::Retry(_) | Outcome::Record(_) | Outcome::Destination(_) => {
                    self.found.expect(false, || {
                        format!("{what}: {} at a healthy far end is {outcome:?}", event.envelope.id())
                    });
                }
            }
        }
    }

    /// First deliveries of one place and partition have rising positions.
    fn position(&mut self, what: &str, position: &Position) {
        if position.offset < 0 {
            return;
        }
        let last = self.positions.insert((position.place.to_string(), position.partition), position.offset);
        self.found.expect(last.is_none_or(|last| last < position.offset), || {
            format!("{what}: position {position} comes after {last:?}")
        });
    }

    fn strands(&mut self) {
        let backend = self.subject.backend;
        for event in self.events(0..4) {
            let strand = backend.strand(&event);
            self.found.expect(backend.strand(&event) == strand, || "strand: not the same when asked again".to_owned());
            let twin = Event { lsn: event.lsn + 100, ..(*event).clone() };
            self.found
                .expect(backend.strand(&twin) == strand, || "strand: equal order keys are not one strand".to_owned());
            let refusal = backend.accepts(&event.view()).err();
            self.found.expect(refusal.is_none(), || format!("accepts: a plain event is refused: {refusal:?}"));
        }
    }

    async fn empty(&mut self) {
        self.all_done("an empty call", &Vec::new(), self.subject.backend.deliver(Vec::new()), true).await;
    }

    /// Three calls, made one after the other; without waiting, unless the backend takes one per strand at a time.
    async fn in_order(&mut self) {
        let calls = [0..10, 10..11, 11..40].map(|numbers| self.events(numbers));
        if self.subject.backend.order() == Order::OnePerStrand {
            for call in &calls {
                self.all_done("one of three calls", call, self.subject.backend.deliver(call.clone()), true).await;
            }
            return;
        }
        let [first, second, third] = [0, 1, 2].map(|call: usize| self.subject.backend.deliver(calls[call].clone()));
        // Under way before the first one is waited for: what makes the order is the call, not the poll.
        let third = tokio::spawn(third);
        self.all_done("the first of three calls", &calls[0], first, true).await;
        self.all_done("the second of three calls", &calls[1], second, true).await;
        let third = async { third.await.unwrap_or_default() };
        self.all_done("the third of three calls", &calls[2], third, true).await;
    }

    /// A bad event between good ones.
    async fn spoilt(&mut self) {
        let Some(spoilt) = &self.subject.spoilt else { return };
        let mut call = self.events(40..44);
        call.insert(2, Arc::new(spoilt.clone()));
        let Some(outcomes) = self.in_time("a call with a bad event", self.subject.backend.deliver(call.clone())).await
        else {
            return;
        };
        let as_expected = |(at, outcome): (usize, &Outcome)| match outcome {
            Outcome::Record(_) => at == 2,
            Outcome::Done(_) => at != 2,
            Outcome::Retry(_) | Outcome::Destination(_) => false,
        };
        let fine = outcomes.len() == call.len() && outcomes.iter().enumerate().all(as_expected);
        self.found.expect(fine, || format!("a call whose third of five events is bad: {outcomes:?}"));
    }

    /// Futures that nobody waits for, dropped before and after their first poll.
    async fn dropped(&mut self) {
        let call = self.events(50..60);
        drop(self.subject.backend.deliver(call.clone()));
        let polled = self.subject.backend.deliver(call.clone());
        let _ = tokio::time::timeout(Duration::ZERO, polled).await;
        self.all_done("a call after dropped ones", &call, self.subject.backend.deliver(call.clone()), false).await;
    }

    /// Events that are at the far end already, among new ones.
    async fn again(&mut self) {
        let call = self.events(30..70);
        self.all_done("events offered again", &call, self.subject.backend.deliver(call.clone()), false).await;
    }

    /// The far end has what was called done, and first deliveries in the order of the calls.
    fn held(&mut self) {
        let Some(held) = self.subject.held.map(|held| held()) else { return };
        let missing: Vec<&String> = self.done.iter().filter(|id| !held.contains(id)).collect();
        self.found
            .expect(missing.is_empty(), || format!("called done, and the far end does not have them: {missing:?}"));
        let ordered = self.events(0..40);
        let places: Vec<_> = ordered.iter().map(|event| held.iter().position(|id| id == event.envelope.id())).collect();
        self.found
            .expect(places.is_sorted(), || "the far end has the events of three calls in another order".to_owned());
    }
}
