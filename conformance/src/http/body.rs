//! Rows about bodies: sizes, content codings and JSON.
use super::row::{After, Ask, Exchange, Expected, Row, post, problem, request, status};
use crate::suite::Endpoint;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const CODINGS: &str = "RFC 9110, section 8.4";
const JSON: &str = "RFC 8259; JSON media types hold one valid JSON text, depth 64 at most";
const MIB: usize = 1024 * 1024;

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H26",
        title: "a declared body of 1 TB, refused before it is read",
        section: "RFC 9110, section 15.5.14",
        ask: Ask::Exchanges(|endpoint| {
            let huge = request(endpoint, "Content-Length: 1000000000000\r\n", b"");
            vec![Exchange::send("nothing of it sent", huge).answer(problem(&[413], "too_large"))]
        }),
    },
    Row {
        name: "H27",
        title: "chunks of 8 MiB in all, above the limit",
        section: "RFC 9110, section 15.5.14",
        ask: Ask::Exchanges(|endpoint| {
            let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 65_536], b"\r\n"].concat();
            let mut exchange = Exchange::send("chunks", request(endpoint, "Transfer-Encoding: chunked\r\n", b""));
            for _ in 0..128 {
                exchange = exchange.then(chunk.clone());
            }
            vec![exchange.answer(problem(&[413], "too_large"))]
        }),
    },
    Row {
        name: "H32",
        title: "a gzip bomb of 64 MiB",
        section: CODINGS,
        ask: Ask::Exchanges(|endpoint| vec![coded(endpoint, "gzip", &gzip(&vec![0; 64 * MIB]), too_large())]),
    },
    Row {
        name: "H33",
        title: "a zstd bomb of 64 MiB, a zstd window above 8 MiB, brotli",
        section: "RFC 9110, section 8.4; RFC 9659, section 3; brotli is not taken",
        ask: Ask::Exchanges(|endpoint| {
            vec![
                coded(endpoint, "zstd", &zstd(&vec![0; 64 * MIB], 0), too_large()),
                coded(endpoint, "zstd", &zstd(&[1; 1000], 27), too_large()),
                coded(endpoint, "br", b"\x0b\x02\x80{}\x03", no_such_coding()),
            ]
        }),
    },
    Row {
        name: "H34",
        title: "two content codings; a gzip in a gzip under one coding is undone once",
        section: "RFC 9110, section 8.4; at most one coding is taken",
        ask: Ask::Exchanges(|endpoint| {
            let twice = gzip(&gzip(b"{}"));
            let headers = "Content-Encoding: gzip\r\nContent-Type: application/octet-stream\r\n";
            vec![
                coded(endpoint, "gzip, gzip", &twice, no_such_coding()),
                coded(endpoint, "gzip", &twice, problem(&[400], "malformed")),
                Exchange::send("as bytes", post(endpoint, headers, &twice)).answer(status(&[202])).after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H35",
        title: "gzip cut off, with bytes behind it, of two members (one stream)",
        section: "RFC 1952, section 2.2",
        ask: Ask::Exchanges(|endpoint| {
            let whole = gzip(b"{\"a\":1}");
            let cut = &whole[..whole.len() - 3];
            let trailing = [whole.as_slice(), b"garbage"].concat();
            let members = [gzip(b"{\"a\""), gzip(b":1}")].concat();
            vec![
                coded(endpoint, "gzip", cut, problem(&[400], "malformed")),
                coded(endpoint, "gzip", &trailing, problem(&[400], "malformed")),
                coded(endpoint, "gzip", &members, status(&[202])),
            ]
        }),
    },
    Row {
        name: "H36",
        title: "an unknown content coding",
        section: "RFC 9110, section 15.5.16",
        ask: Ask::Exchanges(|endpoint| vec![coded(endpoint, "x-snappy", b"{}", no_such_coding())]),
    },
    Row {
        name: "H37",
        title: "content types: any is a bare event, none is guessed, an unknown CloudEvents format is refused",
        section: "the listener's table of content types, which takes what others answer with 415",
        ask: Ask::Exchanges(|endpoint| {
            let typed = |name: &str| post(endpoint, &format!("Content-Type: {name}\r\n"), b"<a/>");
            vec![
                Exchange::send("text/xml", typed("text/xml")).answer(status(&[202])).after(After::Stays),
                Exchange::send("none", request(endpoint, "Content-Length: 4\r\n", b"<a/>"))
                    .answer(status(&[202]))
                    .after(After::Stays),
                Exchange::send("application/cloudevents+xml", typed("application/cloudevents+xml"))
                    .answer(problem(&[415], "unsupported_format"))
                    .after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H38",
        title: "JSON of depth 65 and of depth 10^6",
        section: JSON,
        ask: Ask::Exchanges(|endpoint| {
            let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            vec![
                json(endpoint, "depth 64", deep(64).as_bytes(), status(&[202])),
                json(endpoint, "depth 65", deep(65).as_bytes(), malformed()),
                json(endpoint, "depth 10^6, not closed", "[".repeat(1_000_000).as_bytes(), malformed()),
            ]
        }),
    },
    Row {
        name: "H39",
        title: "duplicate JSON keys: data is kept as it came, an event's own members are refused",
        section: "RFC 8259, section 4; duplicate names are valid JSON",
        ask: Ask::Exchanges(|endpoint| {
            let event = br#"{"specversion":"1.0","id":"a","id":"b","source":"/s","type":"t"}"#;
            let headers = "Content-Type: application/cloudevents+json\r\n";
            vec![
                json(endpoint, "in data", br#"{"a":1,"a":2}"#, status(&[202])),
                Exchange::send("in an event", post(endpoint, headers, event)).answer(malformed()).after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H40",
        title: "invalid UTF-8 and NUL in JSON; a lone surrogate is valid JSON in data and no text in an attribute",
        section: JSON,
        ask: Ask::Exchanges(|endpoint| {
            let event = br#"{"specversion":"1.0","id":"\ud800","source":"/s","type":"t"}"#;
            let headers = "Content-Type: application/cloudevents+json\r\n";
            vec![
                json(endpoint, "invalid UTF-8", b"{\"a\":\"\xff\"}", malformed()),
                json(endpoint, "overlong UTF-8", b"{\"a\":\"\xc0\xae\"}", malformed()),
                json(endpoint, "raw NUL", b"{\"a\0\":1}", malformed()),
                json(endpoint, "a lone surrogate in data", br#"{"a":"\ud800"}"#, status(&[202])),
                Exchange::send("a lone surrogate in an id", post(endpoint, headers, event))
                    .answer(malformed())
                    .after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H41",
        title: "numbers: 1e999, 10,000 digits and -0 are kept as text, NaN is none",
        section: JSON,
        ask: Ask::Exchanges(|endpoint| {
            vec![
                json(endpoint, "1e999", b"1e999", status(&[202])),
                json(endpoint, "10,000 digits", "7".repeat(10_000).as_bytes(), status(&[202])),
                json(endpoint, "-0", b"-0", status(&[202])),
                json(endpoint, "NaN", b"NaN", malformed()),
                json(endpoint, "01", b"01", malformed()),
            ]
        }),
    },
    Row {
        name: "H42",
        title: "bytes behind a JSON text",
        section: JSON,
        ask: Ask::Exchanges(|endpoint| {
            vec![
                json(endpoint, "a second text", b"{} {}", malformed()),
                json(endpoint, "a comma", b"{},", malformed()),
                json(endpoint, "nothing at all", b"", malformed()),
            ]
        }),
    },
    Row {
        name: "H43",
        title: "10^6 keys, 10^6 items, a batch of 10,001 events",
        section: "the limits that are documented for the listener",
        ask: Ask::Exchanges(|endpoint| {
            let keys: String = (0..1_000_000).map(|number| format!("\"{number}\":0,")).collect();
            let items = "0,".repeat(1_000_000);
            let lines = "0\n".repeat(10_001);
            let headers = "Content-Type: application/x-ndjson\r\n";
            vec![
                Exchange::send("keys", post(endpoint, "", format!("{{{keys}\"\":0}}").as_bytes())).answer(too_large()),
                Exchange::send("items", post(endpoint, "", format!("[{items}0]").as_bytes())).answer(too_large()),
                Exchange::send("events", post(endpoint, headers, lines.as_bytes()))
                    .answer(too_large())
                    .after(After::Either),
            ]
        }),
    },
    Row {
        name: "H44",
        title: "protobuf of depth 101, group bombs, packed lengths above the buffer",
        section: "protobuf's encoding",
        ask: Ask::NotApplicable("there is no protobuf codec yet"),
    },
];

fn too_large() -> Expected {
    problem(&[413], "too_large")
}

fn malformed() -> Expected {
    problem(&[400], "malformed")
}

fn no_such_coding() -> Expected {
    problem(&[415], "unsupported_format").header("accept-encoding", "gzip, zstd")
}

fn json(endpoint: &Endpoint, label: &'static str, body: &[u8], expected: Expected) -> Exchange {
    Exchange::send(label, post(endpoint, "", body)).answer(expected).after(After::Stays)
}

fn coded(endpoint: &Endpoint, coding: &str, body: &[u8], expected: Expected) -> Exchange {
    let bytes = post(endpoint, &format!("Content-Encoding: {coding}\r\n"), body);
    Exchange::send(format!("{coding}, {} bytes", body.len()), bytes).answer(expected).after(After::Stays)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("a vector takes all bytes")
}

/// One frame; with a window of 2^`window` bytes unless that is 0.
fn zstd(data: &[u8], window: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("level 1 exists");
    if window > 0 {
        encoder.window_log(window).and_then(|()| encoder.include_contentsize(false)).expect("the window can be");
    }
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("a vector takes all bytes")
}
