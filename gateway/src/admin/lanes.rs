//! `/api/lanes`: what waits where, and the ways to empty a lane without its backend.
//!
//! Moving and throwing away go through the same queue as reloads: a lane is never looked after by two at a time.
use super::{Api, fault::ApiFault, rfc3339, status};
use crate::{
    lanes::Lane,
    runtime::reload::{LaneWork, NotNow},
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use journal::LaneId;
use schemas::Word;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneRow {
    /// Its place in the journal; stable, whatever its name.
    pub id: u8,
    /// The backend's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `well`, `trouble`, or `leaving`: the config has the backend no more, and the lane goes when it is empty.
    pub state: String,
    /// Events that wait.
    pub pending: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// The most bytes that may wait; 0: no limit.
    pub quota: u64,
    /// Bytes of its backlog's files on the disk, beside the ring.
    pub backlog_bytes: u64,
    /// When the oldest waiting event was received, if it was found.
    pub oldest: Option<String>,
    /// Why it is stuck, if it is.
    pub why: Option<String>,
}

/// What is to be done with a lane's events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The backend whose lane it is.
    pub from: String,
    /// The backend that gets them; only for a move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// Events that went.
    pub events: u64,
}

type Body = Result<Json<Change>, JsonRejection>;

/// All lanes.
pub async fn list(State(api): State<Arc<Api>>) -> Result<Json<Vec<LaneRow>>, ApiFault> {
    let rows = api.scan(|api| Ok(api.shared.lanes().iter().map(|lane| row(api, lane)).collect())).await?;
    Ok(Json(rows))
}

fn row(api: &Api, lane: &Arc<Lane>) -> LaneRow {
    let stats = LaneId::new(lane.id).map(|id| api.shared.journal.lane_stats(id)).unwrap_or_default();
    let trouble = lane.health.trouble();
    let known = api.live.now().config.backends.get(&lane.name).is_some();
    let state = match (known, &trouble) {
        (false, _) => "leaving",
        (true, Some(_)) => "trouble",
        (true, None) => "well",
    };
    LaneRow {
        id: lane.id,
        name: lane.name.to_string(),
        kind: lane.backend.kind().to_owned(),
        state: state.to_owned(),
        pending: stats.pending,
        pending_bytes: stats.pending_bytes,
        quota: stats.quota,
        backlog_bytes: stats.backlog_bytes,
        oldest: (stats.pending > 0).then(|| status::oldest(api, lane)).flatten().map(rfc3339),
        why: trouble.map(|trouble| format!("{}: {}", trouble.word, trouble.why)),
    }
}

/// Hands a lane's events to another lane.
pub async fn hand_over(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Changed>, ApiFault> {
    let change = read(body)?;
    let to = change.to.ok_or_else(|| ApiFault::new(Word::Malformed, "say where to: {\"from\":…,\"to\":…}"))?;
    work(&api, LaneWork::Move { from: change.from, to }).await
}

/// Throws a lane's events away, counted.
pub async fn discard(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Changed>, ApiFault> {
    let change = read(body)?;
    if change.to.is_some() {
        return Err(ApiFault::new(Word::Malformed, "a discard goes nowhere: leave out \"to\""));
    }
    work(&api, LaneWork::Discard { lane: change.from }).await
}

fn read(body: Body) -> Result<Change, ApiFault> {
    let Json(change) = body.map_err(|rejection| ApiFault::new(Word::Malformed, rejection.body_text()))?;
    Ok(change)
}

async fn work(api: &Arc<Api>, work: LaneWork) -> Result<Json<Changed>, ApiFault> {
    let reload = api.reload.as_ref().ok_or_else(|| ApiFault::new(Word::NotFound, "this gateway's lanes are fixed"))?;
    match reload.lanes(work).await {
        Ok(Ok(events)) => Ok(Json(Changed { events })),
        Ok(Err(why)) => Err(ApiFault::new(Word::NotFound, why)),
        Err(NotNow::TooMany) => Err(ApiFault::new(Word::Overloaded, "too many such requests wait already")),
        Err(NotNow::Stopping) => Err(ApiFault::new(Word::ShuttingDown, "the gateway is stopping")),
    }
}
