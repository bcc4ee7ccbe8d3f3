//! `anygate run`: runs the gateway until SIGTERM or Ctrl-C.
use super::{Exit, environment};
use crate::{
    config::{self, Checked},
    runtime::{Gateway, StartError},
    telemetry::log,
};
use clap::Args;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Instant,
};
use tokio::signal::unix::{SignalKind, signal};

/// The file that is taken when none is named.
const FILE: &str = "anygate.yaml";

/// Run the gateway.
///
/// Without --config it takes ./anygate.yaml if there is one, else the built-in default: all listeners on loopback, into the
/// embedded store.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate run\n  anygate run --config /etc/anygate/anygate.yaml\n  DATA_DIR=/tmp/a anygate run -c http-mqtt-to-kafka.yaml"
)]
pub struct Run {
    /// The config file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The config that a command is to use, and where it came from.
pub fn load(file: Option<&Path>) -> (Checked, String) {
    match file {
        Some(file) => (config::check_file(file, &environment), file.display().to_string()),
        None if Path::new(FILE).exists() => (config::check_file(Path::new(FILE), &environment), format!("./{FILE}")),
        None => (
            config::check_default(&environment),
            "the built-in default (anygate init prints one to start from)".to_owned(),
        ),
    }
}

impl Run {
    /// Runs until a signal, or until the journal's disk fails.
    pub fn run(self) -> Exit {
        let begin = Instant::now();
        let (checked, from) = load(self.config.as_deref());
        let styled = std::io::stderr().is_terminal();
        let text = checked.render(styled);
        if !text.is_empty() {
            eprintln!("{text}");
        }
        let Some(config) = checked.config else { return Exit::Faults };
        log::init(config.telemetry.logs);
        let gateway = match Gateway::start(&config, &environment) {
            Ok(gateway) => gateway,
            Err(error) => {
                eprintln!("error: {error}");
                return if matches!(error, StartError::Journal(journal::OpenError::Io { .. })) {
                    Exit::Disk
                } else {
                    Exit::Faults
                };
            }
        };
        eprintln!("anygate {}  config: {from}", env!("CARGO_PKG_VERSION"));
        for listener in &gateway.listeners {
            eprintln!("  {:<6}{}://{}  ({})", listener.kind, listener.kind, listener.address, listener.name);
        }
        eprintln!("  admin http://{}", gateway.admin);
        eprintln!("ready in {} ms", begin.elapsed().as_millis());
        serve(gateway)
    }
}

/// Waits for the end and stops in order. A second signal ends the process at once.
fn serve(gateway: Gateway) -> Exit {
    let shared = std::sync::Arc::clone(gateway.shared());
    let ended = gateway.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate()).ok()?, signal(SignalKind::interrupt()).ok()?);
        tokio::select! {
            failure = Gateway::failed(shared) => Some(failure),
            _ = term.recv() => None,
            _ = int.recv() => None,
        }
    });
    if let Some(failure) = ended {
        eprintln!(
            "error: the journal's disk failed: {failure:?}\n  = note: what was not acknowledged may or may not be on disk; senders were told unknown"
        );
        log::flush();
        // Nothing may be written or acknowledged any more: no drain.
        std::process::exit(i32::from(Exit::Disk as u8));
    }
    eprintln!("stopping; Ctrl-C again ends at once");
    gateway.block_on(async {
        tokio::spawn(async {
            if let Ok(mut again) = signal(SignalKind::interrupt()) {
                again.recv().await;
                std::process::exit(130);
            }
        });
    });
    let stopped = gateway.stop();
    log::flush();
    eprintln!("stopped in {} ms; {} events wait for the next start", stopped.took.as_millis(), stopped.left);
    if stopped.clean { Exit::Ok } else { Exit::Disk }
}
