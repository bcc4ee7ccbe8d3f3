//! The HTTP suite: bad input, limits and deadlines of an HTTP/1.1 and HTTP/2 endpoint that takes `POST /events`.
//!
//! Every row is sent byte for byte over a socket of its own, so that no client library repairs it, and says exactly what must
//! come back: the status, the failure word of the problem document, and whether the connection closes. All rows run at once,
//! because those about deadlines wait for them.
mod head;
#[allow(dead_code, reason = "the rows that use all of it follow")]
mod row;
mod wire;

use crate::suite::{CaseResult, Endpoint, Suite, Unreachable};
use row::Row;
use std::borrow::Cow;
use wire::Wire;

/// See the module's documentation.
pub struct HttpSuite;

fn rows() -> impl Iterator<Item = &'static Row> {
    [head::ROWS].into_iter().flatten()
}

impl Suite for HttpSuite {
    fn name(&self) -> &'static str {
        "http"
    }

    fn scheme(&self) -> (&'static str, u16) {
        ("http", 8080)
    }

    fn cases(&self) -> Vec<Cow<'static, str>> {
        rows().map(|row| row.name.into()).collect()
    }

    fn run(
        &self,
        endpoint: &Endpoint,
        wanted: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(CaseResult),
    ) -> Result<(), Unreachable> {
        Wire::connect(endpoint).map_err(|error| Unreachable(format!("{}: {error}", endpoint.host)))?;
        std::thread::scope(|scope| {
            let running: Vec<_> =
                rows().filter(|row| wanted(row.name)).map(|row| (row, scope.spawn(|| row.run(endpoint)))).collect();
            for (row, outcome) in running {
                let outcome = outcome.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                done(CaseResult {
                    name: row.name.into(),
                    title: row.title.into(),
                    section: row.section.into(),
                    outcome,
                });
            }
        });
        Ok(())
    }
}
