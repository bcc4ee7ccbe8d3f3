//! The gateway as one listener sees it.
use crate::{auth::Auth, state::Shared, telemetry::Meter};
use journal::{Lsn, Waiter, Watch};
use schemas::{Refusal, Word};
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use transports::{Budget, Credentials, DurableWait, Gate, Lost, Principal, gate::Door};

/// One listener's gate, of one generation.
pub struct ListenerGate {
    shared: Arc<Shared>,
    auth: Auth,
    meter: Arc<Meter>,
    /// Cloned once per ordered stream; the lock is held for the clone only.
    door: Mutex<Door>,
}

impl fmt::Debug for ListenerGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerGate").field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl ListenerGate {
    /// Puts the parts together.
    pub fn new(shared: Arc<Shared>, auth: Auth, meter: Arc<Meter>, door: Door) -> Self {
        ListenerGate { shared, auth, meter, door: Mutex::new(door) }
    }
}

impl Gate for ListenerGate {
    fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    fn door(&self) -> Door {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn durable_wait(&self) -> Box<dyn DurableWait> {
        Box::new(JournalWait { watch: self.shared.journal.watch(), waiter: Waiter::new() })
    }

    fn admit(&self, peer: SocketAddr) -> Result<(), Refusal> {
        if self.shared.is_stopping() {
            return Err(Refusal::new(Word::ShuttingDown, "the gateway is stopping"));
        }
        if self.auth.admits(peer.ip()) {
            return Ok(());
        }
        Err(Refusal::new(Word::Unauthenticated, "this address is not allowed"))
    }

    fn authenticate(&self, peer: SocketAddr, credentials: Credentials<'_>) -> Result<Principal, Refusal> {
        self.auth.authenticate(peer.ip(), credentials)
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
