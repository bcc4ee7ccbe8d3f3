//! The direct path of a lane: events that were never journaled, whose senders wait.
//!
//! What a sender is told is what is known. Before an event was given to the backend it is a refusal: nothing was kept. After
//! that only a confirmation is a yes; anything else is *unknown*, because the backend may have it. Both are said as soon as they
//! are true, not when a deadline passes: when the backend cannot be reached, all that waits is decided at once, and the door
//! refuses what comes after it until a delivery or a probe succeeds.
use super::{
    Direct, Lane,
    run::{DELIVERY_EVENTS, Job, PROBE_EVERY, Runner},
};
use crate::clock;
use backends::{Outcome, Why};
use schemas::{Refusal, Unknown, Verdict, Word};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long an event must be under way before the backend's word that nobody is there counts: a connection that was closed for
/// idleness is open again by then.
const PATIENCE: Duration = Duration::from_secs(1);
/// When what the backend took nothing of is offered again.
const AGAIN: Duration = Duration::from_millis(20);

/// The direct events of one lane, from their window to their verdict.
pub(super) struct Directs {
    receiver: Option<mpsc::Receiver<Direct>>,
    /// Not given to the backend yet.
    waiting: VecDeque<Direct>,
    /// Given to the backend, since when; by number, which is also their order.
    open: BTreeMap<u64, (Direct, Instant)>,
    next: u64,
    /// Not before then is anything given to the backend.
    pause: Option<Instant>,
}

impl Directs {
    pub(super) fn new(receiver: Option<mpsc::Receiver<Direct>>) -> Self {
        Directs { receiver, waiting: VecDeque::new(), open: BTreeMap::new(), next: 0, pause: None }
    }

    /// Nothing more comes: who sends from now on gets it back.
    pub(super) fn close(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.close();
        }
    }

    /// Whether the backend was given everything that came.
    pub(super) fn is_taken(&self) -> bool {
        self.waiting.is_empty() && self.receiver.as_ref().is_none_or(mpsc::Receiver::is_empty)
    }

    /// Whether somebody waits for a verdict.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty()
    }

    /// The next direct event; never ready when the window is closed.
    pub(super) async fn receive(&mut self) -> Direct {
        if let Some(receiver) = &mut self.receiver
            && let Some(direct) = receiver.recv().await
        {
            return direct;
        }
        std::future::pending().await
    }

    /// What came besides, without waiting.
    fn take_more(&mut self) {
        while let Some(direct) = self.receiver.as_mut().and_then(|receiver| receiver.try_recv().ok()) {
            self.waiting.push_back(direct);
        }
    }

    /// When what was put back may be offered again.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.pause.filter(|_| !self.waiting.is_empty())
    }

    fn oldest(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, (_, since))| *since)
    }
}

impl Lane {
    /// Nobody will run the lane: who waits is told so, and who comes later finds the window closed.
    pub(crate) fn refuse_direct(&self) {
        let Some(mut receiver) = self.take_direct() else { return };
        receiver.close();
        let why = stopping();
        while let Ok(direct) = receiver.try_recv() {
            self.refuse(&direct, &why);
        }
    }

    /// Refuses what was never given to the backend: nothing of it was kept.
    fn refuse(&self, direct: &Direct, why: &Why) {
        let word = if why.word == Word::ShuttingDown { why.word } else { Word::BackendUnavailable };
        self.direct_left(direct);
        self.meter.dropped(word);
        let detail = format!("backend {}: {}", self.name, why.detail);
        direct.slot.settle(Some(Refusal::new(word, detail).retry_after(PROBE_EVERY).into()));
    }
}

fn stopping() -> Why {
    Why::new(Word::ShuttingDown, "the gateway is stopping")
}

impl Runner {
    pub(super) fn take_direct(&mut self, direct: Direct) {
        self.directs.waiting.push_back(direct);
        self.directs.take_more();
        self.fly_direct();
    }

    /// Gives what waits to the backend, as far as its window has room.
    pub(super) fn fly_direct(&mut self) {
        if let Some(trouble) = self.lane.health.trouble() {
            // It came in before the door knew.
            self.refuse_waiting(&Why::new(trouble.word, trouble.why));
            return;
        }
        let now = clock::now();
        if !self.known || self.directs.pause.is_some_and(|until| now < until) {
            return;
        }
        self.directs.pause = None;
        let mut jobs = Vec::new();
        while !self.directs.waiting.is_empty() && self.has_window() {
            while jobs.len() < DELIVERY_EVENTS
                && let Some(direct) = self.directs.waiting.pop_front()
            {
                let number = self.directs.next;
                self.directs.next += 1;
                jobs.push(Job { event: Arc::clone(&direct.event), attempts: 0, suspect: false, direct: Some(number) });
                self.directs.open.insert(number, (direct, now));
            }
            self.fly(std::mem::take(&mut jobs));
        }
    }

    pub(super) fn landed_direct(&mut self, number: u64, outcome: Outcome) {
        match &outcome {
            Outcome::Done(_) => self.well(),
            Outcome::Retry(why) if why.untaken => {}
            Outcome::Retry(why) => self.direct_trouble(why, false),
            Outcome::Destination(why) => self.direct_trouble(why, true),
            Outcome::Record(_) => {}
        }
        // Nobody waits any more when it was decided before; it was counted then.
        let Some((direct, _)) = self.directs.open.remove(&number) else { return };
        let verdict = match outcome {
            Outcome::Done(position) => {
                self.delivered(&direct.event, &position, 0);
                None
            }
            Outcome::Retry(why) if why.untaken => {
                self.offer_again(direct);
                return;
            }
            // It may have reached the backend: not a refusal.
            Outcome::Retry(why) => {
                self.span(&direct.event, Err(&why), 0);
                self.lane.meter.dropped(why.word);
                Some(Verdict::Unknown(Unknown { word: Word::Timeout }))
            }
            Outcome::Record(why) => {
                self.span(&direct.event, Err(&why), 0);
                self.lane.meter.dropped(why.word);
                Some(Refusal::new(why.word, why.detail).into())
            }
            Outcome::Destination(why) => {
                self.span(&direct.event, Err(&why), 0);
                self.lane.meter.dropped(why.word);
                Some(Refusal::new(Word::BackendUnavailable, why.detail).retry_after(PROBE_EVERY).into())
            }
        };
        self.lane.direct_left(&direct);
        direct.slot.settle(verdict);
    }

    /// The backend took nothing of it. It goes before what came later, so that order is kept: outcomes come in order, so it goes
    /// behind those of the same delivery that were put back already.
    fn offer_again(&mut self, direct: Direct) {
        let until = *self.directs.pause.get_or_insert_with(|| clock::now() + AGAIN);
        let place = self.directs.waiting.iter().take_while(|other| other.again_at == Some(until)).count();
        self.directs.waiting.insert(place, Direct { again_at: Some(until), ..direct });
    }

    fn direct_trouble(&mut self, why: &Why, destination: bool) {
        self.trouble(why, destination);
        // Stored events are tried again by themselves; direct ones are not, and somebody must find out that all is well again.
        self.probe_due.get_or_insert(clock::now() + PROBE_EVERY);
    }

    /// Nobody is there: what waits is decided now.
    pub(super) fn decide_direct(&mut self, why: &Why) {
        self.refuse_waiting(why);
        for (_, (direct, _)) in std::mem::take(&mut self.directs.open) {
            self.lane.direct_left(&direct);
            self.span(&direct.event, Err(why), 0);
            self.lane.meter.dropped(why.word);
            direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::Timeout })));
        }
    }

    fn refuse_waiting(&mut self, why: &Why) {
        self.directs.take_more();
        for direct in std::mem::take(&mut self.directs.waiting) {
            self.lane.refuse(&direct, why);
        }
    }

    /// Looks at deadlines, and at whether anybody is there.
    pub(super) fn tend_direct(&mut self, now: Instant) {
        if self.directs.oldest().is_some_and(|since| since + PATIENCE < now)
            && let Some(why) = self.lane.backend.unreachable()
        {
            self.direct_trouble(&why, false);
            self.decide_direct(&why);
            return;
        }
        self.expire_waiting(now);
        let late = |(_, (direct, _)): (&u64, &(Direct, Instant))| direct.deadline <= now;
        if self.directs.open.iter().any(late) {
            let (late, open) =
                std::mem::take(&mut self.directs.open).into_iter().partition(|(_, (direct, _))| direct.deadline <= now);
            self.directs.open = open;
            self.expire(late);
        }
        self.fly_direct();
    }

    /// Senders whose deadline has passed are told *unknown*; the delivery goes on.
    fn expire(&mut self, late: BTreeMap<u64, (Direct, Instant)>) {
        for (direct, _) in late.into_values() {
            self.lane.direct_left(&direct);
            self.lane.meter.dropped(Word::Timeout);
            direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::Timeout })));
        }
        // Whoever comes next is told at once, until a delivery or a probe succeeds.
        self.direct_trouble(&Why::new(Word::BackendUnavailable, "no confirmation within the deadline"), false);
    }

    fn expire_waiting(&mut self, now: Instant) {
        let is_late = |direct: &Direct| direct.deadline <= now;
        if !self.directs.waiting.iter().any(is_late) {
            return;
        }
        let (late, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.directs.waiting).into_iter().partition(is_late);
        self.directs.waiting = waiting;
        for direct in late {
            self.lane.direct_left(&direct);
            self.lane.meter.dropped(Word::Overloaded);
            let detail = format!("backend {} did not get to it in time", self.lane.name);
            direct.slot.settle(Some(Refusal::new(Word::Overloaded, detail).retry_after(PROBE_EVERY).into()));
        }
    }

    /// The lane stops: whoever waits for a direct delivery is told the truth.
    pub(super) fn settle_open(&mut self) {
        self.directs.close();
        self.refuse_waiting(&stopping());
        for (_, (direct, _)) in std::mem::take(&mut self.directs.open) {
            self.lane.direct_left(&direct);
            self.lane.meter.dropped(Word::ShuttingDown);
            direct.slot.settle(Some(Verdict::Unknown(Unknown { word: Word::ShuttingDown })));
        }
    }
}
