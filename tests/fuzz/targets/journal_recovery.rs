//! Recovery on damaged bytes: it opens or says why not; it never panics, hangs, or gives out what was not appended.
#![no_main]

use journal::{Encoded, Journal, LaneId, LaneSpec, MemoryDisk, Options};
use libfuzzer_sys::fuzz_target;

fn options() -> Options {
    Options {
        lanes: vec![LaneSpec { name: "a".into(), ..LaneSpec::default() }],
        segment_size: 32 << 10,
        segments: 4,
        group_bytes: 16 << 10,
        threads: false,
        ..Options::new("/data")
    }
}

/// A small log with two runs; every body says which it is.
fn log() -> MemoryDisk {
    let disk = MemoryDisk::new();
    for run in 0..2_u8 {
        let journal = Journal::open(disk.clone(), options()).expect("a good log opens");
        journal.tend_step(true).expect("memory does not fail");
        for i in 0..4_u8 {
            let body = [run, i].repeat(20 + usize::from(i) * 900);
            journal.append(&[Encoded::new(&body, 2), Encoded::new(&body[..4], 3)]).expect("there is room");
            journal.commit_step().expect("memory does not fail");
        }
        if let Some(entry) = journal.lane(LaneId::new(1).expect("1")).read(10).expect("readable").first() {
            journal.done(LaneId::new(1).expect("1"), entry.lsn);
        }
        journal.save_cursors().expect("memory does not fail");
    }
    disk
}

fuzz_target!(|data: &[u8]| {
    let disk = log();
    let files: Vec<_> = disk.files().into_iter().collect();
    // Six bytes a patch: file, offset (3), length, value.
    for patch in data.chunks_exact(6).take(64) {
        let (path, _) = &files[usize::from(patch[0]) % files.len()];
        let mut bytes = disk.files()[path].clone();
        let at = usize::from(patch[1]) << 12 | usize::from(patch[2]) << 4 | usize::from(patch[3]);
        match patch[4] {
            255 => bytes.truncate(at),
            len => bytes.iter_mut().skip(at).take(usize::from(len) + 1).for_each(|byte| *byte ^= patch[5]),
        }
        disk.put(path, bytes);
    }
    let Ok(journal) = Journal::open(disk, options()) else { return };
    for id in 0..2 {
        let mut reader = journal.lane(LaneId::new(id).expect("below 64"));
        let mut last = None;
        loop {
            let entries = reader.read(5000).expect("memory does not fail");
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                assert!(last < Some(entry.lsn), "in order");
                last = Some(entry.lsn);
                let pair = [entry.body[0], entry.body[1]];
                assert!(pair[0] < 2 && pair[1] < 4 && entry.body.chunks(2).all(|two| two == pair), "never appended");
            }
        }
    }
    let _ = journal.tend_step(true);
    if journal.append(&[Encoded::new(&[9, 9], 2)]).is_ok() {
        let _ = journal.commit_step();
    }
});
