//! What a connection says of itself is what its workers met.

use std::time::Duration;

use edgereel_tests::{resources::resource, wait};
use serde_json::json;

use crate::{
    kube::Kind,
    lab::{Lab, condition},
    world::World,
};

pub fn a_connection_is_ready_when_a_worker_has_reached_it(world: &World) {
    let lab = Lab::open(world, "connections");
    let connection =
        |name: &str, server: &str| resource("KafkaConnection", name, json!({"bootstrapServers": [server]}));
    let brokers = world.kafka.bootstrap().split(',').next().unwrap_or_default().to_owned();
    // Nothing listens there.
    let nowhere = format!("{}:1", world.settings.host);
    lab.apply(&[connection("good", &brokers), connection("away", &nowhere)]);
    for name in ["good", "away"] {
        lab.await_reason(Kind::Connection, name, "Ready", "NotUsed");
        let object = lab.look(Kind::Connection, name).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(condition(&object, "Accepted").map(|c| &c["status"]), Some(&json!("True")), "{object:#}");
    }
    let camera = |name: &str| lab.synthetic(name, json!({"kafka": {"connectionRef": {"name": name}}}));
    lab.apply(&[camera("good"), camera("away")]);
    let good = lab.await_reason(Kind::Connection, "good", "Ready", "Running");
    assert!(good.starts_with("1 of 1 workers that have tried reach it"), "{good}");
    // A worker is connected a moment before it knows by which names its brokers go.
    wait::until("the brokers are named", Duration::from_secs(60), || {
        let object = lab.look(Kind::Connection, "good").unwrap_or_else(|e| panic!("{e:#}"));
        condition(&object, "Ready").is_some_and(|ready| ready["message"].to_string().contains("reach it, at "))
    });
    let away = lab.await_reason(Kind::Connection, "away", "Ready", "KafkaUnreachable");
    assert!(away.contains(&nowhere), "{away}");
    lab.run(&["delete", "cam", "good", "--timeout=60s"]);
    lab.await_reason(Kind::Connection, "good", "Ready", "NotUsed");
}
