//! `anygate init` and `anygate schema`: what a new config starts from.
use super::Exit;
use crate::config;
use clap::Args;

/// Print a commented starter config that passes `anygate check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate init > anygate.yaml\n  anygate init --from http,mqtt --to kafka > anygate.yaml && anygate check"
)]
pub struct Init {
    /// The protocols to listen for
    #[arg(long, value_delimiter = ',', default_value = "http,mqtt")]
    pub from: Vec<String>,
    /// Where events go
    #[arg(long, value_delimiter = ',', default_value = "store")]
    pub to: Vec<String>,
}

impl Init {
    /// Prints the config.
    pub fn run(self) -> Exit {
        let from: Vec<&str> = self.from.iter().map(String::as_str).collect();
        let to: Vec<&str> = self.to.iter().map(String::as_str).collect();
        match config::init(&from, &to) {
            Ok(text) => {
                print!("{text}");
                Exit::Ok
            }
            Err(what) => {
                eprintln!("error: {what}");
                Exit::Usage
            }
        }
    }
}

/// Print the config's JSON Schema (draft-07), for editors.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  anygate schema > anygate.schema.json\n  then begin the config with  # yaml-language-server: $schema=./anygate.schema.json"
)]
pub struct Schema {}

impl Schema {
    /// Prints the schema.
    pub fn run(self) -> Exit {
        match serde_json::to_string_pretty(&config::schema()) {
            Ok(text) => {
                println!("{text}");
                Exit::Ok
            }
            Err(error) => {
                eprintln!("error: {error}");
                Exit::Faults
            }
        }
    }
}
