//! The PodDisruptionBudget, where it helps: a sink with several workers loses one at a time while nodes are drained.
//!
//! With one worker it would only keep the node from being drained: the frames wait in Kafka meanwhile, nothing is lost.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::meta;
use crate::controller::workload::Workload;

/// The budget of a workload, if it helps.
pub fn build(workload: &Workload) -> Option<PodDisruptionBudget> {
    (workload.pods() > 1).then(|| PodDisruptionBudget {
        metadata: meta(workload, &workload.names.workload),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(workload.names.selector()), ..LabelSelector::default() }),
            // A worker that waits for its camera or disk is not ready, and must not keep its node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
