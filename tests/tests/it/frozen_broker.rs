//! A stop while the brokers are silent: it ends in time, says what it could not do, and the next run makes it good.

use std::time::Duration;

use edgereel_tests::{
    Edgereel,
    kafka::{Cluster, Options, topics::NewRecord},
    resources, scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::support::{assert_verified, await_lag_zero, contents, files, jpeg_files, sorted, values};

/// What Kubernetes gives a pod to end in, unless told otherwise.
const GRACE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn sinks_end_in_time_though_the_broker_is_silent_and_lose_nothing() {
    let kafka = Cluster::start(1, Options::default()).expect("a broker");
    let (topic, disk) = (unique("silent"), scratch::dir("disk"));
    kafka.create_topic(&topic, 3, &[]);
    // Nothing is committed before the stop.
    let rarely = json!({"durability": {"flushInterval": "10m", "flushFrames": 100_000}});
    let film = json!({"video": {"directory": "film", "fileName": "film.avi", "frameRate": 10}});
    let sinks = |more: Value| {
        resources::write(&[
            resources::connection(kafka.bootstrap()),
            resources::sink("frames", &topic, jpeg_files("frames"), &disk, more.clone()),
            resources::sink("film", &topic, film.clone(), &disk, more),
        ])
    };
    let pictures = video::pictures(60);
    let records = |from: usize| {
        let some = pictures[from..from + 30].to_vec().into_iter().enumerate();
        some.map(|(i, jpeg)| NewRecord { partition: Some((i % 3) as i32), ..NewRecord::value(jpeg) })
    };
    kafka.produce(&topic, records(0));
    let worker = Edgereel::run([sinks(rarely)]);
    worker.await_metrics("all is written", |m| {
        ["frames", "film"].iter().all(|sink| m.count("sink_frames_stored", sink) == 30)
    });
    kafka.freeze(0);
    let ended = worker.child().terminate(GRACE);
    let log = worker.log();
    kafka.thaw(0);
    let status = ended.unwrap_or_else(|e| panic!("{e:#}\n{log}"));
    assert!(status.success(), "{status}\n{log}");
    for sink in ["frames", "film"] {
        let said = log.lines().any(|line| line.contains(sink) && line.contains("again"));
        assert!(said, "{sink} does not say that its frames will be written again\n{log}");
    }
    wait::until("the broker answers", PATIENCE, || kafka.offsets(&topic).is_ok());
    assert_eq!(files(&disk.join("frames"), ".jpg").len(), 30, "what was written stays");
    kafka.produce(&topic, records(30));
    let file = sinks(json!({}));
    let worker = Edgereel::run([&file]);
    for sink in ["frames", "film"] {
        await_lag_zero(&kafka, &worker, sink, &topic);
    }
    assert!(worker.stop().success());
    assert!(contents(&disk.join("frames"), ".jpg") == sorted(values(&kafka.consume_all(&topic))));
    assert_eq!(video::ffprobe(&disk.join("film/film.avi")).frames, 60);
    assert_verified(&file);
}
