//! Where a [`FrameSink`](super::frame_sink) uploads what is to outlive its disk.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    common::{ConfigMapKeyRef, LABEL_PATTERN, SecretKeyRef},
    declared::{SecretUses, Source, key},
    units::ByteSize,
};

/// An object store that gets a copy of each file that is closed: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Archive {
    /// A bucket of Amazon S3, or of a server that speaks its protocol (MinIO, Ceph, Garage, …).
    S3(S3),
}

/// A bucket, and how to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.accessKeyIdSecretRef) == has(self.secretAccessKeySecretRef)").message("give both of accessKeyIdSecretRef and secretAccessKeySecretRef, or neither"))]
#[x_kube(validation = Rule::new("!has(self.caSecretRef) || !has(self.caConfigMapRef)").message("give one of caSecretRef and caConfigMapRef"))]
#[x_kube(validation = Rule::new("!has(self.endpoint) || !self.endpoint.startsWith('http://') || (has(self.allowHttp) && self.allowHttp)").message("an endpoint without TLS needs allowHttp: true"))]
pub struct S3 {
    /// The bucket; it has to be there.
    #[schemars(length(min = 3, max = 63), regex(pattern = BUCKET_PATTERN))]
    pub bucket: String,
    /// What the objects' names begin with; behind it stands a file's path below the output's `directory`. No two sinks may have the same
    /// in one bucket. Default: the sink's namespace and name, `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = PREFIX_PATTERN))]
    pub prefix: Option<String>,
    /// The region that requests are signed for; servers that are not Amazon's mostly take any. Default: `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = LABEL_PATTERN))]
    pub region: Option<String>,
    /// The server, as in `https://minio.lan:9000`, where it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = ENDPOINT_PATTERN))]
    pub endpoint: Option<String>,
    /// Allow an `endpoint` without TLS: whoever listens on the way sees the recordings, though not the secret key. Default: false.
    #[serde(default)]
    pub allow_http: bool,
    /// The access key's id. Without it and `secretAccessKeySecretRef`, the identity that the machine or the pod has is used: environment
    /// variables (`AWS_ACCESS_KEY_ID`, …), the service account's role (IRSA, EKS Pod Identity), or that of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret_ref: Option<SecretKeyRef>,
    /// The secret access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret_ref: Option<SecretKeyRef>,
    /// The PEM of the certificate authority of `endpoint`, from a Secret. Without it, and without `caConfigMapRef`, the system's authorities are
    /// trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The same, from a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// How many bytes a second are uploaded at most, in the mean of a few seconds, for example `4Mi`. At least `64Ki`. Default: as many as get
    /// through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<ByteSize>,
}

/// What a bucket's name may look like; also in the CRD. Source: Amazon S3's bucket naming rules.
pub const BUCKET_PATTERN: &str = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$";

/// What a prefix may look like; also in the CRD: the characters that Amazon S3 calls safe, and neither an empty part nor `.` or `..`.
pub const PREFIX_PATTERN: &str =
    r"^([A-Za-z0-9!_*'()-][A-Za-z0-9!_.*'()-]*)(/[A-Za-z0-9!_*'()-][A-Za-z0-9!_.*'()-]*)*$";

/// What a server's address may look like; also in the CRD.
pub const ENDPOINT_PATTERN: &str = r"^https?://[^/?#@]+/?$";

impl S3 {
    /// Where the certificate authority's PEM is, with the field that says so; none: the system's are trusted.
    pub fn ca(&self) -> Option<(&'static str, Source, &str)> {
        let secret = self.ca_secret_ref.as_ref();
        let config_map = self.ca_config_map_ref.as_ref();
        let secret = secret.map(|ca| ("caSecretRef", Source::Secret(ca.name.clone()), ca.key.as_str()));
        secret.or(config_map.map(|ca| ("caConfigMapRef", Source::ConfigMap(ca.name.clone()), ca.key.as_str())))
    }
}

impl Archive {
    /// The Secrets and ConfigMaps that it reads.
    pub(crate) fn secrets(&self) -> SecretUses {
        let Archive::S3(s3) = self;
        let mut uses = SecretUses::new();
        key(&mut uses, s3.access_key_id_secret_ref.as_ref());
        key(&mut uses, s3.secret_access_key_secret_ref.as_ref());
        if let Some((_, source, key)) = s3.ca() {
            uses.entry(source).or_default().insert(key.to_owned());
        }
        uses
    }
}
