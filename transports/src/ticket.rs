//! A ticket: what the verdict of one accepted message will be.
use crate::{DurableWait, Lost, Room};
use futures_util::task::AtomicWaker;
use schemas::{Receipt, Unknown, Verdict, Word};
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

/// What the verdict will be. It holds the message's room until then.
#[derive(Debug)]
pub struct Ticket {
    /// The verdict once nothing is waited for any more.
    verdict: Option<Verdict>,
    /// The LSN that must be durable; 0 for none.
    lsn: u64,
    /// The direct deliveries that must have ended.
    slot: Option<Arc<Slot>>,
    room: Room,
    observer: Option<(Arc<dyn Observer>, Stamp)>,
}

/// Hears when a verdict is ready: for the ack time and the trace ring.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// The verdict of the message with this stamp is about to leave.
    fn settled(&self, stamp: Stamp, verdict: &Verdict);
}

/// What an [`Observer`] gets back of a message.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// When the message was received.
    pub arrived: std::time::Instant,
    /// A number of the observer's own.
    pub note: u64,
}

impl Ticket {
    /// The verdict is known already.
    pub fn now(verdict: Verdict) -> Self {
        Ticket { verdict: Some(verdict), lsn: 0, slot: None, room: Room::default(), observer: None }
    }

    /// The receipt is true once everything up to `lsn` is durable.
    pub fn durable(lsn: u64, receipt: Receipt, room: Room) -> Self {
        Ticket { verdict: Some(Verdict::Receipt(receipt)), lsn, slot: None, room, observer: None }
    }

    /// The receipt is true once every delivery that `slot` counts has succeeded, and `lsn` (unless 0) is durable: a message may
    /// hold events of both paths.
    pub fn slot(slot: Arc<Slot>, lsn: u64, receipt: Receipt, room: Room) -> Self {
        Ticket { verdict: Some(Verdict::Receipt(receipt)), lsn, slot: Some(slot), room, observer: None }
    }

    /// Ready when the verdict is. Polled again after that it is ready with *unknown*.
    pub fn poll_verdict(&mut self, cx: &mut Context<'_>, waits: &mut dyn DurableWait) -> Poll<Verdict> {
        if self.lsn > 0 {
            match waits.poll_durable(cx, self.lsn) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.lsn = 0,
                Poll::Ready(Err(Lost)) => {
                    self.lsn = 0;
                    self.slot = None;
                    self.verdict = None;
                }
            }
        }
        if let Some(slot) = &self.slot {
            match slot.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.slot = None,
                Poll::Ready(Some(worst)) => {
                    self.slot = None;
                    self.verdict = Some(worst);
                }
            }
        }
        self.room.shrink_to(0);
        let verdict = self.verdict.take().unwrap_or(Verdict::Unknown(Unknown { word: Word::Internal }));
        if let Some((observer, stamp)) = self.observer.take() {
            observer.settled(stamp, &verdict);
        }
        Poll::Ready(verdict)
    }

    /// The same ticket, with somebody who hears of its verdict.
    #[must_use]
    pub fn observed(mut self, observer: Arc<dyn Observer>, stamp: Stamp) -> Self {
        self.observer = Some((observer, stamp));
        self
    }

    /// Takes out who hears of the verdict, for somebody who listens in between and passes it on.
    pub fn take_observer(&mut self) -> Option<(Arc<dyn Observer>, Stamp)> {
        self.observer.take()
    }

    /// Waits for the verdict. Dropping the future abandons the answer, not the message.
    pub async fn verdict(mut self, waits: &mut dyn DurableWait) -> Verdict {
        poll_fn(|cx| self.poll_verdict(cx, waits)).await
    }
}

/// The deliveries that one direct message waits for: one allocation. Lanes count down, the worst outcome stays, the last one
/// wakes. When the sender is gone they finish anyway.
#[derive(Debug)]
pub struct Slot {
    left: AtomicU32,
    outcomes: Mutex<Outcomes>,
    waker: AtomicWaker,
}

/// Hears once whether every delivery succeeded.
type AtEnd = Box<dyn FnOnce(bool) + Send>;

#[derive(Default)]
struct Outcomes {
    /// Deliveries that have not ended: counted under the lock, so that exactly one is the last.
    open: u32,
    delivered: bool,
    worst: Option<Verdict>,
    at_end: Option<AtEnd>,
}

impl std::fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcomes").field("worst", &self.worst).finish_non_exhaustive()
    }
}

impl Slot {
    /// A slot for this many deliveries (at least one). `stored`: other events of the message go to the journal, so that a
    /// refusal here cannot say that nothing was kept.
    pub fn new(deliveries: u32, stored: bool) -> Arc<Self> {
        let open = deliveries.max(1);
        let outcomes = Mutex::new(Outcomes { open, delivered: stored, ..Outcomes::default() });
        Arc::new(Slot { left: AtomicU32::new(open), outcomes, waker: AtomicWaker::new() })
    }

    /// `hear` is called when the last delivery has ended, before the sender is told: with `true` when all succeeded. To be set
    /// before the first delivery begins.
    pub fn at_end(&self, hear: impl FnOnce(bool) + Send + 'static) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).at_end = Some(Box::new(hear));
    }

    /// One delivery ended: `None` for success, else what the sender must be told. *Unknown* outranks a refusal. A refusal by
    /// one backend beside the success of another is *unknown* too, because "nothing was kept" would be false.
    pub fn settle(&self, outcome: Option<Verdict>) {
        let last = {
            let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                None => outcomes.delivered = true,
                Some(verdict) if !matches!(outcomes.worst, Some(Verdict::Unknown(_))) => outcomes.worst = Some(verdict),
                Some(_) => {}
            }
            outcomes.open = outcomes.open.saturating_sub(1);
            if outcomes.open == 0 { outcomes.at_end.take().map(|hear| (hear, outcomes.worst.is_none())) } else { None }
        };
        if let Some((hear, succeeded)) = last {
            hear(succeeded);
        }
        let before = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if before == Ok(1) {
            self.waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Verdict>> {
        if self.left.load(Ordering::Acquire) > 0 {
            self.waker.register(cx.waker());
            if self.left.load(Ordering::Acquire) > 0 {
                return Poll::Pending;
            }
        }
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = outcomes.worst.take();
        Poll::Ready(match worst {
            Some(Verdict::Refusal(_)) if outcomes.delivered => Some(Verdict::Unknown(Unknown { word: Word::Internal })),
            worst => worst,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Refusal;
    use std::task::Waker;

    fn outcome(settled: Vec<Option<Verdict>>) -> Option<Verdict> {
        let slot = Slot::new(u32::try_from(settled.len()).unwrap_or(1), false);
        let mut cx = Context::from_waker(Waker::noop());
        for one in settled {
            assert!(slot.poll(&mut cx).is_pending());
            slot.settle(one);
        }
        match slot.poll(&mut cx) {
            Poll::Ready(worst) => worst,
            Poll::Pending => panic!("every delivery ended"),
        }
    }

    fn refusal() -> Option<Verdict> {
        Some(Refusal::new(Word::BackendUnavailable, "down").into())
    }

    fn unknown() -> Option<Verdict> {
        Some(Verdict::Unknown(Unknown { word: Word::Timeout }))
    }

    #[test]
    fn the_worst_outcome_decides() {
        assert!(outcome(vec![None, None]).is_none());
        assert!(matches!(outcome(vec![refusal(), refusal()]), Some(Verdict::Refusal(_))));
        assert!(matches!(outcome(vec![unknown(), refusal()]), Some(Verdict::Unknown(_))));
        assert!(matches!(outcome(vec![None, refusal()]), Some(Verdict::Unknown(_))), "one backend has kept it");
    }
}
