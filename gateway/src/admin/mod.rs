//! The admin address: health, metrics, and the API behind the commands. Plain HTTP and JSON, so that `curl` works.
//!
//! ```text
//! GET  /livez  /readyz[?verbose]  /metrics
//! GET  /api/status
//! GET  /api/trace/{trace or event id}
//! GET  /api/tail?where=CESQL                     JSON lines until somebody hangs up
//! GET  /api/dlq?failure=&backend=&since=&limit=  JSON lines, oldest first
//! GET  /api/dlq/{lsn}
//! GET  /api/lanes
//! POST /api/lanes/move  /api/lanes/discard       {"from":…,"to":…} | {"from":…}
//! POST /api/reload                               the config is read again: {"generation","outcome",…}
//! POST /api/dlq/replay  /api/dlq/discard         {"lsn":[…]} | {"all":true} | {"failure":…} | {"backend":…}; JSON lines
//! ```
//! What cannot be done is `{"failure","detail"}` ([`fault`]). Everything here is bounded: requests, tails, scans of the
//! journal, bodies; nothing here ever makes a sender wait.
pub mod dlq;
pub mod fault;
pub mod figures;
pub mod guard;
pub mod health;
pub mod lanes;
pub mod letters;
pub mod lines;
pub mod reload;
pub mod replay;
pub mod status;
pub mod stores;
pub mod tail;
pub mod trace;

use crate::{
    config::model::Config,
    runtime::{Live, reload::Reload},
    state::Shared,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::header,
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use fault::ApiFault;
use guard::Guard;
use jiff::Timestamp;
use schemas::Word;
use settings::Lookup;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Semaphore;
use transports::net::{Listening, Shutdown};

/// Largest body of a request: some 50,000 LSNs.
const BODY_MAX: usize = 1024 * 1024;
/// Scans of the journal or a store at a time: each reads from the disk that senders wait for.
const SCANS_MAX: usize = 4;

/// What the admin API works on.
pub struct Api {
    shared: Arc<Shared>,
    guard: Guard,
    live: Arc<Live>,
    /// `None`: the config cannot be read again.
    reload: Option<Reload>,
    /// Replays and discards: one at a time, so that no letter is sent twice.
    changes: Arc<tokio::sync::Mutex<()>>,
    scans: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    /// Fired when the gateway stops; set when it begins to serve.
    stop: Option<Shutdown>,
}

impl Api {
    /// The API of a running gateway.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn new(
        config: &Config,
        shared: Arc<Shared>,
        live: Arc<Live>,
        reload: Option<Reload>,
        env: &Lookup<'_>,
    ) -> Result<Self, String> {
        Ok(Api {
            guard: Guard::new(config, env)?,
            live,
            reload,
            changes: Arc::new(tokio::sync::Mutex::new(())),
            scans: Arc::new(Semaphore::new(SCANS_MAX)),
            tails: Arc::new(Semaphore::new(tail::TAILS_MAX)),
            stop: None,
            shared,
        })
    }

    /// Runs `work`, which reads from a disk, where it blocks nobody.
    ///
    /// # Errors
    /// `overloaded` when too many such requests run, or what `work` says.
    async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Api) -> Result<T, ApiFault> + Send + 'static,
    ) -> Result<T, ApiFault> {
        let permit = Arc::clone(&self.scans).try_acquire_owned();
        let permit =
            permit.map_err(|_| ApiFault::new(Word::Overloaded, format!("{SCANS_MAX} scans run already; ask again")))?;
        let api = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&api)
        });
        done.await.unwrap_or_else(|error| Err(ApiFault::new(Word::Internal, error.to_string())))
    }
}

/// A time as RFC 3339, in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default()
}

fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics))
        .route("/api/status", get(status::get))
        .route("/api/lanes", get(lanes::list))
        .route("/api/lanes/move", post(lanes::hand_over))
        .route("/api/lanes/discard", post(lanes::discard))
        .route("/api/reload", post(reload::post))
        .route("/api/trace/{*id}", get(trace::get))
        .route("/api/tail", get(tail::get))
        .route("/api/dlq", get(dlq::list))
        .route("/api/dlq/{lsn}", get(dlq::show))
        .route("/api/dlq/replay", post(dlq::replay))
        .route("/api/dlq/discard", post(dlq::discard))
        .fallback(|| async { ApiFault::new(Word::NotFound, "there is no such path; see `anygate help`") })
        .method_not_allowed_fallback(|| async {
            ApiFault::new(Word::MethodNotAllowed, "this path is asked with another method")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(api), guard::check))
        .with_state(Arc::clone(api))
}

/// Serves until it is stopped.
pub async fn serve(listening: Listening, api: Api, mut stop: Shutdown) {
    let api = Arc::new(Api { stop: Some(stop.clone()), ..api });
    let router = router(&api);
    let mut signal = stop.clone();
    let served =
        axum::serve(listening.into_inner(), router).with_graceful_shutdown(async move { signal.fired().await });
    // A request that reads slowly does not hold up the end.
    tokio::select! {
        ended = served => {
            if let Err(error) = ended {
                tracing::error!(%error, "the admin address stopped");
            }
        }
        () = async {
            stop.fired().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        } => {}
    }
}

async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        api.shared.render_metrics(),
    )
}
