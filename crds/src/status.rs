//! What a worker says of a resource: conditions with reasons from a closed set.
//!
//! `edgereel run` serves it at `/status`; the operator writes it into the resource's status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The conditions. `Ready`, `Reconciling` and `Stalled` are kstatus's, so that Flux, Argo CD and `kubectl wait` work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// Frames flow: from the camera to an acknowledging Kafka, or from Kafka to a healthy disk.
    Ready,
    /// On the way there; more than a moment.
    Reconciling,
    /// Not going on without a person.
    Stalled,
    /// The camera sends pictures that change.
    CameraOnline,
    /// The output can be written.
    StorageHealthy,
}

/// Why a condition has its value. The set is closed: monitoring may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // each reason's meaning stands beside it in docs/troubleshooting.md
pub enum Reason {
    /// All is well.
    Running,
    Starting,
    Suspended,
    Stopping,
    /// The configuration cannot work: a reference, secret, path or value.
    InvalidConfiguration,
    SecretMissing,
    CameraConnecting,
    CameraUnreachable,
    CameraUnauthorized,
    /// The camera answered, but not with pictures.
    CameraProtocolError,
    CameraStalled,
    CameraFrozen,
    KafkaConnecting,
    KafkaUnreachable,
    KafkaUnauthorized,
    TopicMissing,
    TopicMismatch,
    MessageTooLarge,
    /// Another worker has the partitions (or this one's identity).
    NotAssigned,
    OffsetLost,
    InvalidRecord,
    StorageMissing,
    StorageReadOnly,
    StorageFull,
    StorageError,
    /// Another process writes the same output.
    StorageLocked,
    /// A fault of ours.
    InternalError,
}

/// One condition, in the form of `metav1.Condition` (without `observedGeneration`, which the operator adds).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// When `status` last changed, RFC 3339.
    pub last_transition_time: String,
}

/// A condition's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}
