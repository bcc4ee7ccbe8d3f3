#![allow(missing_docs, clippy::unwrap_used)]
#[path = "mqtt/support.rs"]
mod support;
use transports::{mqtt::*, net::Shutdown};
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual() {
    let gate = support::FakeGate::new();
    let listener = MqttListener::bind(([127, 0, 0, 1], 18831).into(), MqttSettings::default()).await.unwrap();
    let (stop, shutdown) = Shutdown::channel();
    let t = tokio::spawn(listener.serve(gate.clone(), shutdown));
    tokio::time::sleep(std::time::Duration::from_secs(25)).await;
    for s in gate.seen() { println!("{} {:?} {} bytes {:?} {:?}", s.origin.version, s.message.subject, s.message.payload.len(), s.message.mode, s.message.wants); }
    println!("{:?}", gate.refused_words());
    stop.send(true).unwrap();
    t.await.unwrap();
}
