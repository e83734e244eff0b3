//! Asks workers for their `/status`: a few at a time, each with a time-out, and never more than a bounded answer.

use std::{sync::Arc, time::Duration};

use edgereel_crds::worker_status::{ResourceReport, WorkerStatus};
use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::controller::{observe::PodView, program::PORT};

/// At most so many workers are asked at once.
const AT_ONCE: usize = 16;
/// A worker that has not answered by then is unreachable.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer has some hundred bytes for each resource.
const MAX_ANSWER: usize = 1 << 20;

/// A client for all workers. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    client: Client<HttpConnector, Empty<bytes::Bytes>>,
    slots: Arc<Semaphore>,
    port: u16,
}

impl Default for Workers {
    fn default() -> Self {
        Workers::at_port(u16::try_from(PORT).unwrap_or_default())
    }
}

impl Workers {
    /// Workers that serve at this port.
    pub fn at_port(port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // One question in half a minute is not worth an open connection.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Workers { client, slots: Arc::new(Semaphore::new(AT_ONCE)), port }
    }

    /// Asks every pod whose worker runs, and notes what it says.
    pub async fn ask(&self, pods: &mut [PodView]) {
        let asked = pods.iter_mut().filter(|pod| pod.running && !pod.leaving && pod.ip.is_some());
        join_all(asked.map(|pod| async {
            let ip = pod.ip.clone().unwrap_or_default();
            pod.report = Some(self.status(&ip).await);
        }))
        .await;
    }

    async fn status(&self, ip: &str) -> Result<ResourceReport, String> {
        let _slot = self.slots.acquire().await.map_err(|e| e.to_string())?;
        match timeout(PATIENCE, self.get(ip)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn get(&self, ip: &str) -> Result<ResourceReport, String> {
        // An IPv6 address stands in brackets.
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let uri = format!("http://{host}:{}/status", self.port).parse::<http::Uri>().map_err(|e| e.to_string())?;
        let answer = self.client.get(uri).await.map_err(|e| chain(&e))?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?.to_bytes();
        let status: WorkerStatus =
            serde_json::from_slice(&body).map_err(|e| format!("its answer is not a status: {e}"))?;
        status.resources.into_iter().next().ok_or_else(|| "it runs no resource".to_owned())
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    fn pod() -> PodView {
        PodView {
            uid: "u".into(),
            name: "gate-camera-1".into(),
            node: None,
            ip: Some("127.0.0.1".into()),
            ready: true,
            running: true,
            leaving: false,
            revision: None,
            declared: true,
            finished: false,
            config: None,
            trouble: None,
            ready_since: None,
            report: None,
        }
    }

    async fn asked(answer: &'static str) -> Result<ResourceReport, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let workers = Workers::at_port(listener.local_addr().expect("bound").port());
        let server = tokio::spawn(async move {
            let router = Router::new().route("/status", get(move || async move { answer }));
            axum::serve(listener, router).await
        });
        let mut pods = [pod()];
        workers.ask(&mut pods).await;
        server.abort();
        pods[0].report.clone().expect("asked")
    }

    #[tokio::test]
    async fn a_worker_says_how_it_fares() {
        let report = asked(
            r#"{"version": "1", "resources": [{"kind": "CameraStream", "namespace": "a", "name": "b", "conditions": [],
                "figures": {"fps": 29.9, "frameBytes": 1, "framesCaptured": 1, "framesAcknowledged": 1, "framesDropped": 0}}]}"#,
        )
        .await;
        assert_eq!(report.expect("a report").name, "b");
    }

    #[tokio::test]
    async fn an_answer_that_is_none_says_so() {
        assert!(asked("[]").await.is_err_and(|e| e.starts_with("its answer is not a status")));
        assert_eq!(asked(r#"{"version": "1", "resources": []}"#).await, Err("it runs no resource".into()));
        let mut pods = [PodView { ip: Some("127.0.0.1".into()), ..pod() }];
        Workers::at_port(1).ask(&mut pods).await;
        assert!(pods[0].report.as_ref().is_some_and(|r| r.is_err()));
    }

    #[tokio::test]
    async fn only_running_workers_are_asked() {
        let mut pods = [PodView { running: false, ..pod() }, PodView { leaving: true, ..pod() }];
        Workers::at_port(1).ask(&mut pods).await;
        assert!(pods.iter().all(|pod| pod.report.is_none()));
    }
}
