//! The Kafka backend against librdkafka's mock cluster, which needs no other program. A real broker: `kafka_broker.rs`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod common;

use backends::{
    Backend as _, Events, Outcome,
    kafka::{Kafka, KafkaSettings, Mode},
};
use common::{event, event_with, events, until};
use futures_util::future::BoxFuture;
use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    message::{Headers as _, OwnedMessage},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    topic_partition_list::{Offset, TopicPartitionList},
    types::{RDKafkaApiKey, RDKafkaRespErr as Code},
};
use schemas::{Kind, Word};
use std::time::{Duration, Instant};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, partitions, 1).unwrap();
    cluster
}

fn settings(cluster: &Cluster, topic: &str) -> KafkaSettings {
    KafkaSettings::new(vec![cluster.bootstrap_servers()], topic.parse().unwrap())
}

fn kafka(cluster: &Cluster, topic: &str) -> Kafka {
    Kafka::start(settings(cluster, topic)).unwrap()
}

async fn deliver(kafka: &Kafka, events: Events) -> Vec<Outcome> {
    tokio::time::timeout(Duration::from_secs(20), kafka.deliver(events)).await.expect("no outcome within 20 s")
}

/// Reads `count` records of a topic, by partition and offset.
fn read(cluster: &Cluster, topic: &str, partitions: i32, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found = Vec::new();
    let end = Instant::now() + Duration::from_secs(20);
    while found.len() < count && Instant::now() < end {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            found.push(message.unwrap().detach());
        }
    }
    assert_eq!(found.len(), count, "records in {topic}");
    found.sort_by_key(|message| (message.partition(), message.offset()));
    found
}

fn headers(message: &OwnedMessage) -> Vec<(String, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    message.headers().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
}

fn header<'h>(all: &'h [(String, String)], name: &str) -> Option<&'h str> {
    all.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

fn word(outcome: &Outcome) -> (&'static str, Option<Word>) {
    match outcome {
        Outcome::Done(_) => ("done", None),
        Outcome::Retry(why) => ("retry", Some(why.word)),
        Outcome::Record(why) => ("record", Some(why.word)),
        Outcome::Destination(why) => ("destination", Some(why.word)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_arrive_in_order_with_their_headers() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    let attributes = [
        ("subject", "s/ü", Kind::String),
        ("datacontenttype", "application/json", Kind::String),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Kind::String),
        ("tracestate", "a=1", Kind::String),
        ("answer", "42", Kind::Integer),
    ];
    let first = event_with(1, "e0", &attributes, br#"{"a":1}"#);
    let calls: Vec<_> = (0..20u64)
        .map(|call| {
            let rest = (1..50u64).map(|n| event(call * 50 + n + 1, &format!("e{}", call * 50 + n), "x"));
            let start = if call == 0 { first.clone() } else { event(call * 50 + 1, &format!("e{}", call * 50), "") };
            kafka.deliver(events(std::iter::once(start).chain(rest)))
        })
        .collect();
    let mut next = 0;
    for call in calls {
        for outcome in tokio::time::timeout(Duration::from_secs(20), call).await.unwrap() {
            let Outcome::Done(position) = &outcome else { panic!("{outcome:?}") };
            assert_eq!((position.place.as_ref(), position.partition, position.offset), ("t", 0, next));
            next += 1;
        }
    }
    let found = read(&cluster, "t", 1, 1000);
    for (n, message) in found.iter().enumerate() {
        assert_eq!(header(&headers(message), "ce_id"), Some(format!("e{n}").as_str()));
    }
    let all = headers(&found[0]);
    assert_eq!(found[0].payload(), Some(&br#"{"a":1}"#[..]));
    assert_eq!(found[0].key(), Some("s/ü".as_bytes()));
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_source", "/test"),
        ("ce_type", "test.event"),
        ("ce_subject", "s/ü"),
        ("ce_answer", "42"),
        ("ce_anygatelistener", "http"),
        ("ce_anygateenvelope", "1"),
        ("content-type", "application/json"),
        ("ce_traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("traceparent", first.delivery_span(backends::fault::hash(b"kafka")).to_string().as_str()),
    ] {
        assert_eq!(header(&all, name), Some(value), "{name}");
    }
    assert_eq!(header(&all, "tracestate"), None, "a tracestate of another trace does not go on");
    assert_eq!(found[50].payload(), None, "no data");
    assert_eq!(found[1].key(), Some(&b"/test"[..]));
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn structured_mode_and_keys() {
    let cluster = cluster("t", 1);
    let mut settings = settings(&cluster, "t");
    settings.mode = Mode::Structured;
    settings.key = Some("{tenant}/{site}".parse().unwrap());
    let kafka = Kafka::start(settings).unwrap();
    let with = [("tenant", "acme", Kind::String), ("site", "7", Kind::String)];
    let without =
        [("tenant", "acme", Kind::String), ("partitionkey", "p", Kind::String), ("subject", "s", Kind::String)];
    let call = events([event_with(1, "a", &with, "text"), event_with(2, "b", &without, "text"), event(3, "c", "")]);
    assert!(deliver(&kafka, call).await.iter().all(|outcome| word(outcome).0 == "done"));
    let found = read(&cluster, "t", 1, 3);
    let keys: Vec<_> =
        found.iter().map(|message| String::from_utf8_lossy(message.key().unwrap()).into_owned()).collect();
    assert_eq!(keys, ["acme/7", "p", "/test"], "a template with a missing attribute falls back to the chain");
    let all = headers(&found[0]);
    assert!(header(&all, "content-type").unwrap().starts_with("application/cloudevents+json"));
    assert!(header(&all, "traceparent").is_some() && header(&all, "ce_id").is_none());
    let json: serde_json::Value = serde_json::from_slice(found[0].payload().unwrap()).unwrap();
    assert_eq!((&json["id"], &json["tenant"], &json["anygatelistener"]), (&"a".into(), &"acme".into(), &"http".into()));
    kafka.close().await;
}

/// Partitions of keys as Java's client computes them: `toPositive(Utils.murmur2(key)) % 100`, from the hashes in the Java
/// client's own `UtilsTest.testMurmur2`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_to_the_partitions_of_the_java_client() {
    let java: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let cluster = cluster("t", 100);
    let kafka = kafka(&cluster, "t");
    let call = java.iter().map(|(key, _)| event_with(1, key, &[("partitionkey", key, Kind::String)], "x"));
    let outcomes = deliver(&kafka, events(call)).await;
    for ((key, hash), outcome) in java.iter().zip(&outcomes) {
        let Outcome::Done(position) = outcome else { panic!("{outcome:?}") };
        assert_eq!(position.partition, (hash & 0x7fff_ffff) % 100, "{key}");
    }
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    for passing in [
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[passing, passing]);
        // One at a time: the mock does not check sequence numbers, so it takes a second batch before the retry of the first.
        let outcomes = deliver(&kafka, events([event(1, "a", "x")])).await;
        assert!(outcomes.iter().all(|outcome| word(outcome).0 == "done"), "{passing:?}: {outcomes:?}");
    }
    read(&cluster, "t", 1, 4);
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_waited_for() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    deliver(&kafka, events([event(1, "a", "x")])).await;
    cluster.broker_down(-1).unwrap();
    let waiting = kafka.deliver(events([event(2, "b", "x")]));
    let waiting = tokio::spawn(waiting);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished(), "nothing is given up because time passed");
    let why = kafka.probe().await.unwrap_err();
    assert!(why.word == Word::BackendUnavailable && why.detail.contains("127.0.0.1"), "{why}");
    cluster.broker_up(-1).unwrap();
    let outcomes = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().unwrap();
    assert_eq!(word(&outcomes[0]).0, "done");
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_record_and_of_the_place() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    deliver(&kafka, events([event(1, "a", "x")])).await;
    for (code, expected) in [
        (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, ("record", Some(Word::Malformed))),
        (Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ("destination", Some(Word::Forbidden))),
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[code]);
        let outcomes = deliver(&kafka, events([event(2, "b", "x")])).await;
        assert_eq!(word(&outcomes[0]), expected, "{code:?}");
        // What a lane does while a destination fault holds it; it makes librdkafka look again.
        assert_eq!(kafka.probe().await, Ok(()));
        let outcomes = deliver(&kafka, events([event(3, "c", "x")])).await;
        assert_eq!(word(&outcomes[0]).0, "done", "after {code:?}: {outcomes:?}");
    }
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_is_not_its_records_fault() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    deliver(&kafka, events([event(1, "a", "x")])).await;
    let refuse = || cluster.request_errors(RDKafkaApiKey::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    refuse();
    let outcomes = deliver(&kafka, events([event(2, "b", "x"), event(3, "c", "x")])).await;
    assert!(outcomes.iter().all(|outcome| word(outcome).0 == "retry"), "nobody knows which one it was: {outcomes:?}");
    // A producer that sends each record alone takes its place.
    for _ in 0..100 {
        if kafka.figures().iter().any(|(name, value)| name.contains("replaced") && *value > 0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut outcomes = deliver(&kafka, events([event(2, "b", "x")])).await;
    for _ in 0..50 {
        if word(&outcomes[0]).0 == "done" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        outcomes = deliver(&kafka, events([event(2, "b", "x")])).await;
    }
    assert_eq!(word(&outcomes[0]).0, "done");
    refuse();
    let outcomes = deliver(&kafka, events([event(3, "c", "x")])).await;
    assert_eq!(word(&outcomes[0]), ("record", Some(Word::TooLarge)), "alone, it is the record");
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_topic_is_reported_soon_and_seen_when_it_is_there() {
    let cluster = cluster("other", 1);
    let kafka = kafka(&cluster, "missing");
    let why = kafka.probe().await.unwrap_err();
    assert!(why.detail.contains("missing") && why.detail.contains("create it"), "{why}");
    let start = Instant::now();
    let outcomes = deliver(&kafka, events([event(1, "a", "x")])).await;
    assert_eq!(word(&outcomes[0]), ("destination", Some(Word::BackendUnavailable)), "{outcomes:?}");
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    cluster.create_topic("missing", 1, 1).unwrap();
    assert_eq!(kafka.probe().await, Ok(()));
    assert_eq!(word(&deliver(&kafka, events([event(1, "a", "x")])).await[0]).0, "done");
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_error_gets_a_new_producer() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    deliver(&kafka, events([event(1, "a", "x")])).await;
    // A broker that forbids idempotent writing: fatal for librdkafka, a fault of the place for us.
    cluster.request_errors(RDKafkaApiKey::Produce, &[Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let outcomes = deliver(&kafka, events([event(2, "b", "x"), event(3, "c", "x")])).await;
    let kinds: Vec<_> = outcomes.iter().map(|outcome| word(outcome).0).collect();
    assert!(kinds == ["retry", "retry"] || kinds == ["done", "done"], "{outcomes:?}");
    cluster.request_errors(RDKafkaApiKey::Produce, &[Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH]);
    let _ = deliver(&kafka, events([event(4, "d", "x")])).await;
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        if word(&deliver(&kafka, events([event(4, "d", "x")])).await[0]).0 == "done" {
            break;
        }
        let last = deliver(&kafka, events([event(4, "d", "x")])).await;
        assert!(Instant::now() < end, "the producer was not replaced: {last:?} {:?}", kafka.figures());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idempotent_writing_that_is_forbidden_is_the_place() {
    let cluster = cluster("t", 1);
    let forbidden = [Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 1];
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &forbidden);
    let kafka = kafka(&cluster, "t");
    let outcomes = deliver(&kafka, events([event(1, "a", "x")])).await;
    assert_eq!(word(&outcomes[0]), ("destination", Some(Word::Forbidden)), "{outcomes:?}");
    until("the producer is replaced", || kafka.figures().contains(&("kafka_producers_replaced_total", 1.0))).await;
    let end = Instant::now() + Duration::from_secs(15);
    while word(&deliver(&kafka, events([event(1, "a", "x")])).await[0]).0 != "done" {
        assert!(Instant::now() < end, "the new producer does not work");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_overtakes_what_a_full_queue_sent_back() {
    let cluster = cluster("t", 1);
    let kafka = Kafka::start(KafkaSettings { queue_bytes: 64 << 10, ..settings(&cluster, "t") }).unwrap();
    let sized = |n: u64, bytes: usize| event_with(n, &format!("e{n}"), &[], vec![b'x'; bytes]);
    // The third does not fit. The fourth would, but must not overtake it.
    let first = kafka.deliver(events([sized(1, 10), sized(2, 40_000), sized(3, 40_000), sized(4, 10)]));
    // By now there is room again; but nobody has looked at the first answer yet.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let second = kafka.deliver(events([sized(5, 10)]));
    let third = kafka.deliver(events([sized(6, 10)]));
    let first = tokio::time::timeout(Duration::from_secs(20), first).await.unwrap();
    let kinds: Vec<_> = first.iter().map(|outcome| word(outcome).0).collect();
    assert_eq!(kinds, ["done", "done", "retry", "retry"]);
    assert_eq!(word(&first[2]).1, Some(Word::Overloaded));
    assert_eq!(word(&second.await[0]).0, "retry", "e5 must not overtake e3");
    let fourth = kafka.deliver(events([sized(7, 10)]));
    assert_eq!(word(&third.await[0]).0, "retry");
    assert_eq!(word(&fourth.await[0]).0, "retry", "e7 must not overtake e6, whose answer was not seen when it came");
    let rest =
        deliver(&kafka, events([sized(3, 40_000), sized(4, 10), sized(5, 10), sized(6, 10), sized(7, 10)])).await;
    assert!(rest.iter().all(|outcome| word(outcome).0 == "done"), "{rest:?}");
    let ids: Vec<_> =
        read(&cluster, "t", 1, 7).iter().map(|m| header(&headers(m), "ce_id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["e1", "e2", "e3", "e4", "e5", "e6", "e7"]);
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_reports_and_then_gives_up() {
    let cluster = cluster("t", 1);
    let kafka = kafka(&cluster, "t");
    deliver(&kafka, events([event(1, "a", "x")])).await;
    cluster.broker_round_trip_time(-1, Duration::from_millis(500)).unwrap();
    let slow = kafka.deliver(events([event(2, "b", "x")]));
    tokio::time::timeout(Duration::from_secs(10), kafka.close()).await.expect("closed");
    assert_eq!(word(&slow.await[0]).0, "done", "what was under way had its report first");
    assert_eq!(word(&deliver(&kafka, events([event(3, "c", "x")])).await[0]), ("retry", Some(Word::ShuttingDown)));
    kafka.close().await;

    let away = self::kafka(&cluster, "t");
    cluster.broker_down(-1).unwrap();
    let lost = away.deliver(events([event(4, "d", "x")]));
    assert!(tokio::time::timeout(Duration::from_millis(300), away.close()).await.is_err(), "it waits");
    let lost = tokio::time::timeout(Duration::from_secs(5), lost).await.expect("given up");
    assert_eq!(word(&lost[0]), ("retry", Some(Word::ShuttingDown)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_cannot_be_records_are_refused_while_routing() {
    let cluster = cluster("in-acme", 1);
    let kafka = Kafka::start(settings(&cluster, "in-{tenant}")).unwrap();
    let refused = |attributes: &[(&str, &str, Kind)], bytes: usize| {
        kafka.accepts(&event_with(1, "a", attributes, vec![b'x'; bytes]).view()).map_err(|fault| fault.word)
    };
    assert_eq!(refused(&[("tenant", "acme", Kind::String)], 10), Ok(()));
    assert_eq!(refused(&[], 10), Err(Word::MissingAttribute));
    assert_eq!(
        refused(&[("tenant", "a/b", Kind::String)], 10),
        Err(Word::Malformed),
        "no sender stops the lane by an illegal name"
    );
    assert_eq!(refused(&[("tenant", "acme", Kind::String)], 1_000_000), Ok(()));
    assert_eq!(refused(&[("tenant", "acme", Kind::String)], 1_048_588), Err(Word::TooLarge));
    let outcomes =
        deliver(&kafka, events([event_with(1, "a", &[("tenant", "acme", Kind::String)], "x"), event(2, "b", "x")]))
            .await;
    assert_eq!((word(&outcomes[0]).0, word(&outcomes[1])), ("done", ("record", Some(Word::MissingAttribute))));
    let Outcome::Done(position) = &outcomes[0] else { panic!() };
    assert_eq!(position.place, "in-acme");
    kafka.close().await;
    assert!(Kafka::start(settings(&cluster, "a/b")).is_err());
    let mut owned = settings(&cluster, "t");
    owned.properties = vec![("acks".to_owned(), "1".to_owned())];
    assert!(Kafka::start(owned).err().unwrap().contains("acks"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_gets_no_report_while_brokers_answer_is_replaced() {
    let cluster = cluster("t", 1);
    let kafka = Kafka::start(KafkaSettings { stall: Duration::from_secs(1), ..settings(&cluster, "t") }).unwrap();
    deliver(&kafka, events([event(1, "a", "x")])).await;
    assert_eq!(kafka.probe().await, Ok(()));
    // librdkafka tries this again for ever.
    cluster.request_errors(RDKafkaApiKey::Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 5000]);
    let stuck = tokio::spawn(kafka.deliver(events([event(2, "b", "x"), event(3, "c", "x")])));
    let end = Instant::now() + Duration::from_secs(20);
    while !stuck.is_finished() {
        assert!(Instant::now() < end, "no way out: {:?}", kafka.figures());
        // A lane asks when confirmations are slow. While the producer is being replaced, nobody is there to answer.
        let _either = kafka.probe().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let outcomes = stuck.await.unwrap();
    let Outcome::Retry(why) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(why.detail.contains("confirmed nothing") && why.detail.contains("twice"), "{why}");
    assert!(why.waited, "that is no attempt of the event");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    until("the producer is replaced", || kafka.figures().contains(&("kafka_producers_replaced_total", 1.0))).await;
    let end = Instant::now() + Duration::from_secs(15);
    while word(&deliver(&kafka, events([event(2, "b", "x"), event(3, "c", "x")])).await[0]).0 != "done" {
        assert!(Instant::now() < end, "the new producer does not work");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    kafka.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_waits_for_leaders_and_doubles_its_patience() {
    let cluster = cluster("in-acme", 1);
    // By a template, so that a probe asks one question only and takes milliseconds.
    let kafka =
        Kafka::start(KafkaSettings { stall: Duration::from_secs(1), ..settings(&cluster, "in-{tenant}") }).unwrap();
    let one = || events([event_with(1, "a", &[("tenant", "acme", Kind::String)], "x")]);
    deliver(&kafka, one()).await;
    let replaced = |times| kafka.figures().contains(&("kafka_producers_replaced_total", times));
    let probe_for = async |time: Duration, waiting: &mut BoxFuture<'static, Vec<Outcome>>| {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if tokio::time::timeout(Duration::from_millis(20), &mut *waiting).await.is_ok() {
                return true;
            }
            // While the producer is being replaced, nobody is there to answer.
            let _either = kafka.probe().await;
        }
        false
    };
    // librdkafka tries this again for ever.
    cluster.request_errors(RDKafkaApiKey::Produce, &[Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 5000]);
    cluster.topic_error("in-acme", Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE).unwrap();
    let mut waiting = kafka.deliver(one());
    assert!(!probe_for(Duration::from_secs(3), &mut waiting).await && replaced(0.0), "a new producer finds no leader");
    cluster.topic_error("in-acme", Code::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    assert!(probe_for(Duration::from_secs(20), &mut waiting).await, "no way out: {:?}", kafka.figures());
    until("the producer is replaced", || replaced(1.0)).await;
    // What it threw out by itself is no report: the next one has twice the time.
    let end = Instant::now() + Duration::from_secs(30);
    let second = loop {
        assert!(Instant::now() < end, "no second way out: {:?}", kafka.figures());
        let begun = Instant::now();
        let outcome = tokio::time::timeout(Duration::from_millis(20), kafka.deliver(one())).await;
        let mut waiting = match outcome {
            Ok(_) => continue,
            Err(_) => kafka.deliver(one()),
        };
        assert!(probe_for(Duration::from_secs(20), &mut waiting).await, "no second way out: {:?}", kafka.figures());
        break begun.elapsed();
    };
    until("it is replaced again", || replaced(2.0)).await;
    assert!(second >= Duration::from_millis(1700), "as soon as the first: {second:?}");
    kafka.close().await;
}
