//! The way out: a bounded queue, and one task that exports what is in it.
//!
//! A failed request loses its spans, which are counted; then the task waits, longer each time, while the queue fills and what
//! comes after is dropped before it is even built.
use super::receiver::TIMEOUT;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Spans that wait at most.
pub(super) const QUEUE: usize = 4096;
/// Spans of one request at most.
const BATCH: usize = 512;
/// How long the first span of a request waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// The pause after a failed request; doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A collector that stays away is reported this often.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How long the end may take.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// The queue's end for those who make spans.
#[derive(Debug)]
pub(super) struct Worker {
    queue: mpsc::Sender<SpanData>,
    dropped: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    pub(super) fn start(exporter: impl SpanExporter + 'static, receiver: String, runtime: &Handle) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (stop, stopping) = watch::channel(false);
        let dropped = Arc::new(AtomicU64::new(0));
        let sends = Sends { exporter, receiver, waiting, stopping, dropped: Arc::clone(&dropped), trouble: None };
        let task = Mutex::new(Some(runtime.spawn(sends.run())));
        Worker { queue, dropped, stop, task }
    }

    /// Whether a span would be taken; counts it as dropped if not.
    pub(super) fn has_room(&self) -> bool {
        let room = self.queue.capacity() > 0;
        if !room {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    pub(super) fn send(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && timeout(SHUTDOWN, &mut task).await.is_err()
        {
            task.abort();
            tracing::warn!(code = "timeout", "the last spans could not be sent within 2 s");
        }
    }
}

/// The task.
struct Sends<E> {
    exporter: E,
    receiver: String,
    waiting: mpsc::Receiver<SpanData>,
    stopping: watch::Receiver<bool>,
    dropped: Arc<AtomicU64>,
    trouble: Option<Trouble>,
}

/// Requests that failed, since one succeeded.
struct Trouble {
    pause: Duration,
    warned: Instant,
}

impl<E: SpanExporter> Sends<E> {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.fill(&mut batch).await {
            self.export(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await;
            if let Some(trouble) = &self.trouble {
                let pause = trouble.pause;
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stopped(&mut self.stopping) => {}
                }
            }
        }
    }

    /// Waits for spans; `false` when there will be none.
    async fn fill(&mut self, batch: &mut Vec<SpanData>) -> bool {
        tokio::select! {
            biased;
            count = self.waiting.recv_many(batch, BATCH) => if count == 0 { return false },
            () = stopped(&mut self.stopping) => {
                // What is under way now is the last; whoever still makes spans makes them for nobody.
                self.waiting.close();
                return self.waiting.recv_many(batch, BATCH).await > 0;
            }
        }
        let full =
            async { while batch.len() < BATCH && self.waiting.recv_many(batch, BATCH - batch.len()).await > 0 {} };
        tokio::select! {
            () = full => {}
            () = sleep(LINGER) => {}
            () = stopped(&mut self.stopping) => {}
        }
        true
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let why = match timeout(TIMEOUT, self.exporter.export(batch)).await {
            Ok(Ok(())) => {
                if self.trouble.take().is_some() {
                    tracing::info!(receiver = %self.receiver, "spans are sent again");
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
        };
        let lost = self.dropped.fetch_add(count, Ordering::Relaxed) + count;
        let pause = self.trouble.as_ref().map_or(PAUSE, |trouble| (trouble.pause * 2).min(PAUSE_MAX));
        let before = self.trouble.as_ref().map(|trouble| trouble.warned).filter(|warned| warned.elapsed() < WARN_EVERY);
        if before.is_none() {
            tracing::warn!(code = "backend_unavailable", receiver = %self.receiver, detail = %why, lost, "spans cannot be sent; events are not affected");
        }
        self.trouble = Some(Trouble { pause, warned: before.unwrap_or_else(Instant::now) });
    }
}

/// Ready once the gateway stops, or nobody is left to say so.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _stop_or_gone = stopping.wait_for(|stop| *stop).await;
}
