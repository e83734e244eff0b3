//! Live figures: added up over workers, rounded, and whether they have changed enough to be worth a write. Pure. Which
//! figures there are is the kinds' matter.

use std::time::Duration;

use edgereel_crds::worker_status::{Figures, Semantics};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{observe::PodView, verdict::REMARKS};

/// One decimal below ten, none above.
pub fn rounded(rate: f64) -> f64 {
    if rate < 10.0 { (rate * 10.0).round() / 10.0 } else { rate.round() }
}

fn count(n: u64) -> Option<i64> {
    i64::try_from(n).ok()
}

/// In kilobytes.
pub fn kilobytes(bytes: u64) -> Option<i64> {
    count((bytes + 500) / 1000)
}

/// The figures of the workers that stay, as one; none where one of them says nothing.
pub fn of_workers(pods: &[PodView]) -> Option<Figures> {
    let staying = pods.iter().filter(|pod| !pod.leaving);
    let all: Option<Vec<&Figures>> =
        staying.map(|pod| pod.report.as_ref()?.as_ref().ok()).map(|report| Some(&report?.figures)).collect();
    all.filter(|all| !all.is_empty()).map(|all| Figures::added_up(&all))
}

/// Whether a status is worth a write: at once when something changed that matters, else once in a while.
pub trait WorthWriting: PartialEq {
    /// What differs, but not enough to matter, is written this often.
    const REFRESH: Duration = Duration::from_secs(300);

    /// Something changed that a person or a program would act on.
    fn matters(&self, old: &Self) -> bool;

    /// Whether to write this over `old`, which was written so long ago.
    fn worth_writing(&self, old: &Self, ago: Duration) -> bool {
        self.matters(old) || (ago >= Self::REFRESH && self != old)
    }
}

/// Whether a worker's figures may have changed enough to matter to any kind: finer than each of them looks.
pub fn figures_matter(new: &Figures, old: &Figures) -> bool {
    new.iter().any(|(name, semantics, _)| match semantics {
        Semantics::Rate => rate_matters(new.number(name), old.number(name)),
        Semantics::Count => count_matters(new.int(name), old.int(name), true),
        Semantics::Mean | Semantics::Amount | Semantics::Least | Semantics::Greatest => {
            match (new.number(name), old.number(name)) {
                (Some(new), Some(old)) => (new - old).abs() > (old.abs() / 10.0).max(4.0),
                (new, old) => new.is_some() != old.is_some(),
            }
        }
        Semantics::Counts | Semantics::Time | Semantics::Text | Semantics::Unknown => false,
    })
}

/// Conditions matter by type, status, reason and generation; a message alone may hold a figure.
pub fn conditions_matter(new: &[Condition], old: &[Condition]) -> bool {
    let remarks = |c: &Condition| c.message.split_once(REMARKS).map(|(_, remarks)| remarks.to_owned());
    let essence =
        |c: &Condition| (c.type_.clone(), c.status.clone(), c.reason.clone(), c.observed_generation, remarks(c));
    new.len() != old.len() || new.iter().map(essence).ne(old.iter().map(essence))
}

/// A rate matters when it changed by more than a tenth (and by more than one), began or ended.
pub fn rate_matters(new: Option<f64>, old: Option<f64>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => (new == 0.0) != (old == 0.0) || (new - old).abs() > (old.abs() / 10.0).max(1.0),
        (new, old) => new.is_some() != old.is_some(),
    }
}

/// An amount matters when it changed by more than a fifth of itself, and by more than `least`.
pub fn amount_matters(new: Option<i64>, old: Option<i64>, least: i64) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => (new - old).abs() > (old.abs() / 5).max(least),
        (new, old) => new.is_some() != old.is_some(),
    }
}

/// A count that only grows matters when it began, began anew or doubled, or grew by a tenth where growing is bad.
pub fn count_matters(new: Option<i64>, old: Option<i64>, bad: bool) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new < old || (new > old && new / 2 >= old) || (bad && new - old > (old / 10).max(1)),
        (new, old) => new.is_some() != old.is_some(),
    }
}
