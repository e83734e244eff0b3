//! A sink's promises against a real Kafka: nothing missing, nothing twice, nothing torn, whatever happens meanwhile.

pub(crate) mod bench;
mod by_and_by;
mod group;
mod memory;
mod order;
mod slow;
mod stop;

use std::{collections::BTreeMap, fs};

use edgereel_crds::status::Reason;
use edgereel_tests::{kafka::topics::NewRecord, process::Signal, scratch, unique, wait};
use rand::Rng;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use serde_json::json;

use self::bench::{Bench, KEEP, PATIENCE, files, frames, jpeg};

#[test]
fn a_worker_for_other_tests() {
    bench::child();
}

#[test]
fn a_topic_becomes_files_byte_for_byte_and_the_group_is_at_its_end() {
    let bench = Bench::new("files", 3, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..200, 3, 20_000));
    let worker = bench.start(0);
    worker.await_ready();
    bench.kafka.produce(&bench.topic, frames(200..300, 3, 20_000));
    bench.await_no_lag();
    bench.assert_complete();
    assert_eq!(bench.committed(), BTreeMap::from([(0, 100), (1, 100), (2, 100)]), "the next offset, not the last");
    wait::until("the lag is told", PATIENCE, || worker.metrics.lag.records() == Some(0));
    let metrics = worker.metrics.clone();
    worker.stop().expect("a clean stop");
    assert_eq!((metrics.stored.get(), metrics.durable.get()), (300, 300));
    assert_eq!((metrics.late.get(), metrics.lost.get()), (0, 0));
}

#[test]
fn a_stop_commits_what_was_written_and_the_next_start_writes_nothing_again() {
    // A flush interval that a test does not live to see: only the stop flushes.
    let bench = Bench::new("stop", 3, json!({"durability": {"flushInterval": "10m", "flushFrames": 100000}}));
    bench.kafka.produce(&bench.topic, frames(0..60, 3, 5_000));
    let worker = bench.start(0);
    wait::until("all frames are written", PATIENCE, || worker.metrics.stored.get() == 60);
    worker.stop().expect("a clean stop");
    assert_eq!(bench.kafka.lag(&bench.group, &bench.topic).expect("known"), 0);
    let again = bench.start(0);
    again.await_ready();
    let metrics = again.metrics.clone();
    again.stop().expect("a clean stop");
    assert_eq!(metrics.stored.get(), 0);
    bench.assert_complete();
}

#[test]
fn killed_at_random_moments_the_sink_ends_with_exactly_the_topic() {
    let bench = Bench::new("killed", 3, json!({}));
    let mut rng = rand::rng();
    let mut sent = 0;
    for _ in 0..4 {
        let worker = bench.spawn(0, &bench.root);
        let before = bench.files().len();
        bench.kafka.produce(&bench.topic, frames(sent..sent + 600, 3, 30_000));
        sent += 600;
        let until = before + rng.random_range(1..500);
        wait::until("it has written some", PATIENCE, || bench.files().len() > until.min(sent as usize - 1));
        worker.kill();
    }
    let worker = bench.spawn(0, &bench.root);
    bench.await_no_lag();
    worker.kill();
    bench.assert_complete();
}

#[test]
fn nothing_is_committed_beyond_a_record_that_is_no_frame() {
    let bench = Bench::new("fail", 1, json!({"onInvalid": "fail"}));
    bench.kafka.produce(&bench.topic, frames(0..5, 1, 1_000));
    bench.kafka.produce(&bench.topic, [NewRecord::value("no picture")]);
    bench.kafka.produce(&bench.topic, frames(6..20, 1, 1_000));
    for _ in 0..2 {
        let worker = bench.start(0);
        let state = worker.state.clone();
        let fault = worker.result().expect_err("stops at it");
        assert_eq!(fault.reason, Reason::InvalidRecord);
        assert!(fault.message.contains("partition 0, offset 5 is no frame: not a JPEG"), "{fault}");
        assert!(!state.is_ready());
        assert_eq!(bench.committed(), BTreeMap::from([(0, 5)]));
    }
    assert_eq!(bench.files().len(), 5, "what came before it is kept, what comes after it is not written");
}

/// Records that are no frames, and the reason that is counted.
fn invalid_records() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let whole = jpeg(1, 3_000);
    vec![
        ("empty", None),
        ("empty", Some(vec![])),
        ("not_jpeg", Some(b"GIF89a".to_vec())),
        ("truncated", Some(whole[..whole.len() / 2].to_vec())),
        ("bad_json", Some(b"{\"frame\": ".to_vec())),
        ("no_frame_field", Some(b"{\"size\": 1}".to_vec())),
        ("bad_base64", Some(b"{\"frame\": \"???\"}".to_vec())),
    ]
}

#[test]
fn records_that_are_no_frames_are_passed_over_and_counted() {
    let bench = Bench::new("skip", 1, json!({"onInvalid": "skip"}));
    let invalid = invalid_records();
    for (_, value) in &invalid {
        bench.kafka.produce(&bench.topic, [NewRecord { value: value.clone(), ..NewRecord::default() }]);
    }
    bench.kafka.produce(&bench.topic, frames(0..3, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    for reason in edgereel_frame::reasons::InvalidReason::ALL {
        let expected = invalid.iter().filter(|(name, _)| *name == reason.as_str()).count() as u64;
        assert_eq!(worker.metrics.invalid(*reason).get(), expected, "{}", reason.as_str());
    }
    worker.stop().expect("a clean stop");
    assert_eq!(bench.files().len(), 3);
}

#[test]
fn a_dead_letter_keeps_key_value_and_headers_and_says_why() {
    let dead = unique("dead");
    let bench = Bench::new("dead", 1, json!({"onInvalid": "deadLetter", "deadLetter": {"topic": dead}}));
    for (_, value) in invalid_records() {
        let record = NewRecord {
            key: Some(b"gate".to_vec()),
            headers: vec![("x".into(), b"y".to_vec())],
            timestamp: Some(1_700_000_000_000),
            value,
            ..NewRecord::default()
        };
        bench.kafka.produce(&bench.topic, [record]);
    }
    bench.kafka.produce(&bench.topic, frames(0..3, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    let metrics = worker.metrics.clone();
    worker.stop().expect("a clean stop");
    assert_eq!(bench.files().len(), 3);
    let letters = bench.kafka.consume_all(&dead);
    assert_eq!(letters.len(), invalid_records().len());
    assert_eq!(metrics.dead_lettered.get(), letters.len() as u64);
    for (n, (letter, (reason, value))) in letters.iter().zip(invalid_records()).enumerate() {
        assert_eq!(letter.value, value);
        assert_eq!(letter.key.as_deref(), Some(b"gate".as_slice()));
        assert_eq!(letter.header("dev.edgereel.timestamp").as_deref(), Some("1700000000000"));
        assert!(letter.timestamp > 1_700_000_000_000, "retention would delete it at once");
        assert_eq!(letter.header("x").as_deref(), Some("y"));
        assert_eq!(letter.header("__connect.errors.topic"), Some(bench.topic.clone()));
        assert_eq!(letter.header("__connect.errors.offset"), Some(n.to_string()));
        let class = letter.header("__connect.errors.exception.class.name").expect("said");
        assert!(class.ends_with(reason), "{class} is not {reason}");
    }
}

#[test]
fn partitions_move_between_replicas_and_nothing_is_lost_or_written_by_two() {
    let mut bench = Bench::new("moves", 4, json!({"durability": {"flushInterval": "10m", "flushFrames": 100000}}));
    bench.replicas = 2;
    bench.kafka.produce(&bench.topic, frames(0..400, 4, 5_000));
    let first = bench.start(0);
    wait::until("the first has them all", PATIENCE, || first.metrics.stored.get() == 400);
    let second = bench.start(1);
    wait::until("the second got some", PATIENCE, || second.metrics.rebalances.get() > 0 && second.state.is_ready());
    // Handed over with a flush and a commit, so that nothing is written again.
    bench.await_no_lag();
    bench.kafka.produce(&bench.topic, frames(400..800, 4, 5_000));
    wait::until("the two share", PATIENCE, || first.metrics.stored.get() + second.metrics.stored.get() >= 800);
    assert_eq!((first.metrics.stored.get(), second.metrics.stored.get()), (600, 200));
    second.stop().expect("a clean stop");
    bench.kafka.produce(&bench.topic, frames(800..900, 4, 5_000));
    wait::until_ok("the first has the rest again", PATIENCE, || match first.metrics.stored.get() {
        700 => Ok(()),
        other => Err(format!("{other} stored; {}", first.says())),
    });
    first.stop().expect("a clean stop");
    assert_eq!(bench.kafka.lag(&bench.group, &bench.topic).expect("known"), 0);
    bench.assert_complete();
}

#[test]
fn a_worker_that_slept_through_the_loss_of_its_partitions_writes_and_commits_nothing() {
    let mut bench = Bench::new("slept", 1, json!({}));
    bench.replicas = 2;
    let sleepers = scratch::dir("sleeper");
    let sleeper = bench.spawn(0, &sleepers);
    let mut sent = 0;
    wait::until("it writes", PATIENCE, || {
        bench.kafka.produce(&bench.topic, frames(sent..sent + 50, 1, 30_000));
        sent += 50;
        files(&sleepers).len() > 100
    });
    // It is stopped with records in hand.
    bench.kafka.produce(&bench.topic, frames(sent..sent + 500, 1, 30_000));
    sent += 500;
    sleeper.signal(Signal::SIGSTOP);
    let asleep = files(&sleepers);
    let other = bench.start(1);
    bench.await_no_lag();
    let end = bench.committed();
    let rebalances = other.metrics.rebalances.get();
    sleeper.signal(Signal::SIGCONT);
    wait::until("it has joined again", PATIENCE, || other.metrics.rebalances.get() > rebalances);
    bench.await_no_lag();
    assert_eq!(bench.committed(), end);
    assert_eq!(files(&sleepers).len(), asleep.len(), "it wrote what was no longer its own");
    sleeper.kill();
    other.stop().expect("a clean stop");
    let both: BTreeMap<_, _> = files(&sleepers).into_iter().chain(bench.files()).collect();
    assert_eq!(both.len() as u64, sent);
}

#[test]
fn a_lost_offset_stops_the_sink_unless_it_is_told_how_to_go_on() {
    for (policy, expected) in [("fail", None), ("earliest", Some((20, 10))), ("latest", Some((0, 30)))] {
        let bench = Bench::new("cut", 1, json!({"onOffsetLost": policy}));
        bench.kafka.produce(&bench.topic, frames(0..10, 1, 1_000));
        let worker = bench.start(0);
        bench.await_no_lag();
        worker.stop().expect("a clean stop");
        bench.kafka.produce(&bench.topic, frames(10..40, 1, 1_000));
        delete_before(&bench, 20);
        let worker = bench.start(0);
        let metrics = worker.metrics.clone();
        match expected {
            None => {
                let fault = worker.result().expect_err("stops");
                assert_eq!(fault.reason, Reason::OffsetLost);
                assert!(fault.message.contains("offset 10") && fault.message.contains("20 to 40"), "{fault}");
            }
            Some((stored, lost)) => {
                bench.await_no_lag();
                worker.stop().expect("a clean stop");
                assert_eq!((metrics.stored.get(), metrics.lost.get()), (stored, lost), "{policy}");
            }
        }
    }
}

#[test]
fn a_topic_that_was_made_anew_is_noticed() {
    let bench = Bench::new("anew", 1, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..10, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    bench.kafka.delete_topic(&bench.topic);
    wait::until("it is gone", PATIENCE, || bench.kafka.offsets(&bench.topic).is_err());
    bench.kafka.create_topic(&bench.topic, 1, KEEP);
    bench.kafka.produce(&bench.topic, frames(0..3, 1, 1_000));
    // Kafka forgets a deleted topic's offsets: what a client that runs meanwhile commits is what brings them back.
    commit(&bench, 10);
    let fault = bench.start(0).result().expect_err("stops");
    assert_eq!(fault.reason, Reason::OffsetLost);
    assert!(fault.message.contains("the topic was made anew"), "{fault}");
}

#[test]
fn without_a_committed_offset_reading_begins_where_the_resource_says() {
    // Frame n is captured 33 n ms after 2023-11-14T22:13:20Z.
    for (start, stored) in
        [("earliest", 30), ("latest", 0), ("2023-11-14T22:13:20.5Z", 14), ("2030-01-01T00:00:00Z", 0)]
    {
        let bench = Bench::new("starts", 1, json!({"startFrom": start}));
        bench.kafka.produce(&bench.topic, frames(0..30, 1, 1_000));
        let worker = bench.start(0);
        wait::until("the start is committed", PATIENCE, || !bench.committed().is_empty());
        bench.await_no_lag();
        let metrics = worker.metrics.clone();
        worker.stop().expect("a clean stop");
        assert_eq!(metrics.stored.get(), stored, "{start}");
        // What comes while the sink is away is not skipped by a second `latest`.
        bench.kafka.produce(&bench.topic, frames(30..35, 1, 1_000));
        let worker = bench.start(0);
        bench.await_no_lag();
        let metrics = worker.metrics.clone();
        worker.stop().expect("a clean stop");
        assert_eq!(metrics.stored.get(), 5, "{start}");
    }
}

#[test]
fn a_sink_waits_for_its_topic_and_says_so() {
    let bench = Bench::without_topic(&unique("later"), json!({}));
    let worker = bench.start(0);
    worker.await_reason(Reason::TopicMissing);
    assert!(worker.says().contains(&bench.topic), "{}", worker.says());
    bench.kafka.create_topic(&bench.topic, 3, KEEP);
    bench.kafka.produce(&bench.topic, frames(0..30, 3, 1_000));
    worker.await_ready();
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    bench.assert_complete();
}

#[test]
fn a_topic_that_is_missing_beside_others_is_named_until_it_is_there() {
    let mut bench = Bench::new("there", 1, json!({}));
    let missing = unique("typo");
    bench.spec = json!({"from": {"topics": [bench.topic, missing]}});
    bench.kafka.produce(&bench.topic, frames(0..10, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    let named = || worker.says().contains(&format!("but there is no topic {missing}: make it"));
    wait::until_ok("it says which", PATIENCE, || if named() { Ok(()) } else { Err(worker.says()) });
    assert!(worker.state.is_ready(), "the others are written");
    bench.kafka.create_topic(&missing, 1, KEEP);
    wait::until_ok("it is read", PATIENCE, || if named() { Err(worker.says()) } else { Ok(()) });
    worker.await_ready();
    assert!(!named());
    worker.stop().expect("a clean stop");
}

#[test]
fn a_second_worker_with_the_same_identity_takes_over_and_the_first_says_why_it_ended() {
    let bench = Bench::new("twice", 1, json!({}));
    let first = bench.spawn(0, &scratch::dir("first"));
    wait::until("the first has joined", PATIENCE, || !bench.committed().is_empty());
    let second = bench.start(0);
    wait::until("the first ends", PATIENCE, || !first.running());
    assert!(
        first.stdout().contains("another worker with the same identity")
            || first.stderr().contains("another worker with the same identity"),
        "{}",
        first.tail()
    );
    second.await_ready();
    second.stop().expect("a clean stop");
}

#[test]
fn a_missing_disk_is_named_and_not_made() {
    let mut bench = Bench::without_topic(&unique("unmounted"), json!({}));
    bench.root = bench.root.join("ssd");
    let worker = bench.start(0);
    let state = worker.state.clone();
    let fault = worker.result().expect_err("no disk");
    assert_eq!(fault.reason, Reason::StorageMissing);
    assert!(!bench.root.exists());
    assert!(!state.is_ready());
}

#[test]
fn a_backlog_is_read_within_the_memory_that_is_promised() {
    let bench = Bench::new("backlog", 3, json!({}));
    for batch in 0..6 {
        bench.kafka.produce(&bench.topic, frames(batch * 500..(batch + 1) * 500, 3, 85_000));
    }
    let peak = memory::peak_kb_until_stored(&bench);
    assert!((1..96 * 1024).contains(&peak), "{peak} KiB at the peak");
    bench.assert_complete();
}

#[test]
fn frames_without_a_key_become_one_video_in_the_order_of_their_capture_though_the_sink_is_killed() {
    let output = json!({"video": {"fileName": "gate.avi", "directory": "frames", "frameRate": 10}});
    let bench = Bench::new("video", 3, json!({"output": output}));
    bench.kafka.produce(&bench.topic, frames(0..900, 3, 20_000));
    let video = bench.root.join("frames/gate.avi");
    for bytes in [2_000_000, 9_000_000] {
        let worker = bench.spawn(0, &bench.root);
        wait::until("some of the video is written", PATIENCE, || fs::metadata(&video).is_ok_and(|m| m.len() > bytes));
        worker.kill();
    }
    let worker = bench.start(0);
    bench.await_no_lag();
    assert_eq!(worker.metrics.late.get(), 0);
    worker.stop().expect("a clean stop");
    let found = edgereel_tests::video::jpegs_of(&video);
    let expected: Vec<_> = (0..900).map(|n| jpeg(n, 20_000)).collect();
    let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!((found.len(), differs), (900, None), "frames, and the first that is not where it belongs");
}

/// Deletes the records of partition 0 before an offset, as retention does.
fn delete_before(bench: &Bench, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = bench.kafka.client().create().expect("an admin client");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&bench.topic, 0, Offset::Offset(offset)).expect("an offset");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).expect("deleted");
    wait::until("they are gone", PATIENCE, || bench.kafka.offsets(&bench.topic).is_ok_and(|all| all[0].0 == offset));
}

/// Commits an offset of partition 0 for the group, which has no members.
fn commit(bench: &Bench, offset: i64) {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    let consumer: BaseConsumer = bench
        .kafka
        .client()
        .set("group.id", &bench.group)
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&bench.topic, 0, Offset::Offset(offset)).expect("an offset");
    wait::until_ok("it is committed", PATIENCE, || consumer.commit(&list, CommitMode::Sync));
}
