//! What the check makes of resources: each camera and sink with all that it refers to, and every default decided.
//!
//! A worker runs a plan, never a raw resource, so that it cannot meet a missing reference or an undecided default.

use std::collections::BTreeMap;

pub use crate::api::name::ObjectName;
use crate::api::{
    camera_stream::CameraStreamSpec,
    frame_sink::{FrameSinkSpec, OnInvalid},
    kafka_connection::KafkaConnectionSpec,
    name::Kind,
    secret_uses::{SecretUses, camera_secrets, connection_secrets, merged, sink_secrets},
    storage::Storage,
};
use crate::problem::FieldPath;

/// A Kafka cluster that a camera or sink uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// The `KafkaConnection`.
    pub name: ObjectName,
    /// Its checked spec.
    pub spec: KafkaConnectionSpec,
}

/// A camera, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraPlan {
    /// The `CameraStream`.
    pub name: ObjectName,
    /// Its checked spec.
    pub spec: CameraStreamSpec,
    /// Its Kafka cluster.
    pub connection: Connection,
    /// The volume that it reads, if it does, as `--storage-root` tells it from others.
    pub volume: Option<Volume>,
}

/// A sink, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkPlan {
    /// The `FrameSink`.
    pub name: ObjectName,
    /// Its checked spec.
    pub spec: FrameSinkSpec,
    /// Its Kafka cluster.
    pub connection: Connection,
    /// The topics to read, without repetition.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// What to do with a record that is not a frame.
    pub on_invalid: OnInvalid,
    /// The camera's name, where the sink names a `CameraStream`; stands in for `{camera}` when a record does not say.
    pub camera: Option<String>,
    /// Its volume, as `--storage-root` tells it from others.
    pub volume: Volume,
}

/// A volume, where another directory stands in for all volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its place below that directory, where there are several: two volumes never have the same.
    pub place: String,
    /// The documents name no other volume: that directory is the volume itself, as in a pod.
    pub alone: bool,
}

impl Volume {
    /// A resource's volume, of which it is not known yet whether there are others.
    pub fn of(resource: &ObjectName, storage: &Storage) -> Self {
        let ObjectName { namespace, name } = resource;
        let place = match storage {
            Storage::HostPath(host) => {
                let parts: Vec<&str> = host.path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
                parts.join("/")
            }
            Storage::PersistentVolumeClaim(claim) => {
                format!("persistentVolumeClaim/{namespace}/{}", claim.claim_name)
            }
            Storage::VolumeClaimTemplate(_) => format!("volumeClaimTemplate/{namespace}/{name}"),
        };
        Volume { place, alone: false }
    }
}

/// Everything that a set of documents asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The cameras, in the documents' order.
    pub cameras: Vec<CameraPlan>,
    /// The sinks, in the documents' order.
    pub sinks: Vec<SinkPlan>,
    /// The Kafka clusters, in the documents' order, used or not.
    pub connections: Vec<Connection>,
    /// `v1` Secrets among the documents: name, then key, to value.
    pub secrets: BTreeMap<ObjectName, BTreeMap<String, Vec<u8>>>,
    /// Fields that were passed over; none where documents are read strictly.
    pub unknown: Vec<UnknownField>,
    /// What the documents call their resources' revisions: whoever wrote one can see whether it has arrived.
    pub revisions: Revisions,
    /// What stands in the annotation [`RESTART`](crate::document::RESTART): with another text, a resource is started anew.
    pub restarts: Revisions,
}

/// Texts by resource: revisions, and what an annotation says.
pub type Revisions = BTreeMap<(Kind, ObjectName), String>;

/// A field of a document that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The resource, as problems name it.
    pub resource: String,
    /// The field.
    pub field: FieldPath,
}

/// One resource that is to run, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'a ObjectName,
    /// How many workers share its work; at least one.
    pub replicas: u32,
    /// `spec.suspend`.
    pub suspend: bool,
    /// The Secrets that it and its Kafka cluster name, by the namespaces that these are in.
    pub secrets: BTreeMap<String, SecretUses>,
}

/// The Secrets of a resource and of its connection.
fn secrets_of(name: &ObjectName, own: SecretUses, connection: &Connection) -> BTreeMap<String, SecretUses> {
    let mut all = BTreeMap::from([(name.namespace.clone(), own)]);
    let there = all.entry(connection.name.namespace.clone()).or_default();
    *there = merged(std::mem::take(there), connection_secrets(&connection.spec));
    all
}

impl CameraPlan {
    /// It as any other.
    pub fn planned(&self) -> Planned<'_> {
        let secrets = secrets_of(&self.name, camera_secrets(&self.spec), &self.connection);
        Planned { kind: Kind::CameraStream, name: &self.name, replicas: 1, suspend: self.spec.suspend, secrets }
    }
}

impl SinkPlan {
    /// It as any other.
    pub fn planned(&self) -> Planned<'_> {
        let (replicas, suspend) = (self.spec.replicas.max(1) as u32, self.spec.rests());
        let secrets = secrets_of(&self.name, sink_secrets(&self.spec), &self.connection);
        Planned { kind: Kind::FrameSink, name: &self.name, replicas, suspend, secrets }
    }
}

impl Plan {
    /// All that is to run: cameras, then sinks.
    pub fn runs(&self) -> Vec<Planned<'_>> {
        self.cameras.iter().map(CameraPlan::planned).chain(self.sinks.iter().map(SinkPlan::planned)).collect()
    }

    /// Takes out every resource that is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(Kind, &ObjectName) -> bool) {
        self.cameras.retain(|camera| keep(Kind::CameraStream, &camera.name));
        self.sinks.retain(|sink| keep(Kind::FrameSink, &sink.name));
    }

    /// Takes out every resource but the one called `only`: `FrameSink/gate-files`, or `FrameSink/lab/gate-files` with its
    /// namespace.
    pub fn keep_only(&mut self, only: &str) {
        let parts: Vec<&str> = only.split('/').collect();
        self.retain(|kind, name| match parts[..] {
            [k, n] => (k, n) == (kind.as_str(), name.name.as_str()),
            [k, ns, n] => (k, ns, n) == (kind.as_str(), name.namespace.as_str(), name.name.as_str()),
            _ => false,
        });
    }
}
