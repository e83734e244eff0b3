//! A validated resource: everything that its children are built from, decided once. Building looks at nothing else: it sees
//! how the pods run and which program is in them, never the kind of the resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use edgereel_crds::{
    placement::Placement, pod::PodTemplate, schedule::Schedule, secret_uses::SecretUses, storage::Storage,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{ConfigMap, EnvVar, Secret, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::{copies::Loan, names::Names, program::Program};
use crate::kinds::{ChildKind, child};

/// How long a singleton waits for its lost node, unless its `placement.moveAfter` says otherwise.
const MOVE_AFTER: Duration = Duration::from_secs(30);

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
    /// Pods that run to an end.
    Batch,
    /// One pod, never two at once, or one that runs to its end, as the resource says.
    SingletonOrBatch,
}

impl Runs {
    /// The kinds of children that this takes.
    pub fn children(self) -> Vec<ChildKind> {
        match self {
            Runs::Singleton => vec![child::<ConfigMap>(), child::<Secret>(), child::<Service>(), child::<Deployment>()],
            Runs::Sharded => vec![
                child::<ConfigMap>(),
                child::<Secret>(),
                child::<Service>(),
                child::<StatefulSet>(),
                child::<PodDisruptionBudget>(),
            ],
            Runs::SingletonOrBatch => {
                vec![
                    child::<ConfigMap>(),
                    child::<Secret>(),
                    child::<Service>(),
                    child::<Deployment>(),
                    child::<Job>(),
                    child::<CronJob>(),
                ]
            }
            Runs::Batch => vec![child::<ConfigMap>(), child::<Job>(), child::<CronJob>()],
        }
    }
}

/// How the pods of a workload run.
#[derive(Clone, Debug, PartialEq)]
pub enum Runtime {
    /// One pod, never two at once.
    Singleton,
    /// The same, for several resources: which, and how they are configured, changes while it runs.
    Shared {
        /// What stands for the configuration that it is to have now.
        revision: String,
    },
    /// Numbered pods that share the work.
    Sharded {
        /// How many.
        replicas: i32,
        /// Where they write.
        storage: Storage,
    },
    /// Pods that run to an end.
    Batch(Batch),
}

/// Pods that run to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// When; none: once.
    pub schedule: Option<Schedule>,
    /// How many have to succeed.
    pub completions: i32,
    /// How many may fail before all is given up.
    pub backoff: i32,
    /// How long it may take, in seconds.
    pub deadline: Option<i64>,
}

/// A volume that is mounted into a pod which has no place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where Kubernetes finds it.
    pub storage: Storage,
    /// Nothing is written to it.
    pub read_only: bool,
}

/// A resource, ready to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Whose workload it is.
    pub owner: Owner,
    /// What its children are called.
    pub names: Names,
    /// How its pods run.
    pub runtime: Runtime,
    /// What its pod reads, where that is on a disk.
    pub mounted: Option<Mounted>,
    /// What runs in them.
    pub program: Program,
    /// The program's arguments.
    pub args: Vec<String>,
    /// The program's environment, before what the template adds: a name that stands here is not taken from there.
    pub env: Vec<EnvVar>,
    /// The resource documents that the program reads, as YAML, by their files' names.
    pub documents: BTreeMap<String, String>,
    /// A hash of what the program does: it changes when a running one would have to be started anew.
    pub checksum: String,
    /// The Secrets that the program reads, and which keys of them.
    pub secrets: SecretUses,
    /// Those of them that are copies from another namespace.
    pub copies: BTreeMap<String, Loan>,
    /// Copies that stay as they are.
    pub kept_copies: BTreeSet<String>,
    /// A hash of the values of those keys.
    pub secrets_checksum: String,
    /// Which nodes may run it.
    pub placement: Option<Placement>,
    /// What its pods are like.
    pub template: PodTemplate,
    /// Extended resources of a device plugin, of which its pod takes one each.
    pub devices: Vec<String>,
    /// How many were asked for, where that is more than the topic has partitions.
    pub capped_from: Option<i32>,
    /// Whether `spec.suspend` is set.
    pub suspended: bool,
    /// The value of `edgereel.dev/restart`: another value starts the pods anew.
    pub restart: Option<String>,
    /// What the program may hold in memory, in bytes, beside itself; none where that changes while it runs.
    pub buffers: Option<u64>,
    /// What is noted at the workload itself, not at its pods: annotations.
    pub stamp: BTreeMap<String, String>,
}

impl Workload {
    /// How many pods there are to be at once.
    pub fn pods(&self) -> i32 {
        if self.suspended {
            return 0;
        }
        match &self.runtime {
            Runtime::Singleton | Runtime::Shared { .. } | Runtime::Batch(_) => 1,
            Runtime::Sharded { replicas, .. } => *replicas,
        }
    }

    /// The disk that its pods use, if they do.
    pub fn storage(&self) -> Option<&Storage> {
        match &self.runtime {
            Runtime::Sharded { storage, .. } => Some(storage),
            Runtime::Singleton | Runtime::Shared { .. } | Runtime::Batch(_) => {
                self.mounted.as_ref().map(|mounted| &mounted.storage)
            }
        }
    }

    /// Whether that disk is only read.
    pub fn reads_only(&self) -> bool {
        self.mounted.as_ref().is_some_and(|mounted| mounted.read_only)
    }

    /// What stands for the configuration that running pods are to have now; none where theirs never changes.
    pub fn follows(&self) -> Option<&str> {
        match &self.runtime {
            Runtime::Shared { revision } => Some(revision),
            Runtime::Singleton | Runtime::Sharded { .. } | Runtime::Batch(_) => None,
        }
    }

    /// Whether each pod has a place of its own, which no other takes before it is known to have ended.
    pub fn stays(&self) -> bool {
        matches!(self.runtime, Runtime::Sharded { .. })
    }

    /// How long its pods wait for a lost node; none: as long as Kubernetes has it. A camera's frames are gone while it waits.
    pub fn move_after(&self) -> Option<Duration> {
        let declared = self.placement.as_ref().and_then(|placement| placement.move_after);
        match self.runtime {
            Runtime::Singleton | Runtime::Shared { .. } => Some(declared.map_or(MOVE_AFTER, |wait| *wait)),
            Runtime::Sharded { .. } | Runtime::Batch(_) => declared.map(|wait| *wait),
        }
    }

    /// What there is to say of it while all is well.
    pub fn well(&self) -> &'static str {
        match &self.runtime {
            Runtime::Singleton | Runtime::Sharded { .. } => "frames flow",
            Runtime::Shared { .. } => "its pod runs; each camera says how it fares",
            Runtime::Batch(Batch { schedule: None, .. }) => "it runs until it has done all",
            Runtime::Batch(_) => "it runs when its schedule says so",
        }
    }
}
