//! The same on the journal of a gateway that does not run: for a lane that the new config lacks, and that keeps it from starting.
use crate::{
    cli::{Exit, client::say, environment, run},
    config::{Backend, model::Config},
};
use clap::Args;
use journal::{AnyDisk, Journal, LaneSpec, OpenError, Options, OsDisk};
use std::path::{Path, PathBuf};

/// Where the journal of a gateway is that does not run.
#[derive(Clone, Debug, Args)]
pub struct Offline {
    /// The config of a gateway that does not run: its journal is opened here
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of a gateway that does not run
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
}

impl Offline {
    /// Whether it was asked for.
    pub fn is_meant(&self) -> bool {
        self.config.is_some() || self.data_dir.is_some()
    }

    /// Hands the events of one lane to another one.
    pub fn hand_over(&self, from: &str, to: &str) -> Exit {
        self.with(|journal| {
            let (from_id, to_id) = (lane(journal, from)?, lane(journal, to)?);
            if from == to {
                return Err("a lane's events are in it already: name another one".to_owned());
            }
            let moved = journal.move_lane(from_id, to_id, |_| None).map_err(|error| error.to_string())?;
            Ok(format!("{from}: {moved} events went to {to}"))
        })
    }

    /// Throws the events of a lane away.
    pub fn discard(&self, name: &str) -> Exit {
        self.with(|journal| {
            let discarded = journal.discard(lane(journal, name)?).map_err(|error| error.to_string())?;
            Ok(format!("{name}: {discarded} events thrown away"))
        })
    }

    fn with(&self, work: impl FnOnce(&Journal<AnyDisk>) -> Result<String, String>) -> Exit {
        let done = self.open().and_then(|journal| {
            let said = work(&journal)?;
            journal.close().map_err(|_| "the journal's disk failed".to_owned())?;
            Ok(said)
        });
        match done {
            Ok(said) => {
                say(said.as_bytes());
                Exit::Ok
            }
            Err(why) => {
                eprintln!("error: {why}");
                Exit::Faults
            }
        }
    }

    /// Opens the journal with the lanes of the config, and those that have events and are not in it.
    fn open(&self) -> Result<Journal<AnyDisk>, String> {
        let config = self.read()?;
        let folder = match (&self.data_dir, &config) {
            (Some(folder), _) => folder.clone(),
            (None, Some(config)) => PathBuf::from(&config.node.data_dir),
            (None, None) => return Err("say where: --config or --data-dir".to_owned()),
        };
        if !folder.join("meta.0").exists() && !folder.join("meta.1").exists() {
            return Err(format!("there is no journal in {}", folder.display()));
        }
        let mut lanes: Vec<LaneSpec> = config.as_ref().map(specs).unwrap_or_default();
        match Journal::open(AnyDisk::from(OsDisk), options(&folder, config.as_ref(), &lanes)) {
            Err(OpenError::LanesMissing { lanes: missing }) => {
                let missing = missing.into_iter().map(|(_, name, _)| LaneSpec { name, ..LaneSpec::default() });
                lanes.extend(missing);
                Journal::open(AnyDisk::from(OsDisk), options(&folder, config.as_ref(), &lanes))
                    .map_err(|error| explain(&error))
            }
            other => other.map_err(|error| explain(&error)),
        }
    }

    fn read(&self) -> Result<Option<Config>, String> {
        let Some(file) = &self.config else { return Ok(None) };
        let checked = run::origin(Some(file)).read(&environment).checked;
        let text = checked.render(false);
        checked.config.map(Some).ok_or(text)
    }
}

/// The backends of the config. Their quotas are of no matter here.
fn specs(config: &Config) -> Vec<LaneSpec> {
    let spec = |(name, backend): &(String, Backend)| LaneSpec {
        name: name.clone(),
        kind: backend.kind().to_owned(),
        ..LaneSpec::default()
    };
    config.backends.iter().map(spec).collect()
}

fn options(folder: &Path, config: Option<&Config>, lanes: &[LaneSpec]) -> Options {
    let mut options = Options::new(folder);
    options.lanes = lanes.to_vec();
    if let Some(config) = config {
        options.segment_size = config.journal.segment_size.bytes();
        options.group_bytes = options.group_bytes.min(usize::try_from(options.segment_size / 2).unwrap_or(usize::MAX));
        options.segments = usize::try_from(config.journal.segments).unwrap_or(usize::MAX);
    }
    options
}

fn explain(error: &OpenError) -> String {
    let help = match error {
        OpenError::Locked { .. } => {
            "\n  = help: a gateway runs on it: leave out --config and --data-dir, and it is asked instead"
        }
        _ => "",
    };
    format!("{error}{help}")
}

fn lane(journal: &Journal<AnyDisk>, name: &str) -> Result<journal::LaneId, String> {
    let known = || journal.lanes().into_iter().map(|lane| lane.name).collect::<Vec<_>>().join(", ");
    journal.lane_id(name).ok_or_else(|| format!("there is no lane {name:?}; there are {}", known()))
}
