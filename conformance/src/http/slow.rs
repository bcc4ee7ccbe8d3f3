//! Rows about peers that are slow or silent. They last as long as the endpoint's own deadlines.
use super::{
    row::{Ask, Exchange, Miss, Row, Step, head, problem, request},
    wire::{NoAnswer, Wire},
};
use crate::suite::Endpoint;
use std::time::Duration;

const SECTION: &str = "RFC 9110, section 15.5.9";

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H28",
        title: "half of a body, then nothing",
        section: SECTION,
        ask: Ask::Exchanges(|endpoint| {
            let length = request(endpoint, "Content-Length: 10\r\n", b"12345");
            let chunks = request(endpoint, "Transfer-Encoding: chunked\r\n", b"5\r\n123");
            vec![
                Exchange::send("5 of 10 bytes", length).answer(problem(&[408], "timeout")),
                Exchange::send("half a chunk", chunks).answer(problem(&[408], "timeout")),
            ]
        }),
    },
    Row {
        name: "H29",
        title: "a body of one byte a second",
        section: SECTION,
        ask: Ask::Exchanges(|endpoint| {
            let mut exchange = Exchange::send("1 byte/s", request(endpoint, "Content-Length: 10000\r\n", b""));
            for _ in 0..endpoint.patience.as_secs() {
                exchange = exchange.then(b"x").step(Step::Pause(Duration::from_secs(1)));
            }
            vec![exchange.answer(problem(&[408], "timeout"))]
        }),
    },
    Row {
        name: "H30",
        title: "half of a head, then nothing",
        section: SECTION,
        ask: Ask::Run(|endpoint| {
            closes(endpoint, head(endpoint, "POST /events HTTP/1.1").as_bytes())?;
            closes(endpoint, b"POST /ev")
        }),
    },
    Row {
        name: "H31",
        title: "a connection that says nothing",
        section: SECTION,
        ask: Ask::Run(|endpoint| closes(endpoint, b"")),
    },
];

/// The connection closes, with 408 or without a word.
fn closes(endpoint: &Endpoint, bytes: &[u8]) -> Result<(), Miss> {
    let wanted = "408, or no answer, and the connection closes";
    let mut wire = Wire::connect(endpoint).map_err(|error| Miss::new(wanted, error))?;
    wire.send(bytes);
    match wire.answer() {
        Err(NoAnswer::Closed) => Ok(()),
        Err(other) => Err(Miss::new(wanted, other)),
        Ok(answer) if answer.status == 408 => wire.end().map_err(|other| Miss::new(wanted, other)),
        Ok(answer) => Err(Miss::new(wanted, answer)),
    }
}
