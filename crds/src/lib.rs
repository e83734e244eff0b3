//! The `edgereel.dev/v1alpha1` API.
//!
//! One file a kind, the shared pieces beside them. A resource is the worker's whole configuration: `edgereel run`, the
//! operator and the API server all read these types.

pub mod camera_stream;
pub mod common;
pub mod frame_sink;
pub mod kafka_connection;
pub mod plan;
pub mod status;
pub mod template;
pub mod units;

pub use camera_stream::{CameraStream, CameraStreamSpec};
pub use frame_sink::{FrameSink, FrameSinkSpec};
pub use kafka_connection::{KafkaConnection, KafkaConnectionSpec};
