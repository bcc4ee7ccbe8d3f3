//! What the wire suites share: an endpoint to ask, cases with their outcomes, and the list of suites.
//!
//! A suite knows an endpoint by its address only and speaks its protocol byte by byte, without a client library that would
//! repair or hide anything. `anygate conform` prints what a suite finds.
use crate::cut::{Cut, Cuts};
use std::{borrow::Cow, fmt, net::SocketAddr, time::Duration};

/// All suites, by name.
pub const SUITES: [&dyn Suite; 2] = [&crate::http::HttpSuite, &crate::mqtt::MqttSuite];

/// The suite with this name.
pub fn find(name: &str) -> Option<&'static dyn Suite> {
    SUITES.into_iter().find(|suite| suite.name() == name)
}

/// One suite of cases for one protocol.
pub trait Suite: Sync {
    /// The word that chooses it: `http`.
    fn name(&self) -> &'static str;

    /// The scheme of its URLs and their default port.
    fn scheme(&self) -> (&'static str, u16);

    /// The names of its cases, in order.
    fn cases(&self) -> Vec<Cow<'static, str>>;

    /// Runs the cases that `wanted` names, in one piece and with these cuts, and gives each result to `done`, in the order of
    /// [`Suite::cases`].
    ///
    /// # Errors
    /// [`Unreachable`] when no connection can be made at the start. A connection that fails later is a case's failure.
    fn run(
        &self,
        endpoint: &Endpoint,
        cuts: Cuts,
        wanted: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(CaseResult),
    ) -> Result<(), Unreachable>;
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its name as the user wrote it, with the port.
    pub host: String,
    /// What to show to be let in.
    pub credentials: Option<Credentials>,
    /// The longest wait for an answer, or for a connection to end. It has to be above the endpoint's own deadlines.
    pub patience: Duration,
    /// The cut on each connection to it; none by default.
    pub cut: Cut,
}

/// What a sender shows.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// One shared token.
    Token(String),
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
}

impl Credentials {
    /// One line: `name:password`, or a token without a colon.
    pub fn parse(line: &str) -> Self {
        match line.split_once(':') {
            Some((name, password)) => Credentials::Password { name: name.to_owned(), password: password.to_owned() },
            None => Credentials::Token(line.to_owned()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The endpoint cannot be reached: why.
#[derive(Debug)]
pub struct Unreachable(pub String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// One case after it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// Its short name, unique in the suite: `H04`.
    pub name: Cow<'static, str>,
    /// What is sent, for people.
    pub title: Cow<'static, str>,
    /// Where the specification, or this project's own contract, says what must be answered.
    pub section: Cow<'static, str>,
    /// How it went.
    pub outcome: Outcome,
    /// How often it was asked: in one piece, and once more for each cut. 0: not at all.
    pub asked: usize,
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was the expected one.
    Ok,
    /// It was another one.
    Failed {
        /// What the case asks for.
        expected: String,
        /// What came.
        seen: String,
    },
    /// The case asks for something that this endpoint does not have: why.
    NotApplicable(String),
}

/// How many cases went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// As expected.
    pub ok: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not asked.
    pub not_applicable: usize,
    /// How often cases were asked, with all their cuts.
    pub asked: usize,
}

impl Count {
    /// Adds one case.
    pub fn add(&mut self, result: &CaseResult) {
        self.asked += result.asked;
        match result.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::NotApplicable(_) => self.not_applicable += 1,
        }
    }

    /// All cases.
    pub fn cases(&self) -> usize {
        self.ok + self.failed + self.not_applicable
    }
}
