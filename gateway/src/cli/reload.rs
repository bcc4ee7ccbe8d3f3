//! `anygate reload`: a running gateway reads its config again.
use super::{
    Exit,
    client::{Admin, AskFault, say},
};
use crate::runtime::reload::Answer;
use clap::Args;

/// Make a running gateway read its config again: all of it comes into force, or nothing.
///
/// The gateway reads the file that it was started with. What does not pass `anygate check` changes nothing. Connections stay
/// open. SIGHUP does the same and says how it went in the log and in `anygate status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate check anygate.yaml && anygate reload\n  anygate reload --json | jq .outcome\n\nExit: 0 applied, 1 rejected, 3 no gateway answers."
)]
pub struct Reload {
    /// One JSON object: {"generation","outcome","difference"|"faults"}
    #[arg(long)]
    pub json: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

impl Reload {
    /// Runs the command.
    pub fn run(self) -> Exit {
        self.ask().unwrap_or_else(|fault| fault.tell())
    }

    fn ask(&self) -> Result<Exit, AskFault> {
        let answer: Answer = self.admin.client()?.post_for("/api/reload", &[422])?;
        let exit = if answer.is_applied() { Exit::Ok } else { Exit::Faults };
        if self.json {
            let json = Answer { text: String::new(), ..answer };
            let text = serde_json::to_string(&json).map_err(|error| AskFault::Broken(error.to_string()))?;
            say(text.as_bytes());
            return Ok(exit);
        }
        if !answer.text.is_empty() {
            say(answer.text.trim_end().as_bytes());
        }
        if answer.is_applied() {
            say(format!("applied: generation {}", answer.generation).as_bytes());
            for difference in &answer.difference {
                say(format!("  {difference}").as_bytes());
            }
            if answer.difference.is_empty() {
                say(b"  nothing is different");
            }
        } else {
            say(format!("rejected: generation {} stays in force", answer.generation).as_bytes());
        }
        Ok(exit)
    }
}
