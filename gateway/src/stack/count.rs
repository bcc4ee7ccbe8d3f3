//! Counts events at the door, so that the law holds: `received = refused + dropped + duplicate + kept` (design rule 11).
//!
//! A message is counted once, when its fate is known: all of it here, in one place.
use super::Batch;
use crate::{lanes::Lanes, state::Shared};
use schemas::{AckLevel, ItemVerdict, Word};

/// Counts a batch of which nothing was kept. Events that were good are counted under the first bad one's word.
pub fn refused(batch: &Batch) {
    let version = batch.origin.version;
    batch.meter.received(version, batch.len());
    let Some((first, _)) = batch.first_refused() else { return };
    for (_, fault) in &batch.faults {
        batch.meter.refused(fault.word, 1);
    }
    for item in &batch.items {
        match &item.fate {
            Some(ItemVerdict::Refused(word, _)) => batch.meter.refused(*word, 1),
            Some(ItemVerdict::Kept { .. } | ItemVerdict::Duplicate | ItemVerdict::Dropped(_)) | None => {
                batch.meter.refused(first, 1);
            }
        }
    }
}

/// Counts a batch that was kept: event by event, with its targets.
pub fn kept(shared: &Shared, batch: &Batch) {
    batch.meter.received(batch.origin.version, batch.len());
    batch.meter.size(batch.size());
    for (_, fault) in &batch.faults {
        batch.meter.refused(fault.word, 1);
    }
    // The generation that routed it knows its lanes; a batch that was not routed has only dead letters.
    let unrouted;
    let lanes: &Lanes = match &batch.plan {
        Some(plan) => plan.lanes(),
        None => {
            unrouted = shared.lanes();
            &unrouted
        }
    };
    let (mut levels, mut targets) = ([0u64; 3], 0u64);
    for item in &batch.items {
        match &item.fate {
            Some(ItemVerdict::Refused(word, _)) => batch.meter.refused(*word, 1),
            Some(ItemVerdict::Dropped(word)) => batch.meter.dropped(*word, 1),
            Some(ItemVerdict::Duplicate) => batch.meter.duplicate(1),
            Some(ItemVerdict::Kept { .. }) | None => {
                levels[item.level as usize] += 1;
                targets += entered(lanes, item) + lanes.left_out(item.left_out);
            }
        }
        for number in &item.routes {
            if let Some(route) = batch.route(*number) {
                route.matched.inc();
            }
        }
        let no_route = item.dead.as_ref().is_some_and(|(word, _)| *word == Word::NoRoute);
        if no_route || matches!(item.fate, Some(ItemVerdict::Dropped(Word::Unrouted))) {
            batch.meter.unrouted(1);
        }
    }
    for level in [AckLevel::Received, AckLevel::Durable, AckLevel::Delivered] {
        batch.meter.kept(level, levels[level as usize]);
    }
    shared.metrics.targeted.inc_by(targets);
}

/// Counts one kept event into its lanes; returns how many there are.
fn entered(lanes: &Lanes, item: &super::Item) -> u64 {
    if item.dead.is_some() {
        lanes.entered(1);
        return 1;
    }
    item.views
        .iter()
        .map(|view| {
            lanes.entered(view.lanes);
            u64::from(view.lanes.count_ones())
        })
        .sum()
}
