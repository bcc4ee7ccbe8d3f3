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
    wait: Wait,
    room: Room,
}

#[derive(Debug)]
enum Wait {
    Now(Option<Verdict>),
    Durable { lsn: u64, receipt: Option<Receipt> },
    Slot { slot: Arc<Slot>, receipt: Option<Receipt> },
}

impl Ticket {
    /// The verdict is known already.
    pub fn now(verdict: Verdict) -> Self {
        Ticket { wait: Wait::Now(Some(verdict)), room: Room::default() }
    }

    /// The receipt is true once everything up to `lsn` is durable.
    pub fn durable(lsn: u64, receipt: Receipt, room: Room) -> Self {
        Ticket { wait: Wait::Durable { lsn, receipt: Some(receipt) }, room }
    }

    /// The receipt is true once every delivery that `slot` counts has succeeded.
    pub fn slot(slot: Arc<Slot>, receipt: Receipt, room: Room) -> Self {
        Ticket { wait: Wait::Slot { slot, receipt: Some(receipt) }, room }
    }

    /// Ready when the verdict is. Polled again after that it is ready with *unknown*.
    pub fn poll_verdict(&mut self, cx: &mut Context<'_>, waits: &mut dyn DurableWait) -> Poll<Verdict> {
        let verdict = match &mut self.wait {
            Wait::Now(verdict) => verdict.take(),
            Wait::Durable { lsn, receipt } => match waits.poll_durable(cx, *lsn) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => receipt.take().map(Verdict::Receipt),
                Poll::Ready(Err(Lost)) => None,
            },
            Wait::Slot { slot, receipt } => match slot.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => receipt.take().map(Verdict::Receipt),
                Poll::Ready(Some(worst)) => Some(worst),
            },
        };
        self.room.shrink_to(0);
        Poll::Ready(verdict.unwrap_or(Verdict::Unknown(Unknown { word: Word::Internal })))
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

#[derive(Debug, Default)]
struct Outcomes {
    delivered: bool,
    worst: Option<Verdict>,
}

impl Slot {
    /// A slot for this many deliveries (at least one).
    pub fn new(deliveries: u32) -> Arc<Self> {
        Arc::new(Slot { left: AtomicU32::new(deliveries.max(1)), outcomes: Mutex::new(Outcomes::default()), waker: AtomicWaker::new() })
    }

    /// One delivery ended: `None` for success, else what the sender must be told. *Unknown* outranks a refusal. A refusal by
    /// one backend beside the success of another is *unknown* too, because "nothing was kept" would be false.
    pub fn settle(&self, outcome: Option<Verdict>) {
        {
            let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                None => outcomes.delivered = true,
                Some(verdict) if !matches!(outcomes.worst, Some(Verdict::Unknown(_))) => outcomes.worst = Some(verdict),
                Some(_) => {}
            }
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
        let slot = Slot::new(u32::try_from(settled.len()).unwrap_or(1));
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
