//! What all generations of the config share: the journal, the lanes, the budget, and the counts. It outlives a reload.
use crate::{
    ids::Ids,
    lanes::Lanes,
    telemetry::{Metrics, Ring, spans::Spans},
    vital::Vital,
};
use journal::{AnyDisk, Journal, LaneId};
use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::Notify;
use transports::Budget;

/// The process' own state.
pub struct Shared {
    /// The write-ahead log.
    pub journal: Journal<AnyDisk>,
    lanes: RwLock<Arc<Lanes>>,
    /// Payload bytes between sockets and the disk.
    pub budget: Arc<Budget>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The last events and deliveries.
    pub ring: Arc<Ring>,
    /// The ids of events that were kept.
    pub ids: Arc<Ids>,
    /// Spans for the OTLP receiver, if there is one.
    pub spans: Spans,
    /// When the process was started.
    pub started: (SystemTime, Instant),
    /// Parts that the process cannot do without.
    pub vital: Vital,
    leaving: AtomicBool,
    stopping: AtomicBool,
    room: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts the parts together.
    pub fn new(
        journal: Journal<AnyDisk>,
        budget: Arc<Budget>,
        metrics: Arc<Metrics>,
        ring: Arc<Ring>,
        spans: Spans,
    ) -> Self {
        let started = (SystemTime::now(), Instant::now());
        let mut lanes = Lanes::default();
        lanes.set_journal(journal.clone());
        let lanes = RwLock::new(Arc::new(lanes));
        let ids = Ids::new(journal.uuid());
        Shared {
            journal,
            lanes,
            budget,
            metrics,
            ring,
            ids,
            spans,
            started,
            vital: Vital::default(),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    /// The lanes as they are now. Hot paths ask the table of their generation instead, which is in its routes.
    pub fn lanes(&self) -> Arc<Lanes> {
        Arc::clone(&self.lanes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the lanes for everybody who asks from now on.
    pub fn change_lanes(&self, change: impl FnOnce(&mut Lanes)) {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut lanes));
    }

    /// All metrics as text, with gauges as they are now.
    pub fn render_metrics(&self) -> String {
        self.refresh();
        self.metrics.render()
    }

    /// Brings the gauges of what waits up to date.
    pub fn refresh(&self) {
        let lanes = self.lanes();
        lanes.refresh(&self.journal);
        let named = lanes.iter().map(|lane| (lane.id, lane.name.as_str()));
        for (id, name) in named.chain([(0, Lanes::DEAD_LETTERS)]) {
            if let Some(id) = LaneId::new(id) {
                self.metrics.show_backlog(name, &self.journal.lane_stats(id));
            }
        }
    }

    /// Whether the gateway is about to stop: it is not ready any more, but takes messages until load balancers have seen that.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.is_stopping()
    }

    /// From now on the gateway is not ready.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on new messages are refused with `shutting_down`.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Waits until somebody says that there is room, or for `pause`.
    pub async fn room_or(&self, pause: Duration) {
        // Both endings mean the same: look again.
        let _either = tokio::time::timeout(pause, self.room.notified()).await;
    }

    /// Says that there may be room again.
    pub fn room_freed(&self) {
        self.room.notify_waiters();
    }
}
