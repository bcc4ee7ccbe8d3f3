//! What the tests stand on: the real binary as a child process, small clients of our own that share no code with the gateway,
//! the clients of others, and the services that `tests/run` starts.
//!
//! Nothing here decides what is right: it starts, sends, reads and ends. Every child is ended by the handle it was started with.
pub mod clients;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod mqtt;
pub mod services;
pub mod store;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// Looks every 20 ms until `look` gives something; panics with `what` when the time is up.
#[track_caller]
pub fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A TCP port that nobody listens on, below the range of outgoing connections: a gateway that is killed and started again must
/// find it free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 700) as u16 * 16;
    loop {
        let port = 12_000 + (base + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Says why a test does less than it could; fails with `CI=true`.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true, and {why}");
    println!("SKIPPED: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Says why a test does less than it could, where no setup can help: the machine has no such thing, or not the right to it.
pub fn not_here(why: &str) {
    println!("SKIPPED: {why}");
    eprintln!("SKIPPED: {why}");
}

/// A small random source with a fixed start (xorshift), so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}
