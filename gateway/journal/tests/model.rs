//! Recovery against a model, on random scripts, disks and damage.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{DIR, LANES, Script, check, key, lane, options, segment_files};
use journal::{
    Disk as _, FaultyDisk, Journal,
    disk::{Fault, Loss},
};
use proptest::prelude::*;

fn losses() -> impl Strategy<Value = Loss> {
    prop_oneof![Just(Loss::Kill), Just(Loss::PowerCut), Just(Loss::Torn)]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Any script, cut off anywhere, several times in a row: everything acknowledged, nothing invented, no LSN twice.
    #[test]
    fn crashes_in_a_row_lose_nothing(seed: u64, cuts in prop::collection::vec((1_u64..250, losses()), 1..4)) {
        let mut disk = FaultyDisk::new();
        let mut script = Script::new(seed);
        for (round, (at, loss)) in cuts.into_iter().enumerate() {
            disk.fail_at(at, Fault::Crash);
            script.steps = 0;
            script.run(&disk, 150);
            disk = disk.crash(loss, seed ^ at);
            check(&disk.crash(Loss::Kill, 0), &script.ledger, &format!("round {round}"));
            // The check has opened a copy; the journal itself goes on from here.
        }
    }

    /// An error of the disk at any operation ends the journal, and the next start has everything that was acknowledged.
    #[test]
    fn errors_lose_nothing(seed: u64, at in 1_u64..300, fault in prop_oneof![
        Just(Fault::Eio), Just(Fault::NoSpace), Just(Fault::ShortWrite)
    ], loss in losses()) {
        let disk = FaultyDisk::new();
        disk.fail_at(at, fault);
        let mut script = Script::new(seed);
        script.ledger.lax_ids = fault == Fault::NoSpace;
        script.run(&disk, 200);
        check(&disk.crash(loss, seed), &script.ledger, "after an error");
    }

    /// Flipped bits anywhere: it opens or says why not, and gives out nothing that was not appended.
    #[test]
    fn damage_invents_nothing(seed: u64, flips in prop::collection::vec((any::<usize>(), any::<usize>()), 1..20)) {
        let disk = FaultyDisk::new();
        let mut script = Script::new(seed);
        script.run(&disk, 120);
        let mut files = segment_files(&disk);
        for slot in ["meta.0", "meta.1", "lanes/0/cursor", "lanes/1/cursor", "lanes/2/cursor"] {
            files.push(Path::new(DIR).join(slot));
        }
        for folder in ["lanes/0/backlog", "lanes/1/backlog", "lanes/2/backlog", "ids"] {
            let folder = Path::new(DIR).join(folder);
            files.extend(disk.list(&folder).unwrap().into_iter().map(|name| folder.join(name)));
        }
        for (file, at) in flips {
            disk.damage(&files[file % files.len()], |bytes| {
                let len = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= 1 << (at % 7);
                }
            });
        }
        let disk = disk.crash(Loss::Kill, 0);
        if let Ok(journal) = Journal::open(disk.clone(), options()) {
            for id in journal.recent_ids().unwrap() {
                let (body, _) = &script.ledger.appended[&id.lsn.get()];
                prop_assert_eq!(Some(id.key), key(body));
            }
            for id in 0..LANES {
                let mut reader = journal.lane(lane(id));
                let mut last = 0;
                loop {
                    let entries = reader.read(3000).unwrap();
                    if entries.is_empty() {
                        break;
                    }
                    for entry in entries {
                        let (body, lanes) = &script.ledger.appended[&entry.lsn.get()];
                        prop_assert!(entry.body[..] == body[..] && lanes & (1 << id) != 0);
                        prop_assert!(entry.lsn.get() > last);
                        last = entry.lsn.get();
                    }
                }
            }
        } else {
            prop_assert!(disk.list(Path::new(DIR)).is_ok());
        }
    }
}
