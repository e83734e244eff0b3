//! The check that `edgereel run`, `edgereel validate` and the operator share: typed resources in, a plan or every problem
//! out. Pure: no files, no network, no clock.
//!
//! [`connection`], [`camera`] and [`sink`] (with [`device`], [`directory`], [`file`], [`schedule`], [`dataset`], [`archive`] and [`output_names`]) look at one resource; [`references`] follows names from one to another and
//! decides the defaults; [`across`] finds what goes wrong only between two sound resources, [`file_names`] which
//! files they could both write.

mod across;
mod archive;
mod camera;
mod connection;
mod dataset;
mod device;
mod directory;
mod file;
mod file_names;
mod names;
mod output_names;
pub mod overrides;
mod own;
mod paths;
mod pod;
mod references;
mod schedule;
mod sink;

use std::collections::BTreeMap;

pub use camera::largest_record;
pub use connection::owned_setting;
pub use file_names::FileNames;
pub use names::{MAX_NAME, is_label, is_subdomain};
pub use references::not_allowed;

pub use crate::api::name::{Kind, label};

use crate::{
    api::{
        camera_stream::CameraStreamSpec,
        camera_worker::CameraWorkerSpec,
        common::{ConnectionRef, LocalRef},
        frame_sink::FrameSinkSpec,
        kafka_connection::KafkaConnectionSpec,
        name::ObjectName,
    },
    plan::Plan,
    problem::FieldPath,
};

/// A resource to check.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource<S> {
    /// Its namespace and name.
    pub name: ObjectName,
    /// What it asks for.
    pub spec: S,
    /// The caller's own number for where it came from; problems carry it back.
    pub document: usize,
}

/// The names in a spec that could not be read as a whole: they are followed all the same, so that a missing resource is
/// reported together with the other problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// `spec.kafka.connectionRef`.
    pub connection: Option<ConnectionRef>,
    /// `spec.from.streamRef`.
    pub stream: Option<LocalRef>,
    /// `spec.workerRef`.
    pub worker: Option<LocalRef>,
}

/// Resources that refer to each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// The Kafka clusters.
    pub connections: Vec<Resource<KafkaConnectionSpec>>,
    /// The pods for many cameras.
    pub workers: Vec<Resource<CameraWorkerSpec>>,
    /// The cameras.
    pub cameras: Vec<Resource<CameraStreamSpec>>,
    /// The sinks.
    pub sinks: Vec<Resource<FrameSinkSpec>>,
    /// Resources that are there, but whose spec could not be read: references to them are not missing.
    pub unreadable: Vec<(Kind, Resource<References>)>,
    /// `v1` Secrets and ConfigMaps: by the names of their folders ([`Source::folder`](crate::secret_uses::Source::folder)), then key,
    /// to value.
    pub secrets: BTreeMap<ObjectName, BTreeMap<String, Vec<u8>>>,
}

/// A problem in a resource's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The resource's kind.
    pub kind: Kind,
    /// The resource.
    pub name: ObjectName,
    /// The number that the caller gave the resource.
    pub document: usize,
    /// The field.
    pub field: FieldPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Checks resources with all that they refer to, and decides the defaults.
///
/// # Errors
/// Every problem, not only the first.
pub fn check(resources: &Resources) -> Result<Plan, Vec<FieldProblem>> {
    let mut problems = Vec::new();
    names::unique(resources, &mut problems);
    names::length(resources, &mut problems);
    for r in &resources.connections {
        connection::check(&r.spec, &mut Report::on(Kind::KafkaConnection, r, &mut problems));
    }
    for r in &resources.workers {
        pod::template(&r.spec.template, &mut Report::on(Kind::CameraWorker, r, &mut problems));
    }
    for r in &resources.cameras {
        camera::check(&r.spec, &mut Report::on(Kind::CameraStream, r, &mut problems));
    }
    for r in &resources.sinks {
        sink::check(&r.spec, &mut Report::on(Kind::FrameSink, r, &mut problems));
    }
    let resolved = references::resolve(resources, &mut problems);
    across::check(&resolved, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let cameras = resolved.cameras.into_iter().map(|(camera, _)| camera).collect();
    let sinks = resolved.sinks.into_iter().map(|(sink, _)| sink).collect();
    let connections = resources.connections.iter().map(references::as_connection).collect();
    Ok(Plan { cameras, sinks, connections, secrets: resources.secrets.clone(), ..Plan::default() })
}

/// Collects the problems of one resource.
struct Report<'a> {
    kind: Kind,
    name: ObjectName,
    document: usize,
    problems: &'a mut Vec<FieldProblem>,
}

impl<'a> Report<'a> {
    fn on<S>(kind: Kind, resource: &Resource<S>, problems: &'a mut Vec<FieldProblem>) -> Self {
        Report { kind, name: resource.name.clone(), document: resource.document, problems }
    }

    fn add(&mut self, field: impl Into<FieldPath>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(FieldProblem {
            kind: self.kind,
            name: self.name.clone(),
            document: self.document,
            field: field.into(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// Adds the problem unless `fine`.
    fn unless(&mut self, fine: bool, field: &str, message: impl Into<String>, remedy: impl Into<String>) {
        if !fine {
            self.add(field, message, remedy);
        }
    }
}
