//! Health, the guard, status, trace, tail and events.
use crate::harness::*;
use gateway::{
    admin::{status::Status, trace::Traced},
    cli::{
        Exit,
        client::{Admin, AskFault, Style},
        events, tail, trace,
    },
};
use std::fs;

#[test]
fn health_guard_and_faults() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let to = gateway.admin;
    assert_eq!(http(to, "GET", "/livez", &[], ""), (200, "ok\n".to_owned()));
    assert_eq!(http(to, "GET", "/readyz", &[], ""), (200, "ready\n".to_owned()));
    let (code, verbose) = http(to, "GET", "/readyz?verbose", &[], "");
    assert_eq!(code, 200);
    for part in ["listeners", "web", "devices", "lanes", "keep", "well", "journal", "dead letters none", "ready"] {
        assert!(verbose.contains(part), "{part} is missing in {verbose}");
    }
    assert!(http(to, "GET", "/metrics", &[], "").1.contains("# EOF"));
    for (host, expected) in [("localhost:1", 200), ("evil.example", 403), ("127.0.0.1.evil.example:8700", 403)] {
        assert_eq!(http(to, "GET", "/api/status", &[("Host", host)], "").0, expected, "{host}");
    }
    let origin = [("Origin", "http://evil.example"), ("Content-Type", "application/json")];
    assert_eq!(http(to, "POST", "/api/dlq/discard", &origin, "{\"all\":true}").0, 403);
    let fault = |(code, body): (u16, String)| {
        (code, serde_json::from_str::<serde_json::Value>(&body).unwrap()["failure"].as_str().unwrap().to_owned())
    };
    assert_eq!(fault(http(to, "GET", "/no/such", &[], "")), (404, "not_found".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq/replay", &[], "")), (405, "method_not_allowed".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq/77", &[], "")), (404, "not_found".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/dlq?failure=nonsense", &[], "")), (400, "malformed".to_owned()));
    assert_eq!(fault(http(to, "GET", "/api/tail?where=type%20LIKE", &[], "")), (400, "malformed".to_owned()));
    let json = [("Content-Type", "application/json")];
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &json, "{}")), (400, "malformed".to_owned()));
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &[("Content-Type", "text/plain")], "{\"all\":true}")).0, 415);
    let huge = format!("{{\"failure\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(fault(http(to, "POST", "/api/dlq/discard", &json, &huge)), (413, "too_large".to_owned()));
    gateway.shared().stop();
    let (code, text) = http(to, "GET", "/readyz", &[], "");
    assert_eq!((code, text.contains("shutting_down")), (503, true), "{text}");
    assert_eq!(http(to, "GET", "/livez", &[], "").0, 200);
    assert!(!status(&gateway).ready);
    gateway.stop();
}

#[test]
fn the_token_is_asked_for() {
    let folder = Folder::new();
    let gateway = start(&folder, &Setup { more: ", token: { env: ADMIN_TOKEN }", ..ACME });
    assert_eq!(http(gateway.admin, "GET", "/readyz", &[], "").0, 200);
    assert_eq!(http(gateway.admin, "GET", "/metrics", &[], "").0, 401);
    let Err(fault) = client(&gateway).get::<Status>("/api/status") else { panic!("no token was asked for") };
    assert!(matches!(&fault, AskFault::Refused { fault, .. } if fault.failure == "unauthenticated"), "{fault:?}");
    assert_eq!(fault.tell(), Exit::Faults);
    let file = folder.0.join("token");
    fs::write(&file, "s3cret\n").unwrap();
    let with = Admin { token_file: Some(file), ..admin(&gateway) };
    with.client().unwrap().get::<Status>("/api/status").unwrap();
    gateway.stop();
}

#[test]
fn trace_and_events_and_status() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let trace_id = send(&gateway, "order 1/a", "com.acme.order.created");
    let traced: Traced = eventually("the delivery", || {
        let traced: Traced = client(&gateway).get(&format!("/api/trace/{}", &trace_id[..8])).unwrap();
        (!traced.events[0].deliveries.is_empty()).then_some(traced)
    });
    let event = &traced.events[0];
    assert_eq!((event.id.as_str(), event.trace_id.as_str()), ("order 1/a", trace_id.as_str()));
    assert_eq!((event.listener.as_str(), event.protocol.as_str(), event.version.as_str()), ("web", "http", "1.1"));
    assert_eq!((event.routes[0].matched, event.routes[1].matched), (Some(false), Some(true)));
    assert!(event.routes[0].why.contains("EXISTS severity"), "{}", event.routes[0].why);
    assert!(event.lsn > 0 && event.waits_for.is_empty());
    assert_eq!(event.answered.as_ref().unwrap().verdict, "durable");
    assert_eq!(event.deliveries[0].backend, "keep");
    let text = trace::render(&traced, Style::plain());
    for part in [
        "received",
        "web · http 1.1",
        "alarms no: EXISTS severity",
        "acme yes",
        "journal at lsn",
        "answered",
        "delivered",
        "keep",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // By the event's id, which needs escapes in a path.
    let by_id: Traced =
        client(&gateway).get(&format!("/api/trace/{}", gateway::cli::client::escaped("order 1/a"))).unwrap();
    assert_eq!(by_id.events.len(), 1);
    let Err(AskFault::Refused { fault, .. }) = client(&gateway).get::<Traced>("/api/trace/nobody") else {
        panic!("found nobody")
    };
    assert_eq!(fault.failure, "not_found");

    let now = status(&gateway);
    assert!(now.ready && now.lanes[0].trouble.is_none());
    assert_eq!((now.lanes[0].backend.as_str(), now.lanes[0].delivered, now.routes[1].matched), ("keep", 1, 1));
    assert_eq!(now.listeners.iter().find(|one| one.name == "web").unwrap().received, 1);
    laws_at_rest(&gateway);
    gateway.stop();

    // The store is read without a gateway, and `trace` after a restart tells what is still known.
    let rows = stored(&folder, STORE);
    assert_eq!((rows[0]["id"].as_str(), rows[0]["anygatelistener"].as_str()), (Some("order 1/a"), Some("web")));
    assert_eq!(rows[0]["data"]["total"], 5);
    let gateway = start(&folder, &ACME);
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert!(traced.events.is_empty());
    assert_eq!(
        (traced.stores[0].backend.as_str(), traced.stores[0].id.as_str(), traced.stores[0].route.as_str()),
        ("keep", "order 1/a", "acme")
    );
    assert!(trace::render(&traced, Style::plain()).contains("store     keep"));
    gateway.stop();
    let none = events::Events { store: Some(folder.0.join("none.db")), ..events::Events::default() };
    assert_eq!(none.each(&mut |_| true), Err(Exit::Faults));
}

#[test]
fn events_filters() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let traces: Vec<String> = (0..5)
        .map(|n| send(&gateway, &format!("e{n}"), if n % 2 == 0 { "com.acme.even" } else { "com.acme.odd" }))
        .collect();
    laws_at_rest(&gateway);
    let ids = |query: &events::Events| {
        let mut ids = Vec::new();
        query
            .each(&mut |event| {
                ids.push(event.envelope.id().to_owned());
                true
            })
            .unwrap();
        ids
    };
    let store = || events::Events { store: Some(folder.0.join(STORE)), ..events::Events::default() };
    assert_eq!(ids(&store()), ["e0", "e1", "e2", "e3", "e4"]);
    assert_eq!(ids(&events::Events { limit: Some(2), ..store() }), ["e3", "e4"]);
    assert_eq!(ids(&events::Events { predicate: Some("type = 'com.acme.odd'".to_owned()), ..store() }), ["e1", "e3"]);
    assert_eq!(ids(&events::Events { trace: Some(traces[2].clone()), ..store() }), ["e2"]);
    assert_eq!(ids(&events::Events { trace: Some(traces[3][..10].to_owned()), ..store() }), ["e3"]);
    assert_eq!(ids(&events::Events { since: Some("1h".to_owned()), ..store() }).len(), 5);
    let bad = events::Events { predicate: Some("type =".to_owned()), ..store() };
    assert_eq!(bad.each(&mut |_| true), Err(Exit::Usage));
    gateway.stop();
}

#[test]
fn tail_shows_what_fits() {
    let folder = Folder::new();
    let gateway = start(&folder, &ACME);
    let tail = tail::Tail {
        predicate: Some("type LIKE '%.wanted'".to_owned()),
        json: true,
        limit: Some(2),
        admin: admin(&gateway),
    };
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        tail.follow(&mut |line| {
            lines.push(serde_json::from_str::<serde_json::Value>(line).unwrap());
            true
        })
        .unwrap();
        lines
    });
    let mut sent = 0;
    eventually("the tail's end", || {
        send(&gateway, &format!("a{sent}"), "com.acme.other");
        send(&gateway, &format!("b{sent}"), "com.acme.wanted");
        sent += 1;
        reader.is_finished().then_some(())
    });
    let lines = reader.join().unwrap();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!((line["type"].as_str(), line["anygatelistener"].as_str()), (Some("com.acme.wanted"), Some("web")));
        assert_eq!(line["data"]["total"], 5);
    }
    gateway.stop();
}

#[test]
fn a_lane_in_trouble_is_named_and_does_not_make_it_unready() {
    let folder = Folder::new();
    // A store whose folder is a file can never be opened: the place is wrong.
    fs::write(folder.0.join("file"), "").unwrap();
    let gateway = start(&folder, &Setup { store: ", path: file/keep.db", ..ACME });
    let trace_id = send(&gateway, "order-1", "com.acme.order.created");
    let lane = eventually("the trouble", || status(&gateway).lanes.into_iter().find(|lane| lane.trouble.is_some()));
    let trouble = lane.trouble.unwrap();
    assert!(
        trouble.destination && trouble.why.contains("folder") && trouble.what_to_do.contains("mend"),
        "{trouble:?}"
    );
    assert_eq!((lane.pending, lane.oldest.is_some()), (1, true));
    let (code, verbose) = http(gateway.admin, "GET", "/readyz?verbose", &[], "");
    assert!(code == 200 && verbose.contains("TROUBLE") && verbose.contains("since"), "{verbose}");
    let traced: Traced = client(&gateway).get(&format!("/api/trace/{trace_id}")).unwrap();
    assert_eq!(traced.events[0].waits_for, ["keep"]);
    assert!(letters(&gateway).is_empty(), "a wrong place never makes dead letters");
    gateway.stop();
    // After a restart only the journal knows of it.
    let gateway = start(&folder, &Setup { store: ", path: file/keep.db", ..ACME });
    let traced: Traced = client(&gateway).get("/api/trace/order-1").unwrap();
    assert_eq!(
        (traced.events.len(), traced.journal[0].trace_id.as_str(), traced.journal[0].waits_for.len()),
        (0, trace_id.as_str(), 1)
    );
    gateway.stop();
}
