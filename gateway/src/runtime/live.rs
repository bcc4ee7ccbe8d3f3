//! The generation of the config that is in force, for those who look at it: the admin API, housekeeping, the next reload.
use super::{Before, Blueprint, Compiled};
use crate::{
    admin::replay::Again,
    config::{Listener, model::Config},
    gate::{Entrance, Entrances},
    stack::epoch::Epoch,
    state::Shared,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

/// One generation of the config.
pub struct Generation {
    /// 1 at start, one more with each reload that is applied.
    pub number: u64,
    /// When it came into force.
    pub applied: SystemTime,
    /// What it was made of.
    pub config: Config,
    /// Routes, pipelines and rules.
    pub blueprint: Blueprint,
    /// The ways in for replays.
    pub again: Again,
    /// Who is inside.
    pub epoch: Arc<Epoch>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Generation {
    fn new(number: u64, config: Config, compiled: Compiled, shared: &Arc<Shared>) -> (Self, HashMap<String, Entrance>) {
        let Compiled { blueprint, entrances, epoch } = compiled;
        let again = Again::new(&config, &blueprint, shared);
        let applied = SystemTime::now();
        (Generation { number, applied, config, blueprint, again, epoch }, entrances)
    }

    /// Name, kind and address of each listener, as configured.
    pub fn listeners(&self) -> impl Iterator<Item = (String, &'static str, String)> {
        let each = |(name, listener): &'_ (String, Listener)| {
            (name.clone(), listener.kind(), listener.common().listen.to_string())
        };
        self.config.listeners.iter().map(each)
    }

    /// For the compilation of the one after it.
    pub fn before(&self) -> Before<'_> {
        Before { config: &self.config, blueprint: &self.blueprint }
    }
}

/// A reload that was rejected.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// When.
    pub at: SystemTime,
    /// The faults, as `anygate check` prints them.
    pub text: String,
    /// How many errors.
    pub errors: usize,
}

/// What is in force now.
#[derive(Debug)]
pub struct Live {
    /// What is behind the listeners.
    pub entrances: Arc<Entrances>,
    now: RwLock<Arc<Generation>>,
    rejected: Mutex<Option<Rejected>>,
}

impl Live {
    /// Puts the first generation in force behind `entrances`.
    pub fn begin(config: &Config, compiled: Compiled, entrances: Arc<Entrances>, shared: &Arc<Shared>) -> Arc<Self> {
        let (first, behind) = Generation::new(1, config.clone(), compiled, shared);
        entrances.swap(first.number, behind);
        Arc::new(Live { entrances, now: RwLock::new(Arc::new(first)), rejected: Mutex::default() })
    }

    /// Puts another generation in force and ends the one before, which is given back.
    pub fn swap(&self, config: Config, compiled: Compiled, shared: &Arc<Shared>) -> Arc<Generation> {
        let (next, behind) = Generation::new(self.now().number + 1, config, compiled, shared);
        // The switch: all listeners at once. Messages that are on their way find it when their own generation is over.
        self.entrances.swap(next.number, behind);
        let before = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), Arc::new(next));
        before.epoch.end();
        before
    }

    /// The generation in force.
    pub fn now(&self) -> Arc<Generation> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last reload, if it was rejected.
    pub fn rejected(&self) -> Option<Rejected> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how the last reload went.
    pub(super) fn note(&self, rejected: Option<Rejected>) {
        *self.rejected.lock().unwrap_or_else(PoisonError::into_inner) = rejected;
    }
}
