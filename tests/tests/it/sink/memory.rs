//! What a sink holds stays within bounds, whatever the records are like.

use std::{fs, time::Duration};

use edgereel_tests::{kafka::topics::NewRecord, unique, wait};
use serde_json::json;

use super::bench::{Bench, KEEP, PATIENCE, frames, jpeg};

/// The most memory that a process ever had, in KiB.
fn peak_memory_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Has a worker in a process of its own store the topic; the most memory that it took.
#[track_caller]
pub fn peak_kb_until_stored(bench: &Bench) -> u64 {
    let worker = bench.spawn(0, &bench.root);
    let mut peak = 0;
    wait::until_ok("the backlog is stored", 3 * PATIENCE, || {
        peak = peak.max(peak_memory_kb(worker.pid()).unwrap_or(0));
        match bench.kafka.lag(&bench.group, &bench.topic) {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    worker.kill();
    peak
}

#[test]
fn headers_count_in_what_is_held() {
    let bench = Bench::new("headers", 3, json!({}));
    for batch in 0..6u64 {
        let records = frames(batch * 50..(batch + 1) * 50, 3, 10_000)
            .map(|record| NewRecord { headers: vec![("x-large".into(), vec![b'x'; 500_000])], ..record });
        bench.kafka.produce(&bench.topic, records);
    }
    let peak = peak_kb_until_stored(&bench);
    assert!((1..96 * 1024).contains(&peak), "{peak} KiB at the peak");
    bench.assert_complete();
}

#[test]
fn a_hundred_partitions_share_one_budget() {
    let bench = Bench::new("hundred", 100, json!({}));
    // More than the bound; and slow: a share holds two records.
    for batch in 0..4 {
        bench.kafka.produce(&bench.topic, frames(batch * 500..(batch + 1) * 500, 100, 60_000));
    }
    let peak = peak_kb_until_stored(&bench);
    assert!((1..96 * 1024).contains(&peak), "{peak} KiB at the peak");
    bench.assert_complete();
}

#[test]
fn json_is_counted_before_it_is_decoded() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bench = Bench::new("json", 3, json!({}));
    for batch in 0..6u64 {
        let records = (batch * 200..(batch + 1) * 200).map(|n| NewRecord {
            partition: Some((n % 3) as i32),
            ..NewRecord::value(json!({"frame": STANDARD.encode(jpeg(n, 90_000))}).to_string())
        });
        bench.kafka.produce(&bench.topic, records);
    }
    let peak = peak_kb_until_stored(&bench);
    assert!((1..96 * 1024).contains(&peak), "{peak} KiB at the peak");
}

/// Each stands twice in memory for a moment: as it came, and as it waits. Three more may be on their way from the broker.
#[test]
fn frames_of_fifty_megabytes_are_held_a_few_at_a_time() {
    const FRAME: usize = 50 << 20;
    let topic = unique("huge");
    let bench = Bench::without_topic(&topic, json!({}));
    bench.kafka.create_topic(&topic, 1, &[KEEP[0], ("max.message.bytes", "60000000")]);
    for n in 0..6 {
        bench.kafka.produce(&topic, frames(n..n + 1, 1, FRAME));
    }
    let peak = peak_kb_until_stored(&bench);
    let frames = peak.saturating_sub(64 * 1024) as f64 / (FRAME / 1024) as f64;
    assert!(frames < 5.0, "{frames:.1} frames at once ({peak} KiB)");
    wait::until("all are there", Duration::from_secs(5), || bench.files().len() == 6);
}
