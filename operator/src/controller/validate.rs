//! From what was found to a workload, or the reason why there is none. Pure; the check is the one that `edgereel run` and
//! `edgereel validate` use, and beside it stands what only a cluster asks for.

use edgereel_crds::{
    CameraStream, FrameSink, FrameSinkSpec,
    camera_stream::EnsureTopic,
    check::{FieldProblem, check},
    frame_sink::From,
    name::Kind,
    plan::{CameraPlan, Plan, SinkPlan},
    pod::{PodTemplate, VolumeSource},
    status::Reason,
    storage::Storage,
};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{
    dereference::{Found, RIVAL, object_name},
    names::{Names, RESTART_ANNOTATION},
    workload::{Owner, Workload},
};
use crate::{hash::hash_of, settings::Settings};

/// Why a resource is not acted on. What it runs already goes on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the condition.
    pub reason: Reason,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Refusal { reason, message: message.into() }
    }
}

/// Runs the shared check over what was found.
///
/// # Errors
/// Every problem of the resource and of what it refers to, in one message.
pub fn plan(found: &Found, kind: Kind, name: &edgereel_crds::name::ObjectName) -> Result<Plan, Refusal> {
    match check(&found.resources) {
        Ok(plan) => Ok(plan),
        Err(problems) => {
            let ours: Vec<String> =
                problems.iter().filter(|p| p.document != RIVAL).map(|p| shown(p, kind, name)).collect();
            match ours.is_empty() {
                // Something that this one was only compared with is wrong by itself.
                true => {
                    let mut alone = found.resources.clone();
                    alone.connections.retain(|r| r.document != RIVAL);
                    alone.cameras.retain(|r| r.document != RIVAL);
                    alone.sinks.retain(|r| r.document != RIVAL);
                    check(&alone).map_err(|problems| {
                        let all: Vec<String> = problems.iter().map(|p| shown(p, kind, name)).collect();
                        Refusal::new(Reason::InvalidConfiguration, all.join(". "))
                    })
                }
                false => Err(Refusal::new(Reason::InvalidConfiguration, ours.join(". "))),
            }
        }
    }
}

/// The field alone for the resource's own problems; with the resource's name for those of others.
fn shown(problem: &FieldProblem, kind: Kind, name: &edgereel_crds::name::ObjectName) -> String {
    let own = problem.kind == kind && problem.name == *name;
    let of = if own { String::new() } else { format!("{}/{}: ", problem.kind, problem.name.name) };
    let FieldProblem { field, message, remedy, .. } = problem;
    if remedy.is_empty() { format!("{of}{field}: {message}") } else { format!("{of}{field}: {message}; {remedy}") }
}

/// Whether all Secrets in use are there with their keys.
///
/// # Errors
/// The first that is not.
pub fn secrets(found: &Found) -> Result<(), Refusal> {
    for (name, keys) in &found.uses {
        let Some(there) = found.secrets.get(name) else {
            let message = format!("there is no Secret `{name}`: make it, with {}", listed(keys.iter()));
            return Err(Refusal::new(Reason::SecretMissing, message));
        };
        let missing: Vec<&String> = keys.iter().filter(|key| !there.contains_key(*key)).collect();
        if !missing.is_empty() {
            let message = format!("the Secret `{name}` has no {}: add it to its data", listed(missing));
            return Err(Refusal::new(Reason::SecretMissing, message));
        }
    }
    Ok(())
}

fn listed<'a>(keys: impl IntoIterator<Item = &'a String>) -> String {
    keys.into_iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Whether the sink's pods stay with what they recorded. The API server's rule says the same; this one is for resources
/// from before it.
fn placement(spec: &FrameSinkSpec) -> Result<(), Refusal> {
    if spec.stays_with_its_data() {
        return Ok(());
    }
    let message = "spec.placement: it names no node, and a `hostPath` is left behind when a pod moves to another; add \
                   `placement: {nodes: [NODE]}`, a `nodeSelector`, or a required node affinity";
    Err(Refusal::new(Reason::InvalidConfiguration, message))
}

fn host_paths(storage: Option<&Storage>, template: &PodTemplate, settings: &Settings) -> Result<(), Refusal> {
    let own = storage.and_then(|storage| match storage {
        Storage::HostPath(host) => Some(("spec.storage.hostPath.path".to_owned(), &host.path)),
        _ => None,
    });
    let further = template.volumes.iter().enumerate().filter_map(|(n, volume)| match &volume.source {
        VolumeSource::HostPath(host) => Some((format!("spec.template.volumes[{n}].source.hostPath.path"), &host.path)),
        _ => None,
    });
    for (field, path) in own.into_iter().chain(further) {
        if !settings.allows(path) {
            let message = match settings.allowed_host_paths.as_slice() {
                [] => format!("{field}: `{path}` is not allowed: the operator runs without --allowed-host-paths"),
                allowed => {
                    format!("{field}: `{path}` is not allowed; the operator allows what is below {}", listed(allowed))
                }
            };
            return Err(Refusal::new(Reason::HostPathNotAllowed, message));
        }
    }
    Ok(())
}

/// The owner of a resource's children.
pub fn owner(kind: Kind, object: &impl Resource) -> Owner {
    let name = object_name(object);
    Owner { kind, namespace: name.namespace, name: name.name, uid: object.meta().uid.clone().unwrap_or_default() }
}

/// A camera's workload.
///
/// # Errors
/// Why it is not acted on.
pub fn camera(camera: &CameraStream, found: &Found, settings: &Settings) -> Result<Workload, Refusal> {
    let name = object_name(camera);
    let plan = plan(found, Kind::CameraStream, &name)?;
    let plan = plan.cameras.into_iter().find(|plan| plan.name == name).ok_or_else(undecided)?;
    host_paths(None, &camera.spec.template, settings)?;
    secrets(found)?;
    let CameraPlan { spec, connection, .. } = &plan;
    let checksum = hash_of(&json!({
        "spec": running(spec),
        "connection": [connection.name.to_string(), json!(connection.spec)],
    }));
    Ok(Workload {
        names: Names::new(Kind::CameraStream, &name.name),
        owner: owner(Kind::CameraStream, camera),
        checksum,
        storage: None,
        placement: spec.placement.clone(),
        template: spec.template.clone(),
        replicas: i32::from(!spec.suspend),
        capped_from: None,
        suspended: spec.suspend,
        // The queue, and a frame in each step beside it.
        buffers: spec.buffer.memory.0 * 2 + spec.encoding.max_frame_bytes.0 * 4,
        ..common(found, camera)
    })
}

/// A sink's workload.
///
/// # Errors
/// Why it is not acted on.
pub fn sink(sink: &FrameSink, found: &Found, settings: &Settings) -> Result<Workload, Refusal> {
    let name = object_name(sink);
    let plan = plan(found, Kind::FrameSink, &name)?;
    let plan = plan.sinks.into_iter().find(|plan| plan.name == name).ok_or_else(undecided)?;
    placement(&sink.spec)?;
    host_paths(Some(&sink.spec.storage), &sink.spec.template, settings)?;
    secrets(found)?;
    let SinkPlan { spec, connection, topics, group, camera, .. } = &plan;
    let checksum = hash_of(&json!({
        "spec": running(spec),
        "connection": [connection.name.to_string(), json!(connection.spec)],
        "topics": topics,
        "group": group,
        "camera": camera,
    }));
    let most = partitions(&sink.spec.from, found).unwrap_or(i32::MAX);
    let asked = spec.replicas.max(1);
    Ok(Workload {
        names: Names::new(Kind::FrameSink, &name.name),
        owner: owner(Kind::FrameSink, sink),
        checksum,
        storage: Some(spec.storage.clone()),
        placement: spec.placement.clone(),
        template: spec.template.clone(),
        replicas: if spec.suspend { 0 } else { asked.min(most) },
        capped_from: (asked > most).then_some(asked),
        suspended: spec.suspend,
        buffers: 256 << 20,
        ..common(found, sink)
    })
}

/// What is taken from what was found; the rest is filled in by the caller.
fn common(found: &Found, object: &impl Resource) -> Workload {
    let documents: Vec<String> =
        found.documents.iter().map(|document| serde_yaml::to_string(document).unwrap_or_default()).collect();
    Workload {
        owner: owner(Kind::CameraStream, object),
        names: Names::new(Kind::CameraStream, ""),
        documents: documents.join("---\n"),
        checksum: String::new(),
        secrets: found.uses.clone(),
        secrets_checksum: hash_of(&found.secrets),
        storage: None,
        placement: None,
        template: PodTemplate::default(),
        replicas: 0,
        capped_from: None,
        suspended: false,
        restart: object.annotations().get(RESTART_ANNOTATION).cloned(),
        buffers: 0,
    }
}

fn undecided() -> Refusal {
    Refusal::new(Reason::InvalidConfiguration, "what it refers to cannot be read: see the resources that it names")
}

/// The part of a spec that a running worker lives by: without what decides only where, how often and in which pod it runs.
fn running(spec: &impl serde::Serialize) -> Value {
    let mut spec = json!(spec);
    if let Some(fields) = spec.as_object_mut() {
        for field in ["placement", "replicas", "suspend", "template"] {
            fields.remove(field);
        }
    }
    spec
}

/// How many partitions a sink's topic has, where a camera says it for certain.
fn partitions(from: &From, found: &Found) -> Option<i32> {
    let From::StreamRef(reference) = from else { return None };
    let stream = found.resources.cameras.iter().find(|c| c.document != RIVAL && c.name.name == reference.name)?;
    // With `exists`, nobody looks at the number.
    (stream.spec.topic.ensure != EnsureTopic::Exists).then_some(stream.spec.topic.partitions)
}
