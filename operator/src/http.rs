//! `/healthz`, `/readyz` and `/metrics`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the probes ask for.
#[derive(Clone)]
pub struct Probes {
    /// The metrics, which know of the watches.
    pub metrics: Arc<Metrics>,
    /// Whether the operator works, or waits to.
    pub ready: Arc<AtomicBool>,
    /// After so long without a sign of life from a watch nobody watches.
    pub patience: Duration,
}

/// Serves until shutdown.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, probes: Probes, shutdown: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(probes)).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

fn router(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

/// 200 while the watches live. An API server that does not answer is no reason to start anew: it is asked again.
async fn healthz(State(probes): State<Probes>) -> Response {
    match probes.metrics.hanging_watches(Timestamp::now(), probes.patience).as_slice() {
        [] => "ok\n".into_response(),
        hanging => {
            let text = format!("not watched for {} s: {}\n", probes.patience.as_secs(), hanging.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// 200 once the caches are filled, or while another operator leads, and while no namespace is another installation's.
async fn readyz(State(probes): State<Probes>) -> Response {
    let text = match (probes.ready.load(Ordering::Relaxed), probes.metrics.contested_by().as_slice()) {
        (true, []) => return "ok\n".into_response(),
        (true, contested) => format!("another installation works on: {}\n", contested.join(", ")),
        (false, _) => "the caches are being filled\n".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(State(probes): State<Probes>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], probes.metrics.text()).into_response()
}
