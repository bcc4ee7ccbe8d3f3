//! One connection: which HTTP it speaks, hyper's limits, and a supervisor that ends it in time.
//!
//! hyper's own timers are not used for HTTP/1: one timer per connection watches silence, heads and idleness, and it is moved
//! only when it rings or when half a head arrives.
use super::{
    activity::{Activity, Overdue, Patience},
    guard::{Guard, Limits},
    guarded::Guarded,
    seat::Seats,
    service::{self, Connection},
    settings::HttpSettings,
    wire::{Sniffed, Wire, sniff},
};
use crate::{
    Gate, Origin, Principal,
    net::{Shutdown, jittered},
};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use schemas::{ByteStr, Word};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};

/// A connection that was asked to end, with nothing in flight, is dropped after this time.
const GOODBYE: Duration = Duration::from_secs(2);
/// A connection as young as this has its first request on the way: a gateway that stops still waits for it that long.
const NEWCOMER: Duration = Duration::from_secs(1);
/// Bytes in flight to one HTTP/2 connection (its window), and to one of its streams.
const H2_CONNECTION_WINDOW: u32 = 256 * 1024;
const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes of answers that wait for one HTTP/2 stream: answers are small.
const H2_SEND_BUFFER: usize = 16 * 1024;
/// Streams that the peer opened and reset before they were looked at (CVE-2023-44487), and resets that its faults made us
/// send (CVE-2025-8671); above them the connection ends.
const H2_PENDING_RESETS_MAX: usize = 20;
const H2_LOCAL_RESETS_MAX: usize = 100;
/// A peer that does not answer a ping for this long is gone.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What all connections of a listener share.
pub(super) struct Listener {
    pub(super) name: ByteStr,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) settings: Arc<HttpSettings>,
}

/// Counts a connection while it lives.
struct Counted<'a>(&'a dyn Gate, &'static str);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connection(self.1, false);
    }
}

impl Listener {
    /// Serves one connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, mut shutdown: Shutdown) {
        let newcomer = Instant::now() + NEWCOMER.min(self.settings.drain_timeout);
        let stopped = async {
            shutdown.fired().await;
            sleep_until(newcomer).await;
        };
        let first = tokio::select! {
            // In this order: what was read is not forgotten.
            biased;
            first = timeout(self.settings.first_byte_timeout, sniff(&mut stream)) => first,
            () = stopped => return,
        };
        // Silence, a peer that closed, or a broken connection: nobody is there to tell.
        let Ok(Ok(Some(sniffed))) = first else { return };
        let version = if sniffed.is_http2() { "2" } else { "1.1" };
        self.gate.connection(version, true);
        let _counted = Counted(self.gate.as_ref(), version);
        if sniffed.is_http2() {
            // Boxed, so that an HTTP/1 connection does not pay for the size of this one.
            Box::pin(self.serve_http2(stream, sniffed, peer, shutdown)).await;
        } else {
            self.serve_http1(stream, sniffed, peer, shutdown).await;
        }
    }

    async fn serve_http1(&self, stream: TcpStream, sniffed: Sniffed, peer: SocketAddr, shutdown: Shutdown) {
        let shared = self.connection(peer, "1.1", Activity::new(true));
        let activity = Arc::clone(&shared.activity);
        if shutdown.is_fired() {
            // A newcomer's first request is answered in the first poll, and its answer says that it is the last.
            activity.grow_old();
        }
        let HttpSettings { head_max, headers_max, target_max, .. } = *self.settings;
        let guard = Guard::new(Limits { head_max, headers_max, target_max });
        let wire = Wire::new(stream, sniffed, Arc::clone(&activity));
        let wire = TokioIo::new(Guarded::new(wire, guard, Arc::clone(&activity)));
        let mut builder = http1::Builder::new();
        // No `pipeline_flush`: with bytes left in its read buffer hyper 1.12 then closes without having sent the last answer.
        builder
            .max_buf_size(self.settings.head_max.max(8 * 1024))
            .max_header_size(self.settings.head_max)
            // Answers are small: copying one behind its head costs less than the system's gathering of two slices.
            .writev(false)
            .half_close(true);
        let served =
            builder.serve_connection(wire, service_fn(move |request| service::serve(Arc::clone(&shared), request)));
        self.supervise(pin!(served), |served| served.graceful_shutdown(), &activity, shutdown).await;
    }

    async fn serve_http2(&self, stream: TcpStream, sniffed: Sniffed, peer: SocketAddr, shutdown: Shutdown) {
        let shared = self.connection(peer, "2", Activity::new(false));
        let activity = Arc::clone(&shared.activity);
        let wire = TokioIo::new(Wire::new(stream, sniffed, Arc::clone(&activity)));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.settings.streams_max)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_header_list_size(u32::try_from(self.settings.head_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(H2_LOCAL_RESETS_MAX)
            .keep_alive_interval(self.settings.idle_timeout / 2)
            .keep_alive_timeout(H2_PING_TIMEOUT);
        let served =
            builder.serve_connection(wire, service_fn(move |request| service::serve(Arc::clone(&shared), request)));
        self.supervise(pin!(served), |served| served.graceful_shutdown(), &activity, shutdown).await;
    }

    fn connection(&self, peer: SocketAddr, version: &'static str, activity: Activity) -> Arc<Connection> {
        let origin = Origin {
            listener: self.name.clone(),
            principal: Principal::default(),
            protocol: "http",
            version,
            peer,
            client: ByteStr::EMPTY,
        };
        Arc::new(Connection {
            gate: Arc::clone(&self.gate),
            settings: Arc::clone(&self.settings),
            activity: Arc::new(activity),
            seats: Seats::new(Arc::clone(&self.gate), origin, self.settings.hold),
        })
    }

    /// Drives a connection to its end, and ends it when it is overdue or the gateway stops.
    async fn supervise<C>(
        &self,
        mut served: Pin<&mut C>,
        goodbye: impl Fn(Pin<&mut C>),
        activity: &Activity,
        mut shutdown: Shutdown,
    ) where
        C: Future<Output = hyper::Result<()>>,
    {
        // The signal is polled once, which registers this task, and then only when there is something to hear: all connections
        // share its lock.
        let news = shutdown.clone();
        let mut asked = false;
        let mut fired = pin!(shutdown.fired());
        let mut timer = pin!(sleep(self.settings.header_timeout));
        // Set once the connection was asked to end: when it is dropped even so.
        let mut last: Option<Instant> = None;
        let mut old_at = Some(Instant::now() + jittered(self.settings.max_connection_age));
        let mut stopping = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = served.as_mut().poll(cx) {
                    self.count(ended);
                    return Poll::Ready(());
                }
                // After the poll, which has taken in what came: a request on its way is answered.
                if !stopping && (!asked || news.has_news()) && fired.as_mut().poll(cx).is_ready() {
                    stopping = true;
                    last = Some(Instant::now() + self.settings.drain_timeout);
                    if !activity.ends_with_next() {
                        goodbye(served.as_mut());
                    }
                    continue;
                }
                asked = true;
                let (due, overdue) = self.due(activity, last, old_at);
                if timer.deadline() > due {
                    timer.as_mut().reset(due);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if Instant::now() < due {
                    timer.as_mut().reset(due);
                    continue;
                }
                match overdue {
                    Some(Overdue::Idle) => {
                        last = Some(Instant::now() + GOODBYE);
                        goodbye(served.as_mut());
                    }
                    Some(Overdue::Old) => {
                        old_at = None;
                        if activity.is_http1() {
                            // Closing now could meet a request on its way: the next answer says that it is the last.
                            activity.grow_old();
                        } else {
                            last = Some(Instant::now() + self.settings.drain_timeout);
                            goodbye(served.as_mut());
                        }
                    }
                    Some(Overdue::Head) => {
                        self.gate.refused(Word::Timeout);
                        return Poll::Ready(());
                    }
                    Some(Overdue::Write) => {
                        tracing::debug!(listener = %self.name, "a peer did not read its answers");
                        return Poll::Ready(());
                    }
                    None => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// The next time to look at the connection, and what is overdue then; `None` when it is to be dropped.
    fn due(&self, activity: &Activity, last: Option<Instant>, old_at: Option<Instant>) -> (Instant, Option<Overdue>) {
        let HttpSettings { header_timeout, idle_timeout, write_timeout, .. } = *self.settings;
        let asked = activity.due(Patience { header: header_timeout, idle: idle_timeout, write: write_timeout });
        // A connection that was asked to end is not idle, nor does it grow old.
        let asked = asked.filter(|(_, overdue)| last.is_none() || *overdue != Overdue::Idle);
        let old = if last.is_some() { None } else { old_at.map(|at| (at, Overdue::Old)) };
        let first = [asked, old].into_iter().flatten().min_by_key(|(due, _)| *due);
        match (first, last) {
            (Some((due, _)), Some(last)) if last <= due => (last, None),
            (Some((due, overdue)), _) => (due, Some(overdue)),
            (None, Some(last)) => (last, None),
            (None, None) => (Instant::now() + self.settings.idle_timeout, Some(Overdue::Idle)),
        }
    }

    /// hyper answers what it cannot parse by itself (400, 414, 431); it is counted here.
    fn count(&self, ended: hyper::Result<()>) {
        let Err(error) = ended else { return };
        if error.is_parse_too_large() {
            self.gate.refused(Word::TooLarge);
        } else if error.is_parse() {
            self.gate.refused(Word::ProtocolError);
        } else {
            tracing::debug!(listener = %self.name, %error, "a connection broke");
        }
    }
}
