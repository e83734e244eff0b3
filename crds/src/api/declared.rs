//! What each kind says of itself, in its own file: its name, what it refers to, which Secrets it reads.
//!
//! Everything that goes over all kinds asks here and names none of them: definitions, schema and reference, and in the
//! operator caches, watches, wakes, metrics and rights. Which kinds there are stands in [`kinds`](super::kinds).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{
    NamespaceResourceScope, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    CustomResourceExt, Resource,
    core::object::{HasSpec, HasStatus},
};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::api::{
    common::{ConnectionRef, LocalRef, SecretKeyRef},
    resource_status::ResourceStatus,
    shape::schema_of,
    status::{ConditionType, Reason},
};

/// A kind that people declare resources of.
pub trait Declared:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + CustomResourceExt
    + HasSpec<Spec: JsonSchema + 'static>
    + HasStatus<Status: ResourceStatus>
{
    /// As it stands in `kind`.
    const NAME: &'static str;
    /// What the operator's children for it end in, and their label `app.kubernetes.io/component`; none where nothing runs.
    const COMPONENT: Option<&'static str>;
    /// Its own condition, beside kstatus's.
    const ASPECT: Option<ConditionType>;

    /// The resources that a spec names.
    fn references(spec: &Self::Spec) -> Vec<Reference>;

    /// The Secrets and ConfigMaps that a spec names itself.
    fn secrets(spec: &Self::Spec) -> SecretUses;
}

/// A resource that another names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its kind.
    pub kind: &'static str,
    /// The namespace that it is in, where the spec says one; none: the resource's own.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether what that resource uses is used by way of it: a sink without a connection of its own has its stream's.
    pub inherits: bool,
}

impl Reference {
    /// To a resource of the kind `K`.
    pub fn to<K: Declared>(reference: &LocalRef) -> Self {
        Reference { kind: K::NAME, namespace: None, name: reference.name.clone(), inherits: false }
    }

    /// To a connection.
    pub fn to_connection<K: Declared>(reference: &ConnectionRef) -> Self {
        let ConnectionRef { name, namespace } = reference.clone();
        Reference { kind: K::NAME, namespace, name, inherits: false }
    }
}

/// A kind, as everything that goes over all of them sees it.
#[derive(Clone, Debug)]
pub struct About {
    /// As it stands in `kind`.
    pub name: &'static str,
    /// Its short name, for `kubectl`.
    pub short: &'static str,
    /// Its definition, as it is derived.
    pub definition: CustomResourceDefinition,
    /// The JSON schema of its spec.
    pub schema: Value,
}

impl About {
    /// What there is to say of a kind.
    pub fn of<K: Declared>() -> Self {
        About {
            name: K::NAME,
            short: K::shortnames().first().copied().unwrap_or_default(),
            definition: K::crd(),
            schema: schema_of::<K::Spec>(),
        }
    }
}

/// What values are read from. In its order: ConfigMaps come after all Secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A Secret.
    Secret(String),
    /// A ConfigMap.
    ConfigMap(String),
}

impl Source {
    /// What its folder is called among the others, and it itself among the documents: a Secret's name, or `configmap_NAME`, which no
    /// Secret can be called.
    pub fn folder(&self) -> String {
        match self {
            Source::Secret(name) => name.clone(),
            Source::ConfigMap(name) => format!("configmap_{name}"),
        }
    }

    /// What there is to say when there is none.
    pub fn missing(&self) -> Reason {
        match self {
            Source::Secret(_) => Reason::SecretMissing,
            Source::ConfigMap(_) => Reason::ConfigMapMissing,
        }
    }

    /// What there is to say when it lacks a key.
    pub fn key_missing(&self) -> Reason {
        match self {
            Source::Secret(_) => Reason::SecretKeyMissing,
            Source::ConfigMap(_) => Reason::ConfigMapKeyMissing,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Secret(name) => write!(f, "Secret `{name}`"),
            Source::ConfigMap(name) => write!(f, "ConfigMap `{name}`"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.folder())
    }
}

/// Secrets and ConfigMaps, each with the keys that are read.
pub type SecretUses = BTreeMap<Source, BTreeSet<String>>;

/// Adds one key of a Secret.
pub(crate) fn key(uses: &mut SecretUses, reference: Option<&SecretKeyRef>) {
    if let Some(reference) = reference {
        uses.entry(Source::Secret(reference.name.clone())).or_default().insert(reference.key.clone());
    }
}

/// Adds a Secret of which two keys are read.
pub(crate) fn whole(uses: &mut SecretUses, reference: Option<&LocalRef>, keys: [&str; 2]) {
    if let Some(reference) = reference {
        uses.entry(Source::Secret(reference.name.clone())).or_default().extend(keys.map(Into::into));
    }
}
