//! What a `podOverrides` has to keep to: it may add whatever a pod can have, and change nothing that the worker lives by.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, SecurityContext, Volume};

use super::own::{OWN_VOLUMES, is_own_path};
use crate::{
    api::pod_overrides::{PodOverrides, WORKER_CONTAINER},
    problem::{FieldPath, shown},
};

/// Labels by which pods are found; the operator's own.
pub const OWN_LABELS: [&str; 5] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
];
/// What annotations and labels of Edgereel's own begin with.
const OWN_PREFIX: &str = "edgereel.dev/";
/// Variables that the operator sets.
const OWN_VARIABLES: [&str; 2] = ["EDGEREEL_REPLICA", "EDGEREEL_UNKNOWN_FIELDS"];
/// Capabilities that the Pod Security level `baseline` lets a container add.
const HARMLESS: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A resource: it gets nothing of the node that the list of host paths does not allow.
    Resource,
    /// Whoever runs the operator.
    Operator,
}

/// A problem in overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverridesProblem {
    /// The field.
    pub field: FieldPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Every problem that overrides have, which stand at `at`.
pub fn overrides(overrides: &PodOverrides, at: &FieldPath, whose: Whose) -> Vec<OverridesProblem> {
    let mut check = Check { whose, problems: Vec::new() };
    check.metadata(overrides, &at.key("metadata"));
    if let Some(spec) = &overrides.spec {
        check.spec(spec, &at.key("spec"));
    }
    check.problems
}

struct Check {
    whose: Whose,
    problems: Vec<OverridesProblem>,
}

impl Check {
    fn add(&mut self, field: FieldPath, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(OverridesProblem { field, message: message.into(), remedy: remedy.into() });
    }

    /// What is said elsewhere, or nowhere.
    fn decided(&mut self, at: &FieldPath, fields: &[(&str, bool, &str)]) {
        for (field, _, remedy) in fields.iter().filter(|(_, given, _)| *given) {
            self.add(at.key(field), "it cannot be overridden", *remedy);
        }
    }

    fn metadata(&mut self, overrides: &PodOverrides, at: &FieldPath) {
        let metadata = &overrides.metadata;
        for (map, keys) in [("labels", metadata.labels.keys()), ("annotations", metadata.annotations.keys())] {
            for key in keys.filter(|key| key.starts_with(OWN_PREFIX) || OWN_LABELS.contains(&key.as_str())) {
                self.add(at.key(map).key(key), "it is Edgereel's own: pods are known by it", "take it out");
            }
        }
    }

    fn spec(&mut self, spec: &PodSpec, at: &FieldPath) {
        let nowhere = "say it in `spec.placement` of a resource";
        let stays = "take it out: a worker goes on until it is stopped, and is started again when it ends";
        self.decided(
            at,
            &[
                ("activeDeadlineSeconds", spec.active_deadline_seconds.is_some(), stays),
                ("affinity", spec.affinity.is_some(), nowhere),
                (
                    "automountServiceAccountToken",
                    spec.automount_service_account_token == Some(true),
                    "take it out: a worker does not talk to Kubernetes; a further container can have a `projected` volume",
                ),
                ("hostname", spec.hostname.is_some(), "take it out: Kubernetes gives pods their names"),
                ("nodeName", spec.node_name.is_some(), nowhere),
                ("nodeSelector", spec.node_selector.is_some(), nowhere),
                ("restartPolicy", spec.restart_policy.is_some(), stays),
                ("subdomain", spec.subdomain.is_some(), "take it out: the Service of the resource decides it"),
                ("tolerations", spec.tolerations.is_some(), nowhere),
            ],
        );
        if let Some(security) = &spec.security_context {
            let at = at.key("securityContext");
            let remedy = "take it out: a worker is never root; a further container can say otherwise of itself";
            self.decided(
                &at,
                &[
                    ("runAsNonRoot", security.run_as_non_root == Some(false), remedy),
                    ("runAsUser", security.run_as_user == Some(0), remedy),
                ],
            );
        }
        let fields = [("hostIPC", spec.host_ipc), ("hostPID", spec.host_pid)];
        for (field, _) in fields.into_iter().filter(|(_, given)| *given == Some(true)) {
            self.of_node(at.key(field));
        }
        for (n, volume) in spec.volumes.iter().flatten().enumerate() {
            self.volume(volume, &at.key("volumes").index(n));
        }
        let mut names = BTreeSet::new();
        for (list, containers) in
            [("initContainers", spec.init_containers.as_deref()), ("containers", Some(spec.containers.as_slice()))]
        {
            for (n, container) in containers.unwrap_or_default().iter().enumerate() {
                let at = at.key(list).index(n);
                if !names.insert(&container.name) {
                    let message = format!("there are two containers called `{}`", shown(&container.name));
                    self.add(at.key("name"), message, "give each a name of its own");
                }
                match (list, container.name.as_str()) {
                    ("containers", WORKER_CONTAINER) => self.worker(container, &at),
                    (_, WORKER_CONTAINER) => {
                        self.add(at.key("name"), "the worker's container is called so", "choose another name");
                    }
                    (_, _) => self.further(container, &at),
                }
            }
        }
    }

    fn volume(&mut self, volume: &Volume, at: &FieldPath) {
        if OWN_VOLUMES.contains(&volume.name.as_str()) || volume.name.starts_with("secret-") {
            let message = format!("`{}` is a volume of Edgereel's own", shown(&volume.name));
            self.add(at.key("name"), message, "choose another name");
        }
    }

    /// The worker's own container.
    fn worker(&mut self, container: &Container, at: &FieldPath) {
        let runs = "take it out: the resource says what runs";
        let watched = "take it out: the operator knows by it how the worker fares";
        self.decided(
            at,
            &[
                ("args", container.args.is_some(), runs),
                ("command", container.command.is_some(), runs),
                (
                    "image",
                    container.image.is_some(),
                    "use `spec.template.image`, or `worker.image` of the operator's chart",
                ),
                ("livenessProbe", container.liveness_probe.is_some(), watched),
                ("ports", container.ports.is_some(), watched),
                ("readinessProbe", container.readiness_probe.is_some(), watched),
                ("restartPolicy", container.restart_policy.is_some(), watched),
                ("startupProbe", container.startup_probe.is_some(), watched),
                ("workingDir", container.working_dir.is_some(), runs),
            ],
        );
        if let Some(security) = &container.security_context {
            let added = security.capabilities.as_ref().and_then(|capabilities| capabilities.add.as_ref());
            let remedy = "take it out: a worker needs no such right; a further container can have it";
            self.decided(
                &at.key("securityContext"),
                &[
                    ("allowPrivilegeEscalation", security.allow_privilege_escalation == Some(true), remedy),
                    ("capabilities", added.is_some_and(|added| !added.is_empty()), remedy),
                    ("privileged", security.privileged == Some(true), remedy),
                    ("readOnlyRootFilesystem", security.read_only_root_filesystem == Some(false), remedy),
                    ("runAsNonRoot", security.run_as_non_root == Some(false), remedy),
                    ("runAsUser", security.run_as_user == Some(0), remedy),
                ],
            );
        }
        let variables = container.env.iter().flatten().enumerate();
        for (n, variable) in variables.filter(|(_, variable)| OWN_VARIABLES.contains(&variable.name.as_str())) {
            let message = format!("`{}` is a variable of Edgereel's own", variable.name);
            self.add(at.key("env").index(n).key("name"), message, "take it out");
        }
        let mounts = container.volume_mounts.iter().flatten().enumerate();
        for (n, mount) in mounts.filter(|(_, mount)| is_own_path(&mount.mount_path)) {
            let message = format!("`{}` is a path of Edgereel's own", shown(&mount.mount_path));
            let field = at.key("volumeMounts").index(n).key("mountPath");
            self.add(field, message, "mount it elsewhere, for example below `/mnt`");
        }
    }

    fn further(&mut self, container: &Container, at: &FieldPath) {
        if container.name.is_empty() {
            self.add(at.key("name"), "it is missing", "give it: containers are merged by their names");
        }
        let Some(SecurityContext { privileged, capabilities, .. }) = &container.security_context else { return };
        let at = at.key("securityContext");
        if *privileged == Some(true) {
            self.of_node(at.key("privileged"));
        }
        let added = capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        if added.into_iter().any(|capability| !HARMLESS.contains(&capability.as_str())) {
            self.of_node(at.key("capabilities").key("add"));
        }
    }

    /// It would get around the list of host paths.
    fn of_node(&mut self, field: FieldPath) {
        if self.whose == Whose::Resource {
            let remedy =
                "take it out, or have `workerDefaults` of the operator's chart give such a container to the pods";
            self.add(field, "a resource gets no such right on its node", remedy);
        }
    }
}
