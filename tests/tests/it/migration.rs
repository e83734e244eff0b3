//! While people move over, their scripts' consumers and our sinks are in the same group: each record goes to one of them.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use edgereel_tests::{
    Edgereel,
    kafka::{self, Cluster, topics::NewRecord},
    process::Guarded,
    python, resources, scratch, unique, video, wait,
};
use serde_json::json;

use crate::support::{await_lag_zero, files, is_ready, is_unready};

const PATIENCE: Duration = Duration::from_secs(90);

/// The consumer of the Python scripts, which commits by itself; prints partition and offset of what it got.
const SCRIPT_CONSUMER: &str = r#"
import signal, sys
from kafka import KafkaConsumer
bootstrap, topic, group = sys.argv[1:]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap.split(','), group_id=group, auto_offset_reset='earliest')
while not stopped:
    for records in consumer.poll(timeout_ms=100).values():
        for record in records:
            print(record.partition, record.offset, flush=True)
consumer.close()
"#;

fn script(kafka: &Cluster, topic: &str, group: &str) -> Guarded {
    let mut python = python::command();
    python.args(["-c", SCRIPT_CONSUMER, kafka.bootstrap(), topic, group]);
    Guarded::spawn("script-consumer", python).expect("started")
}

/// A script that reads alone. A `KafkaConsumer` that never asks to join its group, as kafka-python's was once seen to, is
/// replaced: what it is to show is how it shares a group.
fn reading_script(kafka: &Cluster, topic: &str, group: &str, pictures: &[Vec<u8>]) -> Guarded {
    const JOINS: Duration = Duration::from_secs(30);
    let (mut script, mut started) = (self::script(kafka, topic, group), Instant::now());
    wait::until("the script reads alone", PATIENCE, || {
        feed(kafka, topic, pictures);
        let records = got(&script).len();
        if records == 0 && started.elapsed() > JOINS {
            (script, started) = (self::script(kafka, topic, group), Instant::now());
        }
        records > 8
    });
    script
}

/// Where the records stand that the script got.
fn got(script: &Guarded) -> BTreeSet<(i32, i64)> {
    let place = |line: &str| line.split_once(' ').map(|(p, o)| (p.parse().expect("a number"), o.parse().expect("one")));
    script.stdout().lines().filter_map(place).collect()
}

/// Where the records stand that have a file `<partition>-<offset>.jpg`.
fn stored(disk: &Path) -> BTreeSet<(i32, i64)> {
    let place = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let (partition, offset) = name.split_once('-').expect("two numbers");
        (partition.parse().expect("a number"), offset.parse().expect("a number"))
    };
    files(disk, ".jpg").into_iter().map(place).collect()
}

fn all(kafka: &Cluster, topic: &str) -> BTreeSet<(i32, i64)> {
    kafka.consume_all(topic).into_iter().map(|record| (record.partition, record.offset)).collect()
}

/// A picture for each of the four partitions.
fn feed(kafka: &Cluster, topic: &str, pictures: &[Vec<u8>]) {
    let record =
        |(i, jpeg): (usize, &Vec<u8>)| NewRecord { partition: Some((i % 4) as i32), ..NewRecord::value(jpeg.clone()) };
    kafka.produce(topic, pictures.iter().enumerate().map(record));
}

#[test]
fn a_file_sink_and_a_script_share_a_group_and_no_record_is_lost() {
    let (kafka, topic, disk) = (kafka::shared(), unique("shared-group"), scratch::dir("disk"));
    let (group, pictures) = (resources::group("frames", &topic), video::pictures(8));
    kafka.create_topic(&topic, 4, &[]);
    let output = json!({"jpegFiles": {"fileName": "{partition}-{offset}.jpg"}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink("frames", &topic, output, &disk, json!({})),
    ]);
    let script = reading_script(kafka, &topic, &group, &pictures);
    let worker = Edgereel::run([&file]);
    wait::until("the sink has a share", PATIENCE, || {
        feed(kafka, &topic, &pictures);
        stored(&disk).len() > 40
    });
    assert!(is_ready(&worker.status_of("frames")), "{:#}", worker.status_of("frames"));
    let before = got(&script).len();
    wait::until("and the script the other", PATIENCE, || {
        feed(kafka, &topic, &pictures);
        got(&script).len() > before + 20
    });
    script.terminate(PATIENCE).expect("the script ends");
    feed(kafka, &topic, &pictures);
    await_lag_zero(kafka, &worker, "frames", &topic);
    assert!(worker.stop().success());
    let either: BTreeSet<_> = stored(&disk).union(&got(&script)).copied().collect();
    assert_eq!(either, all(kafka, &topic));
}

#[test]
fn a_video_sink_waits_until_a_script_has_left_its_group_and_says_so() {
    let (kafka, topic, disk) = (kafka::shared(), unique("video-group"), scratch::dir("disk"));
    let (group, pictures) = (resources::group("gate", &topic), video::pictures(8));
    kafka.create_topic(&topic, 4, &[]);
    let output = json!({"video": {"fileName": "gate.avi", "frameRate": 10}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink("gate", &topic, output, &disk, json!({})),
    ]);
    let script = reading_script(kafka, &topic, &group, &pictures);
    let worker = Edgereel::run([&file]);
    let status = worker.await_status_of("gate", "says what holds it up", |entry| is_unready(entry, "NotAssigned"));
    let said = crate::support::condition(&status, "Ready")["message"].to_string();
    assert!(said.contains(&group) && said.contains("kafka-consumer-groups.sh"), "{said}");
    feed(kafka, &topic, &pictures);
    script.terminate(PATIENCE).expect("the script ends");
    feed(kafka, &topic, &pictures);
    await_lag_zero(kafka, &worker, "gate", &topic);
    assert!(worker.stop().success());
    let rows = std::fs::read_to_string(disk.join("gate.csv")).expect("the video's list");
    let place = |row: &str| {
        let fields: Vec<_> = row.split(',').collect();
        (fields[2].parse().expect("a partition"), fields[3].parse().expect("an offset"))
    };
    let shown: BTreeSet<(i32, i64)> = rows.lines().skip(1).map(place).collect();
    assert_eq!(shown.union(&got(&script)).copied().collect::<BTreeSet<_>>(), all(kafka, &topic));
}
