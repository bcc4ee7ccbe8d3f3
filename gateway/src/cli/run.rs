//! `anygate run`: runs the gateway until SIGTERM or Ctrl-C.
use super::{Exit, environment};
use crate::{
    config::{Checked, reload::Origin},
    runtime::{Fatal, Gateway},
    systemd,
    telemetry::log,
    vital,
};
use clap::Args;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
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

/// Where a command has its config from.
pub fn origin(file: Option<&Path>) -> Origin {
    match file {
        Some(file) => Origin::File(file.to_owned()),
        None if Path::new(FILE).exists() => Origin::File(FILE.into()),
        None => Origin::BuiltIn,
    }
}

/// The config that a command is to use, and where it came from.
pub fn load(file: Option<&Path>) -> (Checked, String) {
    let origin = origin(file);
    let from = match (&origin, file) {
        (Origin::File(file), Some(_)) => file.display().to_string(),
        (Origin::File(file), None) => format!("./{}", file.display()),
        (Origin::BuiltIn, _) => "the built-in default (anygate init prints one to start from)".to_owned(),
    };
    (origin.read(&environment).checked, from)
}

impl Run {
    /// Runs until a signal, until the journal's disk fails, or until a part is lost.
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
        let gateway = match Gateway::start_from(origin(self.config.as_deref()), &config, environment) {
            Ok(gateway) => gateway,
            Err(error) => {
                eprintln!("error: {error}");
                return if error.is_disk() { Exit::Disk } else { Exit::Faults };
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

/// Why a running gateway ends.
enum End {
    Asked,
    Fatal(Fatal),
}

/// Waits for the end and stops in order. A second signal ends the process at once.
fn serve(mut gateway: Gateway) -> Exit {
    let shared = Arc::clone(gateway.shared());
    vital::watch_panics(&shared);
    systemd::watchdog(&shared);
    systemd::ready();
    let ended = gateway.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate()).ok()?, signal(SignalKind::interrupt()).ok()?);
        Some(tokio::select! {
            fatal = Gateway::fatal(shared) => End::Fatal(fatal),
            _ = term.recv() => End::Asked,
            _ = int.recv() => End::Asked,
        })
    });
    systemd::stopping();
    let mut exit = Exit::Ok;
    match ended.unwrap_or(End::Asked) {
        End::Asked => eprintln!("stopping; Ctrl-C again ends at once"),
        End::Fatal(Fatal::Disk(failure)) => {
            eprintln!(
                "error: {failure}\n  = note: what waited for it was told unknown: it may or may not be kept, send it again"
            );
            gateway.last_words();
            log::flush();
            // Nothing may be written any more: no drain, and nothing is dropped.
            std::process::exit(i32::from(Exit::Disk as u8));
        }
        End::Fatal(Fatal::Broken(what)) => {
            eprintln!("error: {what}\n  = note: a fault of the gateway itself; it stops in order, start it again");
            gateway.hurry();
            exit = Exit::Broken;
        }
    }
    gateway.block_on(async {
        tokio::spawn(async {
            if let Ok(mut again) = signal(SignalKind::interrupt()) {
                again.recv().await;
                std::process::exit(130);
            }
        });
    });
    end_in(gateway.stop_takes());
    let stopped = gateway.stop();
    log::flush();
    let left = if stopped.lost { "are lost: the journal was in memory" } else { "wait for the next start" };
    eprintln!("stopped in {} ms; {} events {left}", stopped.took.as_millis(), stopped.left);
    if stopped.clean { exit } else { Exit::Disk }
}

/// Ends the process after this time, whatever still hangs: the journal is the truth, and the next start reads it.
fn end_in(time: Duration) {
    let last = move || {
        std::thread::sleep(time);
        eprintln!(
            "error: the stop took longer than {} s: ended without it; what is in the journal waits for the next start",
            time.as_secs()
        );
        std::process::exit(i32::from(Exit::Broken as u8));
    };
    let thread = std::thread::Builder::new().name("anygate-end".into()).spawn(last);
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread that ends the process in time");
    }
}
