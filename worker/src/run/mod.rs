//! Runs every resource of a plan until shutdown: one supervisor each, so that a failure restarts that resource alone, and
//! another plan touches only what differs.
//!
//! - [`fleet`] holds the running resources and their figures.
//! - [`wanted`] compares plans.
//! - [`supervisor`] starts a resource again and again.
//! - [`work`] starts [`crate::capture`] and [`crate::sink`].

pub mod fleet;
mod supervisor;
mod wanted;
mod work;

use std::{path::PathBuf, sync::Arc};

use edgereel_crds::plan::Plan;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    capture::{Keep, Snapshot},
    metrics::Metrics,
    run::{
        fleet::{Fleet, Handles, Member},
        wanted::{Wanted, What, changes},
        work::{Surroundings, Work},
    },
};
use edgereel_runtime::{secrets::Secrets, state::ResourceState};

/// What differs by place and is no field of a resource.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the resources' volumes are mounted; without it, `storage.hostPath.path` itself.
    pub storage_root: Option<PathBuf>,
    /// Which replica of its sinks this process is; without it, all of them.
    pub replica: Option<u32>,
    /// Keep each camera's last frame for `/snapshot.jpg`.
    pub snapshots: bool,
}

/// What files ask for, with the secrets at hand.
pub type Asked = (Plan, Secrets);

/// The resources of a process, and what runs them.
pub struct Run {
    /// The running resources.
    pub fleet: Arc<Fleet>,
    options: Options,
    jobs: Vec<Job>,
    shutdown: CancellationToken,
}

/// A running resource.
struct Job {
    wanted: Wanted,
    member: Arc<Member>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Run {
    /// Nothing runs yet; everything that will, ends with `shutdown`.
    pub fn new(options: Options, shutdown: CancellationToken) -> Self {
        Run { fleet: Arc::new(Fleet::new(Metrics::default(), vec![])), options, jobs: vec![], shutdown }
    }

    /// Turns to whatever is asked for until shutdown, and waits then until everything has stopped.
    pub async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        let sampler = tokio::spawn(fleet::sample_forever(self.fleet.clone()));
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some((plan, secrets)) = asked.recv() => self.turn_to(&plan, &secrets).await,
            }
        }
        end(self.jobs).await;
        sampler.abort();
    }

    /// Ends what is not asked for any more, starts what is new, and leaves alone what is as it was. What changed ends before
    /// it begins anew: its disk, its place in the group and its camera are free by then.
    pub async fn turn_to(&mut self, plan: &Plan, secrets: &Secrets) {
        let wanted = Wanted::of(plan, &self.options, secrets);
        let running: Vec<&Wanted> = self.jobs.iter().map(|job| &job.wanted).collect();
        let changes = changes(&running, &wanted);
        let (starting, stopping) = (changes.beginning.len(), changes.ending.len());
        info!(starting, stopping, undisturbed = changes.staying.len(), "resources");
        let mut old: Vec<Option<Job>> = std::mem::take(&mut self.jobs).into_iter().map(Some).collect();
        let ending: Vec<Job> = changes.ending.iter().filter_map(|place| old[*place].take()).collect();
        for job in &ending {
            info!(resource = job.wanted.label(), "changed or gone: stopping");
            job.stop.cancel();
        }
        let gone: Vec<Wanted> = ending.iter().map(|job| job.wanted.clone()).collect();
        end(ending).await;
        let mut jobs: Vec<Option<Job>> = wanted.iter().map(|_| None).collect();
        for (from, to) in changes.staying {
            jobs[to] = old[from].take();
        }
        for place in changes.beginning {
            jobs[place] = Some(self.start(wanted[place].clone(), secrets));
        }
        self.jobs = jobs.into_iter().flatten().collect();
        self.fleet.set_members(self.jobs.iter().map(|job| job.member.clone()).collect());
        // Figures of what runs no more would be alarms that nobody can mend.
        let gone = gone.iter().filter(|gone| wanted.iter().all(|w| w.shown != gone.shown));
        gone.for_each(|gone| self.fleet.metrics.forget(&gone.shown));
    }

    fn start(&self, wanted: Wanted, secrets: &Secrets) -> Job {
        let (metrics, stop) = (&self.fleet.metrics, self.shutdown.child_token());
        let state = ResourceState::new(wanted.id().0, wanted.shown.clone());
        let (work, mut member) = match &wanted.what {
            What::Camera(camera) => {
                let handles = metrics.camera(&wanted.shown);
                let snapshot = self.options.snapshots.then(Snapshot::default);
                let keep = Keep::new(camera, handles.clone(), snapshot.clone());
                let mut member = Member::new(state.clone(), Handles::Camera(handles), snapshot);
                member.warn_frame_bytes = camera.spec.encoding.warn_frame_bytes.0;
                (Work::Camera(camera.clone(), keep), member)
            }
            What::Sink(sink, replica) => {
                let handles = metrics.sink(&wanted.shown);
                let member = Member::new(state.clone(), Handles::Sink(handles.clone()), None);
                (Work::Sink(sink.clone(), handles, *replica), member)
            }
        };
        member.goes_to = wanted.goes_to(self.options.storage_root.as_deref());
        let around = Surroundings {
            storage_root: self.options.storage_root.clone(),
            secrets: secrets.clone(),
            shutdown: stop.clone(),
        };
        let task = tokio::spawn(async move { supervisor::supervise(&state, &work, &around).await });
        Job { wanted, member: Arc::new(member), stop, task }
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
