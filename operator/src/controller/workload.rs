//! A validated resource: everything that its children are built from, decided once. Building looks at nothing else.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_crds::{
    CameraStreamSpec, KafkaConnectionSpec,
    camera_stream::Source,
    check::Kind,
    common::{LocalRef, SecretKeyRef},
    frame_sink::Storage,
    placement::Placement,
    pod::PodTemplate,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::names::Names;

/// The resource that children belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// `CameraStream` or `FrameSink`.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: a resource that was deleted and made anew is another owner.
    pub uid: String,
}

impl Owner {
    /// The reference that stands in each child: the garbage collector removes the children of an owner that is gone.
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: edgereel_crds::document::API_VERSION.into(),
            kind: self.kind.as_str().into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// As `edgereel run --only` takes it: `CameraStream/gate`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name)
    }
}

/// A camera or a sink, ready to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Whose workload it is.
    pub owner: Owner,
    /// What its children are called.
    pub names: Names,
    /// The resource documents that the worker reads, as YAML.
    pub documents: String,
    /// A hash of what the worker does: it changes when a running worker would have to be started anew.
    pub checksum: String,
    /// The Secrets that the worker reads, and which keys of them.
    pub secrets: SecretUses,
    /// A hash of the values of those keys.
    pub secrets_checksum: String,
    /// Where a sink writes; none for a camera.
    pub storage: Option<Storage>,
    /// Which nodes may run it.
    pub placement: Option<Placement>,
    /// What its pods are like.
    pub template: PodTemplate,
    /// How many pods there are to be; none when suspended.
    pub replicas: i32,
    /// How many were asked for, where that is more than the topic has partitions.
    pub capped_from: Option<i32>,
    /// Whether `spec.suspend` is set.
    pub suspended: bool,
    /// The value of `edgereel.dev/restart`: another value starts the pods anew.
    pub restart: Option<String>,
    /// What the worker may hold in memory, in bytes, beside the program itself.
    pub buffers: u64,
}

/// Secrets by name, each with the keys that are read.
pub type SecretUses = BTreeMap<String, BTreeSet<String>>;

/// The Secrets that a camera's own spec names.
pub fn camera_secrets(spec: &CameraStreamSpec) -> SecretUses {
    let mut uses = SecretUses::new();
    let (login, tls) = match &spec.source {
        Source::Mjpeg(source) => (&source.credentials_secret_ref, &source.tls),
        Source::Snapshot(source) => (&source.credentials_secret_ref, &source.tls),
        Source::Synthetic(_) => (&None, &None),
    };
    whole(&mut uses, login.as_ref(), ["username", "password"]);
    key(&mut uses, tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()));
    uses
}

/// The Secrets that a connection names.
pub fn connection_secrets(spec: &KafkaConnectionSpec) -> SecretUses {
    let mut uses = SecretUses::new();
    if let Some(tls) = &spec.tls {
        key(&mut uses, tls.ca_secret_ref.as_ref());
        whole(&mut uses, tls.client_certificate_secret_ref.as_ref(), ["tls.crt", "tls.key"]);
    }
    if let Some(sasl) = &spec.sasl {
        key(&mut uses, sasl.username_secret_ref.as_ref());
        key(&mut uses, sasl.password_secret_ref.as_ref());
        if let Some(oauth) = &sasl.oauth {
            key(&mut uses, Some(&oauth.client_id_secret_ref));
            key(&mut uses, Some(&oauth.client_secret_secret_ref));
        }
    }
    uses
}

/// Both.
pub fn merged(mut uses: SecretUses, more: SecretUses) -> SecretUses {
    for (name, keys) in more {
        uses.entry(name).or_default().extend(keys);
    }
    uses
}

fn key(uses: &mut SecretUses, reference: Option<&SecretKeyRef>) {
    if let Some(reference) = reference {
        uses.entry(reference.name.clone()).or_default().insert(reference.key.clone());
    }
}

fn whole(uses: &mut SecretUses, reference: Option<&LocalRef>, keys: [&str; 2]) {
    if let Some(reference) = reference {
        uses.entry(reference.name.clone()).or_default().extend(keys.map(Into::into));
    }
}
