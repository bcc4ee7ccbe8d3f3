//! What all generations of the config share: the journal, the lanes, the budget, and the counts. It outlives a reload.
use crate::{
    ids::Ids,
    lanes::{Lane, Lanes},
    stack::held::Held,
    telemetry::{Filling, Metrics, Ring, spans::Spans},
    vital::Vital,
};
use journal::{AnyDisk, Journal, LaneId, Stats};
use std::{
    fmt,
    net::SocketAddr,
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
    /// Streams whose head is held.
    pub held: Held,
    /// How fast the journal fills.
    pub filling: Filling,
    bound: RwLock<Vec<(String, SocketAddr)>>,
    volatile: AtomicBool,
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
            held: Held::default(),
            filling: Filling::default(),
            bound: RwLock::default(),
            volatile: AtomicBool::new(false),
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

    /// When new events are refused for want of room, if everything goes on as in the last minutes: the first backlog to reach its
    /// quota, and the ring once backlogs find no room on the disk (else what lags leaves the ring for them). `None`: never.
    pub fn time_to_full(&self, stats: &Stats) -> Option<Duration> {
        let ring = if self.journal.backlog_is_full() { self.filling.time_to_full(stats.capacity_bytes) } else { None };
        let lanes = self.lanes();
        let of_lane =
            |lane: &Arc<Lane>| lane.filling.time_to_full(self.journal.lane_stats(LaneId::new(lane.id)?).quota);
        lanes.iter().filter_map(of_lane).chain(ring).min()
    }

    /// Says that the journal is in memory: nothing in it outlives the process.
    pub fn set_volatile(&self, volatile: bool) {
        self.volatile.store(volatile, Ordering::Relaxed);
    }

    /// Whether the journal is in memory: then nothing is durable, and nobody may be told that it is.
    pub fn is_volatile(&self) -> bool {
        self.volatile.load(Ordering::Relaxed)
    }

    /// Where listeners really listen, by name: the port is known even if 0 was asked for.
    pub fn bound(&self, listener: &str) -> Option<SocketAddr> {
        let bound = self.bound.read().unwrap_or_else(PoisonError::into_inner);
        bound.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// Listeners were bound, or are gone.
    pub fn set_bound(&self, bound: Vec<(String, SocketAddr)>) {
        *self.bound.write().unwrap_or_else(PoisonError::into_inner) = bound;
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
