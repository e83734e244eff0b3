//! What goes wrong only between resources that are sound one by one: shared devices, groups and files, circles of dead letters.

use std::collections::HashSet;

use super::{FieldProblem, FileNames, Report, Resource, device, references::Resolved};
use crate::api::name::Kind;
use crate::{
    api::storage::Storage,
    plan::{CameraPlan, Connection, SinkPlan},
    problem::listed,
};

pub(super) fn check(resolved: &Resolved, problems: &mut Vec<FieldProblem>) {
    for (n, (camera, document)) in resolved.cameras.iter().enumerate() {
        let mut report = report(Kind::CameraStream, &camera.name, *document, problems);
        for (other, _) in resolved.cameras[..n].iter().filter(|(other, _)| other.name != camera.name) {
            same_topic(camera, other, &mut report);
            device::same_device(camera, other, &mut report);
        }
    }
    for (n, (sink, document)) in resolved.sinks.iter().enumerate() {
        let mut report = report(Kind::FrameSink, &sink.name, *document, problems);
        // Two of one name are one problem already.
        for (other, _) in resolved.sinks[..n].iter().filter(|(other, _)| other.name != sink.name) {
            shared_group(sink, other, &mut report);
            shared_files(sink, other, &mut report);
        }
        dead_letters(sink, resolved, &mut report);
    }
}

fn report<'a>(
    kind: Kind,
    name: &crate::api::name::ObjectName,
    document: usize,
    problems: &'a mut Vec<FieldProblem>,
) -> Report<'a> {
    Report::on(kind, &Resource { name: name.clone(), spec: (), document }, problems)
}

/// One cluster can have several `KafkaConnection`s; a broker in common gives it away.
fn same_cluster(a: &Connection, b: &Connection) -> bool {
    a.name == b.name || a.spec.bootstrap_servers.iter().any(|server| b.spec.bootstrap_servers.contains(server))
}

/// Two cameras may fill one topic, but they have to agree on how it is made.
fn same_topic(camera: &CameraPlan, other: &CameraPlan, report: &mut Report<'_>) {
    let (mine, theirs) = (&camera.spec.topic, &other.spec.topic);
    if mine.name == theirs.name
        && mine.partitions != theirs.partitions
        && same_cluster(&camera.connection, &other.connection)
    {
        report.add(
            "spec.topic.partitions",
            format!(
                "{} here, but {} in {} with the same topic",
                mine.partitions,
                theirs.partitions,
                Kind::CameraStream.label(&other.name)
            ),
            "write the same number in both",
        );
    }
}

fn shared_group(sink: &SinkPlan, other: &SinkPlan, report: &mut Report<'_>) {
    let common: Vec<&String> = sink.topics.iter().filter(|topic| other.topics.contains(topic)).collect();
    if sink.group == other.group && !common.is_empty() && same_cluster(&sink.connection, &other.connection) {
        report.add(
            "spec.group",
            format!(
                "{} reads {} in the group `{}` too: each would get a part of the frames",
                Kind::FrameSink.label(&other.name),
                listed(common),
                sink.group
            ),
            "give each sink its own group; to share the work, raise `replicas` of one",
        );
    }
}

fn shared_files(sink: &SinkPlan, other: &SinkPlan, report: &mut Report<'_>) {
    if FileNames::of(sink).below(&volume(sink)).could_meet(&FileNames::of(other).below(&volume(other))) {
        report.add(
            sink.spec.output.field(),
            format!(
                "{} could write files of the same names into the same directory",
                Kind::FrameSink.label(&other.name)
            ),
            "give each sink its own `directory`, or another `fileName`",
        );
    }
}

/// A circle: what this sink gives up on comes back to it, at once or through others.
fn dead_letters(sink: &SinkPlan, resolved: &Resolved, report: &mut Report<'_>) {
    let Some(dead) = &sink.spec.dead_letter else { return };
    let mut seen = HashSet::new();
    let mut open = vec![(dead.topic.as_str(), vec![dead.topic.as_str()])];
    while let Some((topic, way)) = open.pop() {
        if sink.topics.iter().any(|own| own == topic) {
            let message = match way.as_slice() {
                [_] => format!("the sink reads `{topic}` itself: a bad record would come round for ever"),
                way => format!("a bad record would come round for ever, by {}", listed(way)),
            };
            report.add("spec.deadLetter.topic", message, "use a topic of its own");
            return;
        }
        if !seen.insert(topic) {
            continue;
        }
        for (next, _) in &resolved.sinks {
            let reads = next.topics.iter().any(|t| t == topic) && same_cluster(&next.connection, &sink.connection);
            if let Some(further) = next.spec.dead_letter.as_ref().filter(|_| reads) {
                let mut way = way.clone();
                way.push(&further.topic);
                open.push((&further.topic, way));
            }
        }
    }
}

/// A sink's volume as a path that no other volume has.
fn volume(sink: &SinkPlan) -> String {
    match &sink.spec.storage {
        Storage::HostPath(host) => host.path.clone(),
        // Claims have names, not paths; the NUL keeps them apart from both.
        Storage::PersistentVolumeClaim(claim) => format!("\0{}/{}", sink.name.namespace, claim.claim_name),
        // Each sink has claims of its own.
        Storage::VolumeClaimTemplate(_) => format!("\0{}/\0{}", sink.name.namespace, sink.name.name),
    }
}
