//! The admin address: health, metrics, and the API behind the commands. Plain HTTP, so that `curl` works.
use crate::{config::model::Config, runtime::Compiled, state::Shared};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use settings::Lookup;
use std::sync::Arc;
use transports::net::{Listening, Shutdown};

/// What the admin API works on.
pub struct Api {
    shared: Arc<Shared>,
}

impl Api {
    /// The API of a running gateway.
    ///
    /// # Errors
    /// The token cannot be read.
    pub fn new(config: &Config, shared: Arc<Shared>, compiled: &Compiled, env: &Lookup<'_>) -> Result<Self, String> {
        let _ = (config, compiled, env);
        Ok(Api { shared })
    }
}

/// Serves until it is stopped.
pub async fn serve(listening: Listening, api: Api, mut stop: Shutdown) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(api));
    let served = axum::serve(listening.into_inner(), router).with_graceful_shutdown(async move { stop.fired().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin address stopped");
    }
}

async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], api.shared.metrics.render())
}
