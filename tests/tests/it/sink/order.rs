//! A video's order and its files, when records come late and when a time cannot be trusted.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use edgereel_tests::{
    kafka::{Cluster, Options, topics::NewRecord},
    unique, wait,
};
use jiff::Timestamp;
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, KEEP, PATIENCE, jpeg},
    group::{admin, block_on},
};

fn film(more: Value) -> Value {
    let mut video = json!({"directory": "frames"});
    for (field, value) in more.as_object().expect("an object") {
        video[field] = value.clone();
    }
    json!({"output": {"video": video}})
}

/// The rows of all CSVs, as frame and offset, in the files' order; and how long each file lasts, in seconds.
fn rows(root: &Path) -> (Vec<(String, i32, i64)>, Vec<f64>) {
    let mut files: Vec<_> = fs::read_dir(root.join("frames")).expect("files").flatten().map(|e| e.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "csv"));
    files.sort();
    let (mut rows, mut lengths) = (vec![], vec![]);
    for file in files {
        let text = fs::read_to_string(file).expect("read");
        let mut times = vec![];
        for row in text.lines().skip(1) {
            let fields: Vec<_> = row.split(',').collect();
            rows.push((
                fields[0].into(),
                fields[2].parse().expect("a partition"),
                fields[3].parse().expect("an offset"),
            ));
            times.push(fields[4].parse::<Timestamp>().expect("a time"));
        }
        // The outlier's own time stands in its row.
        times.retain(|time| time.as_second() < 2_000_000_000);
        let span = times.iter().max().zip(times.iter().min()).map(|(last, first)| last.duration_since(*first));
        lengths.push(span.map_or(0.0, |span| span.as_secs_f64()));
    }
    (rows, lengths)
}

#[test]
fn one_time_in_the_future_takes_no_other_frame_along() {
    for partitions in [1, 3] {
        let spec = film(json!({"segment": {"maxDuration": "5s"}, "frameRate": 25}));
        let bench = Bench::without_topic(&unique("future"), spec);
        let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
        bench.kafka.create_topic(&bench.topic, partitions, &[KEEP[0], any_time]);
        let record = |n: u64| NewRecord {
            partition: Some((n % partitions as u64) as i32),
            // 40 s at 25 frames a second, and one of the year 2100 among them.
            timestamp: Some(if n == 250 { 4_102_444_800_000 } else { 1_700_000_000_000 + n as i64 * 40 }),
            ..NewRecord::value(jpeg(n, 2_000))
        };
        bench.kafka.produce(&bench.topic, (0..1000).map(record));
        let worker = bench.start(0);
        bench.await_no_lag();
        let metrics = worker.metrics.clone();
        worker.stop().expect("a clean stop");
        assert_eq!((metrics.stored.get(), metrics.skipped.get()), (1000, 0));
        assert_eq!((metrics.implausible.get(), metrics.late.get()), (1, 0), "{partitions} partitions");
        let (rows, lengths) = rows(&bench.root);
        assert_eq!(rows.len(), 1000);
        assert!(lengths.iter().all(|length| *length <= 5.2), "{lengths:?}");
        assert_eq!(lengths.len(), 8, "{lengths:?}");
    }
}

#[test]
fn frames_that_a_stalled_link_held_back_are_all_in_a_real_time_video() {
    let kafka: &'static Cluster = Box::leak(Box::new(Cluster::start(3, Options::default()).expect("three brokers")));
    let mut bench = Bench::without_topic(&unique("stalled"), film(json!({"fileName": "film.avi"})));
    bench.kafka = kafka;
    let topic = NewTopic::new(&bench.topic, 3, TopicReplication::Fixed(1));
    block_on(admin(&bench).create_topics([&topic], &AdminOptions::new())).expect("made");
    wait::until("it has its leaders", PATIENCE, || kafka.offsets(&bench.topic).is_ok_and(|all| all.len() == 3));
    let worker = bench.start(0);
    worker.await_ready();
    // Idempotent, as a camera's is: the retries of another may overtake each other, and a run of older times amid newer ones is
    // taken for a clock that was put back.
    let mut client = kafka.client();
    let producer: BaseProducer =
        client.set("linger.ms", "0").set("enable.idempotence", "true").create().expect("a producer");
    // A broker that coordinates neither the group nor, alone, the cluster would do; any is stalled for less than either
    // takes to give it up.
    let (began, mut frozen) = (Instant::now(), None);
    for n in 0..360u64 {
        let due = began + Duration::from_micros(n * 1_000_000 / 30);
        wait::until("it is time for the next frame", PATIENCE, || Instant::now() >= due);
        match n {
            90 => {
                kafka.freeze(2);
                frozen = Some(Instant::now());
            }
            _ if frozen.is_some_and(|since: Instant| since.elapsed() > Duration::from_secs(7)) => {
                kafka.thaw(2);
                frozen = None;
            }
            _ => {}
        }
        let value = jpeg(n, 2_000);
        let record = BaseRecord::<(), _>::to(&bench.topic).payload(&value).partition((n % 3) as i32);
        producer.send(record.timestamp(Timestamp::now().as_millisecond())).map_err(|(e, _)| e).expect("taken");
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).expect("all are sent");
    wait::until_ok("all are written", PATIENCE, || {
        let written = worker.metrics.stored.get() + worker.metrics.skipped.get();
        if written == 360 { Ok(()) } else { Err(format!("{written}; {}", worker.says())) }
    });
    let metrics = worker.metrics.clone();
    worker.stop().expect("a clean stop");
    // In their order, unless the brokers said meanwhile that the partition is empty: what a producer still holds, nobody can
    // wait for. But in the video all the same.
    assert_eq!((metrics.stored.get(), metrics.skipped.get()), (360, 0), "written, and left out");
    assert_eq!(rows(&bench.root).0.iter().filter(|(frame, ..)| frame.is_empty()).count(), 0);
    for broker in 0..3 {
        kafka.stop(broker);
    }
}
