//! The condition `UnknownFields`: what of a resource is passed over, because who reads it is older than who wrote it. Pure.

use edgereel_crds::status::{ConditionStatus, ConditionType, Reason};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{managed::Observed, observe::PodView};
use crate::definitions::Named;

/// More fields than this are counted, not named.
const NAMED: usize = 20;

/// The fields that this operator passes over, in words.
pub fn in_words(unknown: &[Named]) -> Option<String> {
    let one = |Named { field, since }: &Named| match since {
        Some(version) => format!("{field} (known from version {version} on)"),
        None => field.to_string(),
    };
    let mut all: Vec<String> = unknown.iter().take(NAMED).map(one).collect();
    if unknown.len() > NAMED {
        all.push(format!("{} more", unknown.len() - NAMED));
    }
    let version = env!("CARGO_PKG_VERSION");
    let words =
        || format!("this operator (version {version}) does not know, and passes over: {}; upgrade it", all.join(", "));
    (!all.is_empty()).then(words)
}

/// The condition; none where everybody knows everything.
pub fn condition(observed: &Observed, generation: Option<i64>, old: &[Condition], now: Timestamp) -> Option<Condition> {
    let by_workers = observed.pods.iter().filter(|pod| pod.judges()).find_map(by_worker);
    let message = observed.unknown.clone().or(by_workers)?;
    let type_ = ConditionType::UnknownFields.as_str();
    let since = old.iter().find(|condition| condition.type_ == type_).map(|c| c.last_transition_time.clone());
    Some(Condition {
        last_transition_time: since.unwrap_or(Time(now)),
        message,
        observed_generation: generation,
        reason: Reason::UnknownFields.as_str().to_owned(),
        status: "True".to_owned(),
        type_: type_.to_owned(),
    })
}

/// What a worker says that it passes over: one of a pinned image may be older than the operator.
fn by_worker(pod: &PodView) -> Option<String> {
    let report = pod.report.as_ref()?.as_ref().ok()?;
    let said = report.conditions.iter().find(|condition| condition.kind == ConditionType::UnknownFields);
    said.filter(|condition| condition.status == ConditionStatus::True).map(|condition| condition.message.clone())
}
