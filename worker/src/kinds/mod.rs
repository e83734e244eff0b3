//! The kinds that this program runs: what of a plan is wanted, and who does its work.

mod camera;
mod sink;

use std::path::PathBuf;

use edgereel_crds::{
    plan::Plan,
    secret_uses::{camera_secrets, connection_secrets, merged},
};
use edgereel_runtime::{metrics::Metrics, secrets::Secrets, work::Wanted};
use jiff::Timestamp;

use self::{
    camera::WantedCamera,
    sink::{WantedSink, replicas},
};
use crate::{capture::metrics::CameraFamilies, sink::metrics::SinkFamilies};

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

/// What of plans this program runs, with the metrics that it counts on.
#[derive(Clone)]
pub struct Kinds {
    options: Options,
    cameras: CameraFamilies,
    sinks: SinkFamilies,
}

impl Kinds {
    /// Declares their metrics.
    pub fn new(options: Options, metrics: &mut Metrics) -> Self {
        let (cameras, sinks) = (CameraFamilies::new(metrics), SinkFamilies::new(metrics));
        Kinds { options, cameras, sinks }
    }

    /// All of a plan, in its order, cameras first.
    pub fn of(&self, plan: &Plan, secrets: &Secrets) -> Vec<Box<dyn Wanted>> {
        let mut all: Vec<Box<dyn Wanted>> = vec![];
        for plan in &plan.cameras {
            let uses = merged(camera_secrets(&plan.spec), connection_secrets(&plan.connection.spec));
            let secrets = secrets.values(&plan.name.namespace, &uses);
            let (snapshots, families) = (self.options.snapshots, self.cameras.clone());
            all.push(Box::new(WantedCamera { plan: plan.clone(), secrets, snapshots, families }));
        }
        for plan in &plan.sinks {
            let secrets = secrets.values(&plan.name.namespace, &connection_secrets(&plan.connection.spec));
            for (replica, shown) in replicas(plan, self.options.replica) {
                all.push(Box::new(WantedSink {
                    plan: plan.clone(),
                    replica,
                    shown,
                    secrets: secrets.clone(),
                    storage_root: self.options.storage_root.clone(),
                    families: self.sinks.clone(),
                }));
            }
        }
        all
    }
}

/// A gauge of Unix seconds; it is zero until it is set.
fn moment(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_microsecond((seconds * 1e6) as i64).ok().filter(|time| *time != Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
