//! Where a disk comes from: a directory of the node, or a claim.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::units::ByteSize;

/// Where it is written: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Storage {
    /// A directory of the machine.
    HostPath(HostPath),
    /// A PersistentVolumeClaim that is there already. Outside Kubernetes, `--storage-root` says where it is.
    PersistentVolumeClaim(PersistentVolumeClaim),
    /// A claim that Kubernetes makes for each worker. It outlives the sink: deleting the sink deletes no frame. Outside
    /// Kubernetes, `--storage-root` says where it is.
    VolumeClaimTemplate(VolumeClaimTemplate),
}

/// Where a folder is read: exactly one. In a cluster, a directory of a node needs `placement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FolderStorage {
    /// A directory of the machine.
    HostPath(HostPath),
    /// A PersistentVolumeClaim that is there already. Outside Kubernetes, `--storage-root` says where it is.
    PersistentVolumeClaim(PersistentVolumeClaim),
}

impl From<&FolderStorage> for Storage {
    fn from(storage: &FolderStorage) -> Self {
        match storage {
            FolderStorage::HostPath(host) => Storage::HostPath(host.clone()),
            FolderStorage::PersistentVolumeClaim(claim) => Storage::PersistentVolumeClaim(claim.clone()),
        }
    }
}

/// The CEL rule for what cannot move its data: a claim may grow, and nothing else of a storage may change.
pub(crate) const SAME_STORAGE: &str = "self.storage == oldSelf.storage || (has(self.storage.volumeClaimTemplate) && \
has(oldSelf.storage.volumeClaimTemplate) && self.storage.volumeClaimTemplate.accessModes == \
oldSelf.storage.volumeClaimTemplate.accessModes && has(self.storage.volumeClaimTemplate.storageClassName) == \
has(oldSelf.storage.volumeClaimTemplate.storageClassName) && (!has(self.storage.volumeClaimTemplate.storageClassName) || \
self.storage.volumeClaimTemplate.storageClassName == oldSelf.storage.volumeClaimTemplate.storageClassName))";

/// What a host path may look like; also in the CRD.
pub const HOST_PATH_PATTERN: &str = r"^/";

/// A directory of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPath {
    /// An absolute path without `..`; it has to be there already, so that a disk that is not mounted is noticed.
    #[schemars(length(max = 4096), regex(pattern = HOST_PATH_PATTERN))]
    pub path: String,
}

/// A PersistentVolumeClaim in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaim {
    /// The claim's name.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// A claim for each worker, called `data-<sink>-sink-<replica>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaimTemplate {
    /// The StorageClass. Default: the cluster's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// How the volume may be mounted. Default: `ReadWriteOnce`.
    #[serde(default = "read_write_once")]
    #[schemars(length(min = 1, max = 4))]
    pub access_modes: Vec<AccessMode>,
    /// How large the volume is, for example `400Gi`. At least `1Mi`. A larger one makes the claims grow, where their StorageClass
    /// allows it; where it does not, the condition `ClaimsSized` says so. It never shrinks.
    pub size: ByteSize,
}

fn read_write_once() -> Vec<AccessMode> {
    vec![AccessMode::ReadWriteOnce]
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By one node.
    ReadWriteOnce,
    /// By one pod.
    ReadWriteOncePod,
    /// By many nodes.
    ReadWriteMany,
}

impl AccessMode {
    /// As a claim has it.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessMode::ReadWriteOnce => "ReadWriteOnce",
            AccessMode::ReadWriteOncePod => "ReadWriteOncePod",
            AccessMode::ReadWriteMany => "ReadWriteMany",
        }
    }
}
