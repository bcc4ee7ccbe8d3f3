//! The HTTP suite: bad input, limits and deadlines of an HTTP/1.1 and HTTP/2 endpoint that takes `POST /events`.
//!
//! Every row is sent byte for byte over a socket of its own, so that no client library repairs it, and says exactly what must
//! come back: the status, the failure word of the problem document, and whether the connection closes. All rows run at once,
//! because those about deadlines wait for them.
//!
//! The rows H01 to H52 are about HTTP/1.1, G01 to G10 about HTTP/2 with prior knowledge.
mod body;
mod events;
mod frames;
mod framing;
mod h2;
mod head;
mod row;
mod slow;
mod wire;

use crate::{
    cut::Cuts,
    suite::{CaseResult, Endpoint, Suite, Unreachable},
};
use row::Row;
use std::borrow::Cow;
use wire::Wire;

/// See the module's documentation.
pub struct HttpSuite;

/// Rows that wait for a deadline of the endpoint each time they are asked: cut at one place at most.
const WAITING: [&str; 5] = ["H28", "H29", "H30", "H31", "G10"];

/// All rows, by name.
fn rows() -> Vec<&'static Row> {
    let parts = [head::ROWS, framing::ROWS, body::ROWS, events::ROWS, slow::ROWS, h2::ROWS];
    let mut rows: Vec<&Row> = parts.into_iter().flatten().collect();
    // HTTP/1.1 first.
    rows.sort_by_key(|row| (std::cmp::Reverse(row.name.as_bytes().first()), row.name));
    rows
}

impl Suite for HttpSuite {
    fn name(&self) -> &'static str {
        "http"
    }

    fn scheme(&self) -> (&'static str, u16) {
        ("http", 8080)
    }

    fn cases(&self) -> Vec<Cow<'static, str>> {
        rows().iter().map(|row| row.name.into()).collect()
    }

    fn run(
        &self,
        endpoint: &Endpoint,
        cuts: Cuts,
        wanted: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(CaseResult),
    ) -> Result<(), Unreachable> {
        Wire::connect(endpoint).map_err(|error| Unreachable(format!("{}: {error}", endpoint.host)))?;
        std::thread::scope(|scope| {
            let running: Vec<_> = rows()
                .into_iter()
                .filter(|row| wanted(row.name))
                .map(|row| {
                    let cuts = if WAITING.contains(&row.name) { cuts.at_most_once() } else { cuts };
                    (row, scope.spawn(move || row.run(endpoint, cuts)))
                })
                .collect();
            for (row, asked) in running {
                let asked = asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                done(CaseResult {
                    name: row.name.into(),
                    title: row.title.into(),
                    section: row.section.into(),
                    outcome: asked.outcome,
                    asked: asked.times,
                });
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let names: Vec<&str> = rows().iter().map(|row| row.name).collect();
        let wanted: Vec<String> =
            (1..=52).map(|row| format!("H{row:02}")).chain((1..=10).map(|row| format!("G{row:02}"))).collect();
        assert_eq!(names, wanted);
    }
}
