//! `edgereel topics` and `edgereel lag` say what Kafka's own tools say.

use edgereel_tests::{
    edgereel,
    kafka::{self, topics::NewRecord},
    resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::support::{jpeg_files, store_all};

fn json_of(args: &[&str]) -> Value {
    let finished = edgereel::call(args);
    assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {}", finished.stdout))
}

#[test]
fn lag_is_what_is_not_committed_with_the_age_of_the_oldest_of_it() {
    let (kafka, topic, disk) = (kafka::shared(), unique("lag"), scratch::dir("disk"));
    kafka.create_topic(&topic, 2, &[]);
    let picture = &video::pictures(1)[0];
    let record = |partition, timestamp| NewRecord {
        partition: Some(partition),
        timestamp: Some(timestamp),
        ..NewRecord::value(picture.clone())
    };
    let now = jiff::Timestamp::now().as_millisecond();
    kafka.produce(&topic, (0..6).map(|n| record(0, now + n)));
    let sink = resources::sink("frames", &topic, jpeg_files(""), &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let path = file.to_string_lossy().into_owned();
    let of = |lags: &Value, partition: usize| {
        let lag = &lags[partition];
        (lag["committed"].as_i64(), lag["end"].as_i64(), lag["lag"].as_i64())
    };
    // Before the first run: all of it, from the oldest record on.
    let lags = json_of(&["lag", "-f", &path, "--format", "json"]);
    assert_eq!((of(&lags, 0), of(&lags, 1)), ((None, Some(6), Some(6)), (None, Some(0), Some(0))), "{lags:#}");
    store_all(kafka, &file, &["frames"], &topic);
    let lags = json_of(&["lag", "-f", &path, "--format", "json"]);
    assert_eq!(of(&lags, 0), (Some(6), Some(6), Some(0)), "{lags:#}");
    assert_eq!(lags[0]["behindSeconds"], 0.0);
    // An hour ago a record came that nobody has read, and another after it.
    let hour = 3_600_000;
    kafka.produce(&topic, [record(1, now - hour), record(1, now)]);
    let lags = json_of(&["lag", "-f", &path, "--format", "json"]);
    assert_eq!(of(&lags, 1).2, Some(2), "{lags:#}");
    let behind = lags[1]["behindSeconds"].as_f64().expect("an age");
    assert!((3_600.0..3_800.0).contains(&behind), "{behind}");
    let table = edgereel::call(["lag", "-f", &path]).stdout;
    assert!(table.contains("SINK") && table.contains(&resources::group("frames", &topic)), "{table}");
    // A sink that is not there is said.
    let none = edgereel::call(["lag", "-f", &path, "--sink", "nobody"]);
    assert_eq!((none.code(), none.stdout.as_str()), (2, ""));
}

#[test]
fn topics_are_listed_with_who_uses_them_described_and_made_as_cameras_declare_them() {
    let (kafka, topic, other) = (kafka::shared(), unique("made"), unique("other"));
    kafka.create_topic(&other, 2, &[]);
    kafka.produce(&other, (0..3).map(|n| NewRecord { partition: Some(n % 2), ..NewRecord::value(vec![1]) }));
    let camera = resources::camera("gate", json!({"synthetic": {}}), &topic, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    let path = file.to_string_lossy().into_owned();
    let listed = |topic: &str, args: &[&str]| {
        let args: Vec<&str> =
            ["topics", "-f", &path, "--format", "json"].into_iter().chain(args.iter().copied()).collect();
        let all = json_of(&args);
        all.as_array().expect("a list").iter().find(|row| row["name"] == topic).cloned()
    };
    assert_eq!(listed(&topic, &[]), None);
    let found = listed(&other, &[]).expect("a topic");
    assert_eq!((&found["records"], &found["usedBy"]), (&json!(3), &json!([])), "{found:#}");
    let made = listed(&topic, &["--create"]).expect("a topic");
    assert_eq!(made["partitions"].as_array().expect("a list").len(), 3, "{made:#}");
    assert_eq!(made["usedBy"], json!(["CameraStream/gate"]));
    assert_eq!(listed("__consumer_offsets", &[]), None);
    let described = edgereel::call(["topics", "-f", &path, "--describe", "--topic", &other]).stdout;
    let lines: Vec<Vec<&str>> = described.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][2..], ["0", "0", "0", "0", "0", "2", "2"], "{described}");
    assert_eq!(lines[2][2..], ["1", "0", "0", "0", "0", "1", "1"], "{described}");
}
