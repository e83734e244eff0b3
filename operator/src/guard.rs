//! One installation works on a namespace. Of two whose leases have other names, or lie in other namespaces, neither would wait for
//! the other, and both would write the same objects.
//!
//! In every namespace that has resources there is a Lease of one name for all installations. Who holds it is not a pod but an
//! installation: its own lease's namespace and name, so that a roll-out of it passes nothing on. Another that comes later leaves the
//! namespace alone, says so, and takes it over when the first has been silent for a minute.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::{lease::Candidate, metrics::Metrics, words::words};

/// The Lease in each namespace.
pub const LEASE: &str = "edgereel-operator-works-here";
/// So long it holds without a renewal.
const DURATION: Duration = Duration::from_secs(60);
/// How often it is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(15);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose a namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This installation's.
    Ours,
    /// Another installation's.
    Theirs(String),
    /// It cannot be known: the Lease may not be read or written. Work goes on as if there were no other.
    Unguarded,
}

/// Which namespaces are this installation's.
pub struct Guard {
    client: Client,
    installation: String,
    metrics: Arc<Metrics>,
    standings: Mutex<BTreeMap<String, Standing>>,
    candidates: tokio::sync::Mutex<HashMap<String, Candidate>>,
}

impl Guard {
    /// For the installation whose own lease is `namespace/name`.
    pub fn new(client: Client, namespace: &str, name: &str, metrics: Arc<Metrics>) -> Self {
        let installation = format!("{namespace}/{name}");
        Guard { client, installation, metrics, standings: Mutex::default(), candidates: Default::default() }
    }

    fn standings(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose a namespace is; the Lease is asked for once, and looked after from then on.
    pub async fn claim(&self, namespace: &str) -> Standing {
        if let Some(known) = self.standings().get(namespace).cloned() {
            return known;
        }
        let mut candidates = self.candidates.lock().await;
        if let Some(known) = self.standings().get(namespace).cloned() {
            return known;
        }
        let candidate = candidates.entry(namespace.to_owned()).or_insert_with(|| {
            Candidate::new(self.client.clone(), namespace, LEASE, &self.installation).holding_for(DURATION)
        });
        self.look(namespace, candidate).await
    }

    /// Renews what is held, and looks after what others hold, until it is dropped.
    pub async fn keep(&self) {
        loop {
            sleep(PERIOD).await;
            for (namespace, candidate) in self.candidates.lock().await.iter_mut() {
                self.look(namespace, candidate).await;
            }
        }
    }

    async fn look(&self, namespace: &str, candidate: &mut Candidate) -> Standing {
        let before = self.standings().get(namespace).cloned();
        let now = match timeout(PATIENCE, candidate.attempt()).await {
            Ok(Ok(true)) => Standing::Ours,
            Ok(Ok(false)) => match candidate.holder().filter(|holder| *holder != self.installation) {
                Some(holder) => Standing::Theirs(holder),
                // Somebody was faster: who, the next look says.
                None => before.clone().unwrap_or(Standing::Ours),
            },
            // What was known stays so: who cannot write this Lease writes nothing else either.
            answer => {
                if before.is_none() {
                    let error = match &answer {
                        Ok(Err(error)) => words(error),
                        _ => "no answer".to_owned(),
                    };
                    warn!(namespace, lease = LEASE, "whether another operator works here is not known: {error}");
                }
                before.clone().unwrap_or(Standing::Unguarded)
            }
        };
        if before.as_ref() != Some(&now) {
            self.say(namespace, before.as_ref(), &now);
            self.standings().insert(namespace.to_owned(), now.clone());
        }
        now
    }

    fn say(&self, namespace: &str, before: Option<&Standing>, now: &Standing) {
        if let Some(Standing::Theirs(holder)) = before {
            self.metrics.contested(namespace, holder, false);
        }
        match (before, now) {
            (_, Standing::Theirs(holder)) => {
                self.metrics.contested(namespace, holder, true);
                warn!(
                    namespace,
                    holder,
                    "another installation of the operator works on this namespace, and this one leaves it alone: uninstall one of \
                     the two, or give them other `watchNamespaces`"
                );
            }
            (Some(Standing::Theirs(holder)), _) => info!(namespace, holder, "the other has gone: working here"),
            (_, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::time::Instant;
    use tower_test::mock;

    use super::*;

    /// An API server with one Lease, or one that forbids it.
    fn server(forbids: bool) -> Client {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        tokio::spawn(async move {
            let (mut lease, mut version) = (Value::Null, 0);
            while let Some((request, reply)) = handle.next_request().await {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.expect("a body");
                let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let failure = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": if code == 404 { "NotFound" } else { "Conflict" }, "message": "x"});
                let stale =
                    !lease.is_null() && body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"];
                let (code, answer) = match method {
                    _ if forbids => (403, failure(403)),
                    Method::GET if lease.is_null() => (404, failure(404)),
                    Method::GET => (200, lease.clone()),
                    _ if stale => (409, failure(409)),
                    _ => {
                        version += 1;
                        lease = body;
                        lease["metadata"]["resourceVersion"] = json!(version.to_string());
                        (200, lease.clone())
                    }
                };
                let answer = serde_json::to_vec(&answer).expect("JSON");
                reply.send_response(Response::builder().status(code).body(Body::from(answer)).expect("a response"));
            }
        });
        Client::new(service, "lab")
    }

    fn guard(client: &Client, release: &str) -> (Arc<Guard>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        (Arc::new(Guard::new(client.clone(), "edgereel-system", release, metrics.clone())), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_installations_the_later_leaves_the_namespace_alone_until_the_first_is_silent_for_a_minute() {
        let client = server(false);
        let ((first, _), (second, metrics)) = (guard(&client, "edgereel"), guard(&client, "video"));
        assert_eq!(first.claim("lab").await, Standing::Ours);
        let theirs = Standing::Theirs("edgereel-system/edgereel".into());
        assert_eq!(second.claim("lab").await, theirs);
        let said = "edgereel_operator_contested{contested=\"lab\",holder=\"edgereel-system/edgereel\"} 1\n";
        assert!(metrics.text().contains(said), "{}", metrics.text());
        assert_eq!(metrics.contested_by(), ["lab: edgereel-system/edgereel"]);

        let [keeping, looking] =
            [first.clone(), second.clone()].map(|guard| tokio::spawn(async move { guard.keep().await }));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(
            (first.claim("lab").await, second.claim("lab").await),
            (Standing::Ours, theirs.clone()),
            "as long as it renews"
        );
        keeping.abort();
        let silent = Instant::now();
        while second.claim("lab").await == theirs {
            sleep(Duration::from_secs(1)).await;
        }
        assert!((DURATION - PERIOD..=DURATION + PERIOD * 2).contains(&silent.elapsed()), "{:?}", silent.elapsed());
        assert_eq!((second.claim("lab").await, metrics.contested_by().len()), (Standing::Ours, 0));
        looking.abort();
        // The first comes back, and is the later one now.
        let (again, _) = guard(&client, "edgereel");
        assert_eq!(again.claim("lab").await, Standing::Theirs("edgereel-system/video".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_pod_of_an_installation_goes_on_at_once() {
        let client = server(false);
        let ((old, _), (new, _)) = (guard(&client, "edgereel"), guard(&client, "edgereel"));
        assert_eq!((old.claim("lab").await, new.claim("lab").await), (Standing::Ours, Standing::Ours));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_lease_may_not_be_touched_work_goes_on() {
        let (guard, metrics) = guard(&server(true), "edgereel");
        assert_eq!(guard.claim("lab").await, Standing::Unguarded);
        assert_eq!(metrics.contested_by(), [""; 0]);
    }
}
