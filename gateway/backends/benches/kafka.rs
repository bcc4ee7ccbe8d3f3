//! The Kafka backend beside librdkafka's own producer: the same values and keys, the same broker, rounds that take turns.
//!
//! `ANYGATE_TEST_KAFKA=host:port cargo bench -p backends --bench kafka`. Prints records per second and this process's CPU per
//! record (the broker is another process), and the ratio of the backend to librdkafka alone: the median of the rounds.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench: it stops at the first thing that is wrong")]
use backends::{
    Backend as _, Events, Outcome,
    kafka::{Kafka, KafkaSettings, Mode},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};
use schemas::{AckLevel, Attributes, Door, Event, Headers, Kind, TraceContext, binding::kafka as binding, order_key};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const BATCH: usize = 500;
const CALLS: usize = 8;

fn event(n: usize, bytes: usize) -> Arc<Event> {
    let mut attributes = Attributes::default();
    let (id, subject) = (format!("event-{n}"), format!("device-{}", n % 64));
    let all = [("id", id.as_str()), ("source", "/bench"), ("type", "bench.reading"), ("subject", subject.as_str())];
    for (name, value) in all.into_iter().chain([("datacontenttype", "application/json")]) {
        attributes.set(name, value, Kind::String).unwrap();
    }
    let envelope = attributes.freeze(format!("{{\"x\":\"{}\"}}", "v".repeat(bytes)).into_bytes().into()).unwrap();
    Arc::new(Event {
        lsn: 0,
        lanes: 2,
        key: order_key(&envelope),
        envelope,
        door: Door { listener: "http".into(), ..Door::default() },
        headers: Headers::new(),
        received: SystemTime::now(),
        trace: TraceContext::from_random([9; 24], 1),
        route: "all".into(),
        level: AckLevel::Durable,
        death: None,
    })
}

/// CPU seconds of this process so far, in steps of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Records per second, and CPU microseconds per record.
type Figures = (f64, f64);

async fn backend(kafka: &Kafka, batch: &Events) -> Figures {
    let (start, cpu_before, mut count) = (Instant::now(), cpu(), 0u32);
    let mut waiting: FuturesUnordered<_> = (0..CALLS).map(|_| kafka.deliver(batch.clone())).collect();
    while let Some(outcomes) = waiting.next().await {
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))), "not all records were confirmed");
        count += u32::try_from(outcomes.len()).unwrap();
        if start.elapsed() < ROUND {
            waiting.push(kafka.deliver(batch.clone()));
        }
    }
    figures(start, cpu_before, count)
}

fn alone(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, records: &[(Vec<u8>, Vec<u8>)]) -> Figures {
    let (start, cpu_before, mut count) = (Instant::now(), cpu(), 0u32);
    while start.elapsed() < ROUND {
        for (key, value) in records {
            while producer.send(BaseRecord::to(topic).key(key).payload(value)).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        count += u32::try_from(records.len()).unwrap();
        // As many under way as the backend may have.
        while producer.in_flight_count() > i32::try_from(BATCH * CALLS).unwrap() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    figures(start, cpu_before, count)
}

fn figures(start: Instant, cpu_before: f64, count: u32) -> Figures {
    (f64::from(count) / start.elapsed().as_secs_f64(), (cpu() - cpu_before) / f64::from(count) * 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn make_topic(broker: &str) -> String {
    let topic = format!("bench-{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let wanted = [NewTopic::new(&topic, 3, TopicReplication::Fixed(1))];
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    admin.create_topics(&wanted, &options).await.unwrap().pop().unwrap().unwrap();
    topic
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let Ok(broker) = std::env::var("ANYGATE_TEST_KAFKA") else {
        println!("SKIPPED: ANYGATE_TEST_KAFKA is not set (tests/services/kafka starts a broker)");
        return;
    };
    let topic = make_topic(&broker).await;
    for bytes in [300, 1024] {
        let batch: Events = (0..BATCH).map(|n| event(n, bytes)).collect();
        let records: Vec<_> = batch
            .iter()
            .map(|event| {
                let mut value = Vec::new();
                binding::write_structured_value(&mut value, event);
                (event.key.as_bytes().to_vec(), value)
            })
            .collect();
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &broker)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0.5")
            .create()
            .unwrap();
        let make = |mode| {
            let settings = KafkaSettings::new(vec![broker.clone()], topic.parse().unwrap());
            Kafka::start(KafkaSettings { mode, ..settings }).unwrap()
        };
        let (structured, binary) = (make(Mode::Structured), make(Mode::Binary));
        let mut rounds: [Vec<Figures>; 3] = Default::default();
        for _ in 0..ROUNDS {
            rounds[0].push(alone(&producer, &topic, &records));
            rounds[1].push(backend(&structured, &batch).await);
            rounds[2].push(backend(&binary, &batch).await);
        }
        let base = median(rounds[0].iter().map(|round| round.1).collect());
        for (name, found) in ["librdkafka alone", "structured", "binary"].into_iter().zip(&rounds) {
            let rate = median(found.iter().map(|round| round.0).collect());
            let cost = median(found.iter().map(|round| round.1).collect());
            println!(
                "{bytes} B, {name}: {rate:.0} records/s, {cost:.2} us CPU a record, {:.2} x librdkafka alone",
                cost / base
            );
        }
        structured.close().await;
        binary.close().await;
    }
}
