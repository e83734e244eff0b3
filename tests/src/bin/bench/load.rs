//! Many cameras at once: captured and stored by one process beside the broker, on whatever this machine has.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use edgereel_tests::{
    edgereel::Edgereel, edgereel_bin, free_port, metrics::Histogram, process::Guarded, resources, scratch, unique, wait,
};
use serde_json::{Value, json};

use crate::{
    Bench,
    sides::{Sink, await_time, cpu, cpu_of},
};

/// Synthetic cameras of about 85 KB a frame, 30 a second.
fn cameras(count: usize) -> Result<(Guarded, u16)> {
    let port = free_port();
    let mut serve = Command::new(edgereel_bin());
    serve.args(["camera", "--listen", &format!("127.0.0.1:{port}"), "--count", &count.to_string()]);
    serve.args(["--fps", "30", "--frame-bytes", "85k"]);
    let server = Guarded::spawn("cameras", serve)?;
    wait::until("the cameras serve", Duration::from_secs(60), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Ok((server, port))
}

/// `count` cameras and as many sinks in one process. All figures are of the `seconds` after the warm-up: what the
/// histograms held before is taken away.
pub fn many_cameras(bench: &Bench, count: usize, warm_up: u64, seconds: u64) -> Result<Value> {
    let (server, port) = cameras(count)?;
    let out = scratch::dir("load");
    let mut documents = vec![resources::connection(bench.kafka.bootstrap())];
    let mut topics = vec![];
    for i in 0..count {
        let topic = unique("load");
        // 100 MB a partition are kept: the benchmark must not fill the disk.
        bench.kafka.create_topic(&topic, 1, &[("retention.bytes", "100000000"), ("segment.bytes", "50000000")]);
        let url = format!("http://127.0.0.1:{port}/cam{i}");
        let more = json!({"topic": {"name": topic, "partitions": 1}, "frameRate": {"target": 30}});
        documents.push(resources::camera(&format!("cam{i}"), json!({"mjpeg": {"url": url}}), &topic, more));
        let output = json!({"jpegFiles": {"directory": format!("cam{i}")}});
        documents.push(resources::sink(&format!("sink{i}"), &topic, output, &out, json!({})));
        topics.push(topic);
    }
    let worker = Edgereel::run([resources::write(&documents)]);
    for i in 0..count {
        worker.await_ready(&format!("sink{i}"));
        worker.await_ready(&format!("cam{i}"));
    }
    await_time(Duration::from_secs(warm_up));
    let cpus = || -> Result<[Duration; 3]> {
        let broker = bench.kafka.pid(0).context("the broker runs")?;
        Ok([cpu(worker.child())?, cpu(&server)?, cpu_of(broker)?])
    };
    let (before, cpus_before, began) = (worker.metrics(), cpus()?, Instant::now());
    await_time(Duration::from_secs(seconds));
    let (after, cpus_after, elapsed) = (worker.metrics(), cpus()?, began.elapsed().as_secs_f64());
    let total = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    let [worker_cores, camera_cores, broker_cores] =
        std::array::from_fn(|i| (cpus_after[i] - cpus_before[i]).as_secs_f64() / elapsed);
    let latency = |kind: &str, name: &str| {
        let mut all = Histogram::default();
        for i in 0..count {
            let resource = format!("{kind}{i}");
            let mut window = after.histogram(name, &resource);
            window.subtract(&before.histogram(name, &resource));
            all.add(&window);
        }
        let millis = |q: f64| all.quantile(q).map(|s| (s * 1e4).round() / 10.0);
        json!({"p50": millis(0.5), "p99": millis(0.99), "p999": millis(0.999)})
    };
    let result = json!({
        "cameras": count,
        "warmUpSeconds": warm_up,
        "seconds": elapsed,
        "fps": total("camera_frames_captured_total") / elapsed,
        "megabytesPerSecond": total("camera_captured_bytes_total") / elapsed / 1e6,
        "storedFps": total("sink_frames_stored_total") / elapsed,
        "dropped": total("camera_frames_dropped_total"),
        "droppedInWarmUp": before.sum("camera_frames_dropped_total", &[]),
        "lagRecords": after.sum("sink_lag_records", &[]),
        "captureToAcknowledgedMs": latency("cam", "camera_capture_to_acknowledged_seconds"),
        "captureToFileMs": latency("sink", "sink_capture_to_file_seconds"),
        "captureToDurableMs": latency("sink", "sink_capture_to_durable_seconds"),
        "workerCores": worker_cores,
        "cameraServerCores": camera_cores,
        "brokerCores": broker_cores,
        "workerResidentMiB": resident_mib(worker.child())?,
    });
    worker.stop();
    fs::remove_dir_all(&out)?;
    topics.iter().for_each(|topic| bench.kafka.delete_topic(topic));
    println!("\n{count} cameras in one process:\n\n```json\n{result:#}\n```");
    Ok(result)
}

/// Resident memory of one capture worker, and of one sink worker with a backlog and at the camera's pace.
pub fn memory(bench: &Bench, seconds: u64) -> Result<Value> {
    let (_server, port) = cameras(1)?;
    let topic = unique("memory");
    bench.kafka.create_topic(&topic, 1, &[]);
    let connection = resources::connection(bench.kafka.bootstrap());
    let url = format!("http://127.0.0.1:{port}/cam0");
    let more = json!({"topic": {"name": topic, "partitions": 1}});
    let camera = resources::camera("camera", json!({"mjpeg": {"url": url}}), &topic, more);
    let capture = Edgereel::run([resources::write(&[connection.clone(), camera])]);
    capture.await_ready("camera");
    await_time(Duration::from_secs(seconds));
    let mut result =
        json!({"captureResidentMiB": resident_mib(capture.child())?, "capturePeakMiB": peak_mib(capture.child())?});
    for (name, sink) in [("jpeg", Sink::JpegFiles), ("mjpeg", Sink::Mjpeg), ("xvid", Sink::Xvid)] {
        let out = scratch::dir("memory");
        let resource = resources::sink(name, &topic, sink.output(), &out, json!({}));
        let worker = Edgereel::run([resources::write(&[connection.clone(), resource])]);
        worker.await_metrics("the sink has caught up", |m| {
            m.count("sink_frames_stored", name) > 30 * seconds && m.sum("sink_lag_records", &[]) < 100.0
        });
        await_time(Duration::from_secs(seconds / 3));
        result[format!("{name}ResidentMiB")] = resident_mib(worker.child())?.into();
        result[format!("{name}PeakMiB")] = peak_mib(worker.child())?.into();
        worker.stop();
        fs::remove_dir_all(&out)?;
    }
    capture.stop();
    println!("\nMemory of one worker at 30 frames of 85 KB a second:\n\n```json\n{result:#}\n```");
    Ok(result)
}

fn resident_mib(child: &Guarded) -> Result<u64> {
    memory_of(child, "VmRSS:")
}

fn peak_mib(child: &Guarded) -> Result<u64> {
    memory_of(child, "VmHWM:")
}

fn memory_of(child: &Guarded, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
