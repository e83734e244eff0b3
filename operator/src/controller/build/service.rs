//! The Service: names for the pods, and where their metrics are found.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::meta;
use crate::controller::{
    program::{PORT, PORT_NAME},
    workload::Workload,
};

/// The Service of a workload. Headless: each pod has figures of its own, and pods that are not ready have the ones that
/// matter most.
pub fn build(workload: &Workload) -> Service {
    Service {
        metadata: meta(workload, &workload.names.workload),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(workload.names.selector()),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.into()),
                port: PORT,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::String(PORT_NAME.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
