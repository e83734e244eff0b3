//! What a program told of its resource.

use std::sync::{Mutex, MutexGuard, PoisonError};

use edgereel_crds::{
    name::Kind,
    worker_status::{Figures, Overview, ResourceReport, WorkerStatus},
};

use super::client::Client;
use crate::state::ResourceState;

/// The last figures, with all that was counted by the processes before this one.
pub struct Told(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    client: Option<Client>,
    now: Counted,
    former: Option<Counted>,
}

#[derive(Clone, Default)]
struct Counted {
    figures: Figures,
    overview: Overview,
}

impl Inner {
    fn sum(&self) -> Counted {
        let Some(former) = &self.former else { return self.now.clone() };
        let mut overview = self.now.overview.clone().after(&former.overview);
        if overview.told.is_empty() {
            overview.told = former.overview.told.clone();
        } else {
            overview.told += " since its program began again";
        }
        if overview.short.is_empty() {
            overview.short = former.overview.short.clone();
        }
        Counted { figures: self.now.figures.after(&former.figures), overview }
    }
}

impl Told {
    /// Nothing yet.
    pub fn new(kind: Kind) -> Self {
        let overview = Overview { short: kind.as_str().into(), told: "nothing was told".into(), ..Overview::default() };
        let now = Counted { figures: Figures::new(), overview };
        Told(Mutex::new(Inner { now, ..Inner::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process has begun, and can be asked.
    pub fn has_begun(&self, client: Client) {
        self.lock().client = Some(client);
    }

    /// The process can be asked no more; the next one counts from zero.
    pub fn has_ended(&self) {
        let mut inner = self.lock();
        let sum = inner.sum();
        *inner = Inner { former: Some(sum), ..Inner::default() };
    }

    /// Who can be asked.
    pub fn client(&self) -> Option<Client> {
        self.lock().client.clone()
    }

    /// Takes over what is said of the resource; whether anything is.
    pub fn hear(&self, status: WorkerStatus, state: &ResourceState) -> bool {
        let is_it = |report: &ResourceReport| {
            report.kind == state.kind.as_str()
                && (&report.namespace, &report.name) == (&state.name.namespace, &state.name.name)
        };
        let Some(report) = status.resources.into_iter().find(is_it) else { return false };
        state.take_over(report.conditions, report.last_error);
        let mut inner = self.lock();
        inner.now.figures = report.figures;
        if let Some(overview) = report.overview {
            inner.now.overview = overview;
        }
        true
    }

    /// All figures.
    pub fn figures(&self) -> Figures {
        self.lock().sum().figures
    }

    /// What everyone shows.
    pub fn overview(&self) -> Overview {
        self.lock().sum().overview
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{
        name::ObjectName,
        status::{Condition, ConditionStatus, ConditionType, Reason},
    };

    use super::*;

    fn status(name: &str, stored: u64) -> WorkerStatus {
        let ready = Condition {
            kind: ConditionType::Ready,
            status: ConditionStatus::True,
            reason: Reason::Running,
            message: "writing".into(),
            last_transition_time: String::new(),
        };
        let overview =
            Overview { safe: stored, told: format!("{stored} stored"), short: "fsink".into(), ..Overview::default() };
        let report = ResourceReport {
            kind: "FrameSink".into(),
            namespace: "lab".into(),
            name: name.into(),
            revision: None,
            conditions: vec![ready],
            last_error: None,
            connections: Vec::new(),
            overview: Some(overview),
            figures: Figures::new().count("framesStored", stored),
        };
        WorkerStatus { version: "1".into(), resources: vec![report] }
    }

    #[test]
    fn what_is_told_of_the_resource_is_taken_over_and_counts_go_on_over_an_end() {
        let state = ResourceState::new(Kind::FrameSink, ObjectName { namespace: "lab".into(), name: "files".into() });
        let told = Told::new(Kind::FrameSink);
        assert!(!told.hear(status("another", 7), &state), "that is another resource");
        assert!(!state.is_ready());
        assert!(told.hear(status("files", 7), &state));
        assert!(state.is_ready());
        told.has_ended();
        let stored = |told: &Told| (told.figures().uint("framesStored"), told.overview().safe, told.overview().told);
        assert_eq!(stored(&told), (Some(7), 7, "7 stored".into()));
        assert!(told.hear(status("files", 2), &state));
        assert_eq!(stored(&told), (Some(9), 9, "2 stored since its program began again".into()));
        told.has_ended();
        told.has_ended();
        assert_eq!(told.figures().uint("framesStored"), Some(9));
    }
}
