//! Collects what a resource refers to: other resources from the cache, and of Secrets the hashes of the keys in use.

use std::collections::BTreeMap;

use edgereel_crds::{
    CameraStream, FrameSink, KafkaConnection,
    check::{References, Resource as Checked, Resources},
    frame_sink::{FrameSinkSpec, From, Output},
    name::{API_VERSION, Kind, ObjectName},
    secret_uses::{SecretUses, camera_secrets, connection_secrets, merged},
    storage::Storage,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::context::Context;
use crate::{cache::Caches, hash::hash};

/// The number of a document that is there only to be compared with; its own problems are not this resource's.
pub const RIVAL: usize = usize::MAX;

/// Everything that the check and the builders need.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The resource itself, what it refers to, and what it could get in the way of.
    pub resources: Resources,
    /// The documents for the worker: the resource itself and what it refers to.
    pub documents: Vec<Value>,
    /// The Secrets that the worker reads.
    pub uses: SecretUses,
    /// Those that are there: name, then key, to a hash of the value.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// How many cameras and sinks use a connection.
    pub users: i32,
}

impl Found {
    fn document(&mut self, kind: Kind, name: &ObjectName, spec: &impl Serialize) -> usize {
        self.documents.push(json!({
            "apiVersion": API_VERSION,
            "kind": kind.as_str(),
            "metadata": {"name": name.name, "namespace": name.namespace},
            "spec": spec,
        }));
        self.documents.len()
    }

    fn connection(&mut self, name: &str, namespace: &str, caches: &Caches) -> Option<SecretUses> {
        let name = ObjectName { namespace: namespace.into(), name: name.into() };
        match lookup(&caches.connections, &name)? {
            Ok(connection) => {
                let spec = connection.spec;
                let uses = connection_secrets(&spec);
                // A sink and its stream mostly share one.
                if !self.resources.connections.iter().any(|known| known.name == name) {
                    let document = self.document(Kind::KafkaConnection, &name, &spec);
                    self.resources.connections.push(Checked { name, spec, document });
                }
                Some(uses)
            }
            Err(()) => {
                self.unreadable(Kind::KafkaConnection, name);
                None
            }
        }
    }

    fn unreadable(&mut self, kind: Kind, name: ObjectName) {
        self.resources.unreadable.push((kind, Checked { name, spec: References::default(), document: RIVAL }));
    }
}

fn lookup<K>(store: &Store<DeserializeGuard<K>>, name: &ObjectName) -> Option<Result<K, ()>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let found = store.get(&ObjectRef::new(&name.name).within(&name.namespace))?;
    Some(found.0.clone().map_err(|_| ()))
}

/// A resource's namespaced name.
pub fn object_name(object: &impl Resource) -> ObjectName {
    let meta = object.meta();
    ObjectName { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}

/// Whether `a` is the older of the two, and so keeps what both claim.
fn older(a: &impl Resource, b: &impl Resource) -> bool {
    fn age(object: &impl Resource) -> (Option<&k8s_openapi::jiff::Timestamp>, Option<&String>) {
        (object.meta().creation_timestamp.as_ref().map(|time| &time.0), object.meta().name.as_ref())
    }
    age(a) < age(b)
}

/// What a camera refers to: its connection. Older cameras that fill the same topic have to agree with it.
pub fn camera(camera: &CameraStream, caches: &Caches) -> Found {
    let mut found = Found::default();
    let name = object_name(camera);
    let rivals = caches.cameras.state_filter(|other| {
        other.0.as_ref().is_ok_and(|other| {
            other.namespace() == camera.namespace()
                && other.spec.topic.name == camera.spec.topic.name
                && other.spec.topic.partitions != camera.spec.topic.partitions
                && older(other, camera)
        })
    });
    for rival in rivals.iter().filter_map(|r| r.0.as_ref().ok()) {
        let reference = rival.spec.kafka.connection_ref.name.as_str();
        if lookup_rival_connection(&mut found, reference, &name.namespace, caches) {
            let rival = Checked { name: object_name(rival), spec: rival.spec.clone(), document: RIVAL };
            found.resources.cameras.push(rival);
        }
    }
    let uses = found.connection(&camera.spec.kafka.connection_ref.name, &name.namespace, caches);
    found.uses = merged(camera_secrets(&camera.spec), uses.unwrap_or_default());
    let document = found.document(Kind::CameraStream, &name, &camera.spec);
    found.resources.cameras.push(Checked { name, spec: camera.spec.clone(), document });
    found
}

/// A rival's connection, without a document. Whether there is one.
fn lookup_rival_connection(found: &mut Found, reference: &str, namespace: &str, caches: &Caches) -> bool {
    let name = ObjectName { namespace: namespace.into(), name: reference.into() };
    if found.resources.connections.iter().any(|known| known.name == name) {
        return true;
    }
    match lookup(&caches.connections, &name) {
        Some(Ok(connection)) => {
            found.resources.connections.push(Checked { name, spec: connection.spec, document: RIVAL });
            true
        }
        _ => false,
    }
}

/// What a sink refers to: its stream, and its own or its stream's connection. Older sinks must not share its group or
/// its files.
pub fn sink(sink: &FrameSink, caches: &Caches) -> Found {
    let mut found = Found::default();
    let name = object_name(sink);
    let stream = add_stream(&mut found, &sink.spec, &name.namespace, caches);
    let own = sink.spec.kafka.as_ref().map(|kafka| kafka.connection_ref.name.clone());
    let of_stream = stream.and_then(|stream| found.connection(&stream, &name.namespace, caches));
    found.uses = match own {
        Some(own) => found.connection(&own, &name.namespace, caches),
        None => of_stream,
    }
    .unwrap_or_default();
    for rival in rivals(sink, caches) {
        let Ok(rival) = &rival.0 else { continue };
        add_rival(&mut found, rival, &name.namespace, caches);
    }
    let document = found.document(Kind::FrameSink, &name, &sink.spec);
    found.resources.sinks.push(Checked { name, spec: sink.spec.clone(), document });
    found
}

/// Adds the stream that a sink names, and gives the name of its connection.
fn add_stream(found: &mut Found, spec: &FrameSinkSpec, namespace: &str, caches: &Caches) -> Option<String> {
    let From::StreamRef(reference) = &spec.from else { return None };
    let name = ObjectName { namespace: namespace.into(), name: reference.name.clone() };
    match lookup(&caches.cameras, &name)? {
        Ok(stream) => {
            let connection = stream.spec.kafka.connection_ref.name.clone();
            let document = found.document(Kind::CameraStream, &name, &stream.spec);
            found.resources.cameras.push(Checked { name, spec: stream.spec, document });
            Some(connection)
        }
        Err(()) => {
            found.unreadable(Kind::CameraStream, name);
            None
        }
    }
}

/// Older sinks that could share a group or a file with this one. A first sieve, for there may be hundreds: the check looks
/// closely.
fn rivals(sink: &FrameSink, caches: &Caches) -> Vec<std::sync::Arc<DeserializeGuard<FrameSink>>> {
    caches.sinks.state_filter(|other| {
        other.0.as_ref().is_ok_and(|other| {
            other.namespace() == sink.namespace()
                && other.name_any() != sink.name_any()
                && older(other, sink)
                && (may_share_group(&other.spec, &sink.spec) || may_share_files(&other.spec, &sink.spec))
        })
    })
}

fn may_share_group(a: &FrameSinkSpec, b: &FrameSinkSpec) -> bool {
    a.group.is_some() && a.group == b.group
}

/// Whether one writes into the other's directory, or below it.
fn may_share_files(a: &FrameSinkSpec, b: &FrameSinkSpec) -> bool {
    let roots = match (&a.storage, &b.storage) {
        (Storage::HostPath(a), Storage::HostPath(b)) => (a.path.as_str(), b.path.as_str()),
        (Storage::PersistentVolumeClaim(a), Storage::PersistentVolumeClaim(b)) if a == b => ("", ""),
        _ => return false,
    };
    let (mut a, mut b) = (names(roots.0, directory(a)), names(roots.1, directory(b)));
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => return false,
            _ => return true,
        }
    }
}

fn directory(spec: &FrameSinkSpec) -> &str {
    match &spec.output {
        Output::JpegFiles(files) => &files.directory,
        Output::Video(video) => &video.directory,
    }
}

/// The names on the way to a directory below a root.
fn names<'a>(root: &'a str, directory: &'a str) -> impl Iterator<Item = &'a str> {
    root.split('/').chain(directory.split('/')).filter(|name| !name.is_empty() && *name != ".")
}

fn add_rival(found: &mut Found, rival: &FrameSink, namespace: &str, caches: &Caches) {
    let mut references: Vec<String> = rival.spec.kafka.iter().map(|kafka| kafka.connection_ref.name.clone()).collect();
    if let From::StreamRef(reference) = &rival.spec.from {
        let name = ObjectName { namespace: namespace.into(), name: reference.name.clone() };
        let Some(Ok(stream)) = lookup(&caches.cameras, &name) else { return };
        references.push(stream.spec.kafka.connection_ref.name.clone());
        if !found.resources.cameras.iter().any(|known| known.name == name) {
            found.resources.cameras.push(Checked { name, spec: stream.spec, document: RIVAL });
        }
    }
    if references.iter().all(|reference| lookup_rival_connection(found, reference, namespace, caches)) {
        let rival = Checked { name: object_name(rival), spec: rival.spec.clone(), document: RIVAL };
        found.resources.sinks.push(rival);
    }
}

/// A connection's Secrets, and who uses it.
pub fn connection(connection: &KafkaConnection, caches: &Caches) -> Found {
    let mut found = Found { uses: connection_secrets(&connection.spec), ..Found::default() };
    let name = object_name(connection);
    found.users = users(&name, caches);
    found.resources.connections.push(Checked { name, spec: connection.spec.clone(), document: 0 });
    found
}

fn users(connection: &ObjectName, caches: &Caches) -> i32 {
    let here = |namespace: Option<String>| namespace.as_deref() == Some(&connection.namespace);
    let cameras = caches.cameras.state_filter(|camera| {
        camera
            .0
            .as_ref()
            .is_ok_and(|camera| here(camera.namespace()) && camera.spec.kafka.connection_ref.name == connection.name)
    });
    let sinks = caches.sinks.state_filter(|sink| {
        sink.0.as_ref().is_ok_and(|sink| {
            here(sink.namespace()) && sink_connection(sink, caches).as_deref() == Some(&connection.name)
        })
    });
    i32::try_from(cameras.len() + sinks.len()).unwrap_or(i32::MAX)
}

/// The name of the connection that a sink uses, if that can be told.
pub fn sink_connection(sink: &FrameSink, caches: &Caches) -> Option<String> {
    match (&sink.spec.kafka, &sink.spec.from) {
        (Some(kafka), _) => Some(kafka.connection_ref.name.clone()),
        (None, From::StreamRef(reference)) => {
            let name = ObjectName { namespace: sink.namespace()?, name: reference.name.clone() };
            let stream = lookup(&caches.cameras, &name)?.ok()?;
            Some(stream.spec.kafka.connection_ref.name)
        }
        (None, From::Topics(_)) => None,
    }
}

/// Fills in the hashes of the Secrets in use. A Secret is asked for once a version.
///
/// # Errors
/// The API server did not answer.
pub async fn secrets(found: &mut Found, namespace: &str, context: &Context) -> Result<(), kube::Error> {
    for (name, keys) in &found.uses {
        let Some(meta) = context.caches.secrets.get(&ObjectRef::new(name).within(namespace)) else { continue };
        let version = meta.metadata.resource_version.clone().unwrap_or_default();
        let known = context.secret_hashes.get(namespace, name, &version);
        let hashes = match known {
            Some(hashes) => hashes,
            None => {
                let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
                let Some(secret) = api.get_opt(name).await? else { continue };
                let hashes: BTreeMap<String, String> =
                    secret.data.iter().flatten().map(|(key, value)| (key.clone(), hash(&value.0))).collect();
                context.secret_hashes.put(namespace, name, &version, hashes.clone());
                hashes
            }
        };
        let used = hashes.into_iter().filter(|(key, _)| keys.contains(key)).collect();
        found.secrets.insert(name.clone(), used);
    }
    Ok(())
}
