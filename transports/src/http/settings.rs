//! The limits and waits of one HTTP listener, with their defaults: plain values, made from the config by the gateway.
use http::HeaderName;
use schemas::{headers::NEVER_KEPT, limits};
use std::{net::SocketAddr, time::Duration};

/// Settings of one HTTP listener. All sizes are bytes.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where it listens. Default: loopback, port 8080.
    pub listen: SocketAddr,
    /// Largest body, before and after a content coding is undone. Default: 1 MiB.
    pub max_body: usize,
    /// How long a request waits for room in the byte budget before it is refused as `overloaded`. Default: 1 s.
    pub hold: Duration,
    /// How long an answer may take once the body is there; after it the outcome is unknown (504). Default: 30 s.
    pub deadline: Duration,
    /// A connection that has sent no byte at all is closed after this time. Default: 10 s.
    pub first_byte_timeout: Duration,
    /// A head (request line and headers) must be complete this long after its first byte. Default: 10 s.
    pub header_timeout: Duration,
    /// What a body may take in any case; it may take longer while [`HttpSettings::body_rate_min`] is kept. Default: 10 s.
    pub body_timeout: Duration,
    /// Bytes a second that a body must arrive at, beyond its first [`HttpSettings::body_timeout`]. Default: 4 KiB.
    pub body_rate_min: u32,
    /// A connection without a request is closed after this time. Default: 75 s.
    pub idle_timeout: Duration,
    /// How long the peer may take no bytes of its answers before the connection is closed. Default: 10 s.
    pub write_timeout: Duration,
    /// After this time, give or take a tenth, the next answer says `Connection: close` (HTTP/2: GOAWAY). Default: 1 h.
    pub max_connection_age: Duration,
    /// How long requests in flight may take when the gateway stops. Default: 10 s.
    pub drain_timeout: Duration,
    /// Most connections. Default: 10,000.
    pub connections_max: usize,
    /// Most connections from one address. Default: 1,000.
    pub per_address_max: usize,
    /// Most open streams of one HTTP/2 connection. Default: 64.
    pub streams_max: u32,
    /// Most bytes of a request's head; more is 431. At least 8 KiB. Default: 32 KiB.
    pub head_max: usize,
    /// Most headers of a request; more is 431. Default: 64.
    pub headers_max: usize,
    /// Longest request target; more is 414. Default: 8 KiB.
    pub target_max: usize,
    /// Whether batches are answered per event even without `Prefer: handling=lenient` (`batch: each`). Default: no.
    pub partial_default: bool,
    /// Headers kept beside the attributes, by name. Default: none.
    pub keep_headers: Vec<HeaderName>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_body: limits::MESSAGE_BYTES_DEFAULT,
            hold: Duration::from_secs(1),
            deadline: Duration::from_secs(30),
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            body_rate_min: 4 * 1024,
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(10),
            max_connection_age: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
            connections_max: 10_000,
            per_address_max: 1_000,
            streams_max: 64,
            head_max: 32 * 1024,
            headers_max: 64,
            target_max: 8 * 1024,
            partial_default: false,
            keep_headers: Vec::new(),
        }
    }
}

impl HttpSettings {
    /// Sets the allow-list of kept headers. Credentials cannot be on it ([`NEVER_KEPT`]).
    ///
    /// # Errors
    /// The first name that is no header name, or may never be kept.
    pub fn keep<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        for name in names {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header name"))?;
            if NEVER_KEPT.contains(&header.as_str()) {
                return Err(format!("the header {name:?} holds credentials and is never kept"));
            }
            self.keep_headers.push(header);
        }
        Ok(self)
    }
}
