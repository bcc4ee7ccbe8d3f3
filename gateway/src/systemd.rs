//! What the service manager is told, after `sd_notify(3)`: ready, reloading, stopping, and that the process still works.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. The watchdog is a thread of its own, so that a runtime that stands
//! still cannot hold it up, and it says "still here" only while the committer, the lanes and both runtimes make progress
//! ([`crate::vital::stuck`]): a process that runs but acknowledges nothing is ended and started again.
use crate::{state::Shared, vital};
use sd_notify::NotifyState;
use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

/// Everything is bound and serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The config is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The drain has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Keeps the service manager's watchdog content for as long as the gateway works. Does nothing unless the manager asked for it
/// (`WatchdogSec=`).
pub fn watchdog(shared: &Arc<Shared>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let shared = Arc::downgrade(shared);
    let thread = thread::Builder::new().name("anygate-watchdog".into()).spawn(move || watch(&shared, limit));
    if let Err(error) = thread {
        tracing::error!(%error, "no thread for the watchdog: the service manager will end the process");
    }
}

/// A part may stand still for half of the manager's time before the manager hears nothing more.
fn watch(shared: &Weak<Shared>, limit: Duration) {
    let mut was_stuck = false;
    while let Some(shared) = shared.upgrade() {
        match vital::stuck(&shared, limit / 2) {
            None => {
                tell(&[NotifyState::Watchdog]);
                was_stuck = false;
            }
            Some(what) if !was_stuck => {
                tracing::error!("{what}: the watchdog is not told that the gateway works");
                was_stuck = true;
            }
            Some(_) => {}
        }
        drop(shared);
        thread::sleep(limit / 4);
    }
}
