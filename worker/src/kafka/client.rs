//! A `KafkaConnection` as a client's configuration.

use std::collections::BTreeMap;

use edgereel_crds::{
    common::SecretKeyRef,
    kafka_connection::{KafkaTls, Sasl, SaslMechanism},
    plan::Connection,
    status::Reason,
};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

pub use super::{
    context::Context,
    fault::{KafkaFault, Subject},
    health::{Health, Snapshot},
};
use crate::secrets::Secrets;

/// Our own defaults; `properties` may set them otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // A NAT or firewall that forgets idle connections is noticed.
    ("socket.keepalive.enable", "true"),
    // An edge node comes back to a restarted broker within seconds, not ten.
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "3000"),
    ("socket.connection.setup.timeout.ms", "10000"),
    // New topics and new leaders are noticed within half a minute instead of five.
    ("topic.metadata.refresh.interval.ms", "30000"),
];

/// Settings that Edgereel decides itself, beside those that the configuration below sets. A family ends in `.`.
const OWNED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.",
    "auto.offset.reset",
    "batch.size",
    "builtin.features",
    "client.rack",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "enable.sasl.",
    "enable.ssl.",
    "group.",
    "linger.ms",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "offset.store.",
    "partition.assignment.strategy",
    "partitioner",
    // Loads a library into the process.
    "plugin.",
    "queue.buffering.",
    "request.required.acks",
    "request.timeout.ms",
    // Runs a command (`sasl.kerberos.kinit.cmd`), or shows in the wrong place.
    "sasl.",
    "session.timeout.ms",
    "socket.timeout.ms",
    "ssl.ca.",
    "ssl.certificate.",
    "ssl.crl.",
    "ssl.endpoint.",
    "ssl.engine.",
    "ssl.key.",
    "ssl.keystore.",
    "ssl.providers",
    "sticky.partitioning.linger.ms",
    // Replaces the brokers by a mock.
    "test.",
    "transaction.",
    "transactional.id",
];

/// The configuration for any client of a connection: brokers, login, our defaults and the connection's `properties`. A
/// producer or consumer adds its own settings, which `properties` cannot touch.
///
/// Fails when a secret is missing or a property is refused; a wrong PEM is only found when the client is made.
pub fn client_config(connection: &Connection, secrets: &Secrets, client_id: &str) -> Result<ClientConfig, KafkaFault> {
    let subject = Subject::new(connection);
    let settings = settings(connection, secrets, client_id, &subject)?;
    let mut config = ClientConfig::new();
    config.extend(settings);
    // The health needs the lines about lost connections; what is shown is the subscriber's matter.
    config.set_log_level(RDKafkaLogLevel::Info);
    config.create_native_config().map_err(|e| subject.fault(&e))?;
    Ok(config)
}

fn settings(
    connection: &Connection,
    secrets: &Secrets,
    client_id: &str,
    subject: &Subject,
) -> Result<BTreeMap<String, String>, KafkaFault> {
    let spec = &connection.spec;
    let secret = SecretText { secrets, namespace: &connection.name.namespace };
    let mut owned = BTreeMap::from([
        ("bootstrap.servers", spec.bootstrap_servers.join(",")),
        ("client.id", client_id.to_owned()),
        ("security.protocol", security_protocol(spec.tls.is_some(), spec.sasl.is_some()).to_owned()),
        // Often enough for the health; each second would cost more than a camera's frames.
        ("statistics.interval.ms", "5000".to_owned()),
        // `ensure` decides about topics: a look at one that is not there must not make it.
        ("allow.auto.create.topics", "false".to_owned()),
    ]);
    if let Some(tls) = &spec.tls {
        owned.extend(tls_settings(tls, &secret)?);
    }
    if let Some(sasl) = &spec.sasl {
        owned.extend(sasl_settings(sasl, &secret, subject)?);
    }
    let mut all: BTreeMap<String, String> = DEFAULTS.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    for (key, value) in &spec.properties {
        if owned.contains_key(key.as_str()) || is_owned(key) {
            let words =
                "Edgereel decides this setting itself; take it out (the resources have fields for what may be set)";
            return Err(subject.misconfigured(&format!("properties[{key}]"), words));
        }
        all.insert(key.clone(), value.clone());
    }
    all.extend(owned.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(all)
}

/// Whether a librdkafka setting is Edgereel's own.
fn is_owned(key: &str) -> bool {
    OWNED.iter().any(|owned| key == *owned || owned.ends_with('.') && key.starts_with(owned))
}

fn security_protocol(tls: bool, sasl: bool) -> &'static str {
    match (tls, sasl) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    }
}

type Settings = Vec<(&'static str, String)>;

fn tls_settings(tls: &KafkaTls, secret: &SecretText) -> Result<Settings, KafkaFault> {
    let identification = if tls.verify_hostname { "https" } else { "none" };
    let mut settings = vec![("ssl.endpoint.identification.algorithm", identification.to_owned())];
    match &tls.ca_secret_ref {
        Some(ca) => settings.push(("ssl.ca.pem", secret.pem("spec.tls.caSecretRef", &ca.name, &ca.key)?)),
        // librdkafka's own OpenSSL knows no place for the system's authorities: look in the usual ones.
        None => settings.push(("ssl.ca.location", "probe".to_owned())),
    }
    if let Some(client) = &tls.client_certificate_secret_ref {
        let field = "spec.tls.clientCertificateSecretRef";
        settings.push(("ssl.certificate.pem", secret.pem(field, &client.name, "tls.crt")?));
        settings.push(("ssl.key.pem", secret.pem(field, &client.name, "tls.key")?));
    }
    Ok(settings)
}

fn sasl_settings(sasl: &Sasl, secret: &SecretText, subject: &Subject) -> Result<Settings, KafkaFault> {
    let mechanism = sasl.mechanism;
    let mut settings = vec![("sasl.mechanism", mechanism.as_str().to_owned())];
    let need = |field: &'static str| subject.misconfigured(field, format!("{} needs it", mechanism.as_str()));
    match mechanism {
        SaslMechanism::OAuthBearer if sasl.oauth.is_none() => return Err(need("sasl.oauth")),
        // Tokens come through the context.
        SaslMechanism::OAuthBearer => {}
        SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
            for (key, field, reference) in [
                ("sasl.username", "sasl.usernameSecretRef", &sasl.username_secret_ref),
                ("sasl.password", "sasl.passwordSecretRef", &sasl.password_secret_ref),
            ] {
                let reference = reference.as_ref().ok_or_else(|| need(field))?;
                settings.push((key, secret.text(&format!("spec.{field}"), reference)?));
            }
        }
    }
    Ok(settings)
}

/// Secrets of the connection's namespace, whose faults name the field.
struct SecretText<'a> {
    secrets: &'a Secrets,
    namespace: &'a str,
}

impl SecretText<'_> {
    fn get(&self, field: &str, name: &str, key: &str) -> Result<String, KafkaFault> {
        let text = self.secrets.text(self.namespace, name, key);
        text.map_err(|e| KafkaFault::lasting(Reason::SecretMissing, format!("{field}: {e}")))
    }

    fn text(&self, field: &str, reference: &SecretKeyRef) -> Result<String, KafkaFault> {
        self.get(field, &reference.name, &reference.key)
    }

    fn pem(&self, field: &str, name: &str, key: &str) -> Result<String, KafkaFault> {
        let text = self.get(field, name, key)?;
        if !text.contains("-----BEGIN ") {
            let words = format!("{field}: key `{key}` of secret `{name}` is not PEM (`-----BEGIN …`)");
            return Err(KafkaFault::lasting(Reason::InvalidConfiguration, words));
        }
        Ok(text)
    }
}
