//! Budgets that do not depend on the machine: allocations per event, copies of a payload, system calls per group.
//!
//! A limit here is what was measured and a little room; whoever makes it smaller writes the smaller number. Instructions per
//! event need an optimised build, and copies in front of the door need a socket: `tests/bench/instructions`.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)]

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use gateway::{config, runtime::Gateway};
use schemas::{Message, Verdict};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use transports::{DurableWait, Intake, Origin, Principal};

const CONFIG: &str = "
version: 1
node: { data_dir: DATA }
admin: { listen: \"127.0.0.1:0\" }
listeners: { web: { http: { listen: \"127.0.0.1:0\" } } }
backends: { away: { null: {} } }
routes:
  - { name: alarms, when: \"type = 'com.example.alarm'\", to: [away] }
  - { name: all, to: [away] }
";

/// One stream into a gateway of its own, without a socket.
struct Stage {
    gateway: Gateway,
    intake: Intake,
    waits: Box<dyn DurableWait>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = CONFIG.replace("DATA", &folder.path().join("data").display().to_string());
        let env = |name: &str| std::env::var(name).ok();
        let checked = config::check_text("budgets.yaml", &text, folder.path(), &env);
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
        let intake = Intake::new(gate, origin, Duration::from_secs(1));
        let waits = intake.durable_wait();
        Stage { gateway, intake, waits, _folder: folder }
    }

    /// Submits a message and waits until it is durable; what this thread allocated until it had the ticket.
    fn send(&mut self, message: &Message) -> AllocationInfo {
        let message = message.clone();
        let (mut ticket, mut info) = (None, AllocationInfo::default());
        let Stage { gateway, intake, waits, .. } = self;
        gateway.block_on(async {
            let permit = intake.reserve(message.payload.len()).await.unwrap();
            let mut submitting = Box::pin(permit.submit(message));
            info = measure(|| {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                if let std::task::Poll::Ready(ready) = submitting.as_mut().poll(&mut cx) {
                    ticket = Some(ready);
                }
            });
            let verdict = match ticket.take() {
                Some(ticket) => ticket.verdict(waits.as_mut()).await,
                None => panic!("built-in steps are ready at the first poll"),
            };
            assert!(matches!(verdict, Verdict::Receipt(_)), "{verdict:?}");
        });
        info
    }

    /// The median of many: a group's buffer or a table grows now and then.
    fn usual(&mut self, message: &Message) -> (u64, u64) {
        let mut counts: Vec<(u64, u64)> =
            (0..101).map(|_| self.send(message)).map(|i| (i.count_total, i.bytes_total)).collect();
        counts.sort_unstable();
        counts[counts.len() / 2]
    }
}

fn event(number: usize, size: usize) -> String {
    let head = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{number:08}\",\"source\":\"/plant/7\",\"type\":\"com.example.reading\",\"time\":\"2026-01-01T00:00:00Z\",\"data\":{{\"text\":\""
    );
    let tail = "\"}}";
    format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
}

fn message(content_type: &str, payload: String) -> Message {
    let (payload, content_type) = (Bytes::from(payload), Some(content_type.into()));
    Message { payload, content_type, subject: "/events".into(), ..Message::default() }
}

#[test]
fn allocations_per_event_on_each_path() {
    let mut stage = Stage::new();
    let list = |count| (0..count).map(|n| event(n, 300)).collect::<Vec<_>>();
    let batch = format!("[{}]", list(100).join(","));
    let lines = list(100).join("\n");
    // The message, its events, and the most allocations that one event may cost between the socket's bytes and the journal.
    for (name, message, events, most) in [
        ("CloudEvent", message("application/cloudevents+json", event(0, 1024)), 1, MOST_SINGLE),
        ("plain JSON", message("application/json", event(0, 1024)), 1, MOST_BARE),
        ("bytes", message("application/octet-stream", "x".repeat(1024)), 1, MOST_BARE),
        ("JSON batch", message("application/cloudevents-batch+json", batch), 100, MOST_BATCHED),
        ("NDJSON", message("application/x-ndjson", lines), 100, MOST_LINE),
    ] {
        let (count, _) = stage.usual(&message);
        let each = count as f64 / f64::from(events);
        println!("{name}: {each:.2} allocations an event");
        assert!(each <= most, "{name}: {each:.2} allocations an event, {most} at most");
    }
    stage.gateway.stop();
}

const MOST_SINGLE: f64 = 3.0;
const MOST_BARE: f64 = 4.0;
const MOST_BATCHED: f64 = 2.2;
const MOST_LINE: f64 = 3.2;

/// A copy of a payload needs somewhere to go. Behind the transport there is one: into the journal's group, a buffer that is kept.
/// So what is allocated must not grow with the payload. The other copy that is allowed is the transport's, when a body comes in
/// pieces (`transports/src/http/body.rs`).
#[test]
fn a_payload_is_copied_once_behind_the_transport() {
    let mut stage = Stage::new();
    for content_type in ["application/cloudevents+json", "application/json", "application/octet-stream"] {
        let (small, large) = (1 << 10, 1 << 20);
        // The first ones grow the group's two buffers.
        for _ in 0..4 {
            stage.send(&message(content_type, event(0, large)));
        }
        let (_, below) = stage.usual(&message(content_type, event(0, small)));
        for _ in 0..4 {
            stage.send(&message(content_type, event(0, large)));
        }
        let (_, above) = stage.usual(&message(content_type, event(0, large)));
        let slope = (above as f64 - below as f64) / (large - small) as f64;
        println!("{content_type}: {slope:.4} bytes allocated per payload byte");
        assert!(slope < 0.01, "{content_type}: {slope} bytes allocated per payload byte: somebody copies the payload");
    }
    stage.gateway.stop();
}

/// Says that something is missing; in CI that is a failure.
fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and CI is set");
    println!("SKIPPED: {why}");
}

/// `anygate run` under strace; it ends with this value.
struct Traced {
    strace: Child,
    http: u16,
    admin: u16,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Traced {
    fn start(folder: &Path) -> Option<Self> {
        let (http, admin) = (free_port(), free_port());
        let mut ports = CONFIG.replace("DATA", &folder.join("data").display().to_string());
        ports = ports.replacen("127.0.0.1:0", &format!("127.0.0.1:{admin}"), 1);
        ports = ports.replacen("127.0.0.1:0", &format!("127.0.0.1:{http}"), 1);
        let config = folder.join("budgets.yaml");
        std::fs::write(&config, ports).unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=pwrite64,pwritev,pwritev2,write,writev,fdatasync,fsync,sync_file_range"])
            .args(["-e", "signal=none", "-y", "-o"])
            .arg(folder.join("calls"))
            .arg(env!("CARGO_BIN_EXE_anygate"))
            .args(["run", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let traced = Traced { strace, http, admin };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", traced.http)).is_err() {
            assert!(Instant::now() < until, "the traced gateway does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(traced)
    }

    fn groups(&self) -> f64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let figure = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.trim().rsplit(' ').next()?.parse::<f64>().ok()).reduce(|sum, more| sum + more)
        };
        match (figure("anygate_events_kept_total"), figure("anygate_journal_group_size")) {
            (Some(kept), Some(size)) => kept / size,
            _ => panic!("no such metrics: {text}"),
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // strace ends with the process that it traces; that one is its only child.
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        for child in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ended = Command::new("kill").arg(child).status();
        }
        let _ended = self.strace.wait();
    }
}

fn post(stream: &mut BufReader<TcpStream>, body: &str) {
    let head =
        "POST /events/com.example.reading HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ";
    stream.get_mut().write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 202"), "{line}");
    while line != "\r\n" {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).unwrap();
}

/// A group costs one write and one `fdatasync`, and an answer one write: one by one, each message is a group of its own.
#[test]
fn system_calls_per_group() {
    const MESSAGES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let Some(traced) = Traced::start(folder.path()) else { return skipped("strace cannot be started") };
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", traced.http)).unwrap());
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    for _ in 0..MESSAGES {
        post(&mut stream, "{\"celsius\":21.5}");
    }
    // The gauge is brought up to date five times a second.
    std::thread::sleep(Duration::from_millis(500));
    let groups = traced.groups();
    assert!((groups - MESSAGES as f64).abs() < 2.0, "{groups} groups for {MESSAGES} messages, one at a time");
    drop(traced);
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    // A segment that groups are written to is synced once per group, others (made ready ahead) once or twice.
    // A call that another thread's line interrupts stands there twice; the second time it is "resumed".
    let segment = |line: &&str| line.contains(".seg>") && !line.contains(" resumed>");
    let mut synced = std::collections::HashMap::<&str, usize>::new();
    let mut written = std::collections::HashMap::<&str, usize>::new();
    for line in calls.lines().filter(segment) {
        let Some((call, rest)) = line.split_once('(') else { continue };
        let file = rest.split_once(".seg>").map_or(rest, |(file, _)| file);
        let file = file.rsplit('/').next().unwrap_or(file);
        let counts = if call.ends_with("sync") { &mut synced } else { &mut written };
        *counts.entry(file).or_default() += 1;
    }
    let (syncs, writes) = (synced.values().max().copied().unwrap_or(0), written.values().max().copied().unwrap_or(0));
    println!("{groups} groups: {syncs} syncs and {writes} writes of their segment");
    // Beyond groups there is the segment's header, and the zeros it was filled with.
    assert!((groups - 2.0..groups + 10.0).contains(&(syncs as f64)), "{syncs} syncs for {groups} groups");
    assert!((groups - 2.0..groups + 100.0).contains(&(writes as f64)), "{writes} writes for {groups} groups");
}
