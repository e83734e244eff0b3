//! One resource from its declaration to its children and its status. The folder is the order of the steps:
//!
//! - [`dereference`] collects what the resource refers to (from the caches);
//! - [`validate`] makes a [`workload`] of it, or says why not (pure; the check that `edgereel validate` runs);
//! - [`build`] makes the children (pure, one file a kind of child) for the [`program`] that runs in them;
//! - [`apply`] brings the cluster to them, with no request where nothing differs, and removes what nobody wants;
//! - [`observe`] looks at rollout, pods and workers, [`events`] at what stands still; [`verdict`] and [`figures`] judge
//!   them (pure); [`status`] writes.
//!
//! [`managed`] is the trait that the [`kinds`](crate::kinds) implement; nothing here names one of them.

pub mod apply;
pub mod build;
pub mod context;
pub mod dereference;
pub mod events;
pub mod figures;
pub mod managed;
pub mod names;
pub mod observe;
pub mod program;
pub mod status;
pub mod subset;
pub mod validate;
pub mod verdict;
pub mod workload;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use edgereel_crds::resource_status::ResourceStatus;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
    core::{DeserializeGuard, object::HasStatus},
    runtime::controller::Action,
};
use tracing::{info, warn};

use self::{
    apply::{ApplyError, Desired, Key, Place},
    build::Children,
    context::Context,
    dereference::object_name,
    managed::{Managed, Observed},
    observe::{PodView, Rollout},
    validate::owner,
    verdict::{Asked, Verdict},
    workload::Runs,
};
use crate::backoff;

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or did not answer.
    #[error("{what}: {source}")]
    Api {
        /// What was being done.
        what: &'static str,
        /// What it said.
        source: kube::Error,
    },
    /// A child could not be brought to what was built. The status says so.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Brings one resource to what it declares, and says in its status how it fares.
pub async fn reconcile<K: Managed>(guarded: Arc<DeserializeGuard<K>>, context: Arc<Context>) -> Result<Action, Error> {
    let resource = match &guarded.0 {
        Ok(resource) if resource.meta().deletion_timestamp.is_some() => return Ok(forget(&context, resource)),
        Ok(resource) => resource,
        Err(invalid) => return status::malformed::<K>(invalid, &context).await,
    };
    let mut found = resource.dereference(&context.caches);
    let namespace = object_name(resource).namespace;
    let read = dereference::secrets(&mut found, &namespace, &context).await;
    read.map_err(|source| Error::Api { what: "cannot read a Secret", source })?;
    let owner = owner(resource);
    let place = Place { client: &context.client, caches: &context.caches, owner: &owner };
    let (rollout, judged, outcome) = match resource.validate(&found, &context.settings) {
        Err(refusal) => (left_alone(place), Judged::Said(verdict::refused(&refusal)), Ok(())),
        Ok(None) => (Rollout::default(), Judged::Said(verdict::sound()), Ok(())),
        Ok(Some(workload)) => {
            let children = build::build(&workload, &context.settings);
            match bring(resource, &children, place).await {
                Ok(rollout) => (rollout, Judged::ByPods(asked(&workload)), Ok(())),
                // The resource goes with it.
                Err(error) if error.in_leaving_namespace() => return Ok(Action::await_change()),
                Err(error) => (left_alone(place), Judged::Said(verdict::failed(&error)), Err(error)),
            }
        }
    };
    let pods = observe::pods(&context.caches.pods.of(&owner), &rollout);
    clear_the_way(&rollout, &pods, place).await?;
    let observed = look(rollout, pods, found.users, &namespace, &context).await;
    let verdict = judged.verdict::<K>(&observed).remarking(&found.remarks);
    let waits = status::write(resource, &observed, verdict, &context).await?;
    outcome?;
    context.written.succeeded(&resource.uid().unwrap_or_default());
    let look = next_look(&observed, context.settings.poll_interval);
    Ok(Action::requeue(waits.map_or(look, |wait| look.min(wait))))
}

/// After a failure: the same resource is tried again, later each time; no other waits for it.
pub fn retry<K: Managed>(guarded: Arc<DeserializeGuard<K>>, error: &Error, context: Arc<Context>) -> Action {
    let failures = context.written.failed(&guarded.uid().unwrap_or_default());
    let wait = backoff::wait(failures, rand::random());
    let resource = format!("{}/{}", K::NAME, object_name(&*guarded));
    warn!(resource, ?wait, "{error}");
    Action::requeue(wait)
}

/// Where a resource's verdict comes from.
enum Judged {
    /// It stands already.
    Said(Verdict),
    /// What its pods do.
    ByPods(Asked),
}

impl Judged {
    fn verdict<K: Managed>(self, observed: &Observed) -> Verdict {
        match (self, K::ASPECT) {
            (Judged::Said(verdict), Some(aspect)) => verdict::with_aspect(verdict, &observed.pods, aspect),
            (Judged::Said(verdict), None) => verdict,
            (Judged::ByPods(asked), aspect) => verdict::of_workload(asked, &observed.rollout, &observed.pods, aspect),
        }
    }
}

fn asked(workload: &workload::Workload) -> Asked {
    let none = workload.pods() == 0;
    Asked { suspended: workload.suspended, none, capped_from: workload.capped_from, well: workload.well() }
}

/// A resource that is going away: the garbage collector removes its children by their owner, and no recorded data.
fn forget<K: Managed>(context: &Context, resource: &K) -> Action {
    context.written.forget(&resource.uid().unwrap_or_default());
    Action::await_change()
}

/// What runs although the resource is not acted on.
fn left_alone(place: Place<'_>) -> Rollout {
    observe::rollout(&observe::live(place, |_| true))
}

/// Brings the children to what was built, and removes those that nobody wants any longer.
async fn bring<K: Managed>(resource: &K, children: &Children, place: Place<'_>) -> Result<Rollout, ApplyError> {
    let old = HasStatus::status(resource).map(ResourceStatus::conditions).unwrap_or_default();
    let over = children.run().and_then(|run| verdict::remembered(run, old));
    // What has come to its end and is gone since is not made again.
    let is_run = |child: &dyn Desired| children.run() == Some(child.key().1.as_str());
    let mut due: Vec<&dyn Desired> = children.iter().collect();
    due.retain(|child| over.is_none() || !is_run(*child) || child.is_there(place));
    apply::apply(&due, place).await?;
    let mut wanted: BTreeSet<Key> = children.iter().map(|child| child.key()).collect();
    let mut rollout = observe::rollout(&observe::live(place, |key| wanted.contains(key)));
    if rollout.end.is_none() && over.is_some() {
        rollout = Rollout { observed: true, ends: true, end: over, ..rollout };
    }
    wanted.extend(still_read(&rollout, place));
    let kinds = K::RUNS.map(Runs::children).unwrap_or_default();
    apply::prune(&kinds, &wanted, place).await?;
    Ok(rollout)
}

/// The ConfigMaps that pods may read besides the one that was built: while pods are replaced, one of an older revision may be
/// started anew at any time.
fn still_read(rollout: &Rollout, place: Place<'_>) -> Vec<Key> {
    let Some(cache) = place.caches.children::<ConfigMap>() else { return Vec::new() };
    let read = observe::configs(&observe::pods(&place.caches.pods.of(place.owner), rollout));
    let all = cache.of(place.owner).into_iter();
    all.filter(|map| !rollout.done() || read.contains(&map.name_any())).map(|map| map.key()).collect()
}

/// Asks the workers, and the events of what stands still.
async fn look(mut rollout: Rollout, pods: Vec<PodView>, users: i32, namespace: &str, context: &Context) -> Observed {
    let mut pods = observe::standing(pods, &rollout);
    context.workers.ask(&mut pods).await;
    events::explain(&mut rollout, &mut pods, namespace, &context.client).await;
    Observed { rollout, pods, users }
}

/// Deletes pods that a rollout waits for in vain.
async fn clear_the_way(rollout: &Rollout, pods: &[PodView], place: Place<'_>) -> Result<(), Error> {
    let namespace = &place.owner.namespace;
    for pod in observe::obstacles(rollout, pods).into_iter().chain(observe::leftovers(rollout, pods)) {
        info!(namespace, pod = pod.name, "deleting a pod of an old revision that ended, or never became ready");
        let api = Api::<Pod>::namespaced(place.client.clone(), namespace);
        // Not the one that has come in its place meanwhile.
        let same = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
        match api.delete(&pod.name, &DeleteParams::default().preconditions(same)).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(source) => return Err(Error::Api { what: "cannot delete a pod that holds a rollout up", source }),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// When to look again without a cause: at the figures where a worker runs and at the events where something stands still
/// (neither wakes us), else once in a while. Up to a fifth sooner or later, so that hundreds do not all come at once.
fn next_look(observed: &Observed, poll: Duration) -> Duration {
    let rarely = Duration::from_secs(600);
    let rolls = observed.rollout.observed && !observed.rollout.done();
    let base = if rolls || observed.pods.iter().any(|pod| pod.running) { poll } else { rarely };
    base.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}
