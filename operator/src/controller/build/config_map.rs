//! The ConfigMap: the resource documents that the worker reads.
//!
//! It is named by what it holds: a pod of an older revision that is started anew, in the middle of a rollout, finds the
//! configuration that it was made for. One that running pods are to follow has the same name for ever.

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::{
    controller::workload::{Runtime, Workload},
    hash::hash,
};

/// What a workload's ConfigMap is called.
pub fn name(workload: &Workload) -> String {
    match &workload.runtime {
        Runtime::Singleton | Runtime::Batch(_) => {
            let all: Vec<u8> = workload.documents.values().flat_map(|text| text.bytes()).collect();
            workload.names.config(&hash(&all))
        }
        Runtime::Shared { .. } => workload.names.followed(),
        Runtime::Sharded { .. } => workload.names.config(&workload.checksum),
    }
}

/// The ConfigMap of a workload.
///
/// It is never changed, but for two. A sharded workload's: how many share the work changes while all of them run on,
/// and one that is added has to find it; its name stands for what all of them live by. And that of a pod for several resources,
/// which come, change and go while it runs.
pub fn build(workload: &Workload) -> ConfigMap {
    let changes = matches!(workload.runtime, Runtime::Sharded { .. } | Runtime::Shared { .. });
    ConfigMap {
        metadata: meta(workload, &name(workload)),
        data: Some(workload.documents.clone()),
        immutable: (!changes).then_some(true),
        ..ConfigMap::default()
    }
}
