//! Says how the archive goes: a condition, metrics, the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use edgereel_crds::{
    name::ObjectName,
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_runtime::state::ResourceState;

use super::units::Unit;
use crate::{
    bucket::{fault::Refused, upload::Put},
    sink::metrics::SinkMetrics,
};

/// How far the archive is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Closed files that it lacks.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why it does not go on; none while it does.
    pub fault: Option<String>,
}

/// Says how it goes.
pub struct Telling {
    /// Whose archive it is.
    pub sink: ObjectName,
    /// What is counted.
    pub metrics: SinkMetrics,
    /// What is said.
    pub state: ResourceState,
    /// The same, for the sink itself.
    pub behind: Arc<Mutex<Behind>>,
}

impl Telling {
    /// All is well.
    pub fn healthy(&self, message: String) {
        self.state.set(ConditionType::ArchiveHealthy, ConditionStatus::True, Reason::Running, message);
        self.behind().fault = None;
    }

    /// It failed, and will be tried again.
    pub fn refused(&self, refused: &Refused) {
        let message = format!("archive: {refused}");
        let news = self.behind().fault.replace(refused.message.clone()).as_ref() != Some(&refused.message);
        self.metrics.uploads_failed.inc();
        self.stands(refused);
        if news {
            tracing::warn!(sink = %self.sink, "{message}; it is tried again");
            self.state.note_error(message);
        }
    }

    /// A closed file is not there any more, and cannot be uploaded.
    pub fn moved_away(&self, refused: &Refused) {
        let message = format!("archive: {refused}; it was moved away before it was uploaded");
        tracing::warn!(sink = %self.sink, "{message}");
        self.state.note_error(message);
    }

    /// What failed stands, whatever else has succeeded since.
    pub fn stands(&self, refused: &Refused) {
        self.state.set(ConditionType::ArchiveHealthy, ConditionStatus::False, refused.reason, &refused.message);
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much waits.
    pub fn waiting(&self, waiting: &BTreeMap<u64, Unit>) {
        let (files, bytes) = (waiting.len() as u64, waiting.values().map(|unit| unit.bytes).sum());
        let oldest = waiting.values().map(|unit| unit.since).min().unwrap_or(0);
        {
            let mut behind = self.behind();
            (behind.files, behind.bytes) = (files, bytes);
        }
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.unarchived.set(number(files));
        self.metrics.unarchived_bytes.set(number(bytes));
        self.metrics.unarchived_oldest.set(oldest as f64);
    }

    /// An object was acknowledged.
    pub fn put(&self, put: &Put) {
        self.metrics.uploaded.inc();
        if !put.was_there {
            self.metrics.uploaded_bytes.inc_by(put.bytes);
        }
    }
}
