//! From a validated resource to its children. Pure: the same workload always gives the same children, byte for byte.
//!
//! One file a kind of child; [`pod`] is what all that make pods share.

pub mod batch;
pub mod config_map;
pub mod deployment;
pub mod overrides;
pub mod pdb;
pub mod pod;
pub mod service;
pub mod stateful_set;

use kube::{ResourceExt, api::ObjectMeta};

use super::{
    apply::Desired,
    workload::{Runtime, Workload},
};
use crate::settings::Settings;

/// The children that a resource is to have; others are not to be there.
///
/// They are applied in their order: pods that start find their configuration.
#[derive(Default)]
pub struct Children {
    all: Vec<Box<dyn Desired>>,
    /// The name of the Job that runs once.
    run: Option<String>,
}

impl Children {
    fn with(mut self, child: impl Desired + 'static) -> Self {
        self.all.push(Box::new(child));
        self
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Desired> {
        self.all.iter().map(|child| &**child)
    }

    /// The name of the Job that runs once, where that is what is to run.
    pub fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }
}

/// All children of a workload.
pub fn build(workload: &Workload, settings: &Settings) -> Children {
    let config = Children::default().with(config_map::build(workload));
    match &workload.runtime {
        Runtime::Singleton | Runtime::Shared { .. } => {
            config.with(service::build(workload)).with(deployment::build(workload, settings))
        }
        Runtime::Sharded { storage, .. } => {
            let set = stateful_set::build(workload, storage, settings);
            let children = config.with(service::build(workload)).with(set);
            match pdb::build(workload) {
                Some(budget) => children.with(budget),
                None => children,
            }
        }
        Runtime::Batch(batch) => match &batch.schedule {
            Some(schedule) => config.with(batch::cron_job(workload, batch, schedule, settings)),
            None => {
                let job = batch::job(workload, batch, settings);
                let run = Some(job.name_any());
                Children { run, ..config.with(job) }
            }
        },
    }
}

/// The metadata of a child called `name`.
fn meta(workload: &Workload, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(workload.owner.namespace.clone()),
        labels: Some(workload.names.labels()),
        owner_references: Some(vec![workload.owner.reference()]),
        ..ObjectMeta::default()
    }
}

/// The metadata of the child that makes the pods.
fn stamped(workload: &Workload) -> ObjectMeta {
    let stamp = Some(workload.stamp.clone()).filter(|stamp| !stamp.is_empty());
    ObjectMeta { annotations: stamp, ..meta(workload, &workload.names.workload) }
}
