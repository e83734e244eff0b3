//! Records that are unlike what our cameras write: refused as dead letters, without a usable time, with headers that stand
//! twice or are no text, of transactions. The sink and `edgereel verify` have to be of one mind about each.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use edgereel_frame::wire::{Header, header};
use edgereel_kafka::reader::{StoredRecord, TopicReader};
use edgereel_runtime::secrets::Secrets;
use edgereel_tests::{
    Edgereel,
    kafka::{self, Cluster, topics::NewRecord},
    resources, scratch, unique, video, wait,
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use crate::support::{assert_verified, files, is_ready, is_unready, jpeg_files, store_all};

const PATIENCE: Duration = Duration::from_secs(60);
/// Lets producers write whatever time they like.
const ANY_TIME: &[(&str, &str)] = &[
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
];

/// A sink `s` of a topic, and where it writes.
fn sink_of(topic: &str, more: Value) -> (PathBuf, PathBuf) {
    let disk = scratch::dir("disk");
    let sink = resources::sink("s", topic, jpeg_files("frames"), &disk, more);
    (resources::write(&[resources::connection(kafka::shared().bootstrap()), sink]), disk)
}

/// Sets one of a topic's settings; its others go back to their defaults.
fn set(kafka: &Cluster, topic: &str, key: &str, value: &str) {
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().expect("a client");
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = AdminOptions::new();
    for result in runtime.block_on(admin.alter_configs([&config], &options)).expect("an answer") {
        result.expect("set");
    }
}

/// All that a topic holds, with the names of its headers as they are.
fn letters(topic: &str) -> Vec<StoredRecord> {
    let spec = serde_json::from_value(json!({"bootstrapServers": [kafka::shared().bootstrap()]})).expect("a spec");
    let name = edgereel_crds::name::ObjectName { namespace: "default".into(), name: "lab".into() };
    let connection = edgereel_crds::plan::Connection { name, spec };
    let reader = TopicReader::open(&connection, &Secrets::default(), "nobody").expect("a reader");
    let mut found = vec![];
    for (partition, extent) in reader.extents(topic).expect("extents") {
        let take = |record| {
            found.push(record);
            Ok::<_, edgereel_kafka::client::KafkaFault>(())
        };
        reader.read(topic, partition, extent.low..extent.high, take).expect("read");
    }
    found
}

fn text(headers: &[Header], name: &str) -> String {
    String::from_utf8_lossy(header(headers, name).unwrap_or_default()).into_owned()
}

/// A letter is refused, others are taken; whether the sink flushes meanwhile or not, its place is not committed.
fn a_refused_letter_holds_its_place(flush_interval: &str) {
    let (kafka, topic) = (kafka::shared(), unique("refused"));
    let dead = format!("{topic}.dead");
    kafka.create_topic(&topic, 1, &[]);
    let durability = json!({"flushInterval": flush_interval, "flushFrames": 1000});
    let (file, _) = sink_of(&topic, json!({"deadLetter": {"topic": dead}, "durability": durability}));
    let worker = Edgereel::run([&file]);
    worker.await_ready("s");
    set(kafka, &dead, "max.message.bytes", "20000");
    let refused = vec![b'A'; 100_000];
    kafka.produce(&topic, [NewRecord::value(refused.clone())]);
    let group = resources::group("s", &topic);
    let entry = worker.await_status_of("s", "stands at the letter", |entry| is_unready(entry, "MessageTooLarge"));
    let said = entry.to_string();
    let place = format!("topic {topic}, partition 0, offset 0 is no frame");
    assert!(said.contains(&place) && said.contains(&dead) && said.contains("max.message.bytes"), "{said}");
    // What comes after it is taken.
    let pictures = video::pictures(5);
    let small = (0..3).map(|n| NewRecord::value(format!("B{n}")));
    kafka.produce(&topic, pictures.into_iter().map(NewRecord::value).chain(small));
    wait::until("the later letters are there", PATIENCE, || kafka.record_count(&dead) >= 3);
    let beyond = |committed: &[(i32, i64, String)]| committed.iter().any(|(_, offset, _)| *offset > 0);
    let committed = kafka.committed(&group, &topic).expect("known");
    assert!(!beyond(&committed), "committed past a letter that is not there: {committed:?}");
    assert!(letters(&dead).iter().all(|letter| text(&letter.headers, "__connect.errors.offset") != "0"));
    // All of it is pending, nothing missing.
    assert_verified(&file);
    set(kafka, &dead, "max.message.bytes", "1048588");
    wait::until("the refused letter is there", PATIENCE, || kafka.record_count(&dead) >= 4);
    worker.await_status_of("s", "goes on", is_ready);
    assert!(worker.stop().success());
    assert_eq!(kafka.lag(&group, &topic).expect("known"), 0);
    let first = letters(&dead).into_iter().find(|letter| text(&letter.headers, "__connect.errors.offset") == "0");
    assert_eq!(first.expect("there at last").value.as_deref(), Some(&refused[..]));
    assert_verified(&file);
}

#[test]
fn a_refused_letter_holds_its_place_though_later_ones_are_taken_and_goes_out_when_the_topic_takes_it() {
    a_refused_letter_holds_its_place("200ms");
}

#[test]
fn a_refused_letter_goes_out_when_the_topic_takes_it_though_nothing_is_flushed() {
    a_refused_letter_holds_its_place("10m");
}

#[test]
fn a_sink_that_stands_at_a_refused_letter_stops_in_time() {
    let (kafka, topic) = (kafka::shared(), unique("stands"));
    let dead = format!("{topic}.dead");
    kafka.create_topic(&topic, 1, &[]);
    let (file, disk) = sink_of(&topic, json!({"deadLetter": {"topic": dead}}));
    let worker = Edgereel::run([&file]);
    worker.await_ready("s");
    set(kafka, &dead, "max.message.bytes", "20000");
    kafka.produce(&topic, [NewRecord::value(vec![b'A'; 100_000]), NewRecord::value(value(0))]);
    worker.await_status_of("s", "stands at the letter", |entry| is_unready(entry, "MessageTooLarge"));
    wait::until("what comes after it is stored", PATIENCE, || files(&disk, ".jpg").len() == 1);
    let began = std::time::Instant::now();
    worker.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    assert!(kafka.lag(&resources::group("s", &topic), &topic).expect("known") > 0);
    assert_verified(&file);
}

/// Three frames around a header that stands twice, or is no text.
fn value(n: u8) -> Vec<u8> {
    video::pictures(3).swap_remove(n.into())
}

#[test]
fn a_record_without_a_usable_time_is_stored_once_and_verify_agrees() {
    let (kafka, topic) = (kafka::shared(), unique("timeless"));
    kafka.create_topic(&topic, 1, ANY_TIME);
    let now = jiff::Timestamp::now().as_millisecond();
    let pictures = video::pictures(6);
    let times = [-1, now * 1000, now * 1_000_000, now, 4_102_444_800_000, i64::MAX];
    let records = pictures.iter().zip(times);
    let record =
        |(picture, time): (&Vec<u8>, i64)| NewRecord { timestamp: Some(time), ..NewRecord::value(picture.clone()) };
    kafka.produce(&topic, records.map(record));
    let (file, disk) = sink_of(&topic, json!({"durability": {"flushInterval": "10m", "flushFrames": 1000}}));
    // A crash before anything is committed: every record is read again.
    let worker = Edgereel::run([&file]);
    wait::until("all are stored", PATIENCE, || files(&disk, ".jpg").len() == times.len());
    let before = files(&disk, ".jpg");
    worker.kill();
    let worker = Edgereel::run([&file]);
    worker.await_metrics("all are stored again", |m| m.sum("sink_frames_stored_total", &[("name", "s")]) == 6.0);
    let metrics = worker.metrics();
    let lag = metrics.sum("sink_lag_seconds", &[("name", "s")]);
    assert!(lag < 3600.0, "a frame without a time is {lag} s old");
    assert!(worker.stop().success());
    assert_eq!(files(&disk, ".jpg"), before);
    assert_verified(&file);
}

#[test]
fn headers_that_stand_twice_mean_the_same_to_the_sink_and_to_verify() {
    let (kafka, topic) = (kafka::shared(), unique("twice"));
    let dead = format!("{topic}.dead");
    kafka.create_topic(&topic, 1, &[]);
    let headers = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).into(), v.as_bytes().to_vec())).collect();
    let times = headers(&[("ce_time", "2026-01-01T00:00:01Z"), ("ce_time", "2026-01-01T00:00:02Z")]);
    // It was a dead letter before.
    let letter = headers(&[
        ("__connect.errors.topic", "other"),
        ("__connect.errors.partition", "0"),
        ("__connect.errors.offset", "7"),
    ]);
    kafka.produce(
        &topic,
        [
            NewRecord { headers: times, ..NewRecord::value(value(0)) },
            NewRecord { headers: letter, ..NewRecord::value("no frame") },
            NewRecord::value(value(2)),
        ],
    );
    let (file, disk) = sink_of(&topic, json!({"deadLetter": {"topic": dead}}));
    store_all(kafka, &file, &["s"], &topic);
    let stored = files(&disk, ".jpg");
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().any(|path| path.to_string_lossy().contains("20260101_000002")), "{stored:?}");
    let letters = letters(&dead);
    assert_eq!(letters.len(), 1);
    assert_eq!(text(&letters[0].headers, "__connect.errors.topic"), topic);
    assert_verified(&file);
}

/// Frames and others, some with headers that are not text.
fn produce_bytes(kafka: &Cluster, topic: &str) {
    let now = jiff::Timestamp::now().as_millisecond();
    let latin: &[(&[u8], &[u8])] = &[(b"caf\xe9", b"1"), (b"ce_time", b"\xff"), (b"", b""), (b"x", b"\xfe")];
    kafka.produce(topic, [NewRecord { key: Some(b"\xe9".to_vec()), ..NewRecord::value(value(0)) }]);
    kafka.produce_raw(topic, now, &value(1), latin);
    kafka.produce_raw(topic, now, b"no frame", latin);
    kafka.produce(topic, [NewRecord::value(value(2))]);
}

#[test]
fn header_names_are_bytes_to_the_sink_to_verify_and_in_dead_letters() {
    let (kafka, topic) = (kafka::shared(), unique("bytes"));
    let dead = format!("{topic}.dead");
    kafka.create_topic(&topic, 1, &[]);
    produce_bytes(kafka, &topic);
    let (file, disk) = sink_of(&topic, json!({"deadLetter": {"topic": dead}}));
    store_all(kafka, &file, &["s"], &topic);
    assert_eq!(files(&disk, ".jpg").len(), 3);
    let letters = letters(&dead);
    let own: Vec<(&[u8], Option<&[u8]>)> =
        letters[0].headers.iter().take(4).map(|(name, value)| (&name[..], value.as_deref())).collect();
    let kept: [(&[u8], Option<&[u8]>); 4] =
        [(b"caf\xe9", Some(b"1")), (b"ce_time", Some(b"\xff")), (b"", Some(b"")), (b"x", Some(b"\xfe"))];
    assert_eq!(own, kept);
    assert_eq!(text(&letters[0].headers, "__connect.errors.offset"), "2");
    assert_verified(&file);
    let (file, disk) = sink_of(&topic, json!({"onInvalid": "skip", "group": format!("skip-{topic}")}));
    let worker = Edgereel::run([&file]);
    worker.await_metrics("all are stored", |m| m.sum("sink_frames_stored_total", &[("name", "s")]) == 3.0);
    assert!(worker.stop().success());
    assert_eq!(files(&disk, ".jpg").len(), 3);
    assert_verified(&file);
}

/// A producer of transactions.
fn transactional(kafka: &Cluster) -> BaseProducer {
    let mut config: ClientConfig = kafka.client();
    config.set("transactional.id", unique("transactions"));
    let producer: BaseProducer = config.create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    producer
}

fn in_transaction(producer: &BaseProducer, topic: &str, values: &[Vec<u8>]) {
    producer.begin_transaction().expect("begun");
    for value in values {
        producer.send(BaseRecord::<[u8], [u8]>::to(topic).payload(value)).map_err(|(e, _)| e).expect("sent");
    }
    producer.flush(PATIENCE).expect("flushed");
}

#[track_caller]
fn assert_verified_soon(file: &Path) {
    let began = std::time::Instant::now();
    assert_verified(file);
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for records that are none: {:?}", began.elapsed());
}

#[test]
fn aborted_records_and_the_marks_of_transactions_are_no_frames_that_are_missing() {
    let (kafka, topic) = (kafka::shared(), unique("transactions"));
    kafka.create_topic(&topic, 1, &[]);
    let pictures = video::pictures(12);
    let producer = transactional(kafka);
    in_transaction(&producer, &topic, &pictures[..5]);
    producer.commit_transaction(PATIENCE).expect("committed");
    in_transaction(&producer, &topic, &pictures[5..8]);
    producer.abort_transaction(PATIENCE).expect("aborted");
    in_transaction(&producer, &topic, &pictures[8..10]);
    producer.commit_transaction(PATIENCE).expect("committed");
    let (file, disk) = sink_of(&topic, json!({}));
    let worker = Edgereel::run([&file]);
    wait::until("what was committed is stored", PATIENCE, || files(&disk, ".jpg").len() == 7);
    assert_verified_soon(&file);
    // The topic ends with records that were given up, and then with one transaction that is open.
    in_transaction(&producer, &topic, &pictures[10..11]);
    producer.abort_transaction(PATIENCE).expect("aborted");
    assert_verified_soon(&file);
    in_transaction(&producer, &topic, &pictures[11..]);
    assert_verified_soon(&file);
    producer.commit_transaction(PATIENCE).expect("committed");
    wait::until("the last is stored", PATIENCE, || files(&disk, ".jpg").len() == 8);
    assert!(worker.stop().success());
    assert_verified_soon(&file);
}
