//! Configuration of an HTTP listener.

use schemars::JsonSchema;
use serde::Deserialize;
use settings::ByteSize;

use crate::net::config::{ListenerConfig, ListenerPlugin};

/// An HTTP/1.1 and HTTP/2 listener: `POST /events`, `POST /events/{type}`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {
    "websocket": "GET /ws comes with the WebSocket listener",
    "tls": "TLS on listeners comes with a later release"
}))]
pub struct HttpConfig {
    /// The keys of every listener.
    #[serde(flatten)]
    pub common: ListenerConfig,
    /// The largest request body, after decompression. Above it the answer is 413.
    #[serde(default = "max_body")]
    pub max_body: ByteSize,
    /// The most events in one batch. Above it the answer is 413.
    #[serde(default = "max_batch")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_batch: u32,
}

fn max_body() -> ByteSize {
    ByteSize::mib(1)
}

fn max_batch() -> u32 {
    10_000
}

impl ListenerPlugin for HttpConfig {
    fn common(&self) -> &ListenerConfig {
        &self.common
    }

    fn max_message(&self) -> (&'static str, ByteSize, ByteSize) {
        ("max_body", self.max_body, ByteSize::gib(1))
    }

    fn pattern_key(&self) -> &'static str {
        "path"
    }

    fn max_events(&self) -> usize {
        usize::try_from(self.max_batch).unwrap_or(usize::MAX)
    }

    fn can_hold(&self) -> bool {
        false
    }
}
