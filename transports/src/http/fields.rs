//! The header fields that mean something here, found in one pass, and what HTTP forbids that hyper lets through.
//!
//! hyper itself refuses what it cannot parse (400, 431, 414) and hides some of what it repairs: two equal Content-Length
//! headers arrive here as one, and Content-Length is gone beside Transfer-Encoding.
use super::{problem::Problem, settings::HttpSettings};
use http::{HeaderMap, HeaderValue, StatusCode, Version, request::Parts, uri::Authority};
use schemas::Word;

/// A field that may come once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Field<'a> {
    #[default]
    Absent,
    Once(&'a HeaderValue),
    Repeated,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Field::Absent => Field::Once(value),
            Field::Once(_) | Field::Repeated => Field::Repeated,
        };
    }

    /// The value, if it came.
    ///
    /// # Errors
    /// `protocol_error` when it came more than once.
    pub(super) fn at_most_once(self, name: &'static str) -> Result<Option<&'a HeaderValue>, Problem> {
        match self {
            Field::Absent => Ok(None),
            Field::Once(value) => Ok(Some(value)),
            Field::Repeated => Err(Problem::protocol(format!("more than one {name} header"))),
        }
    }
}

/// The fields of one request.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) authorization: Field<'a>,
    pub(super) content_encoding: Field<'a>,
    pub(super) content_length: Field<'a>,
    pub(super) content_type: Field<'a>,
    pub(super) expect: Field<'a>,
    pub(super) host: Field<'a>,
    pub(super) idempotency_key: Field<'a>,
    pub(super) traceparent: Field<'a>,
    pub(super) transfer_encoding: Field<'a>,
    /// A header of the CloudEvents binding came.
    pub(super) cloud_event: bool,
    /// `Prefer: handling=lenient` (RFC 7240, section 4.4).
    pub(super) lenient: bool,
    /// `tracestate` came; it may be split over several headers.
    pub(super) tracestate: bool,
}

impl<'a> Fields<'a> {
    /// Looks at every header once.
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut fields = Fields::default();
        for (name, value) in headers {
            match name.as_str() {
                "authorization" => fields.authorization.add(value),
                "content-encoding" => fields.content_encoding.add(value),
                "content-length" => fields.content_length.add(value),
                "content-type" => fields.content_type.add(value),
                "expect" => fields.expect.add(value),
                "host" => fields.host.add(value),
                "idempotency-key" => fields.idempotency_key.add(value),
                "traceparent" => fields.traceparent.add(value),
                "transfer-encoding" => fields.transfer_encoding.add(value),
                "prefer" => fields.lenient |= asks_lenient(value),
                "tracestate" => fields.tracestate = true,
                name if name.starts_with("ce-") => fields.cloud_event = true,
                _ => {}
            }
        }
        fields
    }

    /// Refuses what HTTP forbids.
    ///
    /// # Errors
    /// 400 `protocol_error`; 414 and 431 `too_large`; 417 for an expectation other than `100-continue`; 501 for a transfer
    /// coding other than `chunked`.
    pub(super) fn check(&self, head: &Parts, settings: &HttpSettings) -> Result<(), Problem> {
        if head.headers.len() > settings.headers_max {
            let detail = format!("{} headers, at most {} are taken", head.headers.len(), settings.headers_max);
            return Err(Problem::with_status(Word::TooLarge, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
        }
        check_target(head, settings)?;
        self.check_host(head)?;
        self.content_length.at_most_once("Content-Length")?;
        let coding = self.transfer_encoding.at_most_once("Transfer-Encoding")?;
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            let detail = "the only transfer coding taken is chunked";
            return Err(Problem::with_status(Word::ProtocolError, StatusCode::NOT_IMPLEMENTED, detail));
        }
        match self.expect {
            Field::Absent => Ok(()),
            Field::Once(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
            Field::Once(_) | Field::Repeated => {
                let detail = "the only expectation met is 100-continue";
                Err(Problem::with_status(Word::ProtocolError, StatusCode::EXPECTATION_FAILED, detail))
            }
        }
    }

    /// RFC 9112, section 3.2; RFC 9113, section 8.3.1. HTTP/1.0 may come without a host.
    fn check_host(&self, head: &Parts) -> Result<(), Problem> {
        let host = self.host.at_most_once("Host")?;
        let target = head.uri.authority();
        if target.is_none() && host.is_some_and(is_plain_host) {
            return Ok(());
        }
        let host = host.map(authority).transpose()?;
        if target.is_some_and(|target| target.as_str().contains('@')) {
            return Err(Problem::protocol("the target holds user information"));
        }
        match (target, host) {
            (Some(target), Some(host)) => {
                let same = host.is_some_and(|host| same_place(target, &host, head.uri.scheme_str()));
                if same { Ok(()) } else { Err(Problem::protocol("the target names another authority than Host")) }
            }
            (None, None) if head.version >= Version::HTTP_11 => Err(Problem::protocol("the Host header is missing")),
            (Some(_), None) if head.version == Version::HTTP_11 => Err(Problem::protocol("the Host header is missing")),
            (_, _) => Ok(()),
        }
    }
}

fn check_target(head: &Parts, settings: &HttpSettings) -> Result<(), Problem> {
    let length = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > settings.target_max {
        let detail = format!("the request target has {length} bytes, at most {} are taken", settings.target_max);
        return Err(Problem::with_status(Word::TooLarge, StatusCode::URI_TOO_LONG, detail));
    }
    Ok(())
}

/// Whether it is a name or an IPv4 address with or without a port, which is nearly every host there is: no need to take it apart.
fn is_plain_host(host: &HeaderValue) -> bool {
    let mut parts = host.as_bytes().splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let name_fits = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    let port_fits = |port: &[u8]| {
        (1..=4).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
            || port.len() == 5 && port.iter().all(u8::is_ascii_digit) && port <= &b"65535"[..]
    };
    name_fits && parts.next().is_none_or(port_fits)
}

/// The host, or `None` for the empty one.
fn authority(host: &HeaderValue) -> Result<Option<Authority>, Problem> {
    if host.is_empty() {
        return Ok(None);
    }
    match Authority::try_from(host.as_bytes()) {
        Ok(host) if !host.as_str().contains('@') => Ok(Some(host)),
        Ok(_) | Err(_) => Err(Problem::protocol("the Host header is no host and port")),
    }
}

fn same_place(one: &Authority, other: &Authority, scheme: Option<&str>) -> bool {
    let default = if scheme == Some("https") { 443 } else { 80 };
    let port = |place: &Authority| place.port_u16().unwrap_or(default);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

fn asks_lenient(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    text.split(',').any(|preference| {
        let word = preference.split(';').next().unwrap_or_default();
        let Some((name, value)) = word.split_once('=') else { return false };
        name.trim().eq_ignore_ascii_case("handling") && value.trim().trim_matches('"').eq_ignore_ascii_case("lenient")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lenient_is_asked_for_by_rfc_7240() {
        for value in ["handling=lenient", "respond-async, Handling = \"Lenient\"", "handling=lenient; x=1"] {
            assert!(asks_lenient(&HeaderValue::from_static(value)), "{value}");
        }
        for value in ["", "lenient", "handling=strict", "xhandling=lenient", "handling=lenientx"] {
            assert!(!asks_lenient(&HeaderValue::from_static(value)), "{value}");
        }
    }
}
