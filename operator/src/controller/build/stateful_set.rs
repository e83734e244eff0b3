//! The StatefulSet: numbered pods, such as a sink's. Each keeps its number, and with it its membership in the consumer group, over restarts.

use edgereel_crds::storage::{AccessMode, Storage, VolumeClaimTemplate};
use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use kube::api::ObjectMeta;

use super::{pod, stamped};
use crate::{controller::workload::Workload, settings::Settings};

/// The StatefulSet of a sharded workload.
pub fn build(workload: &Workload, storage: &Storage, settings: &Settings) -> StatefulSet {
    let claim = match storage {
        Storage::VolumeClaimTemplate(claim) => Some(vec![claim_template(workload, claim)]),
        Storage::HostPath(_) | Storage::PersistentVolumeClaim(_) => None,
    };
    StatefulSet {
        metadata: stamped(workload),
        spec: Some(StatefulSetSpec {
            replicas: Some(workload.pods()),
            revision_history_limit: Some(2),
            service_name: Some(workload.names.workload.clone()),
            // Workers do not wait for each other: a partition without a worker waits in Kafka.
            pod_management_policy: Some("Parallel".into()),
            // One pod at a time, and the next only when the last is ready: a bad image stops at the first.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy { partition: Some(0), max_unavailable: None }),
            }),
            // What was recorded outlives the sink and its replicas.
            persistent_volume_claim_retention_policy: claim.is_some().then(|| {
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".into()),
                    when_scaled: Some("Retain".into()),
                }
            }),
            selector: LabelSelector { match_labels: Some(workload.names.selector()), ..LabelSelector::default() },
            template: pod::template(workload, settings),
            volume_claim_templates: claim,
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// A StatefulSet's claim templates cannot be changed: they hold nothing that ever does.
fn claim_template(workload: &Workload, claim: &VolumeClaimTemplate) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::DATA_VOLUME.into()),
            labels: Some(workload.names.selector()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(claim.access_modes.iter().map(|mode| AccessMode::as_str(*mode).into()).collect()),
            storage_class_name: claim.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(claim.size.to_string()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}
