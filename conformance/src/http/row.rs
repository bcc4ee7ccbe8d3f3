//! One row of the table: what is sent, what must come back, and how the two are compared.
use super::wire::{Answer, NoAnswer, Wire, authorization};
use crate::{
    cut::{self, Asked, Cuts},
    suite::{Endpoint, Outcome},
};
use std::{borrow::Cow, fmt, time::Duration};

/// One row.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) section: &'static str,
    pub(super) ask: Ask,
}

/// How a row is asked.
pub(super) enum Ask {
    /// Byte for byte, each exchange on its own connection.
    Exchanges(fn(&Endpoint) -> Vec<Exchange>),
    /// As [`Ask::Exchanges`], for endpoints that ask for credentials.
    Guarded(fn(&Endpoint) -> Vec<Exchange>),
    /// By a procedure of its own.
    Run(fn(&Endpoint) -> Result<(), Miss>),
    /// It asks for something that does not exist yet.
    NotApplicable(&'static str),
}

/// What was expected, and what was seen instead.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) expected: String,
    pub(super) seen: String,
}

impl Miss {
    pub(super) fn new(expected: impl fmt::Display, seen: impl fmt::Display) -> Self {
        Miss { expected: expected.to_string(), seen: seen.to_string() }
    }
}

/// Cuts of one exchange that are asked at once; all rows run at once besides.
const AT_ONCE: usize = 8;

impl Row {
    /// Asks the endpoint: each exchange by itself, in one piece and with its cuts.
    pub(super) fn run(&self, endpoint: &Endpoint, cuts: Cuts) -> Asked {
        let ask = |run: &(dyn Fn(&Endpoint) -> Result<(), Miss> + Sync)| {
            cut::ask(endpoint, cuts, cut::seed(self.name), AT_ONCE, |endpoint| outcome(run(endpoint)))
        };
        match self.ask {
            Ask::NotApplicable(why) => never(why),
            Ask::Guarded(_) if endpoint.credentials.is_none() => {
                never("no credentials given: the endpoint takes anybody")
            }
            Ask::Exchanges(exchanges) | Ask::Guarded(exchanges) => {
                let mut all = Asked { outcome: Outcome::Ok, times: 0 };
                for exchange in exchanges(endpoint) {
                    let asked = ask(&|endpoint| exchange.run(endpoint));
                    all = Asked { outcome: asked.outcome, times: all.times + asked.times };
                    if all.outcome != Outcome::Ok {
                        break;
                    }
                }
                all
            }
            Ask::Run(run) => ask(&run),
        }
    }
}

fn outcome(result: Result<(), Miss>) -> Outcome {
    match result {
        Ok(()) => Outcome::Ok,
        Err(Miss { expected, seen }) => Outcome::Failed { expected, seen },
    }
}

fn never(why: &str) -> Asked {
    Asked { outcome: Outcome::NotApplicable(why.to_owned()), times: 0 }
}

/// What is done on one connection, and what must come of it.
pub(super) struct Exchange {
    label: Cow<'static, str>,
    steps: Vec<Step>,
    answers: Vec<Expected>,
    after: After,
}

pub(super) enum Step {
    Send(Vec<u8>),
    /// Waits, unless an answer comes first: then nothing more is sent.
    Pause(Duration),
}

/// What the connection does after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Closes,
    /// A good request is answered with success.
    Stays,
    Either,
}

/// What an answer must be like.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    statuses: &'static [u16],
    failure: Option<&'static str>,
    header: Option<(&'static str, &'static str)>,
    body: Vec<&'static str>,
}

/// An answer with one of these statuses.
pub(super) fn status(statuses: &'static [u16]) -> Expected {
    Expected { statuses, ..Expected::default() }
}

/// A problem document (RFC 9457) with this failure word.
pub(super) fn problem(statuses: &'static [u16], failure: &'static str) -> Expected {
    Expected { statuses, failure: Some(failure), ..Expected::default() }
}

impl Expected {
    /// The header must have this value; an empty one: it must be there.
    pub(super) fn header(self, name: &'static str, value: &'static str) -> Self {
        Expected { header: Some((name, value)), ..self }
    }

    /// The body must contain this.
    pub(super) fn body(mut self, part: &'static str) -> Self {
        self.body.push(part);
        self
    }

    fn fits(&self, answer: &Answer) -> bool {
        let header_fits = self.header.is_none_or(|(name, value)| {
            answer.header(name).is_some_and(|found| value.is_empty() || found.eq_ignore_ascii_case(value))
        });
        self.statuses.contains(&answer.status)
            && header_fits
            && self.failure.is_none_or(|word| is_problem(answer, word))
            && self.body.iter().all(|part| answer.text().contains(part))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
        f.write_str(&statuses.join(" or "))?;
        if let Some(word) = self.failure {
            write!(f, " with a problem document that says {word}")?;
        }
        if let Some((name, value)) = self.header {
            write!(f, " with {name}: {value}")?;
        }
        self.body.iter().try_for_each(|part| write!(f, " with {part:?} in its body"))
    }
}

/// RFC 9457: the media type, the status inside, and the member `failure`.
fn is_problem(answer: &Answer, word: &str) -> bool {
    if answer.header("content-type") != Some("application/problem+json") {
        return false;
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return false };
    body["failure"] == word && body["status"] == answer.status && body["type"].is_string() && body["title"].is_string()
}

impl Exchange {
    /// Sends `bytes`; `label` says which of the row's inputs it is.
    pub(super) fn send(label: impl Into<Cow<'static, str>>, bytes: impl Into<Vec<u8>>) -> Self {
        let steps = vec![Step::Send(bytes.into())];
        Exchange { label: label.into(), steps, answers: Vec::new(), after: After::Closes }
    }

    /// Sends more.
    pub(super) fn then(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    /// Does something more.
    pub(super) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// One more answer that must come.
    pub(super) fn answer(mut self, expected: Expected) -> Self {
        self.answers.push(expected);
        self
    }

    /// What the connection does then; it closes unless this says otherwise.
    pub(super) fn after(self, after: After) -> Self {
        Exchange { after, ..self }
    }

    fn run(&self, endpoint: &Endpoint) -> Result<(), Miss> {
        let mut wire = Wire::connect(endpoint).map_err(|error| self.miss("a connection", error))?;
        for step in &self.steps {
            match step {
                Step::Send(bytes) => {
                    wire.send(bytes);
                }
                Step::Pause(time) if wire.pause(*time) => break,
                Step::Pause(_) => {}
            }
        }
        let mut leaves = false;
        for expected in &self.answers {
            let answer = wire.answer().map_err(|none| self.miss(expected, none))?;
            if !expected.fits(&answer) {
                return Err(self.miss(expected, answer));
            }
            // A refusal that did not wait for the rest of its request ends the connection, and says so (RFC 9112, section 9.6).
            leaves = endpoint.cut.is_one() && answer.status >= 400 && answer.header("connection") == Some("close");
            if leaves {
                break;
            }
        }
        let after = if leaves && self.after == After::Stays { After::Closes } else { self.after };
        self.check_after(after, &mut wire, endpoint)
    }

    fn check_after(&self, after: After, wire: &mut Wire, endpoint: &Endpoint) -> Result<(), Miss> {
        match after {
            After::Either => Ok(()),
            After::Closes => wire.end().map_err(|other| {
                let seen = if other == NoAnswer::Silence { "it stays open".to_owned() } else { other.to_string() };
                self.miss("the connection closes then", seen)
            }),
            After::Stays => {
                wire.send_whole(&post(endpoint, "", b"{}"));
                let wanted = "the connection stays and a good request after it succeeds";
                match wire.answer() {
                    Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
                    Ok(answer) => Err(self.miss(wanted, answer)),
                    Err(none) => Err(self.miss(wanted, none)),
                }
            }
        }
    }

    fn miss(&self, expected: impl fmt::Display, seen: impl fmt::Display) -> Miss {
        Miss::new(format!("{}: {expected}", self.label), seen)
    }
}

/// A request line and the headers that every good request has here.
pub(super) fn head(endpoint: &Endpoint, request_line: &str) -> String {
    format!("{request_line}\r\nHost: {}\r\n{}", endpoint.host, authorization(endpoint))
}

/// `POST /events` with these header lines, each with its CRLF, and what follows the empty line. No length is added.
pub(super) fn request(endpoint: &Endpoint, headers: &str, rest: &[u8]) -> Vec<u8> {
    let mut bytes = head(endpoint, "POST /events HTTP/1.1").into_bytes();
    bytes.extend_from_slice(headers.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(rest);
    bytes
}

/// As [`request`], with the length of the body and as JSON.
pub(super) fn post(endpoint: &Endpoint, headers: &str, body: &[u8]) -> Vec<u8> {
    let typed =
        if headers.to_ascii_lowercase().contains("content-type:") { "" } else { "Content-Type: application/json\r\n" };
    request(endpoint, &format!("{headers}{typed}Content-Length: {}\r\n", body.len()), body)
}
