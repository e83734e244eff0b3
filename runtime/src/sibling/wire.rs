//! What a program and who runs it say to each other, beside HTTP: documents on standard input, lines on standard output.

use edgereel_crds::worker_status::WorkerStatus;
use serde::{Deserialize, Serialize};

/// All of standard input, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Given<D> {
    /// The documents' texts, each with its file's name: what the other has checked runs, whatever became of the files since.
    pub documents: D,
}

/// A line of standard output, as JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// It has begun, and serves HTTP at this address.
    Http(String),
    /// It has stopped, and this is how its resources fared at last.
    Stopped(WorkerStatus),
}

impl Said {
    /// As it is sent.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}
