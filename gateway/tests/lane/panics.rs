//! A panic where nobody may panic: never "running but not delivering".
use crate::stage::{Scripted, Stage};
use gateway::vital;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_lane_is_the_end_of_the_process() {
    let stage = Stage::start(Scripted { panics: true, ..Scripted::default() });
    assert_eq!(vital::stuck(&stage.shared, vital::STILL), None, "all is well before");
    stage.store("poison");
    let what = tokio::time::timeout(Duration::from_secs(20), stage.shared.vital.wait_broken()).await.unwrap();
    assert!(what.contains("lane bus") && what.contains("a fault of this backend"), "{what}");
    assert_eq!(vital::stuck(&stage.shared, vital::STILL), Some(what), "livez and the watchdog say so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_does_not_move_is_found() {
    let stage = Stage::start(Scripted::default());
    stage.probed().await;
    stage.shared.vital.edge.beat();
    stage.shared.vital.housekeeping.beat();
    assert_eq!(vital::stuck(&stage.shared, Duration::from_secs(30)), None);
    stage.running.abort();
    let mut found = None;
    for _ in 0..1000 {
        stage.shared.vital.edge.beat();
        stage.shared.vital.housekeeping.beat();
        found = vital::stuck(&stage.shared, Duration::from_secs(3));
        if found.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = found.expect("it has not moved for more than 3 s");
    assert!(found.contains("lane bus has not moved"), "{found}");
}
