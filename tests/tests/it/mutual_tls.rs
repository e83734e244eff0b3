//! Brokers that know their clients by certificate.

use std::fs;

use edgereel_tests::{
    Edgereel,
    kafka::{Cluster, Options},
    resources, scratch, unique,
};
use serde_json::{Value, json};

use crate::support::{condition, is_ready, jpeg_files};

/// A broker that takes no client without a certificate of its authority.
fn cluster() -> Cluster {
    let settings =
        ["listener.security.protocol.map=CLIENT:SSL,CONTROLLER:SSL", "listener.name.client.ssl.client.auth=required"];
    let settings = settings.map(Into::into).to_vec();
    Cluster::start(1, Options { secure: true, settings, ..Options::default() }).expect("a broker")
}

/// A camera and a sink of its frames over a connection with this `tls`.
fn run(kafka: &Cluster, tls: Value) -> Edgereel {
    let (secrets, secure) = (scratch::dir("secrets"), kafka.dir().join("secure"));
    // The broker's own certificate is a client's too, and the one that may do everything.
    for (from, to) in [
        ("ca.crt", "kafka/ca.crt"),
        ("ca.crt", "configmap_trust/ca.crt"),
        ("node.crt", "edge/tls.crt"),
        ("node.key", "edge/tls.key"),
    ] {
        let to = secrets.join(to);
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::copy(secure.join(from), to).expect("copied");
    }
    let topic = unique("mutual");
    let mut connection = resources::connection(kafka.bootstrap());
    connection["spec"]["tls"] = tls;
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let file = resources::write(&[
        connection,
        resources::camera("cam", source, &topic, json!({})),
        resources::sink("frames", &topic, jpeg_files(""), &scratch::dir("disk"), json!({})),
    ]);
    Edgereel::run_args([file], &["--secrets-dir", &secrets.to_string_lossy()])
}

#[test]
fn a_client_certificate_opens_the_broker_and_without_one_the_resource_says_what_is_missing() {
    let kafka = cluster();
    let ca = json!({"name": "kafka", "key": "ca.crt"});
    let trust = json!({"name": "trust", "key": "ca.crt"});
    for authority in [json!({"caSecretRef": ca}), json!({"caConfigMapRef": trust})] {
        let mut tls = json!({"clientCertificateSecretRef": {"name": "edge"}});
        tls.as_object_mut().expect("an object").extend(authority.as_object().expect("an object").clone());
        let known = run(&kafka, tls);
        known.await_metrics("frames are durable", |m| m.count("sink_frames_durable", "frames") > 30);
        assert!(known.stop().success());
    }
    let unknown = run(&kafka, json!({"caSecretRef": ca}));
    let says = |entry: &Value| condition(entry, "Ready")["message"].to_string();
    for resource in ["cam", "frames"] {
        let entry = unknown
            .await_status_of(resource, "says why", |entry| !is_ready(entry) && says(entry).contains("certificate"));
        assert!(says(&entry).contains("lab"), "{entry:#}");
    }
    assert!(unknown.stop().success());
}
