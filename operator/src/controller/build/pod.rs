//! The pod: one worker that runs one resource, without a token, without a right, on the nodes that the resource names.

use std::collections::BTreeMap;

use edgereel_crds::{
    pod::{PodSecurity, PodTemplate, VolumeSource},
    secret_uses::Source,
    storage::Storage,
    units::ByteSize,
};
use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
        HTTPGetAction, HostPathVolumeSource, KeyToPath, LocalObjectReference, NodeAffinity, NodeSelector,
        NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec,
        PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration,
        Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;

use super::{config_map, overrides};
use crate::{
    controller::{
        names::{CONFIG_CHECKSUM, RESOURCE_ANNOTATION, RESTART_ANNOTATION, REVISION_ANNOTATION, SECRETS_CHECKSUM},
        program::{CONFIG, CONTAINER, DATA, PORT, PORT_NAME, SECRETS},
        workload::Workload,
    },
    hash::hash_of,
    settings::Settings,
};

/// The volume with a workload's storage.
pub const DATA_VOLUME: &str = "data";

/// What the volumes with Secrets are called, before their number.
pub const SECRET_VOLUME: &str = "secret-";

/// The volume with the resource documents.
pub const CONFIG_VOLUME: &str = "config";

/// Frames under way are delivered, and files closed, within this many seconds after SIGTERM.
const GRACE_SECONDS: i64 = 60;
/// What the program itself takes, librdkafka's queues included, in bytes.
const PROGRAM_BYTES: u64 = 256 << 20;
/// Files of Secrets and of the configuration can be read by the worker's user, whoever that is; they are never written.
const READABLE: i32 = 0o444;

/// The pods of a workload.
pub fn template(workload: &Workload, settings: &Settings) -> PodTemplateSpec {
    let template = &workload.template;
    let labels = with(&template.labels, workload.names.labels());
    let annotations = with(&template.annotations, annotations(workload));
    let metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    let mut whole = PodTemplateSpec { metadata: Some(metadata), spec: Some(spec(workload, settings)) };
    overrides::merge(&mut whole, template, &settings.worker_defaults);
    let ObjectMeta { labels, annotations, .. } = whole.metadata.unwrap_or_default();
    let (labels, mut annotations) = (labels.unwrap_or_default(), annotations.unwrap_or_default());
    let spec = whole.spec.unwrap_or_default();
    // Of a resource that was deleted and made anew, the pods are others.
    let revision = hash_of(&(&workload.owner.uid, &labels, &annotations, &spec));
    annotations.insert(REVISION_ANNOTATION.into(), revision);
    let metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

fn spec(workload: &Workload, settings: &Settings) -> PodSpec {
    let template = &workload.template;
    PodSpec {
        affinity: affinity(workload),
        automount_service_account_token: Some(false),
        containers: vec![container(workload)],
        enable_service_links: Some(false),
        image_pull_secrets: some(pull_secrets(template, settings)),
        node_selector: workload.placement.as_ref().map(|p| p.node_selector.clone()).filter(|s| !s.is_empty()),
        priority_class_name: template.priority_class_name.clone(),
        security_context: Some(security(workload, settings)),
        service_account_name: template.service_account_name.clone(),
        termination_grace_period_seconds: Some(template.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS)),
        tolerations: some(tolerations(workload)),
        volumes: Some(volumes(workload)),
        ..PodSpec::default()
    }
}

/// The user's entries, and ours, which win.
fn with(theirs: &BTreeMap<String, String>, ours: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = theirs.clone();
    all.extend(ours);
    all
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// What rolls the pods when it changes, and whom they belong to.
fn annotations(workload: &Workload) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        (RESOURCE_ANNOTATION.to_owned(), workload.owner.label()),
        (CONFIG_CHECKSUM.to_owned(), workload.checksum.clone()),
        (SECRETS_CHECKSUM.to_owned(), workload.secrets_checksum.clone()),
    ]);
    if let Some(restart) = &workload.restart {
        annotations.insert(RESTART_ANNOTATION.into(), restart.clone());
    }
    annotations
}

fn pull_secrets(template: &PodTemplate, settings: &Settings) -> Vec<LocalObjectReference> {
    let own = template.image_pull_secrets.iter().map(|secret| &secret.name);
    let names: Vec<&String> = if template.image_pull_secrets.is_empty() {
        settings.image_pull_secrets.iter().collect()
    } else {
        own.collect()
    };
    names.into_iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
}

fn container(workload: &Workload) -> Container {
    let template = &workload.template;
    let shares = workload.follows().is_some();
    Container {
        name: CONTAINER.into(),
        image: Some(template.image.clone().unwrap_or_else(|| workload.program.image.clone())),
        image_pull_policy: template.image_pull_policy.map(|policy| policy.as_str().into()),
        command: some(workload.program.command.clone()),
        args: Some(workload.args.clone()),
        env: some(env(workload)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.into()),
            container_port: PORT,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        // A worker whose process works is left alone, whatever its camera, Kafka or disk does.
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe(if shares { "/readyz?any" } else { "/readyz" }, 5, 1)),
        resources: Some(resources(workload)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts(workload)),
        ..Container::default()
    }
}

fn env(workload: &Workload) -> Vec<EnvVar> {
    let own = |name: &str| workload.env.iter().any(|variable| variable.name == name);
    let theirs = workload.template.env.iter().filter(|variable| !own(&variable.name)).map(|variable| EnvVar {
        name: variable.name.clone(),
        value: Some(variable.value.clone()),
        value_from: None,
    });
    workload.env.iter().cloned().chain(theirs).collect()
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(PORT_NAME.into()),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

/// What the template says or else the defaults, and the devices: Kubernetes takes what is limited for requested.
fn resources(workload: &Workload) -> ResourceRequirements {
    let declared = workload.template.resources.clone();
    let mut resources = declared.unwrap_or_else(|| default_resources(workload.buffers));
    for device in &workload.devices {
        let limits = resources.limits.get_or_insert_default();
        limits.entry(device.clone()).or_insert_with(|| Quantity("1".into()));
    }
    resources
}

/// Requests that a small edge board has, and a memory limit that the resource's own buffers cannot reach, where those are known.
fn default_resources(buffers: Option<u64>) -> ResourceRequirements {
    let quantity = |text: &str| Quantity(text.into());
    let limit = |buffers: u64| Quantity(ByteSize((buffers + PROGRAM_BYTES).next_multiple_of(1 << 20)).to_string());
    ResourceRequirements {
        requests: Some([("cpu".to_owned(), quantity("50m")), ("memory".to_owned(), quantity("64Mi"))].into()),
        limits: buffers.map(|buffers| [("memory".to_owned(), limit(buffers))].into()),
        claims: None,
    }
}

/// What the `restricted` Pod Security level asks for (source: Kubernetes' Pod Security Standards), and the groups.
fn security(workload: &Workload, settings: &Settings) -> PodSecurityContext {
    let own = workload.template.pod_security_context.clone().unwrap_or_default();
    let PodSecurity { run_as_user, run_as_group, fs_group, supplemental_groups } = own;
    let group = run_as_group.unwrap_or(settings.run_as_group);
    // Claimed volumes are handed to the worker's group. Kubernetes does no such thing with a hostPath.
    let claimed =
        matches!(workload.storage(), Some(Storage::PersistentVolumeClaim(_) | Storage::VolumeClaimTemplate(_)));
    let fs_group = fs_group.or_else(|| claimed.then_some(group));
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(run_as_user.unwrap_or(settings.run_as_user)),
        run_as_group: Some(group),
        fs_group,
        // Not over every frame that there is, at each start.
        fs_group_change_policy: fs_group.map(|_| "OnRootMismatch".into()),
        supplemental_groups: some(supplemental_groups),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// The tolerations of the placement, and how long a lost node is waited for. Who tolerates the loss by name has decided that.
fn tolerations(workload: &Workload) -> Vec<Toleration> {
    let mut all = workload.placement.as_ref().map(|p| p.tolerations.clone()).unwrap_or_default();
    let Some(wait) = workload.move_after() else { return all };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if all.iter().all(|known| known.key.as_deref() != Some(key)) {
            all.push(Toleration {
                key: Some(key.into()),
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                toleration_seconds: i64::try_from(wait.as_secs()).ok(),
                value: None,
            });
        }
    }
    all
}

/// The affinity of the placement, with its `nodes`: any one of them, and all that the affinity asks for.
fn affinity(workload: &Workload) -> Option<Affinity> {
    let placement = workload.placement.as_ref()?;
    if placement.nodes.is_empty() {
        return placement.affinity.clone();
    }
    let mut affinity = placement.affinity.clone().unwrap_or_default();
    let named = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".into(),
        operator: "In".into(),
        values: Some(placement.nodes.clone()),
    };
    let node = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = node
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: vec![NodeSelectorTerm::default()] });
    // Terms are alternatives: the name has to hold in each.
    for term in &mut required.node_selector_terms {
        term.match_expressions.get_or_insert_with(Vec::new).push(named.clone());
    }
    Some(affinity)
}

fn volumes(workload: &Workload) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: CONFIG_VOLUME.into(),
            config_map: Some(ConfigMapVolumeSource {
                name: config_map::name(workload),
                default_mode: Some(READABLE),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity("64Mi".into())), medium: None }),
            ..Volume::default()
        },
    ];
    // Of several resources, one whose Secret is gone keeps no other from running.
    let optional = workload.follows().map(|_| true);
    volumes.extend(workload.secrets.iter().enumerate().map(|(n, (source, keys))| {
        // The keys that are used and no others.
        let items =
            Some(keys.iter().map(|key| KeyToPath { key: key.clone(), path: key.clone(), mode: None }).collect());
        let volume = Volume { name: format!("{SECRET_VOLUME}{n}"), ..Volume::default() };
        match source {
            Source::Secret(name) => Volume {
                secret: Some(SecretVolumeSource {
                    secret_name: Some(name.clone()),
                    default_mode: Some(READABLE),
                    items,
                    optional,
                }),
                ..volume
            },
            Source::ConfigMap(name) => Volume {
                config_map: Some(ConfigMapVolumeSource {
                    name: name.clone(),
                    default_mode: Some(READABLE),
                    items,
                    optional,
                }),
                ..volume
            },
        }
    }));
    volumes.extend(data_volume(workload));
    volumes.extend(workload.template.volumes.iter().map(|volume| further(&volume.name, &volume.source)));
    volumes
}

fn data_volume(workload: &Workload) -> Option<Volume> {
    let source = match workload.storage()? {
        // `Directory`: a disk that is not mounted keeps the pod from starting, instead of filling the node's own disk.
        Storage::HostPath(host) => Volume { host_path: Some(host_path(&host.path, "Directory")), ..Volume::default() },
        Storage::PersistentVolumeClaim(claim) => {
            Volume { persistent_volume_claim: Some(claim_source(&claim.claim_name)), ..Volume::default() }
        }
        // The StatefulSet adds it.
        Storage::VolumeClaimTemplate(_) => return None,
    };
    Some(Volume { name: DATA_VOLUME.into(), ..source })
}

fn host_path(path: &str, kind: &str) -> HostPathVolumeSource {
    HostPathVolumeSource { path: path.into(), type_: Some(kind.into()) }
}

fn claim_source(name: &str) -> PersistentVolumeClaimVolumeSource {
    PersistentVolumeClaimVolumeSource { claim_name: name.into(), read_only: None }
}

fn further(name: &str, source: &VolumeSource) -> Volume {
    let mut volume = Volume { name: name.into(), ..Volume::default() };
    match source {
        VolumeSource::HostPath(host) => {
            // Without a type: a device, a socket, a file or a directory.
            volume.host_path = Some(HostPathVolumeSource { path: host.path.clone(), type_: None });
        }
        VolumeSource::EmptyDir(dir) => {
            volume.empty_dir = Some(EmptyDirVolumeSource {
                size_limit: dir.size_limit.map(|size| Quantity(size.to_string())),
                medium: None,
            });
        }
        VolumeSource::ConfigMap(map) => {
            volume.config_map =
                Some(ConfigMapVolumeSource { name: map.name.clone(), ..ConfigMapVolumeSource::default() });
        }
        VolumeSource::Secret(secret) => {
            volume.secret =
                Some(SecretVolumeSource { secret_name: Some(secret.name.clone()), ..SecretVolumeSource::default() });
        }
        VolumeSource::PersistentVolumeClaim(claim) => {
            volume.persistent_volume_claim = Some(claim_source(&claim.claim_name));
        }
    }
    volume
}

fn mounts(workload: &Workload) -> Vec<VolumeMount> {
    let mount = |name: &str, path: String, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path,
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![mount(CONFIG_VOLUME, CONFIG.into(), true), mount("tmp", "/tmp".into(), false)];
    mounts.extend(
        workload
            .secrets
            .keys()
            .enumerate()
            .map(|(n, source)| mount(&format!("{SECRET_VOLUME}{n}"), format!("{SECRETS}/{}", source.folder()), true)),
    );
    if workload.storage().is_some() {
        mounts.push(mount(DATA_VOLUME, DATA.into(), workload.reads_only()));
    }
    mounts.extend(
        workload.template.volume_mounts.iter().map(|own| mount(&own.name, own.mount_path.clone(), own.read_only)),
    );
    mounts
}
