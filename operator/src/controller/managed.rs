//! What the three kinds have in common, and where they differ: the one trait behind `reconcile`.

use std::fmt::Debug;

use edgereel_crds::{
    CameraStream, FrameSink, KafkaConnection,
    name::Kind,
    resource_status::{CameraStreamStatus, FrameSinkStatus, KafkaConnectionStatus, ResourceStatus},
    status::ConditionType,
};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, core::DeserializeGuard, runtime::reflector::Store};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    dereference::{self, Found, object_name},
    figures::{self, WorthWriting},
    names::Names,
    observe::{self, PodView, Rollout},
    validate::{self, Refusal},
    workload::Workload,
};
use crate::{cache::Caches, settings::Settings};

/// What a resource does, apart from its conditions.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How far its rollout is.
    pub rollout: Rollout,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// Who uses it, for a connection.
    pub users: i32,
}

/// A kind that the operator works on.
pub trait Managed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its status.
    type Status: ResourceStatus + WorthWriting + Clone + Debug + Default + DeserializeOwned + Serialize + Send + Sync;
    /// Which kind.
    const KIND: Kind;
    /// Its own condition, beside kstatus's.
    const ASPECT: Option<ConditionType>;

    /// The status that is stored.
    fn status(&self) -> Option<&Self::Status>;
    /// Where its resources are cached.
    fn store(caches: &Caches) -> &Store<DeserializeGuard<Self>>;
    /// Collects what it refers to.
    fn dereference(&self, caches: &Caches) -> Found;
    /// What is to run; none where nothing is.
    ///
    /// # Errors
    /// Why it is not acted on.
    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal>;
    /// The status without its conditions; `old` is the last one.
    fn figures(&self, observed: &Observed, old: &Self::Status) -> Self::Status;
    /// Puts the conditions in.
    fn with_conditions(status: Self::Status, conditions: Vec<Condition>, generation: Option<i64>) -> Self::Status;
}

impl Managed for CameraStream {
    type Status = CameraStreamStatus;
    const KIND: Kind = Kind::CameraStream;
    const ASPECT: Option<ConditionType> = Some(ConditionType::CameraOnline);

    fn status(&self) -> Option<&CameraStreamStatus> {
        self.status.as_ref()
    }

    fn store(caches: &Caches) -> &Store<DeserializeGuard<Self>> {
        &caches.cameras
    }

    fn dereference(&self, caches: &Caches) -> Found {
        dereference::camera(self, caches)
    }

    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal> {
        validate::camera(self, found, settings).map(Some)
    }

    fn figures(&self, observed: &Observed, old: &CameraStreamStatus) -> CameraStreamStatus {
        let mut status = CameraStreamStatus { node: observe::nodes(&observed.pods), ..CameraStreamStatus::default() };
        figures::of_camera(&observed.pods, old, &mut status);
        status
    }

    fn with_conditions(
        status: CameraStreamStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> CameraStreamStatus {
        CameraStreamStatus { conditions, observed_generation, ..status }
    }
}

impl Managed for FrameSink {
    type Status = FrameSinkStatus;
    const KIND: Kind = Kind::FrameSink;
    const ASPECT: Option<ConditionType> = Some(ConditionType::StorageHealthy);

    fn status(&self) -> Option<&FrameSinkStatus> {
        self.status.as_ref()
    }

    fn store(caches: &Caches) -> &Store<DeserializeGuard<Self>> {
        &caches.sinks
    }

    fn dereference(&self, caches: &Caches) -> Found {
        dereference::sink(self, caches)
    }

    fn validate(&self, found: &Found, settings: &Settings) -> Result<Option<Workload>, Refusal> {
        validate::sink(self, found, settings).map(Some)
    }

    fn figures(&self, observed: &Observed, old: &FrameSinkStatus) -> FrameSinkStatus {
        let names = Names::new(Kind::FrameSink, &object_name(self).name);
        let selector: Vec<String> = names.selector().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut status = FrameSinkStatus {
            node: observe::nodes(&observed.pods),
            replicas: Some(observed.rollout.current),
            ready_replicas: Some(observed.rollout.ready),
            selector: Some(selector.join(",")),
            ..FrameSinkStatus::default()
        };
        figures::of_sink(&observed.pods, old, &mut status);
        status
    }

    fn with_conditions(
        status: FrameSinkStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> FrameSinkStatus {
        FrameSinkStatus { conditions, observed_generation, ..status }
    }
}

impl Managed for KafkaConnection {
    type Status = KafkaConnectionStatus;
    const KIND: Kind = Kind::KafkaConnection;
    const ASPECT: Option<ConditionType> = None;

    fn status(&self) -> Option<&KafkaConnectionStatus> {
        self.status.as_ref()
    }

    fn store(caches: &Caches) -> &Store<DeserializeGuard<Self>> {
        &caches.connections
    }

    fn dereference(&self, caches: &Caches) -> Found {
        dereference::connection(self, caches)
    }

    fn validate(&self, found: &Found, _: &Settings) -> Result<Option<Workload>, Refusal> {
        validate::plan(found, Kind::KafkaConnection, &object_name(self))?;
        validate::secrets(found)?;
        Ok(None)
    }

    fn figures(&self, observed: &Observed, _: &KafkaConnectionStatus) -> KafkaConnectionStatus {
        KafkaConnectionStatus { users: Some(observed.users), ..KafkaConnectionStatus::default() }
    }

    fn with_conditions(
        status: KafkaConnectionStatus,
        conditions: Vec<Condition>,
        observed_generation: Option<i64>,
    ) -> KafkaConnectionStatus {
        KafkaConnectionStatus { conditions, observed_generation, ..status }
    }
}
