//! The ConfigMap: the resource documents that the worker reads, as they are.

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::controller::workload::Workload;

/// The file's name in the ConfigMap and in the pod.
pub const FILE: &str = "resources.yaml";

/// The ConfigMap of a workload.
pub fn build(workload: &Workload) -> ConfigMap {
    ConfigMap {
        metadata: meta(workload, &workload.names.config),
        data: Some([(FILE.to_owned(), workload.documents.clone())].into()),
        ..ConfigMap::default()
    }
}
