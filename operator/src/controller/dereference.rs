//! Collects what a resource refers to: other resources from the cache, and of Secrets and ConfigMaps fingerprints of the keys in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use edgereel_crds::{
    CameraStream, CameraStreamSpec, KafkaConnection,
    check::{References, Resource as Checked, Resources},
    declared::Declared,
    fields::Fields,
    name::{API_VERSION, Kind, ObjectName},
    secret_uses::{SecretUses, Source, connection_secrets},
    secret_value::remarks,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Resource, ResourceExt, runtime::reflector::ObjectRef};
use serde_json::{Value, json};

use super::{
    context::{Context, Look, Looked, Values},
    managed::Managed,
};
use crate::{
    cache::{Caches, reference},
    references::Node,
};

/// The number of a document that is there only to be compared with; its own problems are not this resource's.
pub const RIVAL: usize = usize::MAX;

/// Everything that the check and the builders need.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The resource itself, what it refers to, and what it could get in the way of.
    pub resources: Resources,
    /// The documents for the worker: the resource itself and what it refers to.
    pub documents: Vec<Value>,
    /// The Secrets and ConfigMaps that the worker reads.
    pub uses: SecretUses,
    /// Those that are there: then key, to a fingerprint of the value.
    pub values: BTreeMap<Source, BTreeMap<String, String>>,
    /// What is odd about their values.
    pub remarks: Vec<String>,
    /// The cameras and sinks that use a connection.
    pub users: BTreeSet<Node>,
    /// Those in whose pods some of these run.
    pub hosts: BTreeSet<Node>,
    /// How long it is until a Secret that has just changed is believed, or what is waited for is looked at again.
    pub settles: Option<Duration>,
    /// The cameras that run in its pods.
    pub guests: Vec<Guest>,
    /// The files of the configuration that its pods follow now.
    pub before: BTreeMap<String, String>,
    /// Those of them that are to stay, for nobody can read what they are to be.
    pub keeps: BTreeSet<String>,
    /// The Secrets that its pods have.
    pub mounted: SecretUses,
}

/// A camera that runs in the pod of another resource.
#[derive(Clone, Debug)]
pub struct Guest {
    /// It.
    pub camera: CameraStream,
    /// What it refers to.
    pub found: Found,
    /// It is still captured elsewhere.
    pub elsewhere: bool,
}

/// A camera's spec for those to whom it is the same wherever it runs.
pub fn elsewhere(spec: CameraStreamSpec) -> CameraStreamSpec {
    CameraStreamSpec { worker_ref: None, ..spec }
}

impl Found {
    /// Adds a document for the worker, and gives its number. What decides only where and whether pods run is none of the
    /// worker's business: a pod that runs has it decided.
    ///
    /// Only what was set is passed on. Who reads it decides the defaults: a version that adds one changes no document, and
    /// starts no pod anew.
    pub fn document(&mut self, kind: &str, name: &ObjectName, spec: &impl Fields) -> usize {
        let spec = without(&["placement", "suspend", "template", "workerRef"], spec);
        self.documents.push(json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name.name, "namespace": name.namespace},
            "spec": spec,
        }));
        self.documents.len()
    }

    /// Adds a connection that is used, and gives the Secrets that it reads.
    pub fn connection(&mut self, name: &str, namespace: &str, caches: &Caches) -> Option<SecretUses> {
        let name = ObjectName { namespace: namespace.into(), name: name.into() };
        match lookup::<KafkaConnection>(caches, &name)? {
            Ok(connection) => {
                let spec = connection.spec;
                let uses = connection_secrets(&spec);
                // A sink and its stream mostly share one.
                if !self.resources.connections.iter().any(|known| known.name == name) {
                    let document = self.document(KafkaConnection::NAME, &name, &spec);
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

    /// Adds a rival's connection, without a document. Whether there is one.
    pub fn rival_connection(&mut self, reference: &str, namespace: &str, caches: &Caches) -> bool {
        let name = ObjectName { namespace: namespace.into(), name: reference.into() };
        if self.resources.connections.iter().any(|known| known.name == name) {
            return true;
        }
        match lookup::<KafkaConnection>(caches, &name) {
            Some(Ok(connection)) => {
                self.resources.connections.push(Checked { name, spec: connection.spec, document: RIVAL });
                true
            }
            _ => false,
        }
    }

    /// Notes that something is there and cannot be read.
    pub fn unreadable(&mut self, kind: Kind, name: ObjectName) {
        self.resources.unreadable.push((kind, Checked { name, spec: References::default(), document: RIVAL }));
    }
}

/// What was set in a spec, without some of its fields.
pub fn without(fields: &[&str], spec: &impl Fields) -> Value {
    let mut spec = spec.set();
    if let Some(all) = spec.as_object_mut() {
        all.retain(|field, _| !fields.contains(&field.as_str()));
    }
    spec
}

/// A resource from the cache; an error where it is there and cannot be read.
pub fn lookup<K: Managed>(caches: &Caches, name: &ObjectName) -> Option<Result<K, ()>> {
    let found = caches.of::<K>().get(&reference(name))?;
    Some(found.0.clone().map_err(|_| ()))
}

/// A resource's namespaced name.
pub fn object_name(object: &impl Resource) -> ObjectName {
    let meta = object.meta();
    ObjectName { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
}

/// Whether `a` is the older of the two, and so keeps what both claim.
pub fn older(a: &impl Resource, b: &impl Resource) -> bool {
    fn age<K: Resource>(
        object: &K,
    ) -> (Option<&k8s_openapi::jiff::Timestamp>, Option<&String>, Option<&String>, Option<&String>) {
        let meta = object.meta();
        let time = meta.creation_timestamp.as_ref().map(|time| &time.0);
        (time, meta.name.as_ref(), meta.namespace.as_ref(), meta.uid.as_ref())
    }
    age(a) < age(b)
}

/// Fills in the fingerprints of the values in use, and what is odd about them. A Secret or ConfigMap is asked for once a version.
///
/// Fingerprints stand in the pods' annotations, where more people look than at Secrets: each is keyed by its Secret's uid,
/// which those who may not read the Secret do not learn.
///
/// # Errors
/// The API server did not answer.
pub async fn values(found: &mut Found, namespace: &str, context: &Context) -> Result<(), kube::Error> {
    let mut odd = BTreeMap::new();
    for (source, keys) in &found.uses {
        let there = match source {
            Source::Secret(name) => secret(namespace, name, keys, context).await?,
            Source::ConfigMap(name) => config_map(namespace, name, keys, context).await?,
        };
        let Some((known, settles)) = there else { continue };
        found.settles = [found.settles, settles].into_iter().flatten().min();
        let used = known.into_iter().filter(|(key, _)| keys.contains(key));
        let mut fingerprints = BTreeMap::new();
        for (key, looked) in used {
            odd.insert((source.clone(), key.clone()), looked.oddity);
            fingerprints.insert(key, looked.fingerprint);
        }
        found.values.insert(source.clone(), fingerprints);
    }
    let odd = remarks(&found.uses, |source, key| odd.get(&(source.clone(), key.to_owned())).cloned().flatten());
    found.remarks.extend(odd);
    Ok(())
}

/// What is known of values, and how long it is until they are believed.
type There = Option<(Values, Option<Duration>)>;

async fn secret(namespace: &str, name: &str, keys: &BTreeSet<String>, context: &Context) -> Result<There, kube::Error> {
    let Some(meta) = context.caches.secrets.get(&ObjectRef::new(name).within(namespace)) else { return Ok(None) };
    let version = meta.metadata.resource_version.clone().unwrap_or_default();
    match context.secret_values.look((namespace, name), &version, keys) {
        Look::Known(known) => Ok(Some((known, None))),
        Look::Settling(known, wait) => Ok(Some((known, Some(wait)))),
        Look::Ask => {
            let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
            let Some(secret) = api.get_opt(name).await? else { return Ok(None) };
            let uid = secret.uid().unwrap_or_default();
            let values = secret.data.iter().flatten();
            let known = values.map(|(key, value)| (key.clone(), Looked::at(&uid, &value.0))).collect::<Values>();
            context.secret_values.put(namespace, name, &version, known.clone());
            Ok(Some((known, None)))
        }
    }
}

async fn config_map(
    namespace: &str,
    name: &str,
    keys: &BTreeSet<String>,
    context: &Context,
) -> Result<There, kube::Error> {
    let (full, versions) = (ObjectName { namespace: namespace.into(), name: name.into() }, &context.caches.config_maps);
    let version = match versions.version(&full) {
        Some(None) => return Ok(None),
        Some(Some(version)) => version,
        None => String::new(),
    };
    match context.config_values.look((namespace, name), &version, keys) {
        Look::Known(known) => Ok(Some((known, None))),
        Look::Settling(known, wait) => Ok(Some((known, Some(wait)))),
        Look::Ask => {
            let api = Api::<ConfigMap>::namespaced(context.client.clone(), namespace);
            let map = api.get_opt(name).await?;
            versions.answered(&full, map.as_ref().and_then(|map| map.resource_version()));
            let Some(map) = map else { return Ok(None) };
            let uid = map.uid().unwrap_or_default();
            let texts = map.data.iter().flatten().map(|(key, text)| (key, text.as_bytes()));
            let bytes = map.binary_data.iter().flatten().map(|(key, bytes)| (key, bytes.0.as_slice()));
            let known =
                texts.chain(bytes).map(|(key, value)| (key.clone(), Looked::at(&uid, value))).collect::<Values>();
            let version = map.resource_version().unwrap_or_default();
            context.config_values.put(namespace, name, &version, known.clone());
            Ok(Some((known, None)))
        }
    }
}
