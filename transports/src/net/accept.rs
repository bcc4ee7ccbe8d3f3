//! The accept loop: limits per address and in all, and a graceful end.
//!
//! A connection above a limit is closed at once, before a byte is read, and counted. The loop never stops for an error of
//! one connection; when the process is out of file descriptors it waits a little and goes on. Connections never take the last
//! descriptors: the journal, backends and the admin address need some to go on.
use super::Shutdown;
use crate::gate::Gate;
use schemas::Word;
use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// How long the loop rests when the process can open no more files.
const OUT_OF_FILES_REST: Duration = Duration::from_millis(100);

/// Connections that are still accepted when the loop ends: as many as the system lets wait for one socket (`tokio`'s backlog).
const WAITING_MAX: usize = 1024;

/// File descriptors that connections leave to the journal, the backends and the admin address; at most a quarter of all.
const FILES_RESERVED: u64 = 48;

/// A bound socket that does not accept yet: binding happens for all listeners before the first one serves.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds `address`, with `SO_REUSEADDR`, so that a restart can bind at once.
    ///
    /// # Errors
    /// The system's: address in use, no permission.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Listening { listener, address })
    }

    /// The same socket once more, for a listener that takes it over: connections that wait to be accepted stay, whichever of the
    /// two is dropped first.
    ///
    /// # Errors
    /// The system's: no more files.
    pub fn again(&self) -> io::Result<Self> {
        let socket = std::net::TcpListener::from(self.listener.as_fd().try_clone_to_owned()?);
        Ok(Listening { listener: TcpListener::from_std(socket)?, address: self.address })
    }

    /// The socket itself, for a server with an accept loop of its own (the admin address).
    pub fn into_inner(self) -> TcpListener {
        self.listener
    }

    /// The address that was bound; the port is known even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How many connections a listener takes. They may change while it runs; connections that are open stay.
#[derive(Debug)]
pub struct Limits {
    connections_max: AtomicUsize,
    per_address_max: AtomicUsize,
}

impl Limits {
    /// At most so many connections in all, and from one address.
    pub fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Limits { connections_max: connections_max.into(), per_address_max: per_address_max.into() })
    }

    /// From the next connection on.
    pub fn change(&self, connections_max: usize, per_address_max: usize) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.per_address_max.store(per_address_max, Ordering::Relaxed);
    }
}

/// What new connections of a listener begin with; a reload may put another value in its place.
#[derive(Debug)]
pub struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    /// Begins with this value.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Current(RwLock::new(Arc::new(value))))
    }

    /// The value for the next connection.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another value from the next connection on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Accepts connections within limits.
pub struct Acceptor {
    /// How many connections it takes.
    pub limits: Arc<Limits>,
    /// The gateway.
    pub gate: Arc<dyn Gate>,
}

impl Acceptor {
    /// Accepts until `shutdown`, and then those that the system has connected already; gives each connection to `serve` in a
    /// task of its own, and returns when the last one has ended. `serve` must watch the signal itself.
    pub async fn run<F, S>(self, listening: Listening, mut shutdown: Shutdown, serve: S)
    where
        S: Fn(TcpStream, SocketAddr) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let open = Arc::new(Open::default());
        let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
        let take = |stream: TcpStream, peer| {
            let Some(place) = self.admit(&open, &stream, peer) else { return };
            let connection = serve(stream, peer);
            let alive = alive.clone();
            tokio::spawn(async move {
                connection.await;
                drop((place, alive));
            });
        };
        loop {
            let accepted = tokio::select! {
                // In this order: once it is fired, whoever connects is for the listener that has the address next.
                biased;
                () = shutdown.fired() => break,
                accepted = listening.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => take(stream, peer),
                Err(error) => rest_after(&error).await,
            }
        }
        // The system has connected these already: closing the socket now would reset them.
        for (stream, peer) in waiting(listening) {
            take(stream, peer);
        }
        drop(alive);
        let _closed = all_gone.recv().await;
    }

    fn admit(&self, open: &Arc<Open>, stream: &TcpStream, peer: SocketAddr) -> Option<Place> {
        if takes_reserve(stream.as_raw_fd(), files_max()) {
            self.gate.refused(Word::Overloaded);
            return None;
        }
        if let Err(refusal) = self.gate.admit(peer) {
            self.gate.refused(refusal.word);
            return None;
        }
        let place = open.enter(
            peer.ip(),
            self.limits.connections_max.load(Ordering::Relaxed),
            self.limits.per_address_max.load(Ordering::Relaxed),
        );
        if place.is_none() {
            self.gate.refused(Word::Overloaded);
        }
        // Answers are small and must leave at once.
        place.filter(|_| stream.set_nodelay(true).is_ok())
    }
}

/// Closes the socket and gives the connections that waited to be accepted.
fn waiting(listening: Listening) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let socket = listening.listener.into_std().ok();
    let accept = move || {
        // Never waits: tokio's sockets do not block. An error ends it, as the empty queue does.
        let (stream, peer) = socket.as_ref()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    };
    std::iter::from_fn(accept).take(WAITING_MAX)
}

/// How many files the process may have open, as `ulimit -n` says now; `None`: no limit.
fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// The system gives the lowest number that is free: a high one says that nearly all are taken.
fn takes_reserve(file: RawFd, files_max: Option<u64>) -> bool {
    let file = u64::try_from(file).unwrap_or_default();
    files_max.is_some_and(|most| file.saturating_add(FILES_RESERVED.min(most / 4)) >= most)
}

async fn rest_after(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    // EMFILE and ENFILE: the pending connection stays in the queue, and accept would spin.
    if matches!(error.raw_os_error(), Some(23 | 24)) {
        tokio::time::sleep(OUT_OF_FILES_REST).await;
    }
}

/// Open connections, in all and per address.
#[derive(Debug, Default)]
struct Open(Mutex<(usize, HashMap<IpAddr, usize>)>);

impl Open {
    fn enter(self: &Arc<Self>, address: IpAddr, max: usize, per_address_max: usize) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.0 >= max {
            return None;
        }
        let here = open.1.entry(address).or_default();
        if *here >= per_address_max {
            return None;
        }
        *here += 1;
        open.0 += 1;
        Some(Place { open: Arc::clone(self), address })
    }
}

struct Place {
    open: Arc<Open>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 -= 1;
        if let Some(here) = open.1.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.1.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_files_are_not_for_connections() {
        assert!(!takes_reserve(10, Some(100)));
        assert!(takes_reserve(75, Some(100)));
        assert!(!takes_reserve(951, Some(1000)) && takes_reserve(952, Some(1000)));
        assert!(!takes_reserve(1_000_000, None));
    }

    #[test]
    fn limits_per_address_and_in_all() {
        let open = Arc::new(Open::default());
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = open.enter(a, 2, 1);
        assert!(first.is_some());
        assert!(open.enter(a, 2, 1).is_none(), "one per address");
        let second = open.enter(b, 2, 1);
        assert!(second.is_some());
        assert!(open.enter(IpAddr::from([127, 0, 0, 3]), 2, 1).is_none(), "two in all");
        drop(first);
        assert!(open.enter(a, 2, 1).is_some());
    }
}
