//! The ConfigMap: the resource documents that the worker reads.
//!
//! It is named by what it holds: a pod of an older revision that is started anew, in the middle of a rollout, finds the
//! configuration that it was made for.

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::{
    controller::{
        program::FILE,
        workload::{Runtime, Workload},
    },
    hash::hash,
};

/// What a workload's ConfigMap is called.
pub fn name(workload: &Workload) -> String {
    match &workload.runtime {
        Runtime::Singleton | Runtime::Batch(_) => workload.names.config(&hash(workload.documents.as_bytes())),
        Runtime::Sharded { .. } => workload.names.config(&workload.checksum),
    }
}

/// The ConfigMap of a workload.
///
/// It is never changed. One exception is a sharded workload's: how many share the work changes while all of them run on,
/// and one that is added has to find it. Its name stands for what all of them live by.
pub fn build(workload: &Workload) -> ConfigMap {
    let changes = matches!(workload.runtime, Runtime::Sharded { .. });
    ConfigMap {
        metadata: meta(workload, &name(workload)),
        data: Some([(FILE.to_owned(), workload.documents.clone())].into()),
        immutable: (!changes).then_some(true),
        ..ConfigMap::default()
    }
}
