//! Whatever is fed, and however it is cut, the guard says the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
use super::*;

const LIMITS: Limits = Limits { head_max: 32 * 1024, headers_max: 64, target_max: 8 * 1024 };

const GET: &str = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";

fn chunked(body: &str) -> String {
    format!("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn with(headers: &str) -> String {
    format!("POST /events HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// Input, and its fault.
fn table() -> Vec<(String, Option<Fault>)> {
    let mut rows: Vec<(String, Option<Fault>)> = fine().into_iter().map(|input| (input, None)).collect();
    for (broken, fault) in broken_heads().into_iter().chain(broken_bodies()) {
        rows.push((format!("{GET}{broken}"), Some(fault)));
        rows.push((broken, Some(fault)));
    }
    rows
}

fn fine() -> Vec<String> {
    vec![
        GET.to_owned(),
        format!("\r\n\r\n{GET}{GET}"),
        "POST /events HTTP/1.0\r\n\r\n".to_owned(),
        with("Content-Length: 5\r\n") + "a\n\0b\r" + GET,
        with("CONTENT-length:  3\r\nX: \u{e9}\ty\r\n") + "abc",
        chunked("3\r\nabc\r\n0\r\n\r\n") + GET,
        chunked("003;a=\"b\";c\r\nabc\r\nA\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\nOther:\t2\r\n\r\n") + GET,
        chunked("1 \t;a\r\nx\r\n0\r\n\r\n"),
    ]
}

fn broken_heads() -> Vec<(String, Fault)> {
    use Fault as F;
    vec![
        ("\u{1}garbage".to_owned(), F::Method),
        ("\u{16}\u{3}\u{1}".to_owned(), F::Method),
        ("\nGET / HTTP/1.1\r\n".to_owned(), F::BareLf),
        ("\r\n".repeat(5), F::EmptyLines),
        ("POST /events HTTP/1.1\r\n\r\n".to_owned(), F::NoHost),
        ("POST / HTTP/2.0\r\n".to_owned(), F::Version),
        ("POST / HTTP/1.1\nHost: x\r\n\r\n".to_owned(), F::BareLf),
        ("POST /a b HTTP/1.1\r\n".to_owned(), F::RequestLine),
        ("CONNECT x:1 HTTP/1.1\r\n".to_owned(), F::Connect),
        (with("host: y\r\n"), F::TwoHosts),
        (with("Content-Length: 3\r\nContent-Length: 3\r\n"), F::TwoContentLengths),
        (with("Content-Length: +3\r\n"), F::ContentLength),
        (with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), F::LengthAndCoding),
        (with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), F::LengthAndCoding),
        (with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), F::TwoTransferEncodings),
        (with("Transfer-Encoding: xchunked\r\n"), F::TransferEncoding),
        (with("Transfer-Encoding: gzip, chunked\r\n"), F::UnknownCoding),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), F::CodingInHttp10),
        (with("X : 1\r\n"), F::FieldName),
        (with("X: 1\r\n  folded\r\n"), F::Folded),
        (with("X: a\0b\r\n"), F::FieldValue),
        (with("X: a\rb\r\n"), F::FieldValue),
        (with("X: 1\n"), F::BareLf),
        (with(&"X: 1\r\n".repeat(64)), F::TooManyHeaders),
        (with(&format!("X: {}\r\n", "x".repeat(40_000))), F::HeadTooLarge),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(8192)), F::TargetTooLong),
        (format!("GET /{}", "x".repeat(60_000)), F::TargetTooLong),
    ]
}

fn broken_bodies() -> Vec<(String, Fault)> {
    use Fault as F;
    vec![
        (chunked("\r\n"), F::ChunkSize),
        (chunked("-1\r\n"), F::ChunkSize),
        (chunked("0x3\r\n"), F::ChunkSize),
        (chunked("3 \r\n"), F::ChunkSize),
        (chunked("10000000000000000\r\n"), F::ChunkSize),
        (chunked("8000000000000000\r\n"), F::ChunkSize),
        (chunked("3\nabc\r\n"), F::ChunkEnd),
        (chunked("3;a\nabc\r\n"), F::ChunkEnd),
        (chunked("3\rabc\r\n"), F::ChunkEnd),
        (chunked("3\r\nabcd\r\n"), F::ChunkEnd),
        (chunked("3\r\nabc\n0\r\n\r\n"), F::ChunkEnd),
        (chunked(&format!("3;{}\r\n", "x".repeat(5000))), F::ChunkExtension),
        (chunked(&"1;x\r\na\r\n".repeat(3000)), F::ChunkExtension),
        (chunked("0\r\n folded\r\n\r\n"), F::Trailer),
        (chunked("0\r\nX: 1\n\r\n"), F::Trailer),
        (chunked("0\r\nno colon\r\n\r\n"), F::Trailer),
        (chunked("0\r\nContent-Length: 3\r\n\r\n"), F::TrailerForbidden),
        (chunked("0\r\nAUTHORIZATION: x\r\n\r\n"), F::TrailerForbidden),
        (chunked(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000))), F::TrailersTooLarge),
        (chunked(&format!("0\r\n{}\r\n", "X: 1\r\n".repeat(65))), F::TrailersTooLarge),
    ]
}

/// Feeds the input in these pieces, as a connection does. Returns the bytes that passed and what came last.
fn run(input: &[u8], pieces: impl IntoIterator<Item = usize>) -> (usize, Next) {
    let mut guard = Guard::new(LIMITS);
    let (mut passed, mut came) = (0, 0);
    let mut next = Next::More;
    let mut pieces = pieces.into_iter();
    loop {
        if next == Next::More {
            if came == input.len() {
                return (passed, next);
            }
            came = (came + pieces.next().unwrap_or(usize::MAX).max(1).min(input.len())).min(input.len());
        }
        let fed = guard.feed(&input[passed..came]);
        passed += fed.pass;
        next = fed.next;
        if matches!(next, Next::Head(..) | Next::Body(_)) {
            return (passed, next);
        }
    }
}

fn fault_of(next: Next) -> Option<Fault> {
    match next {
        Next::Head(fault, _) | Next::Body(fault) => Some(fault),
        Next::More | Next::Full => None,
    }
}

#[test]
fn every_row_of_the_table() {
    for (input, fault) in table() {
        let (passed, next) = run(input.as_bytes(), []);
        let shown = &input[..input.len().min(90)];
        assert_eq!(fault_of(next), fault, "{shown:?}");
        if fault.is_none() {
            assert_eq!(passed, input.len(), "{shown:?}");
        }
    }
}

#[test]
fn every_cut_gives_the_same() {
    for (input, _) in table() {
        let input = input.as_bytes();
        let whole = run(input, []);
        let shown = String::from_utf8_lossy(&input[..input.len().min(90)]).into_owned();
        // Long inputs repeat themselves: their ends are enough.
        let cuts = (1..input.len()).filter(|at| *at < 300 || *at > input.len() - 100 || at % 997 == 0);
        for at in cuts {
            assert_eq!(run(input, [at]), whole, "{shown:?} cut at {at}");
        }
        assert_eq!(run(input, std::iter::repeat(1)), whole, "{shown:?} byte by byte");
        assert_eq!(run(input, std::iter::repeat(7)), whole, "{shown:?} by sevens");
    }
}

#[test]
fn random_bytes_after_a_good_start_give_the_same_in_any_pieces() {
    // xorshift, so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut dice = |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % sides).unwrap()
    };
    let rows = table();
    for _ in 0..3000 {
        let mut input = rows[dice(rows.len() as u64)].0.clone().into_bytes();
        input.truncate(2000);
        for _ in 0..dice(4) {
            let at = dice(input.len() as u64);
            input[at] = *b"\r\n\0 :0a;\t\xff".get(dice(10)).unwrap();
        }
        let whole = run(&input, []);
        let pieces: Vec<usize> = (0..200).map(|_| dice(40)).collect();
        assert_eq!(run(&input, pieces), whole, "{:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn a_refused_head_never_passes_and_a_body_passes_up_to_its_fault() {
    let broken = with("Content-Length: 3\r\nContent-Length: 3\r\n");
    assert_eq!(run(format!("{GET}{broken}").as_bytes(), []).0, GET.len());
    let head = chunked("");
    assert_eq!(run(chunked("3\nabc").as_bytes(), []).0, head.len() + 1);
    let (_, next) = run(b"HEAD / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", []);
    assert_eq!(next, Next::Head(Fault::TwoHosts, true));
}

#[test]
fn a_long_pipeline_passes_in_parts() {
    let input = GET.repeat(1000);
    let mut guard = Guard::new(LIMITS);
    let fed = guard.feed(input.as_bytes());
    assert_eq!(fed, Fed { pass: PIPELINED_MAX * GET.len(), next: Next::Full });
    assert_eq!(run(input.as_bytes(), []), (input.len(), Next::More));
}

#[test]
fn what_the_guard_lets_into_a_target_is_a_uri_to_the_server() {
    for byte in 0x21..0x7fu8 {
        for target in [format!("/a{}", char::from(byte)), format!("/a?{}", char::from(byte))] {
            let passed = run(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), []).1 == Next::More;
            assert!(!passed || http::Uri::try_from(&target).is_ok(), "{target}");
        }
    }
}
