//! Room: what counts is the record in the journal; and when there will be none left.
use crate::stage::{QUOTA, Scripted, Stage, event};
use backends::Why;
use gateway::lanes::dead;
use journal::{Closed, LaneId};
use schemas::{AckLevel, Word};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_takes_the_room_of_its_record() {
    let stage = Stage::start(Scripted::default());
    let (shared, journal) = (&stage.shared, &stage.shared.journal);
    shared.change_lanes(|lanes| lanes.set_journal(journal.clone()));
    let event = event("e1", AckLevel::Durable, 1);
    let letter = dead::of_lane(&event, &"bus".into(), &Why::new(Word::TooLarge, "far too large"), 1);
    dead::append(shared, &letter).unwrap();
    journal.sync().unwrap();
    let one = journal.pending_bytes(LaneId::DEAD_LETTERS);
    let envelope = u64::try_from(letter.envelope.size()).unwrap();
    assert!(one > envelope + 1, "vacuous: a record of {one} bytes, an envelope of {envelope}");
    // Room for the envelope of a second one, not for its record.
    journal.set_letter_quotas(2 * one - 1, 0);
    assert_eq!(dead::append(shared, &letter), Err(Closed::Full));
    journal.set_letter_quotas(2 * one, 0);
    assert!(dead::append(shared, &letter).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_fills_says_when_it_is_full() {
    let stage = Stage::start(Scripted::default());
    let lane = stage.lane();
    let soonest = || stage.shared.time_to_full(&stage.shared.journal.stats());
    assert_eq!(soonest(), None);
    let (begin, ring) = (Instant::now(), stage.shared.journal.stats().capacity_bytes);
    for step in 0..4 {
        let at = begin + Duration::from_secs(10) * step;
        stage.shared.filling.note(at, ring / 8 * u64::from(step), ring);
        lane.filling.note(at, QUOTA / 16 * u64::from(step), QUOTA);
    }
    // A sixteenth in ten seconds, and three are in it. The ring would be full before that, but what lags leaves it.
    assert_eq!(soonest(), Some(Duration::from_secs(130)));
}
