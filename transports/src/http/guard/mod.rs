//! The HTTP/1 wire guard: looks at the bytes of a connection before the server behind it does, and refuses what that server
//! would hide, repair or answer without a word (RFC 9112; request smuggling).
//!
//! [`Guard::feed`] is a pure state machine over the bytes: heads are scanned line by line, bodies are counted. It promises the
//! same answer however the bytes were cut, that nothing of a refused head reaches the server, and that the server sees a body
//! up to the byte before its fault.
//!
//! What it deliberately does not do: it copies and keeps no bytes, repairs nothing, and knows no header that does not frame
//! the message. Whether target and Host name the same place is looked at behind it, with all headers at hand.
mod chunks;
mod fault;
mod head;
mod lines;
#[cfg(test)]
mod tests;

use chunks::Chunks;
pub use fault::Fault;
use head::{Framing, Head};

/// Requests that are passed on at once; the rest of a pipeline waits as bytes.
pub const PIPELINED_MAX: usize = 32;

/// The limits on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the request line and the headers.
    pub head_max: usize,
    /// Most headers.
    pub headers_max: usize,
    /// Most bytes of the request target.
    pub target_max: usize,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// So many of them may pass. The rest belongs to a head that is not complete or not clean: it is given again, with what
    /// comes behind it.
    pub pass: usize,
    /// What comes after them.
    pub next: Next,
}

/// What comes after the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes.
    More,
    /// [`PIPELINED_MAX`] heads passed; the rest is given again later.
    Full,
    /// A head that is refused, perhaps of a HEAD request. Nothing after it is read.
    Head(Fault, IsHead),
    /// The body whose first bytes have passed is broken here. Nothing after it is read.
    Body(Fault),
}

/// Whether the request is HEAD, so that its answer has no body.
pub type IsHead = bool;

/// The guard of one connection.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Head(Head),
    Length(u64),
    // Rare, and large: most bodies have a length.
    Chunked(Box<Chunks>),
    Refused(Next),
}

impl Guard {
    /// The guard of a new connection.
    pub fn new(limits: Limits) -> Self {
        Guard { limits, phase: Phase::Head(Head::default()) }
    }

    /// Looks at bytes: first those that the last call did not pass, then new ones.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut at = 0;
        let mut heads = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.phase {
                Phase::Head(_) if heads == PIPELINED_MAX => return Fed { pass: at, next: Next::Full },
                Phase::Head(head) => match head.scan(rest, &self.limits) {
                    Ok(Some((length, framing))) => {
                        at += length;
                        heads += 1;
                        self.phase = match framing {
                            Framing::Length(0) => Phase::Head(Head::default()),
                            Framing::Length(length) => Phase::Length(length),
                            Framing::Chunked => Phase::Chunked(Box::default()),
                        };
                    }
                    Ok(None) => break,
                    Err(fault) => self.phase = Phase::Refused(Next::Head(fault, head.is_head())),
                },
                Phase::Length(left) => {
                    let counted = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= counted as u64;
                    at += counted;
                    if *left == 0 {
                        self.phase = Phase::Head(Head::default());
                    }
                }
                Phase::Chunked(chunks) => match chunks.feed(rest) {
                    Ok((length, ended)) => {
                        at += length;
                        if ended {
                            self.phase = Phase::Head(Head::default());
                        }
                    }
                    Err((length, fault)) => {
                        at += length;
                        self.phase = Phase::Refused(Next::Body(fault));
                    }
                },
                Phase::Refused(next) => return Fed { pass: at, next: *next },
            }
        }
        Fed { pass: at, next: Next::More }
    }
}
