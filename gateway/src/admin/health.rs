//! `/livez` and `/readyz`. Liveness never looks at backends, and neither does readiness: while one is down the journal keeps
//! what comes for it, and taking the gateway out of its load balancer would turn a late delivery into a refusal.
use super::{Api, status::Status};
use crate::vital;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemas::Word;
use serde::{Deserialize, Serialize};
use std::{fmt::Write as _, sync::Arc};

/// A part that keeps the gateway from taking messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// `journal` or `gateway`.
    pub part: String,
    /// The failure word.
    pub failure: String,
    /// What exactly.
    pub detail: String,
}

impl Api {
    /// What keeps the gateway from being ready; nothing when it is.
    pub fn failing(&self) -> Vec<Failing> {
        let failing = |part: &str, word: Word, detail: String| Failing {
            part: part.to_owned(),
            failure: word.as_str().to_owned(),
            detail,
        };
        let mut found = Vec::new();
        if let Some(failure) = self.shared.journal.failure() {
            found.push(failing(
                "journal",
                Word::Internal,
                format!("its disk failed: {}: {}", failure.what, failure.error),
            ));
        }
        if self.shared.journal.stats().full {
            let detail =
                "every segment holds events that a lane still needs: see which lane is behind in `anygate status`";
            found.push(failing("journal", Word::StorageFull, detail.to_owned()));
        }
        if let Some(what) = self.shared.vital.broken() {
            found.push(failing("gateway", Word::Internal, what));
        }
        if self.shared.is_leaving() {
            found.push(failing("gateway", Word::ShuttingDown, "it is stopping".to_owned()));
        }
        found
    }
}

/// `ok`, unless a part without which nothing is acknowledged stands still. Then only a new start helps.
pub async fn livez(State(api): State<Arc<Api>>) -> Response {
    match vital::stuck(&api.shared, vital::STILL) {
        None => "ok\n".into_response(),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")).into_response(),
    }
}

/// 200 or 503 with the failing parts and their words; with `?verbose` everything in plain words.
pub async fn readyz(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let verbose =
        query.is_some_and(|query| query.split('&').any(|key| key == "verbose" || key.starts_with("verbose=")));
    let failing = api.failing();
    let mut text = String::new();
    if verbose {
        match Status::take(&api).await {
            Ok(status) => text = status.plain(),
            Err(fault) => return fault.into_response(),
        }
    }
    // Writing to a String cannot fail.
    let _written = match failing.first() {
        None => writeln!(text, "ready"),
        Some(_) => failing
            .iter()
            .try_for_each(|part| writeln!(text, "not ready: {} {}: {}", part.part, part.failure, part.detail)),
    };
    let code = if failing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text).into_response()
}
