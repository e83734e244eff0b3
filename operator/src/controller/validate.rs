//! From what was found to a workload, or the reason why there is none. Pure; the check is the one that `edgereel run` and
//! `edgereel validate` use, and beside it stands what only a cluster asks for.

use std::collections::{BTreeMap, BTreeSet};

use edgereel_crds::{
    check::{FieldProblem, check},
    fields::Fields,
    name::Kind,
    plan::Plan,
    pod::{PodTemplate, VolumeSource},
    secret_uses::Source,
    status::Reason,
    storage::Storage,
};
use k8s_openapi::api::core::v1::PodSpec;
use kube::ResourceExt;
use serde_json::Value;

use super::{
    dereference::{Found, RIVAL, object_name, without},
    managed::Managed,
    names::{Names, RESTART_ANNOTATION},
    program::{CONTAINER, FILE, Program, passes_over_unknown_fields, run_args},
    workload::{Owner, Runtime, Workload},
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
                    alone.workers.retain(|r| r.document != RIVAL);
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

/// Whether the connections of other namespaces may be used.
///
/// # Errors
/// The first that may not.
pub fn connections(found: &Found, settings: &Settings) -> Result<(), Refusal> {
    if let Some(refusal) = &found.barred {
        return Err(refusal.clone());
    }
    match found.borrowed.values().next() {
        Some(loan) if !settings.shared_connections => {
            let message = format!(
                "{} is of another namespace, and the operator runs without --shared-connections (the chart's value \
                 `sharedConnections`): switch it on, or use a connection of this namespace",
                Kind::KafkaConnection.label(&loan.connection)
            );
            Err(Refusal::new(Reason::ConnectionOutOfReach, message))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether all Secrets and ConfigMaps in use are there with their keys.
///
/// # Errors
/// The first that is not.
pub fn values(found: &Found) -> Result<(), Refusal> {
    for loan in found.borrowed.values() {
        let namespace = &loan.connection.namespace;
        for (source, keys) in &loan.uses() {
            let there = found.originals.get(&(namespace.clone(), source.clone()));
            whole(source, keys, there, &format!(" in the namespace `{namespace}`"))?;
        }
    }
    for (source, keys) in found.uses.iter().filter(|(source, _)| !found.is_copy(source)) {
        whole(source, keys, found.values.get(source), "")?;
    }
    Ok(())
}

fn whole(
    source: &Source,
    keys: &BTreeSet<String>,
    there: Option<&BTreeMap<String, String>>,
    place: &str,
) -> Result<(), Refusal> {
    let Some(there) = there else {
        let message = format!("there is no {source}{place}: make it, with {}", listed(keys.iter()));
        return Err(Refusal::new(source.missing(), message));
    };
    let missing: Vec<&String> = keys.iter().filter(|key| !there.contains_key(*key)).collect();
    if !missing.is_empty() {
        let message = format!("the {source}{place} has no {}: add it to its data", listed(missing));
        return Err(Refusal::new(source.key_missing(), message));
    }
    Ok(())
}

fn listed<'a>(keys: impl IntoIterator<Item = &'a String>) -> String {
    keys.into_iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Whether no login stands in a URL: by the documents it would come into a ConfigMap. The API server's rule says the same;
/// this one is for resources from before it.
///
/// # Errors
/// The first that does.
pub fn logins<K: Managed>(object: &K, found: &Found) -> Result<(), Refusal> {
    let name = object_name(object);
    let cameras = found.resources.cameras.iter().filter(|camera| camera.document != RIVAL);
    let mut with_logins = cameras.filter_map(|camera| Some((camera, camera.spec.login_in_url()?)));
    if let Some((camera, field)) = with_logins.next() {
        let of = if camera.name == name { String::new() } else { format!("CameraStream/{}: ", camera.name.name) };
        let camera = &camera.name.name;
        let message = format!(
            "{of}{field}: a login in the URL would stand in a ConfigMap; `kubectl create secret generic {camera}-login \
             --from-literal=username=… --from-literal=password=…`, add `credentialsSecretRef: {{name: {camera}-login}}`, and \
             take the login out of `url`"
        );
        return Err(Refusal::new(Reason::InvalidConfiguration, message));
    }
    Ok(())
}

/// Whether the operator allows the directories of nodes that a resource asks for.
///
/// # Errors
/// The first that it does not.
pub fn host_paths(
    namespace: &str,
    storage: Option<&Storage>,
    template: &PodTemplate,
    settings: &Settings,
) -> Result<(), Refusal> {
    let own = storage.and_then(|storage| match storage {
        Storage::HostPath(host) => Some(("spec.storage.hostPath.path".to_owned(), &host.path)),
        Storage::PersistentVolumeClaim(_) | Storage::VolumeClaimTemplate(_) => None,
    });
    let further = template.volumes.iter().enumerate().filter_map(|(n, volume)| match &volume.source {
        VolumeSource::HostPath(host) => Some((format!("spec.template.volumes[{n}].source.hostPath.path"), &host.path)),
        VolumeSource::EmptyDir(_)
        | VolumeSource::ConfigMap(_)
        | VolumeSource::Secret(_)
        | VolumeSource::PersistentVolumeClaim(_) => None,
    });
    let overridden = template.pod_overrides.as_ref().and_then(|overrides| overrides.spec.as_ref());
    let volumes = overridden.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten().enumerate();
    let overridden = volumes.filter_map(|(n, volume)| {
        let field = format!("spec.template.podOverrides.spec.volumes[{n}].hostPath.path");
        Some((field, &volume.host_path.as_ref()?.path))
    });
    for (field, path) in own.into_iter().chain(further).chain(overridden) {
        if !settings.allows(namespace, path) {
            let allowed: Vec<String> = settings.allowed_in(namespace).map(ToString::to_string).collect();
            let why = match (settings.allowed_host_paths.is_empty(), allowed.is_empty()) {
                (true, _) => ": the operator runs without --allowed-host-paths".to_owned(),
                (false, true) => format!(": the operator's --allowed-host-paths has nothing for `{namespace}`"),
                (false, false) => format!("; the operator allows what is below {}", listed(&allowed)),
            };
            let message = format!("{field}: `{path}` is not allowed{why}");
            return Err(Refusal::new(Reason::HostPathNotAllowed, message));
        }
    }
    Ok(())
}

/// Whether a resource leaves alone the containers that the operator gives to all pods: they may have rights on the node that no
/// resource gets.
///
/// # Errors
/// The first that it would change.
pub fn overrides(template: &PodTemplate, settings: &Settings) -> Result<(), Refusal> {
    let Some(own) = template.pod_overrides.as_ref().and_then(|own| own.spec.as_deref()) else { return Ok(()) };
    let Some(all) = &settings.worker_defaults.spec else { return Ok(()) };
    let names = |spec: &PodSpec| -> Vec<String> {
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.map(|container| container.name.clone()).filter(|name| name != CONTAINER).collect()
    };
    let of_all = names(all);
    match names(own).into_iter().find(|name| of_all.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "spec.template.podOverrides.spec: the container `{name}` is one that the operator gives to all workers                  (`workerDefaults`); choose another name"
            );
            Err(Refusal::new(Reason::InvalidConfiguration, message))
        }
    }
}

/// The owner of a resource's children.
pub fn owner<K: Managed>(object: &K) -> Owner {
    let name = object_name(object);
    let uid = object.meta().uid.clone().unwrap_or_default();
    Owner { kind: K::NAME, namespace: name.namespace, name: name.name, uid }
}

/// A workload with all that does not depend on the kind, for a program that runs one resource.
pub fn workload<K: Managed>(object: &K, found: &Found, runtime: Runtime, program: Program) -> Workload {
    let documents: Vec<String> =
        found.documents.iter().map(|document| serde_yaml::to_string(document).unwrap_or_default()).collect();
    let owner = owner(object);
    Workload {
        names: Names::of(object),
        runtime,
        mounted: None,
        program,
        args: run_args(&owner),
        env: vec![passes_over_unknown_fields()],
        documents: [(FILE.to_owned(), documents.join("---\n"))].into(),
        checksum: String::new(),
        secrets: found.uses.clone(),
        copies: found.borrowed.clone(),
        kept_copies: BTreeSet::new(),
        secrets_checksum: hash_of(&found.values),
        placement: None,
        template: PodTemplate::default(),
        devices: Vec::new(),
        capped_from: None,
        suspended: false,
        restart: object.annotations().get(RESTART_ANNOTATION).cloned(),
        buffers: Some(0),
        stamp: BTreeMap::new(),
        owner,
    }
}

/// Where the check has no plan and no problem.
pub fn undecided() -> Refusal {
    Refusal::new(Reason::InvalidConfiguration, "what it refers to cannot be read: see the resources that it names")
}

/// The part of a spec that a running worker lives by: what was set, without what decides only where, when, how often and in which
/// pod it runs.
pub fn running(spec: &impl Fields) -> Value {
    without(&["placement", "replicas", "schedule", "suspend", "template", "timeZone"], spec)
}
