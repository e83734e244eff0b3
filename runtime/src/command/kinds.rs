//! What of a plan a program runs, and what others run for it.

use std::{path::PathBuf, sync::Arc};

use edgereel_crds::{
    name::{Kind, ObjectName},
    plan::{Plan, Planned},
};

use super::{place::Loaded, refused::WantedRefused};
use crate::{
    run::Asked,
    secrets::Secrets,
    sibling::{
        Launch, WantedSibling,
        program::{Named, Programs},
    },
    work::{Wanted, replicas},
};

/// What differs by place and is no field of a resource.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the resources' volumes are mounted; without it, `storage.hostPath.path` itself.
    pub storage_root: Option<PathBuf>,
    /// Which replica of its resources this process is; without it, all of them.
    pub replica: Option<u32>,
    /// Processes beside this one run other replicas: names tell them apart.
    pub numbered: bool,
    /// Keep each camera's last frame for `/snapshot.jpg`.
    pub snapshots: bool,
}

/// The kinds that a program runs itself.
pub trait Kinds: Send + Sync + 'static {
    /// All of a plan that it runs, in the plan's order.
    fn of(&self, plan: &Plan, secrets: &Secrets) -> Vec<Box<dyn Wanted>>;
}

/// All kinds: those that a program runs itself, and those that other programs run for it.
pub struct All<K> {
    /// Its own.
    pub own: K,
    /// Who runs which.
    pub programs: Programs,
    /// Which replica of its resources this process is; without it, all of them.
    pub replica: Option<u32>,
    /// How the others are started.
    pub launch: Arc<Launch>,
}

impl<K: Kinds> All<K> {
    /// All that the files ask for.
    pub fn asked(&self, loaded: &Loaded) -> Asked {
        let Plan { unknown, revisions, restarts, .. } = loaded.plan.clone();
        Asked { wanted: self.of(loaded), secrets: loaded.secrets.clone(), unknown, revisions, restarts }
    }

    /// All that the files ask for: what this program runs, what others do, and what nobody can.
    pub fn of(&self, loaded: &Loaded) -> Vec<Box<dyn Wanted>> {
        let mut own = loaded.plan.clone();
        own.retain(|kind, _| self.programs.other(kind).is_none());
        let mut all = self.own.of(&own, &loaded.secrets);
        for planned in loaded.plan.runs() {
            if let Some(program) = self.programs.other(planned.kind) {
                all.extend(self.siblings(&planned, &program, loaded));
            }
        }
        all.extend(
            loaded.refused.iter().map(|refused| -> Box<dyn Wanted> { Box::new(WantedRefused(refused.clone())) }),
        );
        all
    }

    /// The processes of one resource that another program runs.
    fn siblings(&self, planned: &Planned<'_>, program: &Named, loaded: &Loaded) -> Vec<Box<dyn Wanted>> {
        let (kind, name) = (planned.kind, planned.name);
        let one = |(replica, shown)| -> Box<dyn Wanted> {
            Box::new(WantedSibling {
                kind,
                name: name.clone(),
                shown,
                replica,
                plan: only(&loaded.plan, kind, name),
                secrets: loaded.secrets.values(&planned.secrets),
                suspend: planned.suspend,
                program: program.clone(),
                documents: loaded.documents.clone(),
                launch: self.launch.clone(),
            })
        };
        replicas(name, planned.replicas, self.replica, false).into_iter().map(one).collect()
    }
}

/// A plan with nothing in it but one resource.
fn only(plan: &Plan, kind: Kind, name: &ObjectName) -> Plan {
    let mut plan = plan.clone();
    plan.revisions.clear();
    plan.restarts.clear();
    // It carries its own; what happens to another is nothing to it.
    plan.connections.clear();
    plan.retain(|k, n| (k, n) == (kind, name));
    plan
}
