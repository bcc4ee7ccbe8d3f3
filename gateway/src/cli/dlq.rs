//! `anygate dlq`: dead letters listed, inspected, sent again, thrown away.
use super::{
    Exit,
    client::{Admin, AskFault, Style, query, safe, say},
};
use crate::admin::dlq::{Change, Changed, Summary};
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Dead letters: events that could not go where they should, and bytes that nobody could read.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  anygate dlq list\n  anygate dlq list --failure no_route --since 1h --json\n  anygate dlq show 18402 --json\n  anygate dlq replay --failure no_route --dry-run\n  anygate dlq replay --backend lake --rate 50/s\n  anygate dlq discard 18402\n\nA replay goes through the config that runs now: what no route took is routed again, what a\nlistener could not read is read again, and what a backend could not take goes to that backend\nonly. A letter is done when what stands for it is durable."
)]
pub struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is there, oldest first
    List(List),
    /// Show one with what it held
    Show(Show),
    /// Send letters again
    Replay(Replay),
    /// Throw letters away; each is counted
    Discard(Discard),
}

/// List dead letters, oldest first.
#[derive(Debug, Args)]
pub struct List {
    /// Only those with this failure word
    #[arg(long, value_name = "WORD")]
    pub failure: Option<String>,
    /// Only those of this backend
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Only those received within this time, such as 1h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// The oldest so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One JSON object per letter
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Show one dead letter.
#[derive(Debug, Args)]
pub struct Show {
    /// Its place in the journal, as `list` shows it
    pub lsn: u64,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Which letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// These, by their LSN
    pub lsn: Vec<u64>,
    /// All of them
    #[arg(long, conflicts_with = "lsn")]
    pub all: bool,
    /// Those with this failure word
    #[arg(long, value_name = "WORD")]
    pub failure: Option<String>,
    /// Those of this backend
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
}

/// Send letters again.
#[derive(Debug, Args)]
pub struct Replay {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// Say where each would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many, such as 50/s
    #[arg(long, value_name = "RATE")]
    pub rate: Option<String>,
    /// One JSON object per letter, then the summary
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Throw letters away.
#[derive(Debug, Args)]
pub struct Discard {
    /// Which
    #[command(flatten)]
    pub which: Which,
    /// Say which it would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// One JSON object per letter, then the summary
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

impl Dlq {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let ended = match self.verb {
            Verb::List(list) => list.ask(&mut |line| say(line.as_bytes())),
            Verb::Show(show) => show.ask(&mut |line| say(line.as_bytes())),
            Verb::Replay(replay) => {
                let (json, client) = (replay.json, replay.admin.client());
                let Replay { which, dry_run, rate, .. } = replay;
                client.and_then(|client| changed(&client, "replay", &which.change(dry_run, rate), json))
            }
            Verb::Discard(discard) => {
                let (json, client) = (discard.json, discard.admin.client());
                let Discard { which, dry_run, .. } = discard;
                client.and_then(|client| changed(&client, "discard", &which.change(dry_run, None), json))
            }
        };
        ended.unwrap_or_else(|fault| fault.tell())
    }
}

impl Which {
    fn change(self, dry_run: bool, rate: Option<String>) -> Change {
        let Which { lsn, all, failure, backend } = self;
        Change { lsn, all, failure, backend, dry_run, rate }
    }
}

/// What the table shows of a letter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    lsn: u64,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    failure: Option<String>,
    detail: Option<String>,
    stage: Option<String>,
    route: Option<String>,
    backend: Option<String>,
    attempts: Option<u32>,
    first: Option<String>,
}

impl List {
    /// Hands out every line as it would be printed, until `each` says `false`.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn ask(&self, each: &mut dyn FnMut(&str) -> bool) -> Result<Exit, AskFault> {
        let limit = self.limit.map(|limit| limit.to_string());
        let parts = [
            ("failure", self.failure.clone()),
            ("backend", self.backend.clone()),
            ("since", self.since.clone()),
            ("limit", limit),
        ];
        let (style, mut listed) = (Style::of_stdout(), 0u64);
        let mut kinds: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut broken = None;
        self.admin.client()?.get_lines(&format!("/api/dlq{}", query(&parts)), &mut |bytes| {
            let row: Row = match serde_json::from_slice(bytes) {
                Ok(row) => row,
                Err(error) => {
                    broken = Some(AskFault::Broken(format!("a line of the list cannot be read: {error}")));
                    return false;
                }
            };
            if row.lsn == 0 {
                broken = Some(AskFault::Broken(row.detail.unwrap_or_default()));
                return false;
            }
            listed += 1;
            if self.json {
                return each(&String::from_utf8_lossy(bytes));
            }
            if listed == 1
                && !each(&style.bold(&format!(
                    "{:>10}  {:<20} {:<18} {:<14} {:<28} DETAIL",
                    "LSN", "RECEIVED", "FAILURE", "WHERE", "EVENT"
                )))
            {
                return false;
            }
            let place = row.backend.clone().or_else(|| row.route.clone()).unwrap_or_else(|| "door".to_owned());
            *kinds.entry((place.clone(), row.failure.clone().unwrap_or_default())).or_default() += 1;
            each(&row_text(&row, &place))
        })?;
        if let Some(fault) = broken {
            return Err(fault);
        }
        if !self.json {
            match listed {
                0 => eprintln!("no dead letters"),
                _ => {
                    let groups: Vec<String> =
                        kinds.iter().map(|((place, failure), count)| format!("{count} × {place} {failure}")).collect();
                    eprintln!("{listed} dead letters: {}", groups.join(", "));
                    eprintln!("look   anygate dlq show LSN      again  anygate dlq replay --failure WORD --dry-run");
                }
            }
        }
        Ok(Exit::Ok)
    }
}

fn row_text(row: &Row, place: &str) -> String {
    let received: String = row.first.as_deref().unwrap_or_default().chars().take(19).collect();
    let event = match (&row.event_type, &row.id) {
        (Some(event_type), Some(id)) => format!("{event_type} {id}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => "(unreadable bytes)".to_owned(),
    };
    format!(
        "{:>10}  {received:<20} {:<18} {place:<14} {:<28} {}",
        row.lsn,
        row.failure.as_deref().unwrap_or_default(),
        safe(&event),
        safe(row.detail.as_deref().unwrap_or_default())
    )
}

impl Show {
    /// Hands out every line as it would be printed.
    ///
    /// # Errors
    /// [`AskFault`].
    pub fn ask(&self, each: &mut dyn FnMut(&str) -> bool) -> Result<Exit, AskFault> {
        let text = self.admin.client()?.get_bytes(&format!("/api/dlq/{}", self.lsn))?;
        if self.json {
            each(String::from_utf8_lossy(text.trim_ascii_end()).as_ref());
            return Ok(Exit::Ok);
        }
        let whole: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| AskFault::Broken(format!("the dead letter cannot be read: {error}")))?;
        let row: Row = serde_json::from_value(whole.clone()).unwrap_or_default();
        let mut line = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                each(&format!("{name:<10} {}", safe(value)));
            }
        };
        line("lsn", Some(&row.lsn.to_string()));
        line("failure", row.failure.as_deref());
        line("detail", row.detail.as_deref());
        line("stage", row.stage.as_deref());
        line("route", row.route.as_deref());
        line("backend", row.backend.as_deref());
        line("attempts", row.attempts.map(|attempts| attempts.to_string()).as_deref());
        line("received", row.first.as_deref());
        line("type", row.event_type.as_deref());
        line("source", row.source.as_deref());
        line("id", row.id.as_deref());
        if let Some(event) = whole.get("event") {
            each(&serde_json::to_string_pretty(event).unwrap_or_default());
        }
        if let Some(original) = whole.get("original_base64").and_then(serde_json::Value::as_str) {
            each(&format!("original   {original}"));
        }
        if let Some(word) = &row.failure {
            eprintln!("why    anygate errors {word}      again  anygate dlq replay {}", row.lsn);
        }
        Ok(Exit::Ok)
    }
}

/// Sends a change and prints a line per letter. Exit 1 when a letter stays or is dead again.
fn changed(client: &super::client::Client, verb: &str, change: &Change, json: bool) -> Result<Exit, AskFault> {
    let summary = send(client, verb, change, &mut |line, letter| {
        if json {
            return say(line);
        }
        match letter {
            Some(letter) => say(letter_text(letter).as_bytes()),
            None => true,
        }
    })?;
    if !json {
        eprintln!("{}", summary_text(&summary));
    }
    let fine = summary.left == 0 && summary.dead_again == 0 && summary.stopped.is_none();
    Ok(if fine { Exit::Ok } else { Exit::Faults })
}

/// Sends a change; `each` gets every line, and the letter unless it is the summary.
///
/// # Errors
/// [`AskFault`]; also when the summary did not come: then what was not named may or may not have been done.
pub fn send(
    client: &super::client::Client,
    verb: &str,
    change: &Change,
    each: &mut dyn FnMut(&[u8], Option<&Changed>) -> bool,
) -> Result<Summary, AskFault> {
    let mut summary = None;
    client.post_lines(
        &format!("/api/dlq/{verb}"),
        change,
        &mut |line| match serde_json::from_slice::<Changed>(line) {
            Ok(letter) => each(line, Some(&letter)),
            Err(_) => {
                summary = serde_json::from_slice::<Summary>(line).ok();
                each(line, None)
            }
        },
    )?;
    summary.ok_or_else(|| AskFault::Broken(format!("the {verb} broke off: see `anygate dlq list` for what is left")))
}

fn letter_text(letter: &Changed) -> String {
    let failure = letter.failure.as_deref().map(|word| format!("{word}: ")).unwrap_or_default();
    format!("{:>10}  {:<13} {failure}{}", letter.lsn, letter.outcome.replace('_', " "), safe(&letter.detail))
}

fn summary_text(summary: &Summary) -> String {
    let counts = [
        (summary.replayed, "replayed"),
        (summary.dead_again, "dead again"),
        (summary.discarded, "discarded"),
        (summary.left, "left as they are"),
        (summary.would, "would be (nothing was changed)"),
    ];
    let named: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let text = if named.is_empty() { "no dead letter fits".to_owned() } else { named.join(", ") };
    match &summary.stopped {
        None => text,
        Some(why) => format!("{text}\nstopped: {why}"),
    }
}
