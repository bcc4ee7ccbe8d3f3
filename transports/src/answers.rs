//! Pending answers of one ordered stream: they leave in order, each when it is true, and one waiter waits for all.
use crate::{DurableWait, Ticket};
use schemas::Verdict;
use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

/// Places that an empty line keeps.
const KEPT_CAPACITY: usize = 4;

/// The line of answers. It waits for its head only; after one wake-up everything that may leave is ready (design rule 5).
pub struct Answers<Id> {
    queue: VecDeque<(Id, Ticket, Instant)>,
    waits: Box<dyn DurableWait>,
}

impl<Id> Answers<Id> {
    /// An empty line. It is bounded by its user: a transport stops reading at its window (`max_inflight`).
    pub fn new(waits: Box<dyn DurableWait>) -> Self {
        Answers { queue: VecDeque::new(), waits }
    }

    /// Puts a message's ticket at the end of the line.
    pub fn push(&mut self, id: Id, ticket: Ticket) {
        self.queue.push_back((id, ticket, Instant::now()));
    }

    /// Answers that have not left.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no answer is pending.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the head of the line was put there.
    pub fn head_since(&self) -> Option<Instant> {
        self.queue.front().map(|(_, _, since)| *since)
    }

    /// The next answer, in order. `Ready(None)` when the line is empty.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Id, Verdict)>> {
        let Some((_, ticket, _)) = self.queue.front_mut() else { return Poll::Ready(None) };
        match ticket.poll_verdict(cx, self.waits.as_mut()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(verdict) => {
                let answer = self.queue.pop_front().map(|(id, ..)| (id, verdict));
                // An idle connection keeps no memory of a burst.
                if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
                    self.queue = VecDeque::new();
                }
                Poll::Ready(answer)
            }
        }
    }

    /// Waits for the next answer; never ready while the line is empty. Cancel safe.
    pub async fn next(&mut self) -> (Id, Verdict) {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(Some(answer)) => Poll::Ready(answer),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        })
        .await
    }
}
