//! Brings the children to what was built, with as few requests as that takes: none, when nothing differs.
//!
//! What is not there is created, which fails where somebody else's object has the name; what is there is changed by
//! server-side apply under one field manager: fields that were ours and are no longer wanted go away, fields of others
//! stay ([`super::managers`]). Whether a child differs is decided from the cache, by a hash of what was last applied and by its live fields.
//! What is ours is known by the uid of its owner, and by nothing else: a name says nothing.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use futures::future::BoxFuture;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::info;

use super::{managers, names::APPLIED_ANNOTATION, subset::is_subset, workload::Owner};
use crate::{cache::Caches, hash::hash_of, kinds::ChildKind, words::words};

/// Why a child is not as it is to be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused, or did not answer.
    #[error("{kind}/{name}: {}", words(.source))]
    Api {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// What it said.
        source: kube::Error,
    },
    /// There is such an object, and it still belongs to a resource of this name that was deleted.
    #[error("{kind}/{name} is still that of {owner} as it was before it was deleted: waiting for its removal")]
    Leaving {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// The resource.
        owner: String,
    },
    /// There is such an object, and it is somebody else's.
    #[error(
        "{kind}/{name} is there already and does not belong to {owner}: delete it, or give the resource another name"
    )]
    NameTaken {
        /// The child's kind.
        kind: &'static str,
        /// The child's name.
        name: String,
        /// The resource.
        owner: String,
    },
}

impl ApplyError {
    /// Whether the namespace is on its way out; see [`in_leaving_namespace`].
    pub fn in_leaving_namespace(&self) -> bool {
        matches!(self, ApplyError::Api { source, .. } if in_leaving_namespace(source))
    }
}

/// Whether something was refused because its namespace is on its way out, and with it all that it holds. (The cause is
/// `NamespaceTerminatingCause` of k8s.io/api/core/v1.)
pub fn in_leaving_namespace(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    status.is_forbidden() && causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whose children are applied, and where.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The API server.
    pub client: &'a Client,
    /// What it was last seen to have.
    pub caches: &'a Caches,
    /// The resource.
    pub owner: &'a Owner,
}

/// A kind of child.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + k8s_openapi::Resource
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<C> Child for C where
    C: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + k8s_openapi::Resource
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// Which child: its kind's plural, and its name.
pub type Key = (String, String);

/// A child that is to be there, whatever its type.
pub trait Desired: Send + Sync {
    /// Which it is.
    fn key(&self) -> Key;
    /// Whether pods are made from it.
    fn makes_pods(&self) -> bool;
    /// Whether it is there, as far as is known here.
    fn is_there(&self, place: Place<'_>) -> bool;
    /// Makes it, changes it or leaves it.
    fn ensure<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<(), ApplyError>>;
}

impl<C: Child> Desired for C {
    fn key(&self) -> Key {
        (<C as Resource>::plural(&()).into_owned(), self.name_any())
    }

    fn makes_pods(&self) -> bool {
        matches!(C::KIND, "Deployment" | "StatefulSet" | "Job" | "CronJob")
    }

    fn is_there(&self, place: Place<'_>) -> bool {
        let cache = place.caches.children::<C>();
        cache.is_some_and(|cache| cache.get(&place.owner.namespace, &self.name_any()).is_some())
    }

    fn ensure<'a>(&'a self, place: Place<'a>) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(ensure(place, self))
    }
}

/// Applies children in their order.
///
/// # Errors
/// The first child that cannot be brought to what was built; those before it are.
pub async fn apply(children: &[&dyn Desired], place: Place<'_>) -> Result<(), ApplyError> {
    for child in children {
        child.ensure(place).await?;
    }
    Ok(())
}

/// Removes the owner's children of these kinds that nobody wants any longer.
///
/// # Errors
/// The first that cannot be removed.
pub async fn prune(kinds: &[ChildKind], wanted: &BTreeSet<Key>, place: Place<'_>) -> Result<(), ApplyError> {
    for kind in kinds {
        kind.prune(wanted, place).await?;
    }
    Ok(())
}

/// Removes the owner's children of one kind that nobody wants any longer.
pub(crate) async fn prune_kind<C: Child>(wanted: &BTreeSet<Key>, place: Place<'_>) -> Result<(), ApplyError> {
    let Place { client, caches, owner } = place;
    let Some(cache) = caches.children::<C>() else { return Ok(()) };
    for orphan in cache.of(owner).iter().filter(|child| !wanted.contains(&child.key())) {
        let name = orphan.name_any();
        info!(owner = owner.label(), kind = C::KIND, name, "removing what is no longer wanted");
        let api = Api::<C>::namespaced(client.clone(), &owner.namespace);
        let removed = remove(&api, &**orphan).await;
        removed.map_err(|source| ApplyError::Api { kind: C::KIND, name: name.clone(), source })?;
        cache.wrote(&owner.namespace, &name, None);
    }
    Ok(())
}

async fn ensure<C: Child>(place: Place<'_>, desired: &C) -> Result<(), ApplyError> {
    let Place { client, caches, owner } = place;
    let Some(cache) = caches.children::<C>() else { return Ok(()) };
    let name = &desired.name_any();
    let api = Api::<C>::namespaced(client.clone(), &owner.namespace);
    let failed = |source| ApplyError::Api { kind: C::KIND, name: name.clone(), source };
    let desired = manifest(desired);
    let wrote = |written| {
        cache.wrote(&owner.namespace, name, Some(written));
        Ok(())
    };
    let there = match cache.get(&owner.namespace, name) {
        Some(known) => known,
        None => {
            info!(owner = owner.label(), kind = C::KIND, name, "making");
            match managers::create(&api, &desired).await {
                // The watch brings what carries our label. What is there beside it may be somebody else's.
                Err(error) if is_there_already(&error) => Arc::new(api.get(name).await.map_err(failed)?),
                made => return wrote(made.map_err(failed)?),
            }
        }
    };
    if !owned(&*there, owner) {
        return Err(not_ours(owner, &*there));
    }
    if unchanged(&desired, &*there) {
        return Ok(());
    }
    info!(owner = owner.label(), kind = C::KIND, name, "applying");
    wrote(managers::apply(&api, &*there, desired).await.map_err(failed)?)
}

/// Whether the API server refused to make an object whose name is taken.
fn is_there_already(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

fn not_ours<C: Child>(owner: &Owner, there: &C) -> ApplyError {
    let (kind, name, label) = (C::KIND, there.name_any(), owner.label());
    let before = |reference: &OwnerReference| reference.kind == owner.kind && reference.name == owner.name;
    match there.owner_references().iter().any(before) {
        true => ApplyError::Leaving { kind, name, owner: label },
        false => ApplyError::NameTaken { kind, name, owner: label },
    }
}

/// The object as it is sent, with a hash of itself.
pub fn manifest<C: Child>(desired: &C) -> Value {
    let mut value = serde_json::to_value(desired).unwrap_or_default();
    let mut noted = value.clone();
    if C::KIND == "Secret" {
        // More people see annotations than values, and could try guesses.
        noted["data"].take();
    }
    let hash = hash_of(&noted);
    value["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(hash);
    value
}

/// Whether the live object is what this manifest made of it, and nobody has changed a field of ours since.
fn unchanged<C: Child>(manifest: &Value, live: &C) -> bool {
    let applied = &manifest["metadata"]["annotations"][APPLIED_ANNOTATION];
    let same = live.annotations().get(APPLIED_ANNOTATION).map(String::as_str) == applied.as_str();
    same && serde_json::to_value(live).is_ok_and(|live| is_subset(manifest, &live))
}

/// Whether the object belongs to the owner, and not to one of the same name that was deleted.
pub fn owned(object: &impl Resource, owner: &Owner) -> bool {
    object.meta().owner_references.iter().flatten().any(|reference| reference.uid == owner.uid)
}

async fn remove<C: Child>(api: &Api<C>, orphan: &C) -> Result<(), kube::Error> {
    // Not one that somebody has made anew meanwhile.
    let same = Preconditions { uid: orphan.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::background() };
    match api.delete(&orphan.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
