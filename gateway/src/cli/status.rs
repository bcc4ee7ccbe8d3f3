//! `anygate status`: health, lanes, journal, what is stuck and why.
use super::{
    Exit,
    client::{Admin, AskFault, say},
};
use crate::admin::status::Status as Answer;
use clap::Args;

/// Show what is healthy, what is stuck, since when, why, and what to do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate status\n  anygate status --json | jq '.lanes[] | select(.trouble)'\n  anygate status --ready && echo takes messages\n\nExit: 0, with --ready 1 when messages are not taken; 3 when no gateway answers."
)]
pub struct Status {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Say only whether messages are taken: exit 0 or 1
    #[arg(long)]
    pub ready: bool,
    /// Which gateway
    #[command(flatten)]
    pub admin: Admin,
}

impl Status {
    /// Runs the command.
    pub fn run(self) -> Exit {
        self.ask().unwrap_or_else(|fault| fault.tell())
    }

    fn ask(&self) -> Result<Exit, AskFault> {
        let client = self.admin.client()?;
        if self.json && !self.ready {
            let text = client.get_bytes("/api/status")?;
            say(text.trim_ascii_end());
            return Ok(Exit::Ok);
        }
        let status: Answer = client.get("/api/status")?;
        if !self.ready {
            say(status.plain().trim_end().as_bytes());
            return Ok(Exit::Ok);
        }
        if self.json {
            say(serde_json::json!({ "ready": status.ready, "failing": status.failing }).to_string().as_bytes());
        } else if status.ready {
            say(b"ready");
        } else {
            for part in &status.failing {
                say(format!("not ready: {} {}: {}", part.part, part.failure, part.detail).as_bytes());
            }
        }
        Ok(if status.ready { Exit::Ok } else { Exit::Faults })
    }
}
