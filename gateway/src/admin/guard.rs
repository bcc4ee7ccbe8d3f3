//! Who may ask: a token when there is one, the right `Host` on loopback, and a bounded number of requests.
//!
//! The `Host` check is against DNS rebinding: a web page can make its own name point at 127.0.0.1, but not change the name that
//! the browser sends. A foreign `Origin` is refused for the same reason. `/livez` and `/readyz` need no token.
use super::{Api, fault::ApiFault};
use crate::{auth::Auth, config::model::Config};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use schemas::Word;
use settings::Lookup;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tokio::sync::Semaphore;
use transports::Credentials;

/// Requests that are worked on at a time; more are refused with `overloaded`.
pub const REQUESTS_MAX: usize = 64;

/// The check in front of every request.
pub struct Guard {
    token: Option<Auth>,
    /// Legal names in `Host`; `None`: all.
    names: Option<Vec<String>>,
    requests: Semaphore,
}

impl Guard {
    /// The check that the config asks for.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn new(config: &Config, env: &Lookup<'_>) -> Result<Self, String> {
        let token = match &config.admin.token {
            None => None,
            Some(secret) => {
                let text = secret.read(&config.folder, env).map_err(|what| format!("admin.token: {what}"))?;
                Some(Auth::Token { token: text.expose().trim_end().as_bytes().into(), principal: "admin".into() })
            }
        };
        let listen = &config.admin.listen;
        let names = listen.is_loopback().then(|| {
            let own = listen.host().trim_matches(['[', ']']).to_ascii_lowercase();
            vec![own, "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]
        });
        Ok(Guard { token, names, requests: Semaphore::new(REQUESTS_MAX) })
    }

    fn allows(&self, path: &str, headers: &HeaderMap) -> Result<(), ApiFault> {
        self.host(headers)?;
        if path == "/livez" || path == "/readyz" {
            return Ok(());
        }
        let Some(token) = &self.token else { return Ok(()) };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let credentials = shown.map_or(Credentials::None, Credentials::Bearer);
        let nobody = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match token.authenticate(nobody, credentials) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(ApiFault::new(
                Word::Unauthenticated,
                format!("{}: send Authorization: Bearer TOKEN", refusal.detail),
            )),
        }
    }

    fn host(&self, headers: &HeaderMap) -> Result<(), ApiFault> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST);
        if let Some(names) = &self.names {
            let name = host.map(host_name).unwrap_or_default();
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let detail =
                    format!("the Host header says {name:?}; this address answers to localhost and 127.0.0.1 only");
                return Err(ApiFault::new(Word::Forbidden, detail));
            }
        }
        match text(header::ORIGIN) {
            Some(origin) if origin.split_once("://").map(|(_, authority)| authority) != host => {
                Err(ApiFault::new(Word::Forbidden, "a page of another origin may not ask"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Lets a request through, or says why not.
pub async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if let Err(fault) = api.guard.allows(request.uri().path(), request.headers()) {
        return fault.into_response();
    }
    // Liveness must be answered however busy the rest is.
    if request.uri().path() == "/livez" {
        return next.run(request).await;
    }
    let Ok(_permit) = api.guard.requests.try_acquire() else {
        return ApiFault::new(Word::Overloaded, format!("{REQUESTS_MAX} requests are being worked on already"))
            .into_response();
    };
    next.run(request).await
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The name in a `Host` header, without port and brackets.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>) -> Guard {
        Guard {
            token: token.map(|token| Auth::Token { token: token.as_bytes().into(), principal: "admin".into() }),
            names: Some(vec!["127.0.0.1".to_owned(), "localhost".to_owned(), "::1".to_owned()]),
            requests: Semaphore::new(1),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn foreign_hosts_and_origins_are_refused() {
        let guard = guard(None);
        for fine in ["127.0.0.1:8700", "localhost", "LocalHost:1", "[::1]:8700"] {
            guard.allows("/api/status", &headers(&[("host", fine)])).unwrap();
        }
        for foreign in ["evil.example:8700", "127.0.0.1.evil.example", "", "169.254.169.254"] {
            let fault = guard.allows("/livez", &headers(&[("host", foreign)])).unwrap_err();
            assert_eq!(fault.word, Word::Forbidden, "{foreign}");
        }
        guard.allows("/", &headers(&[("host", "localhost:1"), ("origin", "http://localhost:1")])).unwrap();
        guard.allows("/", &headers(&[("host", "localhost:1"), ("origin", "http://evil.example")])).unwrap_err();
    }

    #[test]
    fn the_token_guards_all_but_health() {
        let guard = guard(Some("s3cret"));
        let with = |value: &str| headers(&[("host", "localhost"), ("authorization", value)]);
        for open in ["/livez", "/readyz"] {
            guard.allows(open, &headers(&[("host", "localhost")])).unwrap();
        }
        guard.allows("/metrics", &with("Bearer s3cret")).unwrap();
        guard.allows("/metrics", &with("bearer s3cret")).unwrap();
        for wrong in ["Bearer s3cre", "Bearer", "Basic s3cret", ""] {
            assert_eq!(guard.allows("/api/status", &with(wrong)).unwrap_err().word, Word::Unauthenticated, "{wrong}");
        }
    }
}
