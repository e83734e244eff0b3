//! Collects what a resource refers to: other resources from the cache, and of Secrets and ConfigMaps fingerprints of the keys in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use edgereel_crds::{
    CameraStream, CameraStreamSpec, KafkaConnection, KafkaConnectionSpec,
    check::{References, Resource as Checked, Resources, not_allowed},
    common::ConnectionRef,
    declared::Declared,
    fields::Fields,
    kafka_connection::Borrowed,
    name::{API_VERSION, Kind, ObjectName},
    secret_uses::{SecretUses, Source, connection_secrets},
    secret_value::remarks,
    status::Reason,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Resource, ResourceExt, runtime::reflector::ObjectRef};
use serde_json::{Value, json};

use super::{
    context::{Context, Look, Looked, Values},
    copies::Loan,
    managed::Managed,
    names::Names,
    validate::Refusal,
};
use crate::{
    cache::{Caches, reference},
    realm::View,
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
    /// The connections of other namespaces that it uses, by what the Secret is called that has their values here.
    pub borrowed: BTreeMap<String, Loan>,
    /// What these read where they are: namespace and source, then key, to a fingerprint of the value.
    pub originals: BTreeMap<(String, Source), BTreeMap<String, String>>,
    /// What these fingerprints were made with.
    pub keys: BTreeMap<(String, Source), String>,
    /// Why it may not use its connection.
    pub barred: Option<Refusal>,
    /// The connection of another namespace that does not allow this one.
    pub withheld: Option<ObjectName>,
    /// The namespace of its connection has not been seen yet: nothing can be said of it.
    pub waits: bool,
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
        // A pod that runs by a schedule is there because its time has come.
        let spec = without(&["placement", "schedule", "suspend", "template", "timeZone", "workerRef"], spec);
        self.documents.push(json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name.name, "namespace": name.namespace},
            "spec": spec,
        }));
        self.documents.len()
    }

    /// Adds a connection that is used from a namespace, and gives the Secrets there that it reads. Those of another namespace
    /// have copies, called as `seat` has it.
    pub fn connection(
        &mut self,
        reference: &ConnectionRef,
        namespace: &str,
        seat: &Names,
        caches: &Caches,
    ) -> Option<SecretUses> {
        let name = reference.from(namespace);
        let there = match caches.view(&name.namespace, |caches| lookup::<KafkaConnection>(caches, &name)) {
            View::Seen(there) => there?,
            View::NotYet => {
                self.waits = true;
                return None;
            }
            View::NotWatched => {
                let message = format!(
                    "{} is of a namespace that the operator does not watch: add `{}` to its --watch-namespace (the chart's value \
                     `watchNamespaces`), or use a connection of this namespace",
                    Kind::KafkaConnection.label(&name),
                    name.namespace
                );
                self.barred.get_or_insert(Refusal::new(Reason::ConnectionOutOfReach, message));
                return None;
            }
        };
        let Ok(connection) = there else {
            self.unreadable(Kind::KafkaConnection, name);
            return None;
        };
        let own = name.namespace == namespace;
        let spec = if own {
            // Who else may use it is no business of its users.
            KafkaConnectionSpec { allowed_namespaces: Vec::new(), ..connection.spec }
        } else if connection.spec.allows(namespace, &name.namespace) {
            let secret = seat.copy(&name);
            let Borrowed { spec, values } = connection.spec.borrowed(namespace, &secret);
            self.borrowed.insert(secret, Loan { connection: name.clone(), values });
            spec
        } else {
            let (message, remedy) = not_allowed(&name, namespace);
            let message = format!("{message}, and nothing runs with it; {remedy}");
            self.barred.get_or_insert(Refusal::new(Reason::ConnectionNotAllowed, message));
            self.withheld = Some(name);
            return None;
        };
        let uses = connection_secrets(&spec);
        // A sink and its stream mostly share one.
        if !self.resources.connections.iter().any(|known| known.name == name) {
            let document = self.document(KafkaConnection::NAME, &name, &spec);
            self.resources.connections.push(Checked { name, spec, document });
        }
        Some(uses)
    }

    /// Whether a source is a copy of what is in another namespace.
    pub fn is_copy(&self, source: &Source) -> bool {
        matches!(source, Source::Secret(name) if self.borrowed.contains_key(name))
    }

    /// Adds a rival's connection, without a document. Whether there is one.
    pub fn rival_connection(&mut self, reference: &ConnectionRef, namespace: &str, caches: &Caches) -> bool {
        let name = reference.from(namespace);
        if self.resources.connections.iter().any(|known| known.name == name) {
            return true;
        }
        match caches.view(&name.namespace, |caches| lookup::<KafkaConnection>(caches, &name)) {
            View::Seen(Some(Ok(connection))) if connection.spec.allows(namespace, &name.namespace) => {
                self.resources.connections.push(Checked { name, spec: connection.spec, document: RIVAL });
                true
            }
            View::Seen(_) | View::NotYet | View::NotWatched => false,
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
    let own = found.uses.iter().filter(|(source, _)| !found.is_copy(source));
    let own: SecretUses = own.map(|(source, keys)| (source.clone(), keys.clone())).collect();
    found.values = fingerprints(&own, namespace, found, context).await?;
    for (secret, loan) in found.borrowed.clone() {
        let there = fingerprints(&loan.uses(), &loan.connection.namespace, found, context).await?;
        let one = |(key, (source, from)): (&String, &(Source, String))| {
            Some((key.clone(), there.get(source)?.get(from)?.clone()))
        };
        found.values.insert(Source::Secret(secret), loan.values.iter().filter_map(one).collect());
        let namespace = || loan.connection.namespace.clone();
        found.originals.extend(there.into_iter().map(|(source, values)| ((namespace(), source), values)));
    }
    Ok(())
}

/// Of those sources in a namespace that are there, the fingerprints of the keys in use.
async fn fingerprints(
    uses: &SecretUses,
    namespace: &str,
    found: &mut Found,
    context: &Context,
) -> Result<BTreeMap<Source, BTreeMap<String, String>>, kube::Error> {
    let (mut odd, mut all) = (BTreeMap::new(), BTreeMap::new());
    for (source, keys) in uses {
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
            found.keys.insert((namespace.to_owned(), source.clone()), looked.key);
            fingerprints.insert(key, looked.fingerprint);
        }
        all.insert(source.clone(), fingerprints);
    }
    let odd = remarks(uses, |source, key| odd.get(&(source.clone(), key.to_owned())).cloned().flatten());
    found.remarks.extend(odd);
    Ok(all)
}

/// What is known of values, and how long it is until they are believed.
type There = Option<(Values, Option<Duration>)>;

async fn secret(namespace: &str, name: &str, keys: &BTreeSet<String>, context: &Context) -> Result<There, kube::Error> {
    let known = |there: &Context| there.caches.secrets.get(&ObjectRef::new(name).within(namespace));
    let Some(meta) = context.look(namespace, known).flatten() else { return Ok(None) };
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
    let full = ObjectName { namespace: namespace.into(), name: name.into() };
    let version = match context.look(namespace, |there| there.caches.config_maps.version(&full)).flatten() {
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
            let version = map.as_ref().and_then(|map| map.resource_version());
            context.look(namespace, |there| there.caches.config_maps.answered(&full, version));
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
