//! What a seed decides beforehand: the config's shape is fixed, everything else is thrown here.
use crate::dice::Dice;
use backends::Order;
use journal::disk::{Fault, Loss};
use schemas::AckLevel;

/// The lanes of the config, in its order: lane 1 is the first.
pub const LANES: [&str; 3] = ["a", "b", "c"];

/// The config of every seed. Backends are put in by the simulation; nothing listens.
pub const CONFIG: &str = r#"
version: 1
listeners:
  web: { http: { listen: 127.0.0.1:8080, pipeline: [guard] } }
  dev: { mqtt: { listen: 127.0.0.1:1883, pipeline: [guard], overload: { hold: 3s } } }
pipelines:
  guard:
    - dedupe: { window: 60m }
    - filter: { keep: "type <> 'noise'" }
    - limit: { size: 2KiB }
  mark:
    - set: { marked: "yes" }
routes:
  - { name: one, when: "type = 'one'", to: [a] }
  - { name: both, when: "type = 'both'", to: [b, c] }
  - { name: all, when: "type = 'all'", to: [a, b, c] }
  - { name: marked, when: "type = 'marked'", pipeline: [mark], to: [c] }
  - { name: first, when: "type = 'again'", to: [a], continue: true }
  - { name: second, when: "type LIKE 'aga%'", pipeline: [mark], to: [b] }
  - { name: fast, when: "type = 'fast'", to: [b], ack: received }
  - { name: now, when: "type = 'now'", to: [a, c], ack: delivered }
unrouted: dead_letter
backends: { a: { "null": {} }, b: { "null": {} }, c: { "null": {} } }
"#;

/// The same config, written otherwise: what a reload changes, and nothing that a sender or a backend could see.
pub fn rewritten() -> String {
    let edits = [
        ("routes:\n", "routes:\n  - { name: never, when: \"type = 'never'\", to: [c] }\n"),
        ("name: one,", "name: uno,"),
        ("name: first,", "name: erst,"),
        ("type <> 'noise'", "NOT (type = 'noise')"),
    ];
    edits.into_iter().fold(CONFIG.to_owned(), |text, (old, new)| text.replace(old, new))
}

/// A kind of event, and what the config makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    /// Bit n = lane n; bit 0 = it is a dead letter.
    pub lanes: u64,
    pub level: AckLevel,
    pub fate: Fate,
}

/// What the door must do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Kept for its lanes.
    Kept,
    /// Acknowledged and dropped, as the config says.
    Dropped,
    /// Refused, for good.
    Refused,
}

const fn kind(name: &'static str, lanes: u64, level: AckLevel, fate: Fate) -> Kind {
    Kind { name, lanes, level, fate }
}

/// All kinds; some are there more than once, because they come more often.
pub const KINDS: [Kind; 15] = [
    kind("one", 0b0010, AckLevel::Durable, Fate::Kept),
    kind("one", 0b0010, AckLevel::Durable, Fate::Kept),
    kind("one", 0b0010, AckLevel::Durable, Fate::Kept),
    kind("both", 0b1100, AckLevel::Durable, Fate::Kept),
    kind("both", 0b1100, AckLevel::Durable, Fate::Kept),
    kind("all", 0b1110, AckLevel::Durable, Fate::Kept),
    kind("all", 0b1110, AckLevel::Durable, Fate::Kept),
    kind("marked", 0b1000, AckLevel::Durable, Fate::Kept),
    kind("again", 0b0110, AckLevel::Durable, Fate::Kept),
    kind("fast", 0b0100, AckLevel::Received, Fate::Kept),
    kind("now", 0b1010, AckLevel::Delivered, Fate::Kept),
    kind("now", 0b1010, AckLevel::Delivered, Fate::Kept),
    kind("nowhere", 0b0001, AckLevel::Durable, Fate::Kept),
    kind("noise", 0, AckLevel::Durable, Fate::Dropped),
    // Larger than the pipeline's limit.
    kind("huge", 0, AckLevel::Durable, Fate::Refused),
];

/// What a backend is like for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Calm,
    /// It takes its time.
    Slow,
    /// Some events must be tried again; of these some have been stored all the same.
    Flaky,
    /// Nothing answers.
    Down,
    /// The destination is wrong.
    Wrong,
}

const WEATHERS: [Weather; 7] =
    [Weather::Calm, Weather::Calm, Weather::Slow, Weather::Flaky, Weather::Flaky, Weather::Down, Weather::Wrong];

/// One lane and its backend.
#[derive(Clone, Debug)]
pub struct LanePlan {
    pub order: Order,
    pub attempts: Option<u32>,
    pub dead_letter: bool,
    /// Of 100 events, so many can never be stored.
    pub poison: u64,
    /// Longest pause before a confirmation in calm weather, in ms.
    pub latency: u64,
    /// It does not come back in the last life.
    pub lost: bool,
    /// Bytes that may wait for it; 0: no limit.
    pub quota: u64,
}

/// One ordered stream of a sender.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    pub listener: &'static str,
    pub window: usize,
    pub messages: u64,
    /// Longest pause between messages, in ms.
    pub pace: u64,
    /// Answers per event.
    pub partial: bool,
    /// The protocol cannot say no.
    pub cannot_refuse: bool,
}

/// How a life of the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed, or the power is cut.
    Crash(Loss),
    /// The disk fails at an operation, counted from the start; then the machine loses what it loses.
    Disk(u64, Fault, Loss),
    /// Told to stop; lanes get this long, in ms.
    Stop(u64),
    /// The last life: it goes on until everything has come to rest.
    Rest,
}

/// One life of the process.
#[derive(Clone, Debug)]
pub struct LifePlan {
    /// Its length in ms, if nothing ends it before.
    pub length: u64,
    pub end: End,
    /// Per lane: weather until a time in ms.
    pub weather: Vec<Vec<(u64, Weather)>>,
    /// Reloads: when, in ms after the one before, and which lanes get another instance of their backend (bit n: lane n + 1).
    pub reloads: Vec<(u64, u64)>,
}

/// Everything a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub lanes: Vec<LanePlan>,
    pub streams: Vec<StreamPlan>,
    pub lives: Vec<LifePlan>,
    pub segment_size: u64,
    pub segments: usize,
    pub keep: usize,
    pub group_bytes: usize,
    /// Longest pause before a commit, in ms.
    pub commit: u64,
    /// Longest pause between two saves of the cursors, in ms.
    pub cursors: u64,
    /// Bytes of dead letters whose senders got a receipt, and of others; 0: no limit.
    pub letters: (u64, u64),
    /// Decides which events are poison.
    pub salt: u64,
    /// Events of one sender meet in so many keys.
    pub keys: u64,
}

const LOSSES: [Loss; 4] = [Loss::Kill, Loss::PowerCut, Loss::PowerCut, Loss::Torn];

impl Plan {
    pub fn throw(dice: &mut Dice) -> Self {
        let lives = dice.within(1, 5);
        Plan {
            lanes: LANES.iter().map(|_| lane(dice)).collect(),
            streams: (0..dice.within(1, 4)).map(|_| stream(dice)).collect(),
            lives: (0..=lives).map(|number| life(dice, number == lives)).collect(),
            segment_size: dice.pick(&[16, 32, 64]) << 10,
            segments: usize::try_from(dice.within(3, 8)).unwrap_or(3),
            keep: usize::try_from(dice.within(2, 4)).unwrap_or(2),
            group_bytes: usize::try_from(dice.pick(&[8u64, 12])).unwrap_or(8) << 10,
            commit: dice.pick(&[0, 2, 30, 250]),
            cursors: dice.pick(&[20, 200, 1000]),
            letters: (dice.pick(&[0, 0, 8, 24]) << 10, dice.pick(&[0, 4, 16]) << 10),
            salt: dice.number(),
            keys: dice.within(1, 5),
        }
    }
}

fn lane(dice: &mut Dice) -> LanePlan {
    LanePlan {
        order: if dice.chance(50) { Order::Pipelined } else { Order::OnePerStrand },
        attempts: dice.chance(30).then(|| u32::try_from(dice.within(2, 6)).unwrap_or(2)),
        dead_letter: dice.chance(80),
        poison: dice.pick(&[0, 0, 3, 8]),
        latency: dice.pick(&[1, 5, 40, 200]),
        lost: dice.chance(10),
        quota: dice.pick(&[0, 0, 4, 16]) << 10,
    }
}

fn stream(dice: &mut Dice) -> StreamPlan {
    let listener = dice.pick(&["web", "dev"]);
    StreamPlan {
        listener,
        window: dice.pick(&[1, 2, 8, 32]),
        messages: dice.within(5, 40),
        pace: dice.pick(&[0, 1, 10, 60]),
        partial: dice.chance(20),
        cannot_refuse: listener == "dev" && dice.chance(30),
    }
}

fn life(dice: &mut Dice, last: bool) -> LifePlan {
    let length = dice.pick(&[30, 300, 1000, 3000]);
    let length = dice.within(length / 10, length);
    let (loss, roll) = (dice.pick(&LOSSES), dice.below(100));
    let end = match roll {
        _ if last => End::Rest,
        0..30 => End::Crash(loss),
        30..75 => {
            let fault = dice.pick(&[Fault::Crash, Fault::Crash, Fault::Eio, Fault::NoSpace, Fault::ShortWrite]);
            let most = dice.pick(&[30, 80, 300]);
            End::Disk(dice.within(1, most), fault, loss)
        }
        _ => End::Stop(dice.pick(&[0, 50, 3000])),
    };
    let reloads = if dice.chance(40) { dice.within(1, 3) } else { 0 };
    let reloads = (0..reloads).map(|_| (dice.within(0, length), dice.below(8))).collect();
    LifePlan { length, end, weather: LANES.iter().map(|_| weather(dice, length)).collect(), reloads }
}

fn weather(dice: &mut Dice, length: u64) -> Vec<(u64, Weather)> {
    let mut until = 0;
    let mut weathers = Vec::new();
    while until < length && weathers.len() < 4 {
        until += dice.within(length / 8 + 1, length + 1);
        weathers.push((until, dice.pick(&WEATHERS)));
    }
    weathers
}
