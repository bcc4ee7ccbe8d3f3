//! What counts as an attempt of a stored event.
use crate::stage::{Scripted, Stage, away};
use backends::Outcome;
use journal::LaneId;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn what_only_waited_is_no_attempt() {
    let stage = Stage::start(Scripted { attempts: Some(2), ..Scripted::default() });
    stage.shared.change_lanes(|lanes| lanes.set_journal(stage.shared.journal.clone()));
    for dispatch in stage.shared.journal.dispatchers() {
        tokio::spawn(dispatch);
    }
    stage.store("e1");
    stage.shared.journal.sync().unwrap();
    let letters = || stage.shared.journal.pending(LaneId::DEAD_LETTERS);
    for waited in [true, true, true, false, true, true, false] {
        assert_eq!(letters(), 0, "a dead letter of what only waited");
        let (_, answer) = stage.backend.call().await;
        let why = if waited { away().waited() } else { away() };
        answer.send(vec![Outcome::Retry(why)]).unwrap();
    }
    let end = Instant::now() + Duration::from_secs(20);
    while letters() == 0 {
        assert!(Instant::now() < end, "the second attempt is the last");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
