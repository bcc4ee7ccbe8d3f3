//! Rows about chunks, trailers and pipelines.
use super::{
    head::malformed,
    row::{After, Ask, Exchange, Miss, Row, head, post, problem, request, status},
    wire::Wire,
};
use crate::suite::Endpoint;
use std::time::{SystemTime, UNIX_EPOCH};

/// Requests of the long pipeline.
const PIPELINE: usize = 1000;

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H11",
        title: "a chunk size of 2^64, of no digits, and with a bare LF behind it",
        section: "RFC 9112, section 7.1",
        ask: Ask::Exchanges(|endpoint| {
            let broken = [
                ("2^64", "10000000000000000\r\n{}\r\n0\r\n\r\n"),
                ("no digits", "zz\r\n{}\r\n0\r\n\r\n"),
                ("signed", "+2\r\n{}\r\n0\r\n\r\n"),
                ("bare LF behind the size", "2\n{}\r\n0\r\n\r\n"),
                ("bare LF behind the data", "2\r\n{}\n0\r\n\r\n"),
                ("more data than its size", "2\r\n{}x\r\n0\r\n\r\n"),
            ];
            let refused = broken
                .map(|(label, body)| Exchange::send(label, chunked(endpoint, body.as_bytes())).answer(malformed()));
            let fine =
                Exchange::send("good chunks", chunked(endpoint, b"1;a=b\r\n{\r\n01\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n"));
            refused.into_iter().chain([fine.answer(status(&[202])).after(After::Stays)]).collect()
        }),
    },
    Row {
        name: "H12",
        title: "chunk extensions of 20 KB",
        section: "RFC 9112, section 7.1.1",
        ask: Ask::Exchanges(|endpoint| {
            let one = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000));
            let many = format!("{}0\r\n\r\n", "1;xxxxxxxxxxxxxxxxxxx\r\n \r\n".repeat(1000));
            vec![
                Exchange::send("one", chunked(endpoint, one.as_bytes())).answer(malformed()),
                Exchange::send("many", chunked(endpoint, many.as_bytes())).answer(malformed()),
            ]
        }),
    },
    Row {
        name: "H13",
        title: "trailers above 16 KiB, and trailers that frame, route or authenticate",
        section: "RFC 9110, section 6.5.1",
        ask: Ask::Exchanges(|endpoint| {
            let with = |trailers: &str| chunked(endpoint, format!("2\r\n{{}}\r\n0\r\n{trailers}\r\n").as_bytes());
            let large = format!("X-Large: {}\r\n", "x".repeat(17 * 1024));
            vec![
                Exchange::send("17 KiB", with(&large)).answer(malformed()),
                Exchange::send("Content-Length", with("Content-Length: 2\r\n")).answer(malformed()),
                Exchange::send("Transfer-Encoding", with("Transfer-Encoding: chunked\r\n")).answer(malformed()),
                Exchange::send("Host", with("Host: other.example\r\n")).answer(malformed()),
                Exchange::send("Authorization", with("Authorization: Bearer x\r\n")).answer(malformed()),
            ]
        }),
    },
    Row {
        name: "H24",
        title: "GET with a body, and a request behind it",
        section: "RFC 9110, section 9.3.1",
        ask: Ask::Exchanges(|endpoint| {
            let get = head(endpoint, "GET /events HTTP/1.1") + "Content-Length: 5\r\n\r\nhello";
            vec![
                Exchange::send("pipelined", get)
                    .then(post(endpoint, "", b"{}"))
                    .answer(problem(&[405], "method_not_allowed").header("allow", ""))
                    .answer(status(&[202]))
                    .after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H25",
        title: "1,000 requests in one pipeline",
        section: "RFC 9112, section 9.3.2",
        ask: Ask::Run(pipeline),
    },
];

/// A request with these chunks.
pub(super) fn chunked(endpoint: &Endpoint, chunks: &[u8]) -> Vec<u8> {
    request(endpoint, "Transfer-Encoding: chunked\r\n", chunks)
}

/// A word that no run before has used.
pub(super) fn fresh(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("conform-{what}-{now}")
}

fn pipeline(endpoint: &Endpoint) -> Result<(), Miss> {
    let wanted = "1,000 answers in the order of the requests";
    let mut wire = Wire::connect(endpoint).map_err(|error| Miss::new(wanted, error))?;
    let mut sender = wire.sender().map_err(|error| Miss::new(wanted, error))?;
    let run = fresh("pipeline");
    let id = |number: usize| format!("{run}-{number}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..PIPELINE {
                let event = format!("ce-specversion: 1.0\r\nce-type: t\r\nce-source: /s\r\nce-id: {}\r\n", id(number));
                // A connection that closes too early shows on the reading side.
                let _closed = sender.write(&post(endpoint, &event, b"{}"));
            }
        });
        for number in 0..PIPELINE {
            let answer = wire.answer().map_err(|none| Miss::new(wanted, format!("number {number}: {none}")))?;
            if answer.status != 202 || !answer.text().contains(&format!("\"{}\"", id(number))) {
                return Err(Miss::new(format!("{wanted}; number {number} is for {}", id(number)), answer));
            }
        }
        Ok(())
    })
}
