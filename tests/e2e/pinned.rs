//! The configs that pin the outside: the one of this release runs as written, the others name what is to come.
use crate::harness::{
    clients, eventually,
    gateway::{Place, Running},
    mqtt::{Client, Said},
    services, skip,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The folder of the pinned files, beside the repository.
fn acceptance() -> Option<PathBuf> {
    let found = services::tests().join("../../shared/acceptance");
    if found.is_dir() {
        return Some(found);
    }
    skip("the folder of pinned configs is not here");
    None
}

fn check(file: &Path) -> (Option<i32>, Vec<serde_json::Value>) {
    let place = Place::of_file(file);
    let output = place.output(&["check", "--json", file.to_str().unwrap()]);
    let lines = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn configs_of_later_releases_are_refused_by_the_keys_to_come() {
    let Some(folder) = acceptance() else { return };
    let expected = [
        ("every-listener.yaml", &[(9, "websocket"), (21, "amqp"), (27, "tcp")][..]),
        ("schemas-and-middleware.yaml", &[(6, "message")][..]),
    ];
    for (name, keys) in expected {
        let (code, faults) = check(&folder.join(name));
        assert_eq!(code, Some(1), "{name}");
        let errors: Vec<_> = faults.iter().filter(|fault| fault["severity"] == "error").collect();
        let lines: BTreeSet<u64> = errors.iter().filter_map(|fault| fault["line"].as_u64()).collect();
        assert_eq!(lines, keys.iter().map(|(line, _)| *line).collect::<BTreeSet<u64>>(), "{name}: {errors:#?}");
        for (line, key) in keys {
            let found =
                errors.iter().any(|fault| fault["line"] == *line && fault["message"].as_str().unwrap().contains(key));
            assert!(found, "{name}:{line} does not name {key}: {errors:#?}");
        }
    }
}

#[test]
fn the_config_of_this_release_passes_check() {
    let Some(folder) = acceptance() else { return };
    let (code, faults) = check(&folder.join("http-mqtt-to-kafka.yaml"));
    assert_eq!((code, faults.as_slice()), (Some(0), &[][..]));
}

/// The pinned config with a topic of its own.
fn pinned(folder: &Path, kafka: &str, topic: &str) -> Place {
    services::create_topic(kafka, topic, 3, &[]);
    Place::of_file(&folder.join("http-mqtt-to-kafka.yaml")).env("KAFKA", kafka).env("TOPIC", topic)
}

/// murmur2 as Kafka's Java client computes it, and the partition it leads to.
fn partition(key: &[u8], partitions: u32) -> u64 {
    const M: u32 = 0x5bd1_e995;
    let mut hash: u32 = 0x9747_b28c ^ u32::try_from(key.len()).unwrap();
    let (chunks, rest) = key.as_chunks::<4>();
    for chunk in chunks {
        let mut k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    u64::from((hash & 0x7fff_ffff) % partitions)
}

fn publish_readings(running: &Running<'_>, devices: u32) {
    let mut client = Client::connect(running.place.mqtt, "pinned", 5);
    for device in 0..devices {
        client.publish(
            &format!("sensors/hh/{device}/temperature"),
            b"{\"celsius\":21.5}",
            &Said { content_type: Some("application/json"), user: &[] },
        );
        assert_eq!(client.next(10).unwrap().puback().1, 0);
    }
}

/// Every header of the order, its key and value, and that the hop has a span of its own.
#[track_caller]
fn check_order(order: &serde_json::Value) {
    let expected = [
        ("ce_specversion", "1.0"),
        ("ce_source", "/shop"),
        ("ce_type", "com.acme.order"),
        ("ce_subject", "é%"),
        ("ce_colour", "red"),
        ("ce_partitionkey", "k1"),
        ("content-type", "text/plain"),
        ("ce_anygatelistener", "web"),
        ("ce_anygateenvelope", "1"),
        ("ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    for (name, value) in expected {
        assert_eq!(order["headers"][name], value, "{name}: {order:#}");
    }
    assert_eq!((order["key"].as_str(), order["value"].as_str()), (Some("k1"), Some("hello")));
    let hop = order["headers"]["traceparent"].as_str().unwrap();
    assert!(
        hop.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !hop.contains("b7ad6b7169203331"),
        "the hop's own span: {hop}"
    );
}

#[test]
fn records_are_as_the_binding_says() {
    let (Some(folder), Some(kafka)) = (acceptance(), services::kafka()) else { return };
    let topic = services::fresh("pinned");
    let place = pinned(&folder, &kafka, &topic);
    let running = place.start();
    publish_readings(&running, 6);
    assert_eq!(running.send("plain", "org.other").status, 202);
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "o1"),
        ("ce-source", "/shop"),
        ("ce-type", "com.acme.order"),
        ("ce-subject", "%C3%A9%25"),
        ("ce-partitionkey", "k1"),
        ("ce-colour", "red"),
        ("content-type", "text/plain"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    assert_eq!(running.post("/events", &headers, "hello").status, 202);
    let bare = |id| {
        [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/fall"),
            ("ce-type", "com.acme.bare"),
            ("ce-subject", "seven"),
        ]
    };
    assert_eq!(running.post("/events", &bare("with-subject"), "x").status, 202);
    assert_eq!(running.post("/events", &bare("with-source")[..4], "x").status, 202);
    let records =
        eventually("9 records", 20, || Some(services::records(&kafka, &topic)).filter(|found| found.len() >= 9));
    assert_eq!(records.len(), 9, "one record each, and none of org.other");
    let key =
        |id: &str| records.iter().find(|record| record["headers"]["ce_id"] == id).map(|record| record["key"].clone());
    assert_eq!(
        (key("with-subject"), key("with-source")),
        (Some("seven".into()), Some("/fall".into())),
        "the key's fallback"
    );
    for record in &records {
        let key = record["key"].as_str().unwrap();
        assert_eq!(record["partition"].as_u64(), Some(partition(key.as_bytes(), 3)), "the partition of {key}");
        assert!(record.get("error").is_none(), "the Python SDK refuses it: {record}");
    }
    let order = records.iter().find(|record| record["headers"]["ce_id"] == "o1").unwrap();
    check_order(order);
    let reading = records.iter().find(|record| record["key"] == "3").unwrap();
    assert_eq!(reading["headers"]["ce_source"], "/sites/hh/devices/3", "{reading:#}");
    assert_eq!(reading["headers"]["ce_type"], "com.acme.sensor.temperature");
    assert_eq!(running.rows_at_least(10).len(), 10, "all of them are in the store");
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
}

#[test]
fn both_sdks_read_our_records() {
    let (Some(folder), Some(kafka), true) = (acceptance(), services::kafka(), clients::has_node()) else { return };
    let topic = services::fresh("sdk");
    let place = pinned(&folder, &kafka, &topic);
    let _running = place.start();
    let port = place.http.to_string();
    let python = clients::python(
        "ce_http.py",
        &["127.0.0.1", &port, "--id", "py", "--type", "com.acme.py", "--ext", "partitionkey=k"],
    )
    .remove(0);
    for mode in ["binary", "structured"] {
        assert_eq!(python[mode]["status"], 202, "{python:#}");
        assert_eq!(python[mode]["body"]["id"], format!("py-{mode}"), "{python:#}");
    }
    let script = clients::node("ce_http.mjs", &["127.0.0.1", &port, "--id", "js", "--type", "com.acme.js"]).remove(0);
    for mode in ["binary", "structured", "batch"] {
        assert_eq!(script[mode]["status"], 202, "{script:#}");
    }
    assert_eq!(script["batch"]["body"]["results"].as_array().map(Vec::len), Some(2), "{script:#}");
    // This SDK sends a header value raw that the binding wants percent-encoded: it is no valid UTF-8.
    assert!(matches!(script["unescaped"]["status"].as_u64(), Some(202 | 400)), "{script:#}");
    let kept = if script["unescaped"]["status"] == 202 { 7 } else { 6 };
    let found =
        eventually("all records", 20, || Some(services::records(&kafka, &topic)).filter(|found| found.len() >= kept));
    let read = |id: &str| {
        found.iter().find(|record| record["headers"]["ce_id"] == id).unwrap_or_else(|| panic!("{id} in {found:#?}"))
    };
    for mode in ["binary", "structured"] {
        let (event, sent) = (&read(&format!("py-{mode}"))["event"], &python["sent"][mode]);
        for name in ["id", "source", "type", "subject", "partitionkey", "data"] {
            assert_eq!(event[name], sent[name], "{mode}: {name}: {event:#}");
        }
    }
    // The JavaScript SDK reads the same records.
    let mut pipe = String::new();
    for record in &found {
        pipe.push_str(&format!("{record}\n"));
    }
    let parsed = feed_node("ce_kafka_read.mjs", &pipe);
    assert_eq!(parsed.len(), found.len());
    let event = parsed.iter().find(|line| line["event"]["id"] == "py-binary").unwrap_or_else(|| panic!("{parsed:#?}"));
    assert_eq!(event["event"]["subject"], python["sent"]["binary"]["subject"], "{event:#}");
    assert!(parsed.iter().all(|line| line.get("error").is_none()), "{parsed:#?}");
}

fn feed_node(program: &str, input: &str) -> Vec<serde_json::Value> {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let mut command = Command::new("node");
    command.arg(services::tests().join("clients").join(program)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
