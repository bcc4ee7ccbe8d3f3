//! The `anygate` command.
use clap::Parser;
use gateway::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(Cli::parse().run() as u8)
}
