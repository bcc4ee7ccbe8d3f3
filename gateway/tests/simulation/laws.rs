//! The counting laws, and what one life hands to the next.
use crate::{plan::LANES, world::World};
use gateway::{lanes::Lanes, state::Shared};
use journal::{AnyDisk, Journal};
use std::sync::Arc;

/// Counters by name and label, as a scrape shows them.
struct Scrape(String);

impl Scrape {
    /// The sum over all lines of this metric whose labels have `label`.
    fn sum(&self, name: &str, label: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
        values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).map(to_count).sum()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a short run")]
fn to_count(value: f64) -> u64 {
    value as u64
}

/// The three laws, when nothing moves any more (design rule 11).
pub fn at_rest(world: &Arc<World>, shared: &Shared) {
    let scrape = Scrape(shared.render_metrics());
    let mut state = world.lock();
    let door = |name: &str| scrape.sum(&format!("anygate_events_{name}_total"), "");
    let went = ["refused", "dropped", "duplicate", "kept"].map(door);
    if door("received") != went.iter().sum::<u64>() {
        state
            .broke(&format!("at the door: received {} = refused, dropped, duplicate, kept {went:?}", door("received")));
    }
    let lane = |name: &str, label: &str| scrape.sum(&format!("anygate_lane_{name}"), label);
    for (index, name) in LANES.into_iter().chain([Lanes::DEAD_LETTERS]).enumerate() {
        let label = format!("\"{name}\"");
        let came = lane("entered_total", &label) + lane("recovered_total", &label);
        let went = ["delivered_total", "dead_lettered_total", "dropped_total", "pending"].map(|end| lane(end, &label));
        if came != went.iter().sum::<u64>() {
            state.broke(&format!(
                "lane {name}: entered + recovered {came} = delivered, dead, dropped, pending {went:?}"
            ));
        }
        let Some(far) = state.far.get(index) else { continue };
        let (stored, direct) = far.done;
        // A direct event may be confirmed after its deadline, when it was counted already.
        if went[0] < stored || went[0] > stored + direct {
            state.broke(&format!("lane {name}: {} counted as delivered, {stored} + {direct} confirmed", went[0]));
        }
    }
    // A lane's own dead letters enter lane 0 beside what the door keeps.
    let (entered, letters) = (lane("entered_total", ""), lane("dead_lettered_total", ""));
    if door("targeted") + letters != entered {
        state.broke(&format!("between: targets {} + letters {letters} = entered {entered}", door("targeted")));
    }
    let left = LANES.map(|name| lane("pending", &format!("\"{name}\"")));
    state.note(&format!("at rest: {left:?} wait"));
    state.left = Some(left);
}

/// What a clean stop left is what the next start finds.
pub fn recovered(world: &Arc<World>, journal: &Journal<AnyDisk>) {
    let mut state = world.lock();
    let found: Vec<u64> = journal.recovered().per_lane[1..=LANES.len()].to_vec();
    state.note(&format!("recovered {found:?}, durable up to {}", journal.durable()));
    if let Some(left) = state.left.take()
        && found != left
    {
        state.broke(&format!("a clean stop left {left:?} in the lanes, the next start found {found:?}"));
    }
}
