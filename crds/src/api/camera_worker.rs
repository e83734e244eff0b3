//! `CameraWorker`: one pod for many cameras.

// Each printer column has a name and a type: the lint takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    declared::{Declared, Reference, SecretUses},
    placement::Placement,
    pod::PodTemplate,
    resource_status::CameraWorkerStatus,
    status::ConditionType,
};

/// One pod for all the cameras that name it in `workerRef`. For Kubernetes: `edgereel run` runs all cameras in one process anyway.
///
/// A camera that comes, changes or goes does not touch the others. The pod is made anew when this resource changes, and when a
/// camera needs a Secret that none of them needed before.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "edgereel.dev",
    version = "v1alpha1",
    kind = "CameraWorker",
    doc = "One pod for many cameras.",
    namespaced,
    shortname = "cw",
    category = "edgereel",
    status = "CameraWorkerStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Cameras", type_ = "integer", json_path = ".status.cameras"),
    printcolumn(name = "CamerasReady", type_ = "integer", json_path = ".status.camerasReady"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Pod", type_ = "string", json_path = ".status.pod", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct CameraWorkerSpec {
    /// Which machines of a cluster may run it, for example the one that reaches the cameras.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// What its pod is like in a cluster. Its memory has no limit unless `resources` has one: how many cameras share it changes
    /// while it runs.
    #[serde(default)]
    pub template: PodTemplate,
}

impl Declared for CameraWorker {
    const NAME: &'static str = "CameraWorker";
    const COMPONENT: Option<&'static str> = Some("worker");
    const ASPECT: Option<ConditionType> = None;

    fn references(_: &CameraWorkerSpec) -> Vec<Reference> {
        Vec::new()
    }

    fn secrets(_: &CameraWorkerSpec) -> SecretUses {
        SecretUses::new()
    }
}
