//! The validation handshake of CloudEvents web hooks (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
//!
//! Every origin is allowed, at any rate: what counts is that deliveries themselves are authenticated. So the handshake asks
//! for no credentials, which senders do not give here anyway.
use super::problem::{ALLOW, Answer, Problem};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schemas::Word;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// Answers OPTIONS: always with `Allow`, and with the permission when it was asked for.
///
/// # Errors
/// `malformed` when more than one origin asks.
pub(super) fn handshake(headers: &HeaderMap) -> Result<Answer, Problem> {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::OK;
    let said = answer.headers_mut();
    said.insert(header::ALLOW, ALLOW);
    let mut origins = headers.get_all(REQUEST_ORIGIN).iter();
    if let Some(origin) = origins.next() {
        if origins.next().is_some() {
            return Err(Problem::new(Word::Malformed, "more than one WebHook-Request-Origin header"));
        }
        said.insert(ALLOWED_ORIGIN, origin.clone());
        said.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(answer)
}
