//! A gateway for tests: what it answers is scripted, when something is durable is up to the test, and it remembers all it saw.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared by several test binaries, none of which uses all of it"
)]
use schemas::{AckLevel, ByteStr, ItemReceipt, ItemVerdict, Items, Message, Receipt, Refusal, Verdict, Word};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::util::BoxCloneSyncService;
use transports::{
    Budget, Credentials, DurableWait, Gate, Lost, Origin, Principal, Room, Slot, Submission, Ticket, gate::Door,
};

/// The trace id of every scripted receipt.
pub const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// What the scripted gateway does with one message.
pub enum Answer {
    /// A verdict at once.
    Now(Verdict),
    /// The door refuses (same effect for the sender as `Now(Verdict::Refusal)`).
    Refuse(Refusal),
    /// A receipt that is true once [`FakeGate::set_durable`] reached this LSN.
    Durable(u64, Receipt),
    /// A receipt that waits for the deliveries counted by a slot.
    Slot(Arc<Slot>, Receipt),
    /// The door answers after a while (a message that is held).
    After(Duration, Box<Answer>),
    /// The door never answers.
    Hang,
}

/// What the gateway saw of one message.
#[derive(Clone, Debug)]
pub struct Seen {
    pub message: Message,
    pub origin: Arc<Origin>,
    /// Bytes reserved for it when it was handed over.
    pub room: usize,
}

type Script = Box<dyn FnMut(&Submission) -> Answer + Send>;
type Guard = Box<dyn Fn(SocketAddr, Credentials<'_>) -> Result<Principal, Refusal> + Send + Sync>;

/// The scripted gateway.
pub struct FakeGate {
    budget: Arc<Budget>,
    me: std::sync::Weak<FakeGate>,
    script: Mutex<Script>,
    guard: Mutex<Guard>,
    seen: Mutex<Vec<Seen>>,
    refused: Mutex<Vec<Word>>,
    watermark: Arc<Watermark>,
    stopping: AtomicBool,
    admits: AtomicBool,
    opened: AtomicUsize,
    closed: AtomicUsize,
}

impl FakeGate {
    /// A gateway that gives every message a durable receipt at once: one event, with the id `e-1`, `e-2`, …
    pub fn new() -> Arc<Self> {
        Self::with_budget(64 * 1024 * 1024)
    }

    /// As [`FakeGate::new`], with another byte budget.
    pub fn with_budget(bytes: usize) -> Arc<Self> {
        let mut count = 0u64;
        let script: Script = Box::new(move |_| {
            count += 1;
            Answer::Now(Verdict::Receipt(receipt(&format!("e-{count}"))))
        });
        Arc::new_cyclic(|me| FakeGate {
            budget: Budget::new(bytes),
            me: me.clone(),
            script: Mutex::new(script),
            guard: Mutex::new(Box::new(|_, _| Ok(Principal::default()))),
            seen: Mutex::default(),
            refused: Mutex::default(),
            watermark: Arc::default(),
            stopping: AtomicBool::new(false),
            admits: AtomicBool::new(true),
            opened: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        })
    }

    /// Replaces the script. It is called once per message, in order of arrival.
    pub fn script(&self, script: impl FnMut(&Submission) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Gives every message this verdict.
    pub fn always(&self, verdict: Verdict) {
        self.script(move |_| Answer::Now(verdict.clone()));
    }

    /// Replaces the check of credentials (everybody is let in, as nobody, by default).
    pub fn guard(
        &self,
        guard: impl Fn(SocketAddr, Credentials<'_>) -> Result<Principal, Refusal> + Send + Sync + 'static,
    ) {
        *self.guard.lock().unwrap() = Box::new(guard);
    }

    /// Whether new connections are admitted.
    pub fn set_admits(&self, admits: bool) {
        self.admits.store(admits, Ordering::SeqCst);
    }

    /// Makes the gateway say that it is stopping.
    pub fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::SeqCst);
    }

    /// Moves the durability watermark and wakes who waits.
    pub fn set_durable(&self, lsn: u64) {
        self.watermark.durable.store(lsn, Ordering::SeqCst);
        self.watermark.wake();
    }

    /// The journal's disk fails: everybody who waits is lost.
    pub fn lose_disk(&self) {
        self.watermark.lost.store(true, Ordering::SeqCst);
        self.watermark.wake();
    }

    /// Everything that was submitted so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Words counted by the transport itself.
    pub fn refused_words(&self) -> Vec<Word> {
        self.refused.lock().unwrap().clone()
    }

    /// Connections that opened and closed.
    pub fn connections(&self) -> (usize, usize) {
        (self.opened.load(Ordering::SeqCst), self.closed.load(Ordering::SeqCst))
    }

    async fn answer(self: Arc<Self>, submission: Submission) -> Result<Ticket, Refusal> {
        let mut answer = (self.script.lock().unwrap())(&submission);
        let Submission { message, room, origin } = submission;
        self.seen.lock().unwrap().push(Seen { message, origin, room: room.bytes() });
        loop {
            answer = match answer {
                Answer::Now(verdict) => return Ok(Ticket::now(verdict)),
                Answer::Refuse(refusal) => return Err(refusal),
                Answer::Durable(lsn, receipt) => return Ok(Ticket::durable(lsn, receipt, room)),
                Answer::Slot(slot, receipt) => return Ok(Ticket::slot(slot, 0, receipt, room)),
                Answer::After(wait, next) => {
                    tokio::time::sleep(wait).await;
                    *next
                }
                Answer::Hang => return std::future::pending().await,
            };
        }
    }
}

impl Gate for FakeGate {
    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn door(&self) -> Door {
        let me = self.me.upgrade().unwrap();
        BoxCloneSyncService::new(tower::service_fn(move |submission| Arc::clone(&me).answer(submission)))
    }

    fn durable_wait(&self) -> Box<dyn DurableWait> {
        Box::new(Wait(Arc::clone(&self.watermark)))
    }

    fn admit(&self, _: SocketAddr) -> Result<(), Refusal> {
        if self.admits.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(Refusal::new(Word::Unauthenticated, "not from here"))
        }
    }

    fn authenticate(&self, peer: SocketAddr, credentials: Credentials<'_>) -> Result<Principal, Refusal> {
        (self.guard.lock().unwrap())(peer, credentials)
    }

    fn refused(&self, word: Word) {
        self.refused.lock().unwrap().push(word);
    }

    fn connection(&self, _: &'static str, opened: bool) {
        let counter = if opened { &self.opened } else { &self.closed };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Watermark {
    durable: AtomicU64,
    lost: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Watermark {
    fn wake(&self) {
        for waker in self.wakers.lock().unwrap().drain(..) {
            waker.wake();
        }
    }
}

struct Wait(Arc<Watermark>);

impl DurableWait for Wait {
    fn poll_durable(&mut self, cx: &mut Context<'_>, lsn: u64) -> Poll<Result<(), Lost>> {
        let mut wakers = self.0.wakers.lock().unwrap();
        if self.0.durable.load(Ordering::SeqCst) >= lsn {
            return Poll::Ready(Ok(()));
        }
        if self.0.lost.load(Ordering::SeqCst) {
            return Poll::Ready(Err(Lost));
        }
        wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

/// A durable receipt of one event with this id.
pub fn receipt(id: &str) -> Receipt {
    receipt_of(AckLevel::Durable, vec![kept(id, AckLevel::Durable)])
}

/// A receipt with these events.
pub fn receipt_of(level: AckLevel, items: Vec<ItemReceipt>) -> Receipt {
    Receipt { level, trace_id: ByteStr::from_static(TRACE_ID), items: Items::Each(items.into()), reply: None }
}

/// One kept event.
pub fn kept(id: &str, level: AckLevel) -> ItemReceipt {
    ItemReceipt { id: id.into(), verdict: ItemVerdict::Kept { level, dead_letter: None } }
}

/// One refused event.
pub fn refused(id: &str, word: Word, detail: &str) -> ItemReceipt {
    ItemReceipt { id: id.into(), verdict: ItemVerdict::Refused(word, detail.into()) }
}

/// Room of no budget, for tickets made by hand.
pub fn no_room() -> Room {
    Room::default()
}
