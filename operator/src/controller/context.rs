//! What every reconcile is given: the client, the caches, the settings, and what is remembered between reconciles.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::secret_value::oddity;
use kube::{Client, runtime::events::Recorder};

use crate::{cache::Caches, hash::keyed, metrics::Metrics, settings::Settings, workers::Workers};

/// Shared by all reconciles of one scope (a namespace, or all).
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have brought.
    pub caches: Caches,
    /// The flags.
    pub settings: Settings,
    /// Events for `kubectl describe`.
    pub recorder: Recorder,
    /// The operator's own metrics.
    pub metrics: Arc<Metrics>,
    /// Asks workers for their figures.
    pub workers: Workers,
    /// What is remembered of Secrets' values.
    pub secret_values: SecretValues,
    /// What was written last, by the resource's uid.
    pub written: Written,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered of a Secret's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What tells it from another.
    pub fingerprint: String,
    /// What is odd about it, and what is done about that.
    pub oddity: Option<String>,
}

impl Looked {
    /// A look at a value of the Secret with this uid.
    pub fn at(uid: &str, value: &[u8]) -> Self {
        Looked { fingerprint: keyed(uid, value), oddity: oddity(value) }
    }
}

/// A Secret's keys, each with what is remembered of its value.
type Values = BTreeMap<String, Looked>;

/// What is remembered of Secrets, by version: a Secret is asked for once, and its values are not kept.
#[derive(Default)]
pub struct SecretValues(Mutex<HashMap<(String, String), (String, Values)>>);

impl SecretValues {
    /// What is remembered of a Secret, if this version of it has been seen.
    pub fn get(&self, namespace: &str, name: &str, version: &str) -> Option<Values> {
        let known = lock(&self.0);
        let (seen, values) = known.get(&(namespace.to_owned(), name.to_owned()))?;
        (seen == version && !version.is_empty()).then(|| values.clone())
    }

    /// Remembers it.
    pub fn put(&self, namespace: &str, name: &str, version: &str, values: Values) {
        lock(&self.0).insert((namespace.to_owned(), name.to_owned()), (version.to_owned(), values));
    }
}

/// The statuses that were written, until the watch brings them, and how often a resource failed in a row.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, Memory>>);

struct Memory {
    /// The status, and the resource's version in the cache when it was written.
    status: Option<(Option<String>, serde_json::Value)>,
    /// When the status was written, or the resource was first seen.
    since: Instant,
    failures: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Memory { status: None, since: Instant::now(), failures: 0 }
    }
}

/// A status that has not come back by then was changed by someone else.
const AHEAD: Duration = Duration::from_secs(10);

impl Written {
    /// Notes a written status; `version` is the resource's in the cache.
    pub fn note(&self, uid: &str, version: Option<String>, status: serde_json::Value) {
        let mut all = lock(&self.0);
        let memory = all.entry(uid.to_owned()).or_default();
        (memory.status, memory.since) = (Some((version, status)), Instant::now());
    }

    /// The status that was written over this version of the resource and has not come back yet.
    pub fn ahead(&self, uid: &str, version: Option<&str>) -> Option<serde_json::Value> {
        let mut all = lock(&self.0);
        let memory = all.get_mut(uid)?;
        let (seen, status) = memory.status.as_ref()?;
        if seen.as_deref() == version && memory.since.elapsed() < AHEAD {
            return Some(status.clone());
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
