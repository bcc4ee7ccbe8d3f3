//! 2,000 slow peers at once: silent, half a head, a body that drips, MQTT without a packet, answers that nobody reads. All are
//! gone by their deadlines, memory stays in its bounds, and good traffic flows.
use crate::harness::{eventually, gateway::Place, http::Connection, not_here};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}", drain_timeout: 5s, room: 16MiB }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
listeners:
  web:
    http:
      listen: "127.0.0.1:${HTTP_PORT:?}"
      limits: { per_address: 5000, header_timeout: 4s, body_timeout: 5s, idle_timeout: 60s, write_timeout: 4s }
  devices:
    mqtt:
      listen: "127.0.0.1:${MQTT_PORT:?}"
      keep_alive_max: 6s
      overload: { hold: 2s }
      limits: { per_address: 5000, header_timeout: 4s }
routes:
  - { name: all, to: [keep] }
backends:
  keep: { store: {} }
"#;
const ROOM_KIB: u64 = 16 * 1024;
const SLACK_KIB: u64 = 64 * 1024;
/// Files that this process and the gateway each need.
const FILES: u64 = 4096;

/// What a peer does, and how many do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    HalfHead,
    DrippingBody,
    IdleMqtt,
    NeverReads,
}

const MIX: [(Kind, usize); 5] = [
    (Kind::Silent, 600),
    (Kind::HalfHead, 500),
    (Kind::DrippingBody, 400),
    (Kind::IdleMqtt, 400),
    (Kind::NeverReads, 100),
];

struct Peer {
    kind: Kind,
    stream: TcpStream,
}

impl Peer {
    fn begin(kind: Kind, place: &Place) -> Peer {
        let port = if kind == Kind::IdleMqtt { place.mqtt } else { place.http };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let first: Vec<u8> = match kind {
            Kind::Silent => Vec::new(),
            Kind::HalfHead => b"POST /events HTTP/1.1\r\nHost: x\r\nX-Half: ".to_vec(),
            Kind::DrippingBody => b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n{".to_vec(),
            Kind::IdleMqtt => b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0".to_vec(),
            Kind::NeverReads => never_read(),
        };
        // A pipeline that nobody answers any more may not go out whole.
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let _blocked = stream.write_all(&first);
        stream.set_nonblocking(true).unwrap();
        Peer { kind, stream }
    }

    /// One byte more, from those that drip.
    fn drip(&mut self) {
        if self.kind == Kind::DrippingBody {
            // Whoever was refused and closed already takes no more.
            let _closed = self.stream.write_all(b" ");
        }
    }

    /// Whether the gateway has ended the connection. What came before its end is read.
    fn is_gone(&mut self) -> bool {
        let mut space = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut space) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

/// Batches of bad events: their answers are long, and fill the buffers of both sides.
fn never_read() -> Vec<u8> {
    let lines = "x\n".repeat(400);
    let head = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{lines}", lines.len()).repeat(150).into_bytes()
}

/// A line of `/proc/PID/status`, in KiB.
fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Whether so many files can be open here, and so in the gateway that is started from here.
fn raise_files() -> bool {
    let pid = std::process::id().to_string();
    let enough = || {
        let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(3).is_some_and(|soft| soft.parse().is_ok_and(|soft: u64| soft >= FILES))
    };
    let raise = || Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={FILES}:")]).status();
    enough() || (raise().is_ok() && enough())
}

#[test]
fn two_thousand_slow_peers_are_evicted_and_cost_little() {
    if !raise_files() {
        return not_here("no 4,096 open files, and prlimit cannot raise the limit");
    }
    let place = Place::new(CONFIG);
    let running = place.start();
    assert_eq!(running.post("/events", &[], "warm").status, 202);
    let idle = status(running.pid(), "VmRSS");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let good = scope.spawn(|| good_until(&stop, place.http));
        let kinds = MIX.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
        let mut peers: Vec<Peer> = kinds.map(|kind| Peer::begin(kind, &place)).collect();
        assert_eq!(peers.len(), 2000);
        let clients = peers.iter().filter(|peer| peer.kind == Kind::IdleMqtt && has_connack(peer)).count();
        assert_eq!(clients, 400, "MQTT clients that were let in");
        // While they are there: answers that nobody reads must not be given away by reading them.
        eventually("every peer but the readers is gone", 60, || {
            peers.iter_mut().for_each(Peer::drip);
            peers.retain_mut(|peer| peer.kind == Kind::NeverReads || !peer.is_gone());
            peers.iter().all(|peer| peer.kind == Kind::NeverReads).then_some(())
        });
        let open = || running.metrics().sum("anygate_listener_connections", &[]);
        eventually("the gateway has ended those that never read, too", 60, || (open() <= 1.0).then_some(()));
        assert!(peers.iter_mut().all(Peer::is_gone), "they see it when they read");
        stop.store(true, Ordering::Relaxed);
        let answered = good.join().unwrap();
        assert!(answered >= 50, "only {answered} good requests were answered meanwhile");
    });
    let most = status(running.pid(), "VmHWM");
    assert!(most <= idle + ROOM_KIB + SLACK_KIB, "{most} KiB at most, {idle} KiB idle");
    println!("RSS: {idle} KiB idle, {most} KiB at most with 2,000 slow peers");
    assert_eq!(running.term(), Some(0));
}

fn has_connack(peer: &Peer) -> bool {
    let mut connack = [0; 4];
    eventually("CONNACK", 30, || match peer.stream.peek(&mut connack) {
        Ok(4..) => Some(connack == [0x20, 2, 0, 0]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Ok(_) | Err(_) => Some(false),
    })
}

/// Good requests, one after the other; how many were answered.
fn good_until(stop: &AtomicBool, port: u16) -> usize {
    let mut connection = Connection::open(port);
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = connection.post("/events", &[("content-type", "application/json")], b"{}");
        assert_eq!(answer.status, 202, "{answer:?}");
        answered += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    answered
}
