//! One head, from its first byte to its empty line. It may be looked at again and again while it grows; no byte is looked at
//! more than twice.
use super::{
    Fault, Limits,
    lines::{self, RequestLine, is_token},
};
use memchr::memchr;

/// Empty lines before a request line that are read over (RFC 9112, section 2.2).
const EMPTY_LINES_MAX: u8 = 4;
/// What a request line has besides its target: room for any registered method, two spaces and the version.
const AROUND_TARGET_MAX: usize = 64;

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A head that is being read. Offsets count from its first byte.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Up to here no line end was found after `line`.
    searched: usize,
    /// Where the line begins that is not complete.
    line: usize,
    request: Option<RequestLine>,
    empty_lines: u8,
    headers: usize,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    /// Whether the request is known to be HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.request.is_some_and(|request| request.is_head)
    }

    /// Looks at all bytes of the head that have come so far. `Some`: it is complete, has this length, and frames its body so.
    pub(super) fn scan(&mut self, head: &[u8], limits: &Limits) -> Result<Option<(usize, Framing)>, Fault> {
        while let Some(found) = memchr(b'\n', &head[self.searched..]) {
            let end = self.searched + found;
            // In the order in which the bytes came, so that a cut between them changes nothing.
            self.check_beginning(head)?;
            self.check_size(end + 1, limits)?;
            let line = head[self.line..end].strip_suffix(b"\r").ok_or(Fault::BareLf)?;
            (self.line, self.searched) = (end + 1, end + 1);
            if self.take(line, limits)? {
                return Ok(Some((end + 1, self.finish()?)));
            }
        }
        self.searched = head.len();
        self.check_beginning(head)?;
        self.check_size(head.len(), limits)?;
        Ok(None)
    }

    /// What is no HTTP at all is refused at once, also when no line end ever comes.
    fn check_beginning(&self, head: &[u8]) -> Result<(), Fault> {
        match head.get(self.line) {
            Some(byte) if self.request.is_none() && !is_token(*byte) && !matches!(byte, b'\r' | b'\n') => {
                Err(Fault::Method)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// `seen` bytes of the head have come.
    fn check_size(&self, seen: usize, limits: &Limits) -> Result<(), Fault> {
        if self.request.is_none() && seen - self.line > limits.target_max + AROUND_TARGET_MAX {
            return Err(Fault::TargetTooLong);
        }
        if seen > limits.head_max { Err(Fault::HeadTooLarge) } else { Ok(()) }
    }

    /// Takes one line. Returns whether it was the last.
    fn take(&mut self, line: &[u8], limits: &Limits) -> Result<bool, Fault> {
        if self.request.is_some() {
            if line.is_empty() {
                return Ok(true);
            }
            self.take_field(line, limits)?;
        } else if line.is_empty() {
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES_MAX {
                return Err(Fault::EmptyLines);
            }
        } else {
            self.request = Some(lines::request_line(line, limits.target_max)?);
        }
        Ok(false)
    }

    fn take_field(&mut self, line: &[u8], limits: &Limits) -> Result<(), Fault> {
        self.headers += 1;
        if self.headers > limits.headers_max {
            return Err(Fault::TooManyHeaders);
        }
        let (name, value) = lines::field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(Fault::TwoHosts);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Fault::TwoContentLengths);
                }
                self.length = Some(lines::content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Fault::TwoTransferEncodings);
                }
                lines::transfer_encoding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What only the whole head can tell.
    fn finish(&self) -> Result<Framing, Fault> {
        let is_11 = self.request.is_some_and(|request| request.is_11);
        if self.hosts == 0 && is_11 {
            return Err(Fault::NoHost);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Fault::LengthAndCoding),
            (None, true) if !is_11 => Err(Fault::CodingInHttp10),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}
