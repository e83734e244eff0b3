//! `KafkaConnection`: where a Kafka cluster is and how to log in.

// Each printer column has a name and a type: the lint takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    common::{ConfigMapKeyRef, SecretKeyRef},
    declared::{Declared, Reference, SecretUses, Source, key},
    resource_status::KafkaConnectionStatus,
    status::ConditionType,
};

/// Where a Kafka cluster is and how to log in to it. Cameras and sinks refer to it by name.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "edgereel.dev",
    version = "v1alpha1",
    kind = "KafkaConnection",
    doc = "Where a Kafka cluster is and how to log in to it.",
    namespaced,
    shortname = "kc",
    category = "edgereel",
    status = "KafkaConnectionStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users"),
    printcolumn(name = "Servers", type_ = "string", json_path = ".spec.bootstrapServers"),
    printcolumn(name = "Login", type_ = "string", json_path = ".spec.sasl.mechanism"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaConnectionSpec {
    /// Brokers to ask first, each `host:port`; the cluster tells of the others. At least one has to answer.
    #[schemars(length(min = 1))]
    pub bootstrap_servers: Vec<String>,
    /// Encrypt the connection. Without it, everything goes in plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Log in. Without it, the brokers see an anonymous client (or the TLS client certificate).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Settings handed to librdkafka as they are, for example `socket.keepalive.enable: "true"`. Settings that Edgereel
    /// decides itself (`bootstrap.servers`, `group.id`, `enable.auto.commit`, …) are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Namespaces whose cameras and sinks may use it, by name; `"*"`: all. In a cluster, copies of its Secrets are made there, and
    /// whoever may read Secrets there can read them. What runs with a connection that no longer allows its namespace is stopped.
    /// Default: none but its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63), regex(pattern = NAMESPACE_PATTERN)))]
    pub allowed_namespaces: Vec<String>,
}

/// What a namespace's name, or all of them, look like in `allowedNamespaces`; also in the CRD.
pub const NAMESPACE_PATTERN: &str = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";

/// The keys of a [`Borrowed`] connection's Secret.
mod keys {
    pub const CA: &str = "ca.crt";
    pub const CERTIFICATE: &str = "tls.crt";
    pub const PRIVATE_KEY: &str = "tls.key";
    pub const USERNAME: &str = "username";
    pub const PASSWORD: &str = "password";
    pub const CLIENT_ID: &str = "client-id";
    pub const CLIENT_SECRET: &str = "client-secret";
}

/// A connection as another namespace has it: all values come from one Secret there.
#[derive(Clone, Debug, PartialEq)]
pub struct Borrowed {
    /// The connection, for that namespace alone.
    pub spec: KafkaConnectionSpec,
    /// What the Secret has to hold: by its key there, where the value is and under which key.
    pub values: BTreeMap<String, (Source, String)>,
}

impl KafkaConnectionSpec {
    /// Whether a resource in `user` may use it, when it is in `own` itself.
    pub fn allows(&self, user: &str, own: &str) -> bool {
        user == own || self.allowed_namespaces.iter().any(|allowed| allowed == "*" || allowed == user)
    }

    /// It as the namespace `user` has it, with its values in the Secret `secret` there.
    pub fn borrowed(&self, user: &str, secret: &str) -> Borrowed {
        let mut spec = KafkaConnectionSpec { allowed_namespaces: vec![user.to_owned()], ..self.clone() };
        let mut values = BTreeMap::new();
        let mut moved = |key: &str, source: Source, from: String| {
            values.insert(key.to_owned(), (source, from));
            SecretKeyRef { name: secret.to_owned(), key: key.to_owned() }
        };
        if let Some(tls) = &mut spec.tls {
            let ca = tls.ca().map(|ca| (ca.source, ca.key.to_owned()));
            tls.ca_config_map_ref = None;
            tls.ca_secret_ref = ca.map(|(source, key)| moved(keys::CA, source, key));
            if let Some(client) = &mut tls.client_certificate_secret_ref {
                let source = || Source::Secret(client.name.clone());
                moved(keys::CERTIFICATE, source(), client.certificate_key().to_owned());
                moved(keys::PRIVATE_KEY, source(), client.private_key_key().to_owned());
                *client = CertificateRef { name: secret.to_owned(), certificate_key: None, private_key_key: None };
            }
        }
        if let Some(sasl) = &mut spec.sasl {
            let oauth = sasl.oauth.as_mut();
            let (id, secret) = oauth.map(|o| (&mut o.client_id_secret_ref, &mut o.client_secret_secret_ref)).unzip();
            let all = [
                (sasl.username_secret_ref.as_mut(), keys::USERNAME),
                (sasl.password_secret_ref.as_mut(), keys::PASSWORD),
                (id, keys::CLIENT_ID),
                (secret, keys::CLIENT_SECRET),
            ];
            for (reference, key) in all {
                if let Some(reference) = reference {
                    *reference = moved(key, Source::Secret(reference.name.clone()), reference.key.clone());
                }
            }
        }
        Borrowed { spec, values }
    }
}

impl Declared for KafkaConnection {
    const NAME: &'static str = "KafkaConnection";
    const COMPONENT: Option<&'static str> = None;
    const ASPECT: Option<ConditionType> = Some(ConditionType::Accepted);

    fn references(_: &KafkaConnectionSpec) -> Vec<Reference> {
        Vec::new()
    }

    fn secrets(spec: &KafkaConnectionSpec) -> SecretUses {
        let mut uses = SecretUses::new();
        if let Some(tls) = &spec.tls {
            if let Some(ca) = tls.ca() {
                uses.entry(ca.source).or_default().insert(ca.key.to_owned());
            }
            if let Some(client) = &tls.client_certificate_secret_ref {
                let keys = [client.certificate_key(), client.private_key_key()].map(String::from);
                uses.entry(Source::Secret(client.name.clone())).or_default().extend(keys);
            }
        }
        if let Some(sasl) = &spec.sasl {
            key(&mut uses, sasl.username_secret_ref.as_ref());
            key(&mut uses, sasl.password_secret_ref.as_ref());
            if let Some(oauth) = &sasl.oauth {
                key(&mut uses, Some(&oauth.client_id_secret_ref));
                key(&mut uses, Some(&oauth.client_secret_secret_ref));
            }
        }
        uses
    }
}

/// TLS towards the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caSecretRef) || !has(self.caConfigMapRef)").message("give one of caSecretRef and caConfigMapRef"))]
pub struct KafkaTls {
    /// The certificate authority's PEM, from a Secret. Without it, and without `caConfigMapRef`, the system's authorities are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The certificate authority's PEM, from a ConfigMap: it is no secret, and trust-manager and others hand it out so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<ConfigMapKeyRef>,
    /// A Secret with the client's own certificate and its private key, PEM: one of type `kubernetes.io/tls`, or, with the names
    /// of its keys, any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<CertificateRef>,
    /// Check that the broker's certificate names the host that was dialled. Default: true.
    #[serde(default = "yes")]
    pub verify_hostname: bool,
}

/// Where a certificate authority's PEM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The field that says so, below `spec.tls`.
    pub field: &'static str,
    /// The Secret or ConfigMap.
    pub source: Source,
    /// The key in its data.
    pub key: &'a str,
}

impl KafkaTls {
    /// Where the certificate authority's PEM is; none: the system's are trusted.
    pub fn ca(&self) -> Option<Authority<'_>> {
        let secret = self.ca_secret_ref.as_ref().map(|ca| Authority {
            field: "caSecretRef",
            source: Source::Secret(ca.name.clone()),
            key: &ca.key,
        });
        let config_map = self.ca_config_map_ref.as_ref().map(|ca| Authority {
            field: "caConfigMapRef",
            source: Source::ConfigMap(ca.name.clone()),
            key: &ca.key,
        });
        secret.or(config_map)
    }
}

/// A certificate and its private key in a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of the certificate. Default: `tls.crt`. In the Secret of Strimzi's `KafkaUser` it is `user.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub certificate_key: Option<String>,
    /// The key of the private key. Default: `tls.key`. In the Secret of Strimzi's `KafkaUser` it is `user.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub private_key_key: Option<String>,
}

impl CertificateRef {
    /// The key of the certificate.
    pub fn certificate_key(&self) -> &str {
        self.certificate_key.as_deref().unwrap_or("tls.crt")
    }

    /// The key of the private key.
    pub fn private_key_key(&self) -> &str {
        self.private_key_key.as_deref().unwrap_or("tls.key")
    }
}

fn yes() -> bool {
    true
}

/// SASL login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mechanism == 'OAUTHBEARER' || ((has(self.username) || has(self.usernameSecretRef)) && has(self.passwordSecretRef))").message("PLAIN and SCRAM need username or usernameSecretRef, and passwordSecretRef"))]
#[x_kube(validation = Rule::new("self.mechanism != 'OAUTHBEARER' || (has(self.oauth) && !has(self.username) && !has(self.usernameSecretRef) && !has(self.passwordSecretRef))").message("OAUTHBEARER needs oauth, and neither user name nor password"))]
#[x_kube(validation = Rule::new("self.mechanism == 'OAUTHBEARER' || !has(self.oauth)").message("only OAUTHBEARER uses oauth"))]
#[x_kube(validation = Rule::new("!has(self.username) || !has(self.usernameSecretRef)").message("give one of username and usernameSecretRef"))]
pub struct Sasl {
    /// How to log in. `PLAIN` and the `SCRAM` mechanisms need a user name and a password, `OAUTHBEARER` needs `oauth`.
    pub mechanism: SaslMechanism,
    /// The user name, as it is: it is no secret. With Strimzi, the name of the `KafkaUser`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub username: Option<String>,
    /// The user name, from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretKeyRef>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Where to fetch tokens, for `OAUTHBEARER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
}

/// The SASL mechanisms, by their registered names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// RFC 4616; use it with TLS only.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// RFC 5802 with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// RFC 7628, with OAuth 2 client credentials.
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

impl SaslMechanism {
    /// The registered name, which is also librdkafka's.
    pub fn as_str(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            SaslMechanism::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// OAuth 2 client credentials (RFC 6749 §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.tokenUrl.matches('^[^/?#]*//[^/?#]*@')")
    .message("a login in tokenUrl would stand in a ConfigMap: take it out, the client's id and secret come from Secrets"))]
pub struct OAuth {
    /// The token endpoint, `https://…`.
    pub token_url: String,
    /// The client's id.
    pub client_id_secret_ref: SecretKeyRef,
    /// The client's secret.
    pub client_secret_secret_ref: SecretKeyRef,
    /// The scope to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(text: Value) -> KafkaConnectionSpec {
        serde_json::from_value(text).expect("a connection")
    }

    #[test]
    fn what_a_borrowed_connection_reads_is_all_in_one_secret_and_each_value_has_its_origin() {
        let key = |name: &str, key: &str| json!({"name": name, "key": key});
        let all = spec(json!({
            "bootstrapServers": ["a:1"],
            "tls": {"caConfigMapRef": key("trust", "bundle"), "clientCertificateSecretRef":
                {"name": "user", "certificateKey": "user.crt", "privateKeyKey": "user.key"}},
            "sasl": {"mechanism": "SCRAM-SHA-512", "usernameSecretRef": key("login", "u"), "passwordSecretRef": key("login", "p")},
            "allowedNamespaces": ["a", "b"],
        }));
        let Borrowed { spec: lent, values } = all.borrowed("a", "copy");
        let read = |source: &Source, keys: &[&str]| (source.clone(), keys.iter().map(|k| (*k).to_owned()).collect());
        let keys = ["ca.crt", "password", "tls.crt", "tls.key", "username"];
        assert_eq!(KafkaConnection::secrets(&lent), [read(&Source::Secret("copy".into()), &keys)].into());
        assert_eq!(values.keys().collect::<Vec<_>>(), keys);
        let origins = values.values().map(|(source, key)| format!("{source} {key}")).collect::<Vec<_>>();
        let expected = [
            "ConfigMap `trust` bundle",
            "Secret `login` p",
            "Secret `user` user.crt",
            "Secret `user` user.key",
            "Secret `login` u",
        ];
        assert_eq!(origins, expected);
        assert!(lent.allows("a", "platform") && !lent.allows("b", "platform"), "it is for one namespace");
        assert_eq!(all.borrowed("a", "copy").spec.bootstrap_servers, all.bootstrap_servers);
    }

    #[test]
    fn tokens_are_fetched_by_a_borrowed_connection_too_and_a_plain_one_reads_nothing() {
        let key = |key: &str| json!({"name": "client", "key": key});
        let by_token = spec(json!({"bootstrapServers": ["a:1"], "sasl": {"mechanism": "OAUTHBEARER", "oauth":
            {"tokenUrl": "https://a/token", "clientIdSecretRef": key("id"), "clientSecretSecretRef": key("secret")}}}));
        let Borrowed { spec: lent, values } = by_token.borrowed("a", "copy");
        assert_eq!(values.keys().collect::<Vec<_>>(), ["client-id", "client-secret"]);
        let read = KafkaConnection::secrets(&lent);
        assert_eq!(read.keys().collect::<Vec<_>>(), [&Source::Secret("copy".into())]);
        let plain = spec(json!({"bootstrapServers": ["a:1"]}));
        assert_eq!(plain.borrowed("a", "copy").values, BTreeMap::new());
        assert!(plain.allows("own", "own") && !plain.allows("a", "own"));
    }
}
