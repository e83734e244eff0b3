//! Leader election by a Lease: one operator works, the others wait. Fail-stop: one that cannot renew its lease in time
//! ends, before another may begin. On a graceful stop the lease is given back, so that the next one begins at once.
//!
//! Time is measured by this machine's own clock from when a change of the lease was seen, never by the times that others
//! wrote (source: client-go `leaderelection`): clocks of nodes differ.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::words::words;

/// A lease that was not renewed for this long may be taken.
const DURATION: Duration = Duration::from_secs(15);
/// One who could not renew for this long ends: well before another may take the lease.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// How often the lease is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// A candidate for the lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    seen: Option<Seen>,
    /// When it was asked for what the API server granted last: the lease counts from there, whenever the answer came.
    asked: Instant,
    /// The lease as the API server last took it from us: the next renewal needs no look at it.
    held: Option<Lease>,
    /// How long it holds without a renewal.
    duration: Duration,
}

/// The lease as it was last seen, and when it was seen to change.
struct Seen {
    record: Record,
    at: Instant,
}

/// Who holds the lease, and which renewal it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    transitions: i32,
    duration: Option<i32>,
}

/// What a candidate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// It is ours: renew it.
    Renew,
    /// It is free, or its holder is gone: take it.
    Take,
    /// Another holds it.
    Wait,
}

/// The decision. Pure.
fn decide(record: &Record, identity: &str, unchanged_for: Duration) -> Move {
    match record.holder.as_deref().filter(|holder| !holder.is_empty()) {
        None => Move::Take,
        Some(holder) if holder == identity => Move::Renew,
        Some(_) => {
            let theirs = record.duration.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
            if unchanged_for >= theirs.unwrap_or(DURATION) { Move::Take } else { Move::Wait }
        }
    }
}

impl Candidate {
    /// A candidate called `identity` for the lease `namespace/name`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Candidate {
            api,
            name: name.into(),
            identity: identity.into(),
            seen: None,
            asked: Instant::now(),
            held: None,
            duration: DURATION,
        }
    }

    /// The same, for a lease that holds so long without a renewal.
    pub fn holding_for(self, duration: Duration) -> Self {
        Candidate { duration, ..self }
    }

    /// Who held it when it was last looked at.
    pub fn holder(&self) -> Option<String> {
        self.seen.as_ref().and_then(|seen| seen.record.holder.clone())
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&mut self) {
        let mut told = None;
        loop {
            match self.attempt().await {
                Ok(true) => {
                    info!(lease = self.name, identity = self.identity, "leading");
                    return;
                }
                Ok(false) => {
                    let holder = self.holder();
                    if holder != told {
                        info!(lease = self.name, holder, "waiting for the leader to go");
                        told = holder;
                    }
                }
                Err(error) => warn!(lease = self.name, "cannot ask for the lease: {}", words(&error)),
            }
            sleep(PERIOD.mul_f64(1.0 + 0.2 * rand::random::<f64>())).await;
        }
    }

    /// Renews the lease until it is lost.
    pub async fn keep(&mut self) {
        while self.asked.elapsed() < RENEW_WITHIN {
            sleep(PERIOD).await;
            let left = RENEW_WITHIN.saturating_sub(self.asked.elapsed());
            match timeout(left, self.attempt()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    warn!(lease = self.name, "another has taken the lease");
                    return;
                }
                Ok(Err(error)) => warn!(lease = self.name, "cannot renew the lease: {}", words(&error)),
                Err(_) => warn!(lease = self.name, "cannot renew the lease: no answer"),
            }
        }
        warn!(lease = self.name, "the lease was not renewed in time");
    }

    /// Gives the lease back, if it is ours.
    pub async fn release(&mut self) {
        let given = timeout(Duration::from_secs(3), async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                spec.renew_time = None;
                spec.acquire_time = None;
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
                info!(lease = self.name, "lease given back");
            }
            Ok::<(), kube::Error>(())
        });
        match given.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lease = self.name, "cannot give the lease back: {}", words(&error)),
            Err(_) => warn!(lease = self.name, "cannot give the lease back: no answer"),
        }
    }

    /// One look at the lease, and what follows from it. Whether it is ours.
    pub(crate) async fn attempt(&mut self) -> Result<bool, kube::Error> {
        if let Some(held) = self.held.take() {
            let transitions = Record::of(&held).transitions;
            let lease = self.claimed(held, transitions);
            let asked = Instant::now();
            let answer = self.api.replace(&self.name, &PostParams::default(), &lease).await;
            // Somebody has changed it, perhaps only a label: look at it.
            if self.outcome(answer, asked)? {
                return Ok(true);
            }
        }
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = self.claimed(Lease::default(), 0);
            let asked = Instant::now();
            let answer = self.api.create(&PostParams::default(), &lease).await;
            return self.outcome(answer, asked);
        };
        let record = Record::of(&lease);
        if self.seen.as_ref().is_none_or(|seen| seen.record != record) {
            self.seen = Some(Seen { record: record.clone(), at: Instant::now() });
        }
        let unchanged_for = self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.at.elapsed());
        match decide(&record, &self.identity, unchanged_for) {
            Move::Wait => Ok(false),
            step @ (Move::Renew | Move::Take) => {
                let transitions = record.transitions + i32::from(step == Move::Take);
                let lease = self.claimed(lease, transitions);
                // The version that was read goes along: of two who try, one gets a conflict.
                let asked = Instant::now();
                let answer = self.api.replace(&self.name, &PostParams::default(), &lease).await;
                self.outcome(answer, asked)
            }
        }
    }

    fn outcome(&mut self, answer: Result<Lease, kube::Error>, asked: Instant) -> Result<bool, kube::Error> {
        match answer {
            Ok(lease) => {
                (self.held, self.asked) = (Some(lease), asked);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(lease = self.name, "another was faster");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn claimed(&self, lease: Lease, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = lease.spec.unwrap_or_default();
        let ours = old.holder_identity.as_deref() == Some(&self.identity);
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..lease.metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(self.duration.as_secs() as i32),
                acquire_time: if ours { old.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

impl Record {
    fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        Record {
            holder: spec.holder_identity,
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or(0),
            duration: spec.lease_duration_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::client::Body;

    use super::*;

    #[test]
    fn a_lease_is_taken_only_when_it_is_free_or_its_holder_was_silent_for_its_whole_time() {
        let held = |by: Option<&str>| Record { holder: by.map(Into::into), duration: Some(15), ..Record::default() };
        for (holder, silent, step) in [
            (None, 0, Move::Take),
            (Some(""), 0, Move::Take),
            (Some("me"), 100, Move::Renew),
            (Some("other"), 0, Move::Wait),
            (Some("other"), 14, Move::Wait),
            (Some("other"), 15, Move::Take),
        ] {
            assert_eq!(decide(&held(holder), "me", Duration::from_secs(silent)), step, "{holder:?} {silent}");
        }
    }

    /// An API server that takes every lease, after so long.
    fn slow(answers_after: Duration) -> Client {
        let (service, mut handle) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        tokio::spawn(async move {
            while let Some((request, reply)) = handle.next_request().await {
                let body = request.into_body().collect_bytes().await.expect("a body");
                let body = if body.is_empty() { b"{\"metadata\": {}}".to_vec() } else { body.to_vec() };
                sleep(answers_after).await;
                reply.send_response(http::Response::new(Body::from(body)));
            }
        });
        Client::new(service, "lab")
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_the_request_and_not_from_the_answer() {
        let mut candidate = Candidate::new(slow(Duration::from_secs(6)), "lab", "operator", "me");
        candidate.acquire().await;
        let granted = Instant::now();
        candidate.keep().await;
        // Asked for 6 s before it was granted, and never again in time.
        assert_eq!(granted.elapsed(), RENEW_WITHIN - Duration::from_secs(6));
    }

    #[test]
    fn one_who_cannot_renew_ends_before_another_may_begin() {
        assert!(RENEW_WITHIN + PERIOD < DURATION);
    }
}
