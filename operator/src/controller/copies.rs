//! The Secrets of connections of other namespaces, copied to where the pods are that use them: a pod mounts only what is in its own
//! namespace.
//!
//! A copy is a child of whose pods have it, one Secret for each connection. Its name never changes: what is mounted follows a
//! new value. Whether it is as it should be is seen by fingerprints: the values themselves are asked for only when it is not.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_crds::{
    KafkaConnection,
    declared::Declared,
    document::yaml,
    name::ObjectName,
    secret_uses::{SecretUses, Source},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, api::ObjectMeta};
use serde_json::{Value, json};

use super::{
    apply::{ApplyError, Desired, Key, Place, owned},
    dereference::Found,
    names::COPIED_ANNOTATION,
    workload::Workload,
};
use crate::hash::keyed;

/// A connection of another namespace that is used, and the values that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loan {
    /// The connection.
    pub connection: ObjectName,
    /// By the key in the copy, where each is in the connection's namespace and under which key.
    pub values: BTreeMap<String, (Source, String)>,
}

impl Loan {
    /// What is read in the connection's namespace.
    pub fn uses(&self) -> SecretUses {
        let mut uses = SecretUses::new();
        for (source, key) in self.values.values() {
            uses.entry(source.clone()).or_default().insert(key.clone());
        }
        uses
    }
}

/// Brings a workload's copies to what they are copied from. Gives those that are to be there.
///
/// # Errors
/// The first that cannot be.
pub async fn ensure(workload: &Workload, found: &Found, place: Place<'_>) -> Result<BTreeSet<Key>, ApplyError> {
    let copies: Vec<_> = workload.copies.iter().filter(|(_, loan)| !loan.values.is_empty()).collect();
    let names = workload.kept_copies.iter().chain(copies.iter().map(|(name, _)| *name));
    let wanted = names.map(|name| Secret { metadata: named(name), ..Secret::default() }.key()).collect();
    for (name, loan) in copies {
        let there = place.caches.children::<Secret>().and_then(|all| all.get(&place.owner.namespace, name));
        if there.is_some_and(|there| owned(&*there, place.owner) && is_copy(&there, loan, found)) {
            continue;
        }
        let failed = |source| ApplyError::Api { kind: "Secret", name: name.clone(), source };
        let Some(data) = read(loan, place.client).await.map_err(failed)? else { continue };
        let metadata = ObjectMeta {
            namespace: Some(place.owner.namespace.clone()),
            labels: Some(workload.names.labels()),
            annotations: Some([(COPIED_ANNOTATION.to_owned(), loan.connection.to_string())].into()),
            owner_references: Some(vec![place.owner.reference()]),
            ..named(name)
        };
        let copy = Secret { metadata, data: Some(data), type_: Some("Opaque".into()), ..Secret::default() };
        copy.ensure(place).await?;
    }
    Ok(wanted)
}

/// Whether a resource's workers run with a connection, by what they were given to read.
pub fn run_with(connection: &ObjectName, place: Place<'_>) -> bool {
    let configs = place.caches.children::<ConfigMap>().map(|all| all.of(place.owner)).unwrap_or_default();
    let texts = configs.iter().flat_map(|config| config.data.iter().flatten());
    let is_it = |document: Value| {
        let meta = &document["metadata"];
        document["kind"] == KafkaConnection::NAME
            && (&meta["namespace"], &meta["name"]) == (&json!(connection.namespace), &json!(connection.name))
    };
    texts.flat_map(|(_, text)| documents(text)).any(is_it)
}

/// The documents of a text.
pub fn documents(text: &str) -> Vec<Value> {
    yaml::parse(text).0.iter().map(yaml::Node::to_json).collect()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Whether each value has the fingerprint of its original.
fn is_copy(there: &Secret, loan: &Loan, found: &Found) -> bool {
    let data = there.data.clone().unwrap_or_default();
    let same = |(key, (source, from)): (&String, &(Source, String))| {
        let original = (loan.connection.namespace.clone(), source.clone());
        let known = found.originals.get(&original).and_then(|values| values.get(from)).zip(found.keys.get(&original));
        let value = data.get(key);
        value.zip(known).is_some_and(|(value, (fingerprint, with))| keyed(with, &value.0) == *fingerprint)
    };
    data.len() == loan.values.len() && loan.values.iter().all(same)
}

/// The values as they are now; none where one has gone since it was looked for.
async fn read(loan: &Loan, client: &Client) -> Result<Option<BTreeMap<String, ByteString>>, kube::Error> {
    let namespace = &loan.connection.namespace;
    let mut all: BTreeMap<Source, BTreeMap<String, ByteString>> = BTreeMap::new();
    for source in loan.uses().into_keys() {
        let data = match &source {
            Source::Secret(name) => {
                let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
                secret.and_then(|secret| secret.data).unwrap_or_default()
            }
            Source::ConfigMap(name) => {
                let map =
                    Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?.unwrap_or_default();
                let texts = map.data.into_iter().flatten().map(|(key, text)| (key, ByteString(text.into_bytes())));
                texts.chain(map.binary_data.into_iter().flatten()).collect()
            }
        };
        all.insert(source, data);
    }
    let value =
        |(key, (source, from)): (&String, &(Source, String))| Some((key.clone(), all.get(source)?.get(from)?.clone()));
    Ok(loan.values.iter().map(value).collect())
}
