//! What the whole run has shown of the operator.

use super::idle::GONE;
use crate::world::World;

pub fn nothing_was_forbidden_to_the_operator(world: &World) {
    let log = world.operator_log();
    // What is made in a namespace that is on its way out is refused with the same code, whoever asks.
    let excused = |l: &str| l.contains("being terminated") || knows_no_role(l);
    let forbidden = |l: &&str| l.to_lowercase().contains("forbidden") && !excused(l);
    let bad: Vec<&str> = log.lines().filter(forbidden).collect();
    assert!(bad.is_empty(), "in the operator's log: {bad:#?}");
    // The logs of operators that were killed are gone; the API server has seen them all.
    let Some(run) = world.own("what was forbidden to earlier operators") else { return };
    let all = world.audited(run, 0);
    assert!(!all.is_empty(), "the audit log has nothing of the operator");
    let refused: Vec<String> = all
        .iter()
        .filter(|event| event["annotations"]["authorization.k8s.io/decision"] == "forbid")
        .filter(|event| !knows_no_role(&event["annotations"].to_string()))
        .filter(|event| !is_gone(event["requestURI"].as_str().unwrap_or_default()))
        .filter(|event| !world.is_narrowed(event) && !world.was_starting(event))
        .map(|event| {
            let pod = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
            let reason = &event["annotations"]["authorization.k8s.io/reason"];
            format!(
                "{} {} {} of {pod}: {reason}",
                event["requestReceivedTimestamp"], event["verb"], event["requestURI"]
            )
        })
        .collect();
    assert!(refused.is_empty(), "the chart's RBAC does not allow: {refused:#?}");
}

/// Whether it was asked of a namespace that a scenario took away, its Role with it.
fn is_gone(uri: &str) -> bool {
    uri.contains(&format!("/namespaces/{GONE}-"))
}

/// Whether it was an API server in its first moments: it answers before it has read any role, its own among them.
fn knows_no_role(words: &str) -> bool {
    words.contains("system:discovery") && words.contains("not found")
}
