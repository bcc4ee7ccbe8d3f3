//! The HTTP table of `anygate conform http` against the real binary: every row, with and without credentials.
use crate::harness::{free_port, gateway::Place};
use serde_json::Value;
use std::process::Output;

/// Short deadlines, so that the rows that wait for them do not wait long.
const CONFIG: &str = r#"version: 1
node: { data_dir: "${DATA_DIR:?}", drain_timeout: 5s }
admin: { listen: "127.0.0.1:${ADMIN_PORT:?}" }
listeners:
  web:
    http:
      listen: "127.0.0.1:${HTTP_PORT:?}"
      limits: { header_timeout: 3s, body_timeout: 4s, idle_timeout: 30s, write_timeout: 3s }
      auth: ${AUTH:?}
auth:
  shared: { token: { secret: { env: TEST_TOKEN } } }
routes:
  - { name: all, to: [keep] }
backends:
  keep: { store: {} }
"#;

fn place(auth: &str) -> Place {
    // The listener's auth is written into the text, so that `none` and a name are both what the grammar has.
    let place = Place::new(&CONFIG.replace("${AUTH:?}", auth)).env("TEST_TOKEN", "s3cret");
    place.file("credentials", "s3cret\n")
}

fn conform(place: &Place, port: u16, more: &[&str]) -> (Output, Vec<Value>) {
    let target = format!("http://127.0.0.1:{port}");
    let arguments = [["conform", "http", "--target", &target, "--patience", "60", "--json"].as_slice(), more].concat();
    let output = place.output(&arguments);
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, lines)
}

/// Runs the suite and compares the count; rows that failed are in the message.
#[track_caller]
fn assert_count(place: &Place, more: &[&str], ok: usize, not_applicable: &[&str]) {
    let (output, lines) = conform(place, place.http, more);
    let with = |outcome: &str| lines.iter().filter(|line| line["outcome"] == outcome).collect::<Vec<_>>();
    assert!(with("failed").is_empty(), "{:#?}", with("failed"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let skipped: Vec<&str> = with("not_applicable").iter().filter_map(|line| line["case"].as_str()).collect();
    assert_eq!(skipped, not_applicable);
    assert_eq!(with("ok").len(), ok);
    let count = lines.last().unwrap();
    assert_eq!((&count["cases"], &count["ok"], &count["failed"]), (&62.into(), &ok.into(), &0.into()), "{count}");
}

#[test]
fn every_row_of_the_http_table() {
    let place = place("none");
    let running = place.start();
    assert_count(&place, &[], 60, &["H23", "H44"]);
    assert_eq!(running.term(), Some(0));
}

#[test]
fn every_row_of_the_http_table_with_credentials() {
    let place = place("shared");
    let running = place.start();
    assert_count(&place, &["--credentials", "credentials"], 61, &["H44"]);
    // Without them the table is red: the suite can fail.
    let (output, lines) = conform(&place, place.http, &["--case", "H25"]);
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    assert_eq!(lines[0]["outcome"], "failed");
    assert!(lines[0]["seen"].as_str().is_some_and(|seen| seen.starts_with("401 ")), "{lines:?}");
    drop(running);
}

/// Each row once more for every byte, sent in two pieces that are cut behind it (long rows at some places, rows that wait for a
/// deadline at one).
#[test]
fn a_cut_changes_no_answer() {
    let place = place("none");
    let running = place.start();
    let (output, lines) = conform(&place, place.http, &["--cut", "every"]);
    let failed: Vec<&Value> = lines.iter().filter(|line| line["outcome"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = |case: &str| lines.iter().find(|line| line["case"] == case).unwrap()["asked"].as_u64().unwrap();
    assert!(lines.last().unwrap()["asked"].as_u64() >= Some(10_000), "{:?}", lines.last());
    assert!(asked("H08") > 80 && asked("H30") == 2 && asked("H44") == 0, "every byte, one cut, none");
    assert_eq!(running.term(), Some(0));
}

#[test]
fn an_endpoint_that_is_not_there_is_exit_3_and_wrong_usage_exit_2() {
    let place = place("none");
    let (output, _) = conform(&place, free_port(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    for wrong in [["--case", "H99"].as_slice(), &["--target", "http://192.0.2.1"], &["--credentials", "nowhere"]] {
        let target = ["conform", "http", "--target", "http://127.0.0.1:1"];
        let base = if wrong[0] == "--target" { &target[..2] } else { &target[..] };
        let output = place.output(&[base, wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
