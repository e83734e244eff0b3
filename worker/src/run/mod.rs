//! Runs every resource of a plan until shutdown: one supervisor each, so that a failure restarts that resource alone.
//!
//! - [`fleet`] holds the running resources and their figures.
//! - [`work`] starts [`crate::capture`] and [`crate::sink`].

pub mod fleet;
mod work;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use edgereel_crds::{
    plan::{ObjectName, Plan, SinkPlan},
    status::{ConditionStatus, ConditionType, Reason},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    backoff::Backoff,
    capture::{Keep, Snapshot},
    fault::Fault,
    metrics::Metrics,
    run::{
        fleet::{Fleet, Handles, Member},
        work::{Surroundings, Work},
    },
    secrets::Secrets,
    state::{Kind, ResourceState},
};

/// The first wait before a resource is restarted, and the longest.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A resource that ran this long before it failed starts its waits anew.
const SETTLED: Duration = Duration::from_secs(60);

/// What differs by place and is no field of a resource.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What stands in for the resources' volumes; without it, `storage.hostPath.path` itself.
    pub storage_root: Option<PathBuf>,
    /// Which replica of its sinks this process is; without it, all of them.
    pub replica: Option<u32>,
    /// Keep each camera's last frame for `/snapshot.jpg`.
    pub snapshots: bool,
}

/// A plan about to run.
pub struct Run {
    /// The running resources.
    pub fleet: Arc<Fleet>,
    work: Vec<Work>, // one for each member, in their order
}

impl Run {
    /// Makes the fleet, all of it still to be started.
    pub fn new(plan: &Plan, options: &Options) -> Self {
        let metrics = Metrics::default();
        let (mut members, mut work) = (vec![], vec![]);
        for camera in &plan.cameras {
            let state = ResourceState::new(Kind::CameraStream, camera.name.clone());
            let snapshot = options.snapshots.then(Snapshot::default);
            let handles = metrics.camera(&camera.name);
            work.push(Work::Camera(camera.clone(), Keep::new(camera, handles.clone(), snapshot.clone())));
            let mut member = Member::new(state, Handles::Camera(handles), snapshot);
            member.warn_frame_bytes = camera.spec.encoding.warn_frame_bytes.0;
            members.push(member);
        }
        for sink in &plan.sinks {
            for (replica, name) in replicas(sink, options.replica) {
                let state = ResourceState::new(Kind::FrameSink, name.clone());
                let handles = metrics.sink(&name);
                work.push(Work::Sink(sink.clone(), handles.clone(), replica));
                members.push(Member::new(state, Handles::Sink(handles), None));
            }
        }
        Run { fleet: Arc::new(Fleet { metrics, members }), work }
    }

    /// Runs everything until `shutdown`, and then until everything has stopped.
    pub async fn run(self, options: Options, secrets: Secrets, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let around = Surroundings { storage_root: options.storage_root, secrets, shutdown };
        for (index, work) in self.work.into_iter().enumerate() {
            let (fleet, around) = (self.fleet.clone(), around.clone());
            tasks.spawn(async move { supervise(&fleet.members[index].state, &work, &around).await });
        }
        let sampler = tokio::spawn(fleet::sample_forever(self.fleet));
        while let Some(stopped) = tasks.join_next().await {
            if let Err(e) = stopped {
                error!("a supervisor failed: {e}");
            }
        }
        sampler.abort();
    }
}

/// The replicas of a sink that this process runs, and the name that each shows: `name`, or `name-<replica>` where this
/// process runs several.
///
/// A process that was told its replica runs just that one, whatever `spec.replicas` says: in a StatefulSet the number of
/// pods may be ahead of the resource or behind it for a moment, and a pod must neither fail nor idle for that.
fn replicas(sink: &SinkPlan, only: Option<u32>) -> Vec<(u32, ObjectName)> {
    let replicas = sink.spec.replicas.max(1) as u32;
    match only {
        Some(replica) => {
            if replica >= replicas {
                warn!(sink = %sink.name, replica, replicas, "running one replica more than spec.replicas, as asked");
            }
            vec![(replica, sink.name.clone())]
        }
        None if replicas == 1 => vec![(0, sink.name.clone())],
        None => (0..replicas)
            .map(|replica| {
                let name = format!("{}-{replica}", sink.name.name);
                (replica, ObjectName { namespace: sink.name.namespace.clone(), name })
            })
            .collect(),
    }
}

/// Runs a resource until shutdown, unless it is suspended.
async fn supervise(state: &ResourceState, work: &Work, around: &Surroundings) {
    work.watch(around);
    let start = || work.start(state, around);
    keep_running(state, work.suspended(), &around.shutdown, || work.count_restart(), start).await;
    work.finish();
}

/// Starts a resource again and again until shutdown, waiting longer after each failure.
async fn keep_running<F: Future<Output = Result<(), Fault>>>(
    state: &ResourceState,
    suspended: bool,
    shutdown: &CancellationToken,
    restarted: impl Fn(),
    mut start: impl FnMut() -> F,
) {
    let resource = format!("{}/{}", state.kind.as_str(), state.name);
    if suspended {
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Suspended, "spec.suspend is true");
        info!(resource, "suspended");
        return shutdown.cancelled().await;
    }
    let mut backoff = Backoff::new(RESTART.0, RESTART.1);
    loop {
        let began = tokio::time::Instant::now();
        match start().await {
            Ok(()) => break,
            Err(_) if shutdown.is_cancelled() => break,
            Err(fault) => {
                if began.elapsed() >= SETTLED {
                    backoff.reset();
                }
                let wait = backoff.next(&mut rand::rng());
                state.unready(fault.reason, &fault.message);
                error!(resource, reason = ?fault.reason, again_in_ms = wait.as_millis() as u64, "{fault}");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(wait) => restarted(),
                }
            }
        }
    }
    state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
    info!(resource, "stopped");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn state() -> ResourceState {
        ResourceState::new(Kind::FrameSink, ObjectName { namespace: "d".into(), name: "n".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_resource_is_started_again_and_says_why() {
        let (state, shutdown, starts) = (state(), CancellationToken::new(), AtomicU32::new(0));
        keep_running(
            &state,
            false,
            &shutdown,
            || (),
            || async {
                if starts.fetch_add(1, Ordering::Relaxed) == 2 {
                    return Ok(());
                }
                Err(Fault::new(Reason::StorageMissing, "cannot open /nowhere"))
            },
        )
        .await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
        assert_eq!(state.last_error().expect("remembered").message, "cannot open /nowhere");
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_resource_is_never_started() {
        let (state, shutdown) = (state(), CancellationToken::new());
        shutdown.cancel();
        keep_running(&state, true, &shutdown, || (), || async { panic!("started") }).await;
        assert_eq!(state.condition(ConditionType::Ready).expect("set").reason, Reason::Suspended);
    }

    #[test]
    fn a_process_runs_all_replicas_or_the_one_that_it_was_told() {
        let documents = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"127.0.0.1:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: files}
spec:
  from: {topics: [frames]}
  kafka: {connectionRef: {name: lab}}
  output: {jpegFiles: {}}
  storage: {hostPath: {path: /data}}
  placement: {nodes: [edge-1]}
  replicas: 3
";
        let plan = edgereel_crds::load(&[("sink.yaml".into(), documents.into())]).expect("sound");
        let names =
            |only| replicas(&plan.sinks[0], only).into_iter().map(|(n, name)| (n, name.name)).collect::<Vec<_>>();
        assert_eq!(names(None), [(0, "files-0".into()), (1, "files-1".into()), (2, "files-2".into())]);
        assert_eq!(names(Some(1)), [(1, "files".into())]);
        assert_eq!(names(Some(5)), [(5, "files".into())], "a pod that is ahead of the resource works all the same");
    }
}
