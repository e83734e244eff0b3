//! What happens to a sink's group and topics: deleted, made anew, grown, given to others, written in transactions.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use edgereel_crds::status::Reason;
use edgereel_tests::{
    kafka::{Cluster, Options},
    process::Signal,
    unique,
    video::jpegs_of,
    wait,
};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::json;

use super::bench::{Bench, KEEP, PATIENCE, frames, jpeg};

pub fn admin(bench: &Bench) -> AdminClient<DefaultClientContext> {
    bench.kafka.client().create().expect("an admin client")
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn make_anew(bench: &Bench, frames_there: u64) {
    bench.kafka.delete_topic(&bench.topic);
    wait::until("it is gone", PATIENCE, || bench.kafka.offsets(&bench.topic).is_err());
    bench.kafka.create_topic(&bench.topic, 1, KEEP);
    bench.kafka.produce(&bench.topic, frames(1000..1000 + frames_there, 1, 1_000));
}

#[test]
fn a_topic_that_was_made_anew_with_as_many_records_replaces_no_file() {
    let mut bench = Bench::new("again", 1, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..10, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    let before = bench.files();
    make_anew(&bench, 10);
    let fault = bench.start(0).result().expect_err("stops");
    assert_eq!(fault.reason, Reason::OffsetLost);
    assert!(fault.message.contains("was made anew (its id was"), "{fault}");
    assert_eq!(bench.files(), before);
    // A person says how to go on, in a directory of its own: the sink's folder there knows of no former topic.
    bench.spec = json!({"onOffsetLost": "earliest",
        "output": {"jpegFiles": {"directory": "frames", "fileName": "new-{partition}-{offset:06}.jpg"}}});
    let worker = bench.start(0);
    bench.await_no_lag();
    let metrics = worker.metrics.clone();
    worker.stop().expect("a clean stop");
    assert_eq!(metrics.stored.get(), 10);
    // And that was that: the new topic's offsets are its own.
    let worker = bench.start(0);
    worker.await_ready();
    worker.stop().expect("a clean stop");
}

#[test]
fn a_topic_that_is_made_anew_while_it_is_read_is_noticed() {
    let bench = Bench::new("meanwhile", 1, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..10, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    let before = bench.files();
    make_anew(&bench, 10);
    let fault = worker.result().expect_err("stops");
    assert_eq!(fault.reason, Reason::OffsetLost, "{fault}");
    assert!(fault.message.contains("was made anew"), "{fault}");
    assert_eq!(bench.files(), before);
}

#[test]
fn a_video_has_no_frame_twice_though_its_topic_is_made_anew_and_longer_than_before() {
    let film = json!({"directory": "frames", "fileName": "film.avi", "frameRate": 10});
    let bench = Bench::new("longer", 1, json!({"onOffsetLost": "earliest", "output": {"video": film}}));
    bench.kafka.produce(&bench.topic, frames(0..20, 1, 1_000));
    let worker = bench.spawn(0, &bench.root);
    bench.await_no_lag();
    // When it can look again, there are records at the offset at which librdkafka goes on.
    worker.signal(Signal::SIGSTOP);
    make_anew(&bench, 30);
    worker.signal(Signal::SIGCONT);
    let found = || -> Vec<_> {
        let videos = bench.files().into_keys().filter(|name| name.ends_with(".avi"));
        videos.flat_map(|name| jpegs_of(&bench.root.join("frames").join(name))).collect()
    };
    wait::until_ok("the new topic is read", PATIENCE, || match found().len() {
        50.. => Ok(()),
        other => Err(format!("{other} frames; {}", worker.tail())),
    });
    bench.await_no_lag();
    worker.terminate(PATIENCE).expect("it ends");
    let (mut found, mut expected) = (found(), (0..20).chain(1000..1030).map(|n| jpeg(n, 1_000)).collect::<Vec<_>>());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "each frame once");
}

#[test]
fn a_partition_that_is_added_while_the_sink_runs_is_read_from_its_beginning() {
    let bench = Bench::new("grows", 1, json!({"startFrom": "latest"}));
    bench.kafka.produce(&bench.topic, frames(0..5, 1, 1_000));
    let worker = bench.start(0);
    worker.await_ready();
    block_on(admin(&bench).create_partitions(&[NewPartitions::new(&bench.topic, 3)], &AdminOptions::new()))
        .expect("added");
    wait::until("they are there", PATIENCE, || bench.kafka.offsets(&bench.topic).is_ok_and(|all| all.len() == 3));
    // At once, before the sink can know of them.
    bench.kafka.produce(&bench.topic, frames(5..35, 3, 1_000));
    wait::until_ok("they are read", PATIENCE, || match worker.metrics.stored.get() {
        30 => Ok(()),
        other => Err(format!("{other} stored; {}", worker.says())),
    });
    worker.stop().expect("a clean stop");
    let names: Vec<_> = bench.files().into_keys().collect();
    assert!(names.contains(&"1-000000.jpg".into()) && names.contains(&"2-000000.jpg".into()), "{names:?}");
    assert!(!names.contains(&"0-000000.jpg".into()), "from before the first start");
}

#[test]
fn a_topic_that_comes_after_the_sink_is_read_from_its_beginning() {
    let bench = Bench::without_topic(&unique("comes"), json!({"startFrom": "latest"}));
    let worker = bench.start(0);
    worker.await_reason(Reason::TopicMissing);
    wait::until("the sink has noted it", PATIENCE, || {
        std::fs::read_to_string(bench.root.join("frames/.edgereel/lab.frames/topics.json"))
            .is_ok_and(|text| text.contains(&bench.topic))
    });
    bench.kafka.create_topic(&bench.topic, 2, KEEP);
    bench.kafka.produce(&bench.topic, frames(0..20, 2, 1_000));
    wait::until_ok("all is read", PATIENCE, || match worker.metrics.stored.get() {
        20 => Ok(()),
        other => Err(format!("{other} stored; {}", worker.says())),
    });
    worker.stop().expect("a clean stop");
}

#[test]
fn a_group_that_was_deleted_is_not_taken_for_a_first_start() {
    for (policy, stored) in [("fail", None), ("earliest", Some(25)), ("latest", Some(0))] {
        // With `latest`, a second first start would skip what came meanwhile without a word.
        let bench = Bench::new("deleted", 1, json!({"startFrom": "latest", "onOffsetLost": policy}));
        let worker = bench.start(0);
        worker.await_ready();
        bench.kafka.produce(&bench.topic, frames(0..20, 1, 1_000));
        bench.await_no_lag();
        worker.stop().expect("a clean stop");
        bench.kafka.produce(&bench.topic, frames(20..25, 1, 1_000));
        // Its member is static: it is in the group until its session has timed out.
        wait::until_ok("it is deleted", PATIENCE, || {
            let deleted = block_on(admin(&bench).delete_groups(&[&bench.group], &AdminOptions::new()));
            match deleted.map(|all| all.into_iter().next()) {
                Ok(Some(Ok(_))) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let worker = bench.start(0);
        let metrics = worker.metrics.clone();
        let Some(stored) = stored else {
            let fault = worker.result().expect_err("stops");
            assert_eq!(fault.reason, Reason::OffsetLost);
            assert!(fault.message.contains("deleted or have expired"), "{fault}");
            assert_eq!(bench.files().len(), 20);
            continue;
        };
        worker.await_ready();
        bench.await_no_lag();
        worker.stop().expect("a clean stop");
        assert_eq!(metrics.stored.get(), stored, "{policy}");
    }
}

#[test]
fn a_topic_that_joins_the_list_is_read_though_the_group_still_knows_the_old_one() {
    let other = unique("second");
    let mut bench = Bench::new("first", 1, json!({}));
    bench.kafka.create_topic(&other, 1, KEEP);
    let names = "{topic}-{partition}-{offset:06}.jpg";
    let output = json!({"jpegFiles": {"directory": "frames", "fileName": names}});
    bench.spec = json!({"output": output});
    bench.kafka.produce(&bench.topic, frames(0..5, 1, 1_000));
    bench.kafka.produce(&other, frames(0..5, 1, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    // Within the session's timeout: the broker gives a static member that comes back what it had.
    bench.spec = json!({"output": output, "from": {"topics": [bench.topic, other]}});
    let worker = bench.start(0);
    wait::until_ok("the second topic is read", PATIENCE, || match bench.files().len() {
        10 => Ok(()),
        other => Err(format!("{other} files; {}", worker.says())),
    });
    worker.stop().expect("a clean stop");
    // And the other way round: a topic that left the list is read no more.
    bench.kafka.produce(&other, frames(5..10, 1, 1_000));
    bench.kafka.produce(&bench.topic, frames(5..10, 1, 1_000));
    bench.spec = json!({"output": output});
    let worker = bench.start(0);
    wait::until("the first topic is read", PATIENCE, || bench.files().len() == 15);
    wait::until("its partition is told", PATIENCE, || worker.metrics.assigned_partitions.get() == 1);
    worker.stop().expect("a clean stop");
    assert_eq!(bench.files().len(), 15);
}

/// A producer of transactions.
fn transactional(bench: &Bench) -> BaseProducer {
    let mut config: ClientConfig = bench.kafka.client();
    let producer: BaseProducer = config.set("transactional.id", unique("tx")).create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("a transactional id");
    producer
}

fn send(producer: &BaseProducer, topic: &str, numbers: std::ops::Range<u64>) {
    producer.begin_transaction().expect("begins");
    for n in numbers {
        let value = jpeg(n, 1_000);
        let record =
            BaseRecord::<(), _>::to(topic).payload(&value).partition(0).timestamp(1_700_000_000_000 + n as i64);
        producer.send(record).map_err(|(e, _)| e).expect("taken");
    }
    producer.flush(PATIENCE).expect("flushed");
}

#[test]
fn transactions_are_read_when_they_are_committed_and_the_lag_comes_to_nothing() {
    let video = json!({"output": {"video": {"directory": "frames", "fileName": "film.avi", "frameRate": 10}}});
    for (spec, is_video) in [(json!({}), false), (video, true)] {
        let bench = Bench::new("transactions", 1, spec);
        let producer = transactional(&bench);
        send(&producer, &bench.topic, 0..10);
        producer.commit_transaction(PATIENCE).expect("committed");
        send(&producer, &bench.topic, 100..110);
        producer.abort_transaction(PATIENCE).expect("aborted");
        let worker = bench.start(0);
        bench.await_no_lag();
        wait::until("the lag is told", PATIENCE, || worker.metrics.lag.records() == Some(0));
        // 10 frames, a marker, 10 frames, a marker.
        assert_eq!(bench.committed(), BTreeMap::from([(0, 22)]));
        // An open transaction is no lag of the sink's: nobody may read it yet.
        send(&producer, &bench.topic, 10..15);
        producer.commit_transaction(PATIENCE).expect("committed");
        wait::until("they are stored", PATIENCE, || worker.metrics.stored.get() == 15);
        bench.await_no_lag();
        worker.stop().expect("a clean stop");
        if !is_video {
            let files = bench.files();
            let found: Vec<_> = files.values().cloned().collect();
            assert_eq!(found, (0..15).map(|n| jpeg(n, 1_000)).collect::<Vec<_>>(), "and no aborted one");
        }
    }
}

#[test]
fn a_partition_whose_leader_is_away_makes_the_sink_unready_and_stays_in_the_lag() {
    let kafka: &'static Cluster = Box::leak(Box::new(Cluster::start(3, Options::default()).expect("three brokers")));
    let mut bench = Bench::without_topic(&unique("led"), json!({}));
    bench.kafka = kafka;
    // Without copies: the partitions of a broker that goes are gone with it.
    let topic = NewTopic::new(&bench.topic, 6, TopicReplication::Fixed(1)).set(KEEP[0].0, KEEP[0].1);
    block_on(admin(&bench).create_topics([&topic], &AdminOptions::new())).expect("made");
    wait::until("it has its leaders", PATIENCE, || kafka.offsets(&bench.topic).is_ok_and(|all| all.len() == 6));
    kafka.produce(&bench.topic, frames(0..60, 6, 1_000));
    let worker = bench.start(0);
    worker.await_ready();
    bench.await_no_lag();
    kafka.kill(1);
    wait::until_ok("it says which partition", PATIENCE, || {
        let says = worker.says();
        let named = says.contains("partition") && says.contains("no leader") && says.contains("status: False");
        if named { Ok(()) } else { Err(says) }
    });
    kafka.restart(1);
    worker.await_ready();
    kafka.produce(&bench.topic, frames(60..120, 6, 1_000));
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    for broker in 0..3 {
        kafka.stop(broker);
    }
}

/// The log file of a topic's partition on a broker's disk.
fn segment(kafka: &Cluster, topic: &str, partition: i32) -> PathBuf {
    let mut folders = vec![kafka.dir().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.ends_with(format!("{topic}-{partition}/00000000000000000000.log")) {
                return path;
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("no segment of {topic}-{partition} below {}", kafka.dir().display());
}

#[test]
fn a_record_that_the_brokers_disk_has_spoilt_is_named_and_never_stored_or_passed() {
    let kafka: &'static Cluster = Box::leak(Box::new(Cluster::start(1, Options::default()).expect("a broker")));
    let mut bench = Bench::without_topic(&unique("spoilt"), json!({}));
    bench.kafka = kafka;
    kafka.create_topic(&bench.topic, 2, KEEP);
    kafka.produce(&bench.topic, frames(0..10, 2, 1_000));
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    // One record in a batch of its own, spoilt before anybody reads it.
    kafka.produce(&bench.topic, frames(11..12, 2, 1_000));
    let path = segment(kafka, &bench.topic, 1);
    let mut bytes = std::fs::read(&path).expect("read");
    let at = bytes.len() - 500;
    bytes[at] ^= 0x01;
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[at..at + 1], at as u64).expect("written");
    kafka.produce(&bench.topic, frames(12..20, 2, 1_000));
    let worker = bench.start(0);
    wait::until_ok("it says which partition", PATIENCE, || {
        let says = worker.says();
        if says.contains("partition 1 cannot be read") && !worker.state.is_ready() { Ok(()) } else { Err(says) }
    });
    wait::until("the other partition is read", PATIENCE, || bench.committed().get(&0) == Some(&9));
    wait::until("the lag is told", PATIENCE, || worker.metrics.lag.records() == Some(5));
    worker.stop().expect("a clean stop");
    assert_eq!(bench.committed(), BTreeMap::from([(0, 9), (1, 5)]));
    assert_eq!(bench.files().len(), 14);
    kafka.stop(0);
}

#[test]
fn a_sink_with_nothing_to_do_hardly_wakes() {
    let bench = Bench::new("idle", 3, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..3, 3, 1_000));
    let worker = bench.spawn(0, &bench.root);
    bench.await_no_lag();
    let wakes = |pid: u32| -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
        let status = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
        let of = |text: String| {
            text.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        };
        status.filter_map(of).sum::<u64>()
    };
    // Against the wall clock, which a busy machine only makes more lenient: fewer wakes fit into it.
    let (before, since) = (wakes(worker.pid()), std::time::Instant::now());
    wait::until("some time has passed", PATIENCE, || since.elapsed() > Duration::from_secs(8));
    let a_second = (wakes(worker.pid()) - before) as f64 / since.elapsed().as_secs_f64();
    worker.kill();
    assert!(a_second < 40.0, "{a_second:.0} wakes a second");
}
