//! The MQTT suite goes red: against a server that takes everything and closes nothing, and against nobody.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests are read, not linked")]
use conformance::{
    cut::{Cut, Cuts},
    mqtt::{
        MqttSuite,
        needs::{NEEDS, why},
        run_case,
        sequences::{Case, Step},
        table,
        wire::{Packet, Version},
    },
    suite::{CaseResult, Endpoint, Outcome, Suite},
};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// A server that is content with whatever comes: CONNACK first, then an acknowledgement for all that has one.
fn careless(mut stream: TcpStream) {
    let mut chunk = [0; 70_000];
    let mut greeted = false;
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        let packets = Packet::all(&chunk[..count]).unwrap_or_default();
        let mut out = Vec::new();
        for packet in packets {
            if !greeted {
                greeted = true;
                let new = packet.body.get(6) == Some(&5);
                out.extend_from_slice(if new { b"\x20\x03\0\0\0" } else { b"\x20\x02\0\0" });
                continue;
            }
            match packet.kind() {
                3 if packet.first & 2 != 0 => out.extend_from_slice(b"\x40\x02\0\x07"),
                12 => out.extend_from_slice(b"\xd0\0"),
                _ => {}
            }
        }
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn endpoint() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || careless(stream));
        }
    });
    Endpoint {
        address,
        host: "careless".to_owned(),
        credentials: None,
        patience: Duration::from_millis(400),
        cut: Cut::default(),
    }
}

#[test]
fn a_server_that_takes_everything_fails() {
    let mut results: Vec<CaseResult> = Vec::new();
    let rows: BTreeSet<&str> = table::rows().map(|row| row.name).collect();
    MqttSuite.run(&endpoint(), Cuts::None, &|name| rows.contains(name), &mut |result| results.push(result)).unwrap();
    assert_eq!(results.len(), table::rows().count());
    let of = |outcome: fn(&Outcome) -> bool| -> Vec<&str> {
        results.iter().filter(|result| outcome(&result.outcome)).map(|result| &*result.name).collect()
    };
    // What is right without doing anything right: a connection that stays open, and a PUBACK for everything.
    let green = of(|outcome| matches!(outcome, Outcome::Ok));
    assert_eq!(green, ["M20.5", "M21a.3", "M21b.3", "M34c.5", "M34c.3", "M36.3"], "{results:#?}");
    let unseen = of(|outcome| matches!(outcome, Outcome::NotApplicable(_)));
    assert_eq!(unseen, ["M18", "M31.5", "M31.3", "M36.5", "M39.5", "M39.3", "M40"], "{results:#?}");
}

fn case(title: &str, sent: &[u8], expected: &[u8], closes: bool) -> Case {
    let mut steps = vec![Step::Send(sent.to_vec())];
    if !expected.is_empty() {
        steps.push(Step::Receive(expected.to_vec()));
    }
    Case { name: "X.1".to_owned(), title: title.to_owned(), connect: Some(Version::V5), steps, closes }
}

#[test]
fn sequences_are_judged() {
    let endpoint = endpoint();
    let outcome = |case: &Case| run_case(case, &endpoint, Cuts::None).outcome;
    let publish = b"\x32\x06\0\x01t\0\x07\0";
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
    assert_eq!(outcome(&case("taken", publish, b"\x40\x03\0\x07\x10", false)), Outcome::Ok, "a reason below 0x80");
    assert!(failed(&outcome(&case("another identifier", publish, b"\x40\x02\0\x08", false))));
    assert!(failed(&outcome(&case("must close", b"\x36\x03\0\x01t", b"\xe0\x01\x81", true))));
    assert!(failed(&outcome(&case("must close silently", b"\x36\x03\0\x01t", b"", true))));
    let control = case("30 topic with U+001F", publish, b"\x40\x02\0\x07", true);
    assert_eq!(outcome(&control), Outcome::Ok, "the specification leaves the choice");
    let own = case("v5.0 PUBLISH ALLOWED PROPERTIES · subscription-identifier=1", publish, b"\x40\x02\0\x07", false);
    assert!(failed(&outcome(&own)), "mosquitto takes it, the specification forbids it");
    let (_, titles) = NEEDS[0];
    let subscribe = case(titles[0], b"\x82\x06\0\x01\0\0\x01t\0", b"\x90\x04\0\x01\0\0", false);
    assert!(why(&subscribe).is_some());
    assert!(failed(&outcome(&subscribe)), "it is on the list, but silence declines nothing");
}

/// The careless server forgets what is no whole packet: it is right in one piece only.
#[test]
fn a_server_that_needs_whole_packets_fails_when_they_are_cut() {
    // Enough for the server's thread to read the first piece by itself.
    let endpoint = Endpoint { cut: Cut::apart(Duration::from_millis(200)), ..endpoint() };
    let puback = case("taken", b"\x32\x06\0\x01t\0\x07\0", b"\x40\x02\0\x07", false);
    let whole = run_case(&puback, &endpoint, Cuts::None);
    assert_eq!((whole.outcome, whole.asked), (Outcome::Ok, 1));
    for (cuts, asked) in [(Cuts::Once, 2), (Cuts::Every, 8)] {
        let result = run_case(&puback, &endpoint, cuts);
        assert_eq!(result.asked, asked, "{cuts:?}");
        let Outcome::Failed { seen, .. } = result.outcome else { panic!("{cuts:?}: {result:?}") };
        assert!(seen.contains("with a cut after byte "), "{seen}");
    }
}

#[test]
fn nobody_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Endpoint {
        address: free,
        host: "nobody".to_owned(),
        credentials: None,
        patience: Duration::from_secs(1),
        cut: Cut::default(),
    };
    assert!(MqttSuite.run(&nobody, Cuts::None, &|_| true, &mut |_| {}).is_err());
}

#[test]
fn names_are_unique() {
    let names: Vec<_> = table::rows().map(|row| row.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}
