//! From a validated resource to its children. Pure: the same workload always gives the same children, byte for byte.
//!
//! One file a kind of child; [`pod`] is what a Deployment and a StatefulSet share.

pub mod config_map;
pub mod deployment;
pub mod pdb;
pub mod pod;
pub mod service;
pub mod stateful_set;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::api::ObjectMeta;

use super::workload::Workload;
use crate::settings::Settings;

/// The children that a resource is to have. What is `None` is not to be there.
///
/// They are applied in the order of the fields: pods that start find their configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// The resource documents.
    pub config_map: Option<ConfigMap>,
    /// Names for the pods, and their metrics.
    pub service: Option<Service>,
    /// A camera's pod.
    pub deployment: Option<Deployment>,
    /// A sink's pods.
    pub stateful_set: Option<StatefulSet>,
    /// Keeps a node's drain from stopping more than one worker of a sink.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// All children of a workload.
pub fn build(workload: &Workload, settings: &Settings) -> Children {
    let camera = workload.storage.is_none();
    Children {
        config_map: Some(config_map::build(workload)),
        service: Some(service::build(workload)),
        deployment: camera.then(|| deployment::build(workload, settings)),
        stateful_set: (!camera).then(|| stateful_set::build(workload, settings)),
        disruption_budget: pdb::build(workload),
    }
}

/// The metadata of a child called `name`.
fn meta(workload: &Workload, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(workload.owner.namespace.clone()),
        labels: Some(workload.names.labels()),
        owner_references: Some(vec![workload.owner.reference()]),
        ..ObjectMeta::default()
    }
}
