//! What each resource does when its supervisor starts it: a camera as a task, a sink as a thread. Either ends alone.

use std::{future::Future, path::PathBuf};

use edgereel_crds::{
    plan::{CameraPlan, SinkPlan},
    status::Reason,
};
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    capture::{self, CaptureEnv, Keep},
    metrics::SinkMetrics,
    sink::{
        lag,
        runner::{self, SinkEnv},
    },
};
use edgereel_runtime::{fault::Fault, secrets::Secrets, state::ResourceState};

/// One resource's work (one replica's), with the metrics that it keeps.
pub enum Work {
    /// A camera, and what it keeps from run to run.
    Camera(CameraPlan, Keep),
    /// A sink, and which of its replicas.
    Sink(SinkPlan, SinkMetrics, u32),
}

/// What a resource's work finds around it.
#[derive(Clone)]
pub struct Surroundings {
    /// What stands in for the resources' volumes, if not they.
    pub storage_root: Option<PathBuf>,
    /// The secrets, read anew at each start.
    pub secrets: Secrets,
    /// Ends it.
    pub shutdown: CancellationToken,
}

impl Work {
    /// Whether it is not to be started at all.
    pub fn suspended(&self) -> bool {
        match self {
            Work::Camera(plan, ..) => plan.spec.suspend,
            Work::Sink(plan, ..) => plan.spec.suspend,
        }
    }

    /// Counts a start after a failure.
    pub fn count_restart(&self) {
        match self {
            Work::Camera(_, keep) => keep.metrics().restarts.inc(),
            Work::Sink(_, metrics, _) => metrics.restarts.inc(),
        };
    }

    /// Looks after what a sink cannot tell of itself.
    pub fn watch(&self, around: &Surroundings) {
        if let Work::Sink(plan, metrics, _) = self
            && !self.suspended()
        {
            lag::watch(plan.clone(), metrics.lag.clone(), around.secrets.clone(), around.shutdown.clone());
        }
    }

    /// Settles what waited for another start: there is none.
    pub fn finish(&self) {
        match self {
            Work::Camera(_, keep) => keep.finish(),
            Work::Sink(..) => {}
        }
    }

    /// Begins the work. The future ends when the work does, by failure, panic or shutdown.
    pub fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        let Surroundings { storage_root, secrets, shutdown } = around.clone();
        let state = state.clone();
        match self {
            Work::Camera(plan, keep) => {
                let (plan, env) = (plan.clone(), CaptureEnv { secrets, keep: keep.clone(), state, shutdown });
                Box::pin(on_a_task(async move { capture::run(&plan, env).await }))
            }
            Work::Sink(plan, metrics, replica) => {
                let (plan, replica, metrics) = (plan.clone(), *replica, metrics.clone());
                let env = SinkEnv { storage_root, secrets, metrics, state, shutdown };
                let name = format!("sink-{}", plan.name.name);
                Box::pin(on_a_thread(name, move || runner::run(&plan, replica, env)))
            }
        }
    }
}

/// Awaits work on a task of its own, so that a panic ends this work alone.
async fn on_a_task(work: impl Future<Output = Result<(), Fault>> + Send + 'static) -> Result<(), Fault> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(panicked()))
}

/// Awaits work that blocks, as sinks do on their disks, on a thread of its own. A panic drops `done`.
async fn on_a_thread(name: String, work: impl FnOnce() -> Result<(), Fault> + Send + 'static) -> Result<(), Fault> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name).spawn(move || done.send(work()));
    thread.map_err(|e| Fault::new(Reason::InternalError, format!("no thread to work on: {e}")))?;
    outcome.await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Fault {
    Fault::new(Reason::InternalError, "a fault of ours: the work panicked (the log has its words)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_resources_run_as_a_fault() {
        let task = on_a_task(async { panic!("as the test wants") }).await;
        let thread = on_a_thread("sink-test".into(), || panic!("as the test wants")).await;
        for outcome in [task, thread] {
            assert_eq!(outcome.expect_err("a fault").reason, Reason::InternalError);
        }
        assert_eq!(on_a_thread("sink-test".into(), || Ok(())).await, Ok(()));
    }
}
