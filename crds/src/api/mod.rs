//! The types: what people write, and what the operator and the workers answer.

pub mod active_hours;
pub mod camera_stream;
pub mod camera_worker;
pub mod common;
pub mod dataset;
pub mod declared;
pub mod device;
pub mod directory;
pub mod fields;
pub mod frame_sink;
pub mod kafka_connection;
pub mod kinds;
pub mod name;
pub mod placement;
pub mod pod;
pub mod pod_overrides;
pub mod resource_status;
pub mod retention;
pub mod secret_uses;
pub mod secret_value;
pub mod shape;
pub mod status;
pub mod storage;
pub mod template;
pub mod units;
mod upstream;
pub mod worker_status;
