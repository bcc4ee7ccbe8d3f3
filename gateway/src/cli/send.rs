//! `anygate send`: one message by a real client of the protocol, and what the sender is told.
//!
//! It starts a trace of its own, so that the answer can be followed with `anygate trace`, also where the protocol's answer
//! carries no id. It never retries: the answer that it prints is the first one.
pub mod http;
pub mod link;
mod mqtt;
mod said;
pub mod target;
pub mod wire;

use super::Exit;
use crate::random;
use bytes::Bytes;
use clap::{Args, Subcommand};
use said::{Outcome, Said};
use schemas::{TraceContext, trace::SAMPLED};
use std::{
    io::Read,
    time::{Duration, Instant},
};
use target::Target;

/// The longest message that is read from standard input.
const DATA_MAX: u64 = 256 * 1024 * 1024;

/// Send one message and print what the sender is told.
///
/// Exit 0: receipt, 1: refused or unknown, 3: no connection.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate send http '{\"total\":9}' --type com.acme.order.created\n  anygate send http -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-type: t' -H 'ce-source: /s' hello\n  anygate send http --content-type application/x-ndjson - < orders.ndjson\n  anygate send mqtt sensors/hh/7/temperature '{\"celsius\":21.5}'\n  anygate send mqtt sensors/hh/7/temperature 21.5 --version 3.1.1 --qos 0"
)]
pub struct Send {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    /// A request: POST /events
    Http(Http),
    /// A PUBLISH
    Mqtt(mqtt::Mqtt),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate send http '{\"total\":9}' --type com.acme.order.created\n  anygate send http -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-type: t' -H 'ce-source: /s' hello\n  anygate send http --content-type application/x-ndjson - < orders.ndjson"
)]
struct Http {
    /// The body; - reads standard input
    data: String,
    /// The listener
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The type in the path: POST /events/TYPE
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// A header, as in 'name: value'; a traceparent is used instead of a new one
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The content type; without one the gateway looks at the body
    #[arg(long)]
    content_type: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What both protocols take.
#[derive(Debug, Args)]
struct Common {
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Common {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Send {
    /// Sends the message.
    pub fn run(self) -> Exit {
        let json = match &self.protocol {
            Protocol::Http(http) => http.common.json,
            Protocol::Mqtt(mqtt) => mqtt.common.json,
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return said::print(&Said::of(Outcome::Usage(error.to_string())), json),
        };
        let said = runtime.block_on(async {
            match &self.protocol {
                Protocol::Http(http) => http.send().await,
                Protocol::Mqtt(mqtt) => mqtt.send().await,
            }
        });
        said::print(&said, json)
    }
}

/// A trace of its own: sampled, so that every receiver of traces sees it.
fn own_trace() -> TraceContext {
    TraceContext::from_random(random::bytes(), SAMPLED)
}

/// The bytes to send.
fn data(text: &str) -> Result<Bytes, String> {
    if text != "-" {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let mut data = Vec::new();
    let read = std::io::stdin().lock().take(DATA_MAX + 1).read_to_end(&mut data);
    match read {
        Err(error) => Err(format!("standard input cannot be read: {error}")),
        Ok(_) if data.len() as u64 > DATA_MAX => Err(format!("standard input holds more than {DATA_MAX} bytes")),
        Ok(_) => Ok(data.into()),
    }
}

impl Http {
    async fn send(&self) -> Said {
        let prepared = self.prepare();
        let (target, path, headers, trace, body) = match prepared {
            Ok(prepared) => prepared,
            Err(what) => return Said::of(Outcome::Usage(what)),
        };
        let begin = Instant::now();
        let mut client = match http::HttpClient::connect(&target.address()).await {
            Ok(client) => client,
            Err(error) => return Said::of(Outcome::Unreachable(format!("{}: {error}", target.address()))),
        };
        let connected = Instant::now();
        let reply = client.post(&path, &headers, body, self.common.patience()).await;
        let mut said = match reply {
            Ok(reply) => said::of_http(&reply),
            Err(http::PostFault::Request(what)) => Said::of(Outcome::Usage(what)),
            Err(http::PostFault::NoAnswer(what)) => Said::of(Outcome::Unknown(what)),
        };
        said.after = connected.elapsed();
        said.connected_after = connected - begin;
        said.trace = said.trace.or(trace);
        said
    }

    #[allow(clippy::type_complexity, reason = "the parts of one request, taken apart at once")]
    fn prepare(&self) -> Result<(Target, String, Vec<(String, String)>, Option<String>, Bytes), String> {
        let target = Target::parse(&self.url, "http", 80)?;
        let base = if target.path.is_empty() { "/events" } else { &target.path };
        let path = match &self.event_type {
            Some(event_type) => format!("{base}/{}", percent(event_type)),
            None => base.to_owned(),
        };
        let mut headers = Vec::new();
        for header in &self.headers {
            let (name, value) =
                header.split_once(':').ok_or_else(|| format!("the header {header:?} has no colon: 'name: value'"))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        headers.extend(self.content_type.iter().map(|value| ("content-type".to_owned(), value.clone())));
        let own = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
        let trace = match own {
            Some((_, value)) => TraceContext::parse(value),
            None => {
                let trace = own_trace();
                headers.push(("traceparent".to_owned(), trace.to_string()));
                Some(trace)
            }
        };
        Ok((target, path, headers, trace.map(|trace| trace.trace_id_hex()), data(&self.data)?))
    }
}

/// What a path segment cannot hold as it is, percent-encoded.
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn types_become_one_path_segment() {
        assert_eq!(super::percent("com.acme.order"), "com.acme.order");
        assert_eq!(super::percent("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
