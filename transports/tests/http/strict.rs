//! What HTTP forbids is refused, whatever hyper makes of it; paths, methods, the web-hook handshake.
use crate::client::{PATIENCE, expected, post, problem, settings, start, start_with, status};
use crate::support::{Answer, FakeGate, receipt};
use schemas::{Verdict, Word};
use std::time::Duration;
use transports::Gate;

#[tokio::test]
async fn paths_and_methods() {
    let server = start().await;
    let nothing = problem("404 Not Found", "", "not_found", "only /events and /events/{type} are served here", "");
    for path in ["/", "/events/a/b", "/events/", "/metrics", "/livez"] {
        assert_eq!(server.ask(&post(path, "", "")).await, nothing, "{path}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer = server.ask(&format!("{method} /events HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let detail = format!("{method} is not taken here");
        assert_eq!(
            answer,
            problem("405 Method Not Allowed", "allow: POST, OPTIONS\r\n", "method_not_allowed", &detail, "")
        );
    }
    let mut client = server.connect().await;
    client.send("HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&client.answer_to("HEAD").await), "405");
    assert_eq!(status(&server.ask(&post("/events/%zz", "", "")).await), "400");
    assert!(server.gate.seen().is_empty());
}

#[tokio::test]
async fn the_web_hook_handshake() {
    let server = start().await;
    let asked = "OPTIONS /events HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: eventemitter.example.com\r\nWebHook-Request-Rate: 120\r\n\r\n";
    let headers =
        "allow: POST, OPTIONS\r\nwebhook-allowed-origin: eventemitter.example.com\r\nwebhook-allowed-rate: *\r\n";
    assert_eq!(server.ask(asked).await, expected("200 OK", headers, ""));
    let plain = "OPTIONS /events/x HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(server.ask(plain).await, expected("200 OK", "allow: POST, OPTIONS\r\n", ""));
    assert!(server.gate.refused_words().is_empty());
}

#[tokio::test]
async fn broken_heads_are_400_and_close() {
    let server = start().await;
    for (head, why) in [
        ("POST /events HTTP/1.1\r\n", "no Host"),
        ("POST /events HTTP/1.1\r\nHost: x\r\nHost: x\r\n", "two Hosts"),
        ("POST /events HTTP/1.1\r\nHost: a b\r\n", "a Host that is none"),
        ("POST /events HTTP/1.1\r\nHost: u@x\r\n", "user information"),
        ("POST http://other/events HTTP/1.1\r\nHost: x\r\n", "another authority"),
        ("POST http://x:8080/events HTTP/1.1\r\nHost: x\r\n", "another port"),
        ("POST http://u:p@x/events HTTP/1.1\r\nHost: x\r\n", "user information in the target"),
        (
            "POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "two Transfer-Encodings",
        ),
        ("POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n", "two Content-Types"),
        ("POST /events HTTP/1.0\r\nHost: x\r\nHost: x\r\n", "two Hosts in HTTP/1.0"),
    ] {
        let mut client = server.connect().await;
        client.send(format!("{head}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(status(&answer), "400", "{why}");
        assert!(answer.contains("\"failure\":\"protocol_error\""), "{why}: {answer}");
        assert!(client.is_closed().await, "{why}");
    }
    assert_eq!(server.gate.refused_words(), [Word::ProtocolError; 10]);
    for fine in [
        "POST http://X/events HTTP/1.1\r\nHost: x:80\r\nContent-Length: 0\r\n",
        "POST /events HTTP/1.0\r\nContent-Length: 0\r\n",
        "POST /events HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n",
        "POST /events HTTP/1.1\r\nHost: [::1]:80\r\n",
    ] {
        assert_eq!(status(&server.ask(&format!("{fine}\r\n")).await), "202", "{fine}");
    }
}

const HEAD: &str = "POST /events HTTP/1.1\r\nHost: x\r\n";

/// Requests that the guard refuses: what comes, the status, the failure word.
fn broken() -> Vec<(String, &'static str, &'static str)> {
    let with = |headers: &str| format!("{HEAD}{headers}\r\n");
    let chunked = |body: &str| format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}");
    let protocol = |bytes: String| (bytes, "400", "protocol_error");
    vec![
        protocol("\u{1}\u{2}garbage\r\n\r\n".to_owned()),
        protocol("POST /events HTTP/1.1\nHost: x\n\n".to_owned()),
        protocol("POST /events HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("POST /events HTTP/2.0\r\n\r\n".to_owned(), "505", "protocol_error"),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "405", "method_not_allowed"),
        protocol(with("Content-Length: 1\r\nContent-Length: 2\r\n")),
        protocol(with("Content-Length: 2\r\nContent-Length: 2\r\n") + "{}"),
        protocol(with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        protocol(with("Content-Length: +3\r\n") + "abc"),
        protocol(with("Transfer-Encoding: xchunked\r\n")),
        (with("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n", "501", "protocol_error"),
        protocol(with("X : 1\r\n")),
        protocol(with("X: 1\r\n folded\r\n")),
        protocol(with("X: a\rb\r\n")),
        protocol(chunked("3\nabc\n0\n\n")),
        protocol(chunked("3;a\nabc\r\n0\r\n\r\n")),
        protocol(chunked("fffffffffffffffff\r\n")),
        protocol(chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(20_000)))),
        protocol(chunked("2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n")),
        (with(&format!("X: {}\r\n", "x".repeat(40_000))), "431", "too_large"),
        (with(&"X: 1\r\n".repeat(64)), "431", "too_large"),
        (format!("POST /events/{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(60_000)), "414", "too_large"),
    ]
}

#[tokio::test]
async fn the_guard_answers_with_a_problem_and_closes() {
    let server = start().await;
    for (bytes, code, word) in broken() {
        let mut client = server.connect().await;
        client.send(&bytes).await;
        let answer = client.answer().await;
        let shown = &bytes[..bytes.len().min(100)];
        assert_eq!(status(&answer), code, "{shown:?}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{shown:?}: {answer}");
        assert!(answer.contains(&format!("\"failure\":\"{word}\"")), "{shown:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{shown:?}: {answer}");
        assert!(client.is_closed().await, "{shown:?}");
    }
    let words = server.gate.refused_words();
    assert_eq!(words.len(), broken().len(), "each is counted once: {words:?}");
    assert!(server.gate.seen().is_empty());
    assert_eq!(server.gate.budget().used(), 0);
}

#[tokio::test]
async fn answers_of_earlier_requests_leave_before_a_refusal() {
    let server = start().await;
    server.gate.script(|_| {
        let receipt = Box::new(Answer::Now(Verdict::Receipt(receipt("slow"))));
        Answer::After(Duration::from_millis(50), receipt)
    });
    for (bytes, code, _) in broken() {
        let mut client = server.connect().await;
        let good = post("/events", "", "{}");
        client.send(format!("{good}{good}{bytes}{good}")).await;
        for _ in 0..2 {
            assert_eq!(status(&client.answer().await), "202", "{bytes:.100?}");
        }
        assert_eq!(status(&client.answer().await), code, "{bytes:.100?}");
        assert!(client.is_closed().await, "{bytes:.100?}");
    }
}

#[tokio::test]
async fn the_answer_does_not_depend_on_how_the_bytes_were_cut() {
    let server = start().await;
    for (bytes, ..) in broken().into_iter().filter(|(bytes, ..)| bytes.len() < 400) {
        let mut answers = Vec::new();
        for step in [usize::MAX, 1, 13] {
            let mut client = server.connect().await;
            for piece in bytes.as_bytes().chunks(step.min(bytes.len())) {
                // The answer may come before all of it was sent.
                let _closed = tokio::io::AsyncWriteExt::write_all(&mut client.stream, piece).await;
                tokio::task::yield_now().await;
            }
            answers.push(client.answer().await);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{bytes:?}: {answers:?}");
    }
    let good = post("/events", "", "{\"a\":1}");
    for at in 1..good.len() {
        let mut client = server.connect().await;
        client.send(&good[..at]).await;
        tokio::task::yield_now().await;
        client.send(format!("{}{good}", &good[at..])).await;
        for _ in 0..2 {
            assert_eq!(status(&client.answer().await), "202", "cut at {at}");
        }
    }
}

#[tokio::test]
async fn a_long_pipeline_is_answered_in_order() {
    let server = start().await;
    let mut client = server.connect().await;
    let mut count = 0;
    server.gate.script(move |_| {
        count += 1;
        Answer::Now(Verdict::Receipt(receipt(&format!("p-{count}"))))
    });
    let pipeline =
        format!("{}{}", post("/events", "", "{}").repeat(999), "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n");
    let (mut read, mut write) = client.stream.split();
    let sending = tokio::io::AsyncWriteExt::write_all(&mut write, pipeline.as_bytes());
    let reading = async {
        let mut all = Vec::new();
        tokio::time::timeout(PATIENCE * 4, tokio::io::AsyncReadExt::read_to_end(&mut read, &mut all))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8(all).unwrap()
    };
    let (sent, all) = tokio::join!(sending, reading);
    sent.unwrap();
    let mut rest = all.as_str();
    for number in 1..=999 {
        let id = format!("\"id\":\"p-{number}\"");
        let at = rest.find("\"id\":").unwrap();
        assert!(rest[at..].starts_with(&id), "number {number}");
        rest = &rest[at + id.len()..];
    }
    assert!(rest.contains("HTTP/1.1 400 ") && rest.contains("protocol_error"), "{rest}");
}

#[tokio::test]
async fn codings_and_expectations() {
    let server = start().await;
    let expect = server.post("Expect: 200-maybe\r\n", "{}").await;
    let detail = "the only expectation met is 100-continue";
    assert_eq!(status(&expect), "417");
    assert!(expect.contains(detail) && expect.contains("connection: close"), "{expect}");
    let te = server.ask("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(status(&te), "501");
    for coding in ["br", "gzip, gzip"] {
        let answer = server.post(&format!("Content-Encoding: {coding}\r\n"), "{}").await;
        let detail = "one content coding is taken: gzip, zstd or identity";
        assert_eq!(
            answer,
            problem("415 Unsupported Media Type", "accept-encoding: gzip, zstd\r\n", "unsupported_format", detail, "")
        );
    }
}

#[tokio::test]
async fn limits_of_the_head() {
    let server = start_with(FakeGate::new(), settings()).await;
    let headers: String = (0..63).map(|at| format!("x-{at}: 1\r\n")).collect();
    let many = post("/events", &headers, "");
    assert_eq!(status(&server.ask(&many).await), "431", "65 headers");
    let target = format!("/events/{}", "t".repeat(8 * 1024));
    assert_eq!(status(&server.ask(&post(&target, "", "")).await), "414");
    assert_eq!(server.gate.refused_words(), [Word::TooLarge; 2]);
}
