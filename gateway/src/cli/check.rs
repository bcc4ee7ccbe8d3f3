//! `anygate check`: all faults of a config in one run.
use super::{Exit, environment, run};
use crate::{config, runtime};
use clap::Args;
use std::{io::IsTerminal, path::PathBuf};

/// Find the mistakes in configs: all of them, each with its place, the cause and a fix.
///
/// What passes here starts with `anygate run`: both read the file the same way. Exit 0: fine (warnings too), 1: faults.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate check\n  anygate check anygate.yaml staging.yaml\n  anygate check --json anygate.yaml | jq .\n  anygate check --connect          also ask each backend"
)]
pub struct Check {
    /// The files; none: ./anygate.yaml, else the built-in default
    pub files: Vec<PathBuf>,
    /// One JSON object per fault
    #[arg(long)]
    pub json: bool,
    /// Also ask each backend whether it can be reached and its destination exists
    #[arg(long)]
    pub connect: bool,
}

impl Check {
    /// Runs the check.
    pub fn run(self) -> Exit {
        let checks: Vec<(config::Checked, String)> = if self.files.is_empty() {
            vec![run::load(None)]
        } else {
            self.files.iter().map(|file| (config::check_file(file, &environment), file.display().to_string())).collect()
        };
        let mut exit = Exit::Ok;
        for (checked, from) in checks {
            let (errors, warnings) = count(&checked);
            if self.json {
                print!("{}", checked.json());
            } else {
                let text = checked.render(std::io::stdout().is_terminal());
                if !text.is_empty() {
                    println!("{text}");
                }
                if text.is_empty() {
                    println!("{from}: {}", summary(errors, warnings));
                }
            }
            if checked.has_errors() {
                exit = Exit::Faults;
            } else if let (true, Some(config)) = (self.connect, &checked.config)
                && !self.ask(config)
            {
                exit = Exit::Faults;
            }
        }
        exit
    }

    /// Asks every backend; says what each answered.
    fn ask(&self, config: &config::Config) -> bool {
        let mut fine = true;
        for (name, answer) in runtime::probe(config, &environment) {
            fine &= answer.is_ok();
            if self.json {
                let (severity, message) = match &answer {
                    Ok(()) => ("info", format!("backend {name}: reached")),
                    Err(why) => ("error", format!("backend {name}: {why}")),
                };
                println!(
                    "{}",
                    serde_json::json!({ "file": config.file, "severity": severity, "code": "C501", "message": message })
                );
            } else {
                match answer {
                    Ok(()) => println!("  backend {name}: reached"),
                    Err(why) => println!(
                        "error[C501]: backend {name}: {why}\n   = note: anygate run would start, keep its events in the journal, and be not ready"
                    ),
                }
            }
        }
        fine
    }
}

fn count(checked: &config::Checked) -> (usize, usize) {
    let errors = checked.faults.iter().filter(|fault| settings::any_error(std::slice::from_ref(*fault))).count();
    (errors, checked.faults.len() - errors)
}

fn summary(errors: usize, warnings: usize) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "ok".to_owned(),
        (0, warnings) => format!("ok, {}", plural(warnings, "warning")),
        (errors, 0) => plural(errors, "error"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}
