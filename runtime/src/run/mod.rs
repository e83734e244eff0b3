//! Runs every resource that is wanted until shutdown: one supervisor each, so that a failure restarts that resource alone, and
//! other wishes touch only what differs.
//!
//! - [`fleet`] holds the running resources and their figures.
//! - [`changes`] compares what is wanted with what runs.
//! - [`supervisor`] starts a resource again and again, [`schedule`] when its time has come.

pub mod changes;
pub mod fleet;
mod schedule;
mod supervisor;

use std::{path::PathBuf, sync::Arc};

use edgereel_crds::{
    name::ObjectName,
    plan::{Revisions, UnknownField},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    changes::changes,
    fleet::{Fleet, Member},
};
use crate::{
    metrics::{Metrics, Resource},
    secrets::Secrets,
    state::ResourceState,
    work::{Surroundings, Wanted},
};

/// What is asked for.
pub struct Asked {
    /// What is to run.
    pub wanted: Vec<Box<dyn Wanted>>,
    /// The secrets at hand.
    pub secrets: Secrets,
    /// What was passed over when it was read.
    pub unknown: Vec<UnknownField>,
    /// What the documents call the revisions of their resources.
    pub revisions: Revisions,
    /// What the documents have in the annotation by which a resource is started anew.
    pub restarts: Revisions,
}

/// What a document has in the annotation by which its resource is started anew.
fn restart(wanted: &dyn Wanted, restarts: &Revisions) -> Option<String> {
    let Resource { namespace, name, .. } = wanted.resource();
    restarts.get(&(wanted.kind(), ObjectName { namespace, name })).cloned()
}

/// What there is to say of fields that were passed over, and who passed over them; none where there are none.
fn passed_over<'a>(unknown: impl IntoIterator<Item = &'a UnknownField>) -> Option<String> {
    let named = |unknown: &UnknownField| format!("{}: {}", unknown.resource, unknown.field);
    let all: Vec<String> = unknown.into_iter().map(named).collect();
    let version = env!("CARGO_PKG_VERSION");
    let words = || format!("this worker (version {version}) does not know, and passes over: {}", all.join(", "));
    (!all.is_empty()).then(words)
}

/// The resources of a process, and what runs them.
pub struct Run {
    /// The running resources.
    pub fleet: Arc<Fleet>,
    storage_root: Option<PathBuf>,
    jobs: Vec<Job>,
    shutdown: CancellationToken,
    /// Told when a resource has ended.
    ended: Arc<Notify>,
}

/// A running resource.
struct Job {
    wanted: Box<dyn Wanted>,
    restart: Option<String>,
    member: Arc<Member>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Job {
    /// Whether it ran to its end.
    fn is_completed(&self) -> bool {
        // What runs again by a schedule has only ended for now.
        self.member.state.is_completed() && self.member.work.schedule().is_none() && !self.stop.is_cancelled()
    }
}

impl Run {
    /// Nothing runs yet; everything that will, counts on these metrics and ends with `shutdown`. `storage_root` stands in for
    /// the resources' volumes.
    pub fn new(metrics: Metrics, storage_root: Option<PathBuf>, shutdown: CancellationToken) -> Self {
        Run {
            fleet: Arc::new(Fleet::new(metrics, vec![])),
            storage_root,
            jobs: vec![],
            shutdown,
            ended: Arc::default(),
        }
    }

    /// Turns to whatever is asked for until shutdown or, if `ends`, until all resources have completed; and waits then until
    /// everything has stopped.
    pub async fn run(mut self, mut asked: mpsc::Receiver<Asked>, ends: bool) {
        let sampler = tokio::spawn(fleet::sample_forever(self.fleet.clone()));
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = self.ended.notified() => {
                    if ends && !self.jobs.is_empty() && self.jobs.iter().all(Job::is_completed) {
                        info!("all resources have completed");
                        break;
                    }
                }
                Some(asked) = asked.recv() => self.turn_to(asked).await,
            }
        }
        // What serves and draws ends with them.
        self.shutdown.cancel();
        end(self.jobs).await;
        sampler.abort();
    }

    /// Ends what is not wanted any more, starts what is new, and leaves alone what is as it was. What changed ends before
    /// it begins anew: its disk, its place in the group and its camera are free by then.
    pub async fn turn_to(&mut self, asked: Asked) {
        let Asked { wanted, secrets, unknown, revisions, restarts } = asked;
        if let Some(words) = passed_over(&unknown) {
            warn!("{words}");
        }
        let running: Vec<&dyn Wanted> = self.jobs.iter().map(|job| job.wanted.as_ref()).collect();
        let changes = changes(&running, &wanted)
            .anew(|old, new| self.jobs[old].restart != restart(wanted[new].as_ref(), &restarts));
        let (starting, stopping) = (changes.beginning.len(), changes.ending.len());
        info!(starting, stopping, undisturbed = changes.staying.len(), "resources");
        let mut old: Vec<Option<Job>> = std::mem::take(&mut self.jobs).into_iter().map(Some).collect();
        let ending: Vec<Job> = changes.ending.iter().filter_map(|place| old[*place].take()).collect();
        for job in &ending {
            info!(resource = job.wanted.label(), "changed or gone: stopping");
            job.stop.cancel();
        }
        let gone: Vec<_> = ending.iter().map(|job| job.wanted.resource()).collect();
        let gone: Vec<_> = gone.into_iter().filter(|gone| wanted.iter().all(|w| w.resource() != *gone)).collect();
        end(ending).await;
        let mut jobs: Vec<Option<Job>> = wanted.iter().map(|_| None).collect();
        for (from, to) in changes.staying {
            jobs[to] = old[from].take();
        }
        for (place, wanted) in wanted.into_iter().enumerate() {
            if jobs[place].is_none() {
                let restart = restart(wanted.as_ref(), &restarts);
                jobs[place] = Some(self.start(wanted, restart, &secrets));
            }
        }
        self.jobs = jobs.into_iter().flatten().collect();
        // What is not about one of the others alone.
        let labels: Vec<String> = self.jobs.iter().map(|job| job.wanted.kind().label(job.wanted.shown())).collect();
        for (job, label) in self.jobs.iter().zip(&labels) {
            let own = unknown.iter().filter(|u| u.resource == *label || !labels.contains(&u.resource));
            let state = &job.member.state;
            state.passes_over(passed_over(own).as_deref());
            state.be_of(revisions.get(&(state.kind, state.name.clone())));
        }
        self.fleet.set_members(self.jobs.iter().map(|job| job.member.clone()).collect());
        // Figures of what runs no more would be alarms that nobody can mend.
        gone.iter().for_each(|gone| self.fleet.metrics.forget(gone));
    }

    fn start(&self, wanted: Box<dyn Wanted>, restart: Option<String>, secrets: &Secrets) -> Job {
        let (metrics, stop) = (&self.fleet.metrics, self.shutdown.child_token());
        let state = ResourceState::new(wanted.kind(), wanted.shown().clone());
        let member = Arc::new(Member::new(state, wanted.work().into(), metrics, &wanted.resource()));
        let around =
            Surroundings { storage_root: self.storage_root.clone(), secrets: secrets.clone(), shutdown: stop.clone() };
        let supervised = member.clone();
        let ended = self.ended.clone();
        let task = tokio::spawn(async move {
            supervisor::supervise(&supervised, &around).await;
            ended.notify_one();
        });
        Job { wanted, restart, member, stop, task }
    }
}

/// Waits until all of them have ended.
async fn end(jobs: Vec<Job>) {
    for job in jobs {
        if let Err(e) = job.task.await {
            error!(resource = job.wanted.label(), "its supervisor failed: {e}");
        }
    }
}
