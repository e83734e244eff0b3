//! What a resource asks of its pods: image, resources, labels, volumes for devices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    common::{LABEL_PATTERN, LocalRef},
    pod_overrides::PodOverrides,
    storage::{HOST_PATH_PATTERN, HostPath, PersistentVolumeClaim},
    units::ByteSize,
    upstream::upstream,
};

/// What an environment variable's name may look like; also in the CRD.
pub const ENV_PATTERN: &str = r"^[A-Za-z_][A-Za-z0-9_]*$";

/// What the pods are like. For Kubernetes: `edgereel run` makes no pods. A change makes the pods anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// The worker's image, by tag or by digest. Default: the operator's `--worker-image`. One that cannot be pulled: the
    /// condition `Ready` has the reason `ImagePullFailed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// When the image is pulled. Default: Kubernetes' own (`Always` for the tag `latest`, else `IfNotPresent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with logins for the image's registry. Default: the operator's `--image-pull-secrets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// What the worker gets of the node. Default: requests of 50m CPU and 64Mi, and a memory limit from what the resource
    /// may buffer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "upstream::<ResourceRequirements>")]
    pub resources: Option<ResourceRequirements>,
    /// Labels of the pods, beside Edgereel's own, which win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods, beside Edgereel's own, which win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Environment variables of the worker, for example `EDGEREEL_LOG: debug`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub env: Vec<EnvVar>,
    /// The pods' PriorityClass. One that does not exist: no pod is made, and `Ready` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// The pods' ServiceAccount, for what depends on it (image pull secrets, policies). Its token is never mounted: a
    /// worker does not talk to Kubernetes. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Whom the worker runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurity>,
    /// How long a worker may take to deliver, flush and commit when it is stopped. Default: 60 seconds. After that it is
    /// killed: nothing acknowledged is lost, but frames on their way to Kafka are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Further volumes, for example a device of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<Volume>,
    /// Where the worker sees the further volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volume_mounts: Vec<VolumeMount>,
    /// Whatever else a pod can have, as in a pod's template (`metadata`, `spec`), merged into what the operator builds:
    /// `initContainers`, further `containers`, `hostAliases`, `topologySpreadConstraints`, `hostNetwork`, `dnsConfig`, … Lists are
    /// merged as `kubectl patch` does: containers, volumes and variables by their names. The worker's own container is called
    /// `worker`. What the worker lives by is refused: `edgereel validate` says what, and where it is said instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<PodOverrides>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// Before every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: it has to be on the node.
    Never,
}

impl ImagePullPolicy {
    /// As a pod has it.
    pub fn as_str(self) -> &'static str {
        match self {
            ImagePullPolicy::Always => "Always",
            ImagePullPolicy::IfNotPresent => "IfNotPresent",
            ImagePullPolicy::Never => "Never",
        }
    }
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = ENV_PATTERN))]
    pub name: String,
    /// Its value, in plain text for all who may read the resource.
    #[schemars(length(max = 32768))]
    pub value: String,
}

/// Whom the worker runs as. It is never root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// The user's number. Default: the operator's `--worker-run-as-user`. A `hostPath` has to be writable for it or for
    /// one of the groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4294967294_i64))]
    pub run_as_user: Option<i64>,
    /// The main group's number. Default: the operator's `--worker-run-as-group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4294967294_i64))]
    pub run_as_group: Option<i64>,
    /// The group that claimed volumes are handed to. Default: `runAsGroup`. Kubernetes leaves a `hostPath` as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4294967294_i64))]
    pub fs_group: Option<i64>,
    /// Further groups, for example the one that a device belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 1, max = 4294967294_i64)))]
    pub supplemental_groups: Vec<i64>,
}

/// A further volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name. `config`, `data`, `tmp` and names that begin with `secret-` are Edgereel's own.
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub name: String,
    /// What it is; exactly one.
    pub source: VolumeSource,
}

/// What a further volume is: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// A file, directory or device of the node; it has to be there. The operator's `--allowed-host-paths` has to allow it.
    HostPath(HostPath),
    /// A directory that lives as long as the pod.
    EmptyDir(EmptyDir),
    /// A ConfigMap in the same namespace.
    ConfigMap(LocalRef),
    /// A Secret in the same namespace. A change of it does not make the pods anew.
    Secret(LocalRef),
    /// A PersistentVolumeClaim in the same namespace.
    PersistentVolumeClaim(PersistentVolumeClaim),
}

/// A directory that lives as long as the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// The most that may be written to it; a pod that writes more is evicted. Without it, the node's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<ByteSize>,
}

/// Where the worker sees a further volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// An absolute path, not below `/data`, `/secrets`, `/etc/edgereel` or `/tmp`, which are Edgereel's own.
    #[schemars(length(min = 1, max = 4096), regex(pattern = HOST_PATH_PATTERN))]
    pub mount_path: String,
    /// The worker cannot write there. Default: false.
    #[serde(default)]
    pub read_only: bool,
}
