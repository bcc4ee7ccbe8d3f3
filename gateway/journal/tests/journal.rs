//! The journal from outside: append, sync, read, done, close, start again; on the real disk and in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use journal::{Closed, Disk, Encoded, Journal, LaneId, LaneSpec, Lsn, MemoryDisk, OpenError, Options, OsDisk};

fn spec(name: &str) -> LaneSpec {
    LaneSpec { name: name.into(), kind: "null".into(), config_hash: 1, renamed_from: None, quota: 0 }
}

fn options(dir: impl Into<std::path::PathBuf>) -> Options {
    Options {
        lanes: vec![spec("a"), spec("b")],
        segment_size: 64 << 10,
        segments: 6,
        group_bytes: 32 << 10,
        ..Options::new(dir)
    }
}

fn bits(ids: &[u8]) -> u64 {
    ids.iter().map(|id| LaneId::new(*id).unwrap().bit()).sum()
}

fn lane(id: u8) -> LaneId {
    LaneId::new(id).unwrap()
}

/// All that a lane gives now.
fn drain<D: Disk>(reader: &mut journal::LaneReader<D>) -> Vec<(Lsn, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let more = reader.read(4096).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more.into_iter().map(|entry| (entry.lsn, entry.body.to_vec())));
    }
}

fn round_trip<D: Disk + Clone>(disk: &D, dir: &std::path::Path) {
    let journal = Journal::open(disk.clone(), options(dir)).unwrap();
    assert_eq!(journal.lane_id("a"), Some(lane(1)));
    let mut want_a = Vec::new();
    let mut last = Lsn::ZERO;
    for i in 0..200_u32 {
        let body = i.to_le_bytes();
        let lanes = if i % 3 == 0 { bits(&[1, 2]) } else { bits(&[2]) };
        let lsn = loop {
            match journal.append(&[Encoded::gathered(&body, b"payload", lanes)]) {
                Ok(lsn) => break lsn,
                Err(Closed::Busy) => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        };
        assert!(lsn > last);
        last = lsn;
        if i % 3 == 0 {
            want_a.push((lsn, [&body[..], b"payload"].concat()));
        }
    }
    journal.sync().unwrap();
    assert!(journal.durable() >= last);
    let mut a = journal.lane(lane(1));
    let got = drain(&mut a);
    assert_eq!(got, want_a);
    assert_eq!(journal.pending(lane(1)), want_a.len() as u64);
    for (lsn, _) in got.iter().step_by(2) {
        assert!(a.done(*lsn));
        assert!(!a.done(*lsn));
    }
    let left: Vec<_> = want_a.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(journal.pending(lane(1)), left.len() as u64);
    assert_eq!(journal.read_at(want_a[3].0).unwrap().unwrap().body.to_vec(), want_a[3].1);
    assert!(journal.read_at(Lsn::from_raw(last.get() + 1)).unwrap().is_none());
    assert_eq!(journal.scan(None).read(1 << 20).unwrap().len(), 200);
    journal.close().unwrap();
    assert_eq!(journal.append(&[Encoded::new(b"x", 2)]), Err(Closed::Stopping));
    drop((a, journal));

    let journal = Journal::open(disk.clone(), options(dir)).unwrap();
    assert!(journal.recovered().clean);
    assert_eq!(journal.recovered().pending(lane(1)), left.len() as u64);
    assert_eq!(journal.recovered().pending(lane(2)), 200);
    assert_eq!(drain(&mut journal.lane(lane(1))), left);
    let next = journal.append(&[Encoded::new(b"after", bits(&[1]))]).unwrap();
    assert_eq!(next.get(), last.get() + 1, "no jump after a clean stop");
    drop(journal);

    // Dropped, not closed: everything appended is there, the LSN jumps.
    let journal = Journal::open(disk.clone(), options(dir)).unwrap();
    assert!(!journal.recovered().clean);
    assert_eq!(journal.recovered().corrupt_groups, 0);
    let mut a = journal.lane(lane(1));
    let got = drain(&mut a);
    assert_eq!(got.len(), left.len() + 1);
    assert_eq!(got.last().unwrap(), &(next, b"after".to_vec()));
    assert_eq!(journal.pending(lane(1)), got.len() as u64);
    assert!(journal.append(&[Encoded::new(b"x", 2)]).unwrap().get() > next.get() + 1000);
}

#[test]
fn appends_reads_and_recovers_in_memory() {
    round_trip(&MemoryDisk::new(), std::path::Path::new("/data"));
}

/// A bounded memory disk fills, refuses, and has room again.
#[test]
fn a_bounded_memory_disk_is_full_some_time() {
    let disk = MemoryDisk::bounded(1 << 20);
    let journal = Journal::open(disk.clone(), Options { threads: false, ..options("/data") }).unwrap();
    let mut taken = 0;
    loop {
        journal.tend_step(true).unwrap();
        match journal.append(&[Encoded::new(&[1; 5000], bits(&[1]))]) {
            Ok(_) => assert!(journal.commit_step().unwrap()),
            Err(Closed::Full) => break,
            Err(e) => panic!("{e}"),
        }
        taken += 1;
    }
    let bytes: usize = disk.files().values().map(Vec::len).sum();
    assert!(bytes <= 1 << 20 && taken > 60, "{bytes} bytes, {taken} events");
    assert_eq!(disk.free(std::path::Path::new("/")).unwrap(), (1 << 20) - bytes as u64);
    let mut reader = journal.lane(lane(1));
    assert_eq!(drain(&mut reader).len(), taken);
    assert_eq!(journal.discard(lane(1)).unwrap(), taken as u64);
    journal.tend_step(true).unwrap();
    assert!(journal.append(&[Encoded::new(&[1; 5000], bits(&[1]))]).is_ok());
}

#[test]
fn appends_reads_and_recovers_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    round_trip(&OsDisk, dir.path());
    let journal = Journal::open(OsDisk, options(dir.path())).unwrap();
    match Journal::open(OsDisk, options(dir.path())).map(drop) {
        Err(OpenError::Locked { pid: Some(pid), .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    drop(journal);
}

/// A lane that has read everything sleeps, also right after an unclean start, and wakes for what is new.
#[test]
fn a_lane_sleeps_until_there_is_more() {
    use std::task::{Context, Poll, Waker};
    let disk = MemoryDisk::new();
    let manual = || Options { threads: false, ..options("/data") };
    let mut cx = Context::from_waker(Waker::noop());
    for start in 0..3 {
        let journal = Journal::open(disk.clone(), manual()).unwrap();
        let mut a = journal.lane(lane(1));
        drain(&mut a);
        assert_eq!(a.poll_new(&mut cx), Poll::Pending, "start {start}");
        journal.append(&[Encoded::new(b"for b", bits(&[2]))]).unwrap();
        journal.append(&[Encoded::new(b"for a", bits(&[1]))]).unwrap();
        assert_eq!(a.poll_new(&mut cx), Poll::Pending, "appended is not durable");
        assert!(a.read(100).unwrap().is_empty());
        journal.commit_step().unwrap();
        assert_eq!(a.poll_new(&mut cx), Poll::Ready(Ok(())));
        assert_eq!(drain(&mut a).last().unwrap().1, b"for a");
        assert_eq!(a.poll_new(&mut cx), Poll::Pending);
        if start == 1 {
            journal.close().unwrap();
            assert_eq!(a.poll_new(&mut cx), Poll::Ready(Err(journal::Failed)));
        }
    }
}

/// Every dispatcher on a thread of its own.
fn dispatch<D: Disk>(journal: &Journal<D>) -> Vec<std::thread::JoinHandle<()>> {
    use std::{future::Future as _, pin::pin, sync::Arc, task::Context};
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    journal
        .dispatchers()
        .into_iter()
        .map(|dispatch| {
            std::thread::spawn(move || {
                let waker = Arc::new(Unpark(std::thread::current())).into();
                let mut cx = Context::from_waker(&waker);
                let mut dispatch = pin!(dispatch);
                while dispatch.as_mut().poll(&mut cx).is_pending() {
                    std::thread::park();
                }
            })
        })
        .collect()
}

/// Many threads, the dispatchers on threads of their own, one slow lane reader: all is acknowledged and all is read.
#[test]
fn many_writers_and_a_reader() {
    const WRITERS: usize = 4;
    const EACH: usize = 500;
    let journal = Journal::open(MemoryDisk::new(), options("/data")).unwrap();
    let dispatchers = dispatch(&journal);
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    let lsn = loop {
                        match journal.append(&[Encoded::new(&[1; 700], bits(&[1]))]) {
                            Ok(lsn) => break lsn,
                            Err(Closed::Busy | Closed::Full) => std::thread::yield_now(),
                            Err(e) => panic!("{e}"),
                        }
                    };
                    journal.watch().wait(lsn).unwrap();
                    assert!(journal.durable() >= lsn);
                }
            })
        })
        .collect();
    let mut reader = journal.lane(lane(1));
    let mut last = Lsn::ZERO;
    let mut read = 0;
    let deadline = Instant::now() + Duration::from_secs(120);
    // The ring holds a part of it only: it goes round while this lane moves on.
    while read < WRITERS * EACH {
        assert!(journal.failure().is_none(), "{:?}", journal.failure());
        // One that panicked: its events never come.
        if let Some(at) = writers.iter().position(std::thread::JoinHandle::is_finished) {
            writers.swap_remove(at).join().unwrap();
        }
        let where_it_is = || (journal.stats(), journal.durable(), journal.last());
        assert!(Instant::now() < deadline, "{read} read; stats, durable, last: {:?}", where_it_is());
        let entries = reader.read(10_000).unwrap();
        for entry in &entries {
            assert!(entry.lsn > last);
            last = entry.lsn;
            reader.done(entry.lsn);
        }
        read += entries.len();
        if entries.is_empty() {
            std::thread::yield_now();
        }
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(journal.pending(lane(1)), 0);
    assert!(journal.stats().recycled > 0 && journal.stats().corrupt_groups == 0);
    journal.close().unwrap();
    for dispatcher in dispatchers {
        dispatcher.join().unwrap();
    }
}
