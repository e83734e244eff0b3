//! `KafkaConnection`: nothing runs for it; its status says whether it is sound, how many use it, and whether they reach it.

use std::{collections::BTreeSet, time::Duration};

use edgereel_crds::{
    CameraWorker, KafkaConnection, check::Resource as Checked, declared::Declared, name::Kind,
    resource_status::KafkaConnectionStatus, secret_uses::connection_secrets,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    cache::Caches,
    controller::{
        dereference::{Found, object_name},
        figures::{WorthWriting, conditions_matter},
        managed::{Managed, Observed},
        validate::{self, Refusal},
        workload::{Runs, Workload},
    },
    references::Node,
    settings::Settings,
};

impl Managed for KafkaConnection {
    const RUNS: Option<Runs> = None;
    const COUNTS_USERS: bool = true;

    /// Its Secrets, and who uses it.
    fn dereference(&self, caches: &Caches) -> Found {
        let mut found = Found { uses: connection_secrets(&self.spec), ..Found::default() };
        let name = object_name(self);
        found.users = caches.references().users(&Node::of::<Self>(&name));
        let used = found.users.iter().flat_map(|user| caches.references().used(user));
        found.hosts = used.filter(|node| node.kind == CameraWorker::NAME).collect();
        found.resources.connections.push(Checked { name, spec: self.spec.clone(), document: 0 });
        found
    }

    fn validate(&self, found: &Found, _: &Settings) -> Result<Option<Workload>, Refusal> {
        validate::plan(found, Kind::KafkaConnection, &object_name(self))?;
        validate::values(found)?;
        Ok(None)
    }

    fn figures(&self, observed: &Observed, _: &KafkaConnectionStatus) -> KafkaConnectionStatus {
        let brokers: BTreeSet<&String> = observed.reached.iter().flat_map(|report| &report.brokers).collect();
        KafkaConnectionStatus {
            users: Some(observed.users),
            brokers: brokers.into_iter().cloned().collect(),
            ..KafkaConnectionStatus::default()
        }
    }

    fn with_conditions(
        status: KafkaConnectionStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> KafkaConnectionStatus {
        KafkaConnectionStatus { conditions, observed_generation, ..status }
    }
}

impl WorthWriting for KafkaConnectionStatus {
    // Hundreds of users come one after another: their number is written when they have come.
    const REFRESH: Duration = Duration::from_secs(10);

    fn matters(&self, old: &Self) -> bool {
        conditions_matter(&self.conditions, &old.conditions) || self.observed_generation != old.observed_generation
    }
}
