//! The direct path of a lane: events that were never journaled, whose senders wait.
use super::{
    Direct,
    run::{DELIVERY_EVENTS, Job, PROBE_EVERY, Runner},
};
use crate::clock;
use backends::{Outcome, Why};
use schemas::{Refusal, Unknown, Verdict, Word};
use std::{sync::Arc, time::Instant};
use tokio::sync::mpsc;

impl Runner {
    pub(super) fn take_direct(&mut self, direct: Direct) {
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

    pub(super) fn landed_direct(&mut self, number: u64, outcome: Outcome) {
        match &outcome {
            Outcome::Done(_) => self.well(),
            Outcome::Retry(why) => self.trouble(why, false),
            Outcome::Destination(why) => {
                self.trouble(why, true);
                self.probe_due.get_or_insert(clock::now() + PROBE_EVERY);
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
    pub(super) fn expire_direct(&mut self, now: Instant) {
        while let Some((_, number)) = self.direct_deadlines.front().copied().filter(|(deadline, _)| *deadline <= now) {
            self.direct_deadlines.pop_front();
            if let Some(direct) = self.direct_open.remove(&number) {
                self.lane.direct_left(&direct);
                self.lane.meter.dropped(Word::Timeout);
                direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::Timeout })));
                // Whoever comes next is told at once, until a delivery or a probe succeeds.
                self.trouble(&Why::new(Word::BackendUnavailable, "no confirmation within the deadline"), false);
                self.probe_due.get_or_insert(now + PROBE_EVERY);
            }
        }
    }

    /// The lane stops: whoever waits for a direct delivery is told the truth, which is that nobody knows.
    pub(super) fn settle_open(&mut self) {
        for (_, direct) in self.direct_open.drain() {
            self.lane.direct_left(&direct);
            self.lane.meter.dropped(Word::ShuttingDown);
            direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::ShuttingDown })));
        }
    }
}

/// The next direct event; never ready when the window is closed.
pub(super) async fn receive(direct: &mut Option<mpsc::Receiver<Direct>>) -> Direct {
    if let Some(receiver) = direct
        && let Some(event) = receiver.recv().await
    {
        return event;
    }
    std::future::pending().await
}
