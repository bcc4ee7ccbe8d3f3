//! Peers that are slow or silent: no connection, head or body stays open for longer than the limits say.
use crate::{
    client::{PATIENCE, Server, post, settings, start_with, status},
    support::{Answer, FakeGate},
};
use schemas::Word;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use transports::{Gate, http::HttpSettings};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

async fn impatient() -> Server {
    let settings = HttpSettings {
        first_byte_timeout: ms(200),
        header_timeout: ms(300),
        body_timeout: ms(400),
        body_rate_min: 10_000,
        idle_timeout: ms(600),
        ..settings()
    };
    start_with(FakeGate::new(), settings).await
}

#[tokio::test]
async fn silence_closes() {
    let server = impatient().await;
    let began = Instant::now();
    let mut client = server.connect().await;
    assert!(client.is_closed().await);
    assert!((ms(190)..ms(450)).contains(&began.elapsed()), "{:?}", began.elapsed());
    for start in ["P", "PR"] {
        let mut client = server.connect().await;
        client.send(start).await;
        assert!(client.is_closed().await, "half a version");
    }
}

#[tokio::test]
async fn half_a_head_closes_even_if_it_drips() {
    let server = impatient().await;
    let began = Instant::now();
    let mut client = server.connect().await;
    client.send("POST /events HTTP/1.1\r\n").await;
    for _ in 0..4 {
        tokio::time::sleep(ms(50)).await;
        client.send("x: 1\r\n").await;
    }
    assert!(client.is_closed().await);
    assert!((ms(290)..ms(550)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(server.gate.refused_words(), [Word::Timeout]);
}

#[tokio::test]
async fn half_a_second_head_closes_too() {
    let server = impatient().await;
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}")).await;
    assert_eq!(status(&client.answer().await), "202");
    tokio::time::sleep(ms(100)).await;
    let began = Instant::now();
    client.send("POST /events HT").await;
    assert!(client.is_closed().await);
    assert!((ms(290)..ms(500)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_closes() {
    let server = impatient().await;
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}")).await;
    assert_eq!(status(&client.answer().await), "202");
    tokio::time::sleep(ms(400)).await;
    client.send(post("/events", "", "{}")).await;
    assert_eq!(status(&client.answer().await), "202", "a request makes it young again");
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!((ms(550)..ms(900)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(server.gate.refused_words().is_empty());
}

#[tokio::test]
async fn a_body_that_stops_is_408() {
    let server = impatient().await;
    let began = Instant::now();
    let mut client = server.connect().await;
    client.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345").await;
    let answer = client.answer().await;
    assert_eq!(status(&answer), "408");
    assert!(
        answer.contains("connection: close") && answer.contains("nothing was kept") && !answer.contains("unknown"),
        "{answer}"
    );
    assert!((ms(390)..ms(700)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(client.is_closed().await);
    assert_eq!(server.gate.budget().used(), 0);
    assert_eq!(server.gate.refused_words(), [Word::Timeout]);
}

#[tokio::test]
async fn a_body_that_drips_is_408_and_a_steady_one_is_not() {
    let server = impatient().await;
    let mut client = server.connect().await;
    client.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n").await;
    let began = Instant::now();
    let dripping = async {
        for _ in 0..100 {
            tokio::time::sleep(ms(20)).await;
            client.send("x").await;
            if !client.is_silent_now().await {
                break;
            }
        }
    };
    dripping.await;
    assert_eq!(status(&client.answer().await), "408");
    assert!(began.elapsed() < ms(900), "{:?}", began.elapsed());

    let mut steady = server.connect().await;
    steady.send("POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(ms(80)).await;
        steady.send("x".repeat(1000)).await;
    }
    assert_eq!(status(&steady.answer().await), "202", "0.8 s, above the minimum rate");
}

#[tokio::test]
async fn a_slow_answer_is_no_idleness() {
    let server = impatient().await;
    server.gate.script(|_| {
        Answer::After(ms(900), Box::new(Answer::Now(schemas::Verdict::Receipt(crate::support::receipt("late")))))
    });
    assert_eq!(status(&server.post("", "{}").await), "202");
}

#[tokio::test]
async fn half_a_head_behind_a_request_has_no_more_time_than_another() {
    let server = impatient().await;
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}") + "POST /events HT").await;
    assert_eq!(status(&client.answer().await), "202");
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!(began.elapsed() < ms(550), "{:?}: not the time of an idle connection", began.elapsed());
}

#[tokio::test]
async fn who_never_reads_is_closed() {
    let settings = HttpSettings { write_timeout: ms(300), idle_timeout: ms(60_000), ..settings() };
    let server = start_with(FakeGate::new(), settings).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let pipeline = post("/events", "", "{}").repeat(100);
    let sending = async {
        // Until the gateway has closed: our own buffers fill, and then it resets us.
        while stream.write_all(pipeline.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE * 4, sending).await.expect("it closes a peer that never reads");
    assert_eq!(status(&server.post("", "{}").await), "202", "others are served");
}

#[tokio::test]
async fn an_old_connection_ends_with_an_answer_that_says_so() {
    let settings = HttpSettings { max_connection_age: ms(200), ..settings() };
    let server = start_with(FakeGate::new(), settings).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    loop {
        client.send(post("/events", "", "{}")).await;
        let answer = client.answer().await;
        assert_eq!(status(&answer), "202", "no request is lost by it");
        if answer.contains("connection: close\r\n") {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it never grows old");
        tokio::time::sleep(ms(10)).await;
    }
    assert!(began.elapsed() >= ms(180), "{:?}", began.elapsed());
    assert!(client.is_closed().await);
}
