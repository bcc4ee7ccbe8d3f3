//! The whole listener as a function over bytes: the real parser, the session's rules and the real answers, without a socket.
//!
//! For fuzz targets, sweeps over cut input and instruction counts. Behind it is a gateway that keeps nothing
//! ([`Null`]): what a message's payload begins with decides its verdict, so that all answers are reached.
use super::{MqttSessions, MqttSettings, Stream};
use crate::{Budget, Credentials, DurableWait, Gate, Lost, Principal, Submission, Ticket, gate::Door, net::Shutdown};
use schemas::{AckLevel, ByteStr, Items, Receipt, Refusal, Unknown, Verdict, Word};
use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};
use tower::util::BoxCloneSyncService;

/// What one connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// All that the client was told.
    pub output: Vec<u8>,
    /// Messages that were handed over.
    pub messages: usize,
    /// Bytes of the budget that nobody gave back: 0, or it is a fault.
    pub held: usize,
}

/// Feeds `input` (CONNECT and what follows, or anything else) to a session with default settings, then ends the stream.
///
/// The signature that a fuzz target stands on: it neither panics nor hangs for any input; it takes no longer than the input
/// asks for, because no clock is waited for once the stream has ended.
pub fn session_bytes(input: &[u8]) -> Transcript {
    session_chunks(input, usize::MAX, &MqttSettings::default())
}

/// As [`session_bytes`], with input that comes `first` bytes at first and the rest in a second read, and with these settings.
pub fn session_chunks(input: &[u8], first: usize, settings: &MqttSettings) -> Transcript {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let (first, second) = input.split_at(first.min(input.len()));
    let gate = Null::new();
    let output = Arc::default();
    let stream = Script { chunks: [second.to_vec(), first.to_vec()], read: 0, output: Arc::clone(&output) };
    let shared: Arc<dyn Gate> = Arc::clone(&gate) as Arc<dyn Gate>;
    let sessions = MqttSessions::new(Arc::new(settings.clone()), shared);
    let (_stop, shutdown) = Shutdown::channel();
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs only memory")
        });
        runtime.block_on(sessions.serve(stream, SocketAddr::from(([127, 0, 0, 1], 1)), shutdown));
    });
    let output = std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner));
    Transcript { output, messages: gate.messages.load(Ordering::Relaxed), held: gate.budget.used() }
}

/// A stream that gives what it was made with, piece by piece, and keeps what is written.
struct Script {
    /// In reverse order.
    chunks: [Vec<u8>; 2],
    /// Bytes read of the chunk that is read now.
    read: usize,
    output: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        for chunk in me.chunks.iter_mut().rev() {
            if me.read < chunk.len() {
                let count = buffer.remaining().min(chunk.len() - me.read);
                buffer.put_slice(&chunk[me.read..me.read + count]);
                me.read += count;
                break;
            }
            if !chunk.is_empty() {
                *chunk = Vec::new();
                me.read = 0;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Script {
    fn poll_readable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A gateway that keeps nothing.
///
/// The payload's first byte decides: `!` is refused for good, `~` for now, `?` has an unknown outcome, all else gets a receipt.
struct Null {
    budget: Arc<Budget>,
    messages: Arc<AtomicUsize>,
}

impl Null {
    fn new() -> Arc<Self> {
        Arc::new(Null { budget: Budget::new(64 * 1024 * 1024), messages: Arc::default() })
    }
}

fn verdict(payload: &[u8]) -> Verdict {
    match payload.first() {
        Some(b'!') => Refusal::new(Word::SchemaInvalid, "refused for good").into(),
        Some(b'~') => Refusal::new(Word::Overloaded, "refused for now").retry_after(Duration::from_secs(1)).into(),
        Some(b'?') => Verdict::Unknown(Unknown { word: Word::Timeout }),
        _ => Verdict::Receipt(Receipt {
            level: AckLevel::Durable,
            trace_id: ByteStr::EMPTY,
            items: Items::All,
            reply: None,
        }),
    }
}

impl Gate for Null {
    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn door(&self) -> Door {
        let messages = Arc::clone(&self.messages);
        BoxCloneSyncService::new(tower::service_fn(move |submission: Submission| {
            messages.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(Ticket::now(verdict(&submission.message.payload))))
        }))
    }

    fn durable_wait(&self) -> Box<dyn DurableWait> {
        Box::new(Now)
    }

    fn admit(&self, _: SocketAddr) -> Result<(), Refusal> {
        Ok(())
    }

    fn authenticate(&self, _: SocketAddr, _: Credentials<'_>) -> Result<Principal, Refusal> {
        Ok(Principal::default())
    }

    fn refused(&self, _: Word) {}

    fn connection(&self, _: &'static str, _: bool) {}

    fn is_stopping(&self) -> bool {
        false
    }
}

/// Everything is durable at once.
struct Now;

impl DurableWait for Now {
    fn poll_durable(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }
}
