//! One resource from its declaration to its children and its status. The folder is the order of the steps:
//!
//! - [`dereference`] collects what the resource refers to (from the caches);
//! - [`validate`] makes a [`workload`] of it, or says why not (pure; the check that `edgereel validate` runs);
//! - [`build`] makes the children (pure, one file a kind);
//! - [`apply`] brings the cluster to them, with no request where nothing differs;
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
pub mod status;
pub mod subset;
pub mod validate;
pub mod verdict;
pub mod workload;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt, api::DeleteParams, core::DeserializeGuard, runtime::controller::Action};
use tracing::{info, warn};

use self::{
    apply::Live,
    context::Context,
    dereference::object_name,
    managed::{Managed, Observed},
    validate::owner,
    verdict::{Asked, Verdict},
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
    Apply(#[from] apply::ApplyError),
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
    let (live, judged, outcome) = match resource.validate(&found, &context.settings) {
        Err(refusal) => (left_alone(resource, &context), Judged::Said(verdict::refused(&refusal)), Ok(())),
        Ok(None) => (Live::default(), Judged::Said(verdict::sound()), Ok(())),
        Ok(Some(workload)) => {
            let children = build::build(&workload, &context.settings);
            match apply::apply(&workload, children, &context.client, &context.caches).await {
                Ok(live) => (live, Judged::ByPods(asked(&workload)), Ok(())),
                // The resource goes with it.
                Err(error) if error.in_leaving_namespace() => return Ok(Action::await_change()),
                Err(error) => (left_alone(resource, &context), Judged::Said(verdict::failed(&error)), Err(error)),
            }
        }
    };
    let observed = observe(resource, &live, found.users, &context).await;
    clear_the_way(resource, &observed, &context).await?;
    let waits = status::write(resource, &observed, judged.verdict::<K>(&observed), &context).await?;
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
            (Judged::ByPods(asked), Some(aspect)) => {
                verdict::of_workload(asked, &observed.rollout, &observed.pods, aspect)
            }
            (Judged::ByPods(_), None) => verdict::sound(),
        }
    }
}

fn asked(workload: &workload::Workload) -> Asked {
    Asked { suspended: workload.suspended, capped_from: workload.capped_from }
}

/// A resource that is going away: the garbage collector removes its children by their owner, and no recorded data.
fn forget<K: Managed>(context: &Context, resource: &K) -> Action {
    context.written.forget(&resource.uid().unwrap_or_default());
    Action::await_change()
}

/// What runs although the resource is not acted on.
fn left_alone<K: Managed>(resource: &K, context: &Context) -> Live {
    apply::live(&owner(resource), &context.caches)
}

async fn observe<K: Managed>(resource: &K, live: &Live, users: i32, context: &Context) -> Observed {
    let name = object_name(resource);
    let pods = context.caches.pods.of(&owner(resource));
    let (mut rollout, mut pods) = (observe::rollout(live), observe::pods(&pods));
    context.workers.ask(&mut pods).await;
    events::explain(&mut rollout, &mut pods, &name.namespace, &context.client).await;
    Observed { rollout, pods, users }
}

/// Deletes pods that a StatefulSet's rollout waits for in vain.
async fn clear_the_way<K: Managed>(resource: &K, observed: &Observed, context: &Context) -> Result<(), Error> {
    let namespace = object_name(resource).namespace;
    for pod in observe::obstacles(&observed.rollout, &observed.pods) {
        info!(namespace, pod = pod.name, "deleting a pod of an old revision that never became ready");
        let api = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(context.client.clone(), &namespace);
        match api.delete(&pod.name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
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
