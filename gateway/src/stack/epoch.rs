//! A generation as its messages see it: who is inside, whether it is over, and where to go then.
//!
//! A message enters before it is routed and leaves when it is kept or refused. A generation that is over lets nobody in, so once
//! the last one has left, nothing can be appended any more for a lane that only it knew: that is when a reload may take the lane
//! away. Entering is one count on a cache line that threads seldom share.
use super::hold::Hold;
use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};
use transports::gate::Door;

/// Counts of who is inside: threads take one each, in turn.
const SHARDS: usize = 16;

/// One count, alone on its cache lines. Its `Arc` is the count.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard;

/// One generation.
pub struct Epoch {
    over: AtomicBool,
    shards: [Arc<Shard>; SHARDS],
    next: Option<Weak<dyn Next>>,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoch").field("over", &self.is_over()).field("inside", &self.inside()).finish_non_exhaustive()
    }
}

/// Who is in a generation; dropping it leaves.
#[derive(Clone, Debug)]
pub struct Inside(#[allow(dead_code, reason = "its count is its use")] Arc<Shard>);

/// The way in of a listener, in one generation.
#[derive(Clone)]
pub struct Way {
    /// From the message on.
    pub door: Door,
    /// From the listener's pipeline on: for a message that was held while the generation changed.
    pub hold: Hold,
}

/// Knows the generation that is in force.
pub trait Next: Send + Sync {
    /// The way in of a listener now; `None` when there is no such listener any more.
    fn way(&self, listener: &str) -> Option<Way>;
}

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// This thread's count.
fn place() -> usize {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    PLACE.with(|place| {
        if place.get() == usize::MAX {
            place.set(TAKEN.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        place.get()
    })
}

impl Epoch {
    /// A generation that a reload may end.
    pub fn new(next: Weak<dyn Next>) -> Arc<Self> {
        Arc::new(Epoch { next: Some(next), ..Epoch::unending() })
    }

    /// A generation that nothing follows: `explain`, tests.
    pub fn lasting() -> Arc<Self> {
        Arc::new(Epoch::unending())
    }

    fn unending() -> Self {
        Epoch { over: AtomicBool::new(false), shards: std::array::from_fn(|_| Arc::default()), next: None }
    }

    /// Enters, unless it is over.
    pub fn enter(&self) -> Option<Inside> {
        let inside = Inside(Arc::clone(&self.shards[place()]));
        // Either this sees that it is over, or whoever ended it sees the count.
        fence(Ordering::SeqCst);
        (!self.over.load(Ordering::Relaxed)).then_some(inside)
    }

    /// Lets nobody in from now on.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Whether it lets nobody in.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How many are inside. After [`Epoch::end`], 0 stays 0.
    pub fn inside(&self) -> usize {
        let inside = self.shards.iter().map(|shard| Arc::strong_count(shard) - 1).sum();
        fence(Ordering::SeqCst);
        inside
    }

    /// The way in of a listener in the generation that is in force.
    pub fn next(&self, listener: &str) -> Option<Way> {
        self.next.as_ref()?.upgrade()?.way(listener)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn nobody_enters_what_is_over_and_who_is_inside_is_counted() {
        let epoch = Epoch::lasting();
        let (one, two) = (epoch.enter().unwrap(), epoch.enter().unwrap());
        assert_eq!(epoch.inside(), 2);
        epoch.end();
        assert!(epoch.enter().is_none());
        drop(one);
        assert_eq!(epoch.inside(), 1);
        drop(two);
        assert_eq!(epoch.inside(), 0);
    }

    /// What a reload relies on: after `end` and an empty house, nobody does anything inside any more.
    #[test]
    fn after_the_end_and_an_empty_house_nothing_happens_inside() {
        for _ in 0..200 {
            let (epoch, done) = (Epoch::lasting(), Arc::new(AtomicU64::new(0)));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (epoch, done) = (Arc::clone(&epoch), Arc::clone(&done));
                    std::thread::spawn(move || {
                        while let Some(_inside) = epoch.enter() {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            while done.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            epoch.end();
            while epoch.inside() > 0 {
                std::thread::yield_now();
            }
            let at_rest = done.load(Ordering::Relaxed);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(done.load(Ordering::Relaxed), at_rest);
        }
    }
}
