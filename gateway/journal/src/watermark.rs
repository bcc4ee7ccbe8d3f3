//! Who waits for the disk, and how they are woken.
//!
//! One atomic says up to which LSN everything is durable. Waiters stand in lists, one per edge thread. The hand-off:
//! a waiter loads the mark; if that is not enough it locks its list, loads **again under the lock**, and enters itself. The
//! committer stores the mark after the sync (Release) and then, under each list's lock, looks for somebody to kick. So a
//! waiter either sees the new mark or is seen. `tests/loom_watermark.rs` checks it.
//!
//! A list is woken by its [`Dispatch`] future on the caller's runtime, which is cheaper than a wake from the committer's
//! thread; while nobody polls it, the committer wakes by itself. A stale waker (its future dropped) costs one spurious wake;
//! lists are bounded: beyond the limit all are woken and those who still wait come back.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    Failed, Lsn,
    sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock, thread_slot},
};

/// Wakers in one list before it is shaken out.
const CROWD: usize = 1 << 16;

#[derive(Default)]
struct List {
    waiting: Vec<(u64, Waker)>,
    dispatcher: Option<Waker>,
    crowd: usize,
}

/// The mark and its waiters. Public for the model check only.
#[doc(hidden)]
pub struct Watermark {
    durable: AtomicU64,
    /// No LSN above the mark becomes durable any more: failed, or closed.
    ended: AtomicBool,
    /// How often a list was shaken out: places from before are void.
    shakes: AtomicU64,
    lists: Box<[Mutex<List>]>,
}

/// One waiting place, kept by whoever waits (once per ordered stream); remembers what is registered.
#[derive(Debug, Default)]
pub struct Waiter {
    registered: Option<Place>,
}

#[derive(Debug)]
struct Place {
    lsn: u64,
    shakes: u64,
    waker: Waker,
}

impl Waiter {
    /// Nothing registered yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { registered: None }
    }
}

impl Watermark {
    /// `lists`: as many as there are edge threads.
    #[must_use]
    pub fn new(durable: u64, lists: usize) -> Self {
        let lists = (0..lists.max(1)).map(|_| Mutex::new(List { crowd: CROWD, ..List::default() })).collect();
        Self { durable: AtomicU64::new(durable), ended: AtomicBool::new(false), shakes: AtomicU64::new(0), lists }
    }

    /// How many lists.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// Everything up to here is durable.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether the mark has stopped for good.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn state(&self, lsn: u64) -> Option<Result<(), Failed>> {
        // `ended` first: it is set after the last move of the mark.
        let ended = self.ended();
        if self.durable() >= lsn {
            Some(Ok(()))
        } else if ended {
            Some(Err(Failed))
        } else {
            None
        }
    }

    /// Ready when `lsn` is durable, or never will be.
    pub fn poll(&self, cx: &mut Context<'_>, lsn: u64, waiter: &mut Waiter) -> Poll<Result<(), Failed>> {
        if let Some(state) = self.state(lsn) {
            waiter.registered = None;
            return Poll::Ready(state);
        }
        let shakes = self.shakes.load(Ordering::Acquire);
        if let Some(place) = &waiter.registered
            && place.lsn == lsn
            && place.shakes == shakes
            && place.waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut shaken = Vec::new();
        {
            let mut list = lock(&self.lists[thread_slot() % self.lists.len()]);
            if let Some(state) = self.state(lsn) {
                waiter.registered = None;
                return Poll::Ready(state);
            }
            if list.waiting.len() >= list.crowd {
                list.crowd *= 2;
                shaken = std::mem::take(&mut list.waiting);
                self.shakes.fetch_add(1, Ordering::Release);
            }
            list.waiting.push((lsn, waker.clone()));
        }
        // A shake between the load and the push makes this place look old: one registration too many, no lost wake.
        waiter.registered = Some(Place { lsn, shakes, waker });
        wake(shaken);
        Poll::Pending
    }

    /// Moves the mark; only the committer calls it, after a sync.
    pub fn advance(&self, lsn: u64) {
        self.durable.store(lsn, Ordering::Release);
        self.kick();
    }

    /// Stops the mark for good.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.kick();
    }

    fn kick(&self) {
        for index in 0..self.lists.len() {
            let mut list = lock(&self.lists[index]);
            match list.dispatcher.clone() {
                Some(dispatcher) if !list.waiting.is_empty() || self.ended() => {
                    drop(list);
                    dispatcher.wake();
                }
                Some(_) => {}
                None => {
                    let ready = self.leave(&mut list);
                    drop(list);
                    wake(ready);
                }
            }
        }
    }

    /// Takes out of the list who need not wait any more.
    fn leave(&self, list: &mut List) -> Vec<(u64, Waker)> {
        let (durable, ended) = (self.durable(), self.ended());
        let ready: Vec<_> = list.waiting.extract_if(.., |(lsn, _)| ended || *lsn <= durable).collect();
        if list.waiting.len() < CROWD / 2 {
            list.crowd = CROWD;
        }
        ready
    }

    /// One turn of a list's dispatcher.
    pub fn dispatch(&self, index: usize, cx: &mut Context<'_>) -> Poll<()> {
        let ready = {
            let mut list = lock(&self.lists[index]);
            if !list.dispatcher.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                list.dispatcher = Some(cx.waker().clone());
            }
            let ready = self.leave(&mut list);
            if self.ended() {
                list.dispatcher = None;
            }
            ready
        };
        wake(ready);
        if self.ended() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn undispatch(&self, index: usize) {
        let ready = {
            let mut list = lock(&self.lists[index]);
            list.dispatcher = None;
            self.leave(&mut list)
        };
        wake(ready);
    }
}

fn wake(ready: Vec<(u64, Waker)>) {
    for (_, waker) in ready {
        waker.wake();
    }
}

/// The watermark of a journal, without its disk type: cheap to clone, for those who only wait.
#[derive(Clone)]
pub struct Watch(pub(crate) Arc<Watermark>);

impl Watch {
    /// Everything up to here is durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn(self.0.durable())
    }

    /// Ready when `lsn` is durable.
    ///
    /// # Errors
    /// The journal failed or was closed before: it may or may not have been kept.
    pub fn poll_durable(&self, cx: &mut Context<'_>, lsn: Lsn, waiter: &mut Waiter) -> Poll<Result<(), Failed>> {
        self.0.poll(cx, lsn.0, waiter)
    }

    /// Whether nothing becomes durable any more: the journal failed or was closed.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.0.ended()
    }

    /// Blocks this thread until `lsn` is durable. For tests, tools and shutdown; never on a runtime's thread.
    ///
    /// # Errors
    /// As [`Watch::poll_durable`].
    pub fn wait(&self, lsn: Lsn) -> Result<(), Failed> {
        let mut waiter = Waiter::new();
        block_on(|cx| self.poll_durable(cx, lsn, &mut waiter))
    }
}

/// Wakes the waiters of one list; spawn each on the runtime whose tasks wait. Ends when the journal fails or is closed.
#[must_use = "does nothing unless it is spawned"]
pub struct Dispatch {
    pub(crate) mark: Arc<Watermark>,
    pub(crate) index: usize,
}

impl Future for Dispatch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.mark.dispatch(self.index, cx)
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.mark.undispatch(self.index);
    }
}

/// Polls on this thread until ready, parked in between.
pub(crate) fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut cx) {
            return value;
        }
        std::thread::park();
    }
}
