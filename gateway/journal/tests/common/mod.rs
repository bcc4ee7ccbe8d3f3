//! A script of random but repeatable journal operations on a faulty disk, the ledger of what was promised, and the check
//! of what a recovery gives back against that ledger.
#![allow(clippy::unwrap_used, dead_code, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use std::sync::Arc;

use journal::{Closed, Disk, Encoded, FaultyDisk, Journal, LaneId, LaneReader, LaneSpec, Lsn, Options};

pub const LANES: u8 = 3;
pub const DIR: &str = "/data";

pub fn options() -> Options {
    let spec =
        |name: &str| LaneSpec { name: name.into(), kind: "null".into(), config_hash: 0, renamed_from: None, quota: 0 };
    Options {
        lanes: vec![spec("a"), spec("b")],
        segment_size: 32 << 10,
        segments: 5,
        keep: 3,
        group_bytes: 16 << 10,
        shards: 1,
        threads: false,
        // The tag that every body of a script begins with.
        key_of: Some(Arc::new(|body: &[u8]| Some((key(body)?, u64::MAX / 2)))),
        ..Options::new(DIR)
    }
}

pub fn key(body: &[u8]) -> Option<[u8; 16]> {
    let tag: [u8; 8] = body.get(..8)?.try_into().ok()?;
    [tag, tag].concat().try_into().ok()
}

pub fn lane(id: u8) -> LaneId {
    LaneId::new(id).unwrap()
}

/// Repeatable dice.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// What the journal said.
#[derive(Clone, Default)]
pub struct Ledger {
    /// Every event that `append` ever took.
    pub appended: BTreeMap<u64, (Vec<u8>, u64)>,
    /// Everything up to here was said to be durable, at some time; per run.
    pub acked: BTreeSet<u64>,
    /// `done` was called.
    pub done: BTreeSet<(u8, u64)>,
    pub full: u64,
    /// The disk was full at some time: ids may be lost.
    pub lax_ids: bool,
    /// The highest LSN of earlier runs: what of them was not acknowledged then is not acknowledged now.
    pub earlier: u64,
}

impl Ledger {
    pub fn acknowledge(&mut self, durable: Lsn) {
        if durable.get() > self.earlier {
            self.acked.extend(self.appended.range(self.earlier + 1..=durable.get()).map(|(lsn, _)| *lsn));
        }
    }

    pub fn append<D: Disk>(&mut self, journal: &Journal<D>, dice: &mut Dice) -> Result<(), Closed> {
        let mut bodies = Vec::new();
        for _ in 0..=dice.roll(4) {
            let len = if dice.roll(8) == 0 { dice.roll(5000) } else { dice.roll(300) };
            let tag = dice.roll(u64::MAX).to_le_bytes();
            let body: Vec<u8> = (0..len + 8).map(|i| tag[usize::try_from(i % 8).unwrap()]).collect();
            let lanes = if dice.roll(6) == 0 { 1 + dice.roll(7) } else { 2 };
            bodies.push((body, lanes));
        }
        let entries: Vec<_> = bodies.iter().map(|(body, lanes)| Encoded::new(body, *lanes)).collect();
        let last = journal.append(&entries)?.get();
        let first = last + 1 - bodies.len() as u64;
        for (lsn, body) in (first..).zip(bodies) {
            let highest = self.appended.last_key_value().map_or(0, |(lsn, _)| *lsn);
            assert!(lsn > highest, "LSN {lsn} is not above {highest}: given twice");
            self.appended.insert(lsn, body);
        }
        Ok(())
    }
}

pub struct Script {
    pub dice: Dice,
    pub ledger: Ledger,
    pub steps: usize,
    /// Segments copied to backlogs, and read back.
    pub spilled: (u64, u64),
}

type Readers = Vec<LaneReader<FaultyDisk>>;

impl Script {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice(seed), ledger: Ledger::default(), steps: 0, spilled: (0, 0) }
    }

    fn open(&mut self, disk: &FaultyDisk) -> Option<(Journal<FaultyDisk>, Readers)> {
        self.ledger.earlier = self.ledger.appended.last_key_value().map_or(0, |(lsn, _)| *lsn);
        let journal = Journal::open(disk.clone(), options()).ok()?;
        let readers = (0..LANES).map(|id| journal.lane(lane(id))).collect();
        Some((journal, readers))
    }

    /// Runs until `steps` are done or the disk fails.
    pub fn run(&mut self, disk: &FaultyDisk, steps: usize) {
        let Some((mut journal, mut readers)) = self.open(disk) else { return };
        let _ = journal.tend_step(false);
        while self.steps < steps {
            self.steps += 1;
            let fine = match self.dice.roll(100) {
                0..45 => match self.ledger.append(&journal, &mut self.dice) {
                    Ok(()) => true,
                    Err(Closed::Full | Closed::Busy) => {
                        self.ledger.full += 1;
                        // Make room: what is open is done.
                        self.deliver(&journal, &mut readers, 100);
                        journal.commit_step().is_ok() && journal.tend_step(false).is_ok()
                    }
                    Err(Closed::Failed | Closed::Stopping | Closed::TooLarge) => false,
                },
                45..80 => journal.commit_step().is_ok(),
                80..84 => journal.tend_step(true).is_ok(),
                84..89 => journal.tend_step(false).is_ok(),
                89..97 => self.deliver(&journal, &mut readers, 80),
                97 => {
                    // A clean stop and start.
                    let closed = journal.close().is_ok();
                    self.ledger.acknowledge(journal.durable());
                    self.tally(&journal);
                    drop((readers, journal));
                    match self.open(disk) {
                        Some((j, r)) => (journal, readers) = (j, r),
                        None => return,
                    }
                    closed && journal.tend_step(false).is_ok()
                }
                _ => {
                    self.tally(&journal);
                    drop((readers, journal));
                    match self.open(disk) {
                        Some((j, r)) => (journal, readers) = (j, r),
                        None => return,
                    }
                    journal.tend_step(false).is_ok()
                }
            };
            self.ledger.acknowledge(journal.durable());
            if !fine {
                return;
            }
        }
        self.tally(&journal);
    }

    fn tally(&mut self, journal: &Journal<FaultyDisk>) {
        for id in 0..LANES {
            let stats = journal.lane_stats(lane(id));
            self.spilled = (self.spilled.0 + stats.spilled_segments, self.spilled.1 + stats.read_back_segments);
        }
    }

    /// Reads the lanes and calls most of what was read done, in no order.
    fn deliver(&mut self, journal: &Journal<FaultyDisk>, readers: &mut Readers, percent: u64) -> bool {
        for (id, reader) in (0_u8..).zip(readers.iter_mut()) {
            // Lane 0 is slow.
            if id == 0 && self.dice.roll(3) > 0 && percent < 100 {
                continue;
            }
            if percent >= 100 {
                *reader = journal.lane(lane(id));
            }
            loop {
                let Ok(entries) = reader.read(usize::try_from(self.dice.roll(8000)).unwrap()) else { return false };
                let read = entries.len();
                for entry in entries {
                    check_entry(&self.ledger, id, entry.lsn.get(), &entry.body);
                    assert!(journal.durable() >= entry.lsn, "read before it was durable");
                    if self.dice.roll(100) < percent {
                        reader.done(entry.lsn);
                        self.ledger.done.insert((id, entry.lsn.get()));
                    }
                }
                if read == 0 || percent < 100 {
                    break;
                }
            }
        }
        true
    }
}

fn check_entry(ledger: &Ledger, id: u8, lsn: u64, body: &[u8]) {
    let Some((want, lanes)) = ledger.appended.get(&lsn) else { panic!("lane {id}: LSN {lsn} was never appended") };
    assert!(want == body, "lane {id}: LSN {lsn} has other bytes than were appended");
    assert!(lanes & (1 << id) != 0, "lane {id}: LSN {lsn} was not for it");
}

/// Opens what a crash left and holds it against the ledger.
pub fn check(disk: &FaultyDisk, ledger: &Ledger, what: &str) {
    let journal = match Journal::open(disk.clone(), options()) {
        Ok(journal) => journal,
        Err(e) => panic!("{what}: it does not open: {e}"),
    };
    let recovered = journal.recovered().clone();
    assert_eq!(recovered.corrupt_groups, 0, "{what}: a torn tail was taken for corruption");
    for id in 0..LANES {
        let mut reader = journal.lane(lane(id));
        let mut found = BTreeSet::new();
        let (mut last, mut bytes) = (0, 0);
        loop {
            let entries = reader.read(5000).unwrap();
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let lsn = entry.lsn.get();
                assert!(lsn > last, "{what}: lane {id}: {lsn} after {last}");
                last = lsn;
                check_entry(ledger, id, lsn, &entry.body);
                bytes += entry.body.len() as u64;
                found.insert(lsn);
            }
        }
        for lsn in &ledger.acked {
            let wanted = ledger.appended[lsn].1 & (1 << id) != 0 && !ledger.done.contains(&(id, *lsn));
            assert!(!wanted || found.contains(lsn), "{what}: lane {id}: acknowledged LSN {lsn} is lost");
        }
        assert_eq!(journal.pending(lane(id)), found.len() as u64, "{what}: lane {id}: pending");
        assert_eq!(journal.pending_bytes(lane(id)), bytes, "{what}: lane {id}: pending bytes");
        assert_eq!(recovered.per_lane[usize::from(id)], found.len() as u64, "{what}: lane {id}: recovered");
    }
    check_ids(&journal, ledger, what);
    assert_eq!(journal.stats().corrupt_events, 0, "{what}: corrupt events");
    assert_eq!(journal.stats().corrupt_groups, 0, "{what}: corrupt groups");
    // The log goes on, and gives no LSN twice.
    journal.tend_step(true).unwrap();
    let mut after = ledger.clone();
    match after.append(&journal, &mut Dice(1)) {
        Ok(()) => {}
        Err(Closed::Full) => return,
        Err(e) => panic!("{what}: it does not go on: {e}"),
    }
    journal.commit_step().unwrap();
    assert_eq!(journal.durable().get(), *after.appended.last_key_value().unwrap().0, "{what}");
}

/// The ids of everything that was acknowledged are there, and none that was not appended.
fn check_ids(journal: &Journal<FaultyDisk>, ledger: &Ledger, what: &str) {
    let ids = journal.recent_ids().unwrap();
    assert!(ids.is_sorted_by_key(|id| id.lsn), "{what}: ids out of order");
    for id in &ids {
        let appended = ledger.appended.get(&id.lsn.get()).and_then(|(body, _)| key(body));
        assert_eq!(appended, Some(id.key), "{what}: the id of {}", id.lsn);
    }
    let found: BTreeSet<u64> = ids.iter().map(|id| id.lsn.get()).collect();
    for lsn in ledger.acked.iter().filter(|_| !ledger.lax_ids) {
        assert!(found.contains(lsn), "{what}: the id of acknowledged LSN {lsn} is lost");
    }
}

pub fn segment_files(disk: &FaultyDisk) -> Vec<std::path::PathBuf> {
    let dir = Path::new(DIR).join("journal");
    let mut names: Vec<_> = disk.list(&dir).unwrap().into_iter().filter(|name| name.ends_with(".seg")).collect();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}
