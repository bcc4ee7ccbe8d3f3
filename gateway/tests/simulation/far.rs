//! The far end of a lane: a backend that does what the seed says, and keeps what it was given.
//!
//! It keeps its own promise of order, as a good backend must: what it was given takes effect in that order, and after a failure
//! nothing of the same strand overtakes until the lane has seen every outcome that was under way.
use crate::{
    dice::{Dice, mix},
    plan::{LANES, Weather},
    world::{State, World, number_of},
};
use backends::{Backend, Events, Order, Outcome, Position, Why, fault};
use futures_util::future::BoxFuture;
use schemas::{Event, Word};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Something that has taken effect.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    pub event: usize,
    /// 0: it was never journaled.
    pub lsn: u64,
}

#[derive(Debug, Default)]
struct Strand {
    calls: BTreeSet<u64>,
    shut: bool,
}

/// What one far end has and is doing.
#[derive(Debug, Default)]
pub struct FarEnd {
    /// In order.
    pub stored: Vec<Stored>,
    /// Taken, not in effect yet, with the number of its call.
    effects: VecDeque<(u64, Stored)>,
    strands: BTreeMap<u64, Strand>,
    flying: BTreeSet<u64>,
    /// Confirmed to the lane: LSN and life.
    confirmed: BTreeMap<u64, usize>,
    /// Events that this backend can never take, as the lane was told.
    pub condemned: BTreeSet<usize>,
    /// The lives in which each journaled event was given, and whether alone: nothing else was under way.
    pub given: BTreeMap<usize, BTreeMap<usize, bool>>,
    /// Retries that the lane was told of in this life, by LSN.
    retries: BTreeMap<u64, u32>,
    /// Events with as many retries in one life as the lane allows.
    pub given_up: BTreeSet<usize>,
    calls: u64,
    /// Confirmations in this life: of journaled events, of direct ones.
    pub done: (u64, u64),
}

impl FarEnd {
    fn take_effect(&mut self, up_to: u64) {
        while let Some((_, stored)) = self.effects.pop_front_if(|(call, _)| *call <= up_to) {
            self.stored.push(stored);
        }
    }

    pub fn has(&self, event: usize) -> bool {
        self.stored.iter().any(|stored| stored.event == event)
    }

    /// The process is gone: of what was on its way a first part arrives.
    pub fn end_life(&mut self, dice: &mut Dice) {
        let arrive = dice.index(self.effects.len() + 1);
        let arrived: Vec<Stored> = self.effects.drain(..).take(arrive).map(|(_, stored)| stored).collect();
        self.stored.extend(arrived);
        self.strands.clear();
        self.flying.clear();
        self.retries.clear();
        self.done = (0, 0);
    }
}

impl State {
    fn weather(&self, lane: usize) -> Weather {
        let now = self.now();
        let weathers = &self.plan.lives[self.life].weather[lane];
        let last_life = self.life + 1 == self.plan.lives.len();
        let last = if last_life && self.plan.lanes[lane].lost { Weather::Down } else { Weather::Calm };
        weathers.iter().find(|(until, _)| now < *until).map_or(last, |(_, weather)| *weather)
    }

    fn latency(&mut self, lane: usize) -> Duration {
        let most = match self.weather(lane) {
            Weather::Slow => 4000,
            Weather::Down => 1000,
            Weather::Calm | Weather::Flaky | Weather::Wrong => self.plan.lanes[lane].latency,
        };
        Duration::from_millis(self.dice.within(0, most))
    }

    /// Which of the sender's events this is; says so if it is none, or not as it was sent.
    fn identify(&mut self, lane: usize, event: &Event) -> Option<usize> {
        let name = LANES[lane];
        let number = number_of(event.envelope.id()).filter(|number| *number < self.events.len());
        let Some(number) = number else {
            self.broke(&format!("{name} was given {:?}, which nobody sent", event.envelope.id()));
            return None;
        };
        let sent = &self.events[number];
        let wrong = if sent.data.as_bytes() != event.envelope.data().as_ref() {
            Some("its data is not what was sent")
        } else if sent.kind.name != event.envelope.event_type() {
            Some("its type is not what was sent")
        } else if sent.lanes() & (2 << lane) == 0 {
            Some("no route leads there")
        } else if (event.lsn == 0) != sent.is_direct() {
            Some("it took the wrong path")
        } else if sent.is_refused() {
            Some("every copy of it was refused")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.broke(&format!("{name} was given e{number}: {wrong}"));
        }
        Some(number)
    }

    /// A journaled event comes again only after an unclean end, and never twice at a time; its LSN means one thing only.
    fn check_lsn(&mut self, lane: usize, number: usize, event: &Event) {
        let (name, lsn) = (LANES[lane], event.lsn);
        let before = *self.lsns.entry(lsn).or_insert((number, event.lanes));
        if before != (number, event.lanes) {
            self.broke(&format!("lsn {lsn} was e{} and is e{number}", before.0));
        }
        if !self.far[lane].flying.insert(lsn) {
            self.broke(&format!("{name} was given e{number} while it was under way"));
        }
        if let Some(life) = self.far[lane].confirmed.get(&lsn).copied()
            && self.ended[life..].iter().all(|clean| *clean)
        {
            self.broke(&format!("{name} was given e{number} again, after it had confirmed it at lsn {lsn}"));
        }
    }

    /// Decides what becomes of one journaled or direct event.
    fn decide(&mut self, lane: usize, number: usize, event: &Event, (call, alone): (u64, bool)) -> Outcome {
        if event.lsn > 0 {
            let life = self.life;
            let alone = alone && self.far[lane].flying.len() == 1;
            *self.far[lane].given.entry(number).or_default().entry(life).or_insert(true) &= alone;
        }
        let chance = mix(number as u64 ^ ((lane as u64) << 32) ^ self.plan.salt);
        let poison = chance % 100 < self.plan.lanes[lane].poison;
        let strand = fault::hash(event.key.as_bytes());
        let shut = event.lsn > 0 && self.far[lane].strands.get(&strand).is_some_and(|strand| strand.shut);
        let stored = Stored { event: number, lsn: event.lsn };
        let outcome = match self.weather(lane) {
            _ if shut => Outcome::Retry(Why::new(Word::BackendUnavailable, "behind another")),
            Weather::Down => Outcome::Retry(Why::new(Word::BackendUnavailable, "nothing answers")),
            Weather::Wrong => Outcome::Destination(Why::new(Word::BackendUnavailable, "no such place")),
            Weather::Calm | Weather::Slow | Weather::Flaky if poison => {
                self.far[lane].condemned.insert(number);
                Outcome::Record(Why::new(Word::TooLarge, "never"))
            }
            Weather::Flaky if self.dice.chance(25) => {
                if self.dice.chance(50) {
                    self.far[lane].effects.push_back((call, stored));
                }
                Outcome::Retry(Why::new(Word::BackendUnavailable, "try again"))
            }
            Weather::Calm | Weather::Slow | Weather::Flaky => {
                self.far[lane].effects.push_back((call, stored));
                Outcome::Done(Position::default())
            }
        };
        let far = &mut self.far[lane];
        if event.lsn > 0 {
            let strand = far.strands.entry(strand).or_default();
            strand.calls.insert(call);
            strand.shut |= matches!(outcome, Outcome::Retry(_) | Outcome::Destination(_));
            if matches!(outcome, Outcome::Retry(_)) {
                let retries = far.retries.entry(event.lsn).or_default();
                *retries += 1;
                if self.plan.lanes[lane].attempts.is_some_and(|most| *retries >= most) {
                    far.given_up.insert(number);
                }
            }
        }
        outcome
    }

    /// A call of the lane: its number, what becomes of its events, and when.
    fn given(&mut self, lane: usize, events: &Events) -> (u64, Vec<Outcome>, Duration) {
        let call = self.far[lane].calls + 1;
        self.far[lane].calls = call;
        let mut line = format!("{} <- call {call}:", LANES[lane]);
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            let Some(number) = self.identify(lane, event) else {
                outcomes.push(Outcome::Record(Why::new(Word::Malformed, "unknown")));
                continue;
            };
            if event.lsn > 0 {
                self.check_lsn(lane, number, event);
                let busy = self.far[lane].strands.get(&fault::hash(event.key.as_bytes()));
                let other = busy.is_some_and(|strand| strand.calls.iter().any(|other| *other != call));
                if other && self.plan.lanes[lane].order == Order::OnePerStrand {
                    self.broke(&format!("{} was given e{number} while its strand was under way", LANES[lane]));
                }
            }
            let outcome = self.decide(lane, number, event, (call, events.len() == 1));
            let again = self.far[lane].confirmed.contains_key(&event.lsn);
            let again = if again { " (lsn again)" } else { "" };
            line.push_str(&format!(" e{number}/{}={}{again}", event.lsn, word(&outcome)));
            outcomes.push(outcome);
        }
        self.note(&line);
        if self.dice.chance(50) {
            self.far[lane].take_effect(call);
        }
        let after = self.latency(lane);
        (call, outcomes, after)
    }

    /// The outcomes of a call reach the lane.
    fn landed(&mut self, lane: usize, call: u64, events: &Events, outcomes: &[Outcome]) {
        let life = self.life;
        let far = &mut self.far[lane];
        far.take_effect(call);
        for (event, outcome) in events.iter().zip(outcomes) {
            let done = matches!(outcome, Outcome::Done(_));
            if event.lsn == 0 {
                far.done.1 += u64::from(done);
                continue;
            }
            far.flying.remove(&event.lsn);
            if done {
                far.done.0 += 1;
                far.confirmed.insert(event.lsn, life);
            }
            let strand = fault::hash(event.key.as_bytes());
            if let Some(found) = far.strands.get_mut(&strand) {
                found.calls.remove(&call);
                if found.calls.is_empty() {
                    far.strands.remove(&strand);
                }
            }
        }
        self.note(&format!("{} -> call {call}", LANES[lane]));
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done(_) => "done",
        Outcome::Retry(_) => "retry",
        Outcome::Record(_) => "record",
        Outcome::Destination(_) => "destination",
    }
}

/// The backend as the lane sees it.
pub struct Far {
    world: Arc<World>,
    lane: usize,
    order: Order,
}

impl Far {
    pub fn new(world: &Arc<World>, lane: usize) -> Self {
        let order = world.lock().plan.lanes[lane].order;
        Far { world: Arc::clone(world), lane, order }
    }
}

impl Backend for Far {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn order(&self) -> Order {
        self.order
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let (world, lane) = (Arc::clone(&self.world), self.lane);
        let (call, outcomes, after) = world.lock().given(lane, &events);
        Box::pin(async move {
            tokio::time::sleep(after).await;
            world.lock().landed(lane, call, &events, &outcomes);
            outcomes
        })
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Why>> {
        let (world, lane) = (Arc::clone(&self.world), self.lane);
        Box::pin(async move {
            let after = world.lock().dice.within(0, 3);
            tokio::time::sleep(Duration::from_millis(after)).await;
            let weather = world.lock().weather(lane);
            match weather {
                Weather::Down => Err(Why::new(Word::BackendUnavailable, "nothing answers")),
                Weather::Wrong => Err(Why::new(Word::BackendUnavailable, "no such place").wrong_place()),
                Weather::Calm | Weather::Slow | Weather::Flaky => Ok(()),
            }
        })
    }
}
