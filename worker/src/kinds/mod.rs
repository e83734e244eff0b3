//! The kinds that this program runs: what of a plan is wanted, and who does its work.

mod camera;
mod sink;

use edgereel_crds::plan::Plan;
use edgereel_runtime::{
    command::kinds::{self, Options},
    metrics::Metrics,
    secrets::Secrets,
    work::{Wanted, replicas},
};
use jiff::Timestamp;
use tracing::warn;

use self::{camera::WantedCamera, sink::WantedSink};
use crate::{capture::metrics::CameraFamilies, sink::metrics::SinkFamilies};

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
}

impl kinds::Kinds for Kinds {
    fn of(&self, plan: &Plan, secrets: &Secrets) -> Vec<Box<dyn Wanted>> {
        let mut all: Vec<Box<dyn Wanted>> = vec![];
        for plan in &plan.cameras {
            let secrets = secrets.values(&plan.name.namespace, &plan.planned().secrets);
            let (snapshots, families) = (self.options.snapshots, self.cameras.clone());
            all.push(Box::new(WantedCamera { plan: plan.clone(), secrets, snapshots, families }));
        }
        for plan in &plan.sinks {
            let planned = plan.planned();
            let secrets = secrets.values(&plan.name.namespace, &planned.secrets);
            let Options { replica, numbered, .. } = self.options;
            for (replica, shown) in replicas(&plan.name, planned.replicas, replica, numbered) {
                if replica >= planned.replicas {
                    let replicas = planned.replicas;
                    warn!(sink = %plan.name, replica, replicas, "running one replica more than spec.replicas, as asked");
                }
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
