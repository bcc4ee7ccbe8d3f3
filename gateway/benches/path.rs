//! CPU per event of the whole way in, without a socket: decode, pipeline, route, append, verdict; with a journal in a temporary
//! folder and a null backend behind it.
//!
//!     cargo bench -p gateway --bench path [-- --seconds 3 --only single]
//!
//! One thread submits through a listener's door, as a listener does, and waits for the verdicts. "path" is that thread's own
//! time on a CPU; "process" is everything: the committer, the lane and the kernel too. Figures are nanoseconds per event.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark")]

use bytes::Bytes;
use gateway::{config, runtime::Gateway};
use schemas::{Message, Verdict};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use transports::{Gate, Intake, Origin, Principal};

/// Messages of one stream that wait for their verdict.
const IN_FLIGHT: usize = 64;

const CONFIG: &str = "
version: 1
node: { data_dir: DATA }
admin: { listen: \"127.0.0.1:0\" }
listeners:
  web: { http: { listen: \"127.0.0.1:0\" } }
pipelines: {}
backends: { away: { null: {} } }
routes:
  - { name: alarms, when: \"type = 'com.example.alarm' AND EXISTS severity\", to: [away] }
  - { name: all, to: [away] }
";

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

/// This thread's nanoseconds on a CPU.
fn thread_ns() -> f64 {
    fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// The process' nanoseconds on CPUs (in steps of 10 ms).
fn process_ns() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 1e7
}

/// One event in JSON of exactly `size` bytes.
fn event(number: usize, size: usize) -> String {
    let head = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{number:08}\",\"source\":\"/plant/7\",\"type\":\"com.example.reading\",\"time\":\"2026-01-01T00:00:00Z\",\"data\":{{\"text\":\""
    );
    let tail = "\"}}";
    format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
}

fn message(content_type: &str, payload: String) -> Message {
    Message {
        payload: Bytes::from(payload),
        content_type: Some(content_type.into()),
        subject: "/events".into(),
        ..Message::default()
    }
}

struct Load {
    name: &'static str,
    message: Message,
    events: usize,
}

fn loads() -> Vec<Load> {
    let hundred: Vec<String> = (0..100).map(|n| event(n, 300)).collect();
    let mut lines = String::new();
    for event in &hundred {
        writeln!(lines, "{event}").unwrap();
    }
    let list = format!("[{}]", hundred.join(","));
    let five: Vec<String> = (0..100).map(|n| event(n, 512)).collect();
    let five = format!("[{}]", five.join(","));
    let batch = "application/cloudevents-batch+json";
    vec![
        Load {
            name: "single 1 KiB JSON event",
            message: message("application/cloudevents+json", event(0, 1024)),
            events: 1,
        },
        Load { name: "single 1 KiB plain JSON", message: message("application/json", event(0, 1024)), events: 1 },
        Load { name: "batch 100 x 300 B, JSON", message: message(batch, list), events: 100 },
        Load { name: "batch 100 x 300 B, NDJSON", message: message("application/x-ndjson", lines), events: 100 },
        Load { name: "batch 100 x 512 B, JSON", message: message(batch, five), events: 100 },
    ]
}

/// The null lane must not be lapped: what waits for it stays far below the ring.
fn wait_for_lane(gateway: &Gateway) {
    let journal = &gateway.shared().journal;
    let lane = journal.lane_id("away").unwrap();
    while journal.pending(lane) > 100_000 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn run(gateway: &Gateway, gate: &Arc<dyn Gate>, origin: &Origin, load: &Load, time: Duration) -> (f64, f64, f64) {
    let mut intake = Intake::new(Arc::clone(gate), origin.clone(), Duration::from_secs(1));
    let mut waits = intake.durable_wait();
    let (mut sent, begun, own, all) = (0usize, Instant::now(), thread_ns(), process_ns());
    let mut tickets = Vec::with_capacity(IN_FLIGHT);
    while begun.elapsed() < time {
        for _ in 0..IN_FLIGHT {
            let permit = intake.reserve(load.message.payload.len()).await.unwrap();
            tickets.push(permit.submit(load.message.clone()).await);
        }
        for ticket in tickets.drain(..) {
            let verdict = ticket.verdict(&mut *waits).await;
            assert!(matches!(verdict, Verdict::Receipt(_)), "{verdict:?}");
        }
        sent += IN_FLIGHT * load.events;
        wait_for_lane(gateway);
    }
    let per = sent as f64;
    ((thread_ns() - own) / per, (process_ns() - all) / per, per / begun.elapsed().as_secs_f64())
}

fn main() {
    let seconds: f64 = argument("--seconds").and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let only = argument("--only").unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let text = CONFIG.replace("DATA", &folder.path().join("data").display().to_string());
    let env = |name: &str| std::env::var(name).ok();
    let checked = config::check_text("path.yaml", &text, folder.path(), &env);
    let config = checked.config.as_ref().unwrap_or_else(|| panic!("{}", checked.render(false)));
    let gateway = Gateway::start(config, &env).unwrap();
    let gate = gateway.gate("web", "http");
    let origin = Origin {
        listener: "web".into(),
        principal: Principal::default(),
        protocol: "http",
        version: "1.1",
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        client: schemas::ByteStr::EMPTY,
    };
    println!("{:<28} {:>14} {:>16} {:>12}", "message", "path ns/event", "process ns/event", "events/s");
    for load in loads().iter().filter(|load| load.name.contains(&only)) {
        let time = Duration::from_secs_f64(seconds);
        // The first turn warms: segments get their zeros, tables grow.
        gateway.block_on(run(&gateway, &gate, &origin, load, time / 2));
        let (path, process, rate) = gateway.block_on(run(&gateway, &gate, &origin, load, time));
        println!("{:<28} {path:>14.0} {process:>16.0} {rate:>12.0}", load.name);
    }
    gateway.stop();
}
