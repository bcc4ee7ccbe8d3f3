//! Logs: one line per change of state on stderr, as text, JSON, or izy's `service:context(package?query) event#action`.
//!
//! What it promises: no line per message at the default level; a line that repeats within ten seconds is counted and not
//! written, and the count follows (`… 14 more in 10 s`); memory is bounded; control characters from senders never reach the
//! terminal. `ANYGATE_LOG` sets the level: a level's name for the gateway itself, or directives such as
//! `gateway::lanes=debug,hyper=info`; what is not said stays `info` for the gateway and `warn` for libraries. Colours only on
//! a terminal, and not with `NO_COLOR`. It deliberately writes no files: that is the service manager's work.
mod layer;
mod line;
mod repeats;

use crate::config::LogFormat;
use layer::{Lines, Sink};
use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The variable that sets the level.
const VARIABLE: &str = "ANYGATE_LOG";
/// The crates that are the gateway.
const OURS: [&str; 9] =
    ["anygate", "gateway", "transports", "backends", "codecs", "journal", "schemas", "settings", "cesql"];
/// How often counts of repeated lines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

static SINK: OnceLock<Arc<Sink>> = OnceLock::new();

/// Sends the process' log lines to stderr from now on. The first call counts. A faulty `ANYGATE_LOG` is reported and ignored.
pub fn init(format: LogFormat) {
    let given = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&given).unwrap_or_else(|why| {
        eprintln!("warning: {VARIABLE}={given:?} is ignored: {why}\n  = help: write a level (error, warn, info, debug, trace) or gateway::lanes=debug");
        filter("").unwrap_or_default()
    });
    let coloured = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let sink = Arc::new(Sink::new(format, coloured, Box::new(stderr())));
    let installed = tracing_subscriber::registry().with(Lines(Arc::clone(&sink)).with_filter(filter)).try_init();
    if installed.is_ok() && SINK.set(Arc::clone(&sink)).is_ok() {
        let looks = move || loop {
            thread::sleep(LOOK_EVERY);
            sink.write_due();
        };
        // Without the thread the counts come with the next line.
        let _none = thread::Builder::new().name("anygate-log".into()).spawn(looks);
    }
}

/// Writes the counts that are open: the process is about to end.
pub fn flush() {
    if let Some(sink) = SINK.get() {
        sink.write_all_counts();
    }
}

/// What is written at all.
fn filter(given: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(directives(given.trim())).map_err(|error| error.to_string())
}

fn directives(given: &str) -> String {
    let (level, more) = match given.parse::<LevelFilter>() {
        // tracing takes no text for `error`.
        Ok(level) if !given.is_empty() => (level, ""),
        Ok(_) | Err(_) => (LevelFilter::INFO, given),
    };
    let libraries = level.min(LevelFilter::WARN);
    let ours = OURS.map(|name| format!("{name}={level}")).join(",");
    format!("{libraries},{ours},{more}").trim_end_matches(',').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_the_gateways_own() {
        assert!(directives("debug").starts_with("warn,anygate=debug,gateway=debug,"));
        assert!(directives("error").starts_with("error,anygate=error,"));
        assert!(directives("off").starts_with("off,anygate=off,"));
        assert!(directives("gateway::lanes=trace").ends_with(",cesql=info,gateway::lanes=trace"));
        assert!(directives("").ends_with(",cesql=info"));
    }

    #[test]
    fn faulty_directives_are_said() {
        assert!(filter("gateway=loud").is_err());
        assert!(filter("gateway=debug,hyper=info").is_ok());
    }
}
