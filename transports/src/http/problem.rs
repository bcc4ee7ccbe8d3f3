//! A request that was refused before a message was handed over, and problem bodies (RFC 9457).
use super::{guard::Fault, json};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use schemas::{Refusal, Word};
use std::{borrow::Cow, time::Duration};

/// Every body that the listener sends is complete and small.
pub(super) type Answer = Response<Full<Bytes>>;

/// The challenges of a 401 (RFC 9110, section 11.6.1).
const CHALLENGES: HeaderValue = HeaderValue::from_static("Bearer realm=\"anygate\", Basic realm=\"anygate\"");
/// The methods of `/events` (RFC 9110, section 10.2.1).
pub(super) const ALLOW: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Nothing was kept: why, and with which status.
#[derive(Debug)]
pub(super) struct Problem {
    /// The failure word.
    pub(super) word: Word,
    status: StatusCode,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, HeaderValue)>,
    /// The connection cannot be trusted to be in step any more.
    pub(super) closes: bool,
}

impl Problem {
    /// With the word's own status.
    pub(super) fn new(word: Word, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem {
            word,
            status: status_of(word),
            detail: detail.into(),
            retry_after: None,
            header: None,
            closes: word == Word::ProtocolError,
        }
    }

    /// With a more exact status than the word's.
    pub(super) fn with_status(word: Word, status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem { status, ..Problem::new(word, detail) }
    }

    /// HTTP itself was broken: 400, and the connection closes.
    pub(super) fn protocol(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(Word::ProtocolError, detail)
    }

    /// With one more header.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// As a refusal, for who asks without a connection.
    pub(super) fn into_refusal(self) -> Refusal {
        Refusal { retry_after: self.retry_after, ..Refusal::new(self.word, self.detail) }
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let mut body = Body::new(self.word, self.status, &self.detail);
        body.retry_after = self.retry_after;
        let mut answer = body.into_answer();
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

impl From<Fault> for Problem {
    /// A request that the guard refused is the last of its connection, whatever its word.
    fn from(fault: Fault) -> Self {
        let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Problem { closes: true, ..Problem::with_status(fault.word(), status, fault.detail()) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem { retry_after: refusal.retry_after, ..Problem::new(refusal.word, refusal.detail) }
    }
}

/// A problem's body while it is written.
pub(super) struct Body {
    word: Word,
    status: StatusCode,
    text: Vec<u8>,
    /// For the header `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

impl Body {
    pub(super) fn new(word: Word, status: StatusCode, detail: &str) -> Self {
        let mut text = Vec::with_capacity(256 + detail.len());
        text.extend_from_slice(b"{\"type\":\"urn:anygate:error:");
        text.extend_from_slice(word.as_str().as_bytes());
        text.extend_from_slice(b"\",\"title\":");
        json::string(&mut text, word.entry().title);
        text.extend_from_slice(b",\"status\":");
        text.extend_from_slice(status.as_str().as_bytes());
        text.extend_from_slice(b",\"detail\":");
        json::string(&mut text, detail);
        text.extend_from_slice(b",\"failure\":\"");
        text.extend_from_slice(word.as_str().as_bytes());
        text.push(b'"');
        Body { word, status, text, retry_after: None }
    }

    /// Where members can be added, each with its comma before.
    pub(super) fn members(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// The answer, with the headers that its status asks for.
    pub(super) fn into_answer(mut self) -> Answer {
        self.text.push(b'}');
        let mut answer = answer(self.status, PROBLEM_JSON, self.text);
        let headers = answer.headers_mut();
        let must_say = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if must_say || self.retry_after.is_some() {
            retry_after(headers, self.retry_after.unwrap_or_default());
        }
        match self.word {
            Word::Unauthenticated => headers.insert(header::WWW_AUTHENTICATE, CHALLENGES),
            Word::MethodNotAllowed => headers.insert(header::ALLOW, ALLOW),
            _ => None,
        };
        answer
    }
}

/// An answer with a body.
pub(super) fn answer(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// The status of a refusal with this word.
pub(super) fn status_of(word: Word) -> StatusCode {
    StatusCode::from_u16(word.entry().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// `Retry-After` in whole seconds, rounded up, at least one (RFC 9110, section 10.2.3).
fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}
