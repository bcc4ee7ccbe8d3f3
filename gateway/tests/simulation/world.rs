//! The world outside of the process: what was sent and answered, what the far ends have, and the log of it all.
//!
//! It outlives every crash. All of it is behind one lock, and one thread runs everything, so its order is the seed's.
use crate::{
    dice::Dice,
    far::FarEnd,
    plan::{Fate, Kind, LANES, LifePlan, Plan},
    sender::Stream,
};
use schemas::AckLevel;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// Lines of the log that a failure shows.
const SHOWN: usize = 60;

/// One event as its sender knows it.
#[derive(Debug)]
pub struct Sent {
    pub kind: Kind,
    pub stream: usize,
    pub key: u64,
    pub data: String,
    /// Whether a refusal becomes a dead letter.
    pub cannot_refuse: bool,
    /// The lives in which it was sent, once per copy.
    pub copies: Vec<usize>,
    /// The life in which it was acknowledged.
    pub acked: Option<usize>,
    /// Whether it was acknowledged as dropped.
    pub dropped: bool,
    /// Copies that were refused.
    pub refused: usize,
}

impl Sent {
    /// Bit n: lane n must have it; bit 0: a dead letter of the door.
    pub fn lanes(&self) -> u64 {
        match self.kind.fate {
            Fate::Refused if self.cannot_refuse => 1,
            Fate::Kept => self.kind.lanes,
            Fate::Dropped | Fate::Refused => 0,
        }
    }

    pub fn is_direct(&self) -> bool {
        self.kind.level == AckLevel::Delivered
    }

    /// Every copy got a definite no.
    pub fn is_refused(&self) -> bool {
        self.refused == self.copies.len()
    }
}

/// What happened, line by line, and its hash.
#[derive(Debug, Default)]
pub struct Log {
    hash: u64,
    lines: Vec<String>,
    /// Say each line at once: a run that hangs shows how far it came.
    aloud: bool,
}

impl Log {
    fn add(&mut self, line: String) {
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.aloud {
            println!("{line}");
        }
        self.lines.push(line);
    }
}

/// See the module.
pub struct State {
    pub dice: Dice,
    pub plan: Plan,
    /// The number of the life, from 0.
    pub life: usize,
    /// Per life that has ended: whether it ended cleanly.
    pub ended: Vec<bool>,
    pub events: Vec<Sent>,
    pub streams: Vec<Stream>,
    pub far: Vec<FarEnd>,
    /// Which event, and which lanes' view of it, an LSN stands for.
    pub lsns: BTreeMap<u64, (usize, u64)>,
    /// The first broken promise; whatever comes later may follow from it.
    pub broken: Option<String>,
    pub log: Log,
    /// What a clean stop left in the lanes.
    pub left: Option<[u64; LANES.len()]>,
    began: Option<Instant>,
}

/// The shared world.
pub struct World {
    state: Mutex<State>,
    /// Rung when something may have been appended.
    pub bell: Notify,
    pub seed: u64,
}

impl World {
    pub fn new(seed: u64, aloud: bool) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let plan = Plan::throw(&mut dice);
        let streams = plan.streams.iter().map(Stream::new).collect();
        let far = plan.lanes.iter().map(|_| FarEnd::default()).collect();
        let state = State {
            dice,
            plan,
            life: 0,
            ended: Vec::new(),
            events: Vec::new(),
            streams,
            far,
            lsns: BTreeMap::new(),
            broken: None,
            log: Log { hash: 0xcbf2_9ce4_8422_2325, lines: Vec::new(), aloud },
            left: None,
            began: None,
        };
        Arc::new(World { state: Mutex::new(state), bell: Notify::new(), seed })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, line: &str) {
        self.lock().note(line);
    }
}

impl State {
    /// A new life begins: its clock starts at 0.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
        let plan = format!("{:?}", self.plan.lives[self.life]);
        self.note(&plan);
    }

    /// The journal is opened once more, to be looked at.
    pub fn begin_again(&mut self) {
        self.began = None;
        self.note("looked at");
    }

    /// A life has ended.
    pub fn end(&mut self, clean: bool) {
        // The stopped clock went with the runtime.
        self.began = None;
        self.note(if clean { "ended cleanly" } else { "ended" });
        let State { dice, far, streams, .. } = self;
        for far in far.iter_mut() {
            far.end_life(dice);
        }
        for stream in streams.iter_mut() {
            stream.end_life(dice);
        }
        self.ended.push(clean);
        self.life += 1;
    }

    /// Milliseconds of this life.
    pub fn now(&self) -> u64 {
        self.began.map_or(0, |began| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// What this life is to be.
    pub fn life_plan(&self) -> &LifePlan {
        &self.plan.lives[self.life]
    }

    /// Quotas of dead letters: in the last life none, or what cannot be a dead letter would wait for ever.
    pub fn letters(&self) -> (u64, u64) {
        if self.life + 1 == self.plan.lives.len() { (0, 0) } else { self.plan.letters }
    }

    pub fn note(&mut self, line: &str) {
        let line = format!("{}@{:<5} {line}", self.life, self.now());
        self.log.add(line);
    }

    /// A promise was broken.
    pub fn broke(&mut self, what: &str) {
        self.note(what);
        if self.broken.is_none() {
            self.broken = Some(format!("life {} at {} ms: {what}", self.life, self.now()));
        }
    }

    pub fn hash(&self) -> u64 {
        self.log.hash
    }

    /// How many lines of the log have this in them.
    pub fn lines_with(&self, what: &str) -> usize {
        self.log.lines.iter().filter(|line| line.contains(what)).count()
    }

    /// The end of the log; nothing when it was said aloud.
    pub fn tail(&self) -> String {
        let shown = if self.log.aloud { 0 } else { SHOWN };
        let skip = self.log.lines.len().saturating_sub(shown);
        let mut text = String::new();
        for line in self.log.lines.iter().skip(skip) {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}

/// An event's `id`.
pub fn id_of(number: usize) -> String {
    format!("e{number}")
}

/// The event with this `id`.
pub fn number_of(id: &str) -> Option<usize> {
    id.strip_prefix('e')?.parse().ok()
}

/// An event's data: it says which event it is, all the way through.
pub fn data_of(number: usize, size: usize) -> String {
    let letter = |at: usize| char::from(b'a' + u8::try_from((number * 31 + at * 7 + at / 26) % 26).unwrap_or(0));
    format!("{{\"e\":{number},\"pad\":\"{}\"}}", (0..size).map(letter).collect::<String>())
}
