//! `edgereel verify` tells the truth of a sink with a past: topics made anew, taken off the list, a folder that was lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, Cluster, topics::NewRecord},
    resources, scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, files, is_unready, store_all};

const PATIENCE: Duration = Duration::from_secs(60);

/// Pictures that are captured 100 ms after one another.
fn pictures(count: usize) -> Vec<NewRecord> {
    let record =
        |(n, picture)| NewRecord { timestamp: Some(1_700_000_000_000 + n as i64 * 100), ..NewRecord::value(picture) };
    video::pictures(count).into_iter().enumerate().map(record).collect()
}

/// Nothing is wrong, and `edgereel verify` says these words.
#[track_caller]
fn assert_says(file: &Path, words: &[&str]) {
    let said = edgereel::verify(file);
    let all = words.iter().all(|words| said.stdout.contains(words));
    assert!(said.status.success() && all, "{words:?}: {}{}", said.stdout, said.stderr);
}

/// In place of a topic there is another of its name, with so many pictures.
fn make_anew(kafka: &Cluster, topic: &str, count: usize) {
    kafka.delete_topic(topic);
    wait::until("it is gone", PATIENCE, || kafka.offsets(topic).is_err());
    kafka.create_topic(topic, 1, &[]);
    // Not the former one's: each picture says its number.
    kafka.produce(topic, pictures(100 + count).into_iter().skip(100));
}

/// A topic that is made anew while its sink is stopped, or while it runs.
#[track_caller]
fn keeps_a_former_topics_frames_apart(output: Value) {
    for running in [false, true] {
        let (kafka, topic, disk) = (kafka::shared(), unique("anew"), scratch::dir("disk"));
        kafka.create_topic(&topic, 1, &[]);
        kafka.produce(&topic, pictures(30));
        let sink = resources::sink("s", &topic, output.clone(), &disk, json!({"onOffsetLost": "earliest"}));
        let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
        let worker = Edgereel::run([&file]);
        await_lag_zero(kafka, &worker, "s", &topic);
        let worker = if running {
            make_anew(kafka, &topic, 20);
            worker
        } else {
            assert!(worker.stop().success());
            make_anew(kafka, &topic, 20);
            // The sink has not begun to read the new one: all that is there is of the former.
            assert_says(&file, &["0 frames present, 20 pending, ", "30 of former topics"]);
            Edgereel::run([&file])
        };
        wait::until_ok("the new topic is stored", PATIENCE, || {
            let said = edgereel::verify(&file).stdout;
            if said.contains("20 frames present, 30 of former") {
                Ok(())
            } else {
                Err(format!("{said}{}", worker.log()))
            }
        });
        assert!(worker.stop().success());
        assert_says(&file, &["20 records, 20 frames present, 30 of former topics, 0 missing"]);
    }
}

#[test]
fn a_video_of_a_topic_made_anew_is_whole() {
    keeps_a_former_topics_frames_apart(json!({"video": {"directory": "film", "frameRate": 10}}));
}

#[test]
fn pictures_of_a_topic_made_anew_are_whole() {
    keeps_a_former_topics_frames_apart(json!({"jpegFiles": {"directory": "frames"}}));
}

#[test]
fn what_was_stored_of_a_topic_that_is_taken_off_the_list_is_not_foreign() {
    let names = json!({"jpegFiles": {"directory": "frames", "fileName": "{topic}_{partition}-{offset}.jpg"}});
    for output in [names, json!({"video": {"directory": "film", "frameRate": 10}})] {
        let (kafka, disk) = (kafka::shared(), scratch::dir("disk"));
        let topics = ["a", "b", "c"].map(|name| unique(&format!("list.{name}")));
        for topic in &topics {
            kafka.create_topic(topic, 1, &[]);
            kafka.produce(topic, pictures(10));
        }
        let file = resources::write(&[]);
        let [a, b, c] = &topics;
        for (list, words) in [
            ([a, b], "20 records, 20 frames present, 0 missing"),
            ([b, c], "20 records, 20 frames present, 10 of former topics, 0 missing"),
        ] {
            let more = json!({"from": {"topics": list}});
            let sink = resources::sink("s", a, output.clone(), &disk, more);
            let documents = [resources::connection(kafka.bootstrap()), sink];
            resources::write_to(&file, &documents).expect("written");
            let worker = Edgereel::run([&file]);
            for topic in list {
                wait::until("it has committed all", PATIENCE, || {
                    kafka.lag(&resources::group("s", a), topic).is_ok_and(|lag| lag == 0)
                });
            }
            assert!(worker.stop().success());
            assert_says(&file, &[words]);
        }
    }
}

/// A video in three segments, and its folder.
fn film_in_segments() -> (PathBuf, PathBuf, String) {
    let (kafka, topic, disk) = (kafka::shared(), unique("back"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, pictures(30));
    let output = json!({"video": {"directory": "film", "frameRate": 10, "segment": {"maxDuration": "1s"}}});
    let sink = resources::sink("s", &topic, output, &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["s"], &topic);
    assert_eq!(files(&disk, ".avi").len(), 3);
    (disk.join("film"), file, topic)
}

#[test]
fn files_that_are_put_back_without_the_sinks_folder_are_its_own_and_a_loss_is_one() {
    let (film, file, topic) = film_in_segments();
    let away = film.with_file_name("away");
    fs::rename(&film, &away).expect("moved");
    let worker = Edgereel::run([&file]);
    let status = worker.await_status_of("s", "it asks for its files", |entry| is_unready(entry, "StorageError"));
    assert!(status.to_string().contains(".edgereel included"), "{status:#}");
    for path in files(&away, "") {
        fs::rename(&path, film.join(path.file_name().expect("a name"))).expect("put back");
    }
    worker.await_ready("s");
    kafka::shared().produce(&topic, pictures(40).into_iter().skip(30));
    await_lag_zero(kafka::shared(), &worker, "s", &topic);
    assert!(worker.stop().success());
    assert_says(&file, &["40 records, 40 frames present, 0 missing"]);
    // One of the middle: it is not from before the sink's start.
    let second = &files(&film, ".avi")[1];
    fs::remove_file(second).expect("removed");
    fs::remove_file(second.with_extension("csv")).expect("removed");
    let said = edgereel::verify(&file);
    assert!(said.stdout.contains("30 frames present, 10 missing"), "{}", said.stdout);
    assert_eq!(said.status.code(), Some(1));
}
