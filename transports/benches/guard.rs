//! What the HTTP/1 guard costs per request: instructions, under `perf stat` or callgrind.
//!
//! ```text
//! cargo bench -p transports --bench guard -- 1000000      # then compare `perf stat -e instructions:u` of two counts
//! ```
//! Prints nanoseconds per request; the difference of the instructions of two counts, divided by the difference of the counts,
//! is the figure per request.
use std::{hint::black_box, time::Instant};
use transports::http::guard::{Guard, Limits, Next};

fn main() {
    let count = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(200_000u32);
    let headers = "Host: 127.0.0.1:8080\r\nUser-Agent: device/1.4.2 (sensor; build 77)\r\nAccept: */*\r\n\
                   Content-Type: application/json\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
                   Content-Length: 1024\r\n\r\n";
    let request = format!("POST /events HTTP/1.1\r\n{headers}{}", "x".repeat(1024));
    let mut guard = Guard::new(Limits { head_max: 32 * 1024, headers_max: 64, target_max: 8 * 1024 });
    let began = Instant::now();
    for _ in 0..count {
        let fed = guard.feed(black_box(request.as_bytes()));
        assert_eq!((fed.pass, fed.next), (request.len(), Next::More));
    }
    let head = request.len() - 1024;
    println!(
        "{count} requests with a head of {head} bytes: {} ns each",
        began.elapsed().as_nanos() / u128::from(count)
    );
}
