//! The `edgereel.dev/v1alpha1` API.
//!
//! One file a kind, the shared pieces beside them. A resource is the worker's whole configuration: `edgereel run`, the
//! operator and the API server all read these types.

pub mod camera_stream;
pub mod check;
pub mod common;
pub mod crd;
pub mod document;
pub mod frame_sink;
pub mod generated;
pub mod kafka_connection;
pub mod load;
pub mod placement;
pub mod plan;
pub mod pod;
pub mod problem;
pub mod redact;
pub mod reference;
pub mod resource_status;
pub mod secret_uses;
pub mod shape;
pub mod status;
pub mod template;
pub mod units;
pub mod upstream;
pub mod walk;
pub mod worker_status;
pub mod yaml;

pub use camera_stream::{CameraStream, CameraStreamSpec};
pub use crd::{crds, crds_yaml, json_schema};
pub use frame_sink::{FrameSink, FrameSinkSpec};
pub use kafka_connection::{KafkaConnection, KafkaConnectionSpec};
pub use load::load;
