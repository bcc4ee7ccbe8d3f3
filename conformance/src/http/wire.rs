//! One connection by hand: bytes out, answers in. It repairs nothing and retries nothing.
use crate::{
    cut::{Cut, Pen},
    suite::{Credentials, Endpoint},
};
use std::{
    fmt,
    io::{self, ErrorKind, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Most bytes of one answer's head, and of its body.
const ANSWER_MAX: usize = 1024 * 1024;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The wait between two looks for an early answer.
const LOOK: Duration = Duration::from_millis(5);

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The lines after the status line, names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text().chars().take(160).collect();
        write!(f, "{} {}", self.status, shown.escape_debug())
    }
}

/// What came instead of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The connection ended.
    Closed,
    /// Nothing more came in time.
    Silence,
    /// Bytes that are no answer.
    Garbage(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Closed => f.write_str("closed without an answer"),
            NoAnswer::Silence => f.write_str("no answer in time"),
            NoAnswer::Garbage(text) => write!(f, "no HTTP: {text:?}"),
        }
    }
}

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    pen: Pen,
    cut: Cut,
    read: Vec<u8>,
    patience: Duration,
}

impl Wire {
    pub(super) fn connect(endpoint: &Endpoint) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&endpoint.address, CONNECT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(endpoint.patience))?;
        let pen = Pen::new(stream.try_clone()?, &endpoint.cut);
        let (cut, patience) = (endpoint.cut.clone(), endpoint.patience);
        Ok(Wire { stream, pen, cut, read: Vec::new(), patience })
    }

    /// Sends what can be sent: an endpoint may answer and close in the middle, and then its answer counts. Returns whether all
    /// of it went out.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.pen.write(bytes).is_ok()
    }

    /// Sends what is no part of the row, and never cut: a look at what the row left behind.
    pub(super) fn send_whole(&mut self, bytes: &[u8]) -> bool {
        self.pen.write_whole(bytes).is_ok()
    }

    /// Another handle to send by, while this one reads.
    pub(super) fn sender(&self) -> io::Result<Pen> {
        Ok(Pen::new(self.stream.try_clone()?, &self.cut))
    }

    /// Waits so long, or until something comes. Returns whether something came.
    pub(super) fn pause(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let mut byte = [0];
        let mut came = !self.read.is_empty();
        while !came && Instant::now() < until {
            std::thread::sleep(LOOK.min(time));
            came = !matches!(self.stream.peek(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock);
        }
        came | self.stream.set_nonblocking(false).is_err()
    }

    /// The next answer.
    pub(super) fn answer(&mut self) -> Result<Answer, NoAnswer> {
        let until = Instant::now() + self.patience;
        let head = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                let rest = self.read.split_off(at + 4);
                break std::mem::replace(&mut self.read, rest);
            }
            if self.read.len() > ANSWER_MAX {
                return Err(garbage(&self.read));
            }
            self.more(until).map_err(|end| if self.read.is_empty() { end } else { garbage(&self.read) })?;
        };
        let mut answer = parse_head(&head).ok_or_else(|| garbage(&head))?;
        if answer.status < 200 || answer.status == 204 {
            return Ok(answer);
        }
        answer.body = if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| garbage(&head))?;
            self.exactly(length, until)?
        } else if answer.header("transfer-encoding").is_some() {
            self.chunks(until)?
        } else {
            self.rest(until)?
        };
        Ok(answer)
    }

    /// Waits for the end of the connection. Err: what came instead.
    pub(super) fn end(&mut self) -> Result<(), NoAnswer> {
        if !self.read.is_empty() {
            return Err(garbage(&self.read));
        }
        match self.more(Instant::now() + self.patience) {
            Ok(()) => Err(garbage(&self.read)),
            Err(NoAnswer::Closed) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// So many bytes.
    pub(super) fn exactly(&mut self, count: usize, until: Instant) -> Result<Vec<u8>, NoAnswer> {
        if count > ANSWER_MAX {
            return Err(NoAnswer::Garbage(format!("{count} bytes announced")));
        }
        while self.read.len() < count {
            self.more(until)?;
        }
        let rest = self.read.split_off(count);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    fn chunks(&mut self, until: Instant) -> Result<Vec<u8>, NoAnswer> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.read, b"\r\n") {
                    Some(end) => break end,
                    None => self.more(until)?,
                }
            };
            let line = self.exactly(end + 2, until)?;
            let digits = String::from_utf8_lossy(&line[..end]).into_owned();
            let size = usize::from_str_radix(digits.trim(), 16).map_err(|_| garbage(&line))?;
            body.extend(self.exactly(size, until)?);
            self.exactly(2, until)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn rest(&mut self, until: Instant) -> Result<Vec<u8>, NoAnswer> {
        loop {
            match self.more(until) {
                Ok(()) if self.read.len() <= ANSWER_MAX => {}
                Ok(()) => return Err(garbage(&self.read)),
                Err(NoAnswer::Closed) => return Ok(std::mem::take(&mut self.read)),
                Err(other) => return Err(other),
            }
        }
    }

    fn more(&mut self, until: Instant) -> Result<(), NoAnswer> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
            return Err(NoAnswer::Silence);
        }
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(NoAnswer::Closed),
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(NoAnswer::Silence),
            // A reset is an end too.
            Err(_) => Err(NoAnswer::Closed),
        }
    }
}

fn parse_head(head: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
        .collect::<Option<_>>()?;
    Some(Answer { status, headers, body: Vec::new() })
}

fn find(within: &[u8], wanted: &[u8]) -> Option<usize> {
    within.windows(wanted.len()).position(|window| window == wanted)
}

fn garbage(bytes: &[u8]) -> NoAnswer {
    NoAnswer::Garbage(String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned())
}

/// The line that lets a request in, with its end; empty without credentials.
pub(super) fn authorization(endpoint: &Endpoint) -> String {
    match &endpoint.credentials {
        None => String::new(),
        Some(Credentials::Token(token)) => format!("Authorization: Bearer {token}\r\n"),
        Some(Credentials::Password { name, password }) => {
            format!("Authorization: Basic {}\r\n", base64(format!("{name}:{password}").as_bytes()))
        }
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn heads_are_read() {
        let answer = parse_head(b"HTTP/1.1 400 Bad Request\r\nConnection: Close\r\n\r\n");
        assert_eq!(answer.map(|answer| answer.headers), Some(vec![("connection".into(), "Close".into())]));
        for wrong in ["HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"] {
            assert_eq!(parse_head(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
