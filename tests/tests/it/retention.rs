//! Old frames make room for new ones, on real disks and with a real Kafka: only what went on purpose is missing, whatever is killed.

use std::{fs, path::Path, thread, time::Duration};

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, Cluster, topics::NewRecord},
    mounts::{Tmpfs, worker_with},
    resources, scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::{
    crash::{ROUNDS, run_and_kill},
    sink::bench::{KEEP, frames},
    support::{assert_verified, await_lag_zero, files, jpeg_files, store_all},
};

const PATIENCE: Duration = Duration::from_secs(60);
const MEBI: u64 = 1 << 20;

fn topic(kafka: &Cluster, partitions: i32) -> String {
    let topic = unique("retention");
    kafka.create_topic(&topic, partitions, KEEP);
    topic
}

fn bytes_below(disk: &Path, ending: &str) -> u64 {
    files(disk, ending).iter().map(|path| fs::metadata(path).map_or(0, |meta| meta.len())).sum()
}

/// A sink that keeps to a mebibyte, killed again and again while its topic fills, ends below it, and `verify` misses nothing.
#[track_caller]
fn keeps_to_its_maximum(name: &str, output: Value, ending: &str, most: u64) {
    let kafka = kafka::shared();
    let (topic, disk) = (topic(kafka, 2), scratch::dir(name));
    let more = json!({
        "durability": {"flushInterval": "100ms", "flushFrames": 16}, "retention": {"maxBytes": format!("{}", most / 2)},
    });
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink(name, &topic, output, &disk, more),
    ]);
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in 0..20 {
                kafka.produce(&topic, frames(part * 30..part * 30 + 30, 2, 20_000));
            }
        });
        for _ in 0..ROUNDS {
            run_and_kill(&file);
            // It may have been killed before it made its directory: then nothing can be told.
            let said = edgereel::verify(&file);
            assert_ne!(said.status.code(), Some(1), "{}{}", said.stdout, said.stderr);
        }
    });
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, name, &topic);
    wait::until("the oldest are gone", PATIENCE, || bytes_below(&disk, ending) <= most);
    worker.await_metrics("it is told", |m| {
        let of = |metric| m.sum(metric, &[("name", name)]);
        of("sink_kept_bytes") > 0.0
            && of("sink_kept_bytes") <= most as f64
            && of("sink_oldest_frame_timestamp_seconds") > 1.6e9
    });
    assert_verified(&file);
    assert!(worker.stop().success());
    assert!(!files(&disk, ending).is_empty());
    let said = edgereel::verify(&file);
    assert!(said.status.success() && said.stdout.contains("deleted by retention"), "{}{}", said.stdout, said.stderr);
    // What goes by another hand is missed all the same.
    let last = files(&disk, ending).pop().expect("one");
    fs::remove_file(last).expect("removed");
    assert_eq!(edgereel::verify(&file).status.code(), Some(1));
}

#[test]
fn jpeg_files_keep_to_their_maximum_whatever_is_killed() {
    keeps_to_its_maximum("kept-files", jpeg_files("frames"), ".jpg", 2 * MEBI);
}

#[test]
fn videos_keep_to_their_maximum_whatever_is_killed() {
    let output = json!({"video": {"directory": "film", "frameRate": 30, "segment": {"maxBytes": "1Mi"}}});
    keeps_to_its_maximum("kept-video", output, ".avi", 4 * MEBI);
}

#[test]
fn a_full_disk_makes_room_by_itself_and_everything_is_stored() {
    let kafka = kafka::shared();
    let (topic, disk) = (topic(kafka, 1), scratch::dir("full"));
    kafka.produce(&topic, video::pictures(600).into_iter().map(NewRecord::value));
    let sink = resources::sink("s", &topic, jpeg_files("frames"), &disk, json!({"retention": {"minFree": "20%"}}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    // 600 pictures of about 15 KB do not fit.
    let worker = Edgereel::run_with([&file], worker_with(&[Tmpfs { at: disk.clone(), options: "size=4m".into() }]));
    await_lag_zero(kafka, &worker, "s", &topic);
    worker.await_ready("s");
    worker.await_metrics("room is made", |m| {
        let of = |metric| m.sum(metric, &[("name", "s")]);
        of("sink_files_deleted_total") > 100.0 && of("sink_disk_free_bytes") >= 0.19 * of("sink_disk_size_bytes")
    });
    let binary = edgereel_tests::edgereel_bin();
    let verified = worker.inside([binary.as_os_str(), "verify".as_ref(), "-f".as_ref(), file.as_ref()]);
    assert!(verified.status.success() && verified.stdout.contains("deleted by retention"), "{}", verified.stdout);
}

#[test]
fn a_sink_that_is_to_wait_leaves_so_much_free_and_says_so() {
    let kafka = kafka::shared();
    let (topic, disk) = (topic(kafka, 1), scratch::dir("wait"));
    kafka.produce(&topic, video::pictures(400).into_iter().map(NewRecord::value));
    let retention = json!({"retention": {"minFree": "50%", "whenFull": "wait"}});
    let sink = resources::sink("s", &topic, jpeg_files("frames"), &disk, retention);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let worker = Edgereel::run_with([&file], worker_with(&[Tmpfs { at: disk.clone(), options: "size=8m".into() }]));
    let status = worker.await_status("StorageFull");
    assert!(status.contains("less than 50% of the disk") && status.contains("spec.retention.minFree"), "{status}");
    worker.remount(&disk, "size=64m");
    await_lag_zero(kafka, &worker, "s", &topic);
    worker.await_ready("s");
}

#[test]
fn frames_that_are_too_old_go_and_those_that_were_there_before_it_was_asked_for() {
    let kafka = kafka::shared();
    let (topic, disk) = (topic(kafka, 1), scratch::dir("age"));
    let (old, new) = (frames(0..40, 1, 2_000), video::pictures(10).into_iter().map(NewRecord::value));
    kafka.produce(&topic, old);
    let write = |more: Value| {
        let sink = resources::sink("s", &topic, jpeg_files("frames"), &disk, more);
        resources::write(&[resources::connection(kafka.bootstrap()), sink])
    };
    store_all(kafka, &write(json!({})), &["s"], &topic);
    assert_eq!(files(&disk, ".jpg").len(), 40);
    for path in files(&disk, ".jpg") {
        let day_ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
        fs::File::options().write(true).open(path).and_then(|file| file.set_modified(day_ago)).expect("set");
    }
    kafka.produce(&topic, new);
    // Somebody's own, in the name of a record that is not there.
    let own = disk.join("frames/frame_0-999999_20200101_000000_000.jpg");
    fs::write(&own, "a text").expect("written");
    let file = write(json!({"retention": {"maxAge": "1h"}}));
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    wait::until("the old ones are gone", PATIENCE, || files(&disk, ".jpg").len() == 11);
    assert!(worker.stop().success());
    assert_eq!(fs::read_to_string(&own).expect("there"), "a text");
    let said = edgereel::verify(&file);
    assert!(said.stdout.contains("beyond the topic's end"), "{}", said.stdout);
    fs::remove_file(own).expect("removed");
    assert_verified(&file);
    // It excuses nothing but what went.
    let last = files(&disk, ".jpg").pop().expect("one");
    let bytes = fs::read(&last).expect("readable");
    fs::remove_file(&last).expect("removed");
    assert_eq!(edgereel::verify(&file).status.code(), Some(1));
    fs::write(&last, bytes).expect("written");
    assert_verified(&file);
    // Nor is a ledger that was destroyed taken for one that says nothing.
    let ledger = files(&disk.join("frames/.edgereel"), "/gone").pop().expect("one");
    fs::write(ledger, vec![0; 128 << 10]).expect("written");
    let said = edgereel::verify(&file);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stdout.contains("what retention has deleted, and cannot be read"), "{}", said.stdout);
}
