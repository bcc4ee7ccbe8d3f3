//! One HTTP/1.1 connection under load: prebuilt request bytes, one write a request, and of the answer only what is needed.
//!
//! No HTTP library: the generator shares the machine with the server, so its own cost is kept to the two system calls.
use super::{
    Load,
    pace::Pace,
    tally::{Live, Tally},
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// How several events become one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `application/cloudevents-batch+json`: every event with an id of its own.
    JsonBatch,
    /// `application/x-ndjson`: a bare event per line.
    Ndjson,
}

/// A pause before a lost connection is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 20;
/// Digits of an event's number in a batch.
const DIGITS: usize = 16;

/// The bytes of a request, and where the numbers of its events stand.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    numbers: Vec<usize>,
    events: u64,
}

impl Request {
    /// A request with `batch` events of `size` bytes of data each.
    pub fn new(host: &str, path: &str, size: usize, batch: usize, format: Format) -> Request {
        let data = data(size);
        let (content_type, body) = match (batch, format) {
            (1, _) => ("application/json", data),
            (_, Format::Ndjson) => ("application/x-ndjson", format!("{data}\n").repeat(batch)),
            (_, Format::JsonBatch) => {
                let event = format!(
                    "{{\"specversion\":\"1.0\",\"id\":\"#{:0>DIGITS$}\",\"source\":\"/bench/{:08x}\",\"type\":\"com.acme.bench\",\"data\":{data}}}",
                    0,
                    crate::random::u32(),
                );
                ("application/cloudevents-batch+json", format!("[{}]", vec![event; batch].join(",")))
            }
        };
        let path = if batch == 1 { format!("{path}/com.acme.bench") } else { path.to_owned() };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let numbered = batch > 1 && format == Format::JsonBatch;
        let places = body.match_indices("\"id\":\"#").filter(|_| numbered).map(|(at, _)| head.len() + at + 7).collect();
        Request {
            bytes: (head + &body).into_bytes(),
            numbers: places,
            events: u64::try_from(batch).unwrap_or(u64::MAX),
        }
    }

    /// Gives every event of the next request its own number.
    fn number(&mut self, mut next: u64) {
        for at in &self.numbers {
            let mut rest = next;
            for digit in self.bytes[*at..*at + DIGITS].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
            next += 1;
        }
    }
}

/// A JSON object of so many bytes, at least 8.
pub fn data(size: usize) -> String {
    format!("{{\"n\":\"{}\"}}", "x".repeat(size.saturating_sub(8)))
}

/// An answer, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    unknown: bool,
    /// The server closes the connection after it.
    close: bool,
    /// All its bytes.
    size: usize,
}

/// Reads the answer at the beginning of `bytes`; `None` when more bytes are needed.
fn answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > ANSWER_MAX { Err(broken("an endless answer")) } else { Ok(None) };
    };
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.filter(|_| bytes.starts_with(b"HTTP/1.")).ok_or_else(|| broken("no HTTP/1.1 answer"))?;
    let length = |line: &[u8]| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:")
            .then(|| std::str::from_utf8(value).ok()?.trim().parse::<usize>().ok())?
    };
    let length = bytes[..end].split(|byte| *byte == b'\n').find_map(length).unwrap_or(0);
    if length > ANSWER_MAX {
        return Err(broken("an endless answer"));
    }
    let size = end + 4 + length;
    let Some(body) = bytes.get(end + 4..size) else { return Ok(None) };
    let mark = b"\"outcome\":\"unknown\"";
    let unknown = status >= 500 && body.windows(mark.len()).any(|part| part == mark);
    let closing = |line: &[u8]| line.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"connection: close"));
    let close = bytes[..end].split(|byte| *byte == b'\n').any(closing);
    Ok(Some(Answer { status, unknown, close, size }))
}

/// Sends until the time is over; opens the connection again when it is lost.
pub async fn connection(load: Load, mut pace: Pace, mut request: Request, number: usize) -> Tally {
    let mut tally = Tally::default();
    // Numbers of different connections never meet.
    let mut next = u64::try_from(number).unwrap_or(0) * 1_000_000_000_000;
    let mut read = Vec::with_capacity(4096);
    let mut open: Option<TcpStream> = None;
    while !pace.is_over() {
        let stream = match &mut open {
            Some(stream) => stream,
            None => match load.connect().await {
                Ok(stream) => {
                    tally.connections += 1;
                    read.clear();
                    open.insert(stream)
                }
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let from = pace.wait().await;
        request.number(next);
        next += request.events;
        tally.sent += request.events;
        Live::add(&load.live.sent, request.events);
        let asked = timeout(load.patience, ask(stream, &request.bytes, &mut read)).await;
        match asked {
            Ok(Ok(answer)) => {
                count(&load, &mut tally, answer, request.events, from.elapsed());
                if answer.close {
                    open = None;
                }
            }
            // No answer: nobody knows what became of it. The next message gets a new connection.
            Ok(Err(_)) | Err(_) => {
                tally.lost += request.events;
                Live::add(&load.live.bad, request.events);
                open = None;
            }
        }
        if !read.is_empty() {
            // An answer that nobody asked for.
            tally.duplicated += 1;
            open = None;
        }
    }
    tally.behind = pace.behind() * request.events;
    tally
}

async fn ask(stream: &mut TcpStream, request: &[u8], read: &mut Vec<u8>) -> io::Result<Answer> {
    stream.write_all(request).await?;
    loop {
        if let Some(answer) = answer(read)? {
            read.drain(..answer.size);
            return Ok(answer);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn count(load: &Load, tally: &mut Tally, answer: Answer, events: u64, took: Duration) {
    tally.times.add(took);
    if (200..300).contains(&answer.status) {
        tally.acked += events;
        Live::add(&load.live.acked, events);
        return;
    }
    Live::add(&load.live.bad, events);
    if answer.unknown {
        tally.unknown += events;
    } else {
        tally.refuse(answer.status.to_string(), events);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_what_was_asked_for() {
        let request = Request::new("h", "/events", 100, 1, Format::JsonBatch);
        assert!(request.bytes.starts_with(b"POST /events/com.acme.bench HTTP/1.1\r\n"));
        assert_eq!(data(100).len(), 100);
        let mut request = Request::new("h", "/events", 20, 3, Format::JsonBatch);
        request.number(7);
        let text = String::from_utf8(request.bytes).unwrap();
        let body: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        let ids: Vec<&str> = body.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["#0000000000000007", "#0000000000000008", "#0000000000000009"]);
        assert_eq!(Request::new("h", "/events", 20, 3, Format::Ndjson).events, 3);
    }

    #[test]
    fn answers_are_read_as_far_as_needed() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\n{}HTTP";
        assert_eq!(
            answer(bytes).unwrap(),
            Some(Answer { status: 202, unknown: false, close: false, size: bytes.len() - 4 })
        );
        assert_eq!(answer(&bytes[..20]).unwrap(), None);
        assert_eq!(answer(&bytes[..bytes.len() - 5]).unwrap(), None);
        let unknown = b"HTTP/1.1 503 x\r\ncontent-length: 21\r\nConnection: close\r\n\r\n{\"outcome\":\"unknown\"}";
        let answered = answer(unknown).unwrap().unwrap();
        assert!(answered.unknown && answered.close);
        assert!(answer(b"SMTP/1.1 202 x\r\n\r\n").is_err());
    }
}
