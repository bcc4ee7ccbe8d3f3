//! Who is connected under which client identifier: at most one connection each (MQTT-3.1.4-3).
//!
//! One registry per listener, keyed by principal and client identifier, so that nobody can throw out another principal's
//! client. It holds one entry per connection and is bounded by their number.
use futures_util::task::AtomicWaker;
use schemas::ByteStr;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// Principal and client identifier.
type Key = (ByteStr, ByteStr);

/// The connections of one listener.
#[derive(Debug, Default)]
pub struct Registry(Mutex<HashMap<Key, Arc<Entry>>>);

#[derive(Debug, Default)]
struct Entry {
    taken: AtomicBool,
    waker: AtomicWaker,
    gone: Notify,
}

impl Registry {
    /// Enters a connection. The one that had the place is told, and this waits until it has ended, so that no message of the
    /// old connection comes after one of the new; but not longer than `wait`.
    pub async fn enter(self: &Arc<Self>, principal: ByteStr, client: ByteStr, wait: Duration) -> Place {
        let entry = Arc::new(Entry::default());
        let key = (principal, client);
        let old = self.lock().insert(key.clone(), Arc::clone(&entry));
        let place = Place { registry: Arc::clone(self), key, entry };
        if let Some(old) = old {
            old.taken.store(true, Ordering::Release);
            old.waker.wake();
            let _ended = timeout(wait, old.gone.notified()).await;
        }
        place
    }

    /// Connections that are entered.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nobody is entered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropping it leaves the registry.
#[derive(Debug)]
pub struct Place {
    registry: Arc<Registry>,
    key: Key,
    entry: Arc<Entry>,
}

impl Place {
    /// Ready when another connection has taken this client identifier.
    pub fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.entry.waker.register(cx.waker());
        if self.entry.taken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.registry.lock();
        if entries.get(&self.key).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            entries.remove(&self.key);
        }
        drop(entries);
        // A permit stays for a successor that does not wait yet.
        self.entry.gone.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const WAIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn the_newcomer_waits_for_the_old_one() {
        let registry = Arc::new(Registry::default());
        let old = registry.enter("ann".into(), "c".into(), WAIT).await;
        let other = registry.enter("bob".into(), "c".into(), WAIT).await;
        let newcomer = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.enter("ann".into(), "c".into(), WAIT).await }
        });
        poll_fn(|cx| old.poll_taken(cx)).await;
        assert!(!newcomer.is_finished());
        drop(old);
        let newcomer = newcomer.await;
        assert_eq!(registry.len(), 2, "the old one did not remove its successor");
        drop((newcomer, other));
        assert!(registry.is_empty());
    }
}
