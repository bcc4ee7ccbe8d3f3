//! The words over HTTP, with our bytes, curl and Python's http.client.
use super::{Case, borrowed, cases, entry, prime, words};
use crate::harness::{clients, http::Answer, services::tests};
use serde_json::{Value, json};
use std::process::Command;

#[track_caller]
fn check_http(case: &Case, answer: &Answer) {
    let (status, _, retryable) = entry(case.word);
    assert_eq!(answer.status, status, "{}: {}", case.word, answer.text());
    if status < 300 {
        let body = answer.json();
        assert!(body.get("failure").is_none(), "{}: {body}", case.word);
        return;
    }
    assert_eq!(answer.failure(), case.word);
    let body = answer.json();
    assert_eq!(body["status"].as_u64(), Some(u64::from(status)), "{body}");
    assert!(
        ["type", "title", "detail"].iter().all(|member| body[member].as_str().is_some_and(|text| !text.is_empty())),
        "{body}"
    );
    assert_eq!(answer.header("retry-after").is_some(), retryable && [429, 503].contains(&status), "{answer:?}");
}

#[test]
fn over_http() {
    let place = words();
    let running = place.start();
    prime(&running);
    for case in cases() {
        let headers = case.headers(case.word);
        let answer = running.post("/events", &borrowed(&headers), &case.body);
        check_http(&case, &answer);
    }
    let bad = running.post("/events", &borrowed(&cases()[4].headers("p")), "{\"celsius\":\"warm\"}").json();
    assert!(bad["detail"].as_str().unwrap().contains("/celsius"), "the detail names the pointer: {bad}");
    assert_eq!(running.settled("good"), ["the-first"], "nothing of the refused was kept");
}

#[test]
fn over_http_with_curl_and_python() {
    let place = words();
    let running = place.start();
    prime(&running);
    if clients::has("curl") {
        for case in cases() {
            let body = place.folder().join("body");
            std::fs::write(&body, &case.body).unwrap();
            let headers: Vec<String> = case
                .headers(&format!("curl-{}", case.word))
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            let data = format!("@{}", body.display());
            let mut arguments = vec!["--data-binary", data.as_str()];
            headers.iter().for_each(|header| arguments.extend(["-H", header]));
            let (status, head, text) = clients::curl(place.http, "/events", &arguments);
            assert_eq!(status, entry(case.word).0, "curl, {}: {text}", case.word);
            if status >= 400 {
                assert!(head.contains("content-type: application/problem+json"), "{head}");
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["failure"], case.word);
            }
        }
    }
    if clients::has_python() {
        let script = "import sys,json;sys.path.insert(0,sys.argv[1])\nfrom common import post,say\nfor line in sys.stdin:\n c=json.loads(line);say(post('127.0.0.1',int(sys.argv[2]),'/events',dict(c['headers']),c['body'].encode()))";
        let input: String = cases()
            .iter()
            .map(|case| {
                format!("{}\n", json!({ "headers": case.headers(&format!("python-{}", case.word)), "body": case.body }))
            })
            .collect();
        let mut command = Command::new(clients::python_program());
        command.args(["-c", script, tests().join("clients").to_str().unwrap(), &place.http.to_string()]);
        for (case, answer) in cases().iter().zip(feed(command, &input)) {
            assert_eq!(answer["status"], entry(case.word).0, "http.client, {}: {answer}", case.word);
            if entry(case.word).0 >= 400 {
                assert_eq!(answer["body"]["failure"], case.word);
            }
        }
    }
}

fn feed(mut command: Command, input: &str) -> Vec<Value> {
    use std::{io::Write, process::Stdio};
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
