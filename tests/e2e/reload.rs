//! Reload: one generation in force after the other, and nobody who sends notices, but for what was meant to change.
use crate::harness::{
    eventually, free_port,
    gateway::{Place, Running},
    http::Connection,
    mqtt::{Client, Said},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const KEEP: &str = "routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n";

/// The answer of `anygate reload --json`.
#[track_caller]
pub fn reload(running: &Running<'_>) -> Value {
    let output = running.place.output(&["reload", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_str(&text).unwrap();
    let applied = answer["outcome"] == "applied";
    assert_eq!(output.status.code(), Some(if applied { 0 } else { 1 }), "{text}");
    answer
}

#[track_caller]
pub fn applied(running: &Running<'_>) -> Value {
    let answer = reload(running);
    assert_eq!(answer["outcome"], "applied", "{answer:#}");
    answer
}

#[track_caller]
pub fn rejected(running: &Running<'_>, code: &str) -> Value {
    let answer = reload(running);
    assert_eq!(answer["outcome"], "rejected", "{answer:#}");
    let faults = answer["faults"].as_array().unwrap();
    assert!(faults.iter().any(|fault| fault["code"] == code), "no {code}: {answer:#}");
    for fault in faults {
        assert!(fault["line"].as_u64().unwrap() > 0 && fault["column"].as_u64().unwrap() > 0, "{fault}");
    }
    answer
}

/// The last one of these events is in the store `keep`; the ids there, in order.
#[track_caller]
fn stored(running: &Running<'_>, at_least: usize) -> BTreeSet<String> {
    running.rows_at_least(at_least).ids().into_iter().map(str::to_owned).collect()
}

fn resident(running: &Running<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[derive(Default)]
struct Ledger {
    acked: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Ledger {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn ack(&self, id: String) {
        self.acked.lock().unwrap().push(id);
    }
}

/// One connection for all of it: a dropped one panics.
fn post_on_one_connection(port: u16, sender: u32, ledger: &Ledger) {
    let mut connection = Connection::open(port);
    let mut number = 0;
    while !ledger.is_over() {
        let id = format!("h{sender}-{number}");
        let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/e2e"), ("ce-type", "t")];
        let answer = connection.post("/events", &headers, b"x");
        assert_eq!(answer.status, 202, "{}", answer.text());
        ledger.ack(id);
        number += 1;
    }
}

fn publish_on_one_connection(port: u16, sender: u32, ledger: &Ledger) {
    let version = if sender == 0 { 4 } else { 5 };
    let content_type = (version == 5).then_some("application/cloudevents+json");
    let mut client = Client::connect(port, &format!("load{sender}"), version);
    let mut number = 0;
    while !ledger.is_over() {
        let id = format!("m{sender}-{number}");
        let body = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/e2e","type":"t"}}"#);
        client.publish("a", body.as_bytes(), &Said { content_type, user: &[] });
        let packet = client.next(10).expect("the connection stays");
        assert!(packet.is_puback() && packet.puback().1 == 0, "{packet:x?}");
        ledger.ack(id);
        number += 1;
    }
}

#[test]
fn a_hundred_reloads_under_load_drop_no_connection_and_lose_nothing() {
    let place = Place::with(KEEP);
    let running = place.start();
    let ledger = Ledger::default();
    let (mut settled, mut last) = (0, 0);
    std::thread::scope(|scope| {
        for sender in 0..2 {
            let (ledger, http, mqtt) = (&ledger, place.http, place.mqtt);
            scope.spawn(move || post_on_one_connection(http, sender, ledger));
            scope.spawn(move || publish_on_one_connection(mqtt, sender, ledger));
        }
        let mut admin = Connection::open(place.admin);
        for number in 1..=120u64 {
            let answer = admin.ask("POST", "/api/reload", &[], b"");
            let answer: Value = answer.json();
            if answer["outcome"] != "applied" || answer["generation"] != number + 1 || !answer["difference"].is_null() {
                ledger.stop.store(true, Ordering::Relaxed);
                panic!("{answer:#}");
            }
            if number == 20 {
                settled = resident(&running);
            }
        }
        last = resident(&running);
        // Every stream goes on after the last one.
        let so_far = ledger.acked.lock().unwrap().len();
        let moved = Instant::now();
        while ledger.acked.lock().unwrap().len() < so_far + 100 && moved.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ledger.stop.store(true, Ordering::Relaxed);
    });
    let acked: BTreeSet<String> = ledger.acked.into_inner().unwrap().into_iter().collect();
    assert!(acked.len() > 200, "{} messages are no load", acked.len());
    let stored = stored(&running, acked.len());
    let differ: Vec<_> = stored.symmetric_difference(&acked).take(10).collect();
    assert!(differ.is_empty(), "acknowledged and stored are the same, but for {differ:?}");
    // The stores and caches of the load itself grow, too; a hundred generations that stay would be far more than this.
    assert!(last < settled + 24 * 1024 * 1024, "{settled} bytes after 20 reloads, {last} after 120");
    let metrics = running.metrics();
    assert_eq!(metrics.sum("anygate_config_generation", &[]), 121.0);
    assert_eq!(metrics.sum("anygate_config_reloads_total", &[("outcome", "applied")]), 120.0);
    crate::counting::door_law(&metrics, "web");
    crate::counting::door_law(&metrics, "devices");
    crate::counting::lane_laws(&metrics, &["keep"]);
    assert_eq!(running.term(), Some(0));
}

#[test]
fn a_route_that_changes_takes_effect_on_open_connections() {
    let place = Place::with(
        "routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n  other: { store: {} }\nunrouted: reject\n",
    );
    let running = place.start();
    let mut web = Connection::open(place.http);
    let mut device = Client::connect(place.mqtt, "stays", 5);
    let event = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/e2e","type":"t"}}"#);
    let both = |web: &mut Connection, device: &mut Client, number: u32| {
        let kind = ("content-type", "application/cloudevents+json");
        let status = web.post("/events", &[kind], event(&format!("w{number}")).as_bytes()).status;
        let said = Said { content_type: Some("application/cloudevents+json"), user: &[] };
        device.publish("a", event(&format!("d{number}")).as_bytes(), &said);
        (status, device.next(10).expect("the connection stays").puback().1)
    };
    assert_eq!(both(&mut web, &mut device, 1), (202, 0));
    place.rewrite(
        "routes:\n  - { name: all, when: type <> 't', to: [keep] }\nbackends:\n  keep: { store: {} }\n  other: { store: {} }\nunrouted: reject\n",
    );
    let answer = applied(&running);
    assert_eq!(answer["difference"][0]["section"], "routes", "{answer}");
    assert_eq!(answer["difference"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(both(&mut web, &mut device, 2), (404, 0x90), "no route takes it now");
    place.rewrite(
        "routes:\n  - { name: all, to: [other] }\nbackends:\n  keep: { store: {} }\n  other: { store: {} }\nunrouted: reject\n",
    );
    applied(&running);
    assert_eq!(both(&mut web, &mut device, 3), (202, 0));
    eventually("both are in the other store", 10, || {
        let rows = crate::harness::store::Rows::read(&place.data_dir(), "other");
        (rows.ids().into_iter().collect::<BTreeSet<_>>() == BTreeSet::from(["w3", "d3"])).then_some(())
    });
}

fn two_ports(first: &str, second: &str) -> String {
    format!(
        "version: 1\nnode: {{ data_dir: \"${{DATA_DIR:?}}\", drain_timeout: 5s }}\nadmin: {{ listen: \"127.0.0.1:${{ADMIN_PORT:?}}\" }}\nlisteners:\n{first}{second}{KEEP}"
    )
}

#[test]
fn listeners_come_go_move_and_hand_their_sockets_over() {
    let (one, two) = (free_port(), free_port());
    let web = |port: u16| format!("  web: {{ http: {{ listen: \"127.0.0.1:{port}\" }} }}\n");
    let more = |name: &str, port: u16| format!("  {name}: {{ http: {{ listen: \"127.0.0.1:{port}\" }} }}\n");
    let place = Place::new(&two_ports(&web(one), ""));
    let running = place.start();
    let mut stays = Connection::open(one);
    let headers = [("content-type", "application/json")];
    assert_eq!(stays.post("/events", &headers, b"1").status, 202);

    fs::write(&place.config, two_ports(&web(one), &more("second", two))).unwrap();
    let answer = applied(&running);
    assert_eq!(answer["difference"][0]["change"], "added");
    let mut goes = Connection::open(two);
    assert_eq!(goes.post("/events", &headers, b"2").status, 202);
    assert_eq!(stays.post("/events", &headers, b"3").status, 202, "the other one's connection stays");

    // An address that somebody else has: nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fs::write(&place.config, two_ports(&web(port), "")).unwrap();
    let answer = rejected(&running, "C506");
    assert!(answer["faults"][0]["message"].as_str().unwrap().contains("is taken"), "{answer}");
    assert_eq!(goes.post("/events", &headers, b"4").status, 202);
    assert_eq!(stays.post("/events", &headers, b"5").status, 202);

    // Another name for the first one's address, which the second one leaves: the sockets are handed over.
    fs::write(&place.config, two_ports(&more("front", one), "")).unwrap();
    applied(&running);
    assert_eq!(Connection::open(one).post("/events", &headers, b"6").status, 202);
    eventually("the second one's address is closed", 10, || Connection::try_open(two).is_err().then_some(()));
    eventually("its idle connection is closed", 10, || {
        goes.try_ask("POST", "/events", &headers, b"7").is_err().then_some(())
    });
    let status: Value = running.admin("/api/status").json();
    assert_eq!(status["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(status["listeners"][0]["name"], "front");
    assert_eq!(running.term(), Some(0));
}

#[test]
fn limits_that_change_are_those_of_new_connections() {
    let config = |most: &str| {
        two_ports(&format!("  web: {{ http: {{ listen: \"127.0.0.1:${{HTTP_PORT:?}}\", max_body: {most} }} }}\n"), "")
    };
    let place = Place::new(&config("64KiB"));
    let running = place.start();
    let mut old = Connection::open(place.http);
    let body = vec![b'x'; 2048];
    assert_eq!(old.post("/events", &[("content-type", "text/plain")], &body).status, 202);
    fs::write(&place.config, config("1KiB")).unwrap();
    applied(&running);
    assert_eq!(old.post("/events", &[("content-type", "text/plain")], &body).status, 202);
    assert_eq!(running.post("/events", &[("content-type", "text/plain")], &body).status, 413);
}

#[test]
fn what_check_refuses_is_rejected_with_the_same_faults_and_the_old_config_runs_on() {
    let place = Place::with(KEEP);
    let good = fs::read_to_string(&place.config).unwrap();
    let running = place.start();
    let folder = crate::architecture::root().join("tests/configs/broken");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() >= 40, "{}", files.len());
    let mut errors = 0;
    for (number, file) in (0..).zip(&files) {
        fs::write(&place.config, fs::read(file).unwrap()).unwrap();
        let checked = place.output(&["check", "--json", place.config.to_str().unwrap()]);
        let expected: Vec<Value> = String::from_utf8(checked.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        if checked.status.success() {
            continue;
        }
        errors += 1;
        let answer = reload(&running);
        assert_eq!(answer["outcome"], "rejected", "{}", file.display());
        assert_eq!(answer["generation"], 1);
        assert_eq!(answer["faults"].as_array(), Some(&expected), "{}", file.display());
        assert_eq!(running.send(&format!("b{number}"), "t").status, 202, "{}", file.display());
    }
    assert!(errors >= 40, "{errors} broken configs");
    let status: Value = running.admin("/api/status").json();
    assert_eq!(status["config"]["generation"], 1);
    assert!(status["config"]["rejected"]["errors"].as_u64().unwrap() > 0, "{status:#}");
    assert!(running.stderr().contains("the reload was rejected"), "it is in the log");
    fs::write(&place.config, good).unwrap();
    assert_eq!(applied(&running)["generation"], 2);
    let status: Value = running.admin("/api/status").json();
    assert!(status["config"]["rejected"].is_null(), "{status:#}");
}

#[test]
fn what_only_a_restart_changes_is_rejected_by_name() {
    let place = Place::with(KEEP);
    let good = fs::read_to_string(&place.config).unwrap();
    let running = place.start();
    for (from, to, key) in [
        ("node: { data_dir: \"${DATA_DIR:?set DATA_DIR}\"", "node: { data_dir: elsewhere", "node.data_dir"),
        ("version: 1\n", "version: 1\njournal: { segments: 8 }\n", "journal.segments"),
        ("admin: { listen: \"127.0.0.1:${ADMIN_PORT:?}\"", "admin: { listen: \"127.0.0.1:1\"", "admin.listen"),
    ] {
        assert!(good.contains(from));
        fs::write(&place.config, good.replace(from, to)).unwrap();
        let answer = rejected(&running, "C505");
        let message = answer["faults"][0]["message"].as_str().unwrap();
        assert!(message.contains(key), "{message}");
        assert!(answer["faults"][0]["help"].as_str().unwrap().contains("restart"), "{answer}");
    }
}

#[test]
fn hangup_reloads_too() {
    let place = Place::with(KEEP);
    let running = place.start();
    running.signal("HUP");
    eventually("the second generation", 10, || {
        (running.metrics().sum("anygate_config_generation", &[]) == 2.0).then_some(())
    });
    fs::write(&place.config, "version: 1\nlisteners: 3\n").unwrap();
    running.signal("HUP");
    eventually("the rejection", 10, || {
        (running.metrics().sum("anygate_config_reloads_total", &[("outcome", "rejected")]) == 1.0).then_some(())
    });
    assert_eq!(running.send("after", "t").status, 202);
}

#[test]
fn a_rate_limit_goes_on_counting() {
    let config = |more: &str| {
        format!(
            "version: 1\nnode: {{ data_dir: \"${{DATA_DIR:?}}\" }}\nadmin: {{ listen: \"127.0.0.1:${{ADMIN_PORT:?}}\" }}\nlisteners:\n  web: {{ http: {{ listen: \"127.0.0.1:${{HTTP_PORT:?}}\", pipeline: [edge] }} }}\npipelines:\n  edge:\n    - rate_limit: {{ per: all, rate: 1/h, burst: 3 }}\n{more}{KEEP}"
        )
    };
    let place = Place::new(&config(""));
    let running = place.start();
    for number in 0..3 {
        assert_eq!(running.send(&format!("r{number}"), "t").status, 202);
    }
    assert_eq!(running.send("over", "t").status, 429);
    fs::write(&place.config, config("    - filter: { keep: type <> 'noise' }\n")).unwrap();
    applied(&running);
    assert_eq!(running.send("still-over", "t").status, 429, "the limit remembers");
    fs::write(&place.config, config("").replace("burst: 3", "burst: 4")).unwrap();
    applied(&running);
    assert_eq!(running.send("anew", "t").status, 202, "another limit begins anew");
}
