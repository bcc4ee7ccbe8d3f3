//! The MQTT listener: MQTT 3.1.1 and 5, QoS 0, 1 and 2, publishing only.
//!
//! What it promises:
//! * PUBACK (QoS 2: PUBREC) leaves when the message's ack level is reached, in order of arrival, all that may leave in one write.
//! * A reason code of 0x80 and above in one only for what is refused for good. What may succeed later is held: the client
//!   waits, its PINGREQ is answered; at the end of the hold time the connection closes (MQTT 5: DISCONNECT 0x97).
//! * An unknown outcome closes the connection without an answer.
//! * Room is reserved from the fixed header, before a payload is read; a CONNECT is bounded; an idle connection has no buffer.
//!
//! What it deliberately does not do:
//! * No subscriptions: every filter is refused by itself. No retained messages: RETAIN closes an MQTT 5 connection (0x9A) and
//!   is ignored on 3.1.1, which cannot be told.
//! * No sessions: Session Present is always 0 and the Session Expiry Interval 0, also for 3.1.1 clients that ask for a session
//!   to be kept (clean session 0). They resend what got no PUBACK, which is all that a publisher's session is for. So QoS 2 is
//!   exactly once within a connection, and at least once across connections (see `received`).
//! * Topics that begin with `$` belong to servers: such a message is refused by itself (`forbidden`).
//! * A will is sent when the connection ends without DISCONNECT (MQTT 5: or with a reason other than 0x00). A Will Delay
//!   Interval counts as 0, because it ends with the session at the latest, and the session ends with the connection. When the
//!   gateway is stopping it takes no wills any more.
//! * A client that asks for no keep alive, or a longer one than the listener takes, is held to the listener's: MQTT 5 clients are
//!   told so (Server Keep Alive); a 3.1.1 client that is silent for longer finds its connection closed.
//!
//! Packets are read by this module's own strict reader; see [`publish`] for why.
pub mod answer;
pub mod config;
pub mod connect;
mod control;
mod end;
pub mod fault;
pub mod fields;
mod from_config;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod line;
mod link;
pub mod message;
mod packets;
pub mod publish;
mod received;
pub mod registry;
mod session;
pub mod settings;
pub mod stream;
pub mod subscribe;
mod topics;
pub mod write;

use crate::{
    Gate,
    net::{Acceptor, Current, Limits, Listening, Shutdown},
};
pub use fields::Version;
use handshake::Shared;
use registry::Registry;
pub use settings::{MqttSettings, OnReject, Overload};
use std::{io, net::SocketAddr, sync::Arc};
pub use stream::Stream;

/// A bound MQTT listener that does not accept yet.
#[derive(Debug)]
pub struct MqttListener {
    listening: Listening,
    settings: Arc<Current<MqttSettings>>,
    limits: Arc<Limits>,
}

/// Changes the settings of a listener that runs, for its new connections; those that are open keep theirs.
#[derive(Clone, Debug)]
pub struct MqttControl {
    settings: Arc<Current<MqttSettings>>,
    limits: Arc<Limits>,
}

impl MqttControl {
    /// New settings.
    pub fn change(&self, settings: MqttSettings) {
        self.limits.change(settings.connections_max, settings.per_address_max);
        self.settings.set(settings);
    }
}

impl MqttListener {
    /// Binds `address`; port 0 takes any.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: SocketAddr, settings: MqttSettings) -> io::Result<Self> {
        Ok(Self::on(settings, Listening::bind(address).await?))
    }

    /// A listener on a socket that is bound already.
    pub fn on(settings: MqttSettings, listening: Listening) -> Self {
        let limits = Limits::new(settings.connections_max, settings.per_address_max);
        MqttListener { listening, settings: Current::new(settings), limits }
    }

    /// What changes its settings while it runs.
    pub fn control(&self) -> MqttControl {
        MqttControl { settings: Arc::clone(&self.settings), limits: Arc::clone(&self.limits) }
    }

    /// The socket once more, see [`Listening::again`].
    ///
    /// # Errors
    /// The system's.
    pub fn socket(&self) -> io::Result<Listening> {
        self.listening.again()
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Serves connections until `shutdown`; returns when the last one has ended. Each then stops reading, answers what was handed
    /// over, and says DISCONNECT 0x8B (MQTT 5); one that has reached its age does the same and says 0xA0.
    pub async fn serve(self, gate: Arc<dyn Gate>, shutdown: Shutdown) {
        let MqttListener { listening, settings, limits } = self;
        let sessions = MqttSessions::new(settings.get(), Arc::clone(&gate));
        let acceptor = Acceptor { limits, gate };
        let signal = shutdown.clone();
        let serve = move |stream, peer| {
            let settings = settings.get();
            let until = match settings.max_connection_age {
                Some(age) => signal.clone().at_age(age),
                None => signal.clone(),
            };
            sessions.clone().with(settings).serve(stream, peer, until)
        };
        acceptor.run(listening, shutdown, serve).await;
    }
}

/// The sessions of one listener, over whatever stream carries them.
#[derive(Clone)]
pub struct MqttSessions {
    shared: Arc<Shared>,
}

impl MqttSessions {
    /// Sessions of a listener with these settings. All streams of one listener share one of these, because a client identifier
    /// stands for one connection among all of them.
    pub fn new(settings: Arc<MqttSettings>, gate: Arc<dyn Gate>) -> Self {
        MqttSessions { shared: Arc::new(Shared { settings, gate, registry: Arc::new(Registry::default()) }) }
    }

    /// The same sessions, the next ones with these settings: client identifiers stay known.
    #[must_use]
    pub fn with(self, settings: Arc<MqttSettings>) -> Self {
        if Arc::ptr_eq(&self.shared.settings, &settings) {
            return self;
        }
        let Shared { gate, registry, .. } = &*self.shared;
        let (gate, registry) = (Arc::clone(gate), Arc::clone(registry));
        MqttSessions { shared: Arc::new(Shared { settings, gate, registry }) }
    }

    /// Serves one stream from its first byte to its last.
    pub fn serve<S: Stream>(
        &self,
        stream: S,
        peer: SocketAddr,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + Send + use<S> {
        handshake::serve(stream, peer, Arc::clone(&self.shared), shutdown)
    }
}
