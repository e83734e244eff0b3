//! What stands at a workload (a Deployment or StatefulSet, not its pods) of how it came to be as it is: the memory of
//! roll-outs, so that an operator that starts in the middle of one goes on with it.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_crds::{
    pod_overrides::PodOverrides,
    secret_uses::Source,
    storage::{HostPath, Storage},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    controller::{
        build::pod,
        names::Names,
        observe::{Live, Rollout},
        program::{Program, run_args},
        workload::{Owner, Runtime, Workload},
    },
    hash::hash_of,
    settings::Settings,
};

/// A hash of what the resource and those that it refers to declare of the pods.
pub const DECLARED_ANNOTATION: &str = "edgereel.dev/declared";
/// Which operator, with which settings, built the pods: workloads of one value are up to date with each other.
pub const OPERATOR_REVISION: &str = "edgereel.dev/operator-revision";
/// Those settings: an edit of the resource that comes while its turn has not is built with them.
pub const OPERATOR_SETTINGS: &str = "edgereel.dev/operator-settings";
/// When its turn came to be of this operator revision; none where it was made by it.
pub const ROLLED_AT: &str = "edgereel.dev/rolled-at";
/// How its pods fared just before; gone once the new ones have come through.
pub const ROLLED_FROM: &str = "edgereel.dev/rolled-from";

/// The operator's settings that pods are built with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pins {
    image: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pull_secrets: Vec<String>,
    user: i64,
    group: i64,
    #[serde(default, skip_serializing_if = "PodOverrides::is_empty")]
    worker_defaults: PodOverrides,
}

impl Pins {
    /// Those of now.
    pub fn of(settings: &Settings) -> Self {
        Pins {
            image: settings.worker_image.clone(),
            pull_secrets: settings.image_pull_secrets.clone(),
            user: settings.run_as_user,
            group: settings.run_as_group,
            worker_defaults: settings.worker_defaults.clone(),
        }
    }

    /// The settings, with these.
    pub fn with(&self, settings: &Settings) -> Settings {
        Settings {
            worker_image: self.image.clone(),
            image_pull_secrets: self.pull_secrets.clone(),
            run_as_user: self.user,
            run_as_group: self.group,
            worker_defaults: self.worker_defaults.clone(),
            ..settings.clone()
        }
    }
}

/// How pods fared before they were replaced. The order is that in which they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fared {
    /// They were ready.
    #[default]
    Ready,
    /// Their workers ran, and were not ready: a camera was away, for example.
    Running,
    /// They did not even run.
    Down,
}

impl Fared {
    fn as_str(self) -> &'static str {
        match self {
            Fared::Ready => "Ready",
            Fared::Running => "Running",
            Fared::Down => "Down",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Fared::Ready, Fared::Running, Fared::Down].into_iter().find(|fared| fared.as_str() == text)
    }
}

/// When a workload's turn came, and how its pods fared before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// When.
    pub at: Timestamp,
    /// How they fared; none once the new ones have come through.
    pub from: Option<Fared>,
}

/// What stands at a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stamp {
    /// What was declared.
    pub declared: Option<String>,
    /// Which operator built the pods.
    pub operator: Option<String>,
    /// With which settings.
    pub pins: Option<Pins>,
    /// When that came to be by a roll-out.
    pub rolled: Option<Rolled>,
}

impl Stamp {
    /// That of what is built now.
    pub fn new(workload: &Workload, operator: &str, settings: &Settings) -> Self {
        Stamp {
            declared: Some(declared(workload)),
            operator: Some(operator.to_owned()),
            pins: Some(Pins::of(settings)),
            rolled: None,
        }
    }

    /// That of a workload as it is.
    pub fn of(live: &Live) -> Self {
        let of_deployment = live.deployment.as_ref().and_then(|d| d.metadata.annotations.as_ref());
        let of_set = || live.stateful_set.as_ref().and_then(|set| set.metadata.annotations.as_ref());
        let Some(annotations) = of_deployment.or_else(of_set) else { return Stamp::default() };
        let text = |name: &str| annotations.get(name).cloned();
        let rolled_at = annotations.get(ROLLED_AT).and_then(|at| at.parse().ok());
        Stamp {
            declared: text(DECLARED_ANNOTATION),
            operator: text(OPERATOR_REVISION),
            pins: annotations.get(OPERATOR_SETTINGS).and_then(|pins| serde_json::from_str(pins).ok()),
            rolled: rolled_at.map(|at| Rolled { at, from: text(ROLLED_FROM).and_then(|from| Fared::read(&from)) }),
        }
    }

    /// As it stands there.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let rolled_at = self.rolled.map(|rolled| rolled.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        [
            (DECLARED_ANNOTATION, self.declared.clone()),
            (OPERATOR_REVISION, self.operator.clone()),
            (OPERATOR_SETTINGS, self.pins.as_ref().and_then(|pins| serde_json::to_string(pins).ok())),
            (ROLLED_AT, rolled_at),
            (ROLLED_FROM, self.rolled.and_then(|rolled| rolled.from).map(|from| from.as_str().to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

/// A hash of what the resource and those that it refers to declare of the pods, without anything of the operator's.
pub fn declared(workload: &Workload) -> String {
    let Workload { checksum, secrets_checksum, placement, template, restart, .. } = workload;
    let storage = workload.storage();
    hash_of(&(checksum, secrets_checksum, placement, template, restart, storage))[..16].to_owned()
}

/// Which operator this is, as far as pods go: a hash of what a sample becomes that has something of everything.
pub fn operator_revision(settings: &Settings) -> String {
    let owner = Owner { kind: "Sample", namespace: String::new(), name: String::new(), uid: String::new() };
    let storage = Storage::HostPath(HostPath { path: "/data".into() });
    let sample = Workload {
        names: Names::default(),
        runtime: Runtime::Sharded { replicas: 1, storage },
        mounted: None,
        program: Program::worker(settings),
        args: run_args(&owner),
        env: Vec::new(),
        documents: BTreeMap::new(),
        checksum: String::new(),
        secrets: [(Source::Secret("sample".into()), ["key".to_owned()].into())].into(),
        copies: BTreeMap::new(),
        kept_copies: BTreeSet::new(),
        secrets_checksum: String::new(),
        placement: None,
        template: Default::default(),
        devices: Vec::new(),
        capped_from: None,
        suspended: false,
        restart: None,
        buffers: Some(0),
        stamp: BTreeMap::new(),
        owner,
    };
    hash_of(&pod::template(&sample, settings))[..16].to_owned()
}

/// The image of a workload's program, as it runs.
pub fn image(live: &Live) -> Option<String> {
    let of_deployment = live.deployment.as_ref().and_then(|d| d.spec.as_ref()).map(|spec| &spec.template);
    let of_set = || live.stateful_set.as_ref().and_then(|set| set.spec.as_ref()).map(|spec| &spec.template);
    let containers = &of_deployment.or_else(of_set)?.spec.as_ref()?.containers;
    containers.iter().find(|container| container.name == crate::controller::program::CONTAINER)?.image.clone()
}

/// How the pods of a workload fare.
pub fn fared(rollout: &Rollout, running: usize) -> Fared {
    match rollout {
        Rollout { desired, ready, .. } if *desired > 0 && ready >= desired => Fared::Ready,
        Rollout { .. } if running > 0 => Fared::Running,
        Rollout { .. } => Fared::Down,
    }
}
