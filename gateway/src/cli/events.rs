//! `anygate events`: what the embedded store holds. It reads the store's file, so it works without a running gateway, too.
use super::{
    Exit,
    client::{Style, safe, say},
    run,
};
use crate::{
    admin::{rfc3339, stores},
    router::view::Seen,
};
use backends::store::{Filter, StoreFault, StoreReader};
use cesql::Expression;
use clap::Args;
use schemas::{Event, json};
use settings::Period;
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Show what the embedded store holds, oldest first. With several stores, one after the other.
///
/// It reads the store's file: the gateway may run or not.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  anygate events --limit 20\n  anygate events --where \"type LIKE 'com.acme.%'\" --since 1h --json | jq .data\n  anygate events --trace 4bf92f3577b34da6a3ce929d0e0e4736\n  anygate events --store ./anygate-data/store/keep.db\n\nWith --json each line is an event in the CloudEvents JSON format with its anygate… attributes."
)]
pub struct Events {
    /// Only events for which this CESQL expression is true
    #[arg(long = "where", value_name = "CESQL")]
    pub predicate: Option<String>,
    /// Only events of this trace: its id, or the first 8 digits or more
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Only events received within this time, such as 1h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One JSON object per event
    #[arg(long)]
    pub json: bool,
    /// The config that names the stores; none: ./anygate.yaml, else the built-in default
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only this backend's store
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// The store's file itself; no config is read
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "backend"])]
    pub store: Option<PathBuf>,
}

/// Why nothing can be shown: told on stderr.
#[derive(Debug)]
struct Told(Exit);

fn tell(exit: Exit, what: &str) -> Told {
    eprintln!("error: {what}");
    Told(exit)
}

impl Events {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let style = Style::of_stdout();
        let json = self.json;
        let mut write = |event: &Event| {
            let line = if json { json_line(event) } else { text(event, style).into_bytes() };
            say(&line)
        };
        match self.read(&mut write) {
            Ok(()) => Exit::Ok,
            Err(Told(exit)) => exit,
        }
    }

    /// Hands out every event that fits, until `each` says `false`.
    ///
    /// # Errors
    /// The exit code; the reason was told on stderr.
    pub fn each(&self, each: &mut dyn FnMut(&Event) -> bool) -> Result<(), Exit> {
        self.read(each).map_err(|Told(exit)| exit)
    }

    fn read(&self, each: &mut dyn FnMut(&Event) -> bool) -> Result<(), Told> {
        let predicate = match &self.predicate {
            None => None,
            Some(text) => {
                Some(Expression::compile(text).map_err(|error| tell(Exit::Usage, &format!("--where: {error}")))?)
            }
        };
        let filter = self.filter()?;
        let stores = self.stores()?;
        let (mut errors, mut missing, mut listening) = (0u64, 0, true);
        for (name, path) in &stores {
            let reader = match StoreReader::open(path) {
                Ok(reader) => reader,
                Err(StoreFault::Missing(path)) => {
                    eprintln!("error: {name}: there is no store at {} yet", path.display());
                    missing += 1;
                    continue;
                }
                Err(fault) => return Err(tell(Exit::Faults, &format!("{name}: {fault}"))),
            };
            let mut fits = |event: &Event| {
                let in_trace =
                    self.trace.as_ref().is_none_or(|trace| event.trace.trace_id_hex().starts_with(trace.as_str()));
                in_trace
                    && predicate.as_ref().is_none_or(|predicate| match predicate.matches(&Seen(event.view())) {
                        Ok(fits) => fits,
                        Err(_) => {
                            errors += 1;
                            false
                        }
                    })
            };
            let mut hand_out = |event: Event| listening = listening && each(&event);
            reader
                .query_where(&filter, &mut fits, &mut hand_out)
                .map_err(|fault| tell(Exit::Faults, &format!("{name}: {fault}")))?;
        }
        if errors > 0 {
            eprintln!("note: --where erred for {errors} events (an attribute that they have not?); they are left out");
        }
        if missing > 0 {
            eprintln!(
                "  = help: `anygate run` makes it when the first event comes; DATA_DIR and --config must be the gateway's, or use --store FILE"
            );
            return Err(Told(Exit::Faults));
        }
        Ok(())
    }

    fn filter(&self) -> Result<Filter, Told> {
        let since_ns = match &self.since {
            None => None,
            Some(text) => {
                let period: Period =
                    text.parse().map_err(|bad: settings::Bad| tell(Exit::Usage, &format!("--since: {bad}")))?;
                let from = SystemTime::now().checked_sub(period.get()).unwrap_or(UNIX_EPOCH);
                let nanos = from.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
                Some(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        if let Some(trace) = &self.trace
            && !(8..=32).contains(&trace.len())
        {
            return Err(tell(Exit::Usage, "--trace: a trace id has 32 hex digits; the first 8 or more are enough"));
        }
        let trace_id = self.trace.clone().filter(|trace| trace.len() == 32);
        Ok(Filter { trace_id, since_ns, limit: self.limit, ..Filter::default() })
    }

    fn stores(&self) -> Result<Vec<(String, PathBuf)>, Told> {
        if let Some(store) = &self.store {
            return Ok(vec![(store.display().to_string(), store.clone())]);
        }
        let (checked, from) = run::load(self.config.as_deref());
        let Some(config) = &checked.config else {
            eprintln!("{}", checked.render(false));
            let help = format!(
                "the config {from} cannot be used to find the store; set what it needs, or name the file: --store FILE"
            );
            return Err(tell(Exit::Faults, &help));
        };
        let mut stores = stores::paths(config);
        if let Some(backend) = &self.backend {
            stores.retain(|(name, _)| name == backend);
        }
        if stores.is_empty() {
            let which = self
                .backend
                .as_ref()
                .map_or_else(|| "no `store` backend".to_owned(), |name| format!("no `store` backend named {name:?}"));
            return Err(tell(Exit::Faults, &format!("{from} has {which}")));
        }
        Ok(stores)
    }
}

/// An event as `--json` prints it.
pub fn json_line(event: &Event) -> Vec<u8> {
    let mut line = Vec::with_capacity(event.envelope.size() + 256);
    json::write_event_line(&mut line, &event.envelope, Some(&event.door));
    line
}

/// `2026-11-21 12:03:41.208 web com.acme.order.created /shop/eu 7 → orders 77ab01c9`
fn text(event: &Event, style: Style) -> String {
    let time = rfc3339(event.received).replace('T', " ");
    let time: String = time.trim_end_matches('Z').chars().take(23).collect();
    let envelope = &event.envelope;
    format!(
        "{time:<23} {:<8} {} {} {} → {} {}",
        event.door.listener,
        style.bold(&safe(envelope.event_type())),
        safe(envelope.source()),
        safe(envelope.id()),
        event.route,
        style.dim(&event.trace.trace_id_hex()[..8])
    )
}
