//! One resource from its declaration to its children and its status. The folder is the order of the steps:
//!
//! - [`dereference`] collects what the resource refers to (from the caches);
//! - [`validate`] makes a [`workload`] of it, or says why not (pure; the check that `edgereel validate` runs);
//! - [`build`] makes the children (pure, one file a kind of child) for the [`program`] that runs in them;
//! - [`apply`] brings the cluster to them, with no request where nothing differs, and removes what nobody wants;
//! - [`observe`] looks at rollout and pods, and at what the workers have said, [`events`] at what stands still; [`verdict`] and
//!   [`figures`] judge them (pure); [`status`] writes.
//!
//! [`guest`] is for those that run in the pods of another resource. [`managed`] is the trait that the [`kinds`](crate::kinds) implement; nothing here names one of them.

pub mod apply;
pub mod build;
pub mod claims;
pub mod context;
pub mod copies;
pub mod dereference;
pub mod events;
pub mod figures;
pub mod guest;
pub mod managed;
pub mod managers;
pub mod names;
pub mod observe;
pub mod program;
pub mod recorder;
pub mod status;
pub mod subset;
pub mod unknown;
pub mod validate;
pub mod verdict;
pub mod workload;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use edgereel_crds::{
    name::ObjectName, resource_status::ResourceStatus, status::ConditionType, worker_status::ConnectionReport,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Preconditions},
    core::object::HasStatus,
    runtime::controller::Action,
};
use tracing::{info, warn};

use self::{
    apply::{ApplyError, Desired, Key, Place},
    build::Children,
    context::Context,
    dereference::object_name,
    guest::Step,
    managed::{Managed, Observed},
    names::{FORCE_MOVE_ANNOTATION, RESTART_ANNOTATION},
    observe::{PodView, Rollout},
    validate::owner,
    verdict::{Asked, Verdict, guest::AsGuest},
    workload::Runs,
};
use crate::{
    backoff,
    cache::Guarded,
    kinds::ChildKind,
    references::Node,
    rollout::{board::State, pause, turn},
    words::words,
};

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused, or did not answer.
    #[error("{what}: {}", words(.source))]
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
pub async fn reconcile<K: Managed>(guarded: Arc<Guarded<K>>, context: Arc<Context>) -> Result<Action, Error> {
    let resource = match &guarded.0 {
        Ok(resource) if resource.meta().deletion_timestamp.is_some() => return Ok(forget(&context, resource)),
        Ok(resource) => resource,
        Err(invalid) => {
            context.board.note(&Node::of::<K>(&object_name(&*guarded)), 0, State::Apart);
            return status::malformed::<K>(invalid, &context).await;
        }
    };
    let mut found = resource.dereference(&context.caches);
    let namespace = object_name(resource).namespace;
    if found.waits {
        // It is woken when there is something to see.
        return Ok(Action::requeue(context.settings.poll_interval));
    }
    let read = dereference::values(&mut found, &namespace, &context).await;
    read.map_err(|source| Error::Api { what: "cannot read a Secret or ConfigMap", source })?;
    let owner = owner(resource);
    let place = Place { client: &context.client, caches: &context.caches, owner: &owner };
    let (host, was_in) = (resource.host(&context.caches), resource.was_in(&context.caches));
    // As long as a guest has pods of its own, it is there.
    let seat = host.as_ref().filter(|_| !guest::has_own(&owner, &context.caches)).and_then(|host| host.owner.as_ref());
    let at = Place { owner: seat.unwrap_or(&owner), ..place };
    let left = was_in.as_ref().filter(|was| host.as_ref().is_none_or(|host| host.node != was.node));
    let left = left.filter(|was| guest::holds(resource, was, place, &context));
    let mut is_in = was_in.as_ref().map(|host| host.node.name.name.clone());
    let mut follows = None;
    let (node, paused) = (Node::of::<K>(&object_name(resource)), pause::is_paused(resource));
    let kinds = prunable::<K>(&context);
    let apart = || context.board.note(&node, 0, State::Apart);
    let (mut further, mut again) = (Vec::new(), None);
    let (rollout, judged, outcome) = match (resource.validate(&found, &context.settings), &host, left) {
        (Err(refusal), ..) => {
            apart();
            // Whoever lent the connection wants it back. By the configuration it is known that it is used: that goes last.
            let ends = found.withheld.as_ref().is_some_and(|connection| copies::run_with(connection, place));
            let last: Vec<_> = kinds.iter().rev().cloned().collect();
            match if ends { apply::prune(&last, &BTreeSet::new(), place).await } else { Ok(()) } {
                Ok(()) => (left_alone(at), Judged::Said(verdict::refused(&refusal)), Ok(())),
                Err(error) => (left_alone(at), Judged::Said(verdict::failed(&error)), Err(error)),
            }
        }
        (Ok(None), ..) => (Rollout::default(), Judged::ByUsers, Ok(())),
        (Ok(Some(_)), _, Some(left)) => {
            apart();
            again = Some(guest::HANDING_OVER);
            (left_alone(place), Judged::Said(verdict::guest::held(&left.label())), Ok(()))
        }
        (Ok(Some(workload)), Some(host), None) => {
            apart();
            further.extend(host.up_to_date.clone());
            match guest::step(&workload, host, paused, place) {
                Step::Stays => {
                    is_in = None;
                    found.remarks.push(format!("it moves into the pod of {} once that can take it in", host.label()));
                    (left_alone(place), Judged::ByPods(asked(&workload)), Ok(()))
                }
                Step::Moves => {
                    is_in = None;
                    match apply::prune(&kinds, &BTreeSet::new(), place).await {
                        Ok(()) => (left_alone(place), Judged::Said(verdict::guest::moves(&host.label())), Ok(())),
                        Err(error) => (left_alone(place), Judged::Said(verdict::failed(&error)), Err(error)),
                    }
                }
                Step::There => {
                    is_in = Some(host.node.name.name.clone());
                    let restart = resource.annotations().get(RESTART_ANNOTATION);
                    let revision = (!paused).then(|| guest::revision(&found, restart));
                    if resource.annotations().contains_key(FORCE_MOVE_ANNOTATION) {
                        found.remarks.push(format!(
                            "{FORCE_MOVE_ANNOTATION} does nothing here: its pod is that of {}, so annotate that one",
                            host.label()
                        ));
                    }
                    let asked = AsGuest { suspended: workload.suspended, host: host.label(), revision };
                    (left_alone(at), Judged::ByHost(asked), Ok(()))
                }
            }
        }
        (Ok(Some(workload)), None, None) if paused => {
            apart();
            let rollout = left_alone(place);
            further.push(turn::of_paused(&workload, &context.settings, &rollout));
            let judged = match rollout.observed {
                true => Judged::ByPods(Asked { suspended: rollout.desired == 0, ..asked(&workload) }),
                false => Judged::Said(verdict::paused()),
            };
            (rollout, judged, Ok(()))
        }
        (Ok(Some(workload)), None, None) => {
            is_in = None;
            follows = workload.follows().map(str::to_owned);
            let turn = turn::take(resource, &found, workload, place, &context).await;
            let mut turn = turn.map_err(|source| Error::Api { what: "cannot fetch an image beforehand", source })?;
            let in_turn = !turn.keeps && turn.is_of(&context.settings);
            let claims = claims::grow(&mut turn.workload, in_turn, place).await?;
            let children = build::build(&turn.workload, &turn.settings);
            let brought = match copies::ensure(&turn.workload, &found, place).await {
                Ok(copies) => {
                    let bringing = Bringing { children: &children, copies, keeps: turn.keeps || claims.waits };
                    bring(resource, bringing, &kinds, place).await
                }
                Err(error) => Err(error),
            };
            match brought {
                Ok(rollout) => {
                    let tidied = turn.done(resource, place, &context).await;
                    tidied
                        .map_err(|source| Error::Api { what: "cannot remove a pod that fetched an image", source })?;
                    if turn.silent {
                        return Ok(Action::requeue(context.settings.poll_interval));
                    }
                    further.push(turn.word);
                    further.extend(claims.word);
                    again = turn.again;
                    (rollout, Judged::ByPods(asked(&turn.workload)), Ok(()))
                }
                // The resource goes with it.
                Err(error) if error.in_leaving_namespace() => return Ok(Action::await_change()),
                Err(error) => (left_alone(place), Judged::Said(verdict::failed(&error)), Err(error)),
            }
        }
    };
    let mut pods = observe::pods(&context.caches.pods.of(at.owner), &rollout);
    context.nodes.tell(&mut pods);
    if paused {
        further.push(pause::condition());
    }
    if seat.is_none() {
        if !paused {
            clear_the_way(&rollout, &pods, place).await?;
        }
        give_up(observe::forced(resource.annotations().get(FORCE_MOVE_ANNOTATION), &pods), place).await?;
    }
    if let Some(revision) = &follows {
        guest::hurry(&pods, revision, place).await?;
    }
    let mut observed = look(rollout, pods, &node, seat.is_none(), &context).await;
    observed.users = i32::try_from(found.users.len()).unwrap_or(i32::MAX);
    observed.host = is_in;
    observed.reached = reached(&object_name(resource), found.users.iter().chain(&found.hosts), &context);
    let unknown = context.definitions.set_by_somebody(K::NAME, &guarded.1.unknown, &context.client).await;
    observed.unknown = unknown::in_words(&unknown);
    // A worker is just being asked why its readiness changed: what it says is worth the moment. It wakes the resource.
    if outcome.is_ok()
        && is_said(resource)
        && let Some(wait) = context.reports.awaited(&namespace, &observed.pods)
    {
        return Ok(Action::requeue(found.settles.map_or(wait, |settles| wait.min(settles))));
    }
    let verdict = Verdict { further, ..judged.verdict::<K>(&observed).remarking(&found.remarks) };
    let waits = status::write(resource, &observed, verdict, &context).await?;
    outcome?;
    context.written.succeeded(&resource.uid().unwrap_or_default());
    let look = next_look(&observed, context.settings.poll_interval);
    let soonest = [waits, found.settles, again].into_iter().flatten().fold(look, Duration::min);
    Ok(Action::requeue(soonest))
}

/// What the workers of these resources, wherever they are, know of a connection.
fn reached<'a>(
    connection: &ObjectName,
    users: impl Iterator<Item = &'a Node>,
    context: &Context,
) -> Vec<ConnectionReport> {
    let mut by_namespace = BTreeMap::<&String, Vec<&Node>>::new();
    users.for_each(|user| by_namespace.entry(&user.name.namespace).or_default().push(user));
    let told = |(namespace, users): (&String, Vec<&Node>)| {
        let told = |there: &Context| there.reports.of_connection(&there.caches.pods.of_all(users), connection);
        context.look(namespace, told).unwrap_or_default()
    };
    by_namespace.into_iter().flat_map(told).collect()
}

/// After a failure: the same resource is tried again, later each time; no other waits for it.
pub fn retry<K: Managed>(guarded: Arc<Guarded<K>>, error: &Error, context: Arc<Context>) -> Action {
    let failures = context.written.failed(&guarded.uid().unwrap_or_default());
    context.board.give_up(&Node::of::<K>(&object_name(&*guarded)));
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
    /// What is said of it in the pods of another.
    ByHost(AsGuest),
    /// What those say who use it: nothing runs for it.
    ByUsers,
}

impl Judged {
    fn verdict<K: Managed>(self, observed: &Observed) -> Verdict {
        let verdict = match (self, K::ASPECT) {
            (Judged::Said(verdict), Some(ConditionType::Accepted)) => verdict::not_accepted(verdict),
            (Judged::Said(verdict), Some(aspect)) => verdict::with_aspect(verdict, &observed.pods, aspect),
            (Judged::Said(verdict), None) => verdict,
            (Judged::ByPods(asked), aspect) => verdict::of_workload(asked, &observed.rollout, &observed.pods, aspect),
            (Judged::ByHost(asked), aspect) => {
                verdict::guest::of_guest(&asked, &observed.rollout, &observed.pods, aspect)
            }
            (Judged::ByUsers, _) => verdict::of_connection(observed.users, &observed.reached),
        };
        match K::RUNS {
            Some(_) => verdict::with_figures(verdict, &observed.pods),
            None => verdict,
        }
    }
}

/// Whether the status is about what is declared now.
fn is_said<K: Managed>(resource: &K) -> bool {
    let said = HasStatus::status(resource).and_then(ResourceStatus::observed_generation);
    said.is_some() && said == resource.meta().generation
}

fn asked(workload: &workload::Workload) -> Asked {
    Asked {
        suspended: workload.suspended,
        none: workload.pods() == 0,
        capped_from: workload.capped_from,
        well: workload.well(),
        move_after: workload.move_after(),
        stays: workload.stays(),
    }
}

/// A resource that is going away: the garbage collector removes its children by their owner, and no recorded data.
fn forget<K: Managed>(context: &Context, resource: &K) -> Action {
    context.written.forget(&resource.uid().unwrap_or_default());
    context.board.note(&Node::of::<K>(&object_name(resource)), 0, State::Apart);
    Action::await_change()
}

/// What runs although the resource is not acted on.
fn left_alone(place: Place<'_>) -> Rollout {
    observe::rollout(&observe::live(place, |_| true))
}

/// The kinds of children that are removed when nobody wants them any longer: those that the operator may remove.
fn prunable<K: Managed>(context: &Context) -> Vec<ChildKind> {
    let mut kinds = K::RUNS.map(Runs::children).unwrap_or_default();
    kinds.retain(|kind| kind.plural() != Secret::plural(&()) || context.settings.shared_connections);
    kinds
}

/// What a resource's children are to be.
struct Bringing<'a> {
    children: &'a Children,
    /// Those that are there already: copies of Secrets.
    copies: BTreeSet<Key>,
    /// What makes the pods stays as it is.
    keeps: bool,
}

/// Brings the children to what was built, and removes those that nobody wants any longer.
async fn bring<K: Managed>(
    resource: &K,
    Bringing { children, copies, keeps }: Bringing<'_>,
    kinds: &[ChildKind],
    place: Place<'_>,
) -> Result<Rollout, ApplyError> {
    let old = HasStatus::status(resource).map(ResourceStatus::conditions).unwrap_or_default();
    let over = children.run().and_then(|run| verdict::remembered(run, old));
    // What has come to its end and is gone since is not made again.
    let is_run = |child: &dyn Desired| children.run() == Some(child.key().1.as_str());
    let mut due: Vec<&dyn Desired> = children.iter().collect();
    due.retain(|child| over.is_none() || !is_run(*child) || child.is_there(place));
    due.retain(|child| !keeps || !child.makes_pods());
    apply::apply(&due, place).await?;
    let mut wanted: BTreeSet<Key> = children.iter().map(|child| child.key()).collect();
    let mut rollout = observe::rollout(&observe::live(place, |key| wanted.contains(key)));
    if rollout.end.is_none() && over.is_some() {
        rollout = Rollout { observed: true, ends: true, end: over, ..rollout };
    }
    wanted.extend(still_read(&rollout, place));
    wanted.extend(copies);
    apply::prune(kinds, &wanted, place).await?;
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

/// What the workers have said last, and the events of what stands still, where the pods are the resource's own.
async fn look(mut rollout: Rollout, pods: Vec<PodView>, of: &Node, own: bool, context: &Context) -> Observed {
    observe::add_last_words(&mut rollout, &pods);
    let mut pods = observe::standing(pods, &rollout);
    context.reports.tell(of, &mut pods);
    if own {
        events::explain(&mut rollout, &mut pods, &of.name.namespace, &context.client).await;
    }
    Observed { rollout, pods, ..Observed::default() }
}

/// Deletes pods that a rollout waits for in vain.
async fn clear_the_way(rollout: &Rollout, pods: &[PodView], place: Place<'_>) -> Result<(), Error> {
    for pod in observe::obstacles(rollout, pods).into_iter().chain(observe::leftovers(rollout, pods)) {
        let namespace = &place.owner.namespace;
        info!(namespace, pod = pod.name, "deleting a pod of an old revision that ended, or never became ready");
        delete(pod, DeleteParams::default(), place).await?;
    }
    Ok(())
}

/// Deletes pods on lost nodes at once: nobody there says that they have ended.
async fn give_up(pods: Vec<&PodView>, place: Place<'_>) -> Result<(), Error> {
    for pod in pods {
        let namespace = &place.owner.namespace;
        warn!(namespace, pod = pod.name, node = pod.node, "giving a pod up, as its resource's annotation asks for");
        delete(pod, DeleteParams::default().grace_period(0), place).await?;
    }
    Ok(())
}

async fn delete(pod: &PodView, params: DeleteParams, place: Place<'_>) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(place.client.clone(), &place.owner.namespace);
    // Not the one that has come in its place meanwhile.
    let same = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    match api.delete(&pod.name, &params.preconditions(same)).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(Error::Api { what: "cannot delete a pod that is in the way", source }),
        Ok(_) => Ok(()),
    }
}

/// When to look again without a cause: at the events where something stands still (they wake nobody), else once in a while. Up to a fifth sooner or later, so that hundreds do not all come at once.
fn next_look(observed: &Observed, poll: Duration) -> Duration {
    let rarely = Duration::from_secs(600);
    let rolls = observed.rollout.observed && !observed.rollout.done();
    let base = if rolls { poll } else { rarely };
    base.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}
