//! What a kind of resource is to the programs that run it. Nothing else here knows one kind from another.

use std::{any::Any, future::Future, path::PathBuf};

use bytes::Bytes;
use edgereel_crds::{
    name::{Kind, ObjectName},
    schedule::Schedule,
    status::Reason,
    worker_status::{ConnectionReport, Figures, Overview},
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    fault::Fault,
    metrics::{Resource, exposition::Format},
    secrets::Secrets,
    state::ResourceState,
};

/// One resource (one replica of it) as it is wanted, with all that it depends on.
pub trait Wanted: Any + Send + Sync {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// The name that it shows.
    fn shown(&self) -> &ObjectName;

    /// What its metrics call it.
    fn resource(&self) -> Resource;

    /// Whether the other is the same in all that it depends on: one that runs so needs no restart.
    fn is_same(&self, other: &dyn Wanted) -> bool;

    /// What does its work. The handles of its metrics are taken here.
    fn work(&self) -> Box<dyn Work>;
}

impl dyn Wanted {
    /// The other as the type that is asked for, if it is one.
    pub fn downcast<T: Wanted>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// As log lines name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind(), self.shown())
    }
}

/// What does a resource's work, from its first start to its last.
pub trait Work: Send + Sync {
    /// Whether it is not to be started at all.
    fn is_suspended(&self) -> bool;

    /// When it is to be started; none: at once, and for good.
    fn schedule(&self) -> Option<Schedule> {
        None
    }

    /// Begins to look after what the work cannot tell of itself.
    fn watch(&self, _around: &Surroundings) {}

    /// Begins the work. The future ends when the work does, by failure, panic or shutdown.
    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>>;

    /// Settles what waited for another start: there is none.
    fn finish(&self) {}

    /// What has gone through it since the first start: rates are made of it.
    fn passed(&self) -> Passed;

    /// Its figures, with the rate that was measured.
    fn figures(&self, rate: Rate) -> Figures;

    /// What everyone shows of it.
    fn overview(&self) -> Overview;

    /// What it knows of the `KafkaConnection`s that it uses.
    fn connections(&self) -> Vec<ConnectionReport> {
        Vec::new()
    }

    /// Its last picture.
    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(async { Snapshot::Nothing })
    }

    /// The metrics that another process counts for it.
    fn exposition(&self, _format: Format) -> BoxFuture<'_, Option<String>> {
        Box::pin(async { None })
    }
}

/// The replicas of a resource that a process runs, and the name that each shows: `name`, or `name-<replica>` where one process
/// runs several, or `numbered` says that others of this machine run the others.
///
/// A process that was told its replica runs just that one, whatever the resource says: in a StatefulSet the number of pods may
/// be ahead of the resource or behind it for a moment, and a pod must neither fail nor idle for that.
pub fn replicas(name: &ObjectName, replicas: u32, only: Option<u32>, numbered: bool) -> Vec<(u32, ObjectName)> {
    let shown = |replica: u32| {
        let numbered = replicas > 1 && (only.is_none() || numbered);
        let suffix = if numbered { format!("-{replica}") } else { String::new() };
        ObjectName { namespace: name.namespace.clone(), name: format!("{}{suffix}", name.name) }
    };
    let all = only.map_or(0..replicas.max(1), |only| only..only + 1);
    all.map(|replica| (replica, shown(replica))).collect()
}

/// What has gone through a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Passed {
    pub frames: u64,
    pub bytes: u64,
}

/// What goes through a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Frames a second.
    pub fps: f64,
    /// Their mean size.
    pub frame_bytes: u64,
}

/// A resource's last picture.
pub enum Snapshot {
    /// It is nothing that has pictures.
    Nothing,
    /// They are not kept.
    Off,
    /// There was none yet.
    None,
    /// A JPEG, and when it was captured.
    Some(Bytes, Timestamp),
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

/// Awaits work on a task of its own, so that a panic ends this work alone.
pub async fn on_a_task(work: impl Future<Output = Result<(), Fault>> + Send + 'static) -> Result<(), Fault> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(panicked()))
}

/// Awaits work that blocks, as on disks, on a thread of its own. A panic drops `done`.
pub async fn on_a_thread(name: String, work: impl FnOnce() -> Result<(), Fault> + Send + 'static) -> Result<(), Fault> {
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
