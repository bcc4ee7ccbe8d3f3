//! What a client did wrong at the level of MQTT itself: it ends the connection.
use schemas::Word;
use std::borrow::Cow;

/// Reason codes of MQTT 5 (section 2.4) that this listener sends.
pub mod code {
    /// Success; normal disconnection.
    pub const SUCCESS: u8 = 0x00;
    /// Disconnect with Will Message.
    pub const WITH_WILL: u8 = 0x04;
    /// No subscription existed.
    pub const NO_SUBSCRIPTION: u8 = 0x11;
    /// Malformed packet.
    pub const MALFORMED: u8 = 0x81;
    /// Protocol error.
    pub const PROTOCOL: u8 = 0x82;
    /// Implementation specific error.
    pub const IMPLEMENTATION: u8 = 0x83;
    /// Unsupported protocol version.
    pub const VERSION: u8 = 0x84;
    /// Client identifier not valid.
    pub const CLIENT_ID: u8 = 0x85;
    /// Bad user name or password.
    pub const BAD_LOGIN: u8 = 0x86;
    /// Not authorized.
    pub const NOT_AUTHORIZED: u8 = 0x87;
    /// Server unavailable.
    pub const UNAVAILABLE: u8 = 0x88;
    /// Server busy.
    pub const BUSY: u8 = 0x89;
    /// Server shutting down.
    pub const SHUTTING_DOWN: u8 = 0x8B;
    /// Bad authentication method.
    pub const AUTH_METHOD: u8 = 0x8C;
    /// Keep alive timeout.
    pub const KEEP_ALIVE: u8 = 0x8D;
    /// Session taken over.
    pub const TAKEN_OVER: u8 = 0x8E;
    /// Topic name invalid.
    pub const TOPIC_NAME: u8 = 0x90;
    /// Packet identifier not found.
    pub const ID_NOT_FOUND: u8 = 0x92;
    /// Receive Maximum exceeded.
    pub const RECEIVE_MAX: u8 = 0x93;
    /// Topic alias invalid.
    pub const TOPIC_ALIAS: u8 = 0x94;
    /// Packet too large.
    pub const TOO_LARGE: u8 = 0x95;
    /// Quota exceeded.
    pub const QUOTA: u8 = 0x97;
    /// Payload format invalid.
    pub const PAYLOAD_FORMAT: u8 = 0x99;
    /// Retain not supported.
    pub const RETAIN: u8 = 0x9A;
    /// QoS not supported.
    pub const QOS: u8 = 0x9B;
    /// Maximum connect time.
    pub const CONNECT_TIME: u8 = 0xA0;
}

/// A broken rule of the protocol. MQTT 5 clients get its code in CONNACK or DISCONNECT; the connection closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The MQTT 5 reason code.
    pub code: u8,
    /// What exactly, for people.
    pub detail: Cow<'static, str>,
}

impl Fault {
    /// A fault with its explanation.
    pub fn new(code: u8, detail: impl Into<Cow<'static, str>>) -> Self {
        Fault { code, detail: detail.into() }
    }

    /// Malformed packet, 0x81: it cannot be read by the rules of section 2.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Fault::new(code::MALFORMED, detail)
    }

    /// Protocol error, 0x82: it can be read but may not be sent.
    pub fn protocol(detail: impl Into<Cow<'static, str>>) -> Self {
        Fault::new(code::PROTOCOL, detail)
    }

    /// The failure word that it counts as.
    pub fn word(&self) -> Word {
        match self.code {
            code::TOO_LARGE => Word::TooLarge,
            code::QUOTA | code::BUSY => Word::Overloaded,
            code::BAD_LOGIN => Word::Unauthenticated,
            code::NOT_AUTHORIZED => Word::Forbidden,
            code::SHUTTING_DOWN | code::UNAVAILABLE => Word::ShuttingDown,
            code::KEEP_ALIVE => Word::Timeout,
            _ => Word::ProtocolError,
        }
    }

    /// The reason string: `word: detail`.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.word(), self.detail)
    }
}
