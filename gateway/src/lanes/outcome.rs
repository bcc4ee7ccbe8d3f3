//! What became of a stored event: done, parked, a dead letter, or held with its lane.
use super::{
    dead,
    run::{Job, PROBE_EVERY, Runner},
    strands::{Waiting, backoff},
};
use crate::{
    clock, random,
    telemetry::{Delivered, spans::Delivery},
};
use backends::{Outcome, Position, Why};
use journal::{Lsn, Waiter};
use schemas::{Event, Word};
use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a lane that ends waits for its last dead letters to be durable.
const LETTERS_GOODBYE: Duration = Duration::from_secs(1);

impl From<Waiting> for Job {
    fn from(Waiting { event, attempts, suspect }: Waiting) -> Self {
        Job { event, attempts, suspect, direct: None }
    }
}

impl Runner {
    pub(super) fn landed_stored(&mut self, job: Job, outcome: Outcome) {
        match outcome {
            Outcome::Done(position) => self.done(&job, &position),
            Outcome::Retry(why) => {
                self.trouble(&why, false);
                self.lane.meter.retried(why.word);
                // What only waited is no attempt, and makes no dead letter.
                let attempts = job.attempts + u32::from(!why.waited);
                if !why.waited && self.lane.treatment.attempts.is_some_and(|most| attempts >= most) {
                    self.give_up(&job.event, &why, attempts);
                    return;
                }
                let (low, high) = self.lane.treatment.backoff;
                let due = clock::now() + backoff(job.attempts, low, high, random::u32());
                self.park(Waiting { event: job.event, attempts, suspect: job.suspect }, due);
            }
            Outcome::Record(why) => self.give_up(&job.event, &why, job.attempts + 1),
            Outcome::Destination(why) => {
                self.trouble(&why, true);
                self.lane.meter.retried(why.word);
                self.probe_due.get_or_insert(clock::now() + PROBE_EVERY);
                // It leaves when a probe has succeeded; the tries do not count against the event.
                let waiting = Waiting { event: job.event, attempts: job.attempts, suspect: job.suspect };
                self.park(waiting, clock::now() + PROBE_EVERY);
            }
        }
    }

    /// Puts an event that came back in its place, until `due`. It is not in flight meanwhile.
    fn park(&mut self, waiting: Waiting, due: Instant) {
        self.reader.parked([Lsn::from_raw(waiting.event.lsn)]);
        let strand = self.lane.strand(&waiting.event);
        self.strands.park(strand, waiting, due);
    }

    pub(super) fn done(&mut self, job: &Job, position: &Position) {
        self.well();
        if job.event.lsn > 0 {
            self.reader.done(Lsn::from_raw(job.event.lsn));
        }
        self.delivered(&job.event, position, job.attempts);
    }

    /// Notes a confirmation; [`Runner::landed`] hands all of one delivery to the ring at once.
    pub(super) fn delivered(&mut self, event: &Arc<Event>, position: &Position, attempts: u32) {
        let took = self.landed_at.duration_since(event.received).unwrap_or_default();
        self.lane.meter.delivered_after(took);
        if self.shared.ring.notes(&event.trace.trace_id) || event.trace.is_sampled() {
            self.hops.push(Delivered::new(event, &self.lane.name, Ok(position.clone()), attempts, took));
        }
        self.span(event, Ok(position), attempts);
    }

    pub(super) fn span(&self, event: &Event, end: Result<&Position, &Why>, attempts: u32) {
        let (backend, began) = (&self.lane.name, self.landing);
        self.shared.spans.delivery(event, || Delivery {
            backend,
            kind: self.lane.backend.kind(),
            attempts,
            began,
            end,
        });
    }

    /// An event that was in flight whenever the process ended without a stop. A dead letter, also where the config drops what a
    /// backend refuses: nobody has refused it.
    pub(super) fn quarantine(&mut self, event: Event, exits: u32) {
        let detail = format!(
            "it was in flight at {exits} unclean exits of the gateway, alone at the last one, and is not tried again by itself"
        );
        let (event, why) = (Arc::new(event), Why::new(Word::Internal, detail));
        self.undeliverable(&event, &why, exits);
        self.dead_letter(&event, &why, exits);
    }

    pub(super) fn give_up(&mut self, event: &Arc<Event>, why: &Why, attempts: u32) {
        self.undeliverable(event, why, attempts);
        if self.lane.treatment.dead_letter {
            self.dead_letter(event, why, attempts);
        } else {
            self.lane.meter.dropped(why.word);
            self.reader.done(Lsn::from_raw(event.lsn));
        }
    }

    fn undeliverable(&self, event: &Event, why: &Why, attempts: u32) {
        let trace_id = event.trace.trace_id_hex();
        tracing::warn!(backend = %self.lane.name, event_id = event.envelope.id(), trace_id, code = why.word.as_str(), detail = %why.detail, "an event cannot be delivered");
        self.span(event, Err(why), attempts);
    }

    fn dead_letter(&mut self, event: &Arc<Event>, why: &Why, attempts: u32) {
        let letter = dead::of_lane(event, &self.lane.name, why, attempts);
        self.letters.push_back((Arc::clone(event), letter));
        self.write_letters();
    }

    /// Appends dead letters; what finds no room is tried again at the next tick, and the lane reads no more until then.
    pub(super) fn write_letters(&mut self) {
        while let Some((event, letter)) = self.letters.front() {
            match dead::append(&self.shared, letter) {
                Ok(lsn) => {
                    self.unsynced.push_back((Lsn::from_raw(lsn), event.lsn));
                    self.shared.ring.dead_lettered(event, &self.lane.name, letter);
                    self.letters.pop_front();
                }
                Err(_) => return,
            }
        }
    }

    /// Events whose dead letter is durable are done here.
    pub(super) fn settle_letters(&mut self) {
        let durable = self.shared.journal.durable();
        while let Some((letter, event)) = self.unsynced.front().copied().filter(|(letter, _)| *letter <= durable) {
            let _ = letter;
            // Counted when it leaves the lane, so that the lane's law holds at any moment.
            self.lane.meter.dead_lettered.inc();
            self.reader.done(Lsn::from_raw(event));
            self.unsynced.pop_front();
        }
    }

    /// Letters that were appended are durable within moments; their events need not come again after the next start.
    pub(super) async fn finish_letters(&mut self) {
        let Some((last, _)) = self.unsynced.back().copied() else { return };
        let (journal, mut waiter) = (self.shared.journal.clone(), Waiter::new());
        let durable = poll_fn(|cx| journal.poll_durable(cx, last, &mut waiter));
        // Not in time, or the disk has failed: they come again.
        let _either = tokio::time::timeout(LETTERS_GOODBYE, durable).await;
        self.settle_letters();
    }

    pub(super) fn trouble(&self, why: &Why, destination: bool) {
        self.lane.meter.up.set(0);
        if self.lane.health.failed(why.word, &why.detail, destination) {
            if destination {
                tracing::error!(backend = %self.lane.name, code = why.word.as_str(), detail = %why.detail, "the destination is wrong; the lane holds its events until it is mended");
            } else {
                tracing::warn!(backend = %self.lane.name, code = why.word.as_str(), detail = %why.detail, "deliveries fail and are tried again");
            }
        }
    }

    pub(super) fn well(&self) {
        if let Some(before) = self.lane.health.well() {
            self.lane.meter.up.set(1);
            let seconds = before.since.elapsed().unwrap_or_default().as_secs();
            tracing::info!(backend = %self.lane.name, seconds, "deliveries succeed again");
        }
    }

    pub(super) fn probed(&mut self, outcome: Result<(), Why>) {
        self.known |= outcome.is_ok();
        let routine = std::mem::replace(&mut self.looked, (clock::now(), false)).1;
        match outcome {
            // Deliveries say better than a look whether somebody is there.
            Err(why) if routine && !why.wrong_place && self.lane.health.trouble().is_none() => {
                tracing::debug!(backend = %self.lane.name, detail = %why.detail, "a look at the far end failed");
            }
            Ok(()) if self.is_slow() => {
                let detail = "the far end answers, but confirms nothing";
                self.trouble(&Why::new(Word::BackendUnavailable, detail), false);
                self.probe_due = Some(clock::now() + PROBE_EVERY);
            }
            Ok(()) => {
                self.well();
                self.probe_due = None;
                self.fly_direct();
                self.strands.all_due(clock::now());
            }
            Err(why) => {
                self.trouble(&why, why.wrong_place);
                self.decide_direct(&why);
                self.probe_due = Some(clock::now() + PROBE_EVERY);
            }
        }
    }
}
