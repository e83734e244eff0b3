//! A `KafkaConnection` as a client's configuration.

use std::collections::BTreeMap;

use edgereel_crds::{
    check::owned_setting,
    common::SecretKeyRef,
    kafka_connection::{KafkaTls, Sasl, SaslMechanism},
    plan::Connection,
    secret_uses::Source,
    status::Reason,
};
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

pub use super::{
    context::Context,
    fault::{KafkaFault, Role, Subject},
    health::{Health, Snapshot},
};
use edgereel_runtime::secrets::Secrets;

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
        // The check has refused these already; a plan that was made otherwise meets them here.
        if let Some(remedy) = owned_setting(key) {
            let words = format!("Edgereel decides this setting itself: {remedy}");
            return Err(subject.misconfigured(&format!("properties[{key}]"), words));
        }
        all.insert(key.clone(), value.clone());
    }
    all.extend(owned.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(all)
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
    match tls.ca() {
        Some(ca) => settings.push(("ssl.ca.pem", secret.pem(&format!("spec.tls.{}", ca.field), &ca.source, ca.key)?)),
        // librdkafka's own OpenSSL knows no place for the system's authorities: look in the usual ones.
        None => settings.push(("ssl.ca.location", "probe".to_owned())),
    }
    if let Some(client) = &tls.client_certificate_secret_ref {
        let field = "spec.tls.clientCertificateSecretRef";
        let source = Source::Secret(client.name.clone());
        settings.push(("ssl.certificate.pem", secret.pem(field, &source, client.certificate_key())?));
        settings.push(("ssl.key.pem", secret.pem(field, &source, client.private_key_key())?));
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
            let username = ("sasl.username", "sasl.usernameSecretRef", &sasl.username_secret_ref);
            let password = ("sasl.password", "sasl.passwordSecretRef", &sasl.password_secret_ref);
            settings.extend(sasl.username.iter().map(|name| ("sasl.username", name.clone())));
            let from_secrets = [username].into_iter().filter(|_| sasl.username.is_none()).chain([password]);
            for (key, field, reference) in from_secrets {
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
    fn get(&self, field: &str, source: &Source, key: &str) -> Result<String, KafkaFault> {
        let text = self.secrets.read(self.namespace, source, key);
        text.map_err(|e| KafkaFault::lasting(source.missing(), format!("{field}: {e}")))
    }

    fn text(&self, field: &str, reference: &SecretKeyRef) -> Result<String, KafkaFault> {
        self.get(field, &Source::Secret(reference.name.clone()), &reference.key)
    }

    fn pem(&self, field: &str, source: &Source, key: &str) -> Result<String, KafkaFault> {
        let text = self.get(field, source, key)?;
        if !text.contains("-----BEGIN ") {
            let words = match source {
                Source::Secret(name) => format!("{field}: key `{key}` of secret `{name}` is not PEM (`-----BEGIN …`)"),
                Source::ConfigMap(_) => format!("{field}: key `{key}` of {source} is not PEM (`-----BEGIN …`)"),
            };
            return Err(KafkaFault::lasting(Reason::InvalidConfiguration, words));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{
        KafkaConnectionSpec, common::ConfigMapKeyRef, kafka_connection::CertificateRef, name::ObjectName,
    };

    use super::*;

    fn connection(tls: Option<KafkaTls>, sasl: Option<Sasl>, properties: &[(&str, &str)]) -> Connection {
        let spec = KafkaConnectionSpec {
            allowed_namespaces: Default::default(),
            bootstrap_servers: vec!["a:9092".into(), "b:9092".into()],
            tls,
            sasl,
            properties: properties.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        };
        Connection { name: ObjectName { namespace: "default".into(), name: "lab".into() }, spec }
    }

    fn secrets() -> Secrets {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\n";
        let values = [
            ("user", "ann"),
            ("password", "s3cret"),
            ("ca", pem),
            ("tls.crt", pem),
            ("tls.key", "nonsense"),
            ("user.crt", pem),
            ("user.key", key),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let name = ObjectName { namespace: "default".into(), name: "kafka".into() };
        Secrets::new(None, BTreeMap::from([(name, BTreeMap::from(values))]))
    }

    fn secret(key: &str) -> Option<SecretKeyRef> {
        Some(SecretKeyRef { name: "kafka".into(), key: key.into() })
    }

    fn scram() -> Option<Sasl> {
        let mechanism = SaslMechanism::ScramSha512;
        let (username_secret_ref, password_secret_ref) = (secret("user"), secret("password"));
        Some(Sasl { mechanism, username: None, username_secret_ref, password_secret_ref, oauth: None })
    }

    fn settings_of(connection: &Connection) -> Result<BTreeMap<String, String>, KafkaFault> {
        settings(connection, &secrets(), "me", &Subject::new(connection))
    }

    #[test]
    fn tls_and_sasl_together_decide_the_protocol() {
        let tls = || Some(KafkaTls { verify_hostname: true, ..KafkaTls::default() });
        for (tls, sasl, protocol) in [
            (None, None, "plaintext"),
            (tls(), None, "ssl"),
            (None, scram(), "sasl_plaintext"),
            (tls(), scram(), "sasl_ssl"),
        ] {
            let settings = settings_of(&connection(tls, sasl, &[])).expect("complete");
            assert_eq!(settings["security.protocol"], protocol);
            assert_eq!(settings["bootstrap.servers"], "a:9092,b:9092");
        }
    }

    #[test]
    fn certificates_and_logins_come_from_the_secrets_and_nothing_is_written_to_files() {
        let tls = KafkaTls { ca_secret_ref: secret("ca"), verify_hostname: false, ..KafkaTls::default() };
        let settings = settings_of(&connection(Some(tls), scram(), &[])).expect("complete");
        assert!(settings["ssl.ca.pem"].starts_with("-----BEGIN"));
        assert_eq!(settings["ssl.endpoint.identification.algorithm"], "none");
        assert_eq!((&*settings["sasl.username"], &*settings["sasl.password"]), ("ann", "s3cret"));
        assert!(settings.keys().all(|key| !key.ends_with(".location")));
    }

    #[test]
    fn an_authority_comes_from_a_config_map_as_well() {
        let ca = |name: &str| Some(ConfigMapKeyRef { name: name.into(), key: "ca.crt".into() });
        let source = Source::ConfigMap("trust".into());
        let name = ObjectName { namespace: "default".into(), name: source.folder() };
        let pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
        let maps = Secrets::new(None, BTreeMap::from([(name, BTreeMap::from([("ca.crt".to_owned(), pem)]))]));
        let of = |ca| {
            let connection = connection(Some(KafkaTls { ca_config_map_ref: ca, ..KafkaTls::default() }), None, &[]);
            super::settings(&connection, &maps, "test", &Subject::new(&connection))
        };
        assert!(of(ca("trust")).expect("complete")["ssl.ca.pem"].starts_with("-----BEGIN"));
        let fault = of(ca("other")).expect_err("there is none");
        assert_eq!(fault.reason, Reason::ConfigMapMissing);
        assert!(fault.message.contains("spec.tls.caConfigMapRef: ConfigMap `other`"), "{fault}");
    }

    #[test]
    fn secrets_of_strimzis_users_are_taken_as_they_are() {
        let client = CertificateRef {
            name: "kafka".into(),
            certificate_key: Some("user.crt".into()),
            private_key_key: Some("user.key".into()),
        };
        let tls = KafkaTls { client_certificate_secret_ref: Some(client), ..KafkaTls::default() };
        let settings = settings_of(&connection(Some(tls), None, &[])).expect("complete");
        assert!(settings["ssl.certificate.pem"].contains("CERTIFICATE"));
        assert!(settings["ssl.key.pem"].contains("PRIVATE KEY"));
        let login = Sasl { username: Some("edge".into()), username_secret_ref: None, ..scram().expect("set") };
        let settings = settings_of(&connection(None, Some(login), &[])).expect("complete");
        assert_eq!((&*settings["sasl.username"], &*settings["sasl.password"]), ("edge", "s3cret"));
    }

    #[test]
    fn a_secret_that_is_missing_or_no_pem_is_named_with_its_field() {
        let client = CertificateRef { name: "kafka".into(), certificate_key: None, private_key_key: None };
        let no_key = KafkaTls { client_certificate_secret_ref: Some(client), ..KafkaTls::default() };
        let fault = settings_of(&connection(Some(no_key), None, &[])).expect_err("the key is nonsense");
        assert_eq!(fault.reason, Reason::InvalidConfiguration);
        assert!(fault.message.contains("spec.tls.clientCertificateSecretRef: key `tls.key`"), "{fault}");
        let no_ca = KafkaTls { ca_secret_ref: secret("nope"), ..KafkaTls::default() };
        let fault = settings_of(&connection(Some(no_ca), None, &[])).expect_err("there is none");
        assert_eq!(fault.reason, Reason::SecretMissing);
        assert!(fault.message.contains("spec.tls.caSecretRef") && fault.message.contains("DIR/kafka/nope"), "{fault}");
        let no_password = Sasl { password_secret_ref: None, ..scram().expect("set") };
        let fault = settings_of(&connection(None, Some(no_password), &[])).expect_err("needed");
        assert!(fault.message.contains("spec.sasl.passwordSecretRef: SCRAM-SHA-512 needs it"), "{fault}");
    }

    #[test]
    fn properties_override_defaults_and_never_what_edgereel_decides() {
        let own = connection(None, None, &[("socket.keepalive.enable", "false"), ("fetch.wait.max.ms", "20")]);
        let settings = settings_of(&own).expect("allowed");
        assert_eq!((&*settings["socket.keepalive.enable"], &*settings["fetch.wait.max.ms"]), ("false", "20"));
        for key in [
            "bootstrap.servers",
            "statistics.interval.ms",
            "acks",
            "group.id",
            "enable.auto.commit",
            "sasl.password",
            "sasl.kerberos.kinit.cmd",
            "ssl.key.location",
            "plugin.library.paths",
            "test.mock.num.brokers",
            "queue.buffering.max.kbytes",
        ] {
            let fault = settings_of(&connection(None, None, &[(key, "x")])).expect_err(key);
            assert_eq!((fault.reason, fault.retriable), (Reason::InvalidConfiguration, false));
            assert!(fault.message.contains(&format!("spec.properties[{key}]")), "{fault}");
        }
    }

    #[test]
    fn every_default_is_a_setting_that_librdkafka_knows() {
        let plain = connection(None, None, &[]);
        client_config(&plain, &secrets(), "me").expect("taken");
        let typo = connection(None, None, &[("socket.keepalive.enabled", "true")]);
        let fault = client_config(&typo, &secrets(), "me").expect_err("a typing error");
        assert!(fault.message.contains("properties[socket.keepalive.enabled]"), "{fault}");
    }
}
