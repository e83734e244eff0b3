//! The rules of a `KafkaConnection`.

use crate::table;

#[test]
fn a_connection_keeps_to_its_rules() {
    let server = "[\"10.1.56.46:9092\"]";
    let spec = "  bootstrapServers: [\"10.1.56.46:9092\"]\n";
    let with = |more: &str| format!("{spec}  {more}\n");
    table(&[
        (server, "[\"[::1]:9092\"]", ""),
        (server, "[]", "5:3: KafkaConnection/lab: spec.bootstrapServers: the list is empty; give at least one"),
        (
            server,
            "[kafka]",
            "5:22: KafkaConnection/lab: spec.bootstrapServers[0]: `kafka` has no port; write \
             `host:port`, as in `10.1.56.46:9092` or `[::1]:9092`",
        ),
        (
            server,
            "[\"kafka:0\"]",
            "5:22: KafkaConnection/lab: spec.bootstrapServers[0]: `kafka:0` has no valid port; write \
             `host:port`, as in `10.1.56.46:9092` or `[::1]:9092`",
        ),
        (
            server,
            "[\"kafka:99999\"]",
            "5:22: KafkaConnection/lab: spec.bootstrapServers[0]: `kafka:99999` has no valid port; write \
             `host:port`, as in `10.1.56.46:9092` or `[::1]:9092`",
        ),
        (
            server,
            "[\"a b:1\"]",
            "5:22: KafkaConnection/lab: spec.bootstrapServers[0]: `a b:1` has no valid host; write \
             `host:port`, as in `10.1.56.46:9092` or `[::1]:9092`",
        ),
        (
            server,
            "[\"PLAINTEXT://kafka:9092\"]",
            "5:22: KafkaConnection/lab: spec.bootstrapServers[0]: `PLAINTEXT://kafka:9092` has a scheme, \
             which is decided by `tls` and `sasl`; write `host:port`, as in `10.1.56.46:9092` or \
             `[::1]:9092`",
        ),
        (spec, &with("tls: {caConfigMapRef: {name: ca, key: ca.crt}}"), ""),
        (
            spec,
            &with("tls: {caSecretRef: {name: a, key: b}, caConfigMapRef: {name: ca, key: ca.crt}}"),
            "6:41: KafkaConnection/lab: spec.tls.caConfigMapRef: there is `caSecretRef` beside it; keep one of them",
        ),
        (
            spec,
            &with("sasl: {mechanism: PLAIN}"),
            "6:3: KafkaConnection/lab: spec.sasl.passwordSecretRef: it is missing, and `PLAIN` needs it; \
             name the Secret and its key: `{name: …, key: …}`\n\
             6:3: KafkaConnection/lab: spec.sasl.usernameSecretRef: it is missing, and `PLAIN` needs it; \
             name the Secret and its key: `{name: …, key: …}`",
        ),
        (
            spec,
            &with("sasl: {mechanism: OAUTHBEARER}"),
            "6:3: KafkaConnection/lab: spec.sasl.oauth: it is missing, and `OAUTHBEARER` needs it; give \
             `tokenUrl`, `clientIdSecretRef` and `clientSecretSecretRef`",
        ),
        (
            spec,
            &with(
                "sasl: {mechanism: OAUTHBEARER, oauth: {tokenUrl: \"https://ann:pw@a/token\", \
                 clientIdSecretRef: {name: a, key: b}, clientSecretSecretRef: {name: a, key: b}}}",
            ),
            "6:52: KafkaConnection/lab: spec.sasl.oauth.tokenUrl: a login in the URL would stand in a ConfigMap, for all who \
             may read those; take it out: the client's id and secret come from `clientIdSecretRef` and `clientSecretSecretRef`",
        ),
        (
            spec,
            &with("sasl: {mechanism: SCRAM-SHA-1}"),
            "6:21: KafkaConnection/lab: spec.sasl.mechanism: `SCRAM-SHA-1` is not known here; did you \
             mean `SCRAM-SHA-512`? Allowed: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`",
        ),
        (spec, &with("properties: {socket.keepalive.enable: \"true\"}"), ""),
        (
            spec,
            &with("properties: {group.id: x}"),
            "6:26: KafkaConnection/lab: spec.properties[\"group.id\"]: Edgereel decides this setting \
             itself; use the FrameSink's `group`",
        ),
        (
            spec,
            &with("properties: {sasl.username: x}"),
            "6:31: KafkaConnection/lab: spec.properties[\"sasl.username\"]: Edgereel decides this \
             setting itself; use `sasl`",
        ),
        (
            spec,
            &with("properties: {compression.codec: x}"),
            "6:35: KafkaConnection/lab: spec.properties[\"compression.codec\"]: Edgereel decides this \
             setting itself; use the CameraStream's `producer.compression`",
        ),
        (
            spec,
            &with("properties: {Group: x}"),
            "6:23: KafkaConnection/lab: spec.properties.Group: this is not a librdkafka setting; its \
             settings are in small letters with dots between",
        ),
    ]);
}
