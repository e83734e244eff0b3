//! A validated resource: everything that its children are built from, decided once. Building looks at nothing else.

use edgereel_crds::{placement::Placement, pod::PodTemplate, secret_uses::SecretUses, storage::Storage};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::names::Names;
use crate::kinds::{ChildKind, child};

/// The resource that children belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Its kind.
    pub kind: &'static str,
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
            api_version: edgereel_crds::name::API_VERSION.into(),
            kind: self.kind.into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// As `edgereel run --only` takes it: `CameraStream/gate`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// How the pods of a kind run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// One pod, never two at once.
    Singleton,
    /// Numbered pods that share the work.
    Sharded,
}

impl Runs {
    /// The kinds of children that this takes.
    pub fn children(self) -> Vec<ChildKind> {
        let mut all = vec![child::<ConfigMap>(), child::<Service>()];
        all.extend(match self {
            Runs::Singleton => vec![child::<Deployment>()],
            Runs::Sharded => vec![child::<StatefulSet>(), child::<PodDisruptionBudget>()],
        });
        all
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
