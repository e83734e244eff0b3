//! The Deployment: the one pod of a singleton, such as a camera's.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{pod, stamped};
use crate::{controller::workload::Workload, settings::Settings};

/// The Deployment of a singleton. `Recreate`: of a camera, two workers at once would send every frame twice, and many cameras take one
/// viewer only.
pub fn build(workload: &Workload, settings: &Settings) -> Deployment {
    Deployment {
        metadata: stamped(workload),
        spec: Some(DeploymentSpec {
            replicas: Some(workload.pods()),
            revision_history_limit: Some(2),
            selector: LabelSelector { match_labels: Some(workload.names.selector()), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }),
            template: pod::template(workload, settings),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}
