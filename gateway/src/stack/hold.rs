//! Hold: what finds no room now is offered again until its time ends (design rule 3).
//!
//! MQTT must not answer "no" to what may succeed later, so its messages wait here, with their room still reserved; HTTP refuses
//! at once. The first attempt runs without a wait and without a clone of the stack.
use super::{Batch, Course, Gone, admit::Admit, epoch::Epoch, held};
use crate::{clock, state::Shared};
use futures_util::FutureExt;
use schemas::Refusal;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use transports::Ticket;

/// How long a held batch waits at most before it is offered again, when nobody says that there is room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a batch waits at most for what passes by itself, where the listener refuses.
const BRIEF_MAX: Duration = Duration::from_secs(1);

/// What a listener does with a message that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Refuse at once, with the word and a time to come back.
    Refuse,
    /// Offer it again until it was held this long.
    Hold(Duration),
}

/// The pipeline with admission behind it, and the wait around both.
#[derive(Clone)]
pub struct Hold {
    course: Course,
    admit: Admit,
    policy: Policy,
    epoch: Arc<Epoch>,
    shared: Arc<Shared>,
}

/// The answer to one message: known at once, in nearly all cases.
#[allow(clippy::large_enum_variant, reason = "the large one is the common one, and a box is what it is there to avoid")]
pub enum Answer {
    /// It is known; `None` once it was given.
    Now(Option<Result<Ticket, Refusal>>),
    /// Something has to be waited for.
    Later(Pin<Box<dyn Future<Output = Result<Ticket, Refusal>> + Send>>),
}

impl Future for Answer {
    type Output = Result<Ticket, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::Now(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Later(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl Hold {
    /// Puts the parts together.
    pub fn new(course: Course, admit: Admit, policy: Policy, epoch: Arc<Epoch>, shared: Arc<Shared>) -> Self {
        Hold { course, admit, policy, epoch, shared }
    }

    /// After a reload a held batch goes on in the generation that is in force. Where its listener is gone it stays in its own,
    /// which lasts until the batch has left.
    fn keep_up(&mut self, batch: &mut Batch) {
        while self.epoch.is_over()
            && let Some(newer) = self.epoch.next(&batch.origin.listener)
        {
            *self = newer.hold;
            if let Some(inside) = self.epoch.enter() {
                batch.inside = Some(inside);
                return;
            }
        }
    }

    /// What came back from one attempt: a ticket, a refusal, or the batch to be held.
    fn settle(&self, outcome: Result<Batch, Refusal>) -> Result<Result<Ticket, Refusal>, Box<Batch>> {
        match outcome {
            Err(refusal) => Ok(Err(refusal)),
            Ok(batch) if batch.held.is_some() => self.refuse_or_hold(batch),
            Ok(batch) => match self.admit.admit(batch) {
                Ok(ticket) => Ok(ticket),
                Err(batch) => self.refuse_or_hold(*batch),
            },
        }
    }

    fn refuse_or_hold(&self, mut batch: Batch) -> Result<Result<Ticket, Refusal>, Box<Batch>> {
        match self.policy {
            // What passes by itself within moments is worth a moment's wait.
            Policy::Refuse if batch.brief => Err(Box::new(batch)),
            Policy::Refuse => {
                let events = batch.len();
                match batch.held.take() {
                    Some(refusal) => {
                        batch.meter.refused_whole(batch.origin.version, refusal.word, events);
                        batch.refuse_rest(refusal.word);
                        self.shared.ring.message(&batch, 0, 0);
                        Ok(Err(refusal))
                    }
                    None => Err(Box::new(batch)),
                }
            }
            Policy::Hold(_) => Err(Box::new(batch)),
        }
    }

    async fn offer_again(mut self, mut batch: Box<Batch>, until: Instant) -> Result<Ticket, Refusal> {
        let mut place: Option<held::Place> = None;
        loop {
            let Some(refusal) = batch.held.clone() else { return Ok(Ticket::now(internal())) };
            match &place {
                Some(place) => place.waits_for(&refusal),
                // What passes within moments is not worth telling.
                None if batch.brief => {}
                None => place = Some(held::Place::take(&self.shared, &batch, &refusal)),
            }
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() || self.shared.is_stopping() {
                batch.meter.refused_whole(batch.origin.version, refusal.word, batch.len());
                batch.refuse_rest(refusal.word);
                self.shared.ring.message(&batch, 0, 0);
                return Err(refusal);
            }
            if place.is_some() {
                batch.room.hold();
            }
            let pause = refusal.retry_after.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN).min(left);
            self.shared.room_or(pause).await;
            batch.room.go();
            batch.rewind();
            self.keep_up(&mut batch);
            let outcome = match self.course.go(*batch) {
                Gone::There(batch) => Ok(batch),
                Gone::OnTheWay(rest) => rest.await,
            };
            match self.settle(outcome) {
                Ok(answer) => return answer,
                Err(again) => batch = again,
            }
        }
    }
}

fn internal() -> schemas::Verdict {
    Refusal::new(schemas::Word::Internal, "a held message lost its reason").into()
}

impl Hold {
    /// Decides and keeps a batch, or waits as the listener's policy says.
    pub fn submit(&mut self, batch: Batch) -> Answer {
        let until = batch.arrived
            + match self.policy {
                Policy::Hold(time) => time,
                Policy::Refuse => BRIEF_MAX,
            };
        let outcome = match self.course.go(batch) {
            Gone::There(batch) => Ok(batch),
            Gone::OnTheWay(mut rest) => match (&mut rest).now_or_never() {
                Some(outcome) => outcome,
                // A plug-in layer that is not ready at once.
                None => {
                    let this = self.clone();
                    return Answer::Later(Box::pin(async move {
                        let outcome = rest.await;
                        match this.settle(outcome) {
                            Ok(answer) => answer,
                            Err(batch) => this.offer_again(batch, until).await,
                        }
                    }));
                }
            },
        };
        match self.settle(outcome) {
            Ok(answer) => Answer::Now(Some(answer)),
            Err(batch) => Answer::Later(Box::pin(self.clone().offer_again(batch, until))),
        }
    }
}
