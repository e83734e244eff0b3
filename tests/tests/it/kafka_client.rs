//! The Kafka client against real brokers: faults have their own words, and nothing acknowledged is lost.

mod oauth;

use std::{
    collections::{BTreeMap, HashSet},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use edgereel_crds::{
    KafkaConnectionSpec,
    camera_stream::{EnsureTopic, Producer as Settings, RecordKey, Topic},
    common::SecretKeyRef,
    kafka_connection::{KafkaTls, Sasl, SaslMechanism},
    name::ObjectName,
    plan::Connection,
    status::Reason,
    units,
};
use edgereel_kafka::{
    client::{KafkaFault, Snapshot},
    producer::{Delivery, Fate, FrameProducer, Options, Record, Role, SendError},
    topics::{self, TopicReport, Watermarks},
};
use edgereel_runtime::secrets::Secrets;
use edgereel_tests::{
    free_port,
    kafka::{self, Cluster},
    unique, wait,
};
use jiff::Timestamp;

/// A busy machine; what is awaited comes within a second or two on an idle one.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(name: &str) -> ObjectName {
    ObjectName { namespace: "default".into(), name: name.into() }
}

fn connection(bootstrap: &str) -> Connection {
    let spec = KafkaConnectionSpec {
        allowed_namespaces: Vec::new(),
        bootstrap_servers: bootstrap.split(',').map(Into::into).collect(),
        tls: None,
        sasl: None,
        properties: BTreeMap::new(),
    };
    Connection { name: name("lab"), spec }
}

fn key(key: &str) -> SecretKeyRef {
    SecretKeyRef { name: "login".into(), key: key.into() }
}

/// A SCRAM login over TLS, and the secrets for it.
fn login(cluster: &Cluster, user: &str, password: &str) -> (Connection, Secrets) {
    let mut connection = connection(cluster.bootstrap());
    connection.spec.tls =
        Some(KafkaTls { ca_secret_ref: Some(key("ca.crt")), verify_hostname: true, ..KafkaTls::default() });
    connection.spec.sasl = Some(Sasl {
        mechanism: SaslMechanism::ScramSha512,
        username: None,
        username_secret_ref: Some(key("username")),
        password_secret_ref: Some(key("password")),
        oauth: None,
    });
    let ca = cluster.ca_pem();
    (connection, secrets(&[("username", user), ("password", password), ("ca.crt", &ca)]))
}

fn secrets(values: &[(&str, &str)]) -> Secrets {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    Secrets::new(None, BTreeMap::from([(name("login"), values.collect())]))
}

fn topic(name: &str, partitions: i32, ensure: EnsureTopic) -> Topic {
    let (replication_factor, key, config) = (None, RecordKey::Camera, BTreeMap::new());
    Topic { name: name.into(), partitions, replication_factor, key, ensure, config }
}

fn block<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn ensure(connection: &Connection, secrets: &Secrets, topic: &Topic, bytes: u64) -> Result<TopicReport, KafkaFault> {
    block(topics::ensure(connection, secrets, topic, bytes))
}

/// A topic of its own on the shared broker.
fn made(prefix: &str, partitions: i32) -> String {
    let name = unique(prefix);
    kafka::shared().create_topic(&name, partitions, &[]);
    name
}

type Deliveries = Receiver<Delivery<u64>>;

fn producer(
    connection: &Connection,
    secrets: &Secrets,
    topic: &str,
    change: impl FnOnce(&mut Settings, &mut u64, &mut u64),
) -> (FrameProducer<u64>, Deliveries) {
    let (mut settings, mut budget, mut limit) = (Settings::default(), 64 << 20, 1_048_588);
    change(&mut settings, &mut budget, &mut limit);
    let options = Options {
        client_id: "test".into(),
        role: Role::Camera,
        topic,
        settings: &settings,
        budget,
        limit,
        patient: false,
    };
    let (sender, deliveries): (Sender<Delivery<u64>>, _) = channel();
    // A test may end before its last report.
    let on_delivery = move |delivery| drop(sender.send(delivery));
    let producer = FrameProducer::new(connection, secrets, &options, on_delivery).expect("a producer");
    (producer, deliveries)
}

fn no_change(_: &mut Settings, _: &mut u64, _: &mut u64) {}

/// Captured now: a broker that recovers its log forgets producers whose last record is older than a day, and could then not
/// tell a record that is sent again.
fn send(producer: &FrameProducer<u64>, key: Option<&[u8]>, value: &[u8], token: u64) -> Result<(), SendError> {
    send_at(producer, Timestamp::now(), key, value, token)
}

fn send_at(
    producer: &FrameProducer<u64>,
    timestamp: Timestamp,
    key: Option<&[u8]>,
    value: &[u8],
    token: u64,
) -> Result<(), SendError> {
    let headers = [("ce_id", Some(&b"s-1"[..])), ("empty", None)];
    producer.send(Record { key, value: Some(value), headers, timestamp }, token)
}

fn next(deliveries: &Deliveries) -> Delivery<u64> {
    deliveries.recv_timeout(PATIENCE).expect("a delivery report")
}

/// Waits for the health to be down and gives the fault.
fn down(producer: &FrameProducer<u64>) -> KafkaFault {
    wait::until_ok("the health is down", PATIENCE, || match producer.health().snapshot() {
        Snapshot::Down(fault) => Ok(fault),
        other => Err(format!("{other:?}")),
    })
}

#[track_caller]
fn assert_fault(fault: &KafkaFault, reason: Reason, words: &[&str]) {
    assert_eq!(fault.reason, reason, "{fault}");
    for words in words {
        assert!(fault.message.contains(words), "no `{words}` in: {fault}");
    }
}

#[test]
fn an_unreachable_broker_is_named_with_what_its_address_said() {
    let port = free_port();
    let connection = connection(&format!("127.0.0.1:{port}"));
    let fault =
        ensure(&connection, &Secrets::default(), &topic("t", 1, EnsureTopic::Create), 1).expect_err("no broker");
    let words = [&*format!("no broker of [127.0.0.1:{port}] answers"), "onnection refused", "spec.bootstrapServers"];
    assert_fault(&fault, Reason::KafkaUnreachable, &words);
    assert!(fault.retriable);
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let connection = connection("no-such-host.invalid:9092");
    let fault =
        ensure(&connection, &Secrets::default(), &topic("t", 1, EnsureTopic::Create), 1).expect_err("no broker");
    assert_fault(
        &fault,
        Reason::KafkaUnreachable,
        &["the name of no-such-host.invalid:9092 is not found", "spec.bootstrapServers"],
    );
}

#[test]
fn a_wrong_password_is_reported_long_before_the_records_time_out() {
    let (connection, secrets) = login(kafka::secure(), "admin", "wrong");
    let fault = ensure(&connection, &secrets, &topic("t", 1, EnsureTopic::Create), 1).expect_err("wrong password");
    assert_fault(&fault, Reason::KafkaUnauthorized, &["login is refused", "spec.sasl"]);
    assert!(!fault.retriable && !fault.message.contains("wrong"), "{fault}");

    let (producer, deliveries) =
        producer(&connection, &secrets, "t", |settings, _, _| settings.delivery_timeout = units::Duration::secs(3600));
    send(&producer, None, b"x", 1).expect("taken");
    assert_fault(&down(&producer), Reason::KafkaUnauthorized, &["login is refused"]);
    assert!(deliveries.try_recv().is_err(), "the record still waits");
}

#[test]
fn a_connection_that_does_not_fit_the_listener_says_which_field_to_change() {
    let (secure, plain) = (kafka::secure(), kafka::shared());
    let asked = topic("t", 1, EnsureTopic::Create);

    let plain_to_tls = connection(secure.bootstrap());
    let fault = ensure(&plain_to_tls, &Secrets::default(), &asked, 1).expect_err("TLS is spoken there");
    assert_fault(&fault, Reason::KafkaUnreachable, &["hangs up on plain text", "set spec.tls"]);

    let (mut tls_to_plain, secrets) = login(secure, "admin", &secure.admin_password());
    tls_to_plain.spec.bootstrap_servers = vec![plain.bootstrap().into()];
    let fault = ensure(&tls_to_plain, &secrets, &asked, 1).expect_err("no TLS is spoken there");
    assert_fault(&fault, Reason::KafkaUnreachable, &["does not go on with TLS", "remove spec.tls"]);

    let (mut other_authority, secrets) = login(secure, "admin", &secure.admin_password());
    other_authority.spec.tls = Some(KafkaTls { verify_hostname: true, ..KafkaTls::default() });
    let fault =
        ensure(&other_authority, &secrets, &asked, 1).expect_err("the system does not trust the test's authority");
    assert_fault(&fault, Reason::KafkaUnreachable, &["certificate verify failed", "spec.tls.caSecretRef"]);

    let (mut no_login, secrets) = login(secure, "admin", &secure.admin_password());
    no_login.spec.sasl = None;
    let fault = ensure(&no_login, &secrets, &asked, 1).expect_err("a login is wanted");
    assert_fault(&fault, Reason::KafkaUnreachable, &["set spec.sasl"]);

    let (mut other_kind, secrets) = login(secure, "admin", &secure.admin_password());
    other_kind.spec.sasl.as_mut().expect("set").mechanism = SaslMechanism::Plain;
    let fault = ensure(&other_kind, &secrets, &asked, 1).expect_err("the broker knows SCRAM only");
    assert_fault(&fault, Reason::KafkaUnauthorized, &["PLAIN"]);
}

#[test]
fn a_certificate_that_is_no_pem_names_the_field() {
    let mut connection = connection("127.0.0.1:1");
    let ca = Some(key("ca.crt"));
    connection.spec.tls = Some(KafkaTls { ca_secret_ref: ca, verify_hostname: true, ..KafkaTls::default() });
    for text in ["garbage", "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"] {
        let fault = ensure(&connection, &secrets(&[("ca.crt", text)]), &topic("t", 1, EnsureTopic::Create), 1);
        assert_fault(&fault.expect_err("no PEM"), Reason::InvalidConfiguration, &["tls.caSecretRef"]);
    }
}

#[test]
fn a_topic_is_made_once_with_room_for_the_largest_record_and_then_verified() {
    let (cluster, secrets) = (kafka::shared(), Secrets::default());
    let connection = connection(cluster.bootstrap());
    let mut asked = topic(&unique("made"), 3, EnsureTopic::Create);
    asked.config =
        BTreeMap::from([("retention.ms".into(), "604800000".into()), ("segment.bytes".into(), "1073741824".into())]);
    let report = ensure(&connection, &secrets, &asked, 50_000_000).expect("made");
    assert!(report.created && report.shape.partitions == 3 && report.shape.replication_factor == 1, "{report:?}");
    assert!(report.max_message_bytes >= Some(50_000_000), "{report:?}");
    let again = ensure(&connection, &secrets, &asked, 50_000_000).expect("as asked");
    assert_eq!(again, TopicReport { created: false, ..report });
    assert_eq!(block(topics::partitions_of(&connection, &secrets, &asked.name)), Ok(3));
    cluster.produce(&asked.name, [edgereel_tests::kafka::topics::NewRecord::value("x")]);
    let marks = block(topics::watermarks(&connection, &secrets, &asked.name)).expect("marks");
    assert_eq!(marks.iter().map(|Watermarks { low, high, .. }| high - low).sum::<i64>(), 1);

    asked.partitions = 4;
    asked.replication_factor = Some(2);
    asked.config.insert("retention.ms".into(), "1000".into());
    let fault = ensure(&connection, &secrets, &asked, 60_000_000).expect_err("different");
    let words = ["partitions: 4 asked for, 3 there", "replicationFactor: 2", "--add-config retention.ms=1000"];
    assert_fault(&fault, Reason::TopicMismatch, &words);
    asked.ensure = EnsureTopic::Exists;
    assert!(ensure(&connection, &secrets, &asked, 1).is_ok(), "nothing else is looked at");
    let fault = ensure(&connection, &secrets, &asked, 60_000_000).expect_err("too large");
    assert_fault(&fault, Reason::MessageTooLarge, &["max.message.bytes=60000000", "maxFrameBytes"]);
}

#[test]
fn cameras_that_share_a_topic_may_all_start_at_once() {
    let connection = connection(kafka::shared().bootstrap());
    let asked = topic(&unique("race"), 2, EnsureTopic::Create);
    let reports: Vec<_> = thread::scope(|scope| {
        let one = || ensure(&connection, &Secrets::default(), &asked, 1).expect("made by one of them");
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(reports.iter().filter(|r| r.created).count(), 1);
}

#[test]
fn a_dead_letter_topic_is_made_with_room_or_taken_as_it_is() {
    let (connection, secrets) = (connection(kafka::shared().bootstrap()), Secrets::default());
    let dead = |name: &str, bytes| block(topics::ensure_dead_letter(&connection, &secrets, name, bytes));
    let name = unique("dead");
    let report = dead(&name, 20_000_000).expect("made");
    assert!(
        report.created && report.shape.partitions == 1 && report.max_message_bytes >= Some(20_000_000),
        "{report:?}"
    );
    assert!(!dead(&name, 20_000_000).expect("there").created);
    let wide = made("dead", 3);
    assert_eq!(dead(&wide, 1_000).expect("taken as it is").shape.partitions, 3);
    assert_fault(&dead(&name, 30_000_000).expect_err("too small"), Reason::MessageTooLarge, &[&name]);
}

#[test]
fn a_missing_topic_is_not_made_by_looking_at_it() {
    let cluster = Cluster::start(
        1,
        kafka::Options { settings: vec!["auto.create.topics.enable=true".into()], ..kafka::Options::default() },
    );
    let cluster = cluster.expect("a broker");
    let connection = connection(cluster.bootstrap());
    for ensure_as in [EnsureTopic::Verify, EnsureTopic::Exists, EnsureTopic::Verify] {
        let fault = ensure(&connection, &Secrets::default(), &topic("nope", 1, ensure_as), 1).expect_err("not there");
        assert_fault(&fault, Reason::TopicMissing, &["no topic nope", "ensure: create"]);
    }
}

#[test]
fn what_the_brokers_refuse_keeps_the_brokers_words() {
    let connection = connection(kafka::shared().bootstrap());
    let mut asked = topic(&unique("refused"), 1, EnsureTopic::Create);
    asked.replication_factor = Some(3);
    let fault = ensure(&connection, &Secrets::default(), &asked, 1).expect_err("one broker");
    assert_fault(&fault, Reason::TopicMismatch, &["spec.topic.replicationFactor", "3"]);
    let mut asked = topic(&unique("refused"), 1, EnsureTopic::Create);
    asked.config.insert("retention.mss".into(), "1".into());
    let fault = ensure(&connection, &Secrets::default(), &asked, 1).expect_err("a typing error");
    assert_fault(&fault, Reason::InvalidConfiguration, &["retention.mss"]);
}

#[test]
fn a_user_without_rights_is_told_what_to_grant() {
    let cluster = kafka::secure();
    let (connection, secrets) = login(cluster, "guest", &cluster.guest_password());
    let name = unique("acl");
    cluster.create_topic(&name, 1, &[]);
    for ensure_as in [EnsureTopic::Verify, EnsureTopic::Create] {
        let fault = ensure(&connection, &secrets, &topic(&name, 1, ensure_as), 1).expect_err("no rights");
        assert_fault(&fault, Reason::KafkaUnauthorized, &[&name, "kafka-acls"]);
    }
    let (producer, deliveries) = producer(&connection, &secrets, &name, no_change);
    match send(&producer, None, b"x", 1) {
        Ok(()) => {
            let undelivered = next(&deliveries).result.expect_err("no rights");
            assert_fault(&undelivered.fault, Reason::KafkaUnauthorized, &["kafka-acls"]);
        }
        Err(SendError::Fatal(fault)) => assert_fault(&fault, Reason::KafkaUnauthorized, &["kafka-acls"]),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_record_larger_than_the_topic_takes_is_reported_with_the_limits_to_raise() {
    let cluster = kafka::shared();
    let (connection, secrets, name) = (connection(cluster.bootstrap()), Secrets::default(), unique("small"));
    cluster.create_topic(&name, 1, &[("max.message.bytes", "10000")]);
    let (producer, deliveries) = producer(&connection, &secrets, &name, |_, _, limit| *limit = 1_000_000);
    send(&producer, None, &[0; 20_000], 7).expect("our own limit is higher");
    let Delivery { token, result, .. } = next(&deliveries);
    let undelivered = result.expect_err("too large for the topic");
    assert_eq!((token, undelivered.fate), (7, Fate::TooLarge));
    assert_fault(&undelivered.fault, Reason::MessageTooLarge, &[&name, "max.message.bytes", "maxFrameBytes"]);
    assert_eq!(send(&producer, None, &vec![0; 1_000_001], 8), Err(SendError::TooLarge));
    assert_eq!(producer.in_flight_bytes(), 0);
}

#[test]
fn a_record_of_100_mb_goes_through_and_keeps_its_time_and_headers() {
    let cluster = kafka::shared();
    let (connection, secrets) = (connection(cluster.bootstrap()), Secrets::default());
    let (name, size) = (unique("large"), 100_000_000);
    let mut topic = topic(&name, 1, EnsureTopic::Create);
    // Its time is long ago: the brokers' retention would delete it, sooner or later.
    topic.config.insert("retention.ms".into(), "-1".into());
    let report = ensure(&connection, &secrets, &topic, size + 4096).expect("made");
    let (producer, deliveries) = producer(&connection, &secrets, &name, |settings, budget, limit| {
        settings.delivery_timeout = units::Duration::secs(60);
        (*budget, *limit) = (1 << 20, report.max_message_bytes.expect("seen"));
    });
    let value = vec![7; size as usize];
    let time = Timestamp::UNIX_EPOCH + Duration::from_secs(1_000);
    send_at(&producer, time, Some(b"k"), &value, 1).expect("a single record is always taken");
    assert_eq!(send(&producer, Some(b"k"), b"x", 2), Err(SendError::Full));
    assert_eq!(next(&deliveries).result, Ok((0, 0)));
    assert_eq!(producer.health().snapshot(), Snapshot::Up);
    let records = cluster.consume_all(&name);
    assert_eq!((records.len(), records[0].timestamp, records[0].key.as_deref()), (1, 1_000_000, Some(&b"k"[..])));
    assert_eq!(records[0].value.as_deref(), Some(&*value));
    assert_eq!(records[0].header("ce_id").as_deref(), Some("s-1"));
}

#[test]
fn a_key_finds_the_partition_that_java_clients_give_it_and_records_without_one_spread() {
    let cluster = kafka::shared();
    let (connection, secrets, partitions) = (connection(cluster.bootstrap()), Secrets::default(), 7);
    let name = made("spread", partitions);
    let (producer, deliveries) = producer(&connection, &secrets, &name, no_change);
    // Hashes from Apache Kafka's own UtilsTest.testMurmur2.
    for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536_i32)]
    {
        send(&producer, Some(key.as_bytes()), b"x", 0).expect("taken");
        let (partition, _) = next(&deliveries).result.expect("delivered");
        assert_eq!(partition, (hash & i32::MAX) % partitions, "{key}");
    }
    (0..300).for_each(|i| send(&producer, None, b"x", i).expect("taken"));
    let mut counts = BTreeMap::<i32, u32>::new();
    for _ in 0..300 {
        *counts.entry(next(&deliveries).result.expect("delivered").0).or_default() += 1;
    }
    // Even is 43 each; a fair die stays within these bounds but once in a million runs.
    assert!(counts.len() == partitions as usize && counts.values().all(|n| (10..90).contains(n)), "{counts:?}");
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_the_broker_is_killed_and_comes_back() {
    let cluster = Cluster::start(1, kafka::Options::default()).expect("a broker");
    let (connection, secrets, name) = (connection(cluster.bootstrap()), Secrets::default(), unique("restart"));
    let asked = topic(&name, 2, EnsureTopic::Create);
    ensure(&connection, &secrets, &asked, 1).expect("made");
    let (producer, deliveries) =
        producer(&connection, &secrets, &name, |settings, _, _| settings.delivery_timeout = units::Duration::secs(120));
    let mut sent = 0;
    let mut push = |count: u64| {
        for _ in 0..count {
            send(&producer, None, &u64::to_be_bytes(sent), sent).expect("taken");
            sent += 1;
        }
    };
    push(200);
    next(&deliveries).result.expect("delivered");
    push(100);
    cluster.kill(0);
    push(100);
    assert_fault(&down(&producer), Reason::KafkaUnreachable, &["no broker of"]);
    cluster.restart(0);
    push(100);
    let acknowledged: HashSet<u64> =
        (1..sent).map(|_| next(&deliveries)).map(|d| d.result.map(|_| d.token).expect("delivered")).collect();
    assert_eq!(acknowledged.len() as u64, sent - 1);
    assert_eq!((producer.health().snapshot(), producer.in_flight_bytes()), (Snapshot::Up, 0));
    let stored = cluster.consume_all(&name);
    let distinct: HashSet<_> = stored.iter().map(|r| r.value.clone()).collect();
    assert_eq!((distinct.len() as u64, stored.len() as u64), (sent, sent));
}

#[test]
fn deliveries_wait_to_be_asked_for_where_nobody_is_in_a_hurry() {
    let topic = made("leisurely", 1);
    let (producer, deliveries) =
        producer(&connection(kafka::shared().bootstrap()), &Secrets::default(), &topic, no_change);
    producer.set_prompt(false);
    send(&producer, None, b"one", 1).expect("room");
    wait::until("the report is there", PATIENCE, || {
        assert_eq!(deliveries.try_iter().count(), 0, "nobody asked");
        producer.has_reports()
    });
    let asked = Timestamp::now();
    producer.serve();
    let delivery = deliveries.try_recv().expect("it was asked for");
    assert!(
        delivery.result.is_ok() && delivery.at <= asked,
        "{:?} came at {}, asked at {asked}",
        delivery.result,
        delivery.at
    );
    send(&producer, None, b"two", 2).expect("room");
    wait::until("the report is there", PATIENCE, || producer.has_reports());
    producer.set_prompt(true);
    assert_eq!(next(&deliveries).token, 2);
    send(&producer, None, b"three", 3).expect("room");
    assert_eq!(next(&deliveries).token, 3);
}

#[test]
fn a_stop_reports_every_record_and_gives_up_what_the_broker_does_not_take() {
    let cluster = Cluster::start(1, kafka::Options::default()).expect("a broker");
    let (connection, secrets, name) = (connection(cluster.bootstrap()), Secrets::default(), unique("stop"));
    ensure(&connection, &secrets, &topic(&name, 1, EnsureTopic::Create), 1).expect("made");
    let (live, deliveries) = producer(&connection, &secrets, &name, no_change);
    (0..50).for_each(|i| send(&live, None, b"x", i).expect("taken"));
    assert_eq!(live.close(PATIENCE), 0);
    assert_eq!(deliveries.iter().filter(|d| d.result.is_ok()).count(), 50);

    let (stuck, deliveries) = producer(&connection, &secrets, &name, no_change);
    send(&stuck, None, b"x", 0).expect("taken");
    next(&deliveries).result.expect("delivered");
    cluster.freeze(0);
    (0..50).for_each(|i| send(&stuck, None, b"x", i).expect("taken"));
    assert_eq!(stuck.close(Duration::from_millis(200)), 50);
    let fates: Vec<_> = deliveries.iter().map(|d| d.result.expect_err("given up").fate).collect();
    assert_eq!(fates, vec![Fate::Stopped; 50]);
    cluster.thaw(0);
}

#[test]
fn the_budget_is_kept_while_no_broker_answers_and_what_expires_says_so() {
    let connection = connection(&format!("127.0.0.1:{}", free_port()));
    let (producer, deliveries) = producer(&connection, &Secrets::default(), "t", |settings, budget, _| {
        settings.delivery_timeout = units::Duration::secs(1);
        *budget = 10_000;
    });
    let taken = (0..100).take_while(|i| send(&producer, None, &[0; 1000], *i).is_ok()).count();
    // Values of 1000 bytes and 13 bytes of headers.
    assert_eq!((taken, producer.in_flight_bytes()), (9, 9 * 1013));
    assert_eq!(send(&producer, None, &[0; 1000], 0), Err(SendError::Full));
    for _ in 0..taken {
        let undelivered = next(&deliveries).result.expect_err("no broker");
        assert_eq!(undelivered.fate, Fate::TimedOut);
        assert_fault(&undelivered.fault, Reason::KafkaUnreachable, &["spec.producer.deliveryTimeout", "no broker of"]);
    }
    assert_eq!(producer.in_flight_bytes(), 0);
    send(&producer, None, &[0; 1000], 0).expect("there is room again");
}

#[test]
fn a_topic_that_is_deleted_meanwhile_ends_the_producer_and_can_be_made_again() {
    let cluster = kafka::shared();
    let (connection, secrets, name) = (connection(cluster.bootstrap()), Secrets::default(), made("deleted", 1));
    let (first, deliveries) = producer(&connection, &secrets, &name, no_change);
    send(&first, None, b"x", 0).expect("taken");
    next(&deliveries).result.expect("delivered");
    cluster.delete_topic(&name);
    let fault = wait::until_ok("the topic is missed", PATIENCE, || match send(&first, None, b"x", 0) {
        Err(SendError::Fatal(fault)) => Ok(fault),
        other => Err(format!("{other:?}")),
    });
    assert_fault(&fault, Reason::TopicMissing, &[&name]);
    drop(first);
    assert!(ensure(&connection, &secrets, &topic(&name, 1, EnsureTopic::Create), 1).expect("made").created);
    let (second, deliveries) = producer(&connection, &secrets, &name, no_change);
    send(&second, None, b"x", 0).expect("taken");
    assert_eq!(next(&deliveries).result, Ok((0, 0)));
}
