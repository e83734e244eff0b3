//! What a `KafkaConnection` has to keep to.

use super::Report;
use crate::{
    api::{
        common::has_login,
        kafka_connection::{KafkaConnectionSpec, Sasl, SaslMechanism},
    },
    problem::{FieldPath, shown},
};

/// librdkafka's settings that Edgereel decides, and where to say it instead. A `*` stands for any ending.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use `bootstrapServers`"),
    ("metadata.broker.list", "use `bootstrapServers`"),
    ("client.id", "Edgereel names its clients after their resources"),
    ("security.protocol", "use `tls` and `sasl`"),
    ("sasl.*", "use `sasl`"),
    ("enable.sasl.*", "use `sasl`"),
    ("ssl.ca.*", "use `tls.caSecretRef` or `tls.caConfigMapRef`"),
    ("ssl.certificate.*", "use `tls.clientCertificateSecretRef`"),
    ("ssl.key.*", "use `tls.clientCertificateSecretRef`"),
    ("ssl.keystore.*", "use `tls.clientCertificateSecretRef`"),
    ("ssl.endpoint.*", "use `tls.verifyHostname`"),
    ("enable.ssl.certificate.verification", "use `tls.caSecretRef` with the certificate to trust"),
    ("group.id", "use the FrameSink's `group`"),
    ("group.instance.id", "Edgereel decides it for each worker"),
    ("group.protocol*", "Edgereel needs the classic protocol's guarantees"),
    ("group.remote.assignor", "Edgereel decides how partitions are shared"),
    ("partition.assignment.strategy", "Edgereel decides how partitions are shared"),
    ("session.timeout.ms", "Edgereel's lease on its files depends on it"),
    ("heartbeat.interval.ms", "Edgereel's lease on its files depends on it"),
    ("max.poll.interval.ms", "Edgereel's lease on its files depends on it"),
    ("enable.auto.commit", "offsets are committed when frames are durable: use the FrameSink's `durability`"),
    ("auto.commit.*", "offsets are committed when frames are durable: use the FrameSink's `durability`"),
    ("enable.auto.offset.store", "offsets are committed when frames are durable: use the FrameSink's `durability`"),
    ("offset.store.*", "offsets are committed when frames are durable: use the FrameSink's `durability`"),
    ("auto.offset.reset", "use the FrameSink's `startFrom` and `onOffsetLost`"),
    ("enable.partition.eof", "Edgereel decides it"),
    ("isolation.level", "Edgereel reads what is committed"),
    ("acks", "use the CameraStream's `producer.acks`"),
    ("request.required.acks", "use the CameraStream's `producer.acks`"),
    ("enable.idempotence", "Edgereel decides it by the CameraStream's `producer.acks`"),
    ("compression.*", "use the CameraStream's `producer.compression`"),
    ("linger.ms", "use the CameraStream's `producer.linger`"),
    ("queue.buffering.*", "use the CameraStream's `buffer.memory` and `producer.linger`"),
    ("batch.*", "use the CameraStream's `producer.batchBytes`"),
    ("message.max.bytes", "use the CameraStream's `encoding.maxFrameBytes`"),
    ("message.timeout.ms", "use the CameraStream's `producer.deliveryTimeout`"),
    ("delivery.timeout.ms", "use the CameraStream's `producer.deliveryTimeout`"),
    ("allow.auto.create.topics", "use the CameraStream's `topic.ensure`"),
    ("partitioner", "use the CameraStream's `topic.key`"),
    ("sticky.partitioning.linger.ms", "use the CameraStream's `topic.key`"),
    ("max.in.flight*", "Edgereel keeps records in order"),
    ("enable.gapless.guarantee", "Edgereel decides it by the CameraStream's `producer.acks`"),
    ("request.timeout.ms", "use the CameraStream's `producer.deliveryTimeout`"),
    ("socket.timeout.ms", "Edgereel's lease on its files depends on it"),
    ("transaction*", "Edgereel sends without transactions"),
    ("ssl.crl.*", "use `tls`"),
    ("ssl.engine.*", "Edgereel loads no libraries"),
    ("ssl.providers", "Edgereel loads no libraries"),
    ("client.rack", "Edgereel reads from the leaders"),
    ("builtin.features", "they are fixed when Edgereel is built"),
    ("log.queue", "Edgereel writes the log"),
    ("test.*", "a mock would take the brokers' place"),
    ("statistics.interval.ms", "Edgereel decides how often it measures"),
    ("plugin.*", "Edgereel loads no libraries"),
    ("*_cb", "functions cannot be given in a resource"),
];

pub(super) fn check(spec: &KafkaConnectionSpec, report: &mut Report<'_>) {
    let servers = FieldPath::of("spec.bootstrapServers");
    report.unless(
        !spec.bootstrap_servers.is_empty(),
        "spec.bootstrapServers",
        "the list is empty",
        "give at least one",
    );
    for (n, server) in spec.bootstrap_servers.iter().enumerate() {
        if let Err(why) = host_and_port(server) {
            let remedy = "write `host:port`, as in `10.1.56.46:9092` or `[::1]:9092`";
            report.add(servers.index(n), format!("`{}` {why}", shown(server)), remedy);
        }
    }
    if let Some(tls) = &spec.tls {
        let both = tls.ca_secret_ref.is_some() && tls.ca_config_map_ref.is_some();
        report.unless(!both, "spec.tls.caConfigMapRef", "there is `caSecretRef` beside it", "keep one of them");
    }
    if let Some(sasl) = &spec.sasl {
        check_sasl(sasl, report);
    }
    for (key, value) in &spec.properties {
        let field = FieldPath::of("spec.properties").key(key);
        if let Some(remedy) = owned_setting(key) {
            report.add(field, "Edgereel decides this setting itself", remedy);
        } else if key.is_empty()
            || !key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b))
        {
            report.add(
                field,
                "this is not a librdkafka setting",
                "its settings are in small letters with dots between",
            );
        } else if value.contains('\0') {
            report.add(field, "the value holds a NUL character", "take it out");
        }
    }
}

/// What to use instead of a librdkafka setting that Edgereel decides itself; `None` for one that may be set.
pub fn owned_setting(key: &str) -> Option<&'static str> {
    OWNED.iter().find(|(pattern, _)| matches(pattern, key)).map(|(_, remedy)| *remedy)
}

fn matches(pattern: &str, key: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => key.starts_with(start) || start.strip_suffix('.') == Some(key),
        (_, Some(end)) => key.ends_with(end),
        _ => key == pattern,
    }
}

fn host_and_port(server: &str) -> Result<(), &'static str> {
    if server.contains("://") {
        return Err("has a scheme, which is decided by `tls` and `sasl`");
    }
    let (host, port) = server.rsplit_once(':').ok_or("has no port")?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_fine = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    if !host_is_fine {
        return Err("has no valid host");
    }
    match port.parse::<u16>() {
        Ok(1..) if port.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err("has no valid port"),
    }
}

fn check_sasl(sasl: &Sasl, report: &mut Report<'_>) {
    let mechanism = sasl.mechanism.as_str();
    let login = [
        ("spec.sasl.usernameSecretRef", sasl.username_secret_ref.is_some() || sasl.username.is_some()),
        ("spec.sasl.passwordSecretRef", sasl.password_secret_ref.is_some()),
    ];
    let by_token = sasl.mechanism == SaslMechanism::OAuthBearer;
    for (field, given) in login {
        match (by_token, given) {
            (true, true) => report.add(field, format!("`{mechanism}` does not use it"), "take it out"),
            (false, false) => report.add(
                field,
                format!("it is missing, and `{mechanism}` needs it"),
                "name the Secret and its key: `{name: …, key: …}`",
            ),
            _ => {}
        }
    }
    if sasl.username.is_some() && sasl.username_secret_ref.is_some() {
        report.add("spec.sasl.usernameSecretRef", "`username` is given too, and only one can be used", "take one out");
    }
    match (&sasl.oauth, by_token) {
        (Some(_), false) => report.add("spec.sasl.oauth", format!("`{mechanism}` does not use it"), "take it out"),
        (None, true) => report.add(
            "spec.sasl.oauth",
            format!("it is missing, and `{mechanism}` needs it"),
            "give `tokenUrl`, `clientIdSecretRef` and `clientSecretSecretRef`",
        ),
        (Some(oauth), true) => {
            report.unless(
                !has_login(&oauth.token_url),
                "spec.sasl.oauth.tokenUrl",
                "a login in the URL would stand in a ConfigMap, for all who may read those",
                "take it out: the client's id and secret come from `clientIdSecretRef` and `clientSecretSecretRef`",
            );
            let https = url::Url::parse(&oauth.token_url).is_ok_and(|url| url.scheme() == "https" && url.has_host());
            report.unless(
                https,
                "spec.sasl.oauth.tokenUrl",
                "this is not an `https://` URL",
                "write `https://host/path`",
            );
        }
        (None, false) => {}
    }
}
