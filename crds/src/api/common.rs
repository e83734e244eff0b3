//! Pieces that more than one kind uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::api::name::ObjectName;

/// A resource of a fixed kind in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// The name of the resource.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// The name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Which Kafka cluster to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaRef {
    /// The `KafkaConnection`.
    pub connection_ref: ConnectionRef,
}

/// A `KafkaConnection`, in the same namespace or in one whose connection may be used from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// The name of the `KafkaConnection`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The namespace that it is in. Of another namespace only a connection can be used whose `spec.allowedNamespaces` has this one's.
    /// Default: the resource's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LABEL_PATTERN))]
    pub namespace: Option<String>,
}

impl ConnectionRef {
    /// What it leads to from a resource in `namespace`.
    pub fn from(&self, namespace: &str) -> ObjectName {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        ObjectName { namespace: namespace.to_owned(), name: self.name.clone() }
    }
}

/// The CEL rule for what has a `url`: a login in it would stand in the resource, and in the ConfigMap of its worker, for all
/// who may read those.
pub(crate) const NO_LOGIN_RULE: &str = "!self.url.matches('^[^/?#]*//[^/?#]*@')";
pub(crate) const NO_LOGIN: &str = "a login in the URL would stand in a ConfigMap: make a Secret with the keys username and \
password, name it in credentialsSecretRef, and take the login out of url";

/// Whether a URL has a login in it, `http://USER:PASSWORD@HOST`.
pub fn has_login(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// What a name that becomes a volume's, or a namespace's, has to look like; also in the CRD. Source: RFC 1123.
pub const LABEL_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// What a topic's name may look like; also in the CRD. Source: Kafka's `Topic.validate`.
pub const TOPIC_PATTERN: &str = r"^[a-zA-Z0-9._-]+$";

/// How a frame stands in a Kafka record's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FrameFormat {
    /// The value is the JPEG, byte for byte.
    #[default]
    Jpeg,
    /// The value is `{"frame": <base64 JPEG>, "timestamp": <ISO 8601>, "size": <KB>}`.
    Json,
}
