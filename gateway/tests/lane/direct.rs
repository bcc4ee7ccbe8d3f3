//! What direct senders are told: yes only when it is confirmed, no only when nothing was kept, and both soon.
use crate::stage::{Scripted, Sent, Stage, away, done};
use backends::{Outcome, Why};
use gateway::runtime::deliveries::Deliveries;
use schemas::{Refusal, Verdict, Word};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(30);

async fn refusal(sent: Sent) -> Refusal {
    match sent.verdict().await {
        Verdict::Refusal(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn is_unknown(sent: Sent) {
    let verdict = sent.verdict().await;
    assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_given_to_the_backend_is_refused_when_the_probe_fails() {
    let probes = Mutex::new([Err(away())].into());
    let stage = Stage::start(Scripted { probes, ..Scripted::default() });
    let refused = refusal(stage.send("a", LONG, 1)).await;
    assert_eq!(refused.word, Word::BackendUnavailable);
    assert!(refused.detail.contains("bus") && refused.detail.contains("nobody is there"), "{refused:?}");
    assert!(stage.backend.calls.lock().unwrap().is_empty(), "nothing was given to it, so nothing can be kept");
    let lanes = stage.shared.lanes();
    let refused = lanes.room(2, schemas::AckLevel::Delivered, 1).unwrap_err();
    assert_eq!(refused.word, Word::BackendUnavailable, "the door knows");
    assert!(lanes.room(2, schemas::AckLevel::Durable, 1).is_ok(), "stored events are taken");
    assert_eq!(stage.lane().direct_waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_way_when_the_backend_goes_is_unknown_and_soon() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    let begin = Instant::now();
    let sent = stage.send("a", LONG, 1);
    let (_events, answer) = stage.backend.call().await;
    *stage.backend.probes.lock().unwrap() = [Err(away())].into();
    *stage.backend.unreachable.lock().unwrap() = Some(away());
    is_unknown(sent).await;
    assert!(begin.elapsed() < LONG / 2, "not at its deadline: {:?}", begin.elapsed());
    let refused = refusal(stage.send("b", LONG, 1)).await;
    assert_eq!(refused.word, Word::BackendUnavailable, "what comes after it was never under way");
    drop(answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_backend_that_is_there_decides_nothing_before_the_deadline() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    let sent = stage.send("a", LONG, 1);
    let (events, answer) = stage.backend.call().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    answer.send(done(&events)).unwrap();
    assert!(matches!(sent.verdict().await, Verdict::Receipt(_)));
    let late = stage.send("b", Duration::from_millis(200), 1);
    let (_events, answer) = stage.backend.call().await;
    is_unknown(late).await;
    drop(answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_took_nothing_of_is_offered_again() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    let sent = stage.send("a", LONG, 1);
    let (events, answer) = stage.backend.call().await;
    answer.send(vec![Outcome::Retry(Why::new(Word::Overloaded, "full").untaken()); events.len()]).unwrap();
    let (events, answer) = stage.backend.call().await;
    assert_eq!(events[0].envelope.id(), "a");
    assert!(stage.lane().health.trouble().is_none());
    answer.send(done(&events)).unwrap();
    assert!(matches!(sent.verdict().await, Verdict::Receipt(_)));
    // Any other failure may have left it there.
    let sent = stage.send("b", LONG, 1);
    let (events, answer) = stage.backend.call().await;
    answer.send(vec![Outcome::Retry(away()); events.len()]).unwrap();
    is_unknown(sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_direct_events_alone_ends_with_the_next_probe() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    let sent = stage.send("a", LONG, 1);
    let (events, answer) = stage.backend.call().await;
    answer.send(vec![Outcome::Retry(away()); events.len()]).unwrap();
    is_unknown(sent).await;
    let until = Instant::now() + LONG;
    while stage.lane().health.trouble().is_some() {
        assert!(Instant::now() < until, "nobody asked again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.probed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_bounded_in_bytes() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    let mebibyte = 1 << 20;
    // Attributes count too, so the sixteenth does not fit.
    let sent: Vec<Sent> = (0..15).map(|number| stage.send(&number.to_string(), LONG, mebibyte)).collect();
    let refused = refusal(stage.send("more", LONG, mebibyte)).await;
    assert_eq!(refused.word, Word::Overloaded);
    assert!(refused.detail.contains("bus"), "{refused:?}");
    let mut confirmed = 0;
    while confirmed < sent.len() {
        let (events, answer) = stage.backend.call().await;
        confirmed += events.len();
        answer.send(done(&events)).unwrap();
    }
    for sent in sent {
        assert!(matches!(sent.verdict().await, Verdict::Receipt(_)));
    }
    assert_eq!(stage.lane().direct_waiting(), 0, "room came back");
    stage.probed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_stops_tells_the_truth() {
    let probes = Mutex::new([Ok(())].into());
    let stage = Stage::start(Scripted { probes, ..Scripted::default() });
    stage.probed().await;
    let sent = stage.send("a", LONG, 1);
    let (_events, answer) = stage.backend.call().await;
    stage.stop.send_replace(true);
    is_unknown(sent).await;
    stage.running.await.unwrap();
    drop(answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_never_begins_refuses_what_came_for_it() {
    let stage = Stage::start(Scripted::default());
    let next = stage.replace();
    let sent = stage.send("a", LONG, 1);
    stage.stop.send_replace(true);
    let (fire, stop) = transports::net::Shutdown::channel();
    fire.send_replace(true);
    let deliveries = Deliveries::new(stage.shared.clone(), tokio::runtime::Handle::current(), stop);
    deliveries.run(next.clone());
    assert_eq!(refusal(sent).await.word, Word::ShuttingDown);
    assert_eq!(next.direct_waiting(), 0);
}
