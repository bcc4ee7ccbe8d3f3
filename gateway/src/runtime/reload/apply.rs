//! One reload, from a config that was read to a generation in force: everything that can fail, and then the switch.
use super::{Parts, Reloader, Renamed};
use crate::{
    config::{
        Backend, Checked,
        model::Config,
        reload::{Difference, Reread, cannot_change, difference, fault_at},
    },
    lanes::{Lane, Lanes},
    runtime::{Compiled, Generation, StartError, build, plan, quotas::Quotas},
};
use journal::{LaneId, LaneInfo, LaneSpec, OpenError};
use settings::{Fault, Step, Tree, codes, path};
use std::{collections::HashMap, sync::Arc};

/// What the switch needs, all of it acquired.
struct Ready {
    compiled: Compiled,
    lanes: Lanes,
    /// Lanes that begin, or go on with another instance of their backend.
    begin: Vec<Arc<Lane>>,
}

/// Adds lanes that are in the table but in no config: they stay until they are empty and taken away.
pub(super) fn keep_others(specs: &mut Vec<LaneSpec>, others: impl Iterator<Item = LaneInfo>) {
    for other in others {
        let known = specs.iter().any(|spec| spec.name == other.name || spec.renamed_from.as_ref() == Some(&other.name));
        if !known {
            specs.push(LaneSpec { name: other.name, kind: other.kind, ..LaneSpec::default() });
        }
    }
}

/// The backends of a config that is in force, with its quotas.
pub(super) fn specs(config: &Config) -> Vec<LaneSpec> {
    // It fitted when it came into force; should the file system have shrunk since, the lanes stay as they are.
    Quotas::of(config).map(|quotas| build::specs(config, &quotas)).unwrap_or_default()
}

impl Reloader {
    /// Applies a config that was read again. The faults are those that say why not, or warnings.
    pub(super) async fn apply(&mut self, reread: Reread) -> (Result<Vec<Difference>, ()>, Checked) {
        let Reread { mut checked, tree } = reread;
        let (Some(config), Some(tree)) = (checked.config.take(), tree) else { return (Err(()), checked) };
        let before = self.parts.live.now();
        checked.faults.extend(cannot_change(&before.config, &config, &tree));
        checked.faults.extend(self.lanes_that_wait(&config, &tree));
        if !checked.has_errors() {
            match self.change(&before, &config, &tree).await {
                Ok(()) => return (Ok(self.difference(&before.config, &config)), checked),
                Err(fault) => checked.faults.push(*fault),
            }
        }
        settings::sort(&mut checked.faults);
        (Err(()), checked)
    }

    /// A backend that is gone while its lane has events is a fault.
    fn lanes_that_wait(&self, config: &Config, tree: &Tree) -> Vec<Fault> {
        let shared = &self.parts.shared;
        let claimed = |name: &str| {
            config.backends.get(name).is_some()
                || config.backends.iter().any(|(_, backend)| renamed_from(backend) == Some(name))
        };
        let waits = |lane: &&Arc<Lane>| LaneId::new(lane.id).map_or(0, |id| shared.journal.pending(id));
        let lanes = shared.lanes();
        let missing = lanes.iter().filter(|lane| !claimed(&lane.name) && waits(lane) > 0);
        missing.map(|lane| lane_fault(tree, &lane.name, waits(&lane))).collect()
    }

    async fn change(&mut self, before: &Arc<Generation>, config: &Config, tree: &Tree) -> Result<(), Box<Fault>> {
        let Parts { shared, live, listeners, deliveries, edge } = &self.parts;
        let prepare = {
            let (listeners, config) = (Arc::clone(listeners), config.clone());
            // Sockets belong to the runtime of connections.
            edge.spawn(async move { listeners.prepare(&config).await })
        };
        let prepared = match prepare.await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err((name, error))) => {
                let kind = config.listeners.get(&name).map_or("", |listener| listener.kind());
                return Err(system_fault(tree, path!["listeners", name.as_str(), kind, "listen"], &error));
            }
            Err(_) => return Err(internal(tree)),
        };
        let ready = {
            let (parts, before, config, tree) = (self.parts.clone(), Arc::clone(before), config.clone(), tree.clone());
            let env = self.env;
            // Files, producers, the lane table: nothing for an async worker.
            tokio::task::spawn_blocking(move || ready(&parts, &before, &config, &tree, env))
        };
        let Ready { compiled, lanes, begin } = ready.await.unwrap_or_else(|_| Err(internal(tree)))?;
        // The switch. Nothing below can fail.
        shared.change_lanes(|now| *now = lanes);
        let old = live.swap(config.clone(), compiled, shared);
        listeners.commit(prepared);
        for lane in begin {
            deliveries.run(lane);
        }
        self.over.push(Arc::clone(&old.epoch));
        self.renamed.extend(renames(&before.config, config, &self.parts));
        Ok(())
    }

    fn difference(&self, before: &Config, after: &Config) -> Vec<Difference> {
        let mut found = difference(before, after);
        for (name, backend) in after.backends.iter().filter(|(name, _)| before.backends.get(name).is_none()) {
            let Some(old) = renamed_from(backend).filter(|old| before.backends.get(old).is_some()) else { continue };
            found.retain(|one| one.section != "backends" || (one.name != *name && one.name != old));
            found.push(Difference {
                section: "backends".to_owned(),
                name: name.clone(),
                change: "renamed".to_owned(),
                detail: format!("its lane was called {old}"),
            });
        }
        found
    }
}

/// The name that a backend had before, as its config says.
fn renamed_from(backend: &Backend) -> Option<&str> {
    backend.common().renamed_from.as_ref().map(settings::Name::as_str)
}

/// Backends that take another one's lane over now.
fn renames(before: &Config, after: &Config, parts: &Parts) -> Vec<Renamed> {
    let lanes = parts.shared.lanes();
    let renamed = |(name, backend): &(String, Backend)| {
        let old = renamed_from(backend).filter(|old| before.backends.get(old).is_some())?;
        if before.backends.get(name).is_some() || after.backends.get(old).is_some() {
            return None;
        }
        Some(Renamed { lane: lanes.by_name(name)?.id, old: old.to_owned(), new: name.clone() })
    };
    after.backends.iter().filter_map(renamed).collect()
}

/// Builds backends, fits the lane table, compiles. What fails leaves the running generation as it is. Blocks.
fn ready(
    parts: &Parts,
    before: &Generation,
    config: &Config,
    tree: &Tree,
    env: super::Environment,
) -> Result<Ready, Box<Fault>> {
    let backends = backends(before, config, tree, env)?;
    let (shared, journal) = (&parts.shared, &parts.shared.journal);
    let quotas = Quotas::of(config).map_err(|what| quota_fault(tree, &what))?;
    let mut specs = build::specs(config, &quotas);
    keep_others(&mut specs, journal.lanes().into_iter());
    // On the disk before the switch: an event must not be there for a lane that is not.
    journal.set_lanes(&specs).map_err(|error| table_fault(tree, &error))?;
    journal.set_letter_quotas(quotas.letters, quotas.letters_unconfirmed);
    let mut lanes = Lanes::clone(&shared.lanes());
    let mut begin = Vec::new();
    for (name, configured) in config.backends.iter() {
        let (Some(backend), Some(id)) = (backends.get(name), journal.lane_id(name)) else { continue };
        let lane = build::lane(shared, id, name, configured, Arc::clone(backend));
        lanes.put(Arc::clone(&lane));
        begin.push(lane);
    }
    let table = Arc::new(lanes);
    let compiled =
        plan::compile(config, shared, &table, &parts.live.entrances, Some(before.before()), &env).map_err(|error| {
            put_back(parts, before);
            system_fault(tree, path!["listeners"], &error)
        })?;
    Ok(Ready { compiled, lanes: Lanes::clone(&table), begin })
}

/// The lane table as the running config needs it: the new one came to nothing.
fn put_back(parts: &Parts, before: &Generation) {
    let journal = &parts.shared.journal;
    let mut specs = specs(&before.config);
    for spec in &mut specs {
        let lane = parts.shared.lanes().by_name(&spec.name).and_then(|lane| LaneId::new(lane.id));
        // Whatever name the lane got meanwhile, it gets its own back.
        spec.renamed_from = journal
            .lanes()
            .into_iter()
            .find(|info| Some(info.id) == lane && info.name != spec.name)
            .map(|info| info.name);
    }
    keep_others(&mut specs, journal.lanes().into_iter());
    if let Err(error) = journal.set_lanes(&specs) {
        tracing::error!(%error, "the lane table of the config in force could not be put back");
    }
}

/// New instances of the backends that are new or written otherwise than before.
fn backends(
    before: &Generation,
    config: &Config,
    tree: &Tree,
    env: super::Environment,
) -> Result<HashMap<String, Arc<dyn backends::Backend>>, Box<Fault>> {
    let mut built = HashMap::new();
    for (name, configured) in config.backends.iter() {
        if before.config.backends.get(name) == Some(configured) {
            continue;
        }
        let backend = build::backend(config, name, configured, &env)
            .map_err(|what| Box::new(fault_at(tree, path!["backends", name.as_str()], codes::SYSTEM, what)))?;
        built.insert(name.clone(), backend);
    }
    Ok(built)
}

/// A backend that is gone while its lane has events.
fn lane_fault(tree: &Tree, name: &str, pending: u64) -> Fault {
    let events = if pending == 1 { "1 event".to_owned() } else { format!("{pending} events") };
    fault_at(
        tree,
        path!["backends"],
        codes::LANE,
        format!("backend \"{name}\" is gone, and its lane still has {events}"),
    )
    .label("nothing that was acknowledged is thrown away by a config")
    .help(format!(
        "put it back, write renamed_from: {name} at the backend that takes its place, or see to its events first: \
             anygate lanes drain {name}, anygate lanes move {name} --to NAME, anygate lanes discard {name} --yes"
    ))
}

fn table_fault(tree: &Tree, error: &OpenError) -> Box<Fault> {
    if let OpenError::LanesMissing { lanes } = error
        && let Some((_, name, pending)) = lanes.first()
    {
        return Box::new(lane_fault(tree, name, *pending));
    }
    Box::new(fault_at(tree, path!["backends"], codes::SYSTEM, format!("the lane table cannot be changed: {error}")))
}

fn quota_fault(tree: &Tree, what: &str) -> Box<Fault> {
    let (what, notes) = what.split_once('\n').unwrap_or((what, ""));
    let fault = fault_at(tree, path!["backends"], codes::SYSTEM, what);
    let plain = |note: &str| note.trim_start_matches("  = note: ").trim_start_matches("  = help: ").to_owned();
    Box::new(notes.lines().fold(fault, |fault, note| fault.note(plain(note))))
}

fn system_fault(tree: &Tree, path: &[Step], error: &StartError) -> Box<Fault> {
    let text = error.to_string();
    let (what, help) = text.split_once("\n  = help: ").unwrap_or((&text, ""));
    let fault = fault_at(tree, path, codes::SYSTEM, what);
    Box::new(if help.is_empty() { fault } else { fault.help(help) })
}

fn internal(tree: &Tree) -> Box<Fault> {
    Box::new(fault_at(tree, path!["version"], codes::SYSTEM, "a fault of the gateway itself; its log says more"))
}
