//! A resource for tests, whose figures are what the test says.

use std::sync::{Arc, Mutex};

use edgereel_crds::{
    name::{Kind, ObjectName},
    worker_status::{Figures, Overview, Semantics},
};
use futures::future::BoxFuture;

use crate::{
    fault::Fault,
    metrics::{Metrics, Resource},
    run::fleet::Member,
    state::ResourceState,
    work::{Passed, Rate, Snapshot, Surroundings, Work},
};

/// Work that is never begun.
#[derive(Clone, Default)]
pub struct Idle(pub Arc<Mutex<Overview>>);

impl Idle {
    /// Changes what it shows.
    pub fn set(&self, change: impl FnOnce(&mut Overview)) {
        change(&mut self.0.lock().expect("whole"));
    }

    /// As a running resource.
    pub fn member(&self, kind: Kind) -> (ResourceState, Member) {
        let state = ResourceState::new(kind, ObjectName { namespace: "default".into(), name: "gate".into() });
        let resource = Resource::new(kind, &state.name, 0);
        (state.clone(), Member::new(state, Arc::new(self.clone()), &Metrics::default(), &resource))
    }
}

impl Work for Idle {
    fn is_suspended(&self) -> bool {
        false
    }

    fn start(&self, _: &ResourceState, _: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn passed(&self) -> Passed {
        Passed::default()
    }

    fn figures(&self, rate: Rate) -> Figures {
        Figures::new().with("fps", Semantics::Rate, serde_json::Value::from(rate.fps))
    }

    fn overview(&self) -> Overview {
        self.0.lock().expect("whole").clone()
    }

    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(async { Snapshot::Off })
    }
}
