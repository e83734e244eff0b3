//! The `edgereel.dev/v1alpha1` API.
//!
//! A resource is the worker's whole configuration: `edgereel run`, the operator and the API server all read these types.
//!
//! Who adds a field opens [`api`]: one file a kind, the shared pieces beside them. [`check`] says what is wrong with a
//! resource and makes a [`plan`] of those that are right; [`document`] reads them from YAML, with the place of each
//! [`problem`]; [`publish`] writes the definitions, the editors' schema and the reference. Each uses those before it:
//! problem, api, plan, check, document, publish; `tests/layers.rs` sees to it.

pub mod api;
pub mod check;
pub mod document;
pub mod plan;
pub mod problem;
pub mod publish;
pub mod redact;

// What the derives of kube-derive know as `kube`. All of it would bring the operator's client into every program.
extern crate self as kube;
pub(crate) use kube_core::{self as core, CustomResourceExt, Resource};
pub(crate) use kube_derive::{CustomResource, KubeSchema};

// The types are what everyone comes for.
pub use api::{
    active_hours, archive,
    camera_stream::{self, CameraStream, CameraStreamSpec},
    camera_worker::{self, CameraWorker, CameraWorkerSpec},
    common, dataset, declared, device, directory, fields, file,
    frame_sink::{self, FrameSink, FrameSinkSpec},
    kafka_connection::{self, KafkaConnection, KafkaConnectionSpec},
    name, placement, pod, pod_overrides, resource_status, retention, schedule, secret_uses, secret_value, shape,
    status, storage, template, units, worker_status,
};
pub use document::load::{self, load};
pub use publish::crd::{crds, crds_yaml, json_schema};
