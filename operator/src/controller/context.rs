//! What every reconcile is given: the client, the caches, the settings, and what is remembered between reconciles.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{Client, runtime::events::Recorder};
use serde_json::Value;

use crate::{cache::Caches, definitions::Definitions, metrics::Metrics, settings::Settings, workers::Workers};

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
    /// Hashes of Secrets' values.
    pub secret_hashes: SecretHashes,
    /// What was written last, by the resource's uid.
    pub written: Written,
    /// What the API server's definitions say of fields that are not known here.
    pub definitions: Arc<Definitions>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Secret's keys, each with a hash of its value.
type Hashes = BTreeMap<String, String>;

/// Hashes of Secrets' values, by version: a Secret is asked for once, and its values are not kept.
#[derive(Default)]
pub struct SecretHashes(Mutex<HashMap<(String, String), (String, Hashes)>>);

impl SecretHashes {
    /// The hashes of a Secret, if this version of it has been seen.
    pub fn get(&self, namespace: &str, name: &str, version: &str) -> Option<Hashes> {
        let known = lock(&self.0);
        let (seen, hashes) = known.get(&(namespace.to_owned(), name.to_owned()))?;
        (seen == version && !version.is_empty()).then(|| hashes.clone())
    }

    /// Remembers them.
    pub fn put(&self, namespace: &str, name: &str, version: &str, hashes: Hashes) {
        lock(&self.0).insert((namespace.to_owned(), name.to_owned()), (version.to_owned(), hashes));
    }
}

/// The statuses that were written, until the watch brings them, and how often a resource failed in a row.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, Memory>>);

struct Memory {
    /// The status, and the resource's version in the cache when it was written.
    status: Option<(Option<String>, Value)>,
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
        (memory.status, memory.since) = (Some((version, status)), Instant::now());
    }

    /// What was meant with a status that the API server has cut: written again, it would be cut again, for ever.
    pub fn meant(&self, uid: &str, stored: impl FnOnce() -> Value) -> Option<Value> {
        let all = lock(&self.0);
        let memory = all.get(uid)?;
        let kept = memory.kept.as_ref().filter(|_| memory.since.elapsed() < CUT)?;
        (kept.stored == stored()).then(|| kept.meant.clone())
    }

    /// The status that was written over this version of the resource and has not come back yet.
    pub fn ahead(&self, uid: &str, version: Option<&str>) -> Option<Value> {
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
