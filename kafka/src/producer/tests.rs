//! A producer without brokers: whatever its end, each record has one report.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, channel},
    thread,
};

use edgereel_crds::{KafkaConnectionSpec, camera_stream::Producer as Settings, name::ObjectName};

use super::*;

#[test]
fn each_failed_delivery_counts_under_its_own_reason() {
    for (code, expected) in [
        (Code::MessageTimedOut, Fate::TimedOut),
        (Code::MessageSizeTooLarge, Fate::TooLarge),
        (Code::PurgeQueue, Fate::Stopped),
        (Code::PurgeInflight, Fate::Stopped),
        (Code::TopicAuthorizationFailed, Fate::Refused),
        (Code::NotEnoughReplicas, Fate::Refused),
    ] {
        assert_eq!(fate(&KafkaError::MessageProduction(code)), expected, "{code:?}");
    }
}

/// A report, and the thread that told it.
type Told = (Delivery<u64>, Option<String>);

/// A producer that holds these records, which no broker will ever take.
fn holding(records: u64) -> (FrameProducer<u64>, Receiver<Told>) {
    let spec = KafkaConnectionSpec {
        allowed_namespaces: Default::default(),
        bootstrap_servers: vec!["127.0.0.1:1".into()],
        tls: None,
        sasl: None,
        properties: BTreeMap::new(),
    };
    let connection = Connection { name: ObjectName { namespace: "default".into(), name: "lab".into() }, spec };
    let settings = Settings::default();
    let options = Options {
        client_id: "test".into(),
        role: Role::Camera,
        topic: "t",
        settings: &settings,
        budget: 1 << 20,
        limit: 1 << 20,
        patient: false,
    };
    let (told, reports) = channel();
    let on_delivery = move |delivery| {
        let thread = thread::current().name().map(str::to_owned);
        told.send((delivery, thread)).expect("the test waits for it");
    };
    let producer = FrameProducer::new(&connection, &Secrets::default(), &options, on_delivery).expect("a producer");
    for token in 0..records {
        let headers: [(&str, Option<&[u8]>); 0] = [];
        let record = Record { key: None, value: Some(b"x"), headers, timestamp: Timestamp::now() };
        producer.send(record, token).expect("room");
    }
    (producer, reports)
}

#[test]
fn what_an_abandoned_producer_holds_is_told_its_failure_once_and_counts_as_failed() {
    let (producer, reports) = holding(50);
    let failure = KafkaFault::passing(Reason::TopicMissing, "there is no topic t");
    assert_eq!(producer.abandon(Duration::from_millis(50), failure.clone()), 50);
    let told: BTreeMap<u64, Undelivered> =
        reports.iter().map(|(delivery, _)| (delivery.token, delivery.result.expect_err("no broker"))).collect();
    assert_eq!(told.len(), 50);
    let expected = Undelivered { fate: Fate::Refused, fault: failure };
    assert!(told.values().all(|undelivered| *undelivered == expected), "{told:?}");
}

#[test]
fn a_producer_that_is_just_dropped_ends_on_its_own_thread_and_each_record_has_its_report() {
    let (producer, reports) = holding(50);
    drop(producer);
    let told: Vec<Told> = reports.iter().collect();
    assert_eq!(told.len(), 50);
    for (delivery, thread) in told {
        // Nobody closed it: something failed.
        assert_eq!(delivery.result.expect_err("no broker").fate, Fate::Refused);
        assert_eq!(thread.as_deref(), Some("kafka producer"));
    }
}

#[test]
fn what_librdkafka_never_reports_is_told_when_the_client_ends_and_a_late_report_is_not_told_again() {
    let (producer, reports) = holding(3);
    producer.reports().settle();
    assert_eq!(reports.try_iter().count(), 3);
    assert_eq!(producer.in_flight_bytes(), 0);
    assert_eq!(producer.close(Duration::ZERO), 0, "librdkafka's own reports come now");
    assert_eq!(reports.iter().count(), 0);
}
