//! A lane that reads what lies in the ring, next to reading the same files and looking at nothing, as `cat` does.
//!
//!     cargo bench -p journal --bench read [-- --dir DIR --mib 256 --rounds 5]
//!
//! Each round fills a journal of its own with events of 512 bytes, and reads it twice each way: from the page cache, and after the
//! kernel was told to forget the files. The lane checks every checksum, hands every event out and calls it done.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use journal::{Closed, Encoded, Journal, LaneId, LaneSpec, Lsn, Options, OsDisk};
use rustix::fs::{Advice, fadvise};

const EVENT: usize = 512;
const READ: usize = 256 << 10;

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}

fn open(dir: &Path) -> (Journal<OsDisk>, LaneId) {
    let lanes = ["warm", "cold"].map(|name| LaneSpec { name: name.into(), ..LaneSpec::default() }).into();
    let journal = Journal::open(OsDisk, Options { lanes, ..Options::new(dir) }).unwrap();
    let lane = journal.lane_id("warm").unwrap();
    (journal, lane)
}

/// Events for both lanes until `mib` are written and durable; how many.
fn fill(journal: &Journal<OsDisk>, mib: u64) -> u64 {
    let body = vec![0x5a; EVENT];
    let lanes = journal.lane_id("warm").unwrap().bit() | journal.lane_id("cold").unwrap().bit();
    let (watch, mut last, mut events) = (journal.watch(), Lsn::ZERO, 0);
    let entry = Encoded::new(&body, lanes);
    while journal.stats().bytes < mib << 20 {
        for _ in 0..4096 {
            last = loop {
                match journal.append(&[entry]) {
                    Ok(lsn) => break lsn,
                    Err(Closed::Busy) => std::thread::yield_now(),
                    Err(e) => panic!("{e}"),
                }
            };
            events += 1;
        }
    }
    watch.wait(last).unwrap();
    events
}

/// Seconds for all events of a lane, read, checked and done.
fn lane(journal: &Journal<OsDisk>, name: &str, events: u64) -> f64 {
    let begun = Instant::now();
    let mut reader = journal.lane(journal.lane_id(name).unwrap());
    let mut seen = 0;
    while seen < events {
        let entries = reader.read(READ).unwrap();
        assert!(!entries.is_empty(), "{seen} of {events} events");
        seen += entries.len() as u64;
        for entry in entries {
            reader.done(entry.lsn);
        }
    }
    begun.elapsed().as_secs_f64()
}

/// The ring, oldest first; not what is still being made ready.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
    files.sort();
    files
}

/// Seconds for `bytes` of the files from the first on, in pieces of 128 KiB.
fn cat(files: &[PathBuf], mut bytes: u64) -> f64 {
    let (begun, mut buffer) = (Instant::now(), vec![0; 128 << 10]);
    for path in files {
        if bytes == 0 {
            break;
        }
        let mut file = File::open(path).unwrap();
        while bytes > 0 {
            let wanted = buffer.len().min(usize::try_from(bytes).unwrap());
            let read = file.read(&mut buffer[..wanted]).unwrap();
            if read == 0 {
                break;
            }
            bytes -= read as u64;
        }
    }
    begun.elapsed().as_secs_f64()
}

/// The kernel's copies of the files are dropped; they were synced.
fn forget(files: &[PathBuf]) {
    for path in files {
        // A segment without events may have become the next one to write.
        let Ok(file) = File::open(path) else { continue };
        file.sync_data().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mib: u64 = argument("--mib").and_then(|s| s.parse().ok()).unwrap_or(256);
    let rounds: usize = argument("--rounds").and_then(|s| s.parse().ok()).unwrap_or(5);
    let base = argument("--dir").map_or_else(std::env::temp_dir, Into::into);
    println!("{mib} MiB of events of {EVENT} bytes, {rounds} rounds, medians, in {}", base.display());
    println!("{:>12}  {:>12}  {:>12}  {:>10}  {:>6}", "files in", "lane MiB/s", "cat MiB/s", "events/s", "ratio");
    let mut found = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        let dir = tempfile::tempdir_in(&base).unwrap();
        let (journal, _) = open(dir.path());
        let events = fill(&journal, mib);
        let bytes = journal.stats().bytes;
        let files = segments(dir.path());
        cat(&files, bytes);
        // The other lane keeps the segments; once both are done they are used again, under other names.
        let (theirs, ours) = (cat(&files, bytes), lane(&journal, "warm", events));
        found[0].push((ours, theirs, bytes, events));
        forget(&files);
        let theirs = cat(&files, bytes);
        forget(&files);
        found[1].push((lane(&journal, "cold", events), theirs, bytes, events));
        journal.close().unwrap();
    }
    for (name, rounds) in ["page cache", "disk"].into_iter().zip(found) {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = |seconds: f64, count: u64| count as f64 / seconds;
        let of = |value: fn(&(f64, f64, u64, u64)) -> f64| median(rounds.iter().map(value).collect());
        let (ours, theirs, ratio) = (of(|r| r.0), of(|r| r.1), of(|r| r.1 / r.0));
        let (_, _, bytes, events) = rounds[0];
        println!(
            "{name:>12}  {:>12.0}  {:>12.0}  {:>10.0}  {ratio:>6.2}",
            rate(ours, bytes) / 1048576.0,
            rate(theirs, bytes) / 1048576.0,
            rate(ours, events)
        );
    }
}
