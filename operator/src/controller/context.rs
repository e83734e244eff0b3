//! What every reconcile is given: the client, the caches, the settings, and what is remembered between reconciles.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use edgereel_crds::secret_value::oddity;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::recorder::FewRemembered;
use crate::{
    cache::Caches, definitions::Definitions, hash::keyed, metrics::Metrics, nodes::Nodes, reports::Reports,
    rollout::board::Board, settings::Settings, workers::Workers,
};

/// Shared by all reconciles of one scope (a namespace, or all).
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have brought.
    pub caches: Caches,
    /// The flags.
    pub settings: Settings,
    /// Events for `kubectl describe`.
    pub recorder: FewRemembered,
    /// The operator's own metrics.
    pub metrics: Arc<Metrics>,
    /// Asks workers for their figures.
    pub workers: Workers,
    /// What they answered.
    pub reports: Reports,
    /// The nodes that are lost.
    pub nodes: Arc<Nodes>,
    /// What is remembered of Secrets' values.
    pub secret_values: SecretValues,
    /// What is remembered of ConfigMaps' values.
    pub config_values: SecretValues,
    /// What was written last, by the resource's uid.
    pub written: Written,
    /// What the API server's definitions say of fields that are not known here.
    pub definitions: Arc<Definitions>,
    /// Whose turn it is, while the operator's own changes reach the workers.
    pub board: Arc<Board>,
    /// Which operator this is, as far as pods go.
    pub operator_revision: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered of a Secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What tells it from another.
    pub fingerprint: String,
    /// What that was made with.
    pub key: String,
    /// What is odd about it, and what is done about that.
    pub oddity: Option<String>,
}

impl Looked {
    /// A look at a value of the Secret with this uid.
    pub fn at(uid: &str, value: &[u8]) -> Self {
        Looked { fingerprint: keyed(uid, value), key: uid.to_owned(), oddity: oddity(value) }
    }
}

/// A Secret's keys, each with what is remembered of its value.
pub type Values = BTreeMap<String, Looked>;

/// A Secret that changes again and again is believed when it has been as it is for so long, or has been changing for the second.
const SETTLED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is remembered of Secrets' values, by version: a Secret is asked for once, and its values are not kept. Whoever writes several keys, or
/// several times, has written them all before the pods are started anew.
pub struct SecretValues {
    known: Mutex<HashMap<(String, String), Known>>,
    settled: Duration,
}

struct Known {
    version: String,
    values: Values,
    /// The version that has come since, when it came, and when the first came that is not known.
    next: Option<(String, Instant, Instant)>,
}

/// What is known of a Secret.
pub enum Look {
    /// This version has been seen.
    Known(Values),
    /// It has just changed: what it held before counts for so long.
    Settling(Values, Duration),
    /// It is to be asked for.
    Ask,
}

impl Default for SecretValues {
    fn default() -> Self {
        SecretValues::settled_after(SETTLED.0)
    }
}

impl SecretValues {
    /// Secrets are believed when they have been as they are for so long.
    pub fn settled_after(settled: Duration) -> Self {
        SecretValues { known: Mutex::default(), settled }
    }

    /// What is known of a version of a Secret of which these keys are read.
    pub fn look(&self, (namespace, name): (&str, &str), version: &str, keys: &BTreeSet<String>) -> Look {
        let mut all = lock(&self.known);
        let Some(known) = all.get_mut(&(namespace.to_owned(), name.to_owned())) else { return Look::Ask };
        if known.version == version && !version.is_empty() {
            known.next = None;
            return Look::Known(known.values.clone());
        }
        // One that was not whole has not worked: nothing is started anew for it.
        if version.is_empty() || !keys.iter().all(|key| known.values.contains_key(key)) {
            return Look::Ask;
        }
        let now = Instant::now();
        let (last, first) = match known.next.take() {
            Some((seen, last, first)) if seen == version => (last, first),
            Some((.., first)) => (now, first),
            None => (now, now),
        };
        known.next = Some((version.to_owned(), last, first));
        let wait = (last + self.settled).min(first + SETTLED.1).saturating_duration_since(now);
        if wait.is_zero() { Look::Ask } else { Look::Settling(known.values.clone(), wait) }
    }

    /// Remembers what a version holds.
    pub fn put(&self, namespace: &str, name: &str, version: &str, values: Values) {
        let known = Known { version: version.to_owned(), values, next: None };
        lock(&self.known).insert((namespace.to_owned(), name.to_owned()), known);
    }
}

/// The statuses that were written, until the watch brings them, and how often a resource failed in a row.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, Memory>>);

struct Memory {
    /// The status as text, and the resource's version in the cache when it was written.
    status: Option<(Option<String>, Box<str>)>,
    /// What of it could be written, where that is less: the API server's definition is another version's, and lacks a field.
    kept: Option<Kept>,
    /// When the status was written, or the resource was first seen.
    since: Instant,
    failures: u32,
}

/// A status as the API server has it, and as it was meant.
struct Kept {
    stored: Value,
    meant: Value,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { status: None, kept: None, since: Instant::now(), failures: 0 }
    }
}

/// How long a status that the API server cut is taken for cut: the definition may have been brought up to date by then.
const CUT: Duration = Duration::from_secs(600);

/// A status that has not come back by then was changed by someone else.
const AHEAD: Duration = Duration::from_secs(10);

impl Written {
    /// Notes a written status, and what was answered; `version` is the resource's in the cache.
    pub fn note(&self, uid: &str, version: Option<String>, status: Value, stored: Option<Value>) {
        let mut all = lock(&self.0);
        let memory = all.entry(uid.to_owned()).or_default();
        let less = stored.filter(|stored| *stored != status);
        memory.kept = less.map(|stored| Kept { stored, meant: status.clone() });
        (memory.status, memory.since) = (Some((version, status.to_string().into())), Instant::now());
    }

    /// What was meant with a status that the API server has cut: written again, it would be cut again, for ever.
    pub fn meant(&self, uid: &str, stored: impl FnOnce() -> Value) -> Option<Value> {
        let all = lock(&self.0);
        let memory = all.get(uid)?;
        let kept = memory.kept.as_ref().filter(|_| memory.since.elapsed() < CUT)?;
        (kept.stored == stored()).then(|| kept.meant.clone())
    }

    /// The watch has brought another version of the resource: what was written over the one before is in it, or out of date.
    pub fn brought(&self, uid: &str, version: Option<&str>) {
        if let Some(memory) = lock(&self.0).get_mut(uid) {
            memory.status = memory.status.take().filter(|(seen, _)| seen.as_deref() == version);
        }
    }

    /// The status that was written over this version of the resource and has not come back yet.
    pub fn ahead<S: DeserializeOwned>(&self, uid: &str, version: Option<&str>) -> Option<S> {
        let mut all = lock(&self.0);
        let memory = all.get_mut(uid)?;
        let (seen, status) = memory.status.as_ref()?;
        if seen.as_deref() == version && memory.since.elapsed() < AHEAD {
            return serde_json::from_str(status).ok();
        }
        memory.status = None;
        None
    }

    /// How long ago a status was written; after a start, how long ago the resource was first seen.
    pub fn ago(&self, uid: &str) -> Duration {
        lock(&self.0).entry(uid.to_owned()).or_default().since.elapsed()
    }

    /// Counts a failure, and gives how many there were in a row before.
    pub fn failed(&self, uid: &str) -> u32 {
        let mut memory = lock(&self.0);
        let failures = &mut memory.entry(uid.to_owned()).or_default().failures;
        *failures = failures.saturating_add(1);
        *failures - 1
    }

    /// Ends a row of failures.
    pub fn succeeded(&self, uid: &str) {
        if let Some(memory) = lock(&self.0).get_mut(uid) {
            memory.failures = 0;
        }
    }

    /// Forgets a resource that is gone.
    pub fn forget(&self, uid: &str) {
        lock(&self.0).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn eleven_changes_of_a_secret_within_seconds_are_one() {
        let secrets = SecretValues::default();
        let keys = BTreeSet::from(["password".to_owned()]);
        let values = |fingerprint: &str| {
            let looked = Looked { fingerprint: fingerprint.to_owned(), key: String::new(), oddity: None };
            Values::from([("password".to_owned(), looked)])
        };
        let look = |version: usize| secrets.look(("lab", "login"), &version.to_string(), &keys);
        assert!(matches!(look(0), Look::Ask), "one that is not known is asked for at once");
        secrets.put("lab", "login", "0", values("a"));
        for version in 1..=11 {
            let Look::Settling(known, wait) = look(version) else { panic!("version {version}") };
            assert_eq!((known, wait), (values("a"), SETTLED.0));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let Look::Settling(_, wait) = look(11) else { panic!("not yet") };
        assert_eq!(wait, SETTLED.0 - Duration::from_secs(1));
        tokio::time::advance(wait).await;
        assert!(matches!(look(11), Look::Ask));
        secrets.put("lab", "login", "11", values("b"));
        assert!(matches!(look(11), Look::Known(known) if known == values("b")));
        // One that never rests is believed after a minute, and a key that was missing at once.
        let begun = Instant::now();
        for version in 12.. {
            let Look::Settling(..) = look(version) else { break };
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        assert!((SETTLED.1..SETTLED.1 + SETTLED.0).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        let more = BTreeSet::from(["password".to_owned(), "username".to_owned()]);
        assert!(matches!(secrets.look(("lab", "login"), "x", &more), Look::Ask));
    }
}
