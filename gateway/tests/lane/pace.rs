//! What a lane may begin beside what is under way, and that it sleeps while it may begin nothing.
use crate::stage::{Scripted, Stage, away, done, journal, store};
use backends::Outcome;
use journal::{LaneId, MemoryDisk};
use schemas::Verdict;
use std::{
    sync::{Mutex, atomic::Ordering},
    time::Duration,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_does_not_wait_for_direct_events() {
    let disk = MemoryDisk::new();
    // In flight at two unclean exits: a suspect.
    for life in 0..2 {
        let journal = journal(&disk);
        if life == 0 {
            store(&journal, "suspect");
            journal.sync().unwrap();
        }
        assert_eq!(journal.lane(LaneId::new(1).unwrap()).read(1).unwrap().len(), 1);
    }
    let stage = Stage::start_on(journal(&disk), Scripted::default());
    let (events, first) = stage.backend.call().await;
    assert!(events[0].lsn > 0);
    let sent = stage.send("direct", Duration::from_secs(30), 1);
    let (direct, answer) = stage.backend.call().await;
    assert_eq!(direct[0].envelope.id(), "direct");
    // It comes back, and is tried again while the direct event is under way.
    first.send(vec![Outcome::Retry(away())]).unwrap();
    let (events, again) = stage.backend.call().await;
    assert_eq!(events[0].envelope.id(), "suspect");
    again.send(done(&events)).unwrap();
    answer.send(done(&direct)).unwrap();
    assert!(matches!(sent.verdict().await, Verdict::Receipt(_)));
}

#[tokio::test(start_paused = true)]
async fn a_held_lane_sleeps() {
    let probes = Mutex::new([Ok(()), Err(away().wrong_place())].into());
    let stage = Stage::start(Scripted { probes, ..Scripted::default() });
    stage.store("a");
    stage.shared.journal.sync().unwrap();
    let (_, answer) = stage.backend.call().await;
    answer.send(vec![Outcome::Destination(away())]).unwrap();
    // It is due after the first probe that fails, and may not leave.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(stage.lane().health.trouble().is_some_and(|trouble| trouble.destination));
    let before = stage.backend.turns.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let turns = stage.backend.turns.load(Ordering::Relaxed) - before;
    assert!(turns < 100, "{turns} turns in ten seconds");
}
