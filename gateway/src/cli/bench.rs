//! `anygate bench`: a load generator for HTTP and MQTT, open loop unless told otherwise.
//!
//! It is bounded in rate, time, connections and size, and sends to loopback only unless it is told that the target is its
//! user's own. It never sends a message again: what has no answer is counted as lost.
mod histogram;
mod http;
mod mqtt;
mod pace;
mod tally;

use super::{
    Exit,
    send::{target::Target, wire::Version},
};
use clap::{Args, Subcommand};
use settings::{Period, Rate};
use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tally::{Live, Report, Tally, thousands};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// The longest run.
const LONGEST: Duration = Duration::from_secs(3600);
/// The most bytes of one message.
const MESSAGE_MAX: usize = 64 << 20;
/// How long an answer is waited for, also after the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Send load and measure how it is answered.
///
/// By default open loop: messages are sent at their due time whether or not earlier ones were answered, and times count from
/// then. Exit 0: every message was answered once and in order (a refusal is an answer); 1: not so; 3: no connection.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate bench http --rate 5000/s --connections 64 --for 30s\n  anygate bench http --rate max --batch 100 --size 300 --format ndjson\n  anygate bench mqtt --rate 20000/s --connections 50 --in-flight 20\n  anygate bench mqtt --rate max --version 3.1.1 --json"
)]
pub struct Bench {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    /// POST /events over HTTP/1.1
    Http(Http),
    /// PUBLISH
    Mqtt(Mqtt),
}

#[derive(Debug, Args)]
struct Common {
    /// Events per second of all connections, as in 500/s; or max: the closed loop, as fast as answers come
    #[arg(long, default_value = "1000/s")]
    rate: String,
    /// Connections
    #[arg(long, visible_alias = "clients", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Bytes of each event's data; at least 8
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=16_777_216))]
    size: u32,
    /// How long, as in 10s; at most an hour
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    lasts: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Allow a target that is not on loopback: it is yours, and it expects this
    #[arg(long)]
    yes_i_own_this_target: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate bench http --rate 5000/s --connections 64 --for 30s\n  anygate bench http --rate max --batch 100 --size 300 --format ndjson"
)]
struct Http {
    /// The listener
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Events per request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// How a request with several events is written
    #[arg(long, value_enum, default_value_t = http::Format::JsonBatch)]
    format: http::Format,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate bench mqtt --rate 20000/s --clients 50 --in-flight 20\n  anygate bench mqtt --rate max --version 3.1.1 --json"
)]
struct Mqtt {
    /// The listener
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    url: String,
    /// The topic; {n} is the number of the connection
    #[arg(long, default_value = "bench/{n}/load")]
    topic: String,
    /// The quality of service; with 0 there are no answers to measure
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// The protocol version: 5 or 3.1.1
    #[arg(long, default_value = "5", value_parser = ["5", "3.1.1"])]
    version: String,
    /// Messages of a connection without their PUBACK; never more than the gateway allows
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=32_767))]
    in_flight: u16,
    #[command(flatten)]
    common: Common,
}

/// What every connection knows.
#[derive(Clone, Debug)]
struct Load {
    address: SocketAddr,
    start: Instant,
    end: Instant,
    patience: Duration,
    live: Arc<Live>,
}

impl Load {
    async fn connect(&self) -> io::Result<TcpStream> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(CONNECT_TIME, TcpStream::connect(self.address)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A checked run.
struct Run {
    load: Load,
    /// Events per second.
    rate: Option<f64>,
    lasts: Duration,
    connections: usize,
    protocol: String,
    answered: bool,
    json: bool,
}

impl Common {
    fn run(&self, target: &Target, protocol: String, answered: bool) -> Result<Run, (Exit, String)> {
        let wrong = |what: String| (Exit::Usage, what);
        let lasts = self
            .lasts
            .parse::<Period>()
            .map_err(|error| wrong(format!("--for {}: {error}; as in 10s or 2m", self.lasts)))?
            .get();
        if lasts.is_zero() || lasts > LONGEST {
            return Err(wrong("--for: more than 0, and at most 1h".to_owned()));
        }
        let rate = match self.rate.as_str() {
            "max" => None,
            text => {
                Some(per_second(text).map_err(|error| wrong(format!("--rate {text}: {error}; as in 500/s, or max")))?)
            }
        };
        let address = target.resolve().map_err(|what| (Exit::Unreachable, what))?;
        if !address.ip().is_loopback() && !self.yes_i_own_this_target {
            let what = format!(
                "{address} is not on this machine\n  = help: if the target is yours and expects the load, say --yes-i-own-this-target"
            );
            return Err(wrong(what));
        }
        // Times are set when it starts.
        let now = Instant::now();
        let load = Load { address, start: now, end: now, patience: PATIENCE, live: Arc::default() };
        Ok(Run { load, rate, lasts, connections: self.connections.into(), protocol, answered, json: self.json })
    }

    fn size(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }
}

/// `500` or `500/s`.
#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(text: &str) -> Result<f64, String> {
    let text = if text.contains('/') { text.to_owned() } else { format!("{text}/s") };
    let rate: Rate = text.parse().map_err(|error| format!("{error}"))?;
    let per_second = rate.count as f64 / rate.per.as_secs_f64();
    if per_second > 0.0 && per_second <= 10_000_000.0 {
        Ok(per_second)
    } else {
        Err("more than 0, and at most 10,000,000/s".to_owned())
    }
}

impl Bench {
    /// Runs the load.
    pub fn run(self) -> Exit {
        let ended = match &self.protocol {
            Protocol::Http(http) => http.run(),
            Protocol::Mqtt(mqtt) => mqtt.run(),
        };
        ended.unwrap_or_else(|(exit, what)| {
            eprintln!("error: {what}");
            exit
        })
    }
}

impl Http {
    fn run(&self) -> Result<Exit, (Exit, String)> {
        let target = Target::parse(&self.url, "http", 80).map_err(|what| (Exit::Usage, what))?;
        let path = if target.path.is_empty() { "/events" } else { &target.path };
        let batch = usize::try_from(self.batch).unwrap_or(usize::MAX);
        if batch.saturating_mul(self.common.size() + 128) > MESSAGE_MAX {
            return Err((Exit::Usage, format!("--batch × --size: one request has at most {MESSAGE_MAX} bytes")));
        }
        let request = http::Request::new(&target.address(), path, self.common.size(), batch, self.format);
        let run = self.common.run(&target, "http".to_owned(), true)?;
        // The pace is that of messages.
        let rate = run.rate.map(|rate| rate / f64::from(self.batch));
        run.execute(|load, number| {
            let pace = pace::Pace::new(load.start, load.end, rate, number, usize::from(self.common.connections));
            http::connection(load, pace, request.clone(), number)
        })
    }
}

impl Mqtt {
    fn run(&self) -> Result<Exit, (Exit, String)> {
        let target = Target::parse(&self.url, "mqtt", 1883).map_err(|what| (Exit::Usage, what))?;
        let run = self.common.run(&target, format!("mqtt {}", self.version), self.qos > 0)?;
        let shape = mqtt::Shape {
            version: Version::parse(&self.version).unwrap_or(Version::V5),
            qos: self.qos,
            window: self.in_flight.into(),
            topic: self.topic.clone(),
            size: self.common.size(),
        };
        let rate = run.rate;
        run.execute(|load, number| {
            let pace = pace::Pace::new(load.start, load.end, rate, number, usize::from(self.common.connections));
            mqtt::connection(load, pace, shape.clone(), number)
        })
    }
}

impl Run {
    /// Runs all connections, shows progress, prints the report.
    fn execute<F>(mut self, connection: impl Fn(Load, usize) -> F) -> Result<Exit, (Exit, String)>
    where
        F: Future<Output = Tally> + Send + 'static,
    {
        let system = |error: io::Error| (Exit::Faults, error.to_string());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(system)?;
        let (tally, took) = runtime.block_on(async {
            // One connection first: a wrong address is an error, not ten seconds of nothing.
            let gone =
                |error: io::Error| (Exit::Unreachable, format!("no connection to {}: {error}", self.load.address));
            self.load.connect().await.map_err(gone)?;
            self.load.start = Instant::now();
            self.load.end = self.load.start + self.lasts;
            let mut connections = JoinSet::new();
            for number in 0..self.connections {
                connections.spawn(connection(self.load.clone(), number));
            }
            let progress = tokio::spawn(progress(self.load.clone(), self.lasts));
            let mut tally = Tally::default();
            while let Some(ended) = connections.join_next().await {
                tally.merge(&ended.map_err(|error| (Exit::Faults, error.to_string()))?);
            }
            progress.abort();
            Ok((tally, self.load.start.elapsed()))
        })?;
        let report = Report { protocol: self.protocol, offered: self.rate, took, answered: self.answered, tally };
        if self.json {
            println!("{}", report.json());
        } else {
            print!("{}", report.text());
        }
        Ok(if report.tally.is_fine() { Exit::Ok } else { Exit::Faults })
    }
}

/// One line on a terminal, written over every second.
async fn progress(load: Load, lasts: Duration) {
    if !io::stderr().is_terminal() {
        return;
    }
    let mut before = 0;
    for second in 1..=lasts.as_secs() {
        tokio::time::sleep_until((load.start + Duration::from_secs(second)).into()).await;
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (sent, acked, bad) = (count(&load.live.sent), count(&load.live.acked), count(&load.live.bad));
        let line = format!(
            "\r\x1b[K {second} s of {} s  sent {}  acked {} ({}/s)  refused or lost {}",
            lasts.as_secs(),
            thousands(sent),
            thousands(acked),
            thousands(acked - before),
            thousands(bad),
        );
        before = acked;
        // The terminal is gone: the report is what counts.
        let _written = io::stderr().write_all(line.as_bytes());
    }
    let _written = io::stderr().write_all(b"\r\x1b[K");
}
