//! The course of the demo: each step waits for a condition, and only the time in between is a time.

use std::{
    fmt::Display,
    fs,
    io::{IsTerminal, Write},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use console::style;
use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin,
    kafka::{Cluster, Options},
    metrics::Metrics,
    process::Guarded,
    project_root, scratch, wait,
};

use crate::{
    Args,
    lab::{self, Here, Lab},
    report::{Outcome, SinkLine, StreamLine},
};

/// Between the live line's changes.
const SECOND: Duration = Duration::from_secs(1);
/// For the sinks to store what is left after the cameras stopped.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Runs the whole demo.
pub fn run(args: &Args) -> Result<Outcome> {
    let begun = Instant::now();
    let say =
        |what: &dyn Display| println!("{}  {what}", style(format!("{:>5.1} s", begun.elapsed().as_secs_f64())).dim());
    let dir = fresh_directory()?;
    let interrupted = args.keep_running.then(catch_interrupt).transpose()?;

    say(&format!("starting Kafka ({} broker{})", args.brokers(), if args.brokers() > 1 { "s" } else { "" }));
    let kafka = Cluster::start(args.brokers(), Options { dir: Some(dir.join("kafka")), ..Options::default() })?;
    say(&format!("Kafka serves on {}", kafka.bootstrap()));

    let lab_camera = camera("lab", 30)?;
    let gate_camera = camera("gate", 10)?;
    let here = Here {
        bootstrap: kafka.bootstrap().into(),
        brokers: args.brokers(),
        lab_camera: lab_camera.url.clone(),
        gate_camera: gate_camera.url.clone(),
        root: dir.clone(),
    };
    let lab = lab::prepare(&here, &dir)?;
    say(&format!("cameras: {} (30 fps) and {} (10 fps)", lab_camera.url, gate_camera.url));

    let captures = Edgereel::run([&lab.cameras_file]);
    for stream in &lab.streams {
        ready(&captures, &stream.name)?;
    }
    let capturing = Instant::now();
    say(&"frames flow from the cameras to Kafka");
    let sinks = Edgereel::run([&lab.sinks_file]);
    for sink in &lab.sinks {
        ready(&sinks, &sink.name)?;
    }
    say(&"frames flow from Kafka to the disk");

    let half = args.duration() / 2;
    let live = Live { begun, lab: &lab, captures: &captures };
    live.watch(&sinks, || capturing.elapsed() >= half)?;
    let before_crash = sinks.try_metrics()?;
    sinks.kill();
    say(&style("SIGKILL to the sinks; starting them again").yellow());
    let sinks = Edgereel::run([&lab.sinks_file]);
    live.watch(&sinks, || capturing.elapsed() >= args.duration())?;
    if let Some(interrupted) = &interrupted {
        say(&"going on until Ctrl-C");
        live.watch(&sinks, || interrupted.load(Ordering::Acquire))?;
    }

    drop((lab_camera, gate_camera));
    let captured = settled(&captures, &lab)?;
    let seconds = capturing.elapsed().as_secs_f64();
    say(&"cameras off; stopping the captures");
    stop("captures", captures)?;
    caught_up(&kafka, &lab, &sinks)?;
    let after_crash = sinks.try_metrics()?;
    say(&"the sinks have stored all that was left; stopping them");
    stop("sinks", sinks)?;

    say(&"comparing every file with its topic");
    let verified = edgereel::call(["verify".as_ref(), "--json".as_ref(), "-f".as_ref(), lab.sinks_file.as_os_str()]);
    let reports: Vec<serde_json::Value> = serde_json::from_str(&verified.stdout)
        .with_context(|| format!("edgereel verify failed: {}{}", verified.stdout, verified.stderr))?;
    let streams = lab.streams.iter().map(|stream| {
        let acknowledged = kafka.record_count(&stream.topic) as u64;
        StreamLine::new(&stream.name, &captured, acknowledged, seconds)
    });
    let sinks = lab.sinks.iter().map(|sink| {
        let report = reports.iter().find(|r| r["sink"] == format!("default/{}", sink.name));
        SinkLine::new(sink, report, &before_crash, &after_crash)
    });
    Ok(Outcome {
        streams: streams.collect(),
        sinks: sinks.collect(),
        verified: verified.status.success(),
        logs: scratch::root().into(),
        resources: dir,
    })
}

/// `.run/demo`, empty.
fn fresh_directory() -> Result<std::path::PathBuf> {
    let dir = project_root().join(".run/demo");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot wipe {}: does another demo run?", dir.display()))?;
    }
    let logs = dir.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    scratch::choose(logs);
    Ok(dir)
}

/// Ctrl-C, to end in good order.
fn catch_interrupt() -> Result<Arc<AtomicBool>> {
    let seen = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mark = Arc::clone(&seen);
    let watch = move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            mark.store(true, Ordering::Release);
        }
    };
    thread::Builder::new().name("ctrl-c".into()).spawn(watch).context("cannot watch for Ctrl-C")?;
    Ok(seen)
}

struct Camera {
    url: String,
    _server: Guarded,
}

/// A camera of ours: 1280×720, about 85 KB a frame.
fn camera(name: &str, fps: u32) -> Result<Camera> {
    let mut command = Command::new(edgereel_bin());
    command.args(["camera", "--listen", "127.0.0.1:0", "--names", name, "--fps", &fps.to_string()]);
    command.args(["--size", "1280x720", "--frame-bytes", "85k"]);
    let server = Guarded::spawn(&format!("camera-{name}"), command)?;
    // `camera NAME URL …`: it says so once it serves.
    let said = || {
        let stdout = server.stdout();
        let line = stdout.lines().find_map(|line| line.strip_prefix(&format!("camera {name} ")));
        let url = line.and_then(|l| l.split_whitespace().next()).map(str::to_owned);
        url.map(Ok).or_else(|| server.exit_status().map(Err)).ok_or(())
    };
    let url = match wait::try_until(edgereel::PATIENCE, said) {
        Ok(Ok(url)) => url,
        Ok(Err(status)) => bail!("camera {name} ended ({status})\n{}", server.tail()),
        Err(()) => bail!("camera {name} does not serve\n{}", server.tail()),
    };
    Ok(Camera { url, _server: server })
}

fn ready(worker: &Edgereel, resource: &str) -> Result<()> {
    let look = || -> Result<()> {
        ensure!(worker.try_metrics()?.sum("ready", &[("name", resource)]) == 1.0, "{}", status_of(worker));
        Ok(())
    };
    wait::try_until(edgereel::PATIENCE, look)
        .map_err(|e| anyhow::anyhow!("{resource} does not become ready: {e:#}\n{}", worker.child().tail()))
}

fn status_of(worker: &Edgereel) -> String {
    worker.get("readyz").map(|(_, body)| body).unwrap_or_default()
}

/// Waits until each captured frame has met its fate, and gives the metrics of that moment.
fn settled(captures: &Edgereel, lab: &Lab) -> Result<Metrics> {
    wait::try_until(edgereel::PATIENCE, || {
        let metrics = captures.try_metrics()?;
        for stream in &lab.streams {
            let count = |name: &str| metrics.count(&format!("camera_frames_{name}"), &stream.name);
            let (captured, done) = (count("captured"), count("acknowledged") + count("dropped"));
            ensure!(captured == done, "{}: {captured} captured, {done} acknowledged or dropped", stream.name);
        }
        Ok(metrics)
    })
    .map_err(|e| anyhow::anyhow!("captured frames do not come through: {e:#}\n{}", captures.child().tail()))
}

/// Waits until every group has committed its topic to the end.
fn caught_up(kafka: &Cluster, lab: &Lab, sinks: &Edgereel) -> Result<()> {
    let look = || -> Result<()> {
        for sink in &lab.sinks {
            let lag = kafka.lag(&sink.group, &sink.topic)?;
            ensure!(lag == 0, "{} has {lag} frames to go", sink.name);
        }
        Ok(())
    };
    wait::try_until(CATCH_UP, look).map_err(|e| {
        anyhow::anyhow!("the sinks do not catch up: {e:#}\n{}\n{}", status_of(sinks), sinks.child().tail())
    })
}

fn stop(what: &str, worker: Edgereel) -> Result<()> {
    let status = worker.child().terminate(Duration::from_secs(30))?;
    if !status.success() {
        bail!("the {what} ended badly ({status})\n{}", worker.child().tail());
    }
    Ok(())
}

/// The line that moves while nothing else happens.
struct Live<'a> {
    begun: Instant,
    lab: &'a Lab,
    captures: &'a Edgereel,
}

impl Live<'_> {
    /// Shows the figures once a second (every ten seconds in a pipe) until it is over.
    fn watch(&self, sinks: &Edgereel, mut over: impl FnMut() -> bool) -> Result<()> {
        let terminal = std::io::stdout().is_terminal();
        let every = if terminal { SECOND } else { 10 * SECOND };
        let mut next = Instant::now() + every;
        while !over() {
            for (what, worker) in [("captures", self.captures), ("sinks", sinks)] {
                if let Some(status) = worker.child().exit_status() {
                    bail!("the {what} ended ({status})\n{}", worker.child().tail());
                }
            }
            if Instant::now() >= next {
                next += every;
                let (start, end) = if terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
                print!("{start}{}{end}", self.line(sinks));
                // A closed terminal must not end the demo.
                let _ = std::io::stdout().flush();
            }
            thread::sleep(Duration::from_millis(50));
        }
        if terminal {
            print!("\r\x1b[2K");
        }
        Ok(())
    }

    fn line(&self, sinks: &Edgereel) -> String {
        // A worker that starts again does not answer for a moment: then its figures are 0.
        let captured = self.captures.try_metrics().unwrap_or_default();
        let stored = sinks.try_metrics().unwrap_or_default();
        let of = |metrics: &Metrics, name: &str, names: &mut dyn Iterator<Item = &str>| {
            names.map(|n| metrics.count(name, n).to_string()).collect::<Vec<_>>().join(" + ")
        };
        format!(
            "{:>5.1} s  acknowledged {}, stored {}",
            self.begun.elapsed().as_secs_f64(),
            of(&captured, "camera_frames_acknowledged", &mut self.lab.streams.iter().map(|s| s.name.as_str())),
            of(&stored, "sink_frames_stored", &mut self.lab.sinks.iter().map(|s| s.name.as_str())),
        )
    }
}

/// The bytes of all files below a directory, those of the sinks' own bookkeeping left out.
pub fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let visible = entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.'));
    visible.map(|e| if e.path().is_dir() { bytes_below(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) }).sum()
}
