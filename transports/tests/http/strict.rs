//! What HTTP forbids is refused, whatever hyper makes of it; paths, methods, the web-hook handshake.
use crate::client::{expected, post, problem, settings, start, start_with, status};
use crate::support::FakeGate;
use schemas::Word;

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

#[tokio::test]
async fn what_hyper_refuses_is_counted() {
    let server = start().await;
    for broken in [
        "\u{1}\u{2}garbage\r\n\r\n",
        "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n",
        "POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST /events HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /events HTTP/1.1\r\nHost : x\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(broken).await;
        assert_eq!(status(&client.answer().await), "400", "{broken:?}");
        assert!(client.is_closed().await, "{broken:?}");
    }
    let large = format!("POST /events HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let mut client = server.connect().await;
    client.send(&large).await;
    assert_eq!(status(&client.answer().await), "431");
    drop(client);
    while server.gate.refused_words().len() < 7 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut words = server.gate.refused_words();
    assert_eq!(words.pop(), Some(Word::TooLarge));
    assert_eq!(words, [Word::ProtocolError; 6]);
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
