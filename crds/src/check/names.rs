//! Names: of resources (RFC 1123), of topics, and that no two resources share one.

use std::collections::HashMap;

use super::{FieldProblem, Report, Resource, Resources};
use crate::api::name::Kind;
use crate::api::name::ObjectName;

/// The most characters that a resource of ours may have in its name. Files, consumer groups' members and topics' notes are
/// called by it, each with a limit of its own, and it fits a label of Kubernetes. The definitions have the same rule.
pub const MAX_NAME: usize = 63;

fn is_part(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a text is an RFC 1123 label, which a namespace's name has to be.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// Whether a text is an RFC 1123 subdomain as the API server has it, which the name of any object has to be: its parts may
/// be of any length.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn plain<S>(kind: Kind, all: &[Resource<S>]) -> impl Iterator<Item = (Kind, &ObjectName, usize)> {
    all.iter().map(move |r| (kind, &r.name, r.document))
}

/// All resources that could be read.
fn readable(resources: &Resources) -> impl Iterator<Item = (Kind, &ObjectName, usize)> {
    plain(Kind::KafkaConnection, &resources.connections)
        .chain(plain(Kind::CameraWorker, &resources.workers))
        .chain(plain(Kind::CameraStream, &resources.cameras))
        .chain(plain(Kind::FrameSink, &resources.sinks))
}

/// Reports each resource whose name is too long.
pub(super) fn length(resources: &Resources, problems: &mut Vec<FieldProblem>) {
    for (kind, name, document) in readable(resources).filter(|(_, name, _)| name.name.len() > MAX_NAME) {
        let resource = Resource { name: name.clone(), spec: (), document };
        Report::on(kind, &resource, problems).add(
            "metadata.name",
            format!("it has {} characters; {MAX_NAME} are the most", name.name.len()),
            "make the resource anew with a shorter name",
        );
    }
}

/// Reports a topic's name that Kafka refuses. Source: `org.apache.kafka.common.internals.Topic`.
pub(super) fn topic(name: &str, field: &crate::problem::FieldPath, report: &mut Report<'_>) {
    if name == "." || name == ".." {
        report.add(field.clone(), format!("`{name}` cannot be a topic's name"), "choose another name");
    }
}

/// Reports each resource whose kind, namespace and name another one has too.
pub(super) fn unique(resources: &Resources, problems: &mut Vec<FieldProblem>) {
    let all: Vec<_> =
        readable(resources).chain(resources.unreadable.iter().map(|(kind, r)| (*kind, &r.name, r.document))).collect();
    let mut count: HashMap<(Kind, &ObjectName), usize> = HashMap::new();
    for (kind, name, _) in &all {
        *count.entry((*kind, name)).or_default() += 1;
    }
    for (kind, name, document) in &all {
        let times = count.get(&(*kind, *name)).copied().unwrap_or_default();
        if times > 1 {
            let resource = Resource { name: (*name).clone(), spec: (), document: *document };
            Report::on(*kind, &resource, problems).add(
                "metadata.name",
                format!("there are {times} resources {}", kind.label(name)),
                "give each its own name, or keep one",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for good in ["a", "edge-1", "0cam", "a.b-c.d", &"a".repeat(253)] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "ä", "a/b", &"a".repeat(254)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)));
    }
}
