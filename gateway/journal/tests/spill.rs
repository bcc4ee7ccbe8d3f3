//! A lane that lags: its events go to a backlog of its own, come back in order, and hold nobody else up.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use common::{DIR, lane, options};
use journal::{
    Closed, Disk as _, Encoded, FaultyDisk, Journal, LaneReader, LaneSpec, Lsn, Notice, OpenError, Options, disk::Loss,
};

const A: u64 = 2;
const B: u64 = 4;

fn small() -> Options {
    Options { segments: 4, keep: 4, ..options() }
}

fn hooked(options: Options) -> (Options, Arc<Mutex<Vec<Notice>>>) {
    let seen: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let into = seen.clone();
    let hook: journal::Hook = Arc::new(move |notice: &Notice| into.lock().unwrap().push(notice.clone()));
    (Options { hook: Some(hook), ..options }, seen)
}

fn backlog(disk: &FaultyDisk, id: u8) -> Vec<PathBuf> {
    let dir = Path::new(DIR).join(format!("lanes/{id}/backlog"));
    let mut names = disk.list(&dir).unwrap();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

fn body(n: u64, len: usize) -> Vec<u8> {
    n.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// Appends event `n` and makes it durable; the helper has its turn.
fn put(journal: &Journal<FaultyDisk>, n: u64, lanes: u64) -> Lsn {
    put_encoded(journal, Encoded::new(&body(n, 3000), lanes))
}

fn put_encoded(journal: &Journal<FaultyDisk>, encoded: Encoded<'_>) -> Lsn {
    for _ in 0..3 {
        match journal.append(&[encoded]) {
            Ok(lsn) => {
                journal.commit_step().unwrap();
                journal.tend_step(false).unwrap();
                return lsn;
            }
            Err(Closed::Full | Closed::Busy) => journal.tend_step(false).unwrap(),
            Err(e) => panic!("{e}"),
        }
    }
    panic!("the ring is full")
}

fn drain(reader: &mut LaneReader<FaultyDisk>) -> Vec<Lsn> {
    let mut all = Vec::new();
    loop {
        let entries = reader.read(5000).unwrap();
        if entries.is_empty() {
            return all;
        }
        all.extend(entries.iter().map(|entry| entry.lsn));
    }
}

fn drain_done(reader: &mut LaneReader<FaultyDisk>) -> Vec<Lsn> {
    let all = drain(reader);
    for lsn in &all {
        assert!(reader.done(*lsn));
    }
    all
}

/// Lane a is dead, lane b keeps up: more than 20 segments go to a's backlog and come back, b never waits.
#[test]
fn a_dead_lane_harms_nobody() {
    let disk = FaultyDisk::new();
    let (options, notices) = hooked(small());
    let journal = Journal::open(disk.clone(), options).unwrap();
    journal.tend_step(false).unwrap();
    let mut b = journal.lane(lane(2));
    let (mut want, mut bytes) = (BTreeMap::new(), 0);
    for n in 0..600 {
        // Every third event is for both.
        let lanes = if n % 3 == 0 { A | B } else { B };
        let lsn = put(&journal, n, lanes);
        if n % 3 == 0 {
            want.insert(lsn, body(n, 3000));
            bytes += 3000;
        }
        assert_eq!(drain_done(&mut b), [lsn], "the healthy lane gets each event at once");
    }
    let stats = journal.lane_stats(lane(1));
    assert!(stats.spilled_segments >= 20, "{stats:?}");
    assert_eq!((stats.pending, stats.pending_bytes), (200, bytes));
    assert_eq!(stats.backlog_segments, backlog(&disk, 1).len() as u64);
    assert_eq!(stats.oldest, want.keys().next().copied());
    assert_eq!(journal.stats().segments, 4, "the ring has not grown");
    assert!(backlog(&disk, 2).len() <= 1 && journal.lane_stats(lane(2)).pending == 0);
    let mut a = journal.lane(lane(1));
    let mut got = BTreeMap::new();
    loop {
        let entries = a.read(9000).unwrap();
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            assert!(got.last_key_value().is_none_or(|(last, _)| *last < entry.lsn), "in order");
            a.done(entry.lsn);
            got.insert(entry.lsn, entry.body.to_vec());
        }
        journal.tend_step(true).unwrap();
    }
    assert!(got == want, "all of it, as it was");
    let stats = journal.lane_stats(lane(1));
    assert_eq!((stats.pending, stats.pending_bytes, stats.backlog_segments), (0, 0, 0));
    assert_eq!(stats.read_back_segments, stats.spilled_segments);
    assert!(backlog(&disk, 1).is_empty());
    let notices = notices.lock().unwrap();
    assert!(
        notices.contains(&Notice::SpillBegun { lane: lane(1) })
            && notices.contains(&Notice::SpillEnded { lane: lane(1) })
    );
}

/// What waits, in events and bytes, is the same after any stop, and a start opens no file of a backlog.
#[test]
fn counts_survive_a_restart() {
    for clean in [true, false] {
        let mut disk = FaultyDisk::new();
        let mut journal = Journal::open(disk.clone(), small()).unwrap();
        let lsns: Vec<Lsn> = (0..200).map(|n| put(&journal, n, A)).collect();
        {
            // Some are done here and there, in the backlog and in the ring.
            let mut a = journal.lane(lane(1));
            drain(&mut a);
            for lsn in lsns.iter().step_by(7) {
                assert!(a.done(*lsn));
            }
        }
        let left: Vec<Lsn> = lsns.iter().enumerate().filter(|(n, _)| n % 7 != 0).map(|(_, lsn)| *lsn).collect();
        for round in 0..2 {
            let what = format!("clean: {clean}, round {round}");
            journal.save_cursors().unwrap();
            if clean {
                journal.close().unwrap();
            }
            drop(journal);
            disk = disk.crash(Loss::PowerCut, 0);
            journal = Journal::open(disk.clone(), small()).unwrap();
            assert_eq!(journal.recovered().pending(lane(1)), left.len() as u64, "{what}");
            assert_eq!(journal.pending(lane(1)), left.len() as u64, "{what}");
            assert_eq!(journal.pending_bytes(lane(1)), 3000 * left.len() as u64, "{what}");
            assert!(journal.lane_stats(lane(1)).backlog_segments > 10, "{what}");
            assert_eq!(drain(&mut journal.lane(lane(1))), left, "{what}");
            assert_eq!(journal.pending(lane(1)), left.len() as u64, "{what}");
            assert_eq!(journal.pending_bytes(lane(1)), 3000 * left.len() as u64, "{what}");
        }
    }
}

#[test]
fn quotas_are_asked_and_never_enforced() {
    let disk = FaultyDisk::new();
    let mut options = small();
    options.lanes[0].quota = 10_000;
    (options.letters_quota, options.unowed_quota) = (7000, 5000);
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    journal.tend_step(false).unwrap();
    assert!(journal.room(lane(1), 10_000) && !journal.room(lane(1), 10_001) && journal.room(lane(2), u64::MAX));
    let lsns = [put(&journal, 0, A), put(&journal, 1, A), put(&journal, 2, A)];
    assert_eq!(journal.pending_bytes(lane(1)), 9000);
    assert!(journal.room(lane(1), 1000) && !journal.room(lane(1), 1001));
    let mut a = journal.lane(lane(1));
    drain(&mut a);
    a.done(lsns[1]);
    assert!(journal.room(lane(1), 4000) && !journal.room(lane(1), 4001));
    // Letters: those that are owed and those that are not count apart.
    let mut letters = journal.lane(lane(0));
    put(&journal, 3, 1);
    let free: Vec<Lsn> = (0..2_u8).map(|n| put_encoded(&journal, Encoded::new(&[n; 2000], 1).unowed())).collect();
    assert_eq!(journal.lane_stats(lane(0)).unowed_bytes, 4000);
    assert!(journal.room(lane(0), 4000) && !journal.room(lane(0), 4001));
    assert!(journal.room_unowed(1000) && !journal.room_unowed(1001));
    assert_eq!(journal.evict_unowed(1001).events, 0, "not met yet");
    let met = letters.read(1 << 20).unwrap();
    assert_eq!(met.iter().map(|entry| entry.owed).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(journal.evict_unowed(1000).events, 0);
    let evicted = journal.evict_unowed(1001);
    assert_eq!((evicted.events, evicted.bytes), (1, 2000));
    assert!(journal.is_done(lane(0), free[0]) && !journal.is_done(lane(0), free[1]), "the oldest goes");
    assert_eq!(journal.pending(lane(0)), 2, "what is owed stays");
    // Another reader, another run: the same.
    drop(letters);
    drain(&mut journal.lane(lane(0)));
    assert_eq!(journal.lane_stats(lane(0)).unowed_bytes, 2000);
    drop((a, journal));
    let journal = Journal::open(disk.crash(Loss::Kill, 0), options).unwrap();
    assert_eq!(journal.pending_bytes(lane(0)), 7000, "nothing was saved");
    drain(&mut journal.lane(lane(0)));
    assert_eq!(journal.lane_stats(lane(0)).unowed_bytes, 4000);
    drain(&mut journal.lane(lane(0)));
    assert_eq!(journal.lane_stats(lane(0)).unowed_bytes, 4000);
    assert_eq!(journal.evict_unowed(5000).events, 2);
}

/// No room for a backlog: the ring fills, nothing fails, the part that was written is gone; with room it goes on.
#[test]
fn a_full_disk_is_no_failure() {
    for room in [0, 4096, 20_000] {
        let disk = FaultyDisk::new();
        let journal = Journal::open(disk.clone(), small()).unwrap();
        journal.tend_step(false).unwrap();
        let mut lsns = Vec::new();
        while journal.stats().segments < 4 {
            lsns.push(put(&journal, 0, A));
        }
        disk.set_capacity(Some(disk.used() + room));
        loop {
            match journal.append(&[Encoded::new(&body(1, 3000), A)]) {
                Ok(lsn) => lsns.push(lsn),
                Err(Closed::Full) => break,
                Err(e) => assert_eq!(e, Closed::Busy),
            }
            journal.commit_step().unwrap();
            journal.tend_step(false).unwrap();
        }
        assert!(journal.backlog_is_full(), "room {room}");
        assert!(backlog(&disk, 1).iter().all(|path| path.extension().unwrap() == "seg"), "no part is left");
        assert_eq!(journal.pending(lane(1)), lsns.len() as u64);
        disk.set_capacity(None);
        for n in 0..100 {
            lsns.push(put(&journal, n, A));
        }
        assert!(!journal.backlog_is_full() && journal.lane_stats(lane(1)).backlog_segments > 5);
        assert_eq!(drain(&mut journal.lane(lane(1))), lsns);
        // Everything goes out with no byte free.
        disk.set_capacity(Some(disk.used()));
        drain_done(&mut journal.lane(lane(1)));
        journal.tend_step(true).unwrap();
        assert_eq!((journal.pending(lane(1)), backlog(&disk, 1).len()), (0, 0));
    }
}

#[test]
fn a_lane_with_a_backlog_is_discarded_or_moved() {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), small()).unwrap();
    let lsns: Vec<Lsn> = (0..100).map(|n| put(&journal, n, A)).collect();
    journal.close().unwrap();
    drop(journal);
    let only = |names: &[&str]| Options {
        lanes: names.iter().map(|name| LaneSpec { name: (*name).into(), ..LaneSpec::default() }).collect(),
        ..small()
    };
    let before = disk.operations();
    match Journal::open(disk.clone(), only(&["b"])).map(drop) {
        Err(OpenError::LanesMissing { lanes }) => assert_eq!(lanes, [(lane(1), "a".into(), 100)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.operations(), before, "refused before anything was written");
    // A tool takes the lanes as they are.
    let tool = || Options { lanes_as_found: true, lanes: Vec::new(), ..small() };
    assert!(matches!(Journal::open(FaultyDisk::new(), tool()).map(drop), Err(OpenError::Missing { .. })));
    let journal = Journal::open(disk.clone(), tool()).unwrap();
    assert_eq!(journal.move_lane(lane(1), lane(2), |_| None).unwrap(), 100);
    assert_eq!((journal.pending(lane(1)), journal.pending(lane(2))), (0, 100));
    assert_eq!(journal.lane_stats(lane(1)).backlog_segments, 0);
    let mut b = journal.lane(lane(2));
    let mut n = 0;
    loop {
        let entries = b.read(1 << 20).unwrap();
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            assert!(entry.body[..] == body(n, 3000)[..] && entry.lsn > lsns[99]);
            n += 1;
        }
    }
    assert_eq!(n, 100, "in their order");
    drop(b);
    journal.close().unwrap();
    drop(journal);
    // Now a may go, and b is discarded while the journal is open.
    let journal = Journal::open(disk.clone(), only(&["b"])).unwrap();
    assert!(!backlog(&disk, 2).is_empty());
    assert_eq!(journal.discard(lane(2)).unwrap(), 100);
    assert_eq!((journal.pending(lane(2)), journal.pending_bytes(lane(2)), backlog(&disk, 2).len()), (0, 0, 0));
    let after = put(&journal, 7, B);
    assert_eq!(drain(&mut journal.lane(lane(2))), [after]);
    assert_eq!(journal.set_lanes(&only(&["b", "c"]).lanes).unwrap(), [lane(2), lane(3)]);
    drop(journal);
    let journal = Journal::open(disk.crash(Loss::PowerCut, 0), only(&["b", "c"])).unwrap();
    assert_eq!(drain(&mut journal.lane(lane(2))), [after]);
}

/// One event and all are found, wherever they are.
#[test]
fn scans_see_backlogs() {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), small()).unwrap();
    let lsns: Vec<Lsn> = (0..150).map(|n| put(&journal, n, if n % 2 == 0 { A | B } else { A })).collect();
    assert!(journal.lane_stats(lane(1)).backlog_segments > 5 && journal.lane_stats(lane(2)).backlog_segments > 5);
    for (n, lsn) in lsns.iter().enumerate() {
        assert!(journal.read_at(*lsn).unwrap().unwrap().body[..] == body(n as u64, 3000)[..]);
    }
    let scan = |id: Option<u8>| {
        let (mut scan, mut found) = (journal.scan(id.map(lane)), Vec::new());
        loop {
            let entries = scan.read(10_000).unwrap();
            if entries.is_empty() {
                return found;
            }
            found.extend(entries.iter().map(|entry| entry.lsn));
        }
    };
    assert_eq!(scan(None), lsns);
    assert_eq!(scan(Some(1)), lsns);
    assert_eq!(scan(Some(2)), lsns.iter().copied().step_by(2).collect::<Vec<_>>());
    assert!(scan(Some(0)).is_empty());
}

/// A crash at any operation of a spill, with events done that no cursor on the disk knows of: what a start counts is what a
/// reader finds, and nothing that is open is lost.
#[test]
fn a_crash_while_spilling_miscounts_nothing() {
    let mut spilled = 0;
    for at in 1..80 {
        let disk = FaultyDisk::new();
        let journal = Journal::open(disk.clone(), small()).unwrap();
        journal.tend_step(false).unwrap();
        let mut open = Vec::new();
        while journal.stats().segments < 4 {
            open.push(put(&journal, 0, A));
        }
        let mut reader = journal.lane(lane(1));
        drain(&mut reader);
        // The cursor is not saved after these.
        for lsn in open.iter().step_by(2) {
            reader.done(*lsn);
        }
        let open: Vec<Lsn> = open.into_iter().skip(1).step_by(2).collect();
        disk.fail_at(disk.operations() + at, journal::disk::Fault::Crash);
        while !disk.crashed() {
            let _ = journal.append(&[Encoded::new(&body(1, 3000), A)]);
            let _ = journal.commit_step().and_then(|_| journal.tend_step(false));
        }
        spilled += usize::from(!backlog(&disk, 1).is_empty());
        for loss in [Loss::Kill, Loss::PowerCut, Loss::Torn] {
            let journal = Journal::open(disk.crash(loss, at), small()).unwrap();
            let found = drain(&mut journal.lane(lane(1)));
            assert!(open.iter().all(|lsn| found.contains(lsn)), "operation {at}, {loss:?}");
            assert_eq!(journal.recovered().pending(lane(1)), found.len() as u64, "operation {at}, {loss:?}");
            assert_eq!(journal.pending(lane(1)), found.len() as u64, "operation {at}, {loss:?}");
        }
    }
    assert!(spilled > 20, "{spilled}");
}
