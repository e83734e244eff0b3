//! Asks a program over HTTP what it serves.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use edgereel_crds::{name::ObjectName, worker_status::WorkerStatus};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use crate::{metrics::exposition::Format, work::Snapshot};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);
/// A longer answer is none.
const MAX_BYTES: usize = 64 << 20;

/// Asks one address. All clones are the same.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    address: String,
    http: Http<HttpConnector, Empty<Bytes>>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl Client {
    /// Asks `address`, as in `127.0.0.1:9464`.
    pub fn new(address: String) -> Self {
        Client(Arc::new(Inner { address, http: Http::builder(TokioExecutor::new()).build_http() }))
    }

    async fn get(&self, path: &str, accept: &str) -> Result<(StatusCode, HeaderMap, Bytes), NoAnswer> {
        let no = |e: &dyn std::fmt::Display| NoAnswer(format!("http://{}{path}: {e}", self.0.address));
        let request = Request::get(format!("http://{}{path}", self.0.address)).header(header::ACCEPT, accept);
        let request = request.body(Empty::new()).map_err(|e| no(&e))?;
        let asked = async {
            let (head, body) = self.0.http.request(request).await.map_err(|e| no(&e))?.into_parts();
            let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|e| no(&e))?;
            Ok((head.status, head.headers, body.to_bytes()))
        };
        timeout(PATIENCE, asked).await.map_err(|_| no(&"no answer in time"))?
    }

    /// What `/status` says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub async fn status(&self) -> Result<WorkerStatus, NoAnswer> {
        let (status, _, body) = self.get("/status", "application/json").await?;
        serde_json::from_slice(&body).map_err(|e| NoAnswer(format!("{status}: {e}")))
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub async fn metrics(&self, format: Format) -> Result<String, NoAnswer> {
        let (status, _, body) = self.get("/metrics", format.content_type()).await?;
        match String::from_utf8(body.into()) {
            Ok(text) if status.is_success() => Ok(text),
            _ => Err(NoAnswer(format!("{status}, or no text"))),
        }
    }

    /// A resource's last picture.
    pub async fn snapshot(&self, name: &ObjectName) -> Snapshot {
        let Ok((status, headers, body)) = self.get(&format!("/snapshot.jpg?camera={name}"), "image/jpeg").await else {
            return Snapshot::None;
        };
        let captured_at = headers.get("x-captured-at").and_then(|at| at.to_str().ok()?.parse().ok());
        match (status, captured_at) {
            (StatusCode::OK, Some(at)) => Snapshot::Some(body, at),
            (StatusCode::FORBIDDEN, _) => Snapshot::Off,
            (StatusCode::NOT_FOUND, _) => Snapshot::Nothing,
            _ => Snapshot::None,
        }
    }
}
