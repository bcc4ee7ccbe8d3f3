//! The lanes' loops: one per lane, and the change from one backend instance to the next.
//!
//! A lane whose backend changed hands back first what is under way: it reads no more, waits for what the old instance still
//! confirms (for [`HAND_BACK`] at most), and only then does the new instance begin, at the first event that is not done. What was
//! not confirmed by then is delivered again.
use crate::{
    lanes::{Lane, run::Runner},
    state::Shared,
    vital::guard,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use transports::net::Shutdown;

/// A loop that runs, or waits for the one before it.
struct Running {
    hand_back: watch::Sender<bool>,
    /// Set once it runs, and nobody before it does.
    has_begun: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// The loops of all lanes.
pub struct Deliveries {
    shared: Arc<Shared>,
    runtime: Handle,
    stop: Shutdown,
    running: Mutex<HashMap<u8, Running>>,
}

impl Deliveries {
    /// None yet. They run on `runtime` until `stop`.
    pub fn new(shared: Arc<Shared>, runtime: Handle, stop: Shutdown) -> Arc<Self> {
        Arc::new(Deliveries { shared, runtime, stop, running: Mutex::default() })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<u8, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a lane; one with the same place that runs hands back first.
    pub fn run(&self, lane: Arc<Lane>) {
        let (hand_back, signal) = Shutdown::channel();
        let mut running = self.running();
        let (id, before) = (lane.id, running.remove(&lane.id));
        let has_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&has_begun);
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        let part = format!("lane {}", lane.name);
        let work = async move {
            if let Some(before) = before {
                before.hand_back.send_replace(true);
                // One that panicked has nothing to hand back.
                let _ended = before.task.await;
            }
            begun.store(true, Ordering::Release);
            // At a stop, or when the disk failed, the one before left calls under way: what they hold is for the next start.
            if stop.is_fired() || shared.journal.failure().is_some() {
                lane.refuse_direct();
                return;
            }
            // Now, because a lane has one reader at a time.
            if let Some(runner) = Runner::new(lane, shared) {
                runner.hands_back_on(signal).run(stop).await;
            }
        };
        let task = self.runtime.spawn(guard(Arc::clone(&self.shared), part, work));
        running.insert(id, Running { hand_back, has_begun, task });
    }

    /// Whether the loop that runs a lane is the one that was asked for last: those before it have handed back.
    pub(super) fn is_taken_over(&self, id: u8) -> bool {
        self.running().get(&id).is_none_or(|running| running.has_begun.load(Ordering::Acquire))
    }

    /// Ends a lane's loop; gives its end to wait for.
    pub(super) fn end(&self, id: u8) -> Option<JoinHandle<()>> {
        let running = self.running().remove(&id)?;
        running.hand_back.send_replace(true);
        Some(running.task)
    }

    /// Waits until all loops have ended, which they do after the stop.
    pub async fn until(self: Arc<Self>, mut stop: Shutdown) {
        stop.fired().await;
        let running = std::mem::take(&mut *self.running());
        futures_util::future::join_all(running.into_values().map(|running| running.task)).await;
    }
}
