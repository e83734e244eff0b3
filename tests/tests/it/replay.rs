//! `edgereel replay`: what was set aside goes back, as it was.

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, topics::NewRecord},
    resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, jpeg_files};

fn replay(args: &[&str]) -> (i32, Value) {
    let all: Vec<&str> = ["replay", "--format", "json"].into_iter().chain(args.iter().copied()).collect();
    let finished = edgereel::call(&all);
    let done = serde_json::from_str(&finished.stdout);
    (finished.code(), done.unwrap_or_else(|e| panic!("{e}: {}{}", finished.stdout, finished.stderr)))
}

#[test]
fn dead_letters_go_back_to_where_they_came_from_as_they_were_all_or_those_that_are_chosen() {
    let (kafka, topic, letters, disk) = (kafka::shared(), unique("replayed"), unique("letters"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    let time = jiff::Timestamp::now().as_millisecond() - 60_000;
    let record = |value: Vec<u8>, n: i64| NewRecord {
        key: Some(b"gate".to_vec()),
        timestamp: Some(time + n),
        headers: vec![("ce_id".into(), format!("s-{n}").into_bytes())],
        ..NewRecord::value(value)
    };
    let picture = video::pictures(1).remove(0);
    let (bad, empty) = (b"{not json".to_vec(), Vec::new());
    kafka.produce(&topic, [record(picture, 0), record(bad.clone(), 1), record(empty, 2), record(bad.clone(), 3)]);
    let more = json!({"deadLetter": {"topic": letters}, "onInvalid": "deadLetter"});
    let sink = resources::sink("frames", &topic, jpeg_files(""), &disk, more);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "frames", &topic);
    assert!(worker.stop().success());
    let set_aside = kafka.consume_all(&letters);
    assert_eq!(set_aside.len(), 3);

    let path = file.to_string_lossy().into_owned();
    let of_sink = ["-f", &path, "--sink", "frames"];
    let with = |more: &[&str]| replay(&[&of_sink, more].concat());
    // Looking sends nothing.
    let (code, done) = with(&["--dry-run"]);
    assert_eq!((code, &done[0]["chosen"], &done[0]["sent"][&topic]), (0, &json!(3), &json!(3)), "{done:#}");
    assert_eq!(kafka.record_count(&topic), 4);
    // One by its place, and those of a reason, into another topic.
    let other = unique("other");
    kafka.create_topic(&other, 1, &[]);
    let (code, done) = with(&["--at", "0:1", "--to", &other]);
    assert_eq!((code, &done[0]["sent"][&other]), (0, &json!(1)), "{done:#}");
    let reason = reason_of(&set_aside[0]);
    let (code, done) = with(&["--reason", &reason, "--to", &other]);
    assert_eq!((code, &done[0]["chosen"], &done[0]["sent"][&other]), (0, &json!(2), &json!(2)), "{done:#}");
    // All, back.
    let (code, done) = with(&[]);
    assert_eq!((code, &done[0]["sent"][&topic]), (0, &json!(3)), "{done:#}");
    let all = kafka.consume_all(&topic);
    assert_eq!(all.len(), 7);
    for (before, after) in all[1..4].iter().zip(&all[4..]) {
        assert_eq!(
            (&before.key, &before.value, before.timestamp, &before.headers),
            (&after.key, &after.value, after.timestamp, &after.headers)
        );
    }
    assert_eq!(kafka.record_count(&letters), 3, "nothing is taken away");
    // And the sink sets them aside again, at their new places.
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "frames", &topic);
    assert!(worker.stop().success());
    assert_eq!(kafka.record_count(&letters), 6);
}

#[test]
fn a_letter_whose_topic_is_gone_fails_by_itself_and_the_others_go_back() {
    let kafka = kafka::shared();
    let (topic, letters, gone) = (unique("here"), unique("letters"), unique("gone"));
    kafka.create_topic(&topic, 1, &[]);
    kafka.create_topic(&letters, 1, &[]);
    // As Kafka Connect writes them: nothing says when the record was made, but the letter.
    let letter = |topic: &str, n: i64| NewRecord {
        timestamp: Some(1_717_495_200_000 + n),
        headers: vec![("__connect.errors.topic".into(), topic.as_bytes().to_vec())],
        ..NewRecord::value(vec![n as u8; 10])
    };
    kafka.produce(&letters, (0..20).map(|n| letter(if n == 7 { &gone } else { &topic }, n)));
    let more = json!({"deadLetter": {"topic": letters}, "onInvalid": "deadLetter"});
    let sink = resources::sink("frames", &topic, jpeg_files(""), &scratch::dir("disk"), more);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let path = file.to_string_lossy().into_owned();
    for args in [&["-f", &path, "--sink", "frames", "--dry-run"][..], &["-f", &path, "--sink", "frames"]] {
        let (code, done) = replay(args);
        let (done, failed) = (&done[0], &done[0]["failed"]);
        assert_eq!((code, &done["chosen"], &done["sent"]), (1, &json!(20), &json!({&topic: 19})), "{done:#}");
        let place = (&failed[0]["partition"], &failed[0]["offset"], &failed[0]["topic"], &failed[1]);
        assert_eq!(place, (&json!(0), &json!(7), &json!(gone), &Value::Null));
        let message = failed[0]["message"].as_str().expect("why");
        assert_eq!(message, format!("there is no topic {gone}: make it, or name another with `--to`"));
    }
    let times = |topic| kafka.consume_all(topic).into_iter().map(|record| record.timestamp).collect::<Vec<_>>();
    let mut expected = times(&letters);
    expected.remove(7);
    assert_eq!(times(&topic), expected);
    // Without the one topic that all are for, nothing is begun.
    for more in [&["--to", &gone][..], &["--to", &gone, "--dry-run"]] {
        let finished = edgereel::call([&["replay", "-f", &path, "--sink", "frames"], more].concat());
        assert_eq!(finished.code(), 2);
        assert!(finished.stderr.contains(&format!("there is no topic {gone}")), "{}", finished.stderr);
    }
}

fn reason_of(letter: &edgereel_tests::kafka::topics::Record) -> String {
    let class = letter.header("__connect.errors.exception.class.name").expect("a class");
    class.rsplit('.').next().expect("a reason").to_owned()
}

#[test]
fn an_hour_of_a_topic_goes_into_another_and_what_cannot_be_is_said() {
    let (kafka, topic, other) = (kafka::shared(), unique("past"), unique("again"));
    kafka.create_topic(&topic, 2, &[]);
    kafka.create_topic(&other, 1, &[("max.message.bytes", "2000")]);
    let at = |second: i64, size: usize| NewRecord {
        partition: Some((second % 2) as i32),
        timestamp: Some(1_717_495_200_000 + second * 1000),
        ..NewRecord::value(vec![second as u8; size])
    };
    kafka.produce(&topic, (0..20).map(|second| at(second, if second == 12 { 5000 } else { 100 })));
    let camera = resources::camera("cam", json!({"synthetic": {}}), &topic, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    let path = file.to_string_lossy().into_owned();
    let range = |to: &str| {
        let since_until = ["--since", "2024-06-04T10:00:05Z", "--until", "2024-06-04T10:00:15Z"];
        let args = [&["-f", &path, "--topic", &topic, "--to", to], &since_until[..]].concat();
        edgereel::call([&["replay", "--format", "json"], &args[..]].concat())
    };
    let finished = range(&other);
    let done: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    // One is too large for that topic: it is named, and all else is there.
    assert_eq!((finished.code(), &done[0]["chosen"], &done[0]["sent"][&other]), (1, &json!(10), &json!(9)), "{done:#}");
    assert_eq!((&done[0]["failed"][0]["partition"], &done[0]["failed"][0]["offset"]), (&json!(0), &json!(6)));
    let mut seconds: Vec<u8> =
        kafka.consume_all(&other).iter().map(|record| record.value.as_ref().expect("a value")[0]).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, [5, 6, 7, 8, 9, 10, 11, 13, 14]);
    let itself = range(&topic);
    assert_eq!(itself.code(), 2);
    assert!(itself.stderr.contains("cannot be sent into itself"), "{}", itself.stderr);
    let nowhere = range(&unique("nowhere"));
    assert_eq!(nowhere.code(), 2);
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
}
