//! Endings: SIGTERM under load, Ctrl-C twice, a second gateway on the same folder, a folder that cannot be written.
use crate::{
    harness::{
        eventually, free_port,
        gateway::Place,
        http::Connection,
        mqtt::{Client, Said},
    },
    thread::KEEP,
};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What senders were told, by the id of the message.
#[derive(Default)]
struct Ledger {
    acked: Mutex<BTreeSet<String>>,
    refused: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
}

/// Posts one event after the other until the gateway goes away.
fn post_until_the_end(port: u16, sender: u32, ledger: &Ledger) {
    let mut connection = Connection::open(port);
    for number in 0.. {
        let id = format!("h{sender}-{number}");
        let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/e2e"), ("ce-type", "t")];
        match connection.try_ask("POST", "/events", &headers, b"x") {
            Ok(answer) if answer.status == 202 => drop(ledger.acked.lock().unwrap().insert(id)),
            Ok(answer) => {
                assert_eq!((answer.status, answer.failure().as_str()), (503, "shutting_down"), "{}", answer.text());
                ledger.refused.lock().unwrap().insert(id);
            }
            Err(_) => break,
        }
        if ledger.stop.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// The same over MQTT 5, which is told why it ends.
fn publish_until_the_end(port: u16, ledger: &Ledger) {
    let mut client = Client::connect(port, "load", 5);
    for number in 0.. {
        let id = format!("m{number}");
        let user = [("specversion", "1.0"), ("id", id.as_str()), ("source", "/e2e"), ("type", "t")];
        client.publish("a", b"x", &Said { content_type: None, user: &user });
        match client.next(10) {
            Some(packet) if packet.is_puback() => {
                assert_eq!(packet.puback().1, 0);
                ledger.acked.lock().unwrap().insert(id);
            }
            Some(packet) => {
                assert_eq!((packet.first, packet.body[0]), (0xe0, 0x8b), "DISCONNECT: shutting down: {packet:x?}");
                break;
            }
            None => panic!("MQTT 5 is told 0x8B before the end"),
        }
        if ledger.stop.load(Ordering::Relaxed) {
            break;
        }
    }
}

#[test]
fn sigterm_under_load_keeps_every_promise() {
    let place = Place::with(KEEP);
    let running = place.start();
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let (ledger, port) = (&ledger, place.http);
            scope.spawn(move || post_until_the_end(port, sender, ledger));
        }
        scope.spawn(|| publish_until_the_end(place.mqtt, &ledger));
        std::thread::sleep(Duration::from_millis(700));
        running.signal("TERM");
        let status = running.end(20);
        ledger.stop.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{}", running.stderr());
    });
    drop(running);
    let acked = ledger.acked.into_inner().unwrap();
    assert!(acked.len() > 50, "only {} under load", acked.len());
    let running = place.start();
    let rows = running.rows_at_least(acked.len());
    let kept: BTreeSet<String> = rows.ids().into_iter().map(str::to_owned).collect();
    let lost: Vec<&String> = acked.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    assert_eq!(kept.len(), rows.len(), "each once");
    let refused = ledger.refused.into_inner().unwrap();
    let both: Vec<&String> = refused.intersection(&kept).collect();
    assert!(both.is_empty(), "refused and kept: {both:?}");
}

#[test]
fn an_idle_client_is_told_why() {
    let place = Place::with(KEEP);
    let running = place.start();
    let mut five = Client::connect(place.mqtt, "five", 5);
    let mut three = Client::connect(place.mqtt, "three", 4);
    assert_eq!(running.term(), Some(0), "{}", running.stderr());
    let goodbye = five.next(5).expect("a DISCONNECT");
    assert_eq!((goodbye.first, goodbye.body[0]), (0xe0, 0x8b), "{goodbye:x?}");
    assert_eq!(three.next(5), None);
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    // A lane that cannot finish makes the drain take its whole time.
    let place = Place::with(&format!(
        "routes:\n  - {{ name: all, to: [bus] }}\nbackends:\n  bus: {{ kafka: {{ brokers: [\"127.0.0.1:{}\"], topic: nowhere }} }}\n",
        free_port()
    ));
    let running = place.start();
    assert_eq!(running.send("c1", "t").status, 202);
    running.signal("INT");
    eventually("it says that it stops", 5, || running.stderr().contains("stopping").then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    running.signal("INT");
    let status = running.end(5);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(status.code(), Some(130), "{}", running.stderr());
    drop(running);
    let running = place.start();
    eventually("the event waits after the restart", 5, || {
        (running.metrics().sum("anygate_lane_recovered_total", &[("anygate_backend", "bus")]) == 1.0).then_some(())
    });
}

#[test]
fn a_second_gateway_on_the_same_folder_is_refused() {
    let place = Place::with(KEEP);
    let running = place.start();
    let other = place.spawn();
    let status = other.end(10);
    assert_ne!(status.code(), Some(0));
    let said = other.stderr();
    assert!(said.contains(&running.pid().to_string()), "it names the process: {said}");
    assert!(said.contains("data"), "and the folder: {said}");
    assert_eq!(running.send("s1", "t").status, 202, "the first one goes on");
}

#[test]
fn an_address_in_use_is_said_plainly() {
    let place = Place::with(KEEP);
    let taken = std::net::TcpListener::bind(("127.0.0.1", place.http)).unwrap();
    let running = place.spawn();
    assert_eq!(running.end(10).code(), Some(1));
    let said = running.stderr();
    assert!(said.contains(&place.http.to_string()) && said.contains("web"), "{said}");
    drop(taken);
}

#[test]
fn a_folder_that_cannot_be_used_is_said_plainly() {
    let place = Place::with(KEEP);
    std::fs::write(place.data_dir(), "a file in its place").unwrap();
    let running = place.spawn();
    let code = running.end(10).code();
    assert!(matches!(code, Some(1 | 74)), "{code:?}");
    let said = running.stderr();
    assert!(said.contains(place.data_dir().to_str().unwrap()) && !said.contains("panicked"), "{said}");
}

#[test]
fn a_damaged_log_is_refused_with_what_to_do() {
    let place = Place::with(KEEP);
    let running = place.start();
    assert_eq!(running.send("b1", "t").status, 202);
    assert_eq!(running.term(), Some(0));
    drop(running);
    for slot in ["meta.0", "meta.1"] {
        let file = place.data_dir().join(slot);
        if file.exists() {
            std::fs::write(file, vec![0xaa; 4096]).unwrap();
        }
    }
    let running = place.spawn();
    let code = running.end(10).code();
    assert!(matches!(code, Some(1 | 74)), "{code:?}");
    let said = running.stderr();
    assert!(said.contains("meta") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_drain_delay_says_not_ready_and_still_takes_messages() {
    let place = Place::with(KEEP);
    let text = std::fs::read_to_string(&place.config)
        .unwrap()
        .replace("drain_timeout: 5s", "drain_timeout: 5s, drain_delay: 4s");
    std::fs::write(&place.config, text).unwrap();
    let running = place.start();
    running.signal("TERM");
    eventually("it says that it is not ready", 4, || (running.admin("/readyz").status == 503).then_some(()));
    let text = running.admin("/readyz").text();
    assert!(text.contains("shutting_down"), "{text}");
    assert_eq!(running.send("late", "t").status, 202, "a load balancer has not seen it yet");
    assert_eq!(running.end(20).code(), Some(0), "{}", running.stderr());
    drop(running);
    assert_eq!(place.start().rows_at_least(1).ids(), ["late"]);
}

#[test]
fn a_stop_goes_by_the_times_of_the_last_reload() {
    let place = Place::with(KEEP);
    let running = place.start();
    let text = std::fs::read_to_string(&place.config).unwrap();
    std::fs::write(&place.config, text.replace("drain_timeout: 5s", "drain_timeout: 5s, drain_delay: 15s")).unwrap();
    crate::reload::applied(&running);
    running.signal("TERM");
    eventually("it says that it is not ready", 10, || (running.admin("/readyz").status == 503).then_some(()));
    assert_eq!(running.send("late", "t").status, 202, "the delay came with the reload");
    assert_eq!(running.end(60).code(), Some(0), "{}", running.stderr());
}

#[test]
fn a_request_in_flight_is_answered_and_its_connection_closed() {
    let place = Place::with(KEEP);
    let running = place.start();
    let mut half = Connection::open(place.http);
    half.write(
        b"POST /events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\n12345",
    );
    let mut idle = Connection::open(place.http);
    assert_eq!(idle.post("/events", &[("content-type", "text/plain")], b"x").status, 202);
    running.signal("TERM");
    eventually("it stops", 5, || running.stderr().contains("stopping").then_some(()));
    half.write(b"67890");
    let answer = half.answer().expect("an answer");
    assert!(answer.status == 202 || answer.failure() == "shutting_down", "a definite answer: {answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert!(idle.answer().is_err(), "an idle connection is closed");
    assert_eq!(running.end(20).code(), Some(0), "{}", running.stderr());
}
