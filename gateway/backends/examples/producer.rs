//! librdkafka's own producer in a process of its own, which does nothing else: what the Kafka lane is compared with.
//!
//! It sends given records round and round, with the settings that the Kafka backend uses, keeps so many under way, and prints one
//! JSON object: rate, CPU a record, times of the confirmations. It is a tool of `tests/bench/run`.
//!
//!     producer --brokers HOST:PORT --topic TOPIC --records FILE [--in-flight 64] [--linger-ms 0] [--seconds 4]
//!
//! FILE has one record a line, as `kcat -C -J` prints them.
#![allow(clippy::unwrap_used, reason = "a tool of the benches: it stops at the first thing that is wrong")]
use rdkafka::{
    ClientConfig, ClientContext,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// What the confirmations said.
#[derive(Default)]
struct Seen {
    failed: usize,
    micros: Vec<usize>,
}

struct Reports {
    begun: Instant,
    seen: Mutex<Seen>,
    more: Condvar,
}

impl Reports {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> usize {
        usize::try_from(self.begun.elapsed().as_micros()).unwrap_or(usize::MAX)
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// When it was sent, in µs since the beginning.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: usize) {
        let mut seen = self.seen();
        seen.failed += usize::from(result.is_err());
        seen.micros.push(self.now() - sent);
        self.more.notify_one();
    }
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

fn number(name: &str, default: f64) -> f64 {
    argument(name).map_or(default, |text| text.parse().unwrap())
}

fn records(file: &str) -> Vec<Record> {
    let text = fs::read_to_string(file).unwrap();
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let bytes = |name: &str| line[name].as_str().unwrap_or_default().as_bytes().to_vec();
        let headers: Vec<&str> = line["headers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let headers = headers.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
        Record { key: bytes("key"), value: bytes("payload"), headers }
    };
    text.lines().map(of).collect()
}

fn connect() -> ThreadedProducer<Reports> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", argument("--brokers").expect("--brokers"))
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", argument("--linger-ms").unwrap_or_else(|| "0".into()));
    config.create_with_context(Reports { begun: Instant::now(), seen: Mutex::default(), more: Condvar::new() }).unwrap()
}

fn send(producer: &ThreadedProducer<Reports>, topic: &str, record: &Record) {
    let now = producer.context().now();
    let mut next = BaseRecord::with_opaque_to(topic, now).key(&record.key).payload(&record.value);
    if !record.headers.is_empty() {
        let empty = OwnedHeaders::new_with_capacity(record.headers.len());
        let add =
            |headers: OwnedHeaders, (key, value): &(String, String)| headers.insert(Header { key, value: Some(value) });
        next = next.headers(record.headers.iter().fold(empty, add));
    }
    // The queue counts a record until its report was taken in, a moment longer than `in_flight` does.
    while let Err((why, back)) = producer.send(next) {
        assert_eq!(why.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{why}");
        std::thread::sleep(Duration::from_millis(1));
        next = back;
    }
}

/// Sends the records in turn for so long, with at most `in_flight` under way. How many.
fn run(
    producer: &ThreadedProducer<Reports>,
    topic: &str,
    records: &[Record],
    in_flight: usize,
    time: Duration,
) -> usize {
    let (before, mut sent, until) = (producer.context().seen().micros.len(), 0, Instant::now() + time);
    for record in records.iter().cycle() {
        let (seen, more) = (producer.context().seen(), &producer.context().more);
        // A thread of the producer's own calls back: a poll from here would wait its whole time out.
        drop(more.wait_while(seen, |seen| sent + before - seen.micros.len() >= in_flight));
        if Instant::now() >= until {
            break;
        }
        send(producer, topic, record);
        sent += 1;
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    sent
}

/// CPU seconds of this process so far, in steps of 10 ms: all, and those in user space.
fn cpu() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let (user, system): (f64, f64) = (fields[11].parse().unwrap(), fields[12].parse().unwrap());
    ((user + system) / 100.0, user / 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn main() {
    let topic = argument("--topic").expect("--topic");
    let records = records(&argument("--records").expect("--records"));
    let in_flight = argument("--in-flight").map_or(64, |text| text.parse().unwrap());
    let time = Duration::from_secs_f64(number("--seconds", 4.0));
    let producer = connect();
    // Connected, and the topic known, before the clock runs.
    run(&producer, &topic, &records[..1], 1, Duration::from_millis(200));
    *producer.context().seen() = Seen::default();
    let (begun, before) = (Instant::now(), cpu());
    let sent = run(&producer, &topic, &records, in_flight, time);
    let (took, after) = (begun.elapsed().as_secs_f64(), cpu());
    let mut seen = producer.context().seen();
    assert!(seen.failed == 0 && seen.micros.len() == sent, "{} of {sent} were not confirmed", seen.failed);
    seen.micros.sort_unstable();
    let at = |part: usize| seen.micros[(sent - 1) * part / 1000] as f64 / 1000.0;
    let each = |seconds: f64| seconds / sent as f64 * 1e6;
    let (cpu_us, user_us) = (each(after.0 - before.0), each(after.1 - before.1));
    let figures = json!({ "rate": sent as f64 / took, "cpu_us": cpu_us, "user_us": user_us, "p50_ms": at(500), "p99_ms": at(990) });
    println!("{figures}");
}
