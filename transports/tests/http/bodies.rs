//! Bodies: lengths, chunks, codings, limits, room, and 100-continue.
use crate::{
    client::{post, settings, start, start_with, status},
    support::FakeGate,
};
use schemas::Word;
use std::{io::Write, time::Duration};
use transports::{Gate, http::HttpSettings};

fn chunked(headers: &str, chunks: &[&str]) -> String {
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("POST /events HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
}

#[tokio::test]
async fn lengths_and_chunks() {
    let server = start().await;
    let long = "y".repeat(9_999);
    for (request, payload) in [
        (post("/events", "", ""), ""),
        (post("/events", "", "{}"), "{}"),
        (post("/events", "", &long), long.as_str()),
        (chunked("", &[]), ""),
        (chunked("", &["abc"]), "abc"),
        (chunked("", &["a", "bc", "def"]), "abcdef"),
        (chunked("", &[&long[..5000], &long[5000..]]), long.as_str()),
    ] {
        assert_eq!(status(&server.ask(&request).await), "202");
        let seen = server.gate.seen().pop().unwrap();
        assert_eq!(seen.message.payload, payload);
        assert!(seen.room >= payload.len());
    }
    assert_eq!(server.gate.budget().used(), 0, "all room came back");
}

#[tokio::test]
async fn a_body_in_pieces() {
    let server = start().await;
    let mut client = server.connect().await;
    let body = "z".repeat(5000);
    client.send(&post("/events", "", &body)[..80]).await;
    for piece in post("/events", "", &body).as_bytes()[80..].chunks(700) {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status(&client.answer().await), "202");
    assert_eq!(server.gate.seen()[0].message.payload, body);
}

#[tokio::test]
async fn too_large_before_and_while_reading() {
    let server = start().await;
    let mut client = server.connect().await;
    client.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10001\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(status(&answer), "413", "refused without a byte of the body");
    assert!(answer.contains("connection: close") && answer.contains("\"failure\":\"too_large\""), "{answer}");
    assert!(client.is_closed().await);
    let mut client = server.connect().await;
    client.send(chunked("", &[&"x".repeat(10_001)])).await;
    assert_eq!(status(&client.answer().await), "413");
    assert!(server.gate.seen().is_empty());
    assert_eq!(server.gate.budget().used(), 0);
}

#[tokio::test]
async fn an_early_answer_survives_the_rest_of_the_body() {
    let server = start().await;
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").await;
        for _ in 0..9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            client.send(vec![b'x'; 100_000]).await;
        }
        assert_eq!(status(&client.answer().await), "413", "not a reset");
    }
}

#[tokio::test]
async fn a_refused_body_that_is_there_keeps_the_connection() {
    let server = start().await;
    let mut client = server.connect().await;
    client.send(post("/nowhere", "", "some body")).await;
    let answer = client.answer().await;
    assert!(status(&answer) == "404" && !answer.contains("connection: close"), "{answer}");
    client.send(post("/events", "", "{}")).await;
    assert_eq!(status(&client.answer().await), "202");
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn content_codings() {
    let server = start().await;
    let data = "{\"a\":1}".repeat(1000);
    for (coding, good, bomb) in [
        ("gzip", gzip(data.as_bytes()), gzip(&vec![0; 5_000_000])),
        ("zstd", zstd::encode_all(data.as_bytes(), 3).unwrap(), zstd::encode_all(&vec![0; 5_000_000][..], 3).unwrap()),
    ] {
        assert!(bomb.len() < 10_000, "{coding}: the bomb fits the limit while it is closed");
        let mut client = server.connect().await;
        for (body, code) in [(&good[..], "202"), (&bomb[..], "413"), (&good[..good.len() - 1], "400")] {
            let head = format!(
                "POST /events HTTP/1.1\r\nHost: x\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            client.send([head.as_bytes(), body].concat()).await;
            assert_eq!(status(&client.answer().await), code, "{coding}");
        }
        assert_eq!(server.gate.seen().pop().unwrap().message.payload, data);
    }
    assert_eq!(server.gate.budget().used(), 0);
}

#[tokio::test]
async fn bytes_after_the_last_answer_do_not_lose_it() {
    let server = start().await;
    for body in ["{}trailing bytes", "{}POST /events HTTP/1.1\r\n"] {
        let answer = server
            .ask(&format!("POST /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{body}"))
            .await;
        assert_eq!(status(&answer), "202");
    }
}

#[tokio::test]
async fn bad_chunks_are_a_protocol_error() {
    let server = start().await;
    for body in ["zz\r\n", "ffffffffffffffffff\r\n", "3\r\nabcd\r\n"] {
        let answer = server
            .ask(&format!("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n"))
            .await;
        assert_eq!(status(&answer), "400", "{body:?}");
        assert!(answer.contains("\"failure\":\"protocol_error\""), "{answer}");
    }
    assert!(server.gate.seen().is_empty());
}

#[tokio::test]
async fn continue_only_when_room_is_reserved() {
    let gate = FakeGate::with_budget(4 * 4096);
    let server = start_with(gate, HttpSettings { hold: Duration::from_millis(50), ..settings() }).await;
    let head = "POST /events HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n";
    let mut client = server.connect().await;
    client.send(head).await;
    assert_eq!(client.answer().await, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(server.gate.budget().used(), 4000);
    let mut other = server.connect().await;
    other.send(head).await;
    let answer = other.answer().await;
    assert_eq!(status(&answer), "503", "no 100 without room");
    assert!(answer.contains("\"failure\":\"overloaded\"") && answer.contains("retry-after: 1"), "{answer}");
    assert!(other.is_closed().await);
    client.send("b".repeat(4000)).await;
    assert_eq!(status(&client.answer().await), "202");
    let answer = server.ask(&head.replace("Content-Length: 4000", "Content-Length: 4097")).await;
    assert_eq!(status(&answer), "413", "more than one sender can ever hold");
    let answer = server.ask(&head.replace("Host: x", "Host: x\r\nAuthorization: Digest x")).await;
    assert_eq!(status(&answer), "401", "no 100 for somebody unknown");
}

#[tokio::test]
async fn room_grows_while_a_chunked_body_arrives() {
    let gate = FakeGate::with_budget(4 * 20_000);
    let server = start_with(gate, HttpSettings { max_body: 30_000, ..settings() }).await;
    assert_eq!(status(&server.ask(&chunked("", &[&"x".repeat(15_000)])).await), "202");
    let answer = server.ask(&chunked("", &[&"x".repeat(15_000), &"x".repeat(10_000)])).await;
    assert_eq!(status(&answer), "503", "growing never waits");
    assert_eq!(server.gate.refused_words(), [Word::Overloaded]);
    assert_eq!(server.gate.budget().used(), 0);
}
