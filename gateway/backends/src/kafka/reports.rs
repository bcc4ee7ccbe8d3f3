//! Delivery reports: which record of which call each one is, and the answer to a call when all of its reports are in.
//!
//! A record carries one number to librdkafka and back: the call's number and its place in the call. So nothing is allocated
//! per record; a call costs one list of outcomes and one channel.
use super::gate::{Gate, Hold};
use crate::{Outcome, Why};
use schemas::Word;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Half of a `usize` for the place in the call, half for the call's number (which may come round: it only has to differ from
/// those that are under way).
const PLACE_BITS: u32 = usize::BITS / 2;
/// Most records of one call.
pub(crate) const PLACES_MAX: usize = 1 << PLACE_BITS.saturating_sub(1);

/// A call's outcomes. What failed in it holds the gate until the caller has seen them.
pub(crate) type Answer = (Vec<Outcome>, Option<Hold>);

struct Call {
    outcomes: Vec<Option<Outcome>>,
    left: usize,
    answer: oneshot::Sender<Answer>,
    hold: Option<Hold>,
}

impl Call {
    /// Gives the answer; `rest` is the outcome of what had no report.
    fn end(self, rest: &Outcome) {
        let outcomes = self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| rest.clone())).collect();
        // A caller that left lets go of the gate with the answer.
        let _ = self.answer.send((outcomes, self.hold));
    }
}

#[derive(Default)]
struct Calls {
    next: usize,
    open: HashMap<usize, Call>,
}

/// The calls under way.
#[derive(Default)]
pub(crate) struct Reports {
    calls: Mutex<Calls>,
    gate: Gate,
}

impl Reports {
    /// Whether a failure has not been seen by its caller yet.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A new call of `count` records, at least one.
    pub(crate) fn open(&self, count: usize) -> (usize, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let call = Call { outcomes: vec![None; count], left: count, answer, hold: None };
        let mut calls = self.lock();
        let number = calls.next;
        calls.next = (calls.next + 1) & (usize::MAX >> PLACE_BITS);
        calls.open.insert(number, call);
        (number, answered)
    }

    /// The number that a record carries.
    pub(crate) fn ticket(call: usize, place: usize) -> usize {
        (call << PLACE_BITS) | place
    }

    /// Notes a record's outcome. A ticket of a call that is over is ignored.
    pub(crate) fn settle(&self, ticket: usize, outcome: Outcome) {
        let (number, place) = (ticket >> PLACE_BITS, ticket & (usize::MAX >> PLACE_BITS));
        let mut calls = self.lock();
        let Some(call) = calls.open.get_mut(&number) else { return };
        if matches!(outcome, Outcome::Retry(_) | Outcome::Destination(_)) && call.hold.is_none() {
            call.hold = Some(self.gate.hold());
        }
        if let Some(slot) = call.outcomes.get_mut(place)
            && slot.replace(outcome).is_none()
        {
            call.left -= 1;
        }
        if call.left == 0
            && let Some(call) = calls.open.remove(&number)
        {
            drop(calls);
            call.end(&Outcome::Retry(Why::new(Word::BackendUnavailable, "no delivery report came")));
        }
    }

    /// Ends every call: what has no report yet gets this outcome.
    pub(crate) fn fail_all(&self, outcome: &Outcome) {
        let open = std::mem::take(&mut self.lock().open);
        for (_, mut call) in open {
            call.hold.get_or_insert_with(|| self.gate.hold());
            call.end(outcome);
        }
    }

    /// Calls that wait for reports.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().open.len()
    }

    /// Records without a report.
    pub(crate) fn under_way(&self) -> usize {
        self.lock().open.values().map(|call| call.left).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Position;

    fn done() -> Outcome {
        Outcome::Done(Position::default())
    }

    #[tokio::test]
    async fn answers_when_all_reports_are_in() {
        let reports = Reports::default();
        let (first, answer) = reports.open(2);
        let (second, other) = reports.open(1);
        reports.settle(Reports::ticket(first, 1), done());
        reports.settle(Reports::ticket(second, 0), done());
        assert_eq!(other.await.unwrap().0, [done()]);
        reports.settle(Reports::ticket(first, 0), Outcome::Record(Why::new(Word::TooLarge, "x")));
        let (outcomes, hold) = answer.await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Record(_), Outcome::Done(_)]));
        assert!(hold.is_none(), "a record that is no more does not stop others");
        reports.settle(Reports::ticket(first, 0), done());
        assert_eq!(reports.waiting(), 0);
    }

    #[tokio::test]
    async fn a_failure_holds_the_gate_until_it_was_seen() {
        let reports = Reports::default();
        let (call, answer) = reports.open(2);
        reports.settle(Reports::ticket(call, 0), Outcome::Retry(Why::new(Word::Overloaded, "x")));
        assert!(reports.gate().is_held());
        reports.settle(Reports::ticket(call, 1), done());
        assert!(reports.gate().is_held(), "answered, but not seen");
        drop(answer.await.unwrap());
        assert!(!reports.gate().is_held());
        let (call, answer) = reports.open(1);
        drop(answer);
        reports.settle(Reports::ticket(call, 0), Outcome::Retry(Why::new(Word::Overloaded, "x")));
        assert!(!reports.gate().is_held(), "nobody is left to see it");
        let (_, answer) = reports.open(3);
        reports.fail_all(&Outcome::Destination(Why::new(Word::Unauthenticated, "y")));
        assert!(reports.gate().is_held());
        assert!(answer.await.unwrap().0.iter().all(|outcome| matches!(outcome, Outcome::Destination(_))));
    }
}
