//! Model check of the watermark's hand-off, over every interleaving:
//! `RUSTFLAGS="--cfg loom" cargo test -p journal --release --test loom_watermark`.
//!
//! A lost wake-up shows as a deadlock, which loom reports. Without `--cfg loom` there is nothing to run.
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{future::poll_fn, task::Poll};

use journal::{
    Failed,
    watermark::{Waiter, Watermark},
};
use loom::{future::block_on, sync::Arc, thread};

/// Every interleaving with at most two preemptions, where all of them are too many (three threads).
fn bounded(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(test);
}

fn wait(mark: &Watermark, lsn: u64) -> Result<(), Failed> {
    let mut waiter = Waiter::new();
    block_on(poll_fn(|cx| mark.poll(cx, lsn, &mut waiter)))
}

/// The committer wakes by itself.
#[test]
fn nobody_is_forgotten_by_the_committer() {
    loom::model(|| {
        let mark = Arc::new(Watermark::new(0, 1));
        let committer = {
            let mark = mark.clone();
            thread::spawn(move || {
                mark.advance(1);
                mark.advance(2);
            })
        };
        assert_eq!(wait(&mark, 2), Ok(()));
        assert_eq!(mark.durable(), 2);
        committer.join().unwrap();
    });
}

/// A dispatcher wakes, on a thread of its own, as on a runtime.
#[test]
fn nobody_is_forgotten_by_the_dispatcher() {
    bounded(|| {
        let mark = Arc::new(Watermark::new(0, 1));
        let dispatcher = {
            let mark = mark.clone();
            thread::spawn(move || block_on(poll_fn(|cx| mark.dispatch(0, cx))))
        };
        let committer = {
            let mark = mark.clone();
            thread::spawn(move || {
                mark.advance(1);
            })
        };
        assert_eq!(wait(&mark, 1), Ok(()));
        committer.join().unwrap();
        mark.end();
        dispatcher.join().unwrap();
    });
}

/// Whoever waits for what was never synced learns that it failed, and what was synced stays durable.
#[test]
fn failure_reaches_everybody() {
    loom::model(|| {
        let mark = Arc::new(Watermark::new(0, 1));
        let committer = {
            let mark = mark.clone();
            thread::spawn(move || {
                mark.advance(1);
                mark.end();
            })
        };
        assert_eq!(wait(&mark, 2), Err(Failed));
        assert_eq!(wait(&mark, 1), Ok(()));
        committer.join().unwrap();
    });
}

/// Two streams, and one that polls again with the waker it has registered.
#[test]
fn polling_again_keeps_the_place() {
    bounded(|| {
        let mark = Arc::new(Watermark::new(0, 1));
        let other = {
            let mark = mark.clone();
            thread::spawn(move || wait(&mark, 1))
        };
        let committer = {
            let mark = mark.clone();
            thread::spawn(move || mark.advance(1))
        };
        let mut waiter = Waiter::new();
        block_on(poll_fn(|cx| match mark.poll(cx, 1, &mut waiter) {
            Poll::Pending => mark.poll(cx, 1, &mut waiter),
            ready => ready,
        }))
        .unwrap();
        other.join().unwrap().unwrap();
        committer.join().unwrap();
    });
}
