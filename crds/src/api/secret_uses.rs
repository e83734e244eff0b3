//! Which Secrets and ConfigMaps resources read: for the operator, which mounts them, and for whoever has to notice that one has changed.

pub use crate::api::declared::{SecretUses, Source};
use crate::api::{
    camera_stream::{CameraStream, CameraStreamSpec},
    declared::Declared,
    frame_sink::{FrameSink, FrameSinkSpec},
    kafka_connection::{KafkaConnection, KafkaConnectionSpec},
};

/// The Secrets that a camera's own spec names.
pub fn camera_secrets(spec: &CameraStreamSpec) -> SecretUses {
    CameraStream::secrets(spec)
}

/// The Secrets that a sink's own spec names.
pub fn sink_secrets(spec: &FrameSinkSpec) -> SecretUses {
    FrameSink::secrets(spec)
}

/// The Secrets that a connection names.
pub fn connection_secrets(spec: &KafkaConnectionSpec) -> SecretUses {
    KafkaConnection::secrets(spec)
}

/// Both together.
pub fn merged(mut uses: SecretUses, more: SecretUses) -> SecretUses {
    for (name, keys) in more {
        uses.entry(name).or_default().extend(keys);
    }
    uses
}
