//! Asks workers for their `/status`: a few at a time, each with a time-out, and never more than a bounded answer.

use std::{io, sync::Arc, time::Duration};

use edgereel_crds::worker_status::{ResourceReport, WorkerStatus};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{sync::Semaphore, time::timeout};

use crate::controller::program::PORT;

/// At most so many workers are asked at once; and as many of those that did not answer the last time.
const AT_ONCE: usize = 16;
/// A worker that has not answered by then is unreachable.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer has one or two kilobytes for each resource.
const MAX_ANSWER: usize = 8 << 20;

/// A client for all workers. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    client: Client<HttpConnector, Empty<bytes::Bytes>>,
    /// Those who answer never wait behind those who do not.
    answering: Arc<Semaphore>,
    doubtful: Arc<Semaphore>,
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
        let slots = || Arc::new(Semaphore::new(AT_ONCE));
        Workers { client, answering: slots(), doubtful: slots(), port }
    }

    /// Asks the worker at an address; `doubtful`: it did not answer the last time.
    ///
    /// # Errors
    /// Why there is no answer, and what that may come from.
    pub async fn ask(&self, ip: &str, doubtful: bool) -> Result<Vec<ResourceReport>, String> {
        let slots = if doubtful { &self.doubtful } else { &self.answering };
        let _slot = slots.acquire().await.map_err(|e| e.to_string())?;
        match timeout(PATIENCE, self.get(ip)).await {
            Ok(answer) => answer,
            Err(_) => Err(silent(ip, self.port)),
        }
    }

    async fn get(&self, ip: &str) -> Result<Vec<ResourceReport>, String> {
        // An IPv6 address stands in brackets.
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let uri = format!("http://{host}:{}/status", self.port).parse::<http::Uri>().map_err(|e| e.to_string())?;
        let answer = self.client.get(uri).await.map_err(|e| unanswered(&e, ip, self.port))?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?.to_bytes();
        let status: WorkerStatus =
            serde_json::from_slice(&body).map_err(|e| format!("its answer is not a status: {e}"))?;
        Ok(status.resources)
    }
}

fn silent(ip: &str, port: u16) -> String {
    format!(
        "no answer from {ip}:{port} within {} s: a NetworkPolicy that does not let the operator in, or an address that only \
         the worker's own network knows (NAT)",
        PATIENCE.as_secs()
    )
}

/// Why there is no answer, and what that may come from.
fn unanswered(error: &hyper_util::client::legacy::Error, ip: &str, port: u16) -> String {
    let kind = causes(error).find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!(
                "{ip}:{port} refuses: nothing listens there (the worker is starting or ending), or a NetworkPolicy rejects"
            )
        }
        Some(io::ErrorKind::TimedOut) => silent(ip, port),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => format!(
            "there is no way to {ip}:{port} ({}): an address that only the worker's own network knows (NAT), or a \
             NetworkPolicy that rejects",
            chain(error)
        ),
        _ => chain(error),
    }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(answer: &'static str) -> Result<Vec<ResourceReport>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let workers = Workers::at_port(listener.local_addr().expect("bound").port());
        let server = tokio::spawn(async move {
            let router = Router::new().route("/status", get(move || async move { answer }));
            axum::serve(listener, router).await
        });
        let answer = workers.ask("127.0.0.1", false).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_worker_says_how_it_fares() {
        let report = asked(
            r#"{"version": "1", "resources": [{"kind": "CameraStream", "namespace": "a", "name": "b", "conditions": [],
                "figures": {"fps": 29.9, "frameBytes": 1, "framesCaptured": 1, "framesAcknowledged": 1, "framesDropped": 0}}]}"#,
        )
        .await;
        assert_eq!(report.expect("a report")[0].name, "b");
    }

    #[tokio::test]
    async fn an_answer_that_is_none_says_so() {
        assert!(asked("[]").await.is_err_and(|e| e.starts_with("its answer is not a status")));
        assert_eq!(
            asked(r#"{"version": "1", "resources": []}"#).await,
            Ok(vec![]),
            "it is for its pod to say what that means"
        );
    }

    #[tokio::test]
    async fn a_worker_that_refuses_and_one_that_is_silent_are_told_apart() {
        let refused = Workers::at_port(1).ask("127.0.0.1", false).await.expect_err("nobody listens");
        assert!(refused.starts_with("127.0.0.1:1 refuses: "), "{refused}");
        // Taken by the kernel, and never answered.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let silent = Workers::at_port(port).ask("127.0.0.1", false).await.expect_err("nobody answers");
        assert!(silent.starts_with("no answer from") && silent.contains("NetworkPolicy"), "{silent}");
    }

    #[tokio::test]
    async fn unreachable_workers_keep_nobody_from_being_asked() {
        let workers = Workers::at_port(1);
        let _all = workers.doubtful.acquire_many(AT_ONCE as u32).await.expect("all slots");
        assert!(workers.ask("127.0.0.1", false).await.is_err_and(|e| e.contains("refuses")), "at once");
    }
}
