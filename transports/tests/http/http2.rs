//! HTTP/2 with prior knowledge, by hyper's client.
use crate::{
    client::{Server, settings, start, start_with},
    support::{Answer, FakeGate, receipt},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use transports::http::HttpSettings;

type Sender = http2::SendRequest<Full<Bytes>>;

async fn connect(server: &Server) -> (Sender, tokio::task::JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("http://x{path}")).body(Full::from(body)).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn requests_and_refusals() {
    let server = start().await;
    let (mut sender, _connection) = connect(&server).await;
    let answer = sender.send_request(request("/events/t", "{}")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(text(answer).await.starts_with("{\"id\":\"e-1\",\"ack\":\"durable\""));
    let seen = server.gate.seen().pop().unwrap();
    assert_eq!((seen.origin.version, seen.message.attributes.get("type")), ("2", Some("t")));
    for (path, code) in [("/", 404), ("/events/a/b", 404)] {
        assert_eq!(sender.send_request(request(path, "{}")).await.unwrap().status(), code);
    }
    let large = Request::post("http://x/events").body(Full::from(vec![b'x'; 10_001])).unwrap();
    assert_eq!(sender.send_request(large).await.unwrap().status(), 413);
    let get = Request::get("http://x/events").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(get).await.unwrap().status(), 405);
    let other = Request::post("http://x/events").header("host", "y").body(Full::default()).unwrap();
    assert_eq!(sender.send_request(other).await.unwrap().status(), 400);
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let server = start().await;
    let mut first = true;
    server.gate.script(move |_| {
        if std::mem::take(&mut first) {
            Answer::Durable(1, receipt("slow"))
        } else {
            Answer::Now(schemas::Verdict::Receipt(receipt("fast")))
        }
    });
    let (sender, _connection) = connect(&server).await;
    let slow = tokio::spawn({
        let mut sender = sender.clone();
        async move { text(sender.send_request(request("/events", "{}")).await.unwrap()).await }
    });
    while server.gate.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..10 {
        let answer = text(sender.clone().send_request(request("/events", "{}")).await.unwrap()).await;
        assert!(answer.contains("fast"), "{answer}");
    }
    assert!(!slow.is_finished());
    server.gate.set_durable(1);
    assert!(slow.await.unwrap().contains("slow"));
}

#[tokio::test]
async fn drain_and_idleness() {
    let server =
        start_with(FakeGate::new(), HttpSettings { idle_timeout: Duration::from_millis(400), ..settings() }).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(sender.send_request(request("/events", "{}")).await.unwrap().status(), 202);
    timeout(Duration::from_secs(3), connection).await.expect("an idle connection is told to go").unwrap().unwrap();

    let server = start().await;
    server.gate.script(|_| Answer::Durable(1, receipt("last")));
    let (mut sender, _connection) = connect(&server).await;
    let last = tokio::spawn(async move { text(sender.send_request(request("/events", "{}")).await.unwrap()).await });
    while server.gate.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.gate.set_durable(1);
    assert!(last.await.unwrap().contains("last"));
    timeout(Duration::from_secs(3), server.task).await.expect("the listener ends").unwrap();
}
