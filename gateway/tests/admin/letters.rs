//! Dead letters: listed, shown, replayed, discarded; the laws hold at every rest.
use crate::harness::*;
use gateway::{
    admin::{
        dlq::{Change, Summary},
        trace::Traced,
    },
    cli::{client::Style, trace},
};
use std::{
    fs,
    time::{Duration, Instant},
};

#[test]
fn a_letter_that_no_route_took() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let trace_id = send(&gateway, "lost-1", "org.other.thing");
    send(&gateway, "lost-2", "org.other.thing");
    let listed = eventually("the letters", || Some(letters(&gateway)).filter(|found| found.len() == 2));
    let letter = &listed[0];
    let keys: Vec<&str> = letter.as_object().unwrap().keys().map(String::as_str).collect();
    let mut pinned =
        ["lsn", "id", "source", "type", "failure", "detail", "stage", "route", "backend", "attempts", "first", "last"];
    pinned.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, pinned);
    assert_eq!(
        (letter["id"].as_str(), letter["failure"].as_str(), letter["stage"].as_str()),
        (Some("lost-1"), Some("no_route"), Some("door"))
    );
    let lsn = letter["lsn"].as_u64().unwrap();
    let shown: serde_json::Value = client(&gateway).get(&format!("/api/dlq/{lsn}")).unwrap();
    assert_eq!((shown["event"]["id"].as_str(), shown["event"]["data"]["total"].as_u64()), (Some("lost-1"), Some(5)));
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert_eq!(
        (traced.events[0].outcome.as_str(), traced.events[0].failure.as_deref()),
        ("dead_letter", Some("no_route"))
    );
    laws_at_rest(&gateway);

    // Nothing has changed: it is dead again, with one attempt more, and never gone.
    let (summary, lines) = change(&gateway, "replay", &Change { dry_run: true, ..all() });
    assert_eq!((summary.would, letters(&gateway).len()), (2, 2), "{lines:?}");
    assert!(lines[0].contains("no route takes it now either"), "{lines:?}");
    let (summary, lines) = change(&gateway, "replay", &Change { lsn: vec![lsn, 999_999], ..Change::default() });
    assert_eq!((summary.dead_again, summary.left, summary.replayed), (1, 1, 0), "{lines:?}");
    let again = letters(&gateway);
    assert_eq!(again.len(), 2);
    let again = again.iter().find(|letter| letter["id"] == "lost-1").unwrap();
    assert!(again["lsn"].as_u64().unwrap() > lsn && again["attempts"] == 1, "{again}");
    laws_at_rest(&gateway);
    gateway.stop();

    // A config that routes it: the same id, trace and door arrive; the letters are done, also after one more restart.
    let routed = Setup { routes: "  - { name: everything, to: [keep] }", ..ACME };
    let gateway = start(&folder, &routed);
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(
        traced.journal.iter().any(|record| record.dead_letter.as_deref().is_some_and(|why| why.contains("no_route"))),
        "{traced:?}"
    );
    let (_, lines) = change(&gateway, "replay", &Change { dry_run: true, ..all() });
    assert!(lines[0].contains("to route everything"), "{lines:?}");
    let by_word = Change { failure: Some("no_route".to_owned()), ..Change::default() };
    let (summary, lines) = change(&gateway, "replay", &by_word);
    assert_eq!((summary.replayed, summary.left, letters(&gateway).len()), (2, 0, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let rows = stored(&folder, STORE);
    let row = rows.iter().find(|row| row["id"] == "lost-1").unwrap();
    assert!(row["traceparent"].as_str().unwrap().contains(&trace_id), "{row}");
    assert_eq!((row["anygatelistener"].as_str(), rows.len()), (Some("web"), 2));
    let gateway = start(&folder, &routed);
    assert!(letters(&gateway).is_empty());
    gateway.stop();
}

#[test]
fn discarded_letters_are_counted() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    for n in 0..3 {
        send(&gateway, &format!("lost-{n}"), "org.other.thing");
    }
    let listed = eventually("the letters", || Some(letters(&gateway)).filter(|found| found.len() == 3));
    let lsn = listed[1]["lsn"].as_u64().unwrap();
    let (summary, _) = change(&gateway, "discard", &Change { lsn: vec![lsn], ..Change::default() });
    assert_eq!((summary.discarded, letters(&gateway).len()), (1, 2));
    laws_at_rest(&gateway);
    let (summary, _) = change(&gateway, "discard", &Change { backend: Some("keep".to_owned()), ..Change::default() });
    assert_eq!(summary, Summary::default(), "a letter of the door is of no backend");
    gateway.stop();
    let gateway = start(&folder, &ACME);
    assert_eq!(letters(&gateway).len(), 2, "what was discarded stays so");
    let (summary, _) = change(&gateway, "discard", &all());
    assert_eq!((summary.discarded, letters(&gateway).len()), (2, 0));
    laws_at_rest(&gateway);
    assert_eq!(status(&gateway).dead_letters, 0);
    gateway.stop();
}

#[test]
fn a_letter_of_mqtt_311_enters_its_listener_again() {
    let folder = Folder::new();
    fs::write(folder.0.join("reading.json"), "{\"type\":\"object\",\"required\":[\"celsius\"]}").unwrap();
    let pipelines = "
schemas: { reading: { file: reading.json } }
pipelines:
  strict: [ { dedupe: { by: [source, subject], window: 10m } }, { validate: { schema: reading } } ]
  loose: [ { dedupe: { by: [source, subject], window: 10m } } ]";
    let routes = format!("{}{pipelines}", ACME.routes);
    let setup = |pipeline| Setup { routes: &routes, mqtt_pipeline: pipeline, ..ACME };
    let gateway = start(&folder, &setup("pipeline: [strict]"));
    publish_311(address(&gateway, "mqtt"), "sensors/hh/temperature", "{\"fahrenheit\":70}");
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    let letter = &listed[0];
    assert_eq!(
        (letter["failure"].as_str(), letter["stage"].as_str()),
        (Some("schema_invalid"), Some("door")),
        "{letter}"
    );
    assert_eq!(letter["type"], "com.acme.sensor.temperature");
    let id = letter["id"].as_str().unwrap().to_owned();
    laws_at_rest(&gateway);

    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.dead_again, summary.replayed), (1, 0), "{lines:?}");
    assert_eq!(
        (letters(&gateway)[0]["failure"].as_str(), letters(&gateway)[0]["attempts"].as_u64()),
        (Some("schema_invalid"), Some(1))
    );
    laws_at_rest(&gateway);
    gateway.stop();

    let gateway = start(&folder, &setup("pipeline: [loose]"));
    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.replayed, letters(&gateway).len()), (1, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let rows = stored(&folder, STORE);
    assert_eq!((rows.len(), rows[0]["id"].as_str()), (1, Some(id.as_str())));
    assert_eq!(
        (rows[0]["anygatelistener"].as_str(), rows[0]["anygatesubject"].as_str()),
        (Some("devices"), Some("sensors/hh/temperature"))
    );
    assert_eq!((rows[0]["source"].as_str(), rows[0]["data"]["fahrenheit"].as_u64()), (Some("/sites/hh"), Some(70)));
}

#[test]
fn a_letter_of_a_lane_goes_to_its_lane_only() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    send(&gateway, "order-0", "com.acme.order.created");
    laws_at_rest(&gateway);
    // A row that the store's own database refuses is an event that the store can never take.
    let database = rusqlite::Connection::open(folder.0.join(STORE)).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.id = 'order-1' BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    database.execute_batch(trigger).unwrap();
    let trace_id = send(&gateway, "order-1", "com.acme.order.created");
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    let letter = &listed[0];
    assert_eq!(
        (letter["stage"].as_str(), letter["backend"].as_str(), letter["route"].as_str()),
        (Some("lane"), Some("keep"), Some("acme"))
    );
    assert_eq!(letter["attempts"], 1, "{letter}");
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(traced.events[0].deliveries[0].failure.is_some(), "{traced:?}");
    assert!(trace::render(&traced, Style::plain()).contains("dead letter"));
    laws_at_rest(&gateway);

    database.execute_batch("DROP TRIGGER no").unwrap();
    let of_lane = Change { backend: Some("keep".to_owned()), rate: Some("100/s".to_owned()), ..Change::default() };
    let (summary, lines) = change(&gateway, "replay", &Change { dry_run: true, ..of_lane.clone() });
    assert_eq!(summary.would, 1);
    assert!(lines[0].contains("to backend keep"), "{lines:?}");
    let (summary, lines) = change(&gateway, "replay", &of_lane);
    assert_eq!((summary.replayed, letters(&gateway).len()), (1, 0), "{lines:?}");
    laws_at_rest(&gateway);
    gateway.stop();
    let ids: Vec<_> = stored(&folder, STORE).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["order-0", "order-1"]);
}

#[test]
fn segments_are_used_again_once_their_letters_are_done() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let big = "x".repeat(250_000);
    let post = |event_type: &str| {
        let path = format!("/events/{event_type}");
        http(address(&gateway, "http"), "POST", &path, &[("Content-Type", "text/plain")], &big).0
    };
    // Four segments of 16 MiB, a letter or two in each, 87 MB in all: a letter that is done must not hold its segment.
    for n in 0..350 {
        let begin = Instant::now();
        while post(if n % 30 == 0 { "org.other" } else { "com.acme.big" }) != 202 {
            let journal = status(&gateway).journal;
            assert!(begin.elapsed() < Duration::from_secs(10), "the ring is full at event {n}: {journal:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        if n % 30 == 0 {
            assert_eq!(change(&gateway, "discard", &all()).0.discarded, 1);
        }
    }
    laws_at_rest(&gateway);
    gateway.stop();
}

#[test]
fn bytes_that_nobody_could_read_are_kept_where_the_protocol_cannot_refuse() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    // MQTT 3.1.1 has no way to say no.
    publish_311(address(&gateway, "mqtt"), "sensors/hh/temperature", "{\"specversion\":\"1.0\",\"id\":\"7\",");
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    let letter = &listed[0];
    assert_eq!((letter["failure"].as_str(), letter["stage"].as_str()), (Some("malformed"), Some("door")), "{letter}");
    let shown: serde_json::Value = client(&gateway).get(&format!("/api/dlq/{}", letter["lsn"])).unwrap();
    assert!(shown["original_base64"].as_str().is_some_and(|text| text.starts_with("eyJzcGVjdmVyc2lvbi")), "{shown}");
    laws_at_rest(&gateway);
    let (summary, lines) = change(&gateway, "replay", &all());
    assert_eq!((summary.dead_again, letters(&gateway)[0]["attempts"].as_u64()), (1, Some(1)), "{lines:?}");
    let shown: serde_json::Value = client(&gateway).get(&format!("/api/dlq/{}", letters(&gateway)[0]["lsn"])).unwrap();
    assert!(shown["original_base64"].as_str().is_some_and(|text| text.starts_with("eyJzcGVjdmVyc2lvbi")), "{shown}");
    laws_at_rest(&gateway);
    gateway.stop();
}

#[test]
fn an_event_that_is_none_is_kept_where_the_protocol_cannot_refuse() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    // Good JSON, but no source: the PUBACK says that it was kept, so it must be.
    let event = "{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"com.acme.x\",\"data\":1}";
    publish_311(address(&gateway, "mqtt"), "sensors/hh/temperature", event);
    let listed = eventually("the letter", || Some(letters(&gateway)).filter(|found| found.len() == 1));
    assert_eq!(listed[0]["failure"], "missing_attribute", "{}", listed[0]);
    laws_at_rest(&gateway);
    gateway.stop();
}
