//! What a kind says of itself to the operator, beside what the API says of it ([`Declared`]): the one trait behind
//! `reconcile`. The kinds implement it in [`kinds`](crate::kinds).

use std::fmt::Debug;

use edgereel_crds::{declared::Declared, worker_status::ConnectionReport};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    dereference::Found,
    figures::WorthWriting,
    guest::Host,
    observe::{PodView, Rollout},
    validate::Refusal,
    workload::{Runs, Workload},
};
use crate::{cache::Caches, settings::Settings};

/// What a resource does, apart from its conditions.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How far its rollout is.
    pub rollout: Rollout,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// How many use it, for a connection.
    pub users: i32,
    /// The resource in whose pods it runs.
    pub host: Option<String>,
    /// What the workers of those who use it know of it.
    pub reached: Vec<ConnectionReport>,
    /// Its fields that this version passes over, in words; none where it knows all.
    pub unknown: Option<String>,
}

/// A kind that the operator works on.
pub trait Managed:
    Declared
    + HasStatus<Status: WorthWriting + Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// How its pods run; none where nothing runs for it.
    const RUNS: Option<Runs>;
    /// Whether one can claim what another claims in another namespace: a directory of a node.
    const MEETS_ACROSS_NAMESPACES: bool = false;
    /// Whether its status says how many use it.
    const COUNTS_USERS: bool = false;
    /// Whether those that refer to it run in its pods.
    const HOSTS: bool = false;

    /// Collects what it refers to.
    fn dereference(&self, caches: &Caches) -> Found;
    /// What is to run; none where nothing is.
    ///
    /// # Errors
    /// Why it is not acted on.
    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal>;
    /// The resource in whose pods it runs; none: in its own.
    fn host(&self, _caches: &Caches) -> Option<Host> {
        None
    }
    /// The resource in whose pods it ran when its status was written.
    fn was_in(&self, _caches: &Caches) -> Option<Host> {
        None
    }
    /// The status without its conditions; `old` is the last one.
    fn figures(&self, observed: &Observed, old: &Self::Status) -> Self::Status;
    /// Puts the conditions in.
    fn with_conditions(status: Self::Status, conditions: Vec<Condition>, generation: Option<i64>) -> Self::Status;
}
