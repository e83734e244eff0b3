//! The kinds that this program runs: what of a plan is wanted, and who does its work.

mod camera;
mod sink;

use std::collections::BTreeMap;

use edgereel_crds::{name::ObjectName, plan::Plan, secret_uses::SecretUses};
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
            let secrets = read(&plan.name, &plan.planned().secrets, secrets);
            let (snapshots, families) = (self.options.snapshots, self.cameras.clone());
            all.push(Box::new(WantedCamera { plan: plan.clone(), secrets, snapshots, families }));
        }
        for plan in &plan.sinks {
            let planned = plan.planned();
            let secrets = read(&plan.name, &planned.secrets, secrets);
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

/// What a resource's Secrets hold. What nobody sees in a value is said: a login that is refused is looked at last in its bytes.
fn read(resource: &ObjectName, uses: &BTreeMap<String, SecretUses>, secrets: &Secrets) -> Vec<Option<Vec<u8>>> {
    for remark in uses.iter().flat_map(|(namespace, uses)| secrets.remarks(namespace, uses)) {
        warn!(%resource, "{remark}");
    }
    secrets.values(uses)
}

/// A gauge of Unix seconds; it is zero until it is set.
fn moment(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_microsecond((seconds * 1e6) as i64).ok().filter(|time| *time != Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
