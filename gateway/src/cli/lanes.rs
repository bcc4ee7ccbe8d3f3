//! `anygate lanes`: what waits where; and the ways to empty a lane: wait for its backend, hand its events to another one, or throw
//! them away.
mod offline;

use super::{
    Exit,
    client::{Admin, AskFault, Style, say},
};
use crate::admin::{
    lanes::{Change, Changed, LaneRow},
    status::{grouped, size},
};
use clap::{Args, Subcommand};
use offline::Offline;
use std::time::{Duration, Instant};

/// How often it is looked whether a lane is empty.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Lanes: the ways to the backends, and what waits in each.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  anygate lanes list\n  anygate lanes drain lake --timeout 10m\n  anygate lanes move lake --to store\n  anygate lanes discard lake --yes\n  anygate lanes discard lake --yes --config anygate.yaml      the gateway is not running\n\nA config that lacks a backend whose lane has events is refused, at start and at reload: empty the\nlane first, or write renamed_from at the backend that takes its place."
)]
pub struct Lanes {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What waits where, and why
    List(List),
    /// Wait until a lane is empty
    Drain(Drain),
    /// Hand a lane's events to another lane
    Move(Move),
    /// Throw a lane's events away, counted
    Discard(Discard),
}

/// What waits where, and why.
#[derive(Debug, Args)]
pub struct List {
    /// One JSON object per lane
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Wait until a lane is empty. Its events go where they always go: take the backend out of all routes first, or it fills again.
#[derive(Debug, Args)]
pub struct Drain {
    /// The backend
    pub name: String,
    /// Give up after this time; exit 1 then
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub timeout: settings::Period,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Hand all that waits in a lane now to another lane. After a crash in between some events may be in both.
#[derive(Debug, Args)]
pub struct Move {
    /// The backend whose events go
    pub name: String,
    /// The backend that gets them
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// On a gateway that does not run
    #[command(flatten)]
    pub offline: Offline,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

/// Throw all that waits in a lane now away. These events were acknowledged: nobody will send them again.
#[derive(Debug, Args)]
pub struct Discard {
    /// The backend whose events go
    pub name: String,
    /// Yes, throw them away
    #[arg(long)]
    pub yes: bool,
    /// On a gateway that does not run
    #[command(flatten)]
    pub offline: Offline,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

impl Lanes {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let done = match self.verb {
            Verb::List(list) => list.run(),
            Verb::Drain(drain) => drain.run(),
            Verb::Move(change) => change.run(),
            Verb::Discard(discard) => discard.run(),
        };
        done.unwrap_or_else(|fault| fault.tell())
    }
}

impl List {
    fn run(&self) -> Result<Exit, AskFault> {
        let rows: Vec<LaneRow> = self.admin.client()?.get("/api/lanes")?;
        for row in &rows {
            let line = if self.json {
                serde_json::to_string(row).map_err(|error| AskFault::Broken(error.to_string()))?
            } else {
                plain(row)
            };
            say(line.as_bytes());
        }
        Ok(Exit::Ok)
    }
}

fn plain(row: &LaneRow) -> String {
    let style = Style::of_stdout();
    let state = if row.state == "well" { style.green(&row.state) } else { style.red(&row.state) };
    let oldest = row.oldest.as_ref().map(|oldest| format!(", the oldest of {oldest}")).unwrap_or_default();
    let why = row.why.as_ref().map(|why| format!("\n    {why}")).unwrap_or_default();
    let quota = if row.quota == 0 { String::new() } else { format!(" of {}", size(row.quota)) };
    format!(
        "{:>2}  {:<16} {:<7} {state}: {} events, {}{quota} wait{oldest}, {} of backlog on disk{why}",
        row.id,
        row.name,
        row.kind,
        grouped(row.pending),
        size(row.pending_bytes),
        size(row.backlog_bytes)
    )
}

impl Drain {
    fn run(&self) -> Result<Exit, AskFault> {
        let (client, begin) = (self.admin.client()?, Instant::now());
        let mut said = None;
        loop {
            let rows: Vec<LaneRow> = client.get("/api/lanes")?;
            let Some(row) = rows.iter().find(|row| row.name == self.name) else {
                let names = rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
                eprintln!("error: there is no lane {:?}; there are {names}", self.name);
                return Ok(Exit::Faults);
            };
            if row.pending == 0 {
                say(format!("{}: empty", self.name).as_bytes());
                return Ok(Exit::Ok);
            }
            if said != Some(row.pending) {
                let why = row.why.as_ref().map(|why| format!("  ({why})")).unwrap_or_default();
                eprintln!("{}: {} events wait{why}", self.name, grouped(row.pending));
                said = Some(row.pending);
            }
            if begin.elapsed() >= self.timeout.get() {
                eprintln!(
                    "error: {} events still wait after {}\n  = help: see why with anygate lanes list; or anygate lanes move, anygate lanes discard",
                    grouped(row.pending),
                    self.timeout
                );
                return Ok(Exit::Faults);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Move {
    fn run(&self) -> Result<Exit, AskFault> {
        if self.offline.is_meant() {
            return Ok(self.offline.hand_over(&self.name, &self.to));
        }
        let change = Change { from: self.name.clone(), to: Some(self.to.clone()) };
        let changed: Changed = self.admin.client()?.post_json("/api/lanes/move", &change)?;
        say(format!("{}: {} events went to {}", self.name, grouped(changed.events), self.to).as_bytes());
        Ok(Exit::Ok)
    }
}

impl Discard {
    fn run(&self) -> Result<Exit, AskFault> {
        if !self.yes {
            eprintln!(
                "error: the events of {} were acknowledged, and nobody will send them again\n  = help: to throw them away all the same: anygate lanes discard {} --yes",
                self.name, self.name
            );
            return Ok(Exit::Usage);
        }
        if self.offline.is_meant() {
            return Ok(self.offline.discard(&self.name));
        }
        let change = Change { from: self.name.clone(), to: None };
        let changed: Changed = self.admin.client()?.post_json("/api/lanes/discard", &change)?;
        say(format!("{}: {} events thrown away", self.name, grouped(changed.events)).as_bytes());
        Ok(Exit::Ok)
    }
}
