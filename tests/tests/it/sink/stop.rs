//! Stops in the middle of a backlog: what is committed is what was written.

use std::collections::BTreeMap;

use edgereel_tests::{kafka::topics::NewRecord, video::jpegs_of, wait};
use serde_json::json;

use super::bench::{Bench, PATIENCE, frames, jpeg};

/// What is committed of each partition is exactly what was written of it.
#[track_caller]
fn assert_committed_is_stored(bench: &Bench) {
    let mut stored = BTreeMap::<i32, i64>::new();
    for name in bench.files().keys() {
        let partition = name.split('-').next().and_then(|text| text.parse().ok()).expect("a partition");
        *stored.entry(partition).or_default() += 1;
    }
    let committed: BTreeMap<_, _> = bench.committed().into_iter().filter(|(_, next)| *next > 0).collect();
    assert_eq!(committed, stored);
}

#[test]
fn a_stop_amid_a_backlog_commits_what_was_written_and_nothing_else() {
    // The records that it holds, and the end of the partition behind them, come to nothing.
    let bench = Bench::new("amid", 3, json!({}));
    bench.kafka.produce(&bench.topic, frames(0..6000, 3, 1_000));
    let worker = bench.start(0);
    wait::until("it has begun", PATIENCE, || worker.metrics.stored.get() >= 50);
    worker.stop().expect("a clean stop");
    assert_committed_is_stored(&bench);
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    bench.assert_complete();
}

#[test]
fn a_video_that_is_stopped_amid_a_backlog_goes_on_where_it_was() {
    let film = json!({"directory": "frames", "fileName": "film.avi", "frameRate": 25});
    let bench = Bench::new("amidst", 3, json!({"output": {"video": film}}));
    bench.kafka.produce(&bench.topic, frames(0..3000, 3, 1_000));
    let worker = bench.start(0);
    wait::until("it has begun", PATIENCE, || worker.metrics.stored.get() >= 50);
    let metrics = worker.metrics.clone();
    worker.stop().expect("a clean stop");
    assert_eq!(bench.committed().values().sum::<i64>(), metrics.stored.get() as i64);
    let worker = bench.start(0);
    bench.await_no_lag();
    worker.stop().expect("a clean stop");
    let videos = bench.files().into_keys().filter(|name| name.ends_with(".avi"));
    let mut found: Vec<_> = videos.flat_map(|name| jpegs_of(&bench.root.join("frames").join(name))).collect();
    found.sort_unstable();
    let mut expected: Vec<_> = (0..3000).map(|n| jpeg(n, 1_000)).collect();
    expected.sort_unstable();
    assert!(found == expected, "{} frames", found.len());
}

#[test]
fn a_record_that_ends_a_sink_takes_no_other_partitions_records_along() {
    let bench = Bench::new("along", 2, json!({}));
    let bad = NewRecord { partition: Some(0), ..NewRecord::value(b"no picture".to_vec()) };
    let good = (0..2000).map(|n| NewRecord { partition: Some(1), ..NewRecord::value(jpeg(n, 1_000)) });
    bench.kafka.produce(&bench.topic, std::iter::once(bad).chain(good));
    bench.start(0).result().expect_err("a record that is no frame");
    assert_committed_is_stored(&bench);
}
