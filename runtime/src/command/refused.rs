//! A resource that cannot run for what its documents say, beside others that do: nothing is done for it, and that is told.

use edgereel_crds::{
    load::Refused,
    name::{Kind, ObjectName},
    status::Reason,
    worker_status::{Figures, Overview},
};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    fault::Fault,
    metrics::Resource,
    state::ResourceState,
    work::{Passed, Rate, Surroundings, Wanted, Work},
};

/// It is wanted, and cannot be had.
pub struct WantedRefused(pub Refused);

impl Wanted for WantedRefused {
    fn kind(&self) -> Kind {
        self.0.kind
    }

    fn shown(&self) -> &ObjectName {
        &self.0.name
    }

    fn resource(&self) -> Resource {
        Resource::new(self.0.kind, &self.0.name, 0)
    }

    fn is_same(&self, other: &dyn Wanted) -> bool {
        other.downcast::<Self>().is_some_and(|other| self.0 == other.0)
    }

    fn work(&self) -> Box<dyn Work> {
        Box::new(NoWork(self.0.clone()))
    }
}

struct NoWork(Refused);

impl Work for NoWork {
    fn is_suspended(&self) -> bool {
        false
    }

    /// Waits: only other documents change anything.
    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        state.unready(Reason::InvalidConfiguration, &self.0.why);
        let shutdown: CancellationToken = around.shutdown.clone();
        Box::pin(async move {
            shutdown.cancelled().await;
            Ok(())
        })
    }

    fn passed(&self) -> Passed {
        Passed::default()
    }

    fn figures(&self, _: Rate) -> Figures {
        Figures::new()
    }

    fn overview(&self) -> Overview {
        let short = self.0.kind.about().short.to_owned();
        Overview { short, told: "nothing: its configuration cannot be used".into(), ..Overview::default() }
    }
}
