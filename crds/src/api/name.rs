//! What resources are called: their kinds, their names, and both together.

use std::fmt;

pub use crate::api::kinds::Kind;

/// The group and version of our kinds.
pub const API_VERSION: &str = "edgereel.dev/v1alpha1";

/// A namespaced name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace; `default` where a document has none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A program that runs resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
}

/// Cameras to Kafka, Kafka to disk.
pub const WORKER: Program = Program { name: "edgereel", package: "edgereel" };

impl Kind {
    /// The program that runs its resources; none where others refer to them and nothing runs.
    pub fn program(self) -> Option<Program> {
        match self {
            Kind::KafkaConnection | Kind::CameraWorker => None,
            Kind::CameraStream | Kind::FrameSink => Some(WORKER),
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Kind {
    /// A resource as problems name it: `FrameSink/lab`, with the namespace where it is not `default`.
    pub fn label(self, name: &ObjectName) -> String {
        label(self.as_str(), name)
    }
}

/// A resource of any kind as problems name it; see [`Kind::label`].
pub fn label(kind: &str, name: &ObjectName) -> String {
    match name.namespace.as_str() {
        "default" => format!("{kind}/{}", name.name),
        namespace => format!("{kind}/{namespace}/{}", name.name),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
