//! Damage on the medium loses what it hit and nothing else, and is counted; a disk that fails ends the journal for good.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use common::{DIR, lane, options, segment_files};
use journal::{
    Closed, Disk as _, Encoded, FaultyDisk, Journal, LaneSpec, Lsn, Notice, OpenError, Options, Waiter,
    disk::{Fault, Loss},
};

const A: u64 = 2;

/// Ten groups of three events each in one segment, closed cleanly or not.
fn filled(clean: bool) -> (FaultyDisk, Vec<Lsn>) {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut lsns = Vec::new();
    for group in 0..6_u8 {
        let bodies: Vec<Vec<u8>> = (0..3).map(|i| vec![group * 3 + i; 100]).collect();
        let entries: Vec<_> = bodies.iter().map(|body| Encoded::new(body, A)).collect();
        let last = journal.append(&entries).unwrap().get();
        lsns.extend((last - 2..=last).map(Lsn::from_raw));
        assert!(journal.commit_step().unwrap());
    }
    if clean {
        journal.close().unwrap();
    }
    drop(journal);
    (disk, lsns)
}

fn segment_of_groups(disk: &FaultyDisk) -> std::path::PathBuf {
    let with = |path: &std::path::PathBuf| disk.get(path).unwrap().get(4096..4100) == Some(b"AGrp");
    segment_files(disk).into_iter().find(with).unwrap()
}

fn read_all(journal: &Journal<FaultyDisk>) -> Vec<Lsn> {
    read_all_of(journal, 1)
}

fn read_all_of(journal: &Journal<FaultyDisk>, id: u8) -> Vec<Lsn> {
    let mut reader = journal.lane(lane(id));
    let mut all = Vec::new();
    loop {
        let more = reader.read(150).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more.iter().map(|entry| entry.lsn));
    }
}

fn hooked() -> (Options, Arc<Mutex<Vec<Notice>>>) {
    let seen: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let into = seen.clone();
    let hook: journal::Hook = Arc::new(move |notice: &Notice| into.lock().unwrap().push(notice.clone()));
    (Options { hook: Some(hook), ..options() }, seen)
}

#[test]
fn a_flipped_body_bit_loses_one_event() {
    for clean in [true, false] {
        let (disk, lsns) = filled(clean);
        let segment = segment_of_groups(&disk);
        // The second event of the third group.
        disk.damage(&segment, |bytes| bytes[4096 * 3 + 64 + 150] ^= 1);
        let (options, notices) = hooked();
        let journal = Journal::open(disk, options).unwrap();
        let mut want = lsns.clone();
        let lost = want.remove(7);
        assert_eq!(read_all(&journal), want, "clean: {clean}");
        assert!(matches!(&notices.lock().unwrap()[..], [Notice::CorruptEvent { lsn, .. }] if *lsn == lost));
        assert_eq!(journal.stats().corrupt_events, 1);
        assert_eq!(journal.pending(lane(1)), want.len() as u64, "the lost event is not pending");
    }
}

#[test]
fn a_flipped_header_or_table_bit_loses_one_group_and_reading_goes_on() {
    for clean in [true, false] {
        for at in [0, 6, 17, 30, 41, 64 + 300 + 5] {
            let (disk, lsns) = filled(clean);
            let segment = segment_of_groups(&disk);
            disk.damage(&segment, |bytes| bytes[4096 * 3 + at] ^= 4);
            let (options, notices) = hooked();
            let journal = Journal::open(disk, options).unwrap();
            let mut want = lsns.clone();
            want.drain(6..9);
            assert_eq!(read_all(&journal), want, "clean: {clean}, byte {at}");
            let lost: Vec<u64> = notices
                .lock()
                .unwrap()
                .iter()
                .map(|notice| match notice {
                    Notice::CorruptGroup { events, .. } => *events,
                    other => panic!("{other}"),
                })
                .collect();
            assert_eq!(lost.first(), Some(&3), "the next group's first LSN says how many");
            assert!(journal.recovered().corrupt_groups == 1 && !journal.recovered().torn_tail);
        }
    }
}

#[test]
fn a_torn_last_group_keeps_what_verifies() {
    let (disk, lsns) = filled(false);
    let segment = segment_of_groups(&disk);
    disk.damage(&segment, |bytes| bytes[4096 * 6 + 64 + 150] ^= 1);
    let (options, notices) = hooked();
    let journal = Journal::open(disk.clone(), options.clone()).unwrap();
    let mut want = lsns.clone();
    want.remove(16);
    assert!(journal.recovered().torn_tail);
    assert_eq!(journal.recovered().torn_events, 1);
    assert_eq!(read_all(&journal), want);
    assert_eq!(journal.stats().corrupt_events, 0, "torn is not corrupt");
    assert!(matches!(&notices.lock().unwrap()[..], [Notice::TornTail { .. }]));
    drop(journal);
    // Seen once: the old tail is never read again.
    notices.lock().unwrap().clear();
    let journal = Journal::open(disk, options).unwrap();
    assert_eq!(read_all(&journal), want);
    assert!(notices.lock().unwrap().is_empty() && !journal.recovered().torn_tail);
}

#[test]
fn a_lost_segment_header_loses_nothing() {
    let (disk, lsns) = filled(false);
    let segment = segment_of_groups(&disk);
    disk.damage(&segment, |bytes| bytes[100] ^= 1);
    let (options, notices) = hooked();
    let journal = Journal::open(disk.clone(), options).unwrap();
    assert_eq!(read_all(&journal), lsns);
    assert!(notices.lock().unwrap().iter().any(|notice| matches!(notice, Notice::CorruptSegment { .. })));
    drop(journal);
    let journal = Journal::open(disk, common::options()).unwrap();
    assert_eq!(read_all(&journal), lsns);
}

#[test]
fn a_lost_cursor_costs_duplicates_only() {
    let (disk, lsns) = filled(false);
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let all = read_all(&journal);
    for lsn in &all {
        assert!(journal.done(lane(1), *lsn));
    }
    journal.close().unwrap();
    drop(journal);
    disk.damage(&Path::new(DIR).join("lanes/1/cursor"), |bytes| bytes.fill(0));
    let (options, notices) = hooked();
    let journal = Journal::open(disk, options).unwrap();
    assert_eq!(read_all(&journal), lsns);
    assert_eq!(*notices.lock().unwrap(), [Notice::CursorLost { lane: lane(1) }]);
}

#[test]
fn the_payload_cannot_pass_for_a_group() {
    // A body that holds, at a page boundary, what was a valid group of this very segment number in another log.
    let (other, _) = filled(false);
    let forged = other.get(&segment_of_groups(&other)).unwrap()[4096..8192].to_vec();
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let body = [vec![0; 4096 - 64], forged].concat();
    journal.append(&[Encoded::new(&body, A)]).unwrap();
    journal.commit_step().unwrap();
    drop(journal);
    let segment = segment_files(&disk)[0].clone();
    disk.damage(&segment, |bytes| bytes[4096] ^= 1);
    let journal = Journal::open(disk, options()).unwrap();
    assert!(read_all(&journal).is_empty());
}

#[test]
fn the_first_error_ends_the_journal() {
    for fault in [Fault::Eio, Fault::NoSpace, Fault::ShortWrite] {
        for what in [1, 2] {
            let disk = FaultyDisk::new();
            let (options, notices) = hooked();
            let journal = Journal::open(disk.clone(), options).unwrap();
            let good = journal.append(&[Encoded::new(b"good", A)]).unwrap();
            journal.commit_step().unwrap();
            // 1: the write of the next group, 2: its sync.
            disk.fail_at(disk.operations() + what, fault);
            let bad = journal.append(&[Encoded::new(b"bad", A)]).unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let mut waiter = Waiter::new();
            assert_eq!(journal.poll_durable(&mut cx, bad, &mut waiter), Poll::Pending);
            assert!(journal.commit_step().is_err());
            let operations = disk.operations();
            assert_eq!(journal.poll_durable(&mut cx, bad, &mut waiter), Poll::Ready(Err(journal::Failed)));
            assert_eq!(journal.poll_durable(&mut cx, good, &mut waiter), Poll::Ready(Ok(())));
            assert_eq!(journal.append(&[Encoded::new(b"more", A)]), Err(Closed::Failed));
            assert!(matches!(journal.poll_room(&mut cx, 1, 1), Poll::Ready(Err(Closed::Failed))));
            assert!(journal.poll_failed(&mut cx).is_ready());
            assert!(journal.commit_step().is_err() && journal.tend_step(false).is_err() && journal.close().is_err());
            assert!(disk.operations() <= operations + 4, "nothing is tried again but the cursors of close");
            assert!(matches!(&notices.lock().unwrap()[..], [Notice::Failed(failure)] if failure.what.contains(".seg")));
            drop(journal);
            let journal = Journal::open(disk.crash(Loss::PowerCut, 0), common::options()).unwrap();
            assert_eq!(read_all(&journal), [good]);
        }
    }
}

/// A write that says yes and did nothing is found when it is read, and nothing behind it is lost.
#[test]
fn a_lying_write_is_found() {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut lsns = Vec::new();
    for i in 0..3_u8 {
        if i == 1 {
            disk.fail_at(disk.operations() + 1, Fault::Lie);
        }
        lsns.push(journal.append(&[Encoded::new(&[i; 20], A)]).unwrap());
        journal.commit_step().unwrap();
    }
    assert_eq!(read_all(&journal), [lsns[0], lsns[2]]);
    assert_eq!((journal.stats().corrupt_groups, journal.stats().corrupt_events), (1, 1));
    drop(journal);
    let journal = Journal::open(disk.crash(Loss::Kill, 0), options()).unwrap();
    assert_eq!(journal.recovered().corrupt_groups, 1);
    assert_eq!(read_all(&journal), [lsns[0], lsns[2]]);
}

/// Without room for a backlog the ring keeps everything, and fills.
#[test]
fn full_ring_refuses_until_a_lane_moves() {
    let disk = FaultyDisk::new();
    let (options, notices) = hooked();
    let journal = Journal::open(disk.clone(), options).unwrap();
    while journal.stats().segments < 5 {
        journal.tend_step(false).unwrap();
        if journal.append(&[Encoded::new(&[7; 10_000], A)]).is_ok() {
            journal.commit_step().unwrap();
        }
    }
    disk.set_capacity(Some(disk.used()));
    let body = vec![7; 10_000];
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        journal.tend_step(false).unwrap();
        match journal.append(&[Encoded::new(&body, A)]) {
            Ok(_) => assert!(journal.commit_step().unwrap()),
            Err(Closed::Full) => break,
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(journal.stats().segments, 5);
    assert!(journal.backlog_is_full());
    let said: Vec<_> = notices.lock().unwrap().iter().map(std::mem::discriminant).collect();
    let no_space = Notice::BacklogNoSpace { lane: lane(1), error: String::new() };
    assert_eq!(said.iter().filter(|it| **it == std::mem::discriminant(&no_space)).count(), 1, "said once");
    assert!(journal.stats().full && journal.poll_room(&mut cx, 1, body.len()).is_pending());
    assert_eq!(journal.append(&[Encoded::new(&vec![0; 20_000], A)]), Err(Closed::TooLarge));
    let mut reader = journal.lane(lane(1));
    let entries = reader.read(25_000).unwrap();
    for entry in &entries {
        reader.done(entry.lsn);
    }
    journal.tend_step(false).unwrap();
    assert_eq!(journal.poll_room(&mut cx, 1, body.len()), Poll::Ready(Ok(())), "draining needs no space");
    journal.append(&[Encoded::new(&body, A)]).unwrap();
    journal.commit_step().unwrap();
    assert!(journal.stats().recycled >= 1);
    let rest = reader.read(1 << 20).unwrap();
    assert!(rest.iter().all(|entry| entries.iter().all(|done| done.lsn < entry.lsn) && entry.body[..] == body[..]));
}

#[test]
fn a_lane_with_events_cannot_vanish() {
    let (disk, lsns) = filled(true);
    let lanes = |names: &[&str]| Options {
        lanes: names.iter().map(|name| LaneSpec { name: (*name).into(), ..LaneSpec::default() }).collect(),
        ..options()
    };
    let before = disk.operations();
    match Journal::open(disk.clone(), lanes(&["b"])).map(drop) {
        Err(OpenError::LanesMissing { lanes }) => assert_eq!(lanes, [(lane(1), "a".into(), 18)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.operations(), before, "refused before anything was written");
    let mut renamed = lanes(&["b", "z"]);
    renamed.lanes[1].renamed_from = Some("a".into());
    let journal = Journal::open(disk.clone(), renamed.clone()).unwrap();
    assert_eq!(journal.lane_id("z"), Some(lane(1)));
    assert_eq!(read_all(&journal), lsns);
    // Reload: b goes (it has nothing), c comes; it sees only what is new.
    let ids = journal.set_lanes(&lanes(&["z", "c"]).lanes).unwrap();
    assert_eq!(ids, [lane(1), lane(3)]);
    assert!(matches!(journal.set_lanes(&lanes(&["c"]).lanes), Err(OpenError::LanesMissing { .. })));
    assert_eq!(journal.lane(lane(3)).read(1000).unwrap().len(), 0);
    journal.close().unwrap();
    drop(journal);
    assert!(Journal::open(disk, lanes(&["z", "c"])).is_ok());
}

#[test]
fn in_flight_at_an_unclean_exit_is_counted() {
    let (mut disk, lsns) = filled(true);
    for exits in 0..3 {
        let journal = Journal::open(disk.clone(), options()).unwrap();
        let mut reader = journal.lane(lane(1));
        let entries = reader.read(1).unwrap();
        assert_eq!((entries[0].lsn, entries[0].attempts), (lsns[0], exits));
        reader.set_state(b"position".to_vec());
        journal.save_cursors().unwrap();
        drop((reader, journal));
        disk = disk.crash(Loss::PowerCut, 0);
    }
    let journal = Journal::open(disk, options()).unwrap();
    assert_eq!(journal.lane(lane(1)).state(), b"position");
    assert_eq!(journal.lane(lane(1)).read(1).unwrap()[0].attempts, 3);
}

/// As above, but nobody saves a cursor by hand: the process ends right after the hand-out, three times.
#[test]
fn three_quick_unclean_exits_are_counted() {
    let (mut disk, lsns) = filled(false);
    // The first event passes; the second ends the process each time.
    let journal = Journal::open(disk.clone(), options()).unwrap();
    assert!(journal.done(lane(1), lsns[0]));
    journal.close().unwrap();
    drop(journal);
    for exits in 0..3 {
        let journal = Journal::open(disk.clone(), options()).unwrap();
        let entries = journal.lane(lane(1)).read(1).unwrap();
        assert_eq!((entries[0].lsn, entries[0].attempts), (lsns[1], exits));
        drop(journal);
        disk = disk.crash(Loss::PowerCut, 0);
    }
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut reader = journal.lane(lane(1));
    assert_eq!(reader.read(1).unwrap()[0].attempts, 3);
    // It is quarantined; what comes behind it is fresh, and what is in flight when many are is the newest.
    reader.done(lsns[1]);
    assert!(reader.read(1 << 20).unwrap().iter().all(|entry| entry.attempts == 0));
}

/// What came back and waits is not what ended the process; what is tried again may be.
#[test]
fn parked_events_are_not_in_flight() {
    let (mut disk, lsns) = filled(true);
    for exits in 0..3 {
        let journal = Journal::open(disk.clone(), options()).unwrap();
        let mut reader = journal.lane(lane(1));
        let entries = reader.read(1 << 20).unwrap();
        let attempts = |lsn| entries.iter().find(|entry| entry.lsn == lsn).unwrap().attempts;
        assert_eq!((attempts(lsns[0]), attempts(lsns[1])), (exits, 0));
        reader.parked([lsns[0], lsns[1]]);
        journal.save_cursors().unwrap();
        reader.again([lsns[0]]).unwrap();
        if exits == 0 {
            journal.save_cursors().unwrap();
        } // From then on by itself: it is soon after an unclean stop, and the event was in flight at one.
        drop((reader, journal));
        disk = disk.crash(Loss::PowerCut, 0);
    }
    let journal = Journal::open(disk, options()).unwrap();
    assert_eq!(journal.lane(lane(1)).read(1).unwrap()[0].attempts, 3);
}

/// The event that ends the process stands behind more open ones than a cursor remembers.
#[test]
fn of_many_in_flight_the_newest_are_remembered() {
    let mut disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let body = [1; 4];
    for _ in 0..4 {
        journal.tend_step(false).unwrap();
        journal.append(&vec![Encoded::new(&body, A); 600]).unwrap();
        journal.commit_step().unwrap();
    }
    drop(journal);
    for exits in 0..3 {
        let journal = Journal::open(disk.clone(), options()).unwrap();
        let mut reader = journal.lane(lane(1));
        let mut last = None;
        // Nothing is done; the last of the second read is the one.
        for _ in 0..2 {
            last = reader.read(4 * 900).unwrap().pop();
        }
        assert_eq!(last.unwrap().attempts, exits);
        drop((reader, journal));
        disk = disk.crash(Loss::PowerCut, 0);
    }
}

/// Many events of 3,000 bytes for lane 1 that are in its backlog, a few of which are in the ring still.
fn backlogged() -> (FaultyDisk, Vec<Lsn>) {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut lsns = Vec::new();
    while journal.lane_stats(lane(1)).backlog_segments < 5 {
        journal.tend_step(false).unwrap();
        if let Ok(lsn) = journal.append(&[Encoded::new(&[7; 3000], A)]) {
            lsns.push(lsn);
            journal.commit_step().unwrap();
        }
    }
    drop(journal);
    (disk, lsns)
}

fn backlog_files(disk: &FaultyDisk) -> Vec<std::path::PathBuf> {
    let dir = Path::new(DIR).join("lanes/1/backlog");
    let mut names = disk.list(&dir).unwrap();
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

#[test]
fn damage_in_a_backlog_loses_what_it_hit_and_is_counted() {
    let (disk, lsns) = backlogged();
    let events: u64 =
        backlog_files(&disk)[1].file_name().unwrap().to_str().unwrap().split('-').nth(3).unwrap().parse().unwrap();
    // A body's bit, a group's header, the segment's header, the whole file while the journal is open.
    for (what, lost) in [1, events, 0, events].into_iter().enumerate() {
        let disk = disk.crash(Loss::Kill, 0);
        let file = backlog_files(&disk)[1].clone();
        match what {
            0 => disk.damage(&file, |bytes| bytes[4096 + 64 + 150] ^= 1),
            1 => disk.damage(&file, |bytes| bytes[4096 + 17] ^= 1),
            2 => disk.damage(&file, |bytes| bytes[100] ^= 1),
            _ => {}
        }
        let (options, notices) = hooked();
        let journal = Journal::open(disk.clone(), options).unwrap();
        if what == 3 {
            disk.remove(&file).unwrap();
        }
        assert_eq!(journal.recovered().pending(lane(1)), lsns.len() as u64);
        let left = lsns.len() as u64 - lost;
        let found = read_all(&journal);
        assert_eq!(found.len() as u64, left, "{what}");
        assert!(found.is_sorted() && found.first() == lsns.first() && found.last() == lsns.last(), "{what}");
        assert_eq!(journal.stats().corrupt_events, lost, "{what}");
        assert_eq!(journal.pending(lane(1)), left, "{what}: what is lost is not pending");
        assert_eq!(journal.pending_bytes(lane(1)), left * 3000, "{what}");
        assert!(!notices.lock().unwrap().is_empty(), "{what}: it is told");
    }
}

#[test]
fn leftovers_and_foreign_files_in_a_backlog_are_no_events() {
    let (disk, lsns) = backlogged();
    let file = backlog_files(&disk)[0].clone();
    let bytes = disk.get(&file).unwrap();
    for name in ["next.tmp", "00000000000000000001.seg", "notes.txt"] {
        let into = disk.open(&file.with_file_name(name), journal::disk::Open::Create).unwrap();
        journal::DiskFile::write_at(&into, &bytes, 0).unwrap();
    }
    let journal = Journal::open(disk.clone(), options()).unwrap();
    assert_eq!(read_all(&journal), lsns);
}

#[test]
fn a_lost_cursor_begins_at_the_backlog() {
    let (disk, lsns) = backlogged();
    disk.damage(&Path::new(DIR).join("lanes/1/cursor"), |bytes| bytes.fill(0));
    let (options, notices) = hooked();
    let journal = Journal::open(disk.clone(), options).unwrap();
    assert_eq!(*notices.lock().unwrap(), [Notice::CursorLost { lane: lane(1) }]);
    assert_eq!(journal.pending(lane(1)), lsns.len() as u64);
    assert_eq!(read_all(&journal), lsns);
    assert_eq!(journal.pending_bytes(lane(1)), 3000 * lsns.len() as u64);
}

/// EIO while a backlog is written is a failure like any other; the next start has everything.
#[test]
fn an_error_of_the_disk_while_spilling_ends_the_journal() {
    let (disk, lsns) = backlogged();
    let mut ended = 0;
    for at in 1..60 {
        let disk = disk.crash(Loss::Kill, 0);
        let journal = Journal::open(disk.clone(), options()).unwrap();
        disk.fail_at(disk.operations() + at, Fault::Eio);
        let (mut fine, mut more) = (true, 0);
        for _ in 0..40 {
            fine = journal.tend_step(false).is_ok();
            if fine && let Ok(_) = journal.append(&[Encoded::new(&[8; 3000], A)]) {
                fine = journal.commit_step().is_ok();
                more += u64::from(fine);
            }
            if !fine {
                break;
            }
        }
        ended += u64::from(!fine);
        assert!(fine || journal.failure().is_some());
        drop(journal);
        let journal = Journal::open(disk.crash(Loss::PowerCut, 0), options()).unwrap();
        let found = read_all(&journal).len() as u64;
        assert!(found >= lsns.len() as u64 + more, "operation {at}: {found} of {} and {more}", lsns.len());
    }
    assert!(ended > 50, "{ended}");
}

#[test]
fn nothing_is_begun_over_a_log_whose_meta_is_lost() {
    let (disk, _) = filled(true);
    for slot in ["meta.0", "meta.1"] {
        disk.damage(&Path::new(DIR).join(slot), |bytes| bytes[3] ^= 1);
    }
    assert!(matches!(Journal::open(disk.clone(), options()).map(drop), Err(OpenError::Damaged { .. })));
    assert!(!disk.list(&Path::new(DIR).join("journal")).unwrap().is_empty());
}

/// What comes after a start is read by lanes 1 and 2, and waits.
fn counts_after_a_start(disk: &FaultyDisk) {
    let journal = Journal::open(disk.clone(), options()).unwrap();
    for len in [100; 20].into_iter().chain([9000; 5]) {
        journal.append(&[Encoded::new(&vec![9; len], A | 4)]).unwrap();
        assert!(journal.commit_step().unwrap());
        journal.tend_step(true).unwrap();
    }
    for id in [1, 2] {
        let found = read_all_of(&journal, id);
        assert_eq!(found.last(), Some(&journal.last()), "lane {id}");
        assert_eq!(journal.pending(lane(id)), found.len() as u64, "lane {id}");
    }
}

/// A disk that says yes and writes nothing, under a journal that runs: what is lost is found by the lanes' readers, and waits
/// for nobody.
#[test]
fn what_a_lying_disk_lost_leaves_the_lanes_at_once_and_counts_once() {
    // Which of six groups is lost: one in the middle, the last one, the last two.
    for (first, groups) in [(2_u64, 1_u64), (5, 1), (4, 2)] {
        let (disk, (options, notices)) = (FaultyDisk::new(), hooked());
        let journal = Journal::open(disk.clone(), options).unwrap();
        let append = |body: &[u8], lanes: u64| {
            // The helper's part: the next segment.
            journal.tend_step(false).unwrap();
            let lsn = journal.append(&[Encoded::new(body, lanes)]).unwrap();
            assert!(journal.commit_step().unwrap());
            lsn
        };
        let lsns: Vec<Lsn> =
            (0..6).map(|group| append(&[group; 100], if group % 2 == 0 { A } else { A | 4 })).collect();
        let segment = segment_of_groups(&disk);
        disk.damage(&segment, |bytes| {
            let from = 4096 * (1 + usize::try_from(first).unwrap());
            bytes[from..from + 4096 * usize::try_from(groups).unwrap()].fill(0);
        });
        let lost =
            |lane: u8| if lane == 1 { groups } else { (first..first + groups).filter(|at| at % 2 == 1).count() as u64 };
        let mut readers = [journal.lane(lane(1)), journal.lane(lane(2))];
        for (reader, id) in readers.iter_mut().zip([1, 2]) {
            let found = reader.read(1 << 20).unwrap();
            assert!(reader.read(1 << 20).unwrap().is_empty());
            let waits = if id == 1 { 6 } else { 3 } - lost(id);
            assert_eq!((found.len() as u64, journal.pending(lane(id))), (waits, waits), "lane {id}, group {first}");
            assert_eq!(journal.pending_bytes(lane(id)), 100 * waits, "lane {id}, group {first}");
            assert_eq!(
                (journal.take_lost(lane(id)), journal.take_lost(lane(id))),
                (lost(id), 0),
                "lane {id}, group {first}"
            );
            found.iter().for_each(|entry| assert!(reader.done(entry.lsn)));
            assert_eq!(journal.pending(lane(id)), 0);
        }
        journal.save_cursors().unwrap();
        // A start right now counts what it finds, without what is lost; so does the lane then.
        counts_after_a_start(&disk.crash(Loss::Kill, 0));
        let is_told =
            |notices: &[Notice]| matches!(notices, [Notice::CorruptGroup { events, .. }] if *events == groups);
        assert!(is_told(&notices.lock().unwrap()), "{:?}", notices.lock().unwrap());
        // What comes behind the damage is read, and nothing is lost or told again, in this segment or the next.
        let mut last = *lsns.last().unwrap();
        while segment_files(&disk)
            .iter()
            .filter(|path| disk.get(path).unwrap().get(4096..4100) == Some(b"AGrp"))
            .count()
            < 2
        {
            last = append(&[9; 3000], A | 4);
        }
        for (reader, id) in readers.iter_mut().zip([1, 2]) {
            let found = reader.read(usize::MAX).unwrap();
            assert_eq!(found.last().map(|entry| entry.lsn), Some(last));
            assert_eq!((journal.pending(lane(id)), journal.take_lost(lane(id))), (found.len() as u64, 0));
        }
        assert!(is_told(&notices.lock().unwrap()), "{:?}", notices.lock().unwrap());
        assert_eq!(journal.stats().corrupt_events, groups, "once, not once per lane");
        assert_eq!(journal.lane_stats(lane(1)).lost, groups);
    }
}

/// A read that meets an error gives what it has: the events are handed out, and nobody would ever see them again.
#[test]
fn an_error_while_reading_loses_nothing_that_was_met() {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let append = |_| {
        journal.tend_step(false).unwrap();
        let lsn = journal.append(&[Encoded::new(&[7; 3000], A)]).unwrap();
        assert!(journal.commit_step().unwrap());
        lsn
    };
    let lsns: Vec<Lsn> = (0..20).map(append).collect();
    let mut reader = journal.lane(lane(1));
    assert_eq!(reader.read(1).unwrap()[0].lsn, lsns[0]);
    // From now on nothing can be read; the rest of the first segment is in memory.
    disk.fail_at(disk.operations() + 1, Fault::Crash);
    disk.sync_dir(Path::new(DIR)).unwrap_err();
    let rest: Vec<Lsn> = reader.read(1 << 20).unwrap().iter().map(|entry| entry.lsn).collect();
    assert!(rest.len() >= 2 && lsns[1..].starts_with(&rest), "{rest:?}");
    assert!(reader.read(1 << 20).is_err(), "and the error comes then");
}

/// What is lost with its whole group is not waited for.
#[test]
fn a_suspect_that_is_lost_is_none() {
    let (mut disk, lsns) = filled(false);
    for _ in 0..2 {
        let journal = Journal::open(disk.clone(), options()).unwrap();
        assert_eq!(journal.lane(lane(1)).read(1 << 20).unwrap().len(), lsns.len());
        drop(journal);
        disk = disk.crash(Loss::Kill, 0);
    }
    let segment = segment_of_groups(&disk);
    disk.damage(&segment, |bytes| bytes[4096 * 3 + 17] ^= 1);
    let journal = Journal::open(disk, options()).unwrap();
    let mut reader = journal.lane(lane(1));
    assert!(reader.has_suspects(2));
    let entries = reader.read(1 << 20).unwrap();
    assert_eq!(entries.len(), lsns.len() - 3);
    entries.iter().for_each(|entry| assert!(reader.done(entry.lsn)));
    assert!(reader.read(1 << 20).unwrap().is_empty() && !reader.has_suspects(2));
}

/// However much was read before: what is tried again for the first time after an unclean exit is counted at the next.
#[test]
fn a_retry_is_counted_after_many_reads() {
    let disk = FaultyDisk::new();
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let first = journal.append(&[Encoded::new(b"kills at its second try", A)]).unwrap();
    journal.append(&vec![Encoded::new(b"more", A); 200]).unwrap();
    journal.commit_step().unwrap();
    drop(journal);
    let journal = Journal::open(disk.clone(), options()).unwrap();
    let mut reader = journal.lane(lane(1));
    assert_eq!(reader.read(1).unwrap()[0].lsn, first);
    reader.parked([first]);
    for _ in 0..100 {
        let entries = reader.read(1).unwrap();
        assert!(reader.done(entries[0].lsn));
    }
    journal.save_cursors().unwrap();
    reader.again([first]).unwrap();
    drop((reader, journal));
    let journal = Journal::open(disk.crash(Loss::PowerCut, 0), options()).unwrap();
    let entries = journal.lane(lane(1)).read(1).unwrap();
    assert_eq!((entries[0].lsn, entries[0].attempts), (first, 1));
}

/// A cursor has room for so many ranges of what is done above its low mark. What it leaves out comes again, if it is retained;
/// if not, it was done, and nobody is told that it was lost.
#[test]
fn what_a_full_cursor_leaves_out_is_not_lost() {
    let disk = FaultyDisk::new();
    let many = || Options { segments: 10, keep: 8, ..options() };
    let journal = Journal::open(disk.clone(), many()).unwrap();
    let mut reader = journal.lane(lane(1));
    let mut open = 0;
    for _ in 0..6 {
        journal.tend_step(false).unwrap();
        journal.append(&vec![Encoded::new(b"hole", A); 600]).unwrap();
        assert!(journal.commit_step().unwrap());
        // Every other one.
        for entry in reader.read(1 << 20).unwrap() {
            open += 1;
            assert!(entry.lsn.get() % 2 == 0 || reader.done(entry.lsn));
        }
    }
    assert_eq!(open, 3600);
    while journal.stats().recycled < 3 {
        journal.tend_step(false).unwrap();
        journal.append(&[Encoded::new(&[7; 10_000], A)]).unwrap();
        assert!(journal.commit_step().unwrap());
        reader.read(1 << 20).unwrap().iter().for_each(|entry| assert!(reader.done(entry.lsn)));
    }
    assert_eq!(journal.lane_stats(lane(1)).spilled_segments, 0);
    journal.close().unwrap();
    drop((reader, journal));
    let journal = Journal::open(disk, many()).unwrap();
    let found = read_all(&journal).len() as u64;
    assert!(found > 1800 && journal.pending(lane(1)) == found, "{found}");
    assert_eq!((journal.take_lost(lane(1)), journal.stats().corrupt_events), (0, 0));
}
