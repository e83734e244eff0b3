//! `template.podOverrides`, and the operator's own for all workers, merged into a pod's template as `kubectl patch
//! --type=strategic` does: containers, volumes and variables by their names, maps by their keys; all else takes the place of
//! what was there.

use edgereel_crds::{pod::PodTemplate, pod_overrides::PodOverrides};
use k8s_openapi::{
    DeepMerge,
    api::core::v1::{Container, PodSpec, PodTemplateSpec},
};
use kube::api::ObjectMeta;

use crate::controller::program::CONTAINER;

/// Merges the operator's own overrides into a pod's template, and those of the resource over them.
pub fn merge(into: &mut PodTemplateSpec, template: &PodTemplate, defaults: &PodOverrides) {
    if !defaults.is_empty() {
        apply(into, yielding(defaults, template));
    }
    if let Some(own) = template.pod_overrides.as_ref().filter(|own| !own.is_empty()) {
        apply(into, own.clone());
    }
}

fn apply(into: &mut PodTemplateSpec, overrides: PodOverrides) {
    let spec = overrides.spec.map(|spec| *spec);
    if let (Some(into), Some(theirs)) = (&mut into.spec, &spec) {
        give_way(into, theirs);
    }
    let metadata = ObjectMeta {
        labels: Some(overrides.metadata.labels),
        annotations: Some(overrides.metadata.annotations),
        ..ObjectMeta::default()
    };
    into.merge_from(PodTemplateSpec { metadata: Some(metadata), spec });
}

/// A volume and a variable are one thing or another: of two that have the same name, the second takes the place of the first, and
/// is not mixed with it.
fn give_way(into: &mut PodSpec, theirs: &PodSpec) {
    let named = |name: &str| theirs.volumes.iter().flatten().any(|volume| volume.name == name);
    into.volumes.iter_mut().for_each(|volumes| volumes.retain(|volume| !named(&volume.name)));
    let of_theirs = || theirs.containers.iter().chain(theirs.init_containers.iter().flatten());
    for container in into.containers.iter_mut().chain(into.init_containers.iter_mut().flatten()) {
        let Some(theirs) = of_theirs().find(|theirs| theirs.name == container.name) else { continue };
        let named = |name: &str| theirs.env.iter().flatten().any(|variable| variable.name == name);
        container.env.iter_mut().for_each(|env| env.retain(|variable| !named(&variable.name)));
    }
}

/// The operator's overrides without what the resource says by a field of its own.
fn yielding(defaults: &PodOverrides, template: &PodTemplate) -> PodOverrides {
    let mut defaults = defaults.clone();
    defaults.metadata.labels.retain(|key, _| !template.labels.contains_key(key));
    defaults.metadata.annotations.retain(|key, _| !template.annotations.contains_key(key));
    let Some(spec) = defaults.spec.as_deref_mut() else { return defaults };
    unless(template.priority_class_name.is_some(), &mut spec.priority_class_name);
    unless(template.service_account_name.is_some(), &mut spec.service_account_name);
    unless(template.termination_grace_period_seconds.is_some(), &mut spec.termination_grace_period_seconds);
    unless(!template.image_pull_secrets.is_empty(), &mut spec.image_pull_secrets);
    if let (Some(security), Some(own)) = (&mut spec.security_context, &template.pod_security_context) {
        unless(own.run_as_user.is_some(), &mut security.run_as_user);
        unless(own.run_as_group.is_some(), &mut security.run_as_group);
        unless(own.fs_group.is_some(), &mut security.fs_group);
        unless(!own.supplemental_groups.is_empty(), &mut security.supplemental_groups);
    }
    let own_volume = |name: &str| template.volumes.iter().any(|volume| volume.name == name);
    spec.volumes.iter_mut().for_each(|volumes| volumes.retain(|volume| !own_volume(&volume.name)));
    for worker in spec.containers.iter_mut().filter(|container| container.name == CONTAINER) {
        worker_yields(worker, template);
    }
    defaults
}

fn worker_yields(worker: &mut Container, template: &PodTemplate) {
    unless(template.image_pull_policy.is_some(), &mut worker.image_pull_policy);
    unless(template.resources.is_some(), &mut worker.resources);
    let own = |name: &str| template.env.iter().any(|variable| variable.name == name);
    worker.env.iter_mut().for_each(|env| env.retain(|variable| !own(&variable.name)));
    let own = |path: &str| template.volume_mounts.iter().any(|mount| mount.mount_path == path);
    worker.volume_mounts.iter_mut().for_each(|mounts| mounts.retain(|mount| !own(&mount.mount_path)));
}

fn unless<T>(said: bool, field: &mut Option<T>) {
    if said {
        *field = None;
    }
}
