//! Kinds that another program runs: `edgereel run` starts it, watches it, shows what it says, and ends it.

use std::{path::Path, process::Command};

use edgereel_tests::{
    Edgereel, edgereel,
    edgereel::PATIENCE,
    edgereel_bin,
    kafka::{self, topics::NewRecord},
    process::Signal,
    resources, scratch,
    terminal::Terminal,
    toy_bin, unique, video, wait,
};
use nix::{sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};

use crate::support::{
    assert_verified, await_lag_zero, condition, contents, is_ready, is_unready, jpeg_files, sorted, values,
};

/// A camera of this program, and a sink that another one is to run.
fn documents(topic: &str) -> std::path::PathBuf {
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let camera = resources::camera("gate", source, topic, json!({"frameRate": {"target": 10}}));
    let sink = resources::sink("files", topic, jpeg_files("gate"), &scratch::dir("disk"), json!({}));
    resources::write(&[resources::connection(kafka::shared().bootstrap()), camera, sink])
}

fn sinks_by(program: &Path) -> String {
    format!("FrameSink={}", program.display())
}

fn run(file: &Path, program: &Path, command: Command) -> Edgereel {
    Edgereel::start([file], command, &["--program", &sinks_by(program)])
}

/// The process that counts for the sink, as it says itself.
fn toy(worker: &Edgereel, not: Option<Pid>) -> (Pid, Value) {
    let pid = |entry: &Value| {
        let message = condition(entry, "StorageHealthy")["message"].as_str()?.to_owned();
        message.strip_prefix("counting in process ")?.parse().ok().map(Pid::from_raw)
    };
    let entry = worker.await_status_of("files", "the toy counts", |entry| {
        is_ready(entry) && pid(entry).is_some_and(|pid| Some(pid) != not) && counted(entry) >= 3
    });
    (pid(&entry).expect("a process"), entry)
}

fn counted(entry: &Value) -> u64 {
    entry["figures"]["framesCounted"].as_u64().unwrap_or(0)
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None).is_err()
}

#[track_caller]
fn await_gone(pid: Pid) {
    wait::until_ok("the other program has ended", PATIENCE, || if is_gone(pid) { Ok(()) } else { Err(pid) });
}

fn last_error(entry: &Value) -> &str {
    entry["lastError"]["message"].as_str().unwrap_or_default()
}

#[test]
fn a_kind_of_another_program_is_shown_as_its_own_started_again_after_a_crash_and_stopped_with_the_rest() {
    let topic = unique("siblings");
    let worker = run(&documents(&topic), &toy_bin(), Command::new(edgereel_bin()));
    let (first, entry) = toy(&worker, None);
    assert_eq!(
        (entry["overview"]["short"].as_str(), entry["semantics"]["framesCounted"].as_str()),
        (Some("toy"), Some("count"))
    );
    worker.await_ready("gate");
    let seen = worker.await_metrics("both programs' metrics", |m| {
        m.count("toy_frames", "files") > 0 && m.count("camera_frames_acknowledged", "gate") > 0
    });
    assert_eq!(seen.sum("ready", &[("name", "files")]), 1.0, "told by both, shown once");
    let (_, text) = worker.get("metrics").expect("metrics");
    assert_eq!(text.matches("# TYPE edgereel_ready ").count(), 1, "{text}");
    let own = text.lines().filter(|line| line.starts_with("process_resident_memory_bytes "));
    assert_eq!(own.count(), 1, "what the other says of itself: {text}");

    // Killed, it begins again, and nothing else notices.
    kill(first, Signal::SIGKILL).expect("it runs");
    worker.await_status_of("files", "the crash is told", |entry| {
        is_unready(entry, "ProgramFailed") && condition(entry, "StorageHealthy")["status"] == "Unknown"
    });
    let (second, entry) = toy(&worker, Some(first));
    assert!(last_error(&entry).contains("was ended by SIGKILL"), "{entry:#}");
    assert!(counted(&entry) > 3, "counts go on: {entry:#}");
    let metrics = worker.metrics();
    assert_eq!((metrics.count("restarts", "files"), metrics.count("restarts", "gate")), (1, 0));
    assert_eq!(metrics.count("camera_reconnects", "gate"), 0);

    // Frozen, it is said to be, and goes on where it was.
    kill(second, Signal::SIGSTOP).expect("it runs");
    worker.await_status_of("files", "the silence is told", |entry| is_unready(entry, "ProgramFailed"));
    kill(second, Signal::SIGCONT).expect("it runs");
    let entry = worker.await_status_of("files", "it answers again", is_ready);
    assert!(condition(&entry, "StorageHealthy")["message"].as_str().is_some_and(|m| m.ends_with(&second.to_string())));

    let log = worker.log();
    assert!(log.contains("the toy counts"), "its log lines are not passed on: {log}");
    worker.signal(Signal::SIGTERM);
    await_gone(second);
    let end = wait::until_ok("the end is told", PATIENCE, || {
        let log = worker.log();
        log.lines()
            .find(|line| line.contains("frames counted since its program began again"))
            .map(str::to_owned)
            .ok_or(log)
    });
    assert!(end.contains("FrameSink/files: 1"), "what is told at last (1000 and more) is heard: {end}");
    assert!(worker.stop().success());
}

#[test]
fn how_another_program_crashed_is_in_the_status() {
    let mut command = Command::new(edgereel_bin());
    command.env("EDGEREEL_TOY_ABORT", "3");
    let worker = run(&documents(&unique("siblings")), &toy_bin(), command);
    let said = "edgereel-toy was ended by SIGABRT; its last line: terminate called after throwing an instance of 'toy::broken'";
    let entry = worker.await_status_of("files", "the crash is told", |entry| last_error(entry).ends_with(said));
    assert!(is_unready(&entry, "ProgramFailed") || is_unready(&entry, "Starting") || is_ready(&entry), "{entry:#}");
    worker.await_metrics("it is tried again and again", |m| m.count("restarts", "files") >= 2);
    worker.await_ready("gate");
    assert!(worker.stop().success());
}

#[test]
fn another_program_stops_when_the_one_that_ran_it_is_killed() {
    let worker = run(&documents(&unique("siblings")), &toy_bin(), Command::new(edgereel_bin()));
    let (pid, _) = toy(&worker, None);
    worker.kill();
    await_gone(pid);
}

#[test]
fn a_program_that_is_not_there_is_named_and_all_else_runs() {
    let file = documents(&unique("siblings"));
    let nowhere = scratch::dir("nowhere").join("edgereel-vision");
    let worker = run(&file, &nowhere, Command::new(edgereel_bin()));
    worker.await_ready("gate");
    let entry = worker.await_status_of("files", "it is named", |entry| is_unready(entry, "ProgramMissing"));
    assert!(last_error(&entry).contains("edgereel-vision is no program"), "{entry:#}");
    assert!(worker.stop().success());

    let args = ["validate", "--program", "FrameSink=edgereel-vision", "-f"].map(AsRef::as_ref);
    let validated = edgereel::call(args.into_iter().chain([file.as_os_str()]));
    assert_eq!(validated.code(), 0, "the files are sound: {validated:?}");
    let said = "FrameSinks cannot run on this machine: `edgereel-vision`, which does this work, is neither beside this \
                program nor on PATH";
    assert!(validated.stderr.contains(said), "{validated:?}");
}

#[test]
fn every_frame_is_stored_once_by_a_sink_whose_replicas_are_processes_of_their_own() {
    let (kafka, topic, disk) = (kafka::shared(), unique("siblings"), scratch::dir("disk"));
    kafka.create_topic(&topic, 2, &[]);
    let more = json!({"replicas": 2});
    let sink = resources::sink("files", &topic, jpeg_files("gate"), &disk, more);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let worker = run(&file, &edgereel_bin(), Command::new(edgereel_bin()));
    worker.await_ready("files-0");
    worker.await_ready("files-1");
    kafka.produce(&topic, video::pictures(40).into_iter().map(NewRecord::value));
    await_lag_zero(kafka, &worker, "files", &topic);
    let stored = |m: &edgereel_tests::metrics::Metrics| {
        m.count("sink_frames_durable", "files-0") + m.count("sink_frames_durable", "files-1")
    };
    worker.await_metrics("both count", |m| stored(m) == 40);
    assert!(worker.stop().success());
    assert!(contents(&disk, ".jpg") == sorted(values(&kafka.consume_all(&topic))));
    assert_verified(&file);
}

#[test]
fn on_a_terminal_its_rows_stand_in_the_table_its_lines_above_and_ctrl_c_stops_all_in_order() {
    let file = documents(&unique("siblings"));
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "--program", &sinks_by(&toy_bin()), "-f"]).arg(&file);
    let terminal = Terminal::run(command, 100, 30);
    let seen = terminal.await_lines("both rows are ready", |lines| {
        ["gate ", "files "].iter().all(|name| lines.iter().any(|line| line.starts_with(name) && line.contains("Ready")))
    });
    let place = |text: &str| seen.iter().position(|line| line.contains(text));
    assert!(place("the toy counts").is_some_and(|above| Some(above) < place("NAME ")), "{seen:#?}");
    terminal.type_in("\x03");
    let seen =
        terminal.await_lines("all has stopped", |lines| lines.iter().any(|line| line.contains("FrameSink/files: ")));
    let end = seen.iter().find(|line| line.contains("FrameSink/files: ")).expect("found");
    assert!(end.contains("frames counted") && !end.contains("not ready"), "{seen:#?}");
    let status = terminal.child().wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{seen:#?}");
}
