//! Why a resource stopped working: the one error that a supervisor sees.

use std::fmt::Display;

use edgereel_crds::status::Reason;

use crate::plain::plain;

/// Why a resource stopped. Its supervisor starts it again, with a backoff.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For the condition.
    pub reason: Reason,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Fault {
    /// A fault with its reason.
    pub fn new(reason: Reason, message: impl Display) -> Self {
        Fault { reason, message: plain(message) }
    }

    /// Whether the storage is what fails.
    pub fn is_storage(&self) -> bool {
        use Reason::*;
        matches!(self.reason, StorageMissing | StorageReadOnly | StorageFull | StorageError | StorageLocked)
    }
}
