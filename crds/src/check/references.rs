//! Follows the names from one resource to another, and decides what a resource left open.

use std::collections::BTreeSet;

use super::{FieldProblem, References, Report, Resource, Resources};
use crate::api::name::Kind;
use crate::{
    api::{
        common::{ConnectionRef, LocalRef},
        frame_sink::{FrameSinkSpec, From, OnInvalid, Output},
        kafka_connection::KafkaConnectionSpec,
        name::ObjectName,
    },
    plan::{CameraPlan, Connection, SinkPlan, Volume},
    problem::{did_you_mean, listed},
};

/// The fields that hold a name.
const CONNECTION: &str = "spec.kafka.connectionRef.name";
const CONNECTION_NAMESPACE: &str = "spec.kafka.connectionRef.namespace";
const STREAM: &str = "spec.from.streamRef.name";
const WORKER: &str = "spec.workerRef.name";

/// Resources whose references all lead somewhere, each with its document's number.
pub(super) struct Resolved {
    pub(super) cameras: Vec<(CameraPlan, usize)>,
    pub(super) sinks: Vec<(SinkPlan, usize)>,
}

/// What a reference led to.
enum Found<'a, S> {
    Resource(&'a Resource<S>),
    /// It is there, but could not be read; its own problem says why.
    Unreadable,
    Missing,
}

pub(super) fn resolve(resources: &Resources, problems: &mut Vec<FieldProblem>) -> Resolved {
    let mut resolved = Resolved { cameras: Vec::new(), sinks: Vec::new() };
    for camera in &resources.cameras {
        let mut report = Report::on(Kind::CameraStream, camera, problems);
        if let Some(reference) = &camera.spec.worker_ref {
            follow(reference, WORKER, Kind::CameraWorker, &resources.workers, resources, &mut report);
        }
        let reference = &camera.spec.kafka.connection_ref;
        if let Some(connection) = connection(reference, resources, &mut report) {
            let volume = camera.spec.storage.as_ref().map(|storage| Volume::of(&camera.name, &storage.into()));
            let plan = CameraPlan { name: camera.name.clone(), spec: camera.spec.clone(), connection, volume };
            resolved.cameras.push((plan, camera.document));
        }
    }
    for sink in &resources.sinks {
        let mut report = Report::on(Kind::FrameSink, sink, problems);
        if let Some(plan) = sink_plan(sink, resources, &mut report) {
            resolved.sinks.push((plan, sink.document));
        }
    }
    let cameras = resolved.cameras.iter_mut().filter_map(|(camera, _)| camera.volume.as_mut());
    let mut volumes: Vec<&mut Volume> =
        cameras.chain(resolved.sinks.iter_mut().map(|(sink, _)| &mut sink.volume)).collect();
    let places: BTreeSet<_> = volumes.iter().map(|volume| volume.place.clone()).collect();
    volumes.iter_mut().for_each(|volume| volume.alone = places.len() == 1);
    for (kind, unreadable) in &resources.unreadable {
        let mut report = Report::on(*kind, unreadable, problems);
        let References { connection: to_kafka, stream, worker } = &unreadable.spec;
        if let Some(reference) = to_kafka {
            connection(reference, resources, &mut report);
        }
        if let Some(reference) = stream {
            follow(reference, STREAM, Kind::CameraStream, &resources.cameras, resources, &mut report);
        }
        if let Some(reference) = worker {
            follow(reference, WORKER, Kind::CameraWorker, &resources.workers, resources, &mut report);
        }
    }
    resolved
}

fn sink_plan(sink: &Resource<FrameSinkSpec>, resources: &Resources, report: &mut Report<'_>) -> Option<SinkPlan> {
    let spec = &sink.spec;
    let own = spec.kafka.as_ref().map(|kafka| connection(&kafka.connection_ref, resources, report));
    let (topics, camera, of_camera) = match &spec.from {
        From::Topics(topics) => (topics.clone(), None, None),
        From::StreamRef(reference) => {
            let kind = Kind::CameraStream;
            let camera = follow(reference, STREAM, kind, &resources.cameras, resources, report)?;
            // A missing connection of the camera is the camera's problem.
            let wanted = camera.spec.kafka.connection_ref.from(&camera.name.namespace);
            let connection = match find(&wanted, Kind::KafkaConnection, &resources.connections, resources) {
                Found::Resource(r) if r.spec.allows(&camera.name.namespace, &r.name.namespace) => {
                    Some(as_connection(r))
                }
                Found::Resource(_) | Found::Unreadable | Found::Missing => None,
            };
            (vec![camera.spec.topic.name.clone()], Some(camera.name.name.clone()), connection)
        }
    };
    super::output_names::names_fit(&spec.output, &topics, report);
    let connection = own.unwrap_or(of_camera)?;
    let mut unique: Vec<String> = Vec::new();
    for topic in topics {
        if !unique.contains(&topic) {
            unique.push(topic);
        }
    }
    Some(SinkPlan {
        name: sink.name.clone(),
        spec: with_defaults(spec),
        connection,
        topics: unique,
        group: spec.group.clone().unwrap_or_else(|| format!("edgereel.{}.{}", sink.name.namespace, sink.name.name)),
        on_invalid: spec.on_invalid.unwrap_or(match spec.dead_letter {
            Some(_) => OnInvalid::DeadLetter,
            None => OnInvalid::Fail,
        }),
        camera,
        volume: Volume::of(&sink.name, &spec.storage),
    })
}

/// The spec with the names that depend on other fields.
fn with_defaults(spec: &FrameSinkSpec) -> FrameSinkSpec {
    let mut spec = spec.clone();
    if let Output::Video(video) = &mut spec.output
        && video.file_name.is_none()
    {
        video.file_name = Some(video.file_name().to_owned());
    }
    spec
}

fn connection(reference: &ConnectionRef, resources: &Resources, report: &mut Report<'_>) -> Option<Connection> {
    let (user, wanted) = (report.name.namespace.clone(), reference.from(&report.name.namespace));
    let found = led(&wanted, CONNECTION, Kind::KafkaConnection, &resources.connections, resources, report)?;
    if !found.spec.allows(&user, &wanted.namespace) {
        let (message, remedy) = not_allowed(&wanted, &user);
        report.add(CONNECTION_NAMESPACE, message, remedy);
        return None;
    }
    Some(as_connection(found))
}

/// What there is to say where a connection may not be used from the namespace `user`, and what to do.
pub fn not_allowed(connection: &ObjectName, user: &str) -> (String, String) {
    let ObjectName { namespace, name } = connection;
    let message =
        format!("KafkaConnection `{name}` of the namespace `{namespace}` does not allow the namespace `{user}`");
    (message, format!("add `{user}` to its `spec.allowedNamespaces`, or use a connection of this namespace"))
}

pub(super) fn as_connection(resource: &Resource<KafkaConnectionSpec>) -> Connection {
    Connection { name: resource.name.clone(), spec: resource.spec.clone() }
}

fn find<'a, S>(wanted: &ObjectName, kind: Kind, all: &'a [Resource<S>], resources: &Resources) -> Found<'a, S> {
    match all.iter().find(|r| r.name == *wanted) {
        Some(resource) => Found::Resource(resource),
        None if resources.unreadable.iter().any(|(k, r)| *k == kind && r.name == *wanted) => Found::Unreadable,
        None => Found::Missing,
    }
}

fn follow<'a, S>(
    reference: &LocalRef,
    field: &str,
    kind: Kind,
    all: &'a [Resource<S>],
    resources: &Resources,
    report: &mut Report<'_>,
) -> Option<&'a Resource<S>> {
    let wanted = ObjectName { namespace: report.name.namespace.clone(), name: reference.name.clone() };
    led(&wanted, field, kind, all, resources, report)
}

/// What a name leads to; what there is to do where it leads nowhere.
fn led<'a, S>(
    wanted: &ObjectName,
    field: &str,
    kind: Kind,
    all: &'a [Resource<S>],
    resources: &Resources,
    report: &mut Report<'_>,
) -> Option<&'a Resource<S>> {
    match find(wanted, kind, all, resources) {
        Found::Resource(resource) => return Some(resource),
        Found::Unreadable => return None,
        Found::Missing => {}
    }
    let ObjectName { namespace, name } = wanted;
    let here = all
        .iter()
        .map(|r| &r.name)
        .chain(resources.unreadable.iter().filter(|(k, _)| *k == kind).map(|(_, r)| &r.name));
    let (here, elsewhere): (Vec<&ObjectName>, Vec<&ObjectName>) = here.partition(|name| name.namespace == *namespace);
    let names = || here.iter().map(|name| name.name.as_str());
    let remedy = match did_you_mean(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !here.is_empty() => format!("the namespace has {}", listed(names())),
        None => match elsewhere.iter().find(|other| other.name == *name) {
            Some(other) if kind == Kind::KafkaConnection => format!(
                "there is one in the namespace `{0}`: add `namespace: {0}` if its `spec.allowedNamespaces` allows that",
                other.namespace
            ),
            Some(other) => format!("there is one in the namespace `{}`; references stay in their own", other.namespace),
            None => format!("add a {kind} of that name"),
        },
    };
    report.add(field, format!("there is no {kind} `{name}` in the namespace `{namespace}`"), remedy);
    None
}
