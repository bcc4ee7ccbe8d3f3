//! Dedupe ids of the window, after any stop, damage and recycling.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use common::{DIR, options};
use journal::{Closed, Disk as _, Encoded, FaultyDisk, Journal, Lsn, Notice, Options, disk::Loss};

fn micros(ago: Duration) -> u64 {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().checked_sub(ago).unwrap();
    u64::try_from(at.as_micros()).unwrap()
}

/// A body says its key and its time; the key 0 is none.
fn body(key: u64, time: u64) -> Vec<u8> {
    let mut body = vec![0; 3000];
    body[..8].copy_from_slice(&key.to_le_bytes());
    body[8..16].copy_from_slice(&time.to_le_bytes());
    body
}

fn keyed(body: &[u8]) -> Option<journal::Key> {
    let key = u64::from_le_bytes(body[..8].try_into().unwrap());
    let time = u64::from_le_bytes(body[8..16].try_into().unwrap());
    (key > 0).then(|| (u128::from(key).to_le_bytes(), time))
}

fn with(ids_count: u64) -> (Options, Arc<Mutex<Vec<Notice>>>) {
    let seen: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let into = seen.clone();
    let hook: journal::Hook = Arc::new(move |notice: &Notice| into.lock().unwrap().push(notice.clone()));
    (Options { key_of: Some(Arc::new(keyed)), ids_count, segments: 4, keep: 4, hook: Some(hook), ..options() }, seen)
}

fn put(journal: &Journal<FaultyDisk>, key: u64, time: u64) -> Lsn {
    loop {
        // For no lane: nothing holds a segment back but its ids.
        match journal.append(&[Encoded::new(&body(key, time), 0)]) {
            Ok(lsn) => {
                journal.commit_step().unwrap();
                journal.tend_step(false).unwrap();
                return lsn;
            }
            Err(Closed::Full | Closed::Busy) => journal.tend_step(false).unwrap(),
            Err(e) => panic!("{e}"),
        }
    }
}

fn keys(journal: &Journal<FaultyDisk>) -> Vec<u64> {
    let ids = journal.recent_ids().unwrap();
    ids.iter().map(|id| u64::try_from(u128::from_le_bytes(id.key)).unwrap()).collect()
}

fn files(disk: &FaultyDisk) -> Vec<PathBuf> {
    let dir = Path::new(DIR).join("ids");
    let mut names = disk.list(&dir).unwrap();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

#[test]
fn ids_outlive_their_segments_and_any_stop() {
    let (options, _) = with(1000);
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    let now = micros(Duration::ZERO);
    // Every tenth has none.
    let lsns: Vec<Lsn> = (1..=200).map(|key| put(&journal, if key % 10 == 0 { 0 } else { key }, now)).collect();
    assert!(journal.stats().recycled > 10, "the ring has gone round");
    let want: Vec<u64> = (1..=200).filter(|key| key % 10 > 0).collect();
    assert_eq!(keys(&journal), want);
    let first = journal.recent_ids().unwrap()[0];
    assert_eq!((first.lsn, first.time), (lsns[0], now));
    drop(journal);
    for loss in [Loss::Kill, Loss::PowerCut, Loss::Torn] {
        let journal = Journal::open(disk.crash(loss, 1), options.clone()).unwrap();
        assert_eq!(keys(&journal), want, "{loss:?}");
    }
}

/// As `put`, and says of bodies without a key that they have none, as the gateway does.
fn put_said(journal: &Journal<FaultyDisk>, key: u64, time: u64) {
    let body = body(key, time);
    let entry = Encoded::new(&body, 0);
    let entry = if key == 0 { entry.unkeyed() } else { entry };
    while let Err(closed) = journal.append(&[entry]) {
        assert!(matches!(closed, Closed::Full | Closed::Busy), "{closed}");
        journal.tend_step(false).unwrap();
    }
    journal.commit_step().unwrap();
    journal.tend_step(false).unwrap();
}

#[test]
fn a_segment_without_ids_is_not_read_for_them() {
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let into = asked.clone();
    let (options, _) = with(1000);
    let key_of: journal::KeyOf = Arc::new(move |body: &[u8]| {
        into.lock().unwrap().push(u64::from_le_bytes(body[..8].try_into().unwrap()));
        keyed(body)
    });
    let options = Options { key_of: Some(key_of), ..options };
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    let now = micros(Duration::ZERO);
    for _ in 0..100 {
        put_said(&journal, 0, now);
    }
    assert!(journal.stats().recycled > 3, "the ring has gone round");
    assert!(asked.lock().unwrap().is_empty(), "and nobody looked for ids");
    assert!(files(&disk).len() <= 2, "files without ids do not pile up: {:?}", files(&disk));
    // One event with a key among others: its segment is read, and the next ones are not.
    put_said(&journal, 7, now);
    for _ in 0..100 {
        put_said(&journal, 0, now);
    }
    assert_eq!(asked.lock().unwrap().iter().filter(|key| **key == 7).count(), 1);
    assert!(asked.lock().unwrap().len() < 30, "one segment was read: {}", asked.lock().unwrap().len());
    put_said(&journal, 8, now);
    drop(journal);
    for loss in [Loss::Kill, Loss::PowerCut, Loss::Torn] {
        let journal = Journal::open(disk.crash(loss, 1), options.clone()).unwrap();
        assert_eq!(keys(&journal), [7, 8], "{loss:?}: what a segment of an earlier run holds is looked up");
        for _ in 0..100 {
            put_said(&journal, 0, now);
        }
        assert_eq!(keys(&journal), [7, 8], "{loss:?}: also when that segment has been used again");
    }
}

#[test]
fn the_window_is_bounded_by_time_and_count() {
    let disk = FaultyDisk::new();
    let (options, _) = with(50);
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    let (old, now) = (micros(Duration::from_secs(700)), micros(Duration::ZERO));
    for key in 1..=100 {
        put(&journal, key, old);
    }
    assert!(keys(&journal).is_empty(), "older than ten minutes");
    assert!(files(&disk).len() <= 2, "and their files are gone: {:?}", files(&disk));
    for key in 101..=300 {
        put(&journal, key, now);
    }
    assert_eq!(keys(&journal), (251..=300).collect::<Vec<_>>(), "the newest fifty");
    // Some nine to a file.
    assert!((6..=8).contains(&files(&disk).len()), "{:?}", files(&disk));
    drop(journal);
    let journal = Journal::open(disk.crash(Loss::PowerCut, 0), options).unwrap();
    assert_eq!(keys(&journal), (251..=300).collect::<Vec<_>>());
    for key in 301..=320 {
        put(&journal, key, now);
    }
    assert_eq!(keys(&journal), (271..=320).collect::<Vec<_>>());
}

/// A damaged file is told; its segment is read instead while it is there; nothing stops a start.
#[test]
fn damage_costs_a_scan_or_the_ids_of_one_segment() {
    let disk = FaultyDisk::new();
    let (options, notices) = with(1000);
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    let now = micros(Duration::ZERO);
    for key in 1..=100 {
        put(&journal, key, now);
    }
    journal.close().unwrap();
    drop(journal);
    let (files, segments) = (files(&disk), common::segment_files(&disk));
    let in_ring = |ids: &Path| segments.iter().any(|segment| segment.file_stem() == ids.file_stem());
    assert!(!in_ring(&files[0]) && in_ring(files.last().unwrap()));
    // The oldest, whose segment is gone, and the newest, whose segment is there; in turn flipped, cut, emptied, removed.
    for (round, lost) in [files[0].clone(), files.last().unwrap().clone()].into_iter().enumerate() {
        for how in 0..4 {
            let disk = disk.crash(Loss::Kill, 0);
            match how {
                0 => disk.damage(&lost, |bytes| bytes[60] ^= 1),
                1 => disk.damage(&lost, |bytes| bytes.truncate(bytes.len() - 7)),
                2 => disk.damage(&lost, Vec::clear),
                _ => disk.remove(&lost).unwrap(),
            }
            notices.lock().unwrap().clear();
            let journal = Journal::open(disk.clone(), options.clone()).unwrap();
            let found = keys(&journal);
            if round == 0 {
                assert!(found.len() < 100 && found.len() >= 85 && found.last() == Some(&100), "{how}: {found:?}");
            } else {
                assert_eq!(found, (1..=100).collect::<Vec<_>>(), "{how}");
            }
            let told = notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::IdsLost { .. }));
            assert_eq!(told, how < 3);
            for key in 101..=130 {
                put(&journal, key, now);
            }
            assert_eq!(keys(&journal).last(), Some(&130), "it goes on");
        }
    }
}

/// No room for ids: told once, and the ring goes round all the same.
#[test]
fn a_full_disk_holds_nobody_up() {
    let disk = FaultyDisk::new();
    let (options, notices) = with(1000);
    let journal = Journal::open(disk.clone(), options).unwrap();
    let now = micros(Duration::ZERO);
    while journal.stats().segments < 4 {
        put(&journal, 1, now);
    }
    disk.set_capacity(Some(disk.used()));
    for key in 2..=100 {
        put(&journal, key, now);
    }
    let lost = |notice: &&Notice| matches!(notice, Notice::IdsLost { .. });
    assert_eq!(notices.lock().unwrap().iter().filter(lost).count(), 1);
    disk.set_capacity(None);
    for key in 101..=150 {
        put(&journal, key, now);
    }
    assert!(keys(&journal).ends_with(&(101..=150).collect::<Vec<_>>()));
}
