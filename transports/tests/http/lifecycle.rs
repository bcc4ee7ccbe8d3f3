//! Connections: limits, admission, drain.
use crate::{
    client::{Server, post, settings, start, start_with, status},
    support::{Answer, FakeGate, receipt},
};
use schemas::Word;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use transports::http::HttpSettings;

async fn ended(server: Server) -> Duration {
    let began = Instant::now();
    timeout(Duration::from_secs(5), server.task).await.expect("the listener ends").unwrap();
    began.elapsed()
}

#[tokio::test]
async fn connections_are_limited_and_counted() {
    let server = start_with(FakeGate::new(), HttpSettings { connections_max: 2, ..settings() }).await;
    let mut one = server.connect().await;
    let mut two = server.connect().await;
    for client in [&mut one, &mut two] {
        client.send(post("/events", "", "{}")).await;
        assert_eq!(status(&client.answer().await), "202");
    }
    assert!(server.connect().await.is_closed().await, "the third is closed unread");
    assert_eq!(server.gate.refused_words(), [Word::Overloaded]);
    assert_eq!(server.gate.connections(), (2, 0));
    drop(one);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.gate.connections(), (2, 1));
    assert_eq!(status(&server.post("", "{}").await), "202", "there is a place again");
}

#[tokio::test]
async fn who_may_not_connect_is_closed_unread() {
    let server = start().await;
    server.gate.set_admits(false);
    assert!(server.connect().await.is_closed().await);
    assert_eq!(server.gate.refused_words(), [Word::Unauthenticated]);
}

#[tokio::test]
async fn drain_answers_what_is_in_flight() {
    let server = start().await;
    server.gate.script(|_| Answer::Durable(1, receipt("last")));
    let mut busy = server.connect().await;
    busy.send(post("/events", "", "{}")).await;
    let mut idle = server.connect().await;
    idle.send(post("/nowhere", "", "")).await;
    idle.answer().await;
    let mut silent = server.connect().await;
    assert!(busy.is_silent().await);
    server.stop.send(true).unwrap();
    assert!(idle.is_closed().await);
    assert!(silent.is_closed().await);
    assert!(busy.is_silent().await, "its verdict is not known");
    let address = server.address;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody new is let in");
    server.gate.set_durable(1);
    let answer = busy.answer().await;
    assert_eq!(status(&answer), "202");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(busy.is_closed().await);
    assert!(ended(server).await < Duration::from_secs(1));
}

#[tokio::test]
async fn drain_answers_a_request_on_its_way() {
    let server = start().await;
    let mut half = server.connect().await;
    let request = post("/events", "", "{}");
    half.send(&request[..20]).await;
    let mut used = server.connect().await;
    used.send(post("/nowhere", "", "") + &request[..20]).await;
    used.answer().await;
    assert!(half.is_silent().await);
    let mut newcomer = server.connect().await;
    server.stop.send(true).unwrap();
    // Before the time for newcomers is over, however slow this machine is.
    newcomer.send(&request).await;
    assert!(half.is_silent().await && used.is_silent_now().await);
    half.send(&request[20..]).await;
    used.send(&request[20..]).await;
    for mut client in [newcomer, half, used] {
        let answer = client.answer().await;
        assert_eq!(status(&answer), "202");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(client.is_closed().await);
    }
    assert!(ended(server).await < Duration::from_secs(1));
}

#[tokio::test]
async fn drain_ends_in_time_whatever_hangs() {
    let server =
        start_with(FakeGate::new(), HttpSettings { drain_timeout: Duration::from_millis(300), ..settings() }).await;
    server.gate.script(|_| Answer::Hang);
    let mut busy = server.connect().await;
    busy.send(post("/events", "", "{}")).await;
    let mut half = server.connect().await;
    half.send("POST /events HTTP/1.1\r\n").await;
    assert!(busy.is_silent().await);
    server.stop.send(true).unwrap();
    let took = ended(server).await;
    assert!((Duration::from_millis(250)..Duration::from_secs(1)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_stopping_gateway_refuses_and_closes() {
    let server = start().await;
    server.gate.set_stopping(true);
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}")).await;
    let answer = client.answer().await;
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("\"failure\":\"shutting_down\"") && answer.contains("connection: close"), "{answer}");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_peer_that_is_done_sending_still_gets_its_answer() {
    use tokio::io::AsyncWriteExt;
    let server = start().await;
    server.gate.script(|_| {
        Answer::After(Duration::from_millis(100), Box::new(Answer::Now(schemas::Verdict::Receipt(receipt("half")))))
    });
    let mut client = server.connect().await;
    client.send(post("/events", "", "{}")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(status(&client.answer().await), "202");
    assert!(client.is_closed().await);
}
