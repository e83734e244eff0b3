//! What a disk refused, in words that name the path and the remedy.

use std::{
    io,
    path::{Path, PathBuf},
};

use edgereel_crds::status::Reason;
use edgereel_runtime::{fault::Fault, plain::plain};

impl From<OutputError> for Fault {
    fn from(error: OutputError) -> Self {
        let reason = match &error {
            OutputError::NoSpace { .. } => Reason::StorageFull,
            OutputError::Superseded => Reason::NotAssigned,
            OutputError::Frame { .. } => Reason::InvalidRecord,
            OutputError::Storage { reason, .. } => *reason,
        };
        Fault::new(reason, error)
    }
}

/// Why an output cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The disk (or the quota) is full: nothing was written; keep the frame, wait, try again.
    #[error("{} is full: free some space, frames wait in Kafka meanwhile", path.display())]
    NoSpace {
        /// The file or directory.
        path: PathBuf,
    },
    /// The partitions went to another worker: write nothing more.
    #[error("the partitions now belong to another worker")]
    Superseded,
    /// The frame itself cannot be stored (its name is refused, the codec cannot decode it): treat the record as
    /// invalid.
    #[error("{message}")]
    Frame {
        /// For the metric and the dead letter.
        reason: edgereel_frame::reasons::InvalidReason,
        /// For people.
        message: String,
    },
    /// The storage or the output's state is not usable; a restart of the sink may mend it.
    #[error("{message}")]
    Storage {
        /// For the condition.
        reason: Reason,
        /// For people: path and remedy.
        message: String,
    },
}

impl OutputError {
    /// What an IO error means when `action` (as in "write", "create") on `path` met it.
    pub fn from_io(action: &str, path: &Path, error: &io::Error) -> Self {
        let at = path.display();
        let (reason, remedy) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                return OutputError::NoSpace { path: path.into() };
            }
            io::ErrorKind::NotFound => (Reason::StorageMissing, "make the directory, or mount the disk"),
            io::ErrorKind::ReadOnlyFilesystem => (Reason::StorageReadOnly, "mount it writable"),
            io::ErrorKind::PermissionDenied => {
                (Reason::StorageReadOnly, "let this user write there (chown, chmod or fsGroup)")
            }
            io::ErrorKind::CrossesDevices => {
                (Reason::StorageError, "a directory below `directory` is on another file system: use one sink for each")
            }
            io::ErrorKind::IsADirectory => (Reason::StorageError, "a directory has the name of the file: move it away"),
            io::ErrorKind::NotADirectory => (Reason::StorageError, "a part of the path is a file: move it away"),
            _ => (Reason::StorageError, "check the disk (dmesg, smartctl)"),
        };
        OutputError::Storage { reason, message: format!("cannot {action} {at}: {}; {remedy}", plain(error)) }
    }

    /// A storage fault in our own words.
    pub fn storage(reason: Reason, message: impl Into<String>) -> Self {
        OutputError::Storage { reason, message: plain(message.into()) }
    }
}
