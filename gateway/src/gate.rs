//! The gateway as its listeners see it, and the generation that is in force behind them.
//!
//! A gate lasts as long as its listener; what is behind it is looked up in [`Entrances`], which a reload swaps as a whole.
use crate::{
    auth::Auth,
    stack::epoch::{Next, Way},
    state::Shared,
    telemetry::Meter,
};
use journal::{Lsn, Waiter, Watch};
use schemas::{Refusal, Word};
use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tower::util::BoxCloneSyncService;
use transports::{Budget, Credentials, DurableWait, Gate, Lost, Principal, gate::Door};

/// What one listener's messages go through, in one generation.
pub struct Entrance {
    /// The way in.
    pub way: Way,
    /// Who may send.
    pub auth: Auth,
}

/// Every listener's entrance by name, of the generation that is in force.
#[derive(Default)]
pub struct Entrances {
    now: RwLock<Arc<HashMap<String, Entrance>>>,
    number: AtomicU64,
}

impl fmt::Debug for Entrances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrances").field("number", &self.number()).finish_non_exhaustive()
    }
}

impl Entrances {
    /// Puts a generation in force, for all listeners at once. The caller ends the one before.
    pub fn swap(&self, number: u64, entrances: HashMap<String, Entrance>) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(entrances);
        // After the table: who sees the number finds it.
        self.number.store(number, Ordering::Release);
    }

    /// The number of the generation in force.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    fn now(&self) -> Arc<HashMap<String, Entrance>> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Next for Entrances {
    fn way(&self, listener: &str) -> Option<Way> {
        self.now().get(listener).map(|entrance| entrance.way.clone())
    }
}

/// One listener's gate.
pub struct ListenerGate {
    shared: Arc<Shared>,
    entrances: Arc<Entrances>,
    name: String,
    meter: Meter,
}

impl fmt::Debug for ListenerGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerGate").field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl ListenerGate {
    /// The gate of the listener with this name; `protocol` for its counts.
    pub fn new(
        shared: Arc<Shared>,
        entrances: Arc<Entrances>,
        name: impl Into<String>,
        protocol: &'static str,
    ) -> Arc<Self> {
        let name = name.into();
        let meter = shared.metrics.meter(&name, protocol, Arc::clone(&shared.ring));
        Arc::new(ListenerGate { shared, entrances, name, meter })
    }

    fn with<T>(&self, ask: impl FnOnce(&Entrance) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.entrances.now().get(&self.name).map_or_else(|| Err(gone()), ask)
    }
}

/// A reload took the listener away; its connections end.
fn gone() -> Refusal {
    Refusal::new(Word::ShuttingDown, "the configuration has this listener no more")
}

impl Gate for ListenerGate {
    fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    fn door(&self) -> Door {
        let door = self.with(|entrance| Ok(entrance.way.door.clone()));
        door.unwrap_or_else(|refusal| {
            BoxCloneSyncService::new(tower::service_fn(move |_| std::future::ready(Err(refusal.clone()))))
        })
    }

    fn generation(&self) -> u64 {
        self.entrances.number()
    }

    fn durable_wait(&self) -> Box<dyn DurableWait> {
        durable_wait(&self.shared)
    }

    fn admit(&self, peer: SocketAddr) -> Result<(), Refusal> {
        if self.shared.is_stopping() {
            return Err(Refusal::new(Word::ShuttingDown, "the gateway is stopping"));
        }
        self.with(|entrance| {
            if entrance.auth.admits(peer.ip()) {
                return Ok(());
            }
            Err(Refusal::new(Word::Unauthenticated, "this address is not allowed"))
        })
    }

    fn authenticate(&self, peer: SocketAddr, credentials: Credentials<'_>) -> Result<Principal, Refusal> {
        self.with(|entrance| entrance.auth.authenticate(peer.ip(), credentials))
    }

    fn refused(&self, word: Word) {
        self.meter.listener_refused(word);
    }

    fn connection(&self, protocol_version: &'static str, opened: bool) {
        self.meter.connection(protocol_version, opened);
    }

    fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }
}

/// A wait for what is appended to this journal.
pub fn durable_wait(shared: &Shared) -> Box<dyn DurableWait> {
    Box::new(JournalWait { watch: shared.journal.watch(), waiter: Waiter::new() })
}

/// One ordered stream's wait on the journal's watermark.
struct JournalWait {
    watch: Watch,
    waiter: Waiter,
}

impl DurableWait for JournalWait {
    fn poll_durable(&mut self, cx: &mut Context<'_>, lsn: u64) -> Poll<Result<(), Lost>> {
        self.watch.poll_durable(cx, Lsn::from_raw(lsn), &mut self.waiter).map_err(|_| Lost)
    }
}
