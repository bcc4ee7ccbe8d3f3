//! Bad MQTT against the real binary: mosquitto's raw byte sequences and the table of bad input, whole, cut, and beside good
//! traffic.
use crate::harness::{
    eventually,
    gateway::Place,
    mqtt::{Client, Said},
    skip,
};
use conformance::{
    cut::{Cut, Cuts},
    mqtt::{MqttSuite, needs::NEEDS, run_case, sequences},
    suite::{CaseResult, Endpoint, Outcome, Suite},
};
use std::{
    path::PathBuf,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// mosquitto 2.0.21 has so many sequences,
const SEQUENCES: usize = 1_486;
/// of which so many ask for a subscription or a retained message.
const DECLINED: usize = 60;
/// The table's rows, of which three cannot be seen from outside.
const ROWS: usize = 114;
const UNSEEN: usize = 3;

const STORED: &str = "routes:\n  - { name: all, to: [keep] }\nbackends:\n  keep: { store: {} }\n";

fn folder() -> Option<PathBuf> {
    let folder = crate::architecture::root().join(sequences::FOLDER);
    if folder.is_dir() {
        return Some(folder);
    }
    skip("mosquitto's byte sequences are not here: run tests/setup");
    None
}

fn endpoint(place: &Place) -> Endpoint {
    let address = ([127, 0, 0, 1], place.mqtt).into();
    Endpoint {
        address,
        host: "anygate".to_owned(),
        credentials: None,
        patience: Duration::from_secs(45),
        cut: Cut::default(),
    }
}

fn conform(place: &Place, arguments: &[&str]) -> Output {
    let target = format!("mqtt://127.0.0.1:{}", place.mqtt);
    let mut command = place.command(&[&["conform", "mqtt", "--target", &target], arguments].concat());
    if let Some(folder) = folder() {
        command.env(sequences::VARIABLE, folder);
    }
    command.output().unwrap()
}

fn failures(results: &[CaseResult]) -> Vec<String> {
    let line = |result: &CaseResult| match &result.outcome {
        Outcome::Failed { expected, seen } => {
            Some(format!("{} {}: expected {expected}, seen {seen}", result.name, result.title))
        }
        Outcome::Ok | Outcome::NotApplicable(_) => None,
    };
    results.iter().filter_map(line).collect()
}

#[test]
fn every_sequence_and_row_is_judged_right() {
    let sequences = folder().is_some();
    let place = Place::with(STORED);
    let running = place.start();
    let output = conform(&place, &["--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let failed: Vec<&str> = text.lines().filter(|line| line.contains("\"outcome\":\"failed\"")).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (cases, declined) = if sequences { (SEQUENCES + ROWS, DECLINED + UNSEEN) } else { (ROWS + 1, UNSEEN + 1) };
    assert_eq!(last["cases"], cases, "{last}");
    assert_eq!(last["not_applicable"], declined, "{last}");
    assert_eq!((&last["ok"], &last["failed"]), (&(cases - declined).into(), &0.into()), "{last}");
    drop(running);
    let nobody = conform(&place, &["--case", "M02.5"]);
    assert_eq!(nobody.status.code(), Some(3), "nobody listens any more");
}

/// The list of what may be red is no longer than what is red: each title on it is one.
#[test]
fn nothing_is_on_the_list_that_is_green() {
    let Some(folder) = folder() else { return };
    let place = Place::with(STORED);
    let _running = place.start();
    let cases = sequences::read(&folder).unwrap();
    assert_eq!(cases.len(), SEQUENCES);
    for (need, titles) in NEEDS {
        for title in titles {
            let case = cases.iter().find(|case| case.title == *title).unwrap_or_else(|| panic!("no case {title:?}"));
            let outcome = run_case(case, &endpoint(&place), Cuts::None).outcome;
            assert!(matches!(outcome, Outcome::NotApplicable(_)), "{need:?} {title}: {outcome:?}");
        }
    }
}

/// Each sequence and each row once more for every byte, sent in two pieces that are cut behind it: more than ten times as many.
#[test]
fn a_cut_changes_no_verdict() {
    let sequences = folder().is_some();
    let place = Place::with(STORED);
    let _running = place.start();
    let output = conform(&place, &["--cut", "every", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let failed: Vec<&str> = text.lines().filter(|line| line.contains("\"outcome\":\"failed\"")).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (cases, least) = if sequences { (SEQUENCES + ROWS, 10 * (SEQUENCES + ROWS)) } else { (ROWS + 1, 10 * ROWS) };
    assert_eq!((&last["cases"], &last["failed"]), (&cases.into(), &0.into()), "{last}");
    assert!(last["asked"].as_u64() >= u64::try_from(least).ok(), "{last}");
}

/// All sequences and all rows, while three senders go on with their work: each message of theirs gets its PUBACK, and is kept.
#[test]
fn bad_input_does_not_disturb_good_senders() {
    let place = Place::with(STORED);
    let running = place.start();
    let over = AtomicBool::new(false);
    let (results, sent) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|number| {
                let (port, over) = (place.mqtt, &over);
                scope.spawn(move || good_traffic(port, number, over))
            })
            .collect();
        let mut results = Vec::new();
        let ran = MqttSuite.run(&endpoint(&place), Cuts::None, &|_| true, &mut |result| results.push(result));
        over.store(true, Ordering::Release);
        ran.unwrap();
        let sent: Vec<usize> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        (results, sent)
    });
    assert_eq!(failures(&results), Vec::<String>::new());
    assert!(sent.iter().all(|sent| *sent >= 100), "good senders stood still: {sent:?}");
    let sent: usize = sent.iter().sum();
    let kept = eventually("all good messages are in the store", 60, || {
        let kept = running.rows().0.iter().filter(|row| row.data == GOOD).count();
        (kept >= sent).then_some(kept)
    });
    assert_eq!(kept, sent);
}

/// What a good sender sends.
const GOOD: &[u8] = b"good traffic";

/// Sends until `over`, eight messages at a time and some hundred a second; says how many. All must get a PUBACK of success, in
/// order.
fn good_traffic(port: u16, number: usize, over: &AtomicBool) -> usize {
    const WINDOW: usize = 8;
    let mut client = Client::connect(port, &format!("good-{number}"), if number == 0 { 4 } else { 5 });
    let mut sent = 0;
    while sent < 100 || !over.load(Ordering::Acquire) {
        let ids: Vec<u16> =
            (0..WINDOW).map(|_| client.publish(&format!("good/{number}"), GOOD, &Said::default())).collect();
        for id in ids {
            let answer = client.next(30).expect("a PUBACK");
            assert_eq!(answer.puback(), (id, 0), "sender {number} after {sent}");
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(15));
        if sent % 40_000 == 0 {
            // Packet identifiers begin again.
            client = Client::connect(port, &format!("good-{number}"), if number == 0 { 4 } else { 5 });
        }
    }
    sent
}
