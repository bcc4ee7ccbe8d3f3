//! What has to be done from time to time: gauges, room that was freed, facts of backends, notices of the journal.
use super::Live;
use crate::{clock, state::Shared, telemetry::filling::Change};
use bytes::Bytes;
use journal::{LaneId, Notice};
use schemas::{
    Word,
    record::{self, Record},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use transports::net::Shutdown;

/// How often gauges are brought up to date.
const EVERY: Duration = Duration::from_millis(200);

/// How often dead letters are looked at for their age.
const LETTERS_EVERY: Duration = Duration::from_secs(600);

/// Bytes of dead letters passed over at a time.
const READ_BYTES: usize = 256 * 1024;

/// Runs until it is stopped.
pub async fn tend(shared: Arc<Shared>, live: Arc<Live>, mut stop: Shutdown) {
    // Lane 0 has no backend: its reader only moves on, so that segments which hold no open dead letter can be recycled.
    let mut dead = shared.journal.lane(LaneId::DEAD_LETTERS);
    let mut look_at_letters = clock::now();
    loop {
        shared.vital.housekeeping.beat();
        if look_at_letters <= clock::now() {
            forget_letters(&shared, live.now().config.dead_letters.keep.get());
            look_at_letters = clock::now() + LETTERS_EVERY;
        }
        while dead.read(READ_BYTES).is_ok_and(|letters| !letters.is_empty()) {}
        gauges(&shared);
        // Somebody may be held for want of room in the ring; looking again is cheap.
        shared.room_freed();
        tokio::select! {
            () = stop.fired() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Dead letters older than `dead_letters.keep` are dropped and counted.
fn forget_letters(shared: &Shared, keep: Duration) {
    let Some(oldest) = SystemTime::now().checked_sub(keep) else { return };
    let mut scan = shared.journal.scan(Some(LaneId::DEAD_LETTERS));
    let (mut dropped, lanes) = (0u64, shared.lanes());
    let dead = lanes.dead_meter();
    while let Ok(letters) = scan.read(READ_BYTES) {
        if letters.is_empty() {
            break;
        }
        for letter in letters.into_iter().filter(|letter| !shared.journal.is_done(LaneId::DEAD_LETTERS, letter.lsn)) {
            let lsn = letter.lsn;
            let received = match record::decode(&Bytes::from_owner(letter.body), lsn.get()) {
                Ok(Record::Event(event)) => event.received,
                Ok(Record::Letter(letter)) => letter.received,
                Err(_) => continue,
            };
            if received < oldest && shared.journal.done(LaneId::DEAD_LETTERS, lsn) {
                dropped += 1;
                if let Some(dead) = dead {
                    dead.dropped(Word::Expired);
                }
            }
        }
    }
    if dropped > 0 {
        tracing::info!(events = dropped, "dead letters were older than dead_letters.keep and are dropped");
    }
}

fn tell_filling(what: &str, change: Option<Change>) {
    match change {
        Some(Change::Soon(left)) => tracing::warn!(
            minutes = left.as_secs() / 60,
            "{what} is full soon if it goes on like this, and new events are refused then: see `anygate status`"
        ),
        Some(Change::NoLonger) => tracing::info!("{what} does not fill any more"),
        None => {}
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are floating point")]
fn gauges(shared: &Shared) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    shared.ring.tune();
    let stats = shared.journal.stats();
    shared.metrics.journal_size.set(number(stats.used_bytes));
    shared.metrics.journal_capacity.set(number(stats.capacity_bytes));
    let change = shared.filling.note(clock::now(), stats.used_bytes, stats.capacity_bytes);
    if shared.journal.backlog_is_full() {
        tell_filling("the journal's ring", change);
    }
    for lane in shared.lanes().iter() {
        let Some(id) = LaneId::new(lane.id) else { continue };
        let lane_stats = shared.journal.lane_stats(id);
        let change = lane.filling.note(clock::now(), lane_stats.pending_bytes, lane_stats.quota);
        tell_filling(&format!("the backlog of {}", lane.name), change);
    }
    let left = shared.time_to_full(&stats).map_or(f64::INFINITY, |left| left.as_secs_f64());
    shared.metrics.journal_time_to_full.set(left);
    shared.metrics.spans_dropped.set(number(shared.spans.dropped()));
    if stats.groups > 0 {
        shared.metrics.journal_group_size.set(stats.events as f64 / stats.groups as f64);
        shared.metrics.journal_fsync.set(stats.sync_micros as f64 / stats.groups as f64 / 1e6);
    }
    shared.refresh();
    for lane in shared.lanes().iter() {
        for (name, value) in lane.backend.figures() {
            lane.meter.figure(name, value);
        }
    }
}

/// A notice of the journal, as one log line.
pub fn log_notice(notice: &Notice) {
    match notice {
        Notice::Failed { .. } => tracing::error!("{notice}"),
        Notice::RingRoom => tracing::info!("{notice}"),
        Notice::CorruptGroup { .. }
        | Notice::CorruptEvent { .. }
        | Notice::CorruptSegment { .. }
        | Notice::CursorLost { .. }
        | Notice::TornTail { .. }
        | Notice::RingFull
        | Notice::NoSpace { .. }
        | _ => tracing::warn!("{notice}"),
    }
}
