//! Each side's run: what is started, on what frames, and how its CPU time is read.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use edgereel_tests::{
    edgereel::Edgereel, free_port, process, process::Guarded, python, resources, scratch, unique, wait,
};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::Bench;

/// A run takes seconds; a hanging one ends the benchmark.
const PATIENCE: Duration = Duration::from_secs(180);

/// CPU time of a process so far, user and system, all threads.
pub fn cpu(child: &Guarded) -> Result<Duration> {
    cpu_of(child.pid())
}

/// CPU time of a process so far, by its id.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid as i32)).context("no CPU clock")?;
    Ok(clock_gettime(clock).context("no CPU time")?.into())
}

/// An MJPEG camera in Python that serves the corpus at a steady rate to every client.
pub struct MjpegSource {
    /// Its stream.
    pub url: String,
    _server: Guarded,
}

impl MjpegSource {
    pub fn start(bench: &Bench) -> Result<Self> {
        let port = free_port();
        let mut serve = python::command();
        serve
            .arg(bench.scripts.join("mjpeg_source.py"))
            .arg(&bench.corpus)
            .args([&port.to_string(), &bench.fps.to_string()]);
        let server = Guarded::spawn("mjpeg-source", serve)?;
        wait::until("the source serves", PATIENCE, || server.stdout().contains("ready"));
        Ok(MjpegSource { url: format!("http://127.0.0.1:{port}/"), _server: server })
    }
}

/// Runs one of the Python scripts and gives its CPU milliseconds for each frame.
fn script(bench: &Bench, script: &str, args: &[&str]) -> Result<f64> {
    let mut run = python::command();
    run.arg(bench.scripts.join(script)).args(args).env("BOOTSTRAP", bench.kafka.bootstrap());
    let said = process::output(script, run, PATIENCE)?;
    let report: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).context(said.clone())?;
    report["cpu_ms"].as_f64().with_context(|| format!("{script} reports no cpu_ms: {said}"))
}

fn topic(bench: &Bench) -> String {
    let topic = unique("bench");
    bench.kafka.create_topic(&topic, 3, &[]);
    topic
}

/// A topic with so many frames of the corpus.
pub fn fill(bench: &Bench, frames: usize, json: bool) -> Result<String> {
    let topic = topic(bench);
    let (frames, corpus) = (frames.to_string(), bench.corpus.to_string_lossy());
    let mut args = vec!["--client", "confluent", "--topic", &topic, "-n", &frames, "--corpus", &corpus];
    args.extend(json.then_some("--json"));
    script(bench, "produce_frames.py", &args)?;
    Ok(topic)
}

pub fn python_capture(bench: &Bench, url: &str, mode: &str, frames: usize) -> Result<f64> {
    let topic = topic(bench);
    let frames = frames.to_string();
    let args = ["--client", "confluent", "--topic", &topic, "-n", &frames, "--mode", mode, "--url", url];
    let cpu = script(bench, "producer_capture.py", &args)?;
    bench.kafka.delete_topic(&topic);
    Ok(cpu)
}

pub fn python_jpeg(bench: &Bench, topic: &str, mode: &str, frames: usize) -> Result<f64> {
    let out = scratch::dir("python-jpeg");
    let (frames, path) = (frames.to_string(), out.to_string_lossy());
    let args = ["--client", "confluent", "--topic", topic, "-n", &frames, "--mode", mode, "--out", &path];
    let cpu = script(bench, "consumer_jpeg.py", &args)?;
    std::fs::remove_dir_all(&out)?;
    Ok(cpu)
}

pub fn python_avi(bench: &Bench, topic: &str, format: &str, frames: usize) -> Result<f64> {
    let out = scratch::dir("python-avi");
    let (frames, path) = (frames.to_string(), out.to_string_lossy());
    let args = ["--client", "confluent", "--topic", topic, "-n", &frames, "--format", format, "--out", &path];
    let cpu = script(bench, "consumer_avi.py", &args)?;
    std::fs::remove_dir_all(&out)?;
    Ok(cpu)
}

/// CPU for each acknowledged frame, once the camera runs.
pub fn edgereel_capture(bench: &Bench, url: &str, frames: u64) -> Result<f64> {
    let topic = topic(bench);
    let camera = resources::mjpeg_camera("bench", url, &topic);
    let worker = Edgereel::run([resources::write(&[resources::connection(bench.kafka.bootstrap()), camera])]);
    let acknowledged = |least: u64| {
        let metrics = worker
            .await_metrics("frames are acknowledged", |m| m.count("camera_frames_acknowledged", "bench") >= least);
        anyhow::Ok((metrics.count("camera_frames_acknowledged", "bench"), cpu(worker.child())?))
    };
    let (from, cpu_from) = acknowledged(20)?;
    // Not asked meanwhile: answering would count as capturing.
    await_time(Duration::from_secs_f64(frames as f64 / f64::from(bench.fps)));
    let (to, cpu_to) = acknowledged(from + frames / 2)?;
    let dropped = worker.metrics().sum("camera_frames_dropped_total", &[("name", "bench")]);
    if dropped > 0.0 {
        bail!("the camera dropped {dropped} frames: the figure would flatter");
    }
    worker.stop();
    bench.kafka.delete_topic(&topic);
    Ok((cpu_to - cpu_from).as_secs_f64() * 1e3 / (to - from) as f64)
}

/// A folder of so many pictures, those of the corpus again and again under other names.
pub fn folder(bench: &Bench, files: usize) -> Result<PathBuf> {
    let root = scratch::dir("folder");
    std::fs::create_dir(root.join("in"))?;
    let mut corpus: Vec<PathBuf> =
        std::fs::read_dir(&bench.corpus)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    corpus.sort();
    for n in 0..files {
        std::fs::copy(&corpus[n % corpus.len()], root.join(format!("in/{n:05}.jpg")))?;
    }
    Ok(root)
}

pub fn python_folder(bench: &Bench, folder: &Path, client: &str, files: usize) -> Result<f64> {
    let topic = topic(bench);
    let (files, folder) = (files.to_string(), folder.join("in"));
    let args = ["--client", client, "--topic", &topic, "-n", &files, "--corpus", &folder.to_string_lossy()];
    let cpu = script(bench, "producer_dataset.py", &args)?;
    bench.kafka.delete_topic(&topic);
    Ok(cpu)
}

/// CPU for each acknowledged file, the process's start included.
pub fn edgereel_folder(bench: &Bench, folder: &Path, format: &str, files: u64) -> Result<f64> {
    let topic = topic(bench);
    // A name of its own each time: nothing was sent yet.
    let name = unique("bench");
    let more = json!({"storage": {"hostPath": {"path": folder}}, "encoding": {"format": format}});
    let camera = resources::camera(&name, json!({"directory": {"path": "in"}}), &topic, more);
    let worker = Edgereel::run([resources::write(&[resources::connection(bench.kafka.bootstrap()), camera])]);
    worker.await_metrics("all files are acknowledged", |m| m.count("camera_frames_acknowledged", &name) >= files);
    let cpu = cpu(worker.child())?;
    worker.stop();
    bench.kafka.delete_topic(&topic);
    Ok(cpu.as_secs_f64() * 1e3 / files as f64)
}

/// A benchmark measures over time: here time itself is the condition.
pub fn await_time(time: Duration) {
    let end = Instant::now() + time;
    wait::until("time passes", time * 2 + Duration::from_secs(5), || Instant::now() >= end);
}

/// What a sink writes.
#[derive(Clone, Copy)]
pub enum Sink {
    JpegFiles,
    Mjpeg,
    Xvid,
}

impl Sink {
    pub fn output(self) -> Value {
        match self {
            Sink::JpegFiles => json!({"jpegFiles": {"directory": "out"}}),
            Sink::Mjpeg => json!({"video": {"directory": "out", "frameRate": 30, "segment": {"maxBytes": "1Gi"}}}),
            Sink::Xvid => json!({"video": {"directory": "out", "codec": "xvid", "frameRate": 10}}),
        }
    }
}

/// CPU for each durable frame, the process's start included.
pub fn edgereel_sink(bench: &Bench, topic: &str, sink: Sink, frames: u64) -> Result<f64> {
    let out = scratch::dir("edgereel-sink");
    // A new name each time: a new group, which begins at the topic's start.
    let name = unique("bench");
    let resource = resources::sink(&name, topic, sink.output(), &out, json!({}));
    let worker = Edgereel::run([resources::write(&[resources::connection(bench.kafka.bootstrap()), resource])]);
    worker.await_metrics("all frames are durable", |m| m.count("sink_frames_durable", &name) >= frames);
    let cpu = cpu(worker.child())?;
    worker.stop();
    std::fs::remove_dir_all(&out)?;
    Ok(cpu.as_secs_f64() * 1e3 / frames as f64)
}
