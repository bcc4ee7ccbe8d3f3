//! The judgement at the end of a seed: what was promised against what is there.
use crate::{
    life,
    plan::LANES,
    world::{State, World, number_of},
};
use bytes::Bytes;
use journal::{AnyDisk, FaultyDisk, Journal, LaneId};
use schemas::{
    AckLevel, Event,
    record::{self, Record},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// In how many unclean ends an event must have been under way before a lane may take it for poison.
const POISON_ENDS: usize = 3;

/// What the journal holds after the last restart.
#[derive(Default)]
struct Found {
    /// Per lane: events that wait.
    pending: Vec<BTreeSet<usize>>,
    /// Dead letters, with the lane that could not take them (0: the door).
    letters: BTreeSet<(usize, usize)>,
}

/// Opens the journal once more and compares.
pub fn judge(world: &Arc<World>, disk: &FaultyDisk) {
    world.lock().begin_again();
    let journal = match Journal::open(AnyDisk::from(disk.clone()), life::options(world)) {
        Ok(journal) => journal,
        Err(error) => return world.lock().broke(&format!("cannot be opened in the end: {error}")),
    };
    crate::laws::recovered(world, &journal);
    let found = match look(world, &journal) {
        Ok(found) => found,
        Err(error) => return world.lock().broke(&format!("the journal cannot be read: {error}")),
    };
    let mut state = world.lock();
    letters_have_a_cause(&mut state, &found);
    for event in 0..state.events.len() {
        nothing_is_lost(&mut state, &found, event);
        no_refused_event_is_there(&mut state, &found, event);
    }
    for lane in 0..LANES.len() {
        order_is_kept(&mut state, lane);
        nothing_is_there_twice(&mut state, lane);
    }
}

fn look(world: &Arc<World>, journal: &Journal<AnyDisk>) -> std::io::Result<Found> {
    let mut found = Found::default();
    for lane in 0..=LANES.len() {
        let id = u8::try_from(lane).ok().and_then(LaneId::new).unwrap();
        let (mut scan, mut waiting) = (journal.scan(Some(id)), BTreeSet::new());
        loop {
            let entries = scan.read(1 << 20)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries.into_iter().filter(|entry| !journal.is_done(id, entry.lsn)) {
                let lsn = entry.lsn.get();
                let Ok(Record::Event(event)) = record::decode(&Bytes::from_owner(entry.body), lsn) else {
                    world.lock().broke(&format!("the record at {lsn} is no event"));
                    continue;
                };
                let Some(number) = as_sent(&mut world.lock(), &event) else { continue };
                if lane > 0 {
                    waiting.insert(number);
                } else {
                    let backend = event.death.as_ref().map(|death| death.backend.as_str()).unwrap_or_default();
                    let lane = LANES.iter().position(|name| *name == backend).map_or(0, |index| index + 1);
                    found.letters.insert((number, lane));
                }
            }
        }
        if lane > 0 {
            found.pending.push(waiting);
        }
    }
    Ok(found)
}

/// The event's number, if it is what a sender sent.
fn as_sent(state: &mut State, event: &Event) -> Option<usize> {
    let number = number_of(event.envelope.id()).filter(|number| *number < state.events.len());
    match number {
        Some(number) if state.events[number].data.as_bytes() == event.envelope.data().as_ref() => Some(number),
        Some(number) => {
            state.broke(&format!("e{number} is in the journal with other data (lsn {})", event.lsn));
            None
        }
        None => {
            state.broke(&format!("{:?} is in the journal, and nobody sent it", event.envelope.id()));
            None
        }
    }
}

/// Acknowledged: delivered, or a dead letter, or it waits; dropped only where the lane's config says so.
fn nothing_is_lost(state: &mut State, found: &Found, event: usize) {
    let sent = &state.events[event];
    let Some(life) = sent.acked.filter(|_| !sent.dropped && !sent.is_direct()) else { return };
    // `received` is a promise about memory.
    if sent.kind.level == AckLevel::Received && !state.ended[life] {
        return;
    }
    let lanes = sent.lanes();
    if lanes & 1 != 0 && !found.letters.contains(&(event, 0)) {
        state.broke(&format!("e{event} was acknowledged as a dead letter, and is none"));
    }
    for (lane, name) in LANES.iter().enumerate().filter(|(lane, _)| lanes & (2 << lane) != 0) {
        let far = &state.far[lane];
        let may_drop = !state.plan.lanes[lane].dead_letter;
        let there = far.has(event)
            || found.pending[lane].contains(&event)
            || found.letters.contains(&(event, lane + 1))
            || (may_drop && (far.condemned.contains(&event) || far.given_up.contains(&event)));
        if !there {
            return state.broke(&format!("e{event} was acknowledged in life {life}, and lane {name} has lost it"));
        }
    }
}

fn no_refused_event_is_there(state: &mut State, found: &Found, event: usize) {
    let sent = &state.events[event];
    if sent.copies.is_empty() || !sent.is_refused() {
        return;
    }
    let waits = found.pending.iter().any(|pending| pending.contains(&event));
    let letter = (0..=LANES.len()).any(|lane| found.letters.contains(&(event, lane)));
    if waits || letter || state.far.iter().any(|far| far.has(event)) {
        state.broke(&format!("every copy of e{event} was refused, and it was kept"));
    }
}

/// A lane makes a dead letter of what its backend can never take, or has failed to take often enough.
fn letters_have_a_cause(state: &mut State, found: &Found) {
    for (event, lane) in found.letters.iter().filter(|(_, lane)| *lane > 0) {
        let far = &state.far[lane - 1];
        // At one of the ends it may have been read and not given; at the third of the others it was alone.
        let given = far.given.get(event).into_iter().flatten();
        let given: Vec<bool> = given.filter(|(life, _)| !state.ended[**life]).map(|(_, alone)| *alone).collect();
        let poison = given.len() + 1 == POISON_ENDS || given.len() >= POISON_ENDS && given.last() == Some(&true);
        if !far.condemned.contains(event) && !far.given_up.contains(event) && !poison {
            state.broke(&format!("e{event} is a dead letter of lane {} without a cause", LANES[lane - 1]));
        }
    }
}

/// Per stream and key, first deliveries are in the order of sending, among what was sent once and acknowledged.
fn order_is_kept(state: &mut State, lane: usize) {
    let (mut last, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut wrong = None;
    for stored in state.far[lane].stored.iter().filter(|stored| seen.insert(stored.event)) {
        let sent = &state.events[stored.event];
        // What a lane has given up steps aside for the others, and comes later if a crash took its dead letter away.
        let stepped_aside = state.far[lane].given_up.contains(&stored.event);
        if sent.copies.len() != 1 || sent.acked.is_none() || sent.is_direct() || stepped_aside {
            continue;
        }
        let before = last.insert((sent.stream, sent.key), stored.event);
        wrong = before.filter(|before| *before > stored.event).map(|before| (before, stored.event)).or(wrong);
    }
    if let Some((before, after)) = wrong {
        state.broke(&format!("lane {}: e{after} came after e{before} of its stream and key", LANES[lane]));
    }
}

/// No event is kept twice: `dedupe` sees its copies, also those that came in different lives.
fn nothing_is_there_twice(state: &mut State, lane: usize) {
    let mut places: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for stored in state.far[lane].stored.iter().filter(|stored| stored.lsn > 0) {
        places.entry(stored.event).or_default().insert(stored.lsn);
    }
    let twice = places.iter().find(|(_, lsns)| lsns.len() > 1);
    let twice = twice.map(|(event, lsns)| format!("lane {}: e{event} was kept as {lsns:?}", LANES[lane]));
    if let Some(twice) = twice {
        state.broke(&twice);
    }
}
