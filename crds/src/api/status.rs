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
    /// What is closed reaches the archive. There only where a sink has one.
    ArchiveHealthy,
    /// The configuration is valid, and what it refers to is there.
    Accepted,
    /// The workers answer the operator, which shows their figures.
    FiguresAvailable,
    /// It has fields that who reads it does not know, and passes over. Absent where it has none.
    UnknownFields,
    /// What the operator itself has changed (its worker image, its settings) has reached the pods.
    UpToDate,
    /// The operator leaves the resource's children alone. There only while that is so.
    Paused,
    /// The claims have the size that is declared. There only while they have not.
    ClaimsSized,
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
    /// The Secret is there, and a key that is used is not.
    SecretKeyMissing,
    /// There is no such ConfigMap.
    ConfigMapMissing,
    /// The ConfigMap is there, and a key that is used is not.
    ConfigMapKeyMissing,
    CameraConnecting,
    CameraUnreachable,
    CameraUnauthorized,
    /// The camera answered, but not with pictures.
    CameraProtocolError,
    CameraStalled,
    CameraFrozen,
    /// Pictures come, and none of them goes on.
    CameraFramesDropped,
    /// Frames flow, and another process captures the camera into the same topic.
    CapturedTwice,
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
    /// The object store does not answer, or is overloaded.
    ArchiveUnreachable,
    /// The object store refuses the login, or the right to write.
    ArchiveUnauthorized,
    /// The object store has no such bucket, or has it elsewhere.
    ArchiveBucketMissing,
    /// An object of that name is there, with other content.
    ArchiveConflict,
    /// The object store answers with another error.
    ArchiveError,
    /// Another program does this work, and is not installed.
    ProgramMissing,
    /// The program that does this work has ended, or does not answer.
    ProgramFailed,
    /// A fault of ours.
    InternalError,
    /// The operator is changing the workload.
    RolloutInProgress,
    /// A change of the operator's has reached the pods.
    UpToDate,
    /// A change of the operator's waits for its turn, or for a maintenance window.
    RolloutWaiting,
    /// A change of the operator's goes no further: it did another one no good.
    RolloutHalted,
    /// `edgereel.dev/pause` is set.
    Paused,
    /// The scheduler finds no node.
    Unschedulable,
    ImagePullFailed,
    /// The node of a pod is lost: its kubelet says nothing.
    NodeLost,
    /// The worker ends again and again.
    PodCrashing,
    /// The pod cannot be made, or cannot start.
    PodFailed,
    /// The operator's `--allowed-host-paths` does not have it.
    HostPathNotAllowed,
    /// The connection is of another namespace, and does not allow this one.
    ConnectionNotAllowed,
    /// The connection is of another namespace, which the operator does not watch, or it shares none.
    ConnectionOutOfReach,
    /// A child's name is taken by an object of somebody else's.
    NameTaken,
    /// It ran to its end.
    Completed,
    /// It waits for the next time of its schedule.
    Scheduled,
    /// It ended, and not well.
    RunFailed,
    /// More workers are asked for than the topic has partitions.
    ReplicasCapped,
    /// The claims' class lets none of them grow.
    ClaimsNotExpandable,
    /// A smaller size is declared than the claims have.
    ClaimsCannotShrink,
    /// The stored resource is not one that this operator can read.
    ResourceMalformed,
    /// Some of its fields are of a newer version.
    UnknownFields,
    /// Nothing uses the connection.
    NotUsed,
    /// The pod runs, but its `/status` does not answer the operator.
    WorkerUnreachable,
    /// The operator could not do its part; it tries again.
    OperatorError,
}

impl Reason {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        use Reason::*;
        match self {
            Running => "Running",
            Starting => "Starting",
            Suspended => "Suspended",
            Stopping => "Stopping",
            InvalidConfiguration => "InvalidConfiguration",
            SecretMissing => "SecretMissing",
            SecretKeyMissing => "SecretKeyMissing",
            ConfigMapMissing => "ConfigMapMissing",
            ConfigMapKeyMissing => "ConfigMapKeyMissing",
            CameraConnecting => "CameraConnecting",
            CameraUnreachable => "CameraUnreachable",
            CameraUnauthorized => "CameraUnauthorized",
            CameraProtocolError => "CameraProtocolError",
            CameraStalled => "CameraStalled",
            CameraFrozen => "CameraFrozen",
            CameraFramesDropped => "CameraFramesDropped",
            CapturedTwice => "CapturedTwice",
            KafkaConnecting => "KafkaConnecting",
            KafkaUnreachable => "KafkaUnreachable",
            KafkaUnauthorized => "KafkaUnauthorized",
            TopicMissing => "TopicMissing",
            TopicMismatch => "TopicMismatch",
            MessageTooLarge => "MessageTooLarge",
            NotAssigned => "NotAssigned",
            OffsetLost => "OffsetLost",
            InvalidRecord => "InvalidRecord",
            StorageMissing => "StorageMissing",
            StorageReadOnly => "StorageReadOnly",
            StorageFull => "StorageFull",
            StorageError => "StorageError",
            StorageLocked => "StorageLocked",
            ArchiveUnreachable => "ArchiveUnreachable",
            ArchiveUnauthorized => "ArchiveUnauthorized",
            ArchiveBucketMissing => "ArchiveBucketMissing",
            ArchiveConflict => "ArchiveConflict",
            ArchiveError => "ArchiveError",
            ProgramMissing => "ProgramMissing",
            ProgramFailed => "ProgramFailed",
            InternalError => "InternalError",
            RolloutInProgress => "RolloutInProgress",
            UpToDate => "UpToDate",
            RolloutWaiting => "RolloutWaiting",
            RolloutHalted => "RolloutHalted",
            Paused => "Paused",
            Unschedulable => "Unschedulable",
            ImagePullFailed => "ImagePullFailed",
            NodeLost => "NodeLost",
            PodCrashing => "PodCrashing",
            PodFailed => "PodFailed",
            HostPathNotAllowed => "HostPathNotAllowed",
            ConnectionNotAllowed => "ConnectionNotAllowed",
            ConnectionOutOfReach => "ConnectionOutOfReach",
            NameTaken => "NameTaken",
            Completed => "Completed",
            Scheduled => "Scheduled",
            RunFailed => "RunFailed",
            ReplicasCapped => "ReplicasCapped",
            ClaimsNotExpandable => "ClaimsNotExpandable",
            ClaimsCannotShrink => "ClaimsCannotShrink",
            ResourceMalformed => "ResourceMalformed",
            NotUsed => "NotUsed",
            UnknownFields => "UnknownFields",
            WorkerUnreachable => "WorkerUnreachable",
            OperatorError => "OperatorError",
        }
    }
}

impl ConditionType {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Reconciling => "Reconciling",
            ConditionType::Stalled => "Stalled",
            ConditionType::CameraOnline => "CameraOnline",
            ConditionType::StorageHealthy => "StorageHealthy",
            ConditionType::ArchiveHealthy => "ArchiveHealthy",
            ConditionType::Accepted => "Accepted",
            ConditionType::FiguresAvailable => "FiguresAvailable",
            ConditionType::UnknownFields => "UnknownFields",
            ConditionType::UpToDate => "UpToDate",
            ConditionType::Paused => "Paused",
            ConditionType::ClaimsSized => "ClaimsSized",
        }
    }
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
