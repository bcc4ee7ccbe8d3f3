//! Rows about the request line and the headers.
use super::row::{After, Ask, Exchange, Row, head, post, problem, status};
use crate::suite::Endpoint;

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H01",
        title: "binary garbage as the request line",
        section: "RFC 9112, section 3",
        ask: Ask::Exchanges(|_| {
            vec![
                Exchange::send("bytes", b"\x01\x02\x80\xff garbage\r\n\r\n".as_slice()).answer(malformed()),
                Exchange::send("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice())
                    .answer(malformed()),
            ]
        }),
    },
    Row {
        name: "H02",
        title: "no Host",
        section: "RFC 9112, section 3.2",
        ask: Ask::Exchanges(|_| {
            vec![Exchange::send("HTTP/1.1", "POST /events HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").answer(malformed())]
        }),
    },
    Row {
        name: "H21",
        title: "another method on a known path",
        section: "RFC 9110, section 15.5.6",
        ask: Ask::Exchanges(|endpoint| {
            vec![
                Exchange::send("GET", head(endpoint, "GET /events HTTP/1.1") + "\r\n")
                    .answer(problem(&[405], "method_not_allowed").header("allow", ""))
                    .after(After::Stays),
                good(endpoint),
            ]
        }),
    },
];

fn malformed() -> super::row::Expected {
    problem(&[400], "protocol_error").header("connection", "close")
}

fn good(endpoint: &Endpoint) -> Exchange {
    Exchange::send("a good request", post(endpoint, "", b"{}")).answer(status(&[202])).after(After::Stays)
}
