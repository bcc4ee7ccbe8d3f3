//! The commands. stdout is data, stderr the rest; exit 0 fine, 1 faults found, 2 wrong usage, 3 cannot reach the gateway,
//! 70 a fault of the gateway itself, 74 the journal's disk failed.
//!
//! One module per command; each is a struct of clap arguments with `run(self) -> Exit`.
pub mod bench;
pub mod check;
pub mod client;
pub mod conform;
pub mod demo;
pub mod dlq;
pub mod errors;
pub mod events;
pub mod explain;
pub mod init;
pub mod lanes;
pub mod reload;
pub mod run;
pub mod send;
pub mod status;
pub mod tail;
pub mod trace;

use clap::{Parser, Subcommand};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// Faults were found, or the thing asked for is not there.
    Faults = 1,
    /// Wrong usage.
    Usage = 2,
    /// The gateway cannot be reached.
    Unreachable = 3,
    /// A fault of the gateway itself: start it again (sysexits' `EX_SOFTWARE`).
    Broken = 70,
    /// The journal's disk failed (sysexits' `EX_IOERR`).
    Disk = 74,
}

/// Anygate takes messages in over any protocol and routes them by their metadata.
#[derive(Debug, Parser)]
#[command(name = "anygate", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process, with simulated devices and services
    Demo(demo::Demo),
    /// Run the gateway
    Run(run::Run),
    /// Find the mistakes in a config
    Check(check::Check),
    /// Print a starter config
    Init(init::Init),
    /// Show what would happen to a message
    Explain(explain::Explain),
    /// Print the config's JSON Schema
    Schema(init::Schema),
    /// Show what is healthy, what is stuck, and why
    Status(status::Status),
    /// What waits in the lanes; drain, move or discard it
    Lanes(lanes::Lanes),
    /// Make a running gateway read its config again
    Reload(reload::Reload),
    /// Show every hop of one event
    Trace(trace::Trace),
    /// Send one message and print what the sender is told
    Send(send::Send),
    /// Send load and measure how it is answered
    Bench(bench::Bench),
    /// Watch events go by
    Tail(tail::Tail),
    /// Show what the embedded store holds
    Events(events::Events),
    /// Dead letters: list, show, replay, discard
    Dlq(dlq::Dlq),
    /// Run a conformance suite against any endpoint
    Conform(conform::Conform),
    /// Explain the failure words
    Errors(errors::Errors),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Exit {
        match self.command {
            Command::Demo(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Explain(command) => command.run(),
            Command::Init(command) => command.run(),
            Command::Schema(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Lanes(command) => command.run(),
            Command::Reload(command) => command.run(),
            Command::Trace(command) => command.run(),
            Command::Send(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Tail(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Dlq(command) => command.run(),
            Command::Conform(command) => command.run(),
            Command::Errors(command) => command.run(),
        }
    }
}

/// The environment, as the config reads it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
