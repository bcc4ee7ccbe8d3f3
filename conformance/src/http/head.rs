//! Rows about the request line and the headers.
use super::row::{After, Ask, Exchange, Expected, Row, head, post, problem, request, status};
use crate::suite::Endpoint;

const LIMITS: &str = "the limits that are documented for the listener";

/// See the module's documentation.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H01",
        title: "binary garbage as the request line",
        section: "RFC 9112, section 3",
        ask: Ask::Exchanges(|_| {
            vec![
                Exchange::send("bytes", b"\x01\x02\x80\xff garbage\r\n\r\n".as_slice()).answer(malformed()),
                Exchange::send("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice())
                    .answer(malformed()),
                Exchange::send("no version", "POST /events\r\n\r\n").answer(malformed()),
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
        name: "H03",
        title: "two Hosts",
        section: "RFC 9112, section 3.2",
        ask: Ask::Exchanges(|endpoint| {
            let same = format!("Host: {}\r\n", endpoint.host);
            refuse(endpoint, &[("equal ones", same.as_str()), ("different ones", "Host: other.example\r\n")])
        }),
    },
    Row {
        name: "H04",
        title: "Content-Length and Transfer-Encoding together",
        section: "RFC 9112, section 6.3",
        ask: Ask::Exchanges(|endpoint| {
            [
                ("length first", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
                ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
            ]
            .map(|(label, headers)| {
                let smuggled = request(endpoint, headers, b"0\r\n\r\nPOST /events HTTP/1.1\r\nHost: x\r\n\r\n");
                Exchange::send(label, smuggled).answer(malformed())
            })
            .into()
        }),
    },
    Row {
        name: "H05",
        title: "two Transfer-Encoding headers",
        section: "RFC 9112, section 6.1",
        ask: Ask::Exchanges(|endpoint| {
            refuse(endpoint, &[("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")])
        }),
    },
    Row {
        name: "H06",
        title: "a last transfer coding that is not chunked",
        section: "RFC 9112, section 6.3",
        ask: Ask::Exchanges(|endpoint| {
            refuse(
                endpoint,
                &[
                    ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
                    ("xchunked", "Transfer-Encoding: xchunked\r\n"),
                    ("none", "Transfer-Encoding:\r\n"),
                ],
            )
        }),
    },
    Row {
        name: "H07",
        title: "a transfer coding in HTTP/1.0",
        section: "RFC 9112, section 6.1",
        ask: Ask::Exchanges(|endpoint| {
            let old =
                head(endpoint, "POST /events HTTP/1.0") + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
            vec![Exchange::send("chunked", old).answer(malformed())]
        }),
    },
    Row {
        name: "H08",
        title: "two different Content-Length headers",
        section: "RFC 9110, section 8.6",
        ask: Ask::Exchanges(|endpoint| refuse(endpoint, &[("2 and 3", "Content-Length: 2\r\nContent-Length: 3\r\n")])),
    },
    Row {
        name: "H09",
        title: "two equal Content-Length headers, which could be merged",
        section: "RFC 9110, section 8.6: refusing is the strict choice",
        ask: Ask::Exchanges(|endpoint| {
            let two = "Content-Length: 2\r\nContent-Length: 2\r\n";
            refuse(endpoint, &[("two lines", two), ("a list", "Content-Length: 2, 2\r\n")])
        }),
    },
    Row {
        name: "H10",
        title: "a Content-Length that is no decimal number",
        section: "RFC 9110, section 8.6",
        ask: Ask::Exchanges(|endpoint| {
            refuse(
                endpoint,
                &[
                    ("+3", "Content-Length: +3\r\n"),
                    ("-1", "Content-Length: -1\r\n"),
                    ("2^64", "Content-Length: 18446744073709551616\r\n"),
                    ("0x3", "Content-Length: 0x3\r\n"),
                    ("a space behind it (strict)", "Content-Length: 3 \r\n"),
                    ("nothing", "Content-Length:\r\n"),
                ],
            )
        }),
    },
    Row {
        name: "H14",
        title: "a space before a colon, a folded line, NUL and bare CR in a value",
        section: "RFC 9112, sections 5.1 and 5.2; RFC 9110, section 5.5",
        ask: Ask::Exchanges(|endpoint| {
            refuse(
                endpoint,
                &[
                    ("a space before the colon", "X-Kept : 1\r\n"),
                    ("a folded line", "X-Kept: 1\r\n folded\r\n"),
                    ("NUL", "X-Kept: a\0b\r\n"),
                    ("bare CR", "X-Kept: a\rb\r\n"),
                    ("no colon", "X-Kept\r\n"),
                ],
            )
        }),
    },
    Row {
        name: "H15",
        title: "bare LF line ends",
        section: "RFC 9112, section 2.2",
        ask: Ask::Exchanges(|endpoint| {
            let all = head(endpoint, "POST /events HTTP/1.1").replace("\r\n", "\n") + "Content-Length: 2\n\n{}";
            let last = head(endpoint, "POST /events HTTP/1.1") + "Content-Length: 2\r\n\n{}";
            let one = head(endpoint, "POST /events HTTP/1.1") + "Content-Length: 2\n\r\n{}";
            [("all lines", all), ("the empty line", last), ("one header", one)]
                .map(|(label, bytes)| Exchange::send(label, bytes).answer(malformed()))
                .into()
        }),
    },
    Row {
        name: "H16",
        title: "more than 64 headers",
        section: "RFC 6585, section 5",
        ask: Ask::Exchanges(|endpoint| {
            let few = 64 - head(endpoint, "").matches("\r\n").count();
            let with = |count: usize| post(endpoint, &"X-A: 1\r\n".repeat(count), b"{}");
            vec![
                // The first CRLF ends the request line; Content-Type and Content-Length are two more.
                Exchange::send("64 headers", with(few - 1)).answer(status(&[202])).after(After::Stays),
                Exchange::send("65 headers", with(few)).answer(problem(&[431], "too_large")),
                Exchange::send("101 headers", with(few + 36)).answer(problem(&[431], "too_large")),
            ]
        }),
    },
    Row {
        name: "H17",
        title: "a header of 60 KB and of 500 KB",
        section: "RFC 6585, section 5",
        ask: Ask::Exchanges(|endpoint| {
            [60_000, 500_000]
                .map(|size| {
                    let large = request(endpoint, &format!("X-Large: {}\r\n", "x".repeat(size)), b"");
                    Exchange::send(format!("{size} bytes"), large).answer(problem(&[431], "too_large"))
                })
                .into()
        }),
    },
    Row {
        name: "H18",
        title: "a target of 9 KiB, 60 KB and 70 KB",
        section: "RFC 9110, section 15.5.15",
        ask: Ask::Exchanges(|endpoint| {
            [9 * 1024, 60_000, 70_000]
                .map(|size| {
                    let line = format!("POST /events/{} HTTP/1.1", "t".repeat(size));
                    let long = head(endpoint, &line) + "Content-Length: 0\r\n\r\n";
                    Exchange::send(format!("{size} bytes"), long).answer(problem(&[414], "too_large"))
                })
                .into()
        }),
    },
    Row {
        name: "H19",
        title: "HTTP/2.0 and HTTP/3.7 in the request line",
        section: "RFC 9110, section 15.6.6",
        ask: Ask::Exchanges(|endpoint| {
            ["HTTP/2.0", "HTTP/3.7"]
                .map(|version| {
                    let bytes = head(endpoint, &format!("POST /events {version}")) + "\r\n";
                    Exchange::send(version, bytes).answer(problem(&[505], "protocol_error"))
                })
                .into()
        }),
    },
    Row {
        name: "H20",
        title: "an absolute target with another authority than Host",
        section: "RFC 9112, section 3.2.2",
        ask: Ask::Exchanges(|endpoint| {
            let to = |authority: &str| {
                let line = format!("POST http://{authority}/events HTTP/1.1");
                head(endpoint, &line) + "Content-Length: 2\r\n\r\n{}"
            };
            vec![
                Exchange::send("another", to("other.example")).answer(malformed()),
                Exchange::send("with user information", to(&format!("me@{}", endpoint.host))).answer(malformed()),
                Exchange::send("the same", to(&endpoint.host)).answer(status(&[202])).after(After::Stays),
            ]
        }),
    },
    Row {
        name: "H21",
        title: "another method on a known path",
        section: "RFC 9110, section 15.5.6",
        ask: Ask::Exchanges(|endpoint| {
            ["GET", "DELETE", "BREW"]
                .map(|method| {
                    Exchange::send(method, head(endpoint, &format!("{method} /events HTTP/1.1")) + "\r\n")
                        .answer(problem(&[405], "method_not_allowed").header("allow", ""))
                        .after(After::Stays)
                })
                .into()
        }),
    },
    Row {
        name: "H22",
        title: "an expectation that nobody knows",
        section: "RFC 9110, section 15.5.18",
        ask: Ask::Exchanges(|endpoint| {
            let expects = post(endpoint, "Expect: 200-maybe\r\n", b"{}");
            vec![Exchange::send("200-maybe", expects).answer(problem(&[417], "protocol_error"))]
        }),
    },
    Row {
        name: "H23",
        title: "Expect: 100-continue without credentials",
        section: "RFC 9110, section 10.1.1: no 100 before the 401",
        ask: Ask::Guarded(|endpoint| {
            let nobody = format!(
                "POST /events HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
                endpoint.host
            );
            let refused = problem(&[401], "unauthenticated").header("www-authenticate", "");
            vec![Exchange::send("without credentials", nobody).answer(refused)]
        }),
    },
    Row {
        name: "H50",
        title: "dot segments, NUL and overlong UTF-8 in the type of the path",
        section: "RFC 3986, sections 2.1 and 5.2.4; RFC 3629, section 3",
        ask: Ask::Exchanges(|endpoint| {
            let to = |path: &str| head(endpoint, &format!("POST {path} HTTP/1.1")) + "Content-Length: 2\r\n\r\n{}";
            let mut exchanges: Vec<Exchange> = ["..", "%2e%2e", "%00", "%c0%ae", "%ff", "%0d%0a", "%zz"]
                .map(|part| {
                    Exchange::send(part, to(&format!("/events/{part}")))
                        .answer(problem(&[400], "malformed"))
                        .after(After::Stays)
                })
                .into();
            for path in ["/events/../events", "/events/a/b", "/"] {
                exchanges.push(Exchange::send(path, to(path)).answer(problem(&[404], "not_found")).after(After::Stays));
            }
            exchanges
        }),
    },
    Row {
        name: "H51",
        title: "Authorization twice, Basic without a colon, a token of 100 KB",
        section: "RFC 9110, section 11.6.2; RFC 7617, section 2",
        ask: Ask::Exchanges(|endpoint| {
            let with = |lines: &str| {
                let host = &endpoint.host;
                format!("POST /events HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: 2\r\n\r\n{{}}")
            };
            let refused = || problem(&[401], "unauthenticated").header("www-authenticate", "");
            let twice = "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n";
            let long = format!("Authorization: Bearer {}\r\n", "t".repeat(100_000));
            vec![
                Exchange::send("twice", with(twice)).answer(refused()).after(After::Either),
                Exchange::send("no colon", with("Authorization: Basic bm9jb2xvbg==\r\n"))
                    .answer(refused())
                    .after(After::Either),
                Exchange::send("100 KB", with(&long)).answer(problem(&[431], "too_large")),
            ]
        }),
    },
    Row {
        name: "H52",
        title: "spoofed X-Forwarded-For and Forwarded; a PROXY line",
        section: LIMITS,
        ask: Ask::Exchanges(|endpoint| {
            let spoofed = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n";
            let good = post(endpoint, "", b"{}");
            let proxied = [b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".as_slice(), &good].concat();
            let binary = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[0; 12], &good].concat();
            vec![
                Exchange::send("headers", post(endpoint, spoofed, b"{}")).answer(status(&[202])).after(After::Stays),
                Exchange::send("PROXY line", proxied).answer(malformed()),
                Exchange::send("PROXY version 2", binary).answer(malformed()),
            ]
        }),
    },
];

/// What breaks HTTP itself: 400, and nothing after it is read.
pub(super) fn malformed() -> Expected {
    problem(&[400], "protocol_error").header("connection", "close")
}

/// Requests with these header lines, each refused as [`malformed`].
fn refuse(endpoint: &Endpoint, headers: &[(&'static str, &str)]) -> Vec<Exchange> {
    headers
        .iter()
        .map(|(label, lines)| Exchange::send(*label, request(endpoint, lines, b"{}")).answer(malformed()))
        .collect()
}
