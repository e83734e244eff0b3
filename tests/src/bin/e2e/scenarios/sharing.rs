//! A connection of one namespace, and its credentials, in another.

use anyhow::bail;
use edgereel_tests::resources::resource;
use serde_json::{Value, json};

use super::secured_kafka::{login, trust};
use crate::{
    kube::{Kind, until},
    lab::{Lab, name_of},
    world::World,
};

pub fn a_connection_is_used_where_its_own_namespace_allows_it_and_no_longer(world: &World) {
    let (kafka, platform, lab) = (world.secure_kafka(), Lab::open(world, "platform"), Lab::open(world, "tenant"));
    let spec = json!({
        "bootstrapServers": [kafka.bootstrap()],
        "tls": {"caConfigMapRef": {"name": "trust", "key": "ca.crt"}},
        "sasl": {"mechanism": "SCRAM-SHA-512", "username": "admin", "passwordSecretRef": {"name": "admin", "key": "password"}},
    });
    platform.apply(&[trust(kafka), login("admin", "of yesterday"), resource("KafkaConnection", "edge", spec)]);
    let reference = json!({"connectionRef": {"name": "edge", "namespace": platform.namespace}});
    lab.apply(&[lab.synthetic("cam", json!({"kafka": reference}))]);
    let message = lab.await_reason(Kind::Camera, "cam", "Stalled", "ConnectionNotAllowed");
    assert!(message.contains(&format!("add `{}` to its `spec.allowedNamespaces`", lab.namespace)), "{message}");
    assert!(lab.workload(Kind::Camera, "cam").is_err(), "nothing runs");

    let allow = |namespaces: &[&str]| {
        platform.edit(Kind::Connection, "edge", &json!({"allowedNamespaces": namespaces}));
    };
    allow(&[&lab.namespace]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "KafkaUnauthorized");
    assert!(message.contains(&platform.namespace), "whose login it is: {message}");
    platform.apply(&[login("admin", &kafka.admin_password())]);
    lab.await_ready(Kind::Camera, "cam");
    let reached = platform.await_reason(Kind::Connection, "edge", "Ready", "Running");
    assert!(reached.contains("the login works"), "{reached}");
    platform.until(Kind::Connection, "edge", "it has one user", |edge| edge["status"]["users"] == 1);
    let all = lab.kube().list(Kind::ConfigMap, Some(&lab.namespace), "");
    assert!(!json!(all).to_string().contains(&kafka.admin_password()), "a password in a ConfigMap");

    allow(&[]);
    lab.await_reason(Kind::Camera, "cam", "Stalled", "ConnectionNotAllowed");
    until("its pod and the copy are gone", || {
        let ours = "app.kubernetes.io/managed-by=edgereel-operator";
        let list = |kind| lab.kube().try_list(kind, Some(&lab.namespace), ours);
        let left: Vec<Value> = [list(Kind::Secret)?, list(Kind::Deployment)?, list(Kind::Pod)?].concat();
        if left.is_empty() { Ok(()) } else { bail!("{:?}", left.iter().map(name_of).collect::<Vec<_>>()) }
    });
}
