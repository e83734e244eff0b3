//! The status of each kind, as the operator writes it: conditions, and live figures for `kubectl get`.
//!
//! Reasons are text here, not the enum: a status that a newer operator wrote must not keep an older one from reading the
//! resource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{status::ConditionType, upstream::upstream};

/// What a camera does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CameraStreamStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `CameraOnline` and `FiguresAvailable`, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// Frames a second that the camera sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Their mean size in kilobytes (1000 bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_kilobytes: Option<i64>,
    /// Frames that Kafka acknowledged since the worker started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_acknowledged: Option<i64>,
    /// Frames that did not reach Kafka since the worker started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_dropped: Option<i64>,
    /// When the last frame came, RFC 3339; as old as the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_frame_time: Option<String>,
    /// With `schedule`: when it runs next, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run_time: Option<String>,
    /// With `schedule`: the time that the last run was due at, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_time: Option<String>,
    /// With `schedule`: how the last run ended, with its counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// The node that the pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The `CameraWorker` whose pod captures it; none where it has a pod of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

/// What a pod for many cameras does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CameraWorkerStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `FiguresAvailable`, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// How many cameras name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<i32>,
    /// How many of them are ready, as the worker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras_ready: Option<i32>,
    /// The node that the pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// What a sink does. Figures of several workers are added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameSinkStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `StorageHealthy`, `ArchiveHealthy` (with `archive`) and `FiguresAvailable`, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The pods that there are, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// The pods' labels, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Frames a second that are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Their mean size in kilobytes (1000 bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_kilobytes: Option<i64>,
    /// Frames written since the workers started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_stored: Option<i64>,
    /// Records sent to the dead-letter topic since the workers started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_dead_lettered: Option<i64>,
    /// Records gone from the topic before they were read, since the workers started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_lost: Option<i64>,
    /// Records not yet committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<i64>,
    /// How full the output's file system is, as in `63%`; of several, the fullest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_used: Option<String>,
    /// With `retention`: the days between now and the oldest frame; of several workers, the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_days: Option<f64>,
    /// With `retention`: megabytes that are kept, and may be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_megabytes: Option<i64>,
    /// With `retention`: for how many days of frames there is room at the present rate; of several workers, the fewest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_days: Option<f64>,
    /// With `archive`: closed files that it does not have yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unarchived_files: Option<i64>,
    /// With `archive`: their megabytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unarchived_megabytes: Option<i64>,
    /// The nodes that the pods run on, with commas between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Whether a connection is sound, how many use it, and whether their workers reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaConnectionStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `Accepted`, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// How many cameras and sinks use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<i32>,
    /// The brokers that their workers are connected with, as `host:port/id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<String>,
}

/// What the statuses of all kinds have in common.
pub trait ResourceStatus {
    /// The generation that it is about.
    fn observed_generation(&self) -> Option<i64>;
    /// Its conditions.
    fn conditions(&self) -> &[Condition];

    /// One condition.
    fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions().iter().find(|c| c.type_ == kind.as_str())
    }
}

macro_rules! resource_status {
    ($($status:ty),*) => {$(
        impl ResourceStatus for $status {
            fn observed_generation(&self) -> Option<i64> {
                self.observed_generation
            }

            fn conditions(&self) -> &[Condition] {
                &self.conditions
            }
        }
    )*};
}
resource_status!(CameraStreamStatus, CameraWorkerStatus, FrameSinkStatus, KafkaConnectionStatus);

/// A list that is merged by `type`, as every condition list of Kubernetes.
fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = schemars::json_schema!({"type": "array", "items": upstream::<Condition>(generator)});
    let list = schema.ensure_object();
    list.insert("x-kubernetes-list-type".into(), json!("map"));
    list.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
    schema
}
