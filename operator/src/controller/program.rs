//! What runs in a pod, and where it finds what it needs. The paths and the port are a contract with our programs: whoever
//! builds a pod and whoever writes a program's arguments both look here.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector};

use super::workload::Owner;
use crate::settings::Settings;

/// The program's container.
pub const CONTAINER: &str = edgereel_crds::pod_overrides::WORKER_CONTAINER;
/// Where it serves `/metrics`, `/healthz`, `/readyz` and `/status`.
pub const PORT: i32 = 9464;
/// That port's name.
pub const PORT_NAME: &str = "http";
/// Where the resource documents are.
pub const CONFIG: &str = "/etc/edgereel";
/// The file that holds them.
pub const FILE: &str = "resources.yaml";
/// Where the Secrets are: a folder each, a file a key.
pub const SECRETS: &str = "/secrets";
/// Where its storage is.
pub const DATA: &str = "/data";
/// The environment variable with a sharded pod's number.
pub const REPLICA: &str = "EDGEREEL_REPLICA";

/// A program: an image, and what of it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The image, unless the resource's template names another.
    pub image: String,
    /// The command; empty: the image's own.
    pub command: Vec<String>,
}

impl Program {
    /// `edgereel`, from the worker's image.
    pub fn worker(settings: &Settings) -> Self {
        Program { image: settings.worker_image.clone(), command: Vec::new() }
    }
}

/// The arguments by which any of our programs runs one resource.
pub fn run_args(owner: &Owner) -> Vec<String> {
    vec![
        "run".to_owned(),
        format!("--filename={CONFIG}/{FILE}"),
        format!("--only={}", owner.label()),
        format!("--secrets-dir={SECRETS}"),
        format!("--http=0.0.0.0:{PORT}"),
        "--log-format=json".into(),
    ]
}

/// The arguments by which a worker runs whatever is in its configuration, and follows it.
pub fn follow_args() -> Vec<String> {
    vec![
        "run".to_owned(),
        format!("--filename={CONFIG}"),
        "--follow".into(),
        format!("--secrets-dir={SECRETS}"),
        format!("--http=0.0.0.0:{PORT}"),
        "--log-format=json".into(),
    ]
}

/// A worker's image may be older than the operator that wrote its documents: it runs without what it does not know, and says
/// so. (In the environment, where one that does not know the flag passes over it.)
pub fn passes_over_unknown_fields() -> EnvVar {
    EnvVar { name: "EDGEREEL_UNKNOWN_FIELDS".into(), value: Some("report".into()), value_from: None }
}

/// The pod's number in its StatefulSet: a consumer group knows its member by it.
pub fn replica() -> EnvVar {
    EnvVar {
        name: REPLICA.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: "metadata.labels['apps.kubernetes.io/pod-index']".into(),
            }),
            ..EnvVarSource::default()
        }),
    }
}
