//! Faults of the admin API: `{"failure": WORD, "detail": "…"}` with the word's HTTP status.
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemas::Word;
use serde::{Deserialize, Serialize};

/// What the admin API says when it cannot do what was asked.
#[derive(Clone, Debug)]
pub struct ApiFault {
    /// The failure word; it knows the HTTP status.
    pub word: Word,
    /// What exactly.
    pub detail: String,
}

/// The body of such an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultBody {
    /// The failure word.
    pub failure: String,
    /// What exactly.
    pub detail: String,
}

impl ApiFault {
    /// A fault with its explanation.
    pub fn new(word: Word, detail: impl Into<String>) -> Self {
        ApiFault { word, detail: detail.into() }
    }

    /// The body for answers and for the last line of a stream.
    pub fn body(&self) -> FaultBody {
        FaultBody { failure: self.word.as_str().to_owned(), detail: self.detail.clone() }
    }
}

impl IntoResponse for ApiFault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.word.entry().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body())).into_response()
    }
}
