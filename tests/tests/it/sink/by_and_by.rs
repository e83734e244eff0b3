//! The group protocol `consumer` (KIP-848): the brokers move single partitions, and say nothing to who gets none.

use std::time::Duration;

use edgereel_crds::status::Reason;
use edgereel_tests::{process::Signal, unique, video::jpegs_of, wait};
use rdkafka::admin::{AdminOptions, NewPartitions};
use serde_json::{Value, json};

use super::{
    bench::{Bench, KEEP, PATIENCE, Worker, frames},
    group::{admin, block_on},
};

/// Longer than the brokers keep the place of a worker that was killed: `group.consumer.session.timeout.ms`, 45 s by default.
const SESSION: Duration = Duration::from_secs(120);

fn spec(more: Value) -> Value {
    let mut spec = json!({"groupProtocol": "consumer"});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    spec
}

#[track_caller]
fn await_share(worker: &Worker, partitions: i64) {
    wait::until_ok("it has its share", PATIENCE, || match worker.metrics.assigned_partitions.get() {
        found if found == partitions => Ok(()),
        found => Err(format!("{found} of {partitions}: {}", worker.says())),
    });
}

#[test]
fn partitions_move_by_and_by_and_every_frame_is_stored_once() {
    let mut bench = Bench::new("moves", 6, spec(json!({})));
    bench.replicas = 3;
    let produce = |numbers| bench.kafka.produce(&bench.topic, frames(numbers, 6, 1_000));
    produce(0..300);
    let first = bench.start(0);
    await_share(&first, 6);
    produce(300..600);
    let second = bench.start(1);
    await_share(&first, 3);
    await_share(&second, 3);
    produce(600..900);
    let third = bench.start(2);
    for worker in [&first, &second, &third] {
        await_share(worker, 2);
    }
    produce(900..1200);
    second.stop().expect("a clean stop");
    await_share(&first, 3);
    await_share(&third, 3);
    produce(1200..1500);
    bench.await_no_lag();
    let rebalances = first.metrics.rebalances.get();
    assert!(rebalances >= 4, "{rebalances} assignments");
    first.stop().expect("a clean stop");
    third.stop().expect("a clean stop");
    bench.assert_complete();
}

#[test]
fn a_killed_workers_place_is_given_up_and_its_frames_are_stored_by_another() {
    let mut bench = Bench::new("killed", 4, spec(json!({})));
    bench.replicas = 2;
    let produce = |numbers| bench.kafka.produce(&bench.topic, frames(numbers, 4, 1_000));
    let first = bench.start(0);
    await_share(&first, 4);
    let second = bench.spawn(1, &bench.root);
    await_share(&first, 2);
    produce(0..200);
    wait::until("both store", PATIENCE, || bench.files().len() > 40);
    second.signal(Signal::SIGKILL);
    produce(200..400);
    wait::until_ok("the first has all", SESSION, || match first.metrics.assigned_partitions.get() {
        4 => Ok(()),
        found => Err(format!("{found}")),
    });
    bench.await_no_lag();
    first.stop().expect("a clean stop");
    bench.assert_complete();
}

#[test]
fn a_worker_that_was_killed_waits_for_its_own_place_and_says_so() {
    let bench = Bench::new("own-place", 1, spec(json!({})));
    bench.kafka.produce(&bench.topic, frames(0..20, 1, 1_000));
    let killed = bench.spawn(0, &bench.root);
    bench.await_no_lag();
    killed.signal(Signal::SIGKILL);
    bench.kafka.produce(&bench.topic, frames(20..40, 1, 1_000));
    let fault = bench.start(0).result().expect_err("its place is taken yet");
    assert_eq!(fault.reason, Reason::NotAssigned, "{fault}");
    assert!(fault.message.contains("group.consumer.session.timeout.ms"), "{fault}");
    // As a resource is started again after a fault.
    let began = std::time::Instant::now();
    while bench.kafka.lag(&bench.group, &bench.topic).ok() != Some(0) {
        assert!(began.elapsed() < SESSION, "the place is not given up");
        let worker = bench.start(0);
        wait::until("it reads, or ends", PATIENCE, || {
            worker.thread.is_finished() || bench.kafka.lag(&bench.group, &bench.topic).ok() == Some(0)
        });
        let _ = worker.stop();
    }
    bench.assert_complete();
}

#[test]
fn a_worker_without_a_partition_stands_by_and_takes_over() {
    let mut bench = Bench::new("stands-by", 1, spec(json!({})));
    bench.replicas = 2;
    bench.kafka.produce(&bench.topic, frames(0..20, 1, 1_000));
    let first = bench.start(0);
    bench.await_no_lag();
    let second = bench.start(1);
    wait::until_ok("it says that it stands by", PATIENCE, || match second.says() {
        said if said.contains("standing by") => Ok(()),
        said => Err(said),
    });
    first.stop().expect("a clean stop");
    await_share(&second, 1);
    bench.kafka.produce(&bench.topic, frames(20..40, 1, 1_000));
    bench.await_no_lag();
    second.stop().expect("a clean stop");
    bench.assert_complete();
}

#[test]
fn a_video_goes_on_over_another_topic_partitions_that_come_and_the_other_protocol() {
    let (film, other) = (json!({"directory": "frames", "fileName": "film.avi", "frameRate": 10}), unique("other"));
    let mut bench = Bench::new("film", 1, spec(json!({"output": {"video": film}})));
    bench.kafka.create_topic(&other, 1, KEEP);
    let all_of = |bench: &Bench| -> usize {
        let videos = bench.files().into_keys().filter(|name| name.ends_with(".avi"));
        videos.map(|name| jpegs_of(&bench.root.join("frames").join(name)).len()).sum()
    };
    bench.kafka.produce(&bench.topic, frames(0..20, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    block_on(admin(&bench).create_partitions(&[NewPartitions::new(&bench.topic, 2)], &AdminOptions::new()))
        .expect("added");
    wait::until("they are there", PATIENCE, || bench.kafka.offsets(&bench.topic).is_ok_and(|all| all.len() == 2));
    bench.kafka.produce(&bench.topic, frames(20..40, 2, 1_000));
    await_share(&worker, 2);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    assert_eq!(all_of(&bench), 40);

    bench.spec["from"] = json!({"topics": [bench.topic, other]});
    bench.kafka.produce(&other, frames(40..60, 1, 1_000));
    let worker = bench.start(0);
    await_share(&worker, 3);
    wait::until_ok("the second topic is read", PATIENCE, || match all_of(&bench) {
        60 => Ok(()),
        found => Err(format!("{found} frames: {}", worker.says())),
    });
    worker.stop().expect("a clean stop");

    // Its member is static, and stays until its session has timed out; a group changes over when it is empty.
    bench.spec["groupProtocol"] = json!("classic");
    bench.kafka.produce(&bench.topic, frames(60..80, 2, 1_000));
    let worker = bench.start(0);
    wait::until_ok("it is read by the other protocol", SESSION, || match all_of(&bench) {
        80 => Ok(()),
        found => Err(format!("{found} frames: {}", worker.says())),
    });
    worker.stop().expect("a clean stop");
}
