//! Appends with 64 and 1,024 in flight, next to a bare loop of `pwrite` and `fdatasync` with the same group sizes, in one
//! run, interleaved. Prints the rate of each and the ratio.
//!
//!     cargo bench -p journal [-- --dir DIR --seconds 2 --rounds 5]
//!
//! One thread keeps `in flight` events of 512 bytes open: it appends until so many are not durable, waits for the mark, and
//! goes on. The bare loop writes groups of the mean size that the journal's had, to a file of zeros, and does nothing else.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use journal::{Closed, Encoded, Journal, LaneSpec, Lsn, Options, OsDisk};

const EVENT: usize = 512;

fn argument(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1)
}

struct Ran {
    rate: f64,
    events: u64,
    groups: u64,
    bytes: u64,
}

fn journal_run(dir: &Path, in_flight: u64, time: Duration) -> Ran {
    let lanes = vec![LaneSpec { name: "null".into(), ..LaneSpec::default() }];
    let journal = Journal::open(OsDisk, Options { lanes, ..Options::new(dir) }).unwrap();
    let body = vec![0x5a; EVENT];
    let watch = journal.watch();
    let lane = journal.lane_id("null").unwrap();
    // No lane reads here: events for no lane hold no segment back, so the ring goes round.
    let _ = lane;
    let append = |n: u64| {
        let mut last = Lsn::ZERO;
        for _ in 0..n {
            last = loop {
                match journal.append(&[Encoded::new(&body, 0)]) {
                    Ok(lsn) => break lsn,
                    Err(Closed::Busy | Closed::Full) => std::thread::yield_now(),
                    Err(e) => panic!("{e}"),
                }
            };
        }
        last
    };
    // Warm: past the first segment, which is not written with zeros.
    let mut last = Lsn::ZERO;
    while journal.stats().bytes < 70 << 20 {
        last = append(4096);
    }
    watch.wait(last).unwrap();
    let before = journal.stats();
    let begun = Instant::now();
    let mut appended = last.get();
    while begun.elapsed() < time {
        let open = appended - watch.durable().get();
        appended = append(in_flight - open).get();
        // Until some of them are durable: the mark moves by a group.
        watch.wait(Lsn::from_raw(watch.durable().get() + 1)).unwrap();
    }
    watch.wait(Lsn::from_raw(appended)).unwrap();
    let took = begun.elapsed().as_secs_f64();
    let after = journal.stats();
    journal.close().unwrap();
    let (events, groups, bytes) =
        (after.events - before.events, after.groups - before.groups, after.bytes - before.bytes);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    Ran { rate: events as f64 / took, events, groups, bytes }
}

/// Groups of `bytes` with `events` in each.
fn bare_run(dir: &Path, events: f64, bytes: usize, time: Duration) -> f64 {
    const FILE: usize = 64 << 20;
    let path = dir.join("bare");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    for _ in 0..FILE >> 20 {
        file.write_all(&vec![0; 1 << 20]).unwrap();
    }
    file.sync_all().unwrap();
    let group = vec![0x5a; bytes.next_multiple_of(4096)];
    let (mut at, mut groups) = (0, 0.0);
    let begun = Instant::now();
    while begun.elapsed() < time {
        if at + group.len() > FILE {
            at = 0;
        }
        file.write_all_at(&group, at as u64).unwrap();
        file.sync_data().unwrap();
        at += group.len();
        groups += 1.0;
    }
    groups * events / begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let seconds: f64 = argument("--seconds").and_then(|s| s.parse().ok()).unwrap_or(1.0);
    let rounds: usize = argument("--rounds").and_then(|s| s.parse().ok()).unwrap_or(5);
    let base = argument("--dir").map_or_else(std::env::temp_dir, Into::into);
    let time = Duration::from_secs_f64(seconds);
    println!("events of {EVENT} bytes, {rounds} rounds of {seconds} s each, medians, in {}", base.display());
    println!(
        "{:>9}  {:>12}  {:>12}  {:>6}  {:>14}  {:>12}",
        "in flight", "journal/s", "bare/s", "ratio", "events a group", "bytes a group"
    );
    for in_flight in [64, 1024] {
        let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut shape = (0.0, 0);
        for _ in 0..rounds {
            let dir = tempfile::tempdir_in(&base).unwrap();
            let ran = journal_run(&dir.path().join("journal"), in_flight, time);
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            let events = ran.events as f64 / ran.groups.max(1) as f64;
            let bytes = usize::try_from(ran.bytes / ran.groups.max(1)).unwrap();
            let floor = bare_run(dir.path(), events, bytes, time);
            shape = (events, bytes);
            ratios.push(ran.rate / floor);
            ours.push(ran.rate);
            bare.push(floor);
        }
        println!(
            "{in_flight:>9}  {:>12.0}  {:>12.0}  {:>6.2}  {:>14.1}  {:>12}",
            median(ours),
            median(bare),
            median(ratios),
            shape.0,
            shape.1
        );
    }
}
