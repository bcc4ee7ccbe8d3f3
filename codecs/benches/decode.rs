//! Nanoseconds of CPU per event, in one thread: `cargo bench -p codecs`.
//!
//! Prints one line per case with the median of several rounds, ids counted instead of random; the events and their sizes are those of the batched HTTP
//! benches. Not a test: nothing fails here.
use bytes::Bytes;
use codecs::{Context, choose};
use schemas::{Kind, Message, Mode, json, record};
use std::{
    hint::black_box,
    time::{Duration, Instant, SystemTime},
};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(100);

fn event(n: usize, len: usize) -> String {
    let head = format!(
        r#"{{"specversion":"1.0","id":"{n:08}","source":"/sensors/7","type":"com.example.reading","time":"2026-09-21T14:13:20Z","datacontenttype":"application/json","partitionkey":"k{}","data":{{"celsius":21.5,"note":""#,
        n % 16
    );
    let rest = len.saturating_sub(head.len() + 3);
    format!("{head}{}\"}}}}", "x".repeat(rest))
}

fn message(content_type: &str, payload: String) -> Message {
    Message { payload: Bytes::from(payload), content_type: Some(content_type.into()), ..Message::default() }
}

/// CPU time of this thread in nanoseconds: what a busy machine does not falsify. Wall time where the kernel does not say.
fn cpu_ns(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_cpu = stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    on_cpu.unwrap_or_else(|| start.elapsed().as_secs_f64() * 1e9)
}

fn median(events: usize, mut once: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut count) = (Instant::now(), 0_u32);
            let before = cpu_ns(start);
            while start.elapsed() < ROUND {
                for _ in 0..16 {
                    once();
                }
                count += 16;
            }
            (cpu_ns(start) - before) / f64::from(count)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2] / f64::from(u32::try_from(events).unwrap_or(u32::MAX))
}

fn main() {
    let count = std::cell::Cell::new(0_u64);
    let new_id = || {
        count.set(count.get() + 1);
        uuid::Uuid::from_u64_pair(0x0199_0000_0000_7000, count.get()).to_string()
    };
    let cx = Context {
        listener: "http",
        received: SystemTime::now(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        rules: None,
        new_id: &new_id,
    };
    let batch: Vec<String> = (0..100).map(|n| event(n, 300)).collect();
    let line = format!("{{\"note\":\"{}\"}}", "x".repeat(288));
    let mut binary = message("application/json", line.clone());
    binary.mode = Mode::Binary;
    for (name, value) in
        [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t"), ("datacontenttype", "application/json")]
    {
        binary.attributes.set(name, value, Kind::String).expect("legal attributes");
    }
    for (name, events, message) in [
        ("structured, 300 B", 1, message(json::EVENT_TYPE, event(1, 300))),
        ("structured, 1 KiB", 1, message(json::EVENT_TYPE, event(1, 1024))),
        ("binary, 300 B", 1, binary),
        ("bare JSON, 300 B", 1, message("application/json", line.clone())),
        ("batch, 100 × 300 B", 100, message(json::BATCH_TYPE, format!("[{}]", batch.join(",")))),
        ("NDJSON, 100 × 300 B", 100, message("application/x-ndjson", [line, String::new()].join("\n").repeat(100))),
    ] {
        let ns = median(events, || {
            black_box(choose(&message).decode(black_box(&message), &cx)).expect("a good message");
        });
        println!("decode {name:<22} {ns:>8.0} ns/event");
    }
    forms();
}

/// The forms in which an event leaves: the journal record and the JSON format.
fn forms() {
    let envelope =
        json::read_event(&Bytes::from(event(1, 300))).expect("JSON").expect("an event").freeze().expect("whole");
    let event = schemas::Event {
        lsn: 1,
        lanes: 1,
        key: schemas::order_key(&envelope),
        envelope,
        door: schemas::Door { listener: "http".into(), subject: "/events".into(), ..Default::default() },
        headers: schemas::Headers::new(),
        received: SystemTime::now(),
        trace: schemas::TraceContext::from_random([7; 24], 1),
        route: "all".into(),
        level: schemas::AckLevel::Durable,
        death: None,
    };
    let mut out = Vec::new();
    let ns = median(1, || {
        out.clear();
        record::encode_head(&mut out, black_box(&event));
    });
    println!(
        "record head             {ns:>8.0} ns/event, {} B of {} B",
        out.len(),
        out.len() + event.envelope.data().len()
    );
    out.extend_from_slice(event.envelope.data());
    let body = Bytes::from(out.clone());
    let ns = median(1, || drop(black_box(record::decode(black_box(&body), 1))));
    println!("record decode           {ns:>8.0} ns/event");
    let ns = median(1, || {
        out.clear();
        json::write_event(&mut out, black_box(&event.envelope), Some(&event.door));
    });
    println!("JSON event              {ns:>8.0} ns/event");
    let ns = median(1, || {
        let mut len = 0;
        schemas::binding::kafka::write(black_box(&event), None, |name, value| len += name.len() + value.len());
        black_box(len);
    });
    println!("Kafka headers           {ns:>8.0} ns/event");
}
