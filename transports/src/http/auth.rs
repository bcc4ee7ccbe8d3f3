//! The `Authorization` header: Bearer (RFC 6750) and Basic (RFC 7617), turned into credentials for the gateway.
use super::problem::Problem;
use crate::{Credentials, Intake};
use base64::{Engine, engine::general_purpose::STANDARD};
use schemas::{Refusal, Word};

/// Asks the gateway who shows this header value; no header is [`Credentials::None`].
///
/// # Errors
/// `unauthenticated`: the gateway says no, another scheme, Basic that is not Base64 of UTF-8 `user:password`.
pub(super) fn check(intake: &mut Intake, header: Option<&[u8]>) -> Result<(), Problem> {
    let Some(header) = header else {
        return intake.authenticate(Credentials::None).map_err(Problem::from);
    };
    let (scheme, value) =
        split(header).ok_or_else(|| unreadable("the Authorization header has no scheme and value"))?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return intake.authenticate(Credentials::Bearer(value)).map_err(Problem::from);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unreadable("the Authorization scheme is neither Bearer nor Basic"));
    }
    let decoded = STANDARD.decode(value).map_err(|_| unreadable("Basic credentials are not Base64"))?;
    let colon =
        decoded.iter().position(|byte| *byte == b':').ok_or_else(|| unreadable("Basic credentials have no colon"))?;
    let user = std::str::from_utf8(&decoded[..colon]).map_err(|_| unreadable("the Basic user name is not UTF-8"))?;
    intake.authenticate(Credentials::Password { user, password: &decoded[colon + 1..] }).map_err(Problem::from)
}

fn split(header: &[u8]) -> Option<(&str, &str)> {
    let (scheme, value) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let value = value.trim_matches(' ');
    if scheme.is_empty() || value.is_empty() { None } else { Some((scheme, value)) }
}

fn unreadable(detail: &'static str) -> Problem {
    Refusal::new(Word::Unauthenticated, detail).into()
}
