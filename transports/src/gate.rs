//! What stands behind a listener: the gateway, seen as a trait so that transports know nothing of it.
use crate::{Budget, Room, Ticket};
use schemas::{ByteStr, Message, Refusal, Word};
use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};
use tower::util::BoxCloneSyncService;

/// The way in for messages: trace, deadline, authorize, decode, the pipelines, routing and admission. Its answer is a
/// [`Ticket`], not the acknowledgement. Cloned once per ordered stream.
pub type Door = BoxCloneSyncService<Submission, Ticket, Refusal>;

/// One message with the room it takes.
#[derive(Debug)]
pub struct Submission {
    /// The message.
    pub message: Message,
    /// Its reserved bytes; they travel with it into the ticket.
    pub room: Room,
    /// Where it comes from.
    pub origin: Arc<Origin>,
}

/// Who and where a stream's messages come from. One per ordered stream and principal.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The listener's name.
    pub listener: ByteStr,
    /// Who sends.
    pub principal: Principal,
    /// `http`, `mqtt`.
    pub protocol: &'static str,
    /// `1.1`, `2`, `3.1.1`, `5`.
    pub version: &'static str,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// What the protocol calls the sender (the MQTT client id); empty when it has no such thing.
    pub client: ByteStr,
}

/// Who a sender is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The name; empty when nobody was asked.
    pub name: ByteStr,
    /// The tenant; empty when there is none.
    pub tenant: ByteStr,
}

/// What a sender shows to say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing.
    None,
    /// HTTP `Authorization: Bearer`.
    Bearer(&'a str),
    /// A user name and password: MQTT CONNECT, HTTP `Authorization: Basic`.
    Password {
        /// The user name.
        user: &'a str,
        /// The password's bytes.
        password: &'a [u8],
    },
}

/// The gateway as one listener sees it. All calls are cheap and never block.
pub trait Gate: Send + Sync + 'static {
    /// The byte budget.
    fn budget(&self) -> &Arc<Budget>;

    /// A fresh way in, for one ordered stream.
    fn door(&self) -> Door;

    /// The number of the configuration that [`Gate::door`] and [`Gate::authenticate`] go by; it grows when a reload changes it.
    /// Asked before each message, so it is one atomic load.
    fn generation(&self) -> u64 {
        0
    }

    /// A fresh wait for durability, for one ordered stream.
    fn durable_wait(&self) -> Box<dyn DurableWait>;

    /// Whether this address may connect at all: asked before a byte is read.
    ///
    /// # Errors
    /// `unauthenticated` for an address outside the allow-list, `shutting_down`.
    fn admit(&self, peer: SocketAddr) -> Result<(), Refusal>;

    /// Who the sender is.
    ///
    /// # Errors
    /// `unauthenticated` when the credentials are missing or wrong.
    fn authenticate(&self, peer: SocketAddr, credentials: Credentials<'_>) -> Result<Principal, Refusal>;

    /// Counts a refusal that happened in the transport, before a message could be handed over.
    fn refused(&self, word: Word);

    /// Counts a connection that opened (`true`) or closed (`false`).
    fn connection(&self, protocol_version: &'static str, opened: bool);

    /// Whether the gateway is stopping: new messages are refused with `shutting_down`.
    fn is_stopping(&self) -> bool;
}

/// Waits until the journal has made an LSN durable. It keeps at most one waker registered.
pub trait DurableWait: Send {
    /// Ready when everything up to `lsn` is durable, or will never be known to be.
    fn poll_durable(&mut self, cx: &mut Context<'_>, lsn: u64) -> Poll<Result<(), Lost>>;
}

/// The journal's disk failed: nobody knows whether the event is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;
