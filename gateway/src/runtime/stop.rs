//! The end of a gateway: in order when it is asked to, and at once when it can promise nothing any more.
//!
//! In order: it is not ready any more (and waits `node.drain_delay`), accepts no new connection, says good-bye to each client after
//! its last answer, gives lanes the rest of `node.drain_timeout` to deliver what waits, lets backends flush, saves cursors, closes
//! the journal. What is left then waits in the journal for the next start: nothing but time is lost by a deadline.
//!
//! When the journal's disk fails there is nothing to drain: who waits was told *unknown* by then, new messages get a definite
//! refusal for a moment, `/readyz` says no and `/livez` yes, and within [`LAST_WORDS`] the process ends with code 74. The file is
//! never synced or written again.
use super::Gateway;
use crate::{lanes::Lane, state::Shared};
use journal::{Failure, LaneId};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long listeners may take to say good-bye, before lanes get the rest of the drain time.
const LISTENER_DRAIN: Duration = Duration::from_secs(10);

/// How long backends may take to let go, at least and at most, within what is left of the drain time.
const LANE_GOODBYE_MIN: Duration = Duration::from_millis(500);
const LANE_GOODBYE_MAX: Duration = Duration::from_secs(5);

/// How long a gateway whose disk failed goes on at most, to tell everybody.
pub const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long of that it still accepts connections, to refuse what comes.
const REFUSING: Duration = Duration::from_secs(1);

/// The longest drain of a gateway that has lost a part: what can be saved is saved, but nobody should wait for the rest.
const BROKEN_DRAIN: Duration = Duration::from_secs(5);

/// Why a gateway must end by itself.
#[derive(Clone, Debug)]
pub enum Fatal {
    /// The journal's disk failed: nothing may be written or acknowledged any more.
    Disk(Failure),
    /// A part that it cannot do without is lost.
    Broken(String),
}

/// How long a stop goes on as before, and how long it waits for what is under way then.
#[derive(Clone, Copy, Debug)]
struct Patience {
    delay: Duration,
    drain: Duration,
}

/// How a stop went.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Events that wait in lanes for the next start.
    pub left: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether the journal closed without an error.
    pub clean: bool,
    /// Whether what is left is lost, because the journal was in memory.
    pub lost: bool,
}

impl Gateway {
    /// Waits until the gateway must end by itself; for ever, if all goes well.
    pub async fn fatal(shared: Arc<Shared>) -> Fatal {
        tokio::select! {
            biased;
            failure = std::future::poll_fn(|cx| shared.journal.poll_failed(cx)) => Fatal::Disk(failure),
            what = shared.vital.wait_broken() => Fatal::Broken(what),
        }
    }

    /// How long a stop may take in all.
    pub fn stop_takes(&self) -> Duration {
        let Patience { delay, drain } = self.patience();
        delay + drain + LANE_GOODBYE_MAX
    }

    /// What the config in force says, not the one at start.
    fn patience(&self) -> Patience {
        let now = self.live.now();
        let (delay, drain) = (now.config.node.drain_delay.get(), now.config.node.drain_timeout.get());
        if self.hurried {
            Patience { delay: Duration::ZERO, drain: drain.min(BROKEN_DRAIN) }
        } else {
            Patience { delay, drain }
        }
    }

    /// From here on a stop takes no delay and little time: a part is lost.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Tells everybody that the journal's disk failed; comes back within [`LAST_WORDS`]. The caller ends the process then,
    /// without dropping the gateway.
    pub fn last_words(&mut self) {
        let serving = std::mem::take(&mut self.serving);
        self.edge.block_on(async {
            tokio::time::sleep(REFUSING).await;
            self.shared.stop();
            self.stop_listeners.send_replace(true);
            let rest = LAST_WORDS.saturating_sub(REFUSING);
            let _ended = tokio::time::timeout(rest, futures_util::future::join_all(serving)).await;
        });
    }

    /// Stops in order; see the module.
    pub fn stop(mut self) -> Stopped {
        let Patience { delay, drain } = self.patience();
        self.shared.leave();
        if !delay.is_zero() {
            self.edge.block_on(async { tokio::time::sleep(delay).await });
        }
        let begin = Instant::now();
        self.shared.stop();
        self.stop_listeners.send_replace(true);
        let serving = std::mem::take(&mut self.serving);
        let most = LISTENER_DRAIN.min(drain);
        self.edge.block_on(async {
            // A listener that does not end in time is cut off below, with its runtime.
            let _ended = tokio::time::timeout(most, futures_util::future::join_all(serving)).await;
        });
        while self.may_drain() && begin.elapsed() < drain && self.shared.journal.failure().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop_lanes.send_replace(true);
        self.stop_rest.send_replace(true);
        let running = std::mem::take(&mut self.running);
        self.lanes.block_on(async {
            let left = drain.saturating_sub(begin.elapsed()).clamp(LANE_GOODBYE_MIN, LANE_GOODBYE_MAX);
            let _ended = tokio::time::timeout(left, futures_util::future::join_all(running)).await;
        });
        self.lanes.block_on(self.shared.spans.shutdown());
        let left = self.shared.lanes().iter().map(|lane| self.pending(lane)).sum();
        let clean = self.shared.journal.close().is_ok();
        self.edge.shutdown_timeout(Duration::from_millis(500));
        self.lanes.shutdown_timeout(Duration::from_millis(500));
        Stopped { left, took: begin.elapsed(), clean, lost: self.shared.is_volatile() && left > 0 }
    }

    /// Whether something waits that waiting may help: not what is for a backend that is away.
    fn may_drain(&self) -> bool {
        // A journal in memory has no next start: what waits is worth the whole drain time.
        let hope = |lane: &Lane| self.shared.is_volatile() || lane.health.trouble().is_none();
        self.shared.lanes().iter().any(|lane| hope(lane) && self.pending(lane) > 0)
    }

    fn pending(&self, lane: &Lane) -> u64 {
        LaneId::new(lane.id).map_or(0, |id| self.shared.journal.pending(id))
    }
}
