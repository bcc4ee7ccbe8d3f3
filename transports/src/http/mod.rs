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
mod service;
mod settings;
mod target;
mod webhook;
mod wire;

pub use explain::message_of;
pub use settings::HttpSettings;

use crate::{
    Gate,
    net::{Acceptor, Listening, Shutdown},
};
use schemas::ByteStr;
use std::{io, net::SocketAddr, sync::Arc};

/// A bound HTTP listener that does not accept yet.
pub struct HttpListener {
    name: ByteStr,
    settings: HttpSettings,
    listening: Listening,
}

impl HttpListener {
    /// Binds the listener's address.
    ///
    /// # Errors
    /// The system's: address in use, no permission.
    pub async fn bind(name: impl Into<ByteStr>, settings: HttpSettings) -> io::Result<Self> {
        let listening = Listening::bind(settings.listen).await?;
        Ok(HttpListener { name: name.into(), settings, listening })
    }

    /// The address that was bound; the port is known even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Serves until `shutdown`, then answers what is in flight within [`HttpSettings::drain_timeout`], and returns when the
    /// last connection has ended.
    pub async fn serve(self, gate: Arc<dyn Gate>, shutdown: Shutdown) {
        let acceptor = Acceptor {
            connections_max: self.settings.connections_max,
            per_address_max: self.settings.per_address_max,
            gate: Arc::clone(&gate),
        };
        let listener = Arc::new(connection::Listener { name: self.name, gate, settings: Arc::new(self.settings) });
        let stop = shutdown.clone();
        acceptor
            .run(self.listening, shutdown, move |stream, peer| Arc::clone(&listener).serve(stream, peer, stop.clone()))
            .await;
    }
}
