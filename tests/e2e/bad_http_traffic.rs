//! Bad input in the middle of good traffic: the good senders are all answered, and do not notice it.
//!
//! Calm windows and windows with bad input take turns, so that what else the machine does falls on both.
use crate::{
    harness::{gateway::Place, http::Connection},
    thread::KEEP,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_millis(500);
/// Pairs of a calm and a bad window in one attempt.
const PAIRS: usize = 6;
/// A slow machine may spoil an attempt; a slow gateway spoils all.
const ATTEMPTS: usize = 4;
const SENDERS: usize = 3;
/// Between two good requests of one sender, and between two bad ones.
const PACE: Duration = Duration::from_millis(4);
const BAD_PACE: Duration = Duration::from_millis(2);
/// What a difference has to be above to count.
const FLOOR: Duration = Duration::from_millis(5);

const BAD: [&str; 10] = [
    "\u{1}\u{2}\u{3}\r\n\r\n",
    "POST /events HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "POST /events HTTP/1.1\nHost: x\n\n",
    "POST /events HTTP/1.1\r\nHost: x\r\nX: 1\r\n folded\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n[[[[[",
    "POST /events HTTP/3.7\r\nHost: x\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
];

/// One bad request on a connection of its own. Returns whether the answer was a refusal.
fn bad(port: u16, number: usize) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = [0; 12];
    stream.write_all(BAD[number % BAD.len()].as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && (answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"))
}

/// Good requests until the window ends: how long each took.
fn good(port: u16) -> Vec<Duration> {
    let end = Instant::now() + WINDOW;
    let mut connection = Connection::open(port);
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        let answer = connection.post("/events", &[("content-type", "application/json")], b"{\"good\":true}");
        took.push(began.elapsed());
        assert_eq!(answer.status, 202, "a good sender noticed it: {answer:?}");
        std::thread::sleep(PACE);
    }
    took
}

/// The p99 of one window, with bad input or without.
fn window(port: u16, with_bad: bool, sent: &AtomicUsize) -> Duration {
    let stop = AtomicBool::new(!with_bad);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                assert!(bad(port, number), "number {number} was not refused");
                std::thread::sleep(BAD_PACE);
            }
        });
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(|| good(port))).collect();
        let mut took: Vec<Duration> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        took.sort_unstable();
        took[took.len() * 99 / 100]
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn good_senders_do_not_notice_bad_ones() {
    let place = Place::with(KEEP);
    let running = place.start();
    let sent = AtomicUsize::new(0);
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let pairs = (0..PAIRS).map(|_| (window(place.http, false, &sent), window(place.http, true, &sent)));
        let (calm, bad): (Vec<_>, Vec<_>) = pairs.unzip();
        let (calm, bad) = (median(calm), median(bad));
        if bad <= (calm * 3 / 2).max(calm + FLOOR) {
            assert!(sent.into_inner() >= 100, "there was bad input");
            assert_eq!(running.term(), Some(0));
            return;
        }
        seen.push((calm, bad));
    }
    panic!("p99 of good requests, calm and with bad input: {seen:?}");
}
