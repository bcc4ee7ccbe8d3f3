//! The demo's figures against each other, and `send` and `bench` as commands against a gateway in this process.
#![allow(clippy::unwrap_used)]
use gateway::{
    cli::demo::{Options, held::Difference, play, report::Report, screen::Form, stage::Folder},
    config,
    runtime::Gateway,
};
use serde_json::Value;
use std::{path::Path, process::Command, time::Duration};

fn options(seconds: u64, keep: Option<&Path>, form: Form) -> Options {
    Options { lasts: Duration::from_secs(seconds), keep: keep.map(Path::to_path_buf), form }
}

/// Ledger, stores, dead letters and metrics are four accounts of the same events.
fn check_laws(report: &Report) {
    let (all, held, counts) = (&report.all, &report.held, report.held.counts);
    let told = format!("{}\n{counts:?}", report.json());
    assert_eq!(report.difference, Difference::default(), "{told}");
    assert_eq!((all.unknown, all.lost, held.pending), (0, 0, 0), "{told}");
    assert!(report.sums_agree() && report.agrees(), "{told}");
    assert_eq!(all.sent, all.acked_all() + all.refused_all(), "{told}");
    // The door's law, and the door against the ledger. What a listener refuses itself never was an event.
    assert_eq!(counts.received, counts.refused + counts.dropped + counts.duplicate + counts.kept, "{told}");
    assert_eq!(counts.received + counts.at_listener, all.sent, "{told}");
    assert_eq!(counts.refused + counts.at_listener, all.refused_all(), "{told}");
    assert_eq!(counts.kept, all.acked_all(), "{told}");
    // Between door and lanes, and the lanes against what is held.
    assert_eq!(counts.targeted, counts.entered, "{told}");
    assert_eq!(counts.entered, held.stored + held.alarms + held.dead_all(), "{told}");
    assert_eq!(counts.delivered, held.stored + held.alarms, "{told}");
}

#[test]
fn the_demo_agrees_with_itself() {
    let mut written = Vec::new();
    let report = play(&options(4, None, Form::Plain), &mut written).unwrap();
    check_laws(&report);
    for sums in &report.by_protocol {
        assert!(sums.messages >= 10, "every sender sends: {:?}", report.by_protocol);
    }
    assert!(report.all.messages >= 60, "about 30 a second: {}", report.all.messages);
    let text = String::from_utf8(written).unwrap();
    assert!(text.contains("http://127.0.0.1:") && text.contains("mqtt://127.0.0.1:"), "{text}");
    assert!(text.contains("they agree, message by message."), "{text}");
    assert!(text.contains("readings → events") && text.contains("trace "), "{text}");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
    let folder = text.lines().find_map(|line| line.trim().strip_prefix("data   ")?.split(' ').next()).unwrap();
    assert!(!Path::new(folder).exists(), "{folder} was left behind");
}

#[test]
fn a_kept_demo_can_be_looked_at() {
    let folder = std::env::temp_dir().join(format!("anygate-demo-test-{}", std::process::id()));
    let mut written = Vec::new();
    let report = play(&options(2, Some(&folder), Form::Json), &mut written).unwrap();
    check_laws(&report);
    let lines: Vec<Value> =
        String::from_utf8(written).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["demo"]["http"].is_string(), "{}", lines[0]);
    let answers = lines.iter().filter(|line| line["verdict"].is_string()).count();
    assert_eq!(u64::try_from(answers).unwrap(), report.all.messages, "JSON has every message");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["agrees"], &summary["stored"]),
        (&Value::from(true), &Value::from(report.held.stored)),
        "{summary}"
    );
    let checked = config::check_file(&folder.join("anygate.yaml"), &|_| None);
    assert!(!checked.has_errors(), "{}", checked.render(false));
    assert!(folder.join("data/store/events.db").exists());
    // A second demo must not mix its data with these.
    assert!(play(&options(1, Some(&folder), Form::Json), &mut Vec::new()).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A gateway with the demo's config.
struct Stage {
    gateway: Option<Gateway>,
    _folder: Folder,
}

impl Stage {
    fn new() -> Stage {
        let folder = Folder::make(None).unwrap();
        Stage { gateway: Some(folder.start().unwrap()), _folder: folder }
    }

    fn url(&self, kind: &str) -> String {
        let listeners = &self.gateway.as_ref().unwrap().listeners;
        format!("{kind}://{}", listeners.iter().find(|listener| listener.kind == kind).unwrap().address)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.gateway.take().unwrap().stop();
    }
}

/// Runs the command; its exit code and what it wrote to stdout.
fn anygate(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_anygate")).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn anygate_json(arguments: &[&str]) -> (i32, Value) {
    let (exit, text) = anygate(&[arguments, &["--json"]].concat());
    (exit, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}")))
}

#[test]
fn send_prints_the_verdict() {
    let stage = Stage::new();
    let (http, mqtt) = (stage.url("http"), stage.url("mqtt"));
    let (exit, text) = anygate(&["send", "http", "{\"total\":9}", "--type", "com.acme.order.created", "--url", &http]);
    assert_eq!(exit, 0, "{text}");
    assert!(
        text.starts_with("durable  event ") && text.contains("202 after ") && text.contains("anygate trace "),
        "{text}"
    );
    let (exit, said) =
        anygate_json(&["send", "http", "{\"total\":", "--content-type", "application/json", "--url", &http]);
    assert_eq!((exit, &said["verdict"], &said["failure"]), (1, &"refused".into(), &"malformed".into()), "{said}");
    let topic = "sensors/hh/7/temperature";
    for version in ["5", "3.1.1"] {
        let (exit, said) =
            anygate_json(&["send", "mqtt", topic, "{\"celsius\":21.5}", "--version", version, "--url", &mqtt]);
        assert_eq!((exit, &said["verdict"], &said["answer"]), (0, &"receipt".into(), &"puback 0x00".into()), "{said}");
    }
    let (exit, said) = anygate_json(&["send", "mqtt", topic, "{\"celsius\":\"warm\"}", "--url", &mqtt]);
    assert_eq!(
        (exit, &said["failure"], &said["answer"]),
        (1, &"schema_invalid".into(), &"puback 0x99".into()),
        "{said}"
    );
    assert_eq!(anygate(&["send", "mqtt", topic, "x", "--url", "mqtt://127.0.0.1:1"]).0, 3);
    assert_eq!(anygate(&["send", "http", "x", "--url", "http://127.0.0.1:1"]).0, 3);
    assert_eq!(anygate(&["send", "mqtt", topic, "x", "--version", "3.1.1", "--prop", "a=b", "--url", &mqtt]).0, 2);
}

#[test]
fn the_own_trace_is_the_one_that_the_gateway_knows() {
    let stage = Stage::new();
    let mut known = Vec::new();
    for (kind, rest) in [("http", vec!["{}"]), ("mqtt", vec!["sensors/hh/7/temperature", "{\"celsius\":1}"])] {
        let url = stage.url(kind);
        let (_, said) = anygate_json(&[&["send", kind][..], &rest, &["--url", &url]].concat());
        known.push(said["trace_id"].as_str().unwrap().to_owned());
    }
    let ring = &stage.gateway.as_ref().unwrap().shared().ring;
    for trace in known {
        assert_eq!(ring.find(&trace).len(), 1, "{trace}");
    }
}

#[test]
fn bench_counts_every_answer() {
    let stage = Stage::new();
    let (http, mqtt) = (stage.url("http"), stage.url("mqtt"));
    let runs: [&[&str]; 4] = [
        &["http", "--url", &http, "--connections", "8"],
        &["http", "--url", &http, "--connections", "2", "--batch", "10"],
        &["mqtt", "--url", &mqtt, "--connections", "8"],
        &["mqtt", "--url", &mqtt, "--connections", "8", "--version", "3.1.1", "--in-flight", "4"],
    ];
    for run in runs {
        let (exit, report) = anygate_json(&[&["bench"][..], run, &["--rate", "500/s", "--for", "2s"]].concat());
        assert_eq!(exit, 0, "{run:?}: {report}");
        let number = |name: &str| report[name].as_u64().unwrap();
        // The machine may be busy; but what was due was sent, or is said to be behind.
        assert_eq!(number("sent") + number("behind"), 1_000, "{run:?}: {report}");
        assert!(number("sent") >= 500, "{run:?}: {report}");
        assert_eq!(number("acked"), number("sent"), "{run:?}: {report}");
        assert!(report["ms"]["p50"].as_f64().unwrap() > 0.0, "{run:?}: {report}");
    }
    assert_eq!(anygate(&["bench", "http", "--url", "http://127.0.0.1:1"]).0, 3);
    assert_eq!(anygate(&["bench", "http", "--url", "http://192.0.2.1:80"]).0, 2, "not on loopback");
}
