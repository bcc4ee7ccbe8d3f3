//! A whole data directory of format 1, as it was once written: it must open and give back everything for ever. Its files'
//! formats are compared byte for byte in the unit tests of `format`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p journal --test golden` writes it anew; only for a new format, into a folder of its own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{DIR, lane};
use journal::{Closed, Encoded, Journal, LaneSpec, Lsn, MemoryDisk, Options};

const EVENTS: u64 = 60;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn options() -> Options {
    Options {
        lanes: ["a", "b"].map(|name| LaneSpec { name: name.into(), kind: "null".into(), ..LaneSpec::default() }).into(),
        segment_size: 32 << 10,
        segments: 3,
        keep: 3,
        group_bytes: 16 << 10,
        shards: 1,
        threads: false,
        // All times are as old as the files.
        ids_window: std::time::Duration::from_secs(u64::from(u32::MAX)),
        key_of: Some(std::sync::Arc::new(|body: &[u8]| Some((common::key(body)?, 1_700_000_000_000_000)))),
        ..Options::new(DIR)
    }
}

fn body(n: u64) -> Vec<u8> {
    n.to_le_bytes().into_iter().cycle().take(if n.is_multiple_of(7) { 3000 } else { 900 }).collect()
}

/// Every third for both backends, some letters, one of two of which nobody is owed.
fn lanes(n: u64) -> u64 {
    match n % 10 {
        9 => 1,
        n if n % 3 == 0 => 0b110,
        _ => 0b010,
    }
}

/// Lane a is dead, so that it has a backlog; lane b is done with all but the last five; a few of a are done.
fn write(disk: &MemoryDisk) {
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut b = journal.lane(lane(2));
    for n in 0..EVENTS {
        journal.tend_step(true).unwrap();
        let body = body(n);
        let mut encoded = Encoded::new(&body, lanes(n));
        if n == 19 {
            encoded = encoded.unowed();
        }
        while let Err(e) = journal.append(&[encoded]) {
            assert!(matches!(e, Closed::Full | Closed::Busy));
            journal.tend_step(true).unwrap();
        }
        journal.commit_step().unwrap();
        for entry in b.read(1 << 20).unwrap() {
            if n < EVENTS - 5 {
                b.done(entry.lsn);
            }
        }
    }
    let mut a = journal.lane(lane(1));
    for entry in a.read(20_000).unwrap() {
        if entry.lsn.get().is_multiple_of(4) {
            a.done(entry.lsn);
        }
    }
    a.set_state(b"position".to_vec());
    journal.close().unwrap();
}

fn store(disk: &MemoryDisk) {
    for (path, bytes) in disk.files() {
        let Ok(name) = path.strip_prefix(DIR) else { continue };
        if name.as_os_str() == "LOCK" {
            continue;
        }
        let path = golden().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Zeros at the end are put back when it is read.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        fs::write(path, &bytes[..used]).unwrap();
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn load() -> MemoryDisk {
    let (disk, mut found) = (MemoryDisk::new(), Vec::new());
    files(&golden(), &mut found);
    for path in found {
        let mut bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(golden()).unwrap();
        if name.starts_with("journal") {
            bytes.resize(32 << 10, 0);
        } else if name.starts_with("lanes") && name.ends_with("cursor") {
            bytes.resize(128 << 10, 0);
        } else if name.to_str().unwrap().starts_with("meta") {
            bytes.resize(64 << 10, 0);
        } else if name.extension().is_some_and(|kind| kind == "seg") {
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
        }
        disk.put(Path::new(DIR).join(name), bytes);
    }
    disk
}

#[test]
fn a_directory_of_format_1_opens_and_has_everything() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(golden());
        let disk = MemoryDisk::new();
        write(&disk);
        store(&disk);
    }
    let journal = Journal::open(load(), options()).unwrap();
    assert!(journal.recovered().clean && journal.recovered().starts == 2);
    assert!(journal.lane_stats(lane(1)).backlog_segments > 1, "a backlog is among it");
    for id in 0..3 {
        let mut reader = journal.lane(lane(id));
        let (mut found, mut bytes) = (Vec::new(), 0);
        loop {
            let entries = reader.read(1 << 20).unwrap();
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let n = entry.lsn.get() - 1;
                assert!(entry.body[..] == body(n)[..] && entry.lanes == lanes(n));
                assert_eq!(entry.owed, n != 19);
                bytes += entry.body.len() as u64;
                found.push(entry.lsn);
            }
        }
        let wanted = (0..EVENTS).filter(|n| lanes(*n) & (1 << id) != 0).map(|n| Lsn::from_raw(n + 1));
        let want: Vec<Lsn> = match id {
            0 => wanted.collect(),
            // The first 20,000 bytes were read, and every fourth LSN of them is done.
            1 => {
                let mut read = 0;
                let is_open = |lsn: &Lsn| {
                    let first = read < 20_000;
                    read += body(lsn.get() - 1).len();
                    !(first && lsn.get().is_multiple_of(4))
                };
                wanted.filter(is_open).collect()
            }
            _ => wanted.filter(|lsn| lsn.get() > EVENTS - 5).collect(),
        };
        assert_eq!(found, want, "lane {id}");
        assert_eq!((journal.pending(lane(id)), journal.pending_bytes(lane(id))), (want.len() as u64, bytes));
    }
    assert_eq!(journal.lane(lane(1)).state(), b"position");
    let ids = journal.recent_ids().unwrap();
    assert_eq!(ids.iter().map(|id| id.lsn.get()).collect::<Vec<_>>(), (1..=EVENTS).collect::<Vec<_>>());
    assert!(ids.iter().all(|id| Some(id.key) == common::key(&body(id.lsn.get() - 1))));
}
