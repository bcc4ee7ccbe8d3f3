//! A crash at every operation of a script, in three kinds, and what recovery must give back then.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Script, check};
use journal::{
    FaultyDisk,
    disk::{Fault, Loss},
};

const STEPS: usize = 240;
const SEED: u64 = 3;

#[test]
fn crash_at_every_operation() {
    let disk = FaultyDisk::new();
    let mut calm = Script::new(SEED);
    calm.run(&disk, STEPS);
    let operations = disk.operations();
    println!(
        "{STEPS} steps, {operations} disk operations, {} events, {} acknowledged, {} refused, {} done",
        calm.ledger.appended.len(),
        calm.ledger.acked.len(),
        calm.ledger.full,
        calm.ledger.done.len()
    );
    assert_eq!(calm.steps, STEPS, "the script must get through without faults");
    println!("{} segments spilled, {} read back", calm.spilled.0, calm.spilled.1);
    assert!(operations > 400 && calm.ledger.acked.len() > 150, "the script does too little");
    check(&disk.crash(Loss::PowerCut, 0), &calm.ledger, "no crash");
    for at in 1..=operations {
        let disk = FaultyDisk::new();
        disk.fail_at(at, Fault::Crash);
        let mut script = Script::new(SEED);
        script.run(&disk, STEPS);
        assert!(disk.crashed(), "operation {at} was not reached");
        for loss in [Loss::Kill, Loss::PowerCut, Loss::Torn] {
            let what = format!("crash at operation {at}, {loss:?}");
            let left = disk.crash(loss, at);
            check(&left, &script.ledger, &what);
        }
        // Once more, while it recovers.
        let left = disk.crash(Loss::Torn, at + 1);
        left.fail_at(1 + at % 12, Fault::Crash);
        let mut again = Script { steps: STEPS, ..Script::new(0) };
        again.run(&left, STEPS);
        check(&left.crash(Loss::Torn, at + 2), &script.ledger, &format!("crash at operation {at}, and in recovery"));
    }
    // Last, so that a bug is not caught by this.
    assert!(calm.spilled.0 > 5 && calm.spilled.1 > 2, "the backlogs are used too little: {:?}", calm.spilled);
}
