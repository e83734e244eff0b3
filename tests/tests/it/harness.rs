//! The harness itself keeps its promises.

use std::time::Duration;

use edgereel_tests::{
    kafka::{self, Cluster, Options, topics::NewRecord},
    unique, wait,
};

#[test]
fn the_shared_broker_gives_back_what_was_produced() {
    let (kafka, topic) = (kafka::shared(), unique("harness"));
    kafka.create_topic(&topic, 3, &[("retention.ms", "604800000")]);
    kafka.produce(&topic, (0..30u8).map(|n| NewRecord { key: Some(vec![n]), ..NewRecord::value(vec![n; 9]) }));
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len(), 30);
    assert!(records.iter().all(|r| r.key.as_ref().map(|k| k[0]) == r.value.as_ref().map(|v| v[8])));
    assert_eq!((kafka.record_count(&topic), kafka.lag(&unique("nobody"), &topic).expect("known")), (30, 30));
}

#[test]
fn the_secure_broker_knows_admin_and_nobody_else() {
    let kafka = kafka::secure();
    let topic = unique("secure");
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, [NewRecord::value("x")]);
    assert_eq!(kafka.consume_all(&topic).len(), 1);
    assert_ne!(kafka.admin_password(), kafka.guest_password());
    assert!(kafka.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn three_brokers_survive_the_loss_of_one_and_take_it_back() {
    let kafka = Cluster::start(3, Options::default()).expect("starts");
    let topic = unique("three");
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, (0..10).map(|n| NewRecord::value(vec![n])));
    kafka.kill(1);
    wait::until("the two others lead every partition", Duration::from_secs(30), || {
        kafka.offsets(&topic).is_ok_and(|o| o.iter().map(|(_, high)| high).sum::<i64>() == 10)
    });
    kafka.produce(&topic, (10..20).map(|n| NewRecord::value(vec![n])));
    kafka.restart(1);
    assert_eq!(kafka.consume_all(&topic).len(), 20);
}
