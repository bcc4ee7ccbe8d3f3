//! Replay: dead letters are sent again through the *current* config.
//!
//! * Bytes that nobody could read enter at decode, through their listener's pipeline.
//! * An event that no route took enters at routing: its listener's pipeline has seen it.
//! * An event that was refused but kept (MQTT 3.1.1) enters its listener's pipeline again.
//! * An event that a backend could not take goes to that backend's lane only.
//!
//! `dedupe` of the listener is left out: its table knows the event already, as the dead letter itself. A letter is done only
//! when what stands for it is durable; until then it stays where it is. What fails again for good is a new dead letter with the
//! new reason and one attempt more. Whatever is not sure to be kept again leaves the letter as it was.
mod send;
mod ways;

pub use ways::Again;

use super::{
    Api,
    dlq::{Changed, Settled, Summary, save},
    letters::{Letter, Letters, Selection},
    lines::{Lines, json_line},
};
use schemas::{Event, Record, Word};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use transports::Ticket;

/// Letters that are under way together: one group commit serves them.
const TOGETHER: usize = 64;
/// Bytes of letters that are under way together; the one that crosses it is the last.
const TOGETHER_BYTES: usize = 8 * 1024 * 1024;
/// A letter on its way.
enum Sent {
    /// Through a door: its ticket.
    Door(Ticket),
    /// Appended for a lane, or as a new dead letter: true once everything appended so far is durable.
    Appended(Outcome),
    /// Nothing was sent.
    Not(Outcome),
}

/// What became of a letter.
#[derive(Clone, Debug)]
enum Outcome {
    /// Kept again.
    Replayed(String),
    /// The stack itself kept it as a dead letter: counted at the door like any kept event.
    KeptDead(Word, String),
    /// Refused, and written anew by us.
    DeadAgain(Word, String),
    /// Nothing stands for it.
    Left(Word, String),
}

/// One replay.
pub(super) struct Run<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) lines: &'a Lines,
    pub(super) selection: &'a Selection,
    pub(super) dry_run: bool,
    /// The time between two letters.
    pub(super) pause: Duration,
}

impl Run<'_> {
    /// Replays what is selected; also gives the LSNs that were named and met.
    pub(super) async fn go(&self) -> (Summary, BTreeSet<u64>) {
        let (mut summary, mut met) = (Summary::default(), BTreeSet::new());
        let mut letters = Letters::new(&self.api.shared);
        while summary.stopped.is_none() {
            let chunk;
            (letters, chunk) = match self.chunk(letters).await {
                Ok(next) => next,
                Err(error) => {
                    summary.stopped = Some(format!("the journal cannot be read: {error}"));
                    break;
                }
            };
            if chunk.is_empty() {
                break;
            }
            if self.selection.lsns.is_some() {
                met.extend(chunk.iter().map(|letter| letter.lsn));
            }
            let changed = if self.dry_run {
                chunk.iter().map(|letter| self.would(letter)).collect()
            } else {
                self.send_all(chunk).await
            };
            for changed in changed {
                let retryable =
                    changed.failure.as_deref().and_then(|word| word.parse::<Word>().ok()).is_some_and(Word::retryable);
                if changed.outcome == "left" && retryable {
                    summary.stopped =
                        Some(format!("{}: the letters after LSN {} were not looked at", changed.detail, changed.lsn));
                }
                summary.count(&changed);
                if self.lines.send(json_line(&changed)).await.is_err() {
                    summary.stopped = Some("nobody listens any more".to_owned());
                }
            }
        }
        let api = Arc::clone(self.api);
        let _saved = tokio::task::spawn_blocking(move || save(&api)).await;
        (summary, met)
    }

    /// The next letters that are selected.
    async fn chunk(&self, mut letters: Letters) -> std::io::Result<(Letters, Vec<Letter>)> {
        let selection = self.selection.clone();
        // With a rate, letters leave one by one.
        let most = if self.pause.is_zero() { TOGETHER } else { 1 };
        let work = move || {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while chunk.len() < most && bytes < TOGETHER_BYTES {
                let Some(letter) = letters.next_open()? else { break };
                if selection.takes(&letter) {
                    bytes += letter.size();
                    chunk.push(letter);
                }
            }
            Ok((letters, chunk))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    async fn send_all(&self, chunk: Vec<Letter>) -> Vec<Changed> {
        let mut sent = Vec::with_capacity(chunk.len());
        for letter in chunk {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            let attempt = self.send(&letter).await;
            let stop = matches!(&attempt, Sent::Not(Outcome::Left(word, _)) if word.retryable());
            sent.push((letter, attempt));
            if stop {
                break;
            }
        }
        let mut outcomes = Vec::with_capacity(sent.len());
        for (letter, attempt) in sent {
            let outcome = match attempt {
                Sent::Door(ticket) => self.landed(&letter, ticket).await,
                Sent::Appended(outcome) | Sent::Not(outcome) => outcome,
            };
            outcomes.push((letter.lsn, outcome));
        }
        let api = Arc::clone(self.api);
        let settled = tokio::task::spawn_blocking(move || settle(&api, outcomes)).await;
        settled.unwrap_or_default()
    }

    /// What a replay would do with a letter, as far as can be said without doing it.
    fn would(&self, letter: &Letter) -> Changed {
        let detail = match &letter.record {
            Err(error) => format!("{error}; it can only be discarded"),
            Ok(Record::Letter(door)) => {
                format!("its bytes would be read again by listener {}", self.listener_of(&door.door.listener))
            }
            Ok(Record::Event(event)) => match &event.death {
                Some(death)
                    if !death.backend.is_empty() && self.api.shared.lanes().by_name(&death.backend).is_none() =>
                {
                    format!("the config has no backend {:?} any more", death.backend.as_str())
                }
                Some(death) if !death.backend.is_empty() => format!("to backend {}", death.backend),
                Some(_) | None => self.would_route(event),
            },
        };
        Changed { lsn: letter.lsn, outcome: "would_replay".to_owned(), detail, failure: None }
    }

    fn would_route(&self, event: &Event) -> String {
        let routes = Arc::clone(&self.api.live.now().blueprint.routes);
        let numbers = routes.matching(&event.view());
        let names: Vec<&str> = numbers
            .iter()
            .filter_map(|number| routes.routes().get(*number as usize))
            .map(|route| route.name.as_str())
            .collect();
        if names.is_empty() {
            "no route takes it now either".to_owned()
        } else {
            format!("to route {}", names.join(", "))
        }
    }

    fn listener_of(&self, name: &str) -> String {
        self.api.live.now().again.way(name).map_or_else(|| name.to_owned(), |way| way.name.clone())
    }
}

/// Makes what was appended durable, then marks the letters done for which something stands. Blocks.
fn settle(api: &Api, outcomes: Vec<(u64, Outcome)>) -> Vec<Changed> {
    let appended = outcomes.iter().any(|(_, outcome)| !matches!(outcome, Outcome::Left(..)));
    let durable = !appended || api.shared.journal.sync().is_ok();
    let changed = |(lsn, outcome): (u64, Outcome)| {
        let how = match outcome {
            Outcome::Replayed(_) | Outcome::KeptDead(..) => Some(Settled::Replayed),
            Outcome::DeadAgain(..) => Some(Settled::DeadAgain),
            Outcome::Left(..) => None,
        };
        let outcome = match how {
            Some(_) if !durable => {
                Outcome::Left(Word::Internal, "the journal's disk failed: it may have been kept".to_owned())
            }
            Some(how) => {
                api.settle(lsn, how);
                outcome
            }
            None => outcome,
        };
        line(lsn, outcome)
    };
    outcomes.into_iter().map(changed).collect()
}

fn line(lsn: u64, outcome: Outcome) -> Changed {
    let (name, failure, detail) = match outcome {
        Outcome::Replayed(detail) => ("replayed", None, detail),
        Outcome::KeptDead(word, detail) | Outcome::DeadAgain(word, detail) => ("dead_again", Some(word), detail),
        Outcome::Left(word, detail) => ("left", Some(word), detail),
    };
    Changed { lsn, outcome: name.to_owned(), detail, failure: failure.map(|word| word.as_str().to_owned()) }
}
