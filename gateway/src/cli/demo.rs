//! `anygate demo`: everything in one process, in a folder of its own, with simulated senders on every listener.
//!
//! It needs nothing else, opens loopback sockets only, and does not believe itself: the senders keep a ledger, and at the end
//! it is compared, message by message, with the stores and the dead letters. What does not agree is said, and exits 1.
pub mod held;
pub mod ledger;
pub mod report;
pub mod screen;
mod senders;
pub mod stage;
pub mod world;

use super::Exit;
use crate::runtime::Gateway;
use clap::Args;
use held::Held;
use ledger::{Entry, Ledger};
use report::Report;
use screen::{Form, Screen};
use settings::Period;
use stage::Folder;
use std::{
    collections::VecDeque,
    fmt,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

/// The longest demo: its ledger is kept in memory.
const LONGEST: Duration = Duration::from_secs(3600);
/// An answer is shown this much later, so that its delivery is known.
const SHOW_DELAY: Duration = Duration::from_millis(60);
/// Answers that wait to be shown.
const SHOW_MAX: usize = 1024;

/// Everything in one process, with simulated devices and services.
///
/// A gateway, its embedded store, and nine senders over HTTP, MQTT 5 and MQTT 3.1.1, some of whose messages are bad on purpose.
/// Exit 1 when what the senders were told and what the gateway holds do not agree.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate demo\n  anygate demo --for 10s --keep /tmp/shown && cd /tmp/shown && anygate run\n  anygate demo --for 5s --json | jq -c 'select(.verdict == \"refused\")'"
)]
pub struct Demo {
    /// How long it sends, as in 30s or 2m; at most an hour
    #[arg(long = "for", value_name = "TIME", default_value = "30s")]
    lasts: String,
    /// JSON lines: one per answer, and the summary
    #[arg(long)]
    json: bool,
    /// Keep config and data in this folder, which must be empty or not be there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// What a demo is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long it sends.
    pub lasts: Duration,
    /// The folder to use and keep.
    pub keep: Option<PathBuf>,
    /// How it is written.
    pub form: Form,
}

/// Why there is no demo.
#[derive(Debug)]
pub enum DemoFault {
    /// Its folder cannot be made.
    Folder(PathBuf, String),
    /// The built-in config has faults.
    Config(String),
    /// The gateway does not start.
    Start(String),
    /// What it holds cannot be read.
    Held(String),
    /// The system says no.
    System(io::Error),
}

impl fmt::Display for DemoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoFault::Folder(path, what) => write!(
                f,
                "the folder {} cannot be used: {what}\n  = help: name another one with --keep",
                path.display()
            ),
            DemoFault::Config(what) => write!(f, "the demo's own config has faults; please report this\n{what}"),
            DemoFault::Start(what) | DemoFault::Held(what) => f.write_str(what),
            DemoFault::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for DemoFault {}

impl From<io::Error> for DemoFault {
    fn from(error: io::Error) -> Self {
        DemoFault::System(error)
    }
}

impl Demo {
    /// Plays the demo.
    pub fn run(self) -> Exit {
        let lasts = match self.lasts.parse::<Period>() {
            Ok(period) if period.get() <= LONGEST && !period.get().is_zero() => period.get(),
            Ok(_) => return wrong("--for: more than 0, and at most 1h"),
            Err(error) => return wrong(&format!("--for {}: {error}; as in 30s or 2m", self.lasts)),
        };
        let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let form = match (self.json, coloured) {
            (true, _) => Form::Json,
            (false, true) => Form::Coloured,
            (false, false) => Form::Plain,
        };
        match play(&Options { lasts, keep: self.keep, form }, &mut io::stdout()) {
            Ok(report) if report.agrees() => Exit::Ok,
            Ok(_) => Exit::Faults,
            // `anygate demo | head`: nobody reads on.
            Err(DemoFault::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Err(fault) => {
                eprintln!("error: {fault}");
                Exit::Faults
            }
        }
    }
}

fn wrong(what: &str) -> Exit {
    eprintln!("error: {what}");
    Exit::Usage
}

/// Plays a demo and returns its figures.
///
/// # Errors
/// The gateway does not start, what it holds cannot be read, or nobody reads what is written.
pub fn play(options: &Options, out: &mut dyn Write) -> Result<Report, DemoFault> {
    let begin = Instant::now();
    let folder = Folder::make(options.keep.as_deref())?;
    let gateway = folder.start()?;
    let mut screen = Screen::new(out, options.form);
    let played = perform(&gateway, &folder, options, begin, &mut screen);
    // Whatever happened, the gateway stops in order before its folder goes.
    let looked =
        played.and_then(|(ledger, took)| Ok(Report::new(&ledger, Held::look(&gateway, &folder)?, took, &folder)));
    let stopped = gateway.stop();
    let report = looked?;
    let text = match options.form {
        Form::Json => format!("{}\n", report.json()),
        Form::Plain | Form::Coloured => report.table(),
    };
    screen.write(&text)?;
    if !stopped.clean {
        return Err(DemoFault::Held("the journal did not close cleanly".to_owned()));
    }
    Ok(report)
}

/// Sends and shows until the time is over or somebody says stop.
fn perform(
    gateway: &Gateway,
    folder: &Folder,
    options: &Options,
    begin: Instant,
    screen: &mut Screen<'_>,
) -> Result<(Arc<Ledger>, Duration), DemoFault> {
    let (http, mqtt) = (stage::address(gateway, "http")?, stage::address(gateway, "mqtt")?);
    // A runtime of their own: the senders are not the gateway.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ledger = Arc::new(Ledger::default());
    screen.begin(gateway, folder, begin.elapsed(), options.lasts)?;
    let (show, showing) = mpsc::channel(SHOW_MAX);
    let (stop, stopped) = watch::channel(false);
    let common = senders::Common { ledger: Arc::clone(&ledger), show, stop: stopped };
    let sending = Instant::now();
    let took = runtime.block_on(async {
        let mut senders = senders::start(http, mqtt, &common);
        drop(common);
        let shown = watch_until_end(gateway, options.lasts, showing, &stop, screen).await;
        stop.send_replace(true);
        if shown.is_err() {
            senders.abort_all();
        }
        while senders.join_next().await.is_some() {}
        shown.map(|()| sending.elapsed())
    })?;
    Ok((ledger, took))
}

/// Shows answers as they come. When the time is over it says stop, and shows what was still under way.
async fn watch_until_end(
    gateway: &Gateway,
    lasts: Duration,
    mut showing: mpsc::Receiver<Entry>,
    stop: &watch::Sender<bool>,
    screen: &mut Screen<'_>,
) -> io::Result<()> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut waiting: VecDeque<(tokio::time::Instant, Entry)> = VecDeque::new();
    let end = tokio::time::sleep(lasts);
    tokio::pin!(end);
    let mut over = false;
    loop {
        let due = waiting.front().map(|(due, _)| *due);
        tokio::select! {
            entry = showing.recv(), if waiting.len() < SHOW_MAX => match entry {
                Some(entry) => waiting.push_back((tokio::time::Instant::now() + SHOW_DELAY, entry)),
                // All senders are gone.
                None => break,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                if let Some((_, entry)) = waiting.pop_front() {
                    screen.answer(&entry, gateway.shared())?;
                }
            }
            () = &mut end, if !over => { over = true; stop.send_replace(true); }
            _ = term.recv(), if !over => { over = true; stop.send_replace(true); }
            _ = int.recv() => {
                if over {
                    // A second Ctrl-C: at once, without the table.
                    return Err(io::ErrorKind::Interrupted.into());
                }
                over = true;
                stop.send_replace(true);
            }
        }
    }
    tokio::time::sleep(SHOW_DELAY).await;
    for (_, entry) in waiting {
        screen.answer(&entry, gateway.shared())?;
    }
    Ok(())
}
