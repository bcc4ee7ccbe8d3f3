//! The Kafka backend against a real broker: what the mock cluster does not check. Needs ANYGATE_TEST_KAFKA=host:port (see
//! `tests/services/kafka`); without it the tests say SKIPPED, and fail where CI=true.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use backends::{
    Backend as _, Outcome,
    kafka::{Kafka, KafkaSettings},
};
use common::{event, event_with, events};
use rdkafka::{
    ClientConfig, Message as _,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
    topic_partition_list::{Offset, TopicPartitionList},
};
use schemas::{Kind, Word};
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn broker() -> Option<String> {
    let found = std::env::var("ANYGATE_TEST_KAFKA").ok().filter(|address| !address.is_empty());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "ANYGATE_TEST_KAFKA is not set");
        println!("SKIPPED: ANYGATE_TEST_KAFKA is not set (tests/services/kafka starts a broker)");
    }
    found
}

fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker).create().unwrap()
}

async fn create(broker: &str, what: &str, partitions: i32, config: &[(&str, &str)]) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("backends-{what}-{nanos}");
    let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    admin(broker).create_topics(&[topic], &options).await.unwrap().pop().unwrap().unwrap();
    name
}

async fn delete(broker: &str, name: &str) {
    admin(broker).delete_topics(&[name], &AdminOptions::new()).await.unwrap().pop().unwrap().unwrap();
}

fn settings(broker: &str, topic: &str) -> KafkaSettings {
    KafkaSettings::new(vec![broker.to_owned()], topic.parse().unwrap())
}

/// All records of a topic by partition: the `ce_id` of each, in order.
fn ids(broker: &str, topic: &str, partitions: i32, count: usize) -> HashMap<i32, Vec<String>> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker).set("group.id", "backends-test").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found: HashMap<i32, Vec<String>> = HashMap::new();
    let end = Instant::now() + Duration::from_secs(30);
    while found.values().map(Vec::len).sum::<usize>() < count && Instant::now() < end {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let header = message.headers().unwrap().iter().find(|header| header.key == "ce_id").unwrap();
            found
                .entry(message.partition())
                .or_default()
                .push(String::from_utf8(header.value.unwrap().to_vec()).unwrap());
        }
    }
    found
}

async fn deliver(kafka: &Kafka, call: backends::Events) -> Vec<Outcome> {
    tokio::time::timeout(Duration::from_secs(60), kafka.deliver(call)).await.expect("no outcome within 60 s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_partitions_and_positions() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "order", 3, &[]).await;
    let kafka = Kafka::start(settings(&broker, &topic)).unwrap();
    assert_eq!(kafka.probe().await, Ok(()));
    let facts = kafka.facts().unwrap();
    assert_eq!((facts.partitions, facts.replicas, facts.max_message_bytes), (3, 1, Some(1_048_588)));
    assert!(!facts.warnings(0).is_empty());
    let mut expected: HashMap<i32, Vec<String>> = HashMap::new();
    let calls: Vec<_> = (0..100u64)
        .map(|call| {
            let batch = (0..50u64).map(|n| {
                let key = format!("key-{}", n % 7);
                event_with(call * 50 + n + 1, &format!("e{call}-{n}"), &[("partitionkey", &key, Kind::String)], "x")
            });
            (call, kafka.deliver(events(batch)))
        })
        .collect();
    for (call, answer) in calls {
        for (n, outcome) in answer.await.into_iter().enumerate() {
            let Outcome::Done(position) = outcome else { panic!("{outcome:?}") };
            let ids = expected.entry(position.partition).or_default();
            assert_eq!(position.offset, i64::try_from(ids.len()).unwrap(), "offsets follow the order of the calls");
            ids.push(format!("e{call}-{n}"));
        }
    }
    assert!(expected.len() > 1, "vacuous: all keys in one partition");
    assert_eq!(ids(&broker, &topic, 3, 5000), expected);
    kafka.close().await;
    delete(&broker, &topic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_takes_little_gets_smaller_batches_and_no_dead_letters() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "small", 1, &[("max.message.bytes", "20000")]).await;
    let kafka = Kafka::start(settings(&broker, &topic)).unwrap();
    assert_eq!(kafka.probe().await, Ok(()));
    let large = event_with(1, "large", &[], vec![b'x'; 30_000]);
    assert_eq!(kafka.accepts(&large.view()).unwrap_err().word, Word::TooLarge);
    let fits = event_with(1, "fits", &[], vec![b'x'; 19_000]);
    assert_eq!(kafka.accepts(&fits.view()), Ok(()));
    let mut outcomes = deliver(&kafka, events([large.clone()])).await;
    // The probe had the producer replaced by one with smaller batches; that is a retry for who comes in between.
    while matches!(outcomes[0], Outcome::Retry(_)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        outcomes = deliver(&kafka, events([large.clone()])).await;
    }
    assert!(matches!(&outcomes[0], Outcome::Record(why) if why.word == Word::TooLarge), "{outcomes:?}");
    // Far more than one batch of the topic at once. What is thrown out when the producer is replaced comes back as a retry.
    let mut left: Vec<_> = (0..500u64).map(|n| event_with(n + 2, &format!("e{n}"), &[], vec![b'x'; 1000])).collect();
    let end = Instant::now() + Duration::from_secs(60);
    while !left.is_empty() {
        assert!(Instant::now() < end, "{} events are left", left.len());
        let outcomes = deliver(&kafka, events(left.clone())).await;
        let mut outcomes = outcomes.into_iter();
        left.retain(|_| match outcomes.next().unwrap() {
            Outcome::Done(_) => false,
            Outcome::Retry(_) => true,
            other => panic!("{other:?}"),
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka.close().await;
    delete(&broker, &topic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_goes_away_is_the_place() {
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "gone", 1, &[]).await;
    let kafka = Kafka::start(settings(&broker, &topic)).unwrap();
    assert!(matches!(&deliver(&kafka, events([event(1, "a", "x")])).await[..], [Outcome::Done(_)]));
    delete(&broker, &topic).await;
    let start = Instant::now();
    let outcome = loop {
        match deliver(&kafka, events([event(2, "b", "x")])).await.pop().unwrap() {
            Outcome::Done(_) if start.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => break other,
        }
    };
    assert!(matches!(&outcome, Outcome::Destination(_)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    assert!(kafka.probe().await.is_err());
    kafka.close().await;
}

/// A broker of the test's own, so that it may be killed. Ended and removed on drop.
struct OwnBroker {
    folder: tempfile::TempDir,
    address: String,
}

impl OwnBroker {
    fn start() -> OwnBroker {
        let folder = tempfile::tempdir().unwrap();
        let printed = OwnBroker::service("start", &folder);
        let address = printed.lines().find_map(|line| line.strip_prefix("ANYGATE_TEST_KAFKA=")).unwrap().to_owned();
        OwnBroker { folder, address }
    }

    fn service(what: &str, folder: &tempfile::TempDir) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/services/kafka");
        let output = std::process::Command::new(script).arg(what).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "kafka {what}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        OwnBroker::service("kill", &self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_loses_and_reorders_nothing() {
    if broker().is_none() {
        return;
    }
    let broker = tokio::task::spawn_blocking(OwnBroker::start).await.unwrap();
    let topic = create(&broker.address, "killed", 3, &[]).await;
    let kafka = Kafka::start(settings(&broker.address, &topic)).unwrap();
    let (mut next, mut calls) = (0u64, std::collections::VecDeque::new());
    let mut expected: HashMap<i32, Vec<String>> = HashMap::new();
    let start = Instant::now();
    let mut killed = None;
    while start.elapsed() < Duration::from_secs(8) || !calls.is_empty() {
        if killed.is_none() && start.elapsed() > Duration::from_secs(1) {
            assert!(!calls.is_empty(), "vacuous: nothing was under way");
            let folder = broker.folder.path().to_owned();
            // kill -9, two seconds of nothing, the same ports and data again.
            killed = Some(tokio::task::spawn_blocking(move || {
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/services/kafka");
                for what in ["kill", "start"] {
                    assert!(
                        std::process::Command::new(script).arg(what).arg(&folder).output().unwrap().status.success()
                    );
                    std::thread::sleep(Duration::from_secs(2));
                }
            }));
        }
        while calls.len() < 8 && start.elapsed() < Duration::from_secs(8) {
            let batch: Vec<_> = (next..next + 20)
                .map(|n| {
                    event_with(n + 1, &format!("e{n}"), &[("partitionkey", &format!("k{}", n % 7), Kind::String)], "x")
                })
                .collect();
            next += 20;
            calls.push_back((next - 20, kafka.deliver(events(batch))));
        }
        let Some((first, call)) = calls.pop_front() else { continue };
        let outcomes = tokio::time::timeout(Duration::from_secs(60), call).await.expect("no outcome within 60 s");
        for (n, outcome) in (first..).zip(outcomes) {
            let Outcome::Done(position) = outcome else { panic!("e{n}: {outcome:?}") };
            expected.entry(position.partition).or_default().push(format!("e{n}"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    killed.unwrap().await.unwrap();
    let found = ids(&broker.address, &topic, 3, usize::try_from(next).unwrap());
    assert_eq!(found, expected, "every record once, in the order of the calls");
    kafka.close().await;
}

/// Sizes around the limit: what is sent is taken, and nothing that the broker would refuse is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_measured_as_the_broker_measures_it() {
    const LIMIT: usize = 20_000;
    let Some(broker) = broker() else { return };
    let topic = create(&broker, "measured", 1, &[("max.message.bytes", &LIMIT.to_string())]).await;
    let kafka = Kafka::start(settings(&broker, &topic)).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while let Err(why) = kafka.probe().await {
        assert!(Instant::now() < end, "the probe does not succeed: {why}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let replaced = || kafka.figures().iter().find(|(name, _)| name.contains("replaced")).map(|(_, value)| *value);
    let before = replaced();
    let mut largest = None;
    for bytes in LIMIT - 1200..LIMIT {
        let event = event_with(1, "e", &[], vec![b'x'; bytes]);
        match &deliver(&kafka, events([event])).await[0] {
            Outcome::Done(_) => largest = Some(bytes),
            Outcome::Record(why) => {
                assert_eq!(why.word, Word::TooLarge);
                assert!(why.detail.contains(&format!("{} bytes in a batch of its own", LIMIT + 1)), "{bytes}: {why}");
                break;
            }
            other => panic!("{bytes}: {other:?}"),
        }
    }
    assert!(largest.is_some_and(|largest| largest < LIMIT - 100), "vacuous: {largest:?}");
    assert_eq!(replaced(), before, "the broker refused something");
    kafka.close().await;
    delete(&broker, &topic).await;
}
