//! The gateway in a world where one seed decides everything: what is sent and when, what backends do, when the disk fails, when the
//! process dies. Lanes, stack, gates and journal are the real ones; the clock stands still and leaps; one thread runs all of it.
//!
//! ```text
//! cargo test -p gateway --test simulation                                   1,000 seeds
//! ANYGATE_SIM_SEEDS=9000 cargo test -p gateway --test simulation            more of them
//! ANYGATE_SIM_SEED=17 cargo test -p gateway --test simulation               seed 17 alone, with its whole log
//! ```
//!
//! `world` is what outlives the process, `life` one process, `far` the backends, `sender` the streams, `judge` and `laws` what must
//! hold. Not simulated: sockets, threads and the real disk; `tests/judge` has those.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
mod dice;
mod far;
mod judge;
mod laws;
mod life;
mod plan;
mod sender;
mod world;

use journal::FaultyDisk;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use world::World;

/// Seeds of a run, unless `ANYGATE_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 1000;
/// A seed that takes this long on a real clock turns in circles: it is a fraction of a second on any machine.
const STUCK: Duration = Duration::from_secs(120);

/// What must have happened in a run of many seeds, as the log says it: a world without trouble proves nothing.
const TROUBLE: [&str; 12] = [
    "the disk failed",
    "cannot start",
    "ended cleanly",
    "=retry",
    "=record",
    "=destination",
    ": unknown",
    "has a backlog",
    "(lsn again)",
    "reload: ",
    "has no room: ",
    "a resend of what an earlier life kept",
];

/// What a seed came to.
struct Run {
    hash: u64,
    broken: Option<String>,
    /// Lives, events, acknowledged ones, deliveries.
    sums: [usize; 4],
    /// How often each [`TROUBLE`] came.
    trouble: [usize; TROUBLE.len()],
    world: Arc<World>,
}

fn run(seed: u64, aloud: bool) -> Run {
    let world = World::new(seed, aloud);
    let mut disk = FaultyDisk::new();
    let lives = world.lock().plan.lives.len();
    for _ in 0..lives {
        disk = life::live(&world, &disk);
        if world.lock().broken.is_some() {
            break;
        }
    }
    if world.lock().broken.is_none() {
        judge::judge(&world, &disk);
    }
    let state = world.lock();
    let acked = state.events.iter().filter(|event| event.acked.is_some()).count();
    let delivered = state.far.iter().map(|far| far.stored.len()).sum();
    let run = Run {
        hash: state.hash(),
        broken: state.broken.clone(),
        sums: [state.life, state.events.len(), acked, delivered],
        trouble: TROUBLE.map(|what| state.lines_with(what)),
        world: Arc::clone(&world),
    };
    drop(state);
    run
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: want a number")))
}

/// The failure of a seed, if there is one.
fn failure(seed: u64, aloud: bool) -> Result<Run, String> {
    let again = format!("repeat it: ANYGATE_SIM_SEED={seed} cargo test -p gateway --test simulation");
    match catch_unwind(AssertUnwindSafe(|| run(seed, aloud))) {
        Err(_) => Err(format!("seed {seed} panicked (see above)\n{again}")),
        Ok(run) => match &run.broken {
            None => Ok(run),
            Some(broken) => Err(format!("{}seed {seed}: {broken}\n{again}", run.world.lock().tail())),
        },
    }
}

#[test]
fn every_seed_keeps_the_promise() {
    if let Some(seed) = number("ANYGATE_SIM_SEED") {
        match failure(seed, true) {
            Ok(run) => println!("seed {seed} holds: log {:016x}", run.hash),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let seeds = number("ANYGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (report, reports) = mpsc::channel();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    for _ in 0..workers {
        let (next, report) = (Arc::clone(&next), report.clone());
        std::thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let told = |run: Run| (run.sums, run.trouble);
                if seed >= seeds || report.send(failure(seed, false).map(told)).is_err() {
                    return;
                }
            }
        });
    }
    drop(report);
    let (mut sums, mut trouble) = ([0; 4], [0; TROUBLE.len()]);
    for done in 0..seeds {
        match reports.recv_timeout(STUCK) {
            Ok(Ok((more, worse))) => {
                sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                trouble.iter_mut().zip(worse).for_each(|(sum, more)| *sum += more);
            }
            Ok(Err(failure)) => panic!("{failure}"),
            Err(_) => panic!("after {done} seeds one of the next {workers} turns in circles"),
        }
    }
    let [lives, events, acked, delivered] = sums;
    let took = began.elapsed();
    println!(
        "{seeds} seeds, {lives} lives, {events} events, {acked} acknowledged, {delivered} deliveries in {took:.1?}"
    );
    TROUBLE.iter().zip(trouble).for_each(|(what, times)| println!("{times:8} × {what}"));
    if seeds >= 200 {
        assert!(acked > events / 3 && delivered > acked, "too little came through");
        assert!(trouble.iter().all(|times| *times > 0), "a trouble never came");
    }
}

#[test]
fn one_seed_gives_one_log() {
    for seed in [1, 2, 3] {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(
            first.hash,
            second.hash,
            "seed {seed} gave two logs:\n{}\n---\n{}",
            first.world.lock().tail(),
            second.world.lock().tail()
        );
    }
}
