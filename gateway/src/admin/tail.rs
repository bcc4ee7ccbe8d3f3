//! `/api/tail`: events as they pass, for people who watch. It costs senders nothing: who reads slowly misses events, and is told
//! how many.
use super::{
    Api,
    fault::ApiFault,
    lines::{Gone, Lines},
    rfc3339,
};
use crate::{router::view::Seen, telemetry::ring::Tailed};
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use cesql::Expression;
use schemas::{EventView, Word, json};
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::broadcast::error::RecvError;
use transports::net::Shutdown;

/// Live tails at a time.
pub const TAILS_MAX: usize = 16;
/// An empty line after this much silence, so that a dead connection is noticed.
const PULSE: Duration = Duration::from_secs(15);

/// The query of a tail.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TailQuery {
    /// Only events for which this CESQL expression is true.
    #[serde(rename = "where")]
    pub predicate: Option<String>,
}

/// Events from now on, as JSON lines: `{"time","outcome","failure","routes","event"}`, or `{"skipped": N}`.
pub async fn get(
    State(api): State<Arc<Api>>,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Result<Response, ApiFault> {
    let Query(query) = query.map_err(|rejection| ApiFault::new(Word::Malformed, rejection.body_text()))?;
    let predicate = match &query.predicate {
        None => None,
        Some(text) => {
            Some(Expression::compile(text).map_err(|error| ApiFault::new(Word::Malformed, format!("where: {error}")))?)
        }
    };
    let permit = Arc::clone(&api.tails).try_acquire_owned();
    let permit = permit.map_err(|_| ApiFault::new(Word::Overloaded, format!("{TAILS_MAX} live tails run already")))?;
    // Subscribed before the answer: what comes after the answer's head is seen.
    let events = api.shared.ring.tail();
    let (lines, response) = Lines::open();
    tokio::spawn(async move {
        let _permit = permit;
        let _gone = follow(&api, events, predicate.as_ref(), &lines).await;
    });
    Ok(response)
}

async fn follow(
    api: &Api,
    mut events: tokio::sync::broadcast::Receiver<Tailed>,
    predicate: Option<&Expression>,
    lines: &Lines,
) -> Result<(), Gone> {
    let mut stop = api.stop.clone();
    loop {
        let next = tokio::select! {
            next = events.recv() => next,
            () = stopped(&mut stop) => return Ok(()),
            () = lines.closed() => return Err(Gone),
            () = tokio::time::sleep(PULSE) => {
                lines.send(Vec::new()).await?;
                continue;
            }
        };
        match next {
            Ok(event) => {
                let view = EventView { envelope: &event.envelope, door: &event.door };
                // A predicate that errs does not match, as in a route.
                if predicate.is_none_or(|predicate| predicate.matches(&Seen(view)).unwrap_or(false)) {
                    lines.send(line(&event)).await?;
                }
            }
            Err(RecvError::Lagged(skipped)) => {
                api.shared.metrics.tail_skipped.inc_by(skipped);
                lines.send(format!("{{\"skipped\":{skipped}}}").into_bytes()).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn stopped(stop: &mut Option<Shutdown>) {
    match stop {
        Some(stop) => stop.fired().await,
        None => std::future::pending().await,
    }
}

fn line(event: &Tailed) -> Vec<u8> {
    let (outcome, failure) = event.outcome;
    let routes: Vec<&str> = event.routes.iter().map(schemas::ByteStr::as_str).collect();
    let head = serde_json::json!({ "time": rfc3339(SystemTime::now()), "outcome": outcome, "failure": failure, "routes": routes });
    let mut out = head.to_string().into_bytes();
    // The object stays open for the event, which is written as it is.
    out.pop();
    out.extend_from_slice(b",\"event\":");
    json::write_event_line(&mut out, &event.envelope, Some(&event.door));
    out.push(b'}');
    out
}
