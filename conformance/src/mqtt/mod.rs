//! The wire suite for MQTT servers: mosquitto's raw byte sequences ([`sequences`]), judged by the OASIS specifications
//! ([`judge`]), and this project's own table of bad input ([`table`]).
//!
//! It knows a server by its address only. A case that asks for what a server may decline (SUBSCRIBE, retained messages) is *not
//! applicable* where the server declines it, and only if it is on the list in [`needs`]; everything else that differs has
//! failed. Cases run one after another, because many use the same client identifier; the rows of the table that wait for a
//! deadline run beside them. With cuts those that have no CONNECT of their own run at once, each under a name of its own.
pub mod encode;
pub mod judge;
pub mod needs;
pub mod sequences;
pub mod table;
pub mod wire;

use crate::{
    cut::{self, Cuts},
    suite::{CaseResult, Endpoint, Outcome, Suite, Unreachable},
};
use judge::Difference;
use sequences::Case;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use wire::Connection;

/// See the module's documentation.
pub struct MqttSuite;

/// Sequences that run at once when they are cut, and cuts of one of them.
const CASES_AT_ONCE: usize = 8;
const CUTS_AT_ONCE: usize = 8;

/// The row that stands for the sequences where their files are missing.
const NO_SEQUENCES: &str = "sequences";

impl Suite for MqttSuite {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn scheme(&self) -> (&'static str, u16) {
        ("mqtt", 1883)
    }

    fn cases(&self) -> Vec<Cow<'static, str>> {
        let mut names: Vec<Cow<'static, str>> = table::rows().map(|row| row.name.into()).collect();
        match cases() {
            Ok(cases) => names.extend(cases.into_iter().map(|case| Cow::Owned(case.name))),
            Err(_) => names.push(NO_SEQUENCES.into()),
        }
        names
    }

    fn run(
        &self,
        endpoint: &Endpoint,
        cuts: Cuts,
        wanted: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(CaseResult),
    ) -> Result<(), Unreachable> {
        Connection::open(endpoint).map_err(Unreachable)?;
        let sequences = run_sequences(endpoint, cuts, wanted, |endpoint| table::run(endpoint, cuts, wanted, done));
        sequences.into_iter().for_each(done);
        Ok(())
    }
}

/// Runs the sequences beside what `meanwhile` does, which gives its own results first.
fn run_sequences(
    endpoint: &Endpoint,
    cuts: Cuts,
    wanted: &dyn Fn(&str) -> bool,
    meanwhile: impl FnOnce(&Endpoint),
) -> Vec<CaseResult> {
    let chosen: Result<Vec<Case>, String> =
        cases().map(|cases| cases.into_iter().filter(|case| wanted(&case.name)).collect());
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(why) => {
            meanwhile(endpoint);
            let outcome = Outcome::NotApplicable(why);
            let (title, section) = ("mosquitto's raw byte sequences".into(), "MQTT 3.1.1 and 5".into());
            let row = CaseResult { name: NO_SEQUENCES.into(), title, section, outcome, asked: 0 };
            return if wanted(NO_SEQUENCES) { vec![row] } else { Vec::new() };
        }
    };
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run_all(&chosen, endpoint, cuts));
        meanwhile(endpoint);
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn cases() -> Result<Vec<Case>, String> {
    let missing = || {
        format!(
            "mosquitto's files are not here: run tests/setup in the repository, or name their folder in {}",
            sequences::VARIABLE
        )
    };
    sequences::read(&sequences::folder().ok_or_else(missing)?)
}

/// Runs these sequences and gives their results in the same order.
fn run_all(cases: &[Case], endpoint: &Endpoint, cuts: Cuts) -> Vec<CaseResult> {
    if cuts == Cuts::None {
        return cases.iter().map(|case| run_case(case, endpoint, cuts)).collect();
    }
    let (own, plain): (Vec<usize>, Vec<usize>) = (0..cases.len()).partition(|at| cases[*at].connect.is_none());
    let results = Mutex::new(BTreeMap::new());
    let run = |at: &usize| {
        let result = run_case(&cases[*at], endpoint, cuts);
        results.lock().unwrap_or_else(PoisonError::into_inner).insert(*at, result);
        None::<()>
    };
    std::thread::scope(|scope| {
        scope.spawn(|| cut::first(&own, 1, run));
        cut::first(&plain, CASES_AT_ONCE, run);
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Runs one sequence, in one piece and with these cuts of the bytes that it sends itself.
pub fn run_case(case: &Case, endpoint: &Endpoint, cuts: Cuts) -> CaseResult {
    let asked = if endpoint.credentials.is_some() && case.connect.is_none() {
        let why = "the case has a CONNECT of its own, and the endpoint wants credentials".to_owned();
        cut::Asked { outcome: Outcome::NotApplicable(why), times: 0 }
    } else {
        let at_once = if case.connect.is_none() { 1 } else { CUTS_AT_ONCE };
        cut::ask(endpoint, cuts, cut::seed(&case.name), at_once, |endpoint| match judge::run(case, endpoint) {
            Ok(()) => Outcome::Ok,
            Err(_) if judge::refuses_31(case, endpoint) => Outcome::Ok,
            Err(difference) => outcome(case, difference),
        })
    };
    CaseResult {
        name: case.name.clone().into(),
        title: case.title.clone().into(),
        section: section(case),
        outcome: asked.outcome,
        asked: asked.times,
    }
}

fn outcome(case: &Case, difference: Difference) -> Outcome {
    match needs::why(case) {
        Some(need) if need.is_declined(&difference) => Outcome::NotApplicable(need.reason().to_owned()),
        _ => Outcome::Failed { expected: difference.expected, seen: difference.seen },
    }
}

/// The section or statement that the case is about: what its title names, else the packet's chapter.
fn section(case: &Case) -> Cow<'static, str> {
    let named = case.title.split(['[', ']']).nth(1).filter(|statement| statement.starts_with("MQTT-"));
    match named {
        Some(statement) => statement.to_owned().into(),
        None => chapter(&case.name).into(),
    }
}

fn chapter(name: &str) -> &'static str {
    match name.split('.').next().unwrap_or_default() {
        "CONNECT" => "section 3.1",
        "CONNACK" => "section 3.2",
        "PUBLISH" => "section 3.3",
        "PUBACK" => "section 3.4",
        "PUBREC" => "section 3.5",
        "PUBREL" => "section 3.6",
        "PUBCOMP" => "section 3.7",
        "SUBSCRIBE" => "section 3.8",
        "SUBACK" => "section 3.9",
        "UNSUBSCRIBE" => "section 3.10",
        "UNSUBACK" => "section 3.11",
        "PINGREQ" => "section 3.12",
        "PINGRESP" => "section 3.13",
        "DISCONNECT" => "section 3.14",
        "AUTH" => "section 3.15 of MQTT 5",
        "FORBIDDEN" => "section 2.1.2",
        "FLOW" => "section 4.3",
        _ => "MQTT 3.1.1 and 5",
    }
}
