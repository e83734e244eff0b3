//! The image is on the node before the old pod goes: a pod of the new image on the same node, which says its version and
//! ends. One whose image is not there, or does not start, takes nothing from anybody.

use std::collections::BTreeMap;

use edgereel_crds::status::Reason;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use tracing::{debug, info};

use crate::{
    controller::{
        apply::Place,
        build::pod,
        names::MANAGER,
        observe::{self, PodView},
        program::CONTAINER,
        workload::Workload,
    },
    hash::hash_of,
    settings::Settings,
};

/// On pods that fetch an image: the resource that they do it for, as in `FrameSink/gate-files`.
pub const PULLS_FOR: &str = "edgereel.dev/pulls-for";

/// How far the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pull {
    /// It is there, or cannot be fetched beforehand.
    Done,
    /// It is on its way.
    Under,
    /// It is not to be had, or does not start.
    Failed(Reason, String),
}

/// The pods that fetch a workload's image to the nodes where its pods run.
pub fn pods(workload: &Workload, settings: &Settings, nodes: &[String]) -> Vec<Pod> {
    nodes.iter().map(|node| fetcher(workload, settings, node)).collect()
}

/// The nodes on which a workload's pods run.
pub fn nodes(pods: &[PodView]) -> Vec<String> {
    let running = pods.iter().filter(|pod| pod.running && !pod.leaving && !pod.finished);
    let mut nodes: Vec<String> = running.filter_map(|pod| pod.node.clone()).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

fn fetcher(workload: &Workload, settings: &Settings, node: &str) -> Pod {
    let spec = pod::template(workload, settings).spec.unwrap_or_default();
    let worker = spec.containers.into_iter().find(|container| container.name == CONTAINER).unwrap_or_default();
    let amounts =
        |cpu: &str| BTreeMap::from([("cpu", cpu), ("memory", "64Mi")].map(|(k, v)| (k.to_owned(), Quantity(v.into()))));
    let container = Container {
        name: CONTAINER.into(),
        image: worker.image,
        image_pull_policy: worker.image_pull_policy,
        command: worker.command,
        args: Some(vec!["--version".into()]),
        security_context: worker.security_context,
        resources: Some(ResourceRequirements {
            requests: Some(amounts("1m")),
            limits: Some(amounts("100m")),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    };
    let spec = PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container],
        enable_service_links: Some(false),
        image_pull_secrets: spec.image_pull_secrets,
        // By name, and not by the scheduler: it needs no room to speak of.
        node_name: Some(node.into()),
        restart_policy: Some("Never".into()),
        runtime_class_name: spec.runtime_class_name,
        security_context: spec.security_context,
        service_account_name: spec.service_account_name,
        termination_grace_period_seconds: Some(0),
        tolerations: spec.tolerations,
        ..PodSpec::default()
    };
    let name = format!("{}-image-{}", workload.names.workload, &hash_of(&spec)[..8]);
    // None of the labels by which the workload's own pods are found.
    let labels = [
        ("app.kubernetes.io/name", "edgereel-image"),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/part-of", "edgereel"),
    ];
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(workload.owner.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some([(PULLS_FOR.to_owned(), workload.owner.label())].into()),
            owner_references: Some(vec![workload.owner.reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        ..Pod::default()
    }
}

/// Has the images fetched.
///
/// # Errors
/// The API server did not answer.
pub async fn fetch(wanted: &[Pod], place: Place<'_>) -> Result<Pull, kube::Error> {
    let there = place.caches.pods.pulling_for(place.owner);
    let api = Api::<Pod>::namespaced(place.client.clone(), &place.owner.namespace);
    let mut found = Vec::new();
    for pod in wanted {
        match there.iter().find(|known| known.name_any() == pod.name_any()) {
            Some(known) => found.push(judge(known)),
            None => found.push(start(&api, pod).await?),
        }
    }
    let failed = found.iter().find(|pull| matches!(pull, Pull::Failed(..))).cloned();
    let under = || found.iter().find(|pull| **pull == Pull::Under).cloned();
    Ok(failed.or_else(under).unwrap_or(Pull::Done))
}

async fn start(api: &Api<Pod>, pod: &Pod) -> Result<Pull, kube::Error> {
    match api.create(&PostParams::default(), pod).await {
        Ok(_) => {
            info!(
                pod = pod.name_any(),
                node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
                "fetching an image"
            );
            Ok(Pull::Under)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Pull::Under),
        // A quota, or an admission that wants no such pods: the image is fetched when the old pod is gone, then.
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            debug!(pod = pod.name_any(), "an image cannot be fetched beforehand: {}", status.message);
            Ok(Pull::Done)
        }
        Err(error) => Err(error),
    }
}

fn judge(pod: &Pod) -> Pull {
    let status = pod.status.clone().unwrap_or_default();
    let ended = status.container_statuses.iter().flatten().find_map(|c| c.state.as_ref()?.terminated.clone());
    match (status.phase.as_deref(), ended) {
        (Some("Succeeded"), _) => Pull::Done,
        (Some("Failed"), Some(ended)) => {
            let words = ended.message.or(ended.reason).unwrap_or_default();
            let words = format!("`--version` ended with status {} ({})", ended.exit_code, words.trim());
            Pull::Failed(Reason::PodCrashing, words)
        }
        // The node has no room for one more pod, or is going down.
        (Some("Failed"), None) => Pull::Done,
        _ => match observe::trouble(pod) {
            Some((reason, words)) => Pull::Failed(reason, words),
            None => Pull::Under,
        },
    }
}

/// Removes the pods that have fetched an image, but for those that still do.
///
/// # Errors
/// The API server refused, or did not answer.
pub async fn tidy(wanted: &[Pod], place: Place<'_>) -> Result<(), kube::Error> {
    for pod in place.caches.pods.pulling_for(place.owner) {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() || wanted.iter().any(|wanted| wanted.name_any() == name) {
            continue;
        }
        let api = Api::<Pod>::namespaced(place.client.clone(), &place.owner.namespace);
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer?),
        }
    }
    Ok(())
}
