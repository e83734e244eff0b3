//! Brokers that fall silent. A stop ends in time, says what it could not do, and the next run makes it good; what is being
//! taken up is taken up when they are back.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use edgereel_tests::{
    Edgereel,
    kafka::{
        Cluster, Options,
        tap::{FIND_COORDINATOR, SYNC_GROUP, Tap},
        topics::NewRecord,
    },
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
        let some = pictures[from..from + 30].iter().cloned().enumerate();
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

/// Longer than the client waits for one answer.
const SILENCE: Duration = Duration::from_secs(17);

#[test]
fn a_coordinator_that_is_silent_while_a_sink_takes_up_is_waited_for() {
    let tap = Tap::bind();
    let (address, settings) = (tap.address(), vec![format!("advertised.listeners=CLIENT://{}", tap.address())]);
    let kafka = Arc::new(Cluster::start(1, Options { settings, ..Options::default() }).expect("a broker"));
    // The group gives the partitions; then the sink looks for whom to ask what is committed.
    let (given, frozen) = (AtomicBool::new(false), Arc::new(OnceLock::new()));
    tap.serve(kafka.bootstrap(), {
        let (kafka, frozen) = (Arc::downgrade(&kafka), frozen.clone());
        move |request| match request {
            SYNC_GROUP => given.store(true, Ordering::SeqCst),
            FIND_COORDINATOR if given.load(Ordering::SeqCst) => {
                let freeze = || kafka.upgrade().map(|kafka| kafka.freeze(0)).map(|()| Instant::now());
                frozen.get_or_init(freeze);
            }
            _ => {}
        }
    });
    let (topic, disk) = (unique("coordinator"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, video::pictures(30).into_iter().map(NewRecord::value));
    let file = resources::write(&[
        resources::connection(&address),
        resources::sink("frames", &topic, jpeg_files("frames"), &disk, json!({})),
    ]);
    let worker = Edgereel::run([&file]);
    wait::until("the broker is silent and has been for a while", PATIENCE, || {
        frozen.get().copied().flatten().is_some_and(|since| since.elapsed() > SILENCE)
    });
    assert_eq!(files(&disk.join("frames"), ".jpg").len(), 0, "it was not taken up before");
    kafka.thaw(0);
    await_lag_zero(&kafka, &worker, "frames", &topic);
    assert!(worker.stop().success());
    assert_verified(&file);
}
