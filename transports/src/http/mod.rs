//! The HTTP listener: HTTP/1.1 and HTTP/2 over cleartext, `POST /events` and `POST /events/{type}`.
//!
//! It promises the answers of `reply.rs` for verdicts, RFC 9457 problems for what is refused, room in the byte budget before
//! a body is read, and that no peer holds a connection, a head or a body open for longer than the limits say. HTTP/1.0 is taken
//! too (old devices speak it); a host is not asked of it and its connections close unless it asks for keep-alive.
//!
//! What it deliberately does not do: TLS, WebSocket upgrades, and repair of broken requests. It knows neither routes nor codecs:
//! what an event is, the gateway decides.
//!
//! The way of a request: `connection` (which HTTP, limits, supervisor) → `guard` (HTTP/1: what hyper would hide) → `service` (order of checks) → `fields`, `target`,
//! `message` (the head) → `body`, `coding` (the payload) → the gateway → `reply`.
mod activity;
mod auth;
mod body;
mod coding;
pub mod config;
mod connection;
mod explain;
mod fields;
mod from_config;
pub mod guard;
mod guarded;
mod json;
mod message;
mod problem;
mod reply;
mod seat;
mod sent;
mod service;
mod settings;
mod target;
mod webhook;
mod wire;

pub use explain::message_of;
pub use settings::HttpSettings;

use crate::{
    Gate,
    net::{Acceptor, Current, Limits, Listening, Shutdown},
};
use schemas::ByteStr;
use std::{io, net::SocketAddr, sync::Arc};

/// A bound HTTP listener that does not accept yet.
pub struct HttpListener {
    name: ByteStr,
    settings: Arc<Current<HttpSettings>>,
    limits: Arc<Limits>,
    listening: Listening,
}

/// Changes the settings of a listener that runs, for its new connections; those that are open keep theirs.
#[derive(Clone, Debug)]
pub struct HttpControl {
    settings: Arc<Current<HttpSettings>>,
    limits: Arc<Limits>,
}

impl HttpControl {
    /// New settings; the address among them is not looked at.
    pub fn change(&self, settings: HttpSettings) {
        self.limits.change(settings.connections_max, settings.per_address_max);
        self.settings.set(settings);
    }
}

impl HttpListener {
    /// Binds the listener's address.
    ///
    /// # Errors
    /// The system's: address in use, no permission.
    pub async fn bind(name: impl Into<ByteStr>, settings: HttpSettings) -> io::Result<Self> {
        let listening = Listening::bind(settings.listen).await?;
        Ok(Self::on(name, settings, listening))
    }

    /// A listener on a socket that is bound already.
    pub fn on(name: impl Into<ByteStr>, settings: HttpSettings, listening: Listening) -> Self {
        let limits = Limits::new(settings.connections_max, settings.per_address_max);
        HttpListener { name: name.into(), settings: Current::new(settings), limits, listening }
    }

    /// What changes its settings while it runs.
    pub fn control(&self) -> HttpControl {
        HttpControl { settings: Arc::clone(&self.settings), limits: Arc::clone(&self.limits) }
    }

    /// The socket once more, see [`Listening::again`].
    ///
    /// # Errors
    /// The system's.
    pub fn socket(&self) -> io::Result<Listening> {
        self.listening.again()
    }

    /// The address that was bound; the port is known even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Serves until `shutdown`, then answers what is in flight within [`HttpSettings::drain_timeout`], and returns when the
    /// last connection has ended.
    pub async fn serve(self, gate: Arc<dyn Gate>, shutdown: Shutdown) {
        let HttpListener { name, settings, limits, listening } = self;
        let acceptor = Acceptor { limits, gate: Arc::clone(&gate) };
        let stop = shutdown.clone();
        let serve = move |stream, peer| {
            let listener =
                connection::Listener { name: name.clone(), gate: Arc::clone(&gate), settings: settings.get() };
            Arc::new(listener).serve(stream, peer, stop.clone())
        };
        acceptor.run(listening, shutdown, serve).await;
    }
}
