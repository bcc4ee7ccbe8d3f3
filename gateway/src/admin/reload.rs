//! `POST /api/reload`: the config is read again and put in force, or not; the answer says which, and why.
//!
//! 200 with `"outcome":"applied"` and the difference, 422 with `"outcome":"rejected"` and the faults: never success for a request
//! that was skipped.
use super::{Api, fault::ApiFault};
use crate::runtime::reload::NotNow;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemas::Word;
use std::sync::Arc;

/// Reloads, and answers when it is done.
pub async fn post(State(api): State<Arc<Api>>) -> Result<Response, ApiFault> {
    let reload = api.reload.as_ref().ok_or_else(|| {
        ApiFault::new(Word::NotFound, "this gateway was not started from a config that can be read again")
    })?;
    let answer = reload.ask().await.map_err(|not_now| match not_now {
        NotNow::TooMany => ApiFault::new(Word::Overloaded, "too many reloads wait already"),
        NotNow::Stopping => ApiFault::new(Word::ShuttingDown, "the gateway is stopping; nothing was reloaded"),
    })?;
    let status = if answer.is_applied() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, Json(answer)).into_response())
}
