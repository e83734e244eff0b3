//! Whoever reads the output may have seen enough before its end (`| head`): no command panics or complains.

use std::{process::Command, time::Duration};

use edgereel_tests::{
    edgereel, edgereel_bin, free_port,
    process::{self, Guarded},
    project_root, resources, wait,
};
use serde_json::json;

/// Runs a command with its output, and its errors too, into a pipe that is closed already, and gives its exit status and
/// what a panic would have said.
#[track_caller]
fn into_nothing(args: &str, errors_too: bool) -> (Option<i32>, String) {
    let errors = if errors_too { "2>&4" } else { "" };
    // The pipe's reader has ended before the command begins.
    let line = format!(
        "exec 3>&1 4> >(exec true); wait $!; '{}' {args} >&4 {errors} 3>&- ; echo $? >&3",
        edgereel_bin().display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]).current_dir(project_root());
    let said = process::run("bash", command, Duration::from_secs(60)).expect("it runs");
    (said.stdout.trim().parse().ok(), said.stderr)
}

#[test]
fn every_command_ends_quietly_when_nobody_reads_its_output() {
    let wrong = resources::write(&[json!({"apiVersion": "edgereel.dev/v1alpha1", "kind": "Camera"})]);
    let wrong = wrong.display();
    for (args, code) in [
        ("schema".to_owned(), 0),
        ("crds".into(), 0),
        ("completions bash".into(), 0),
        ("validate -f examples/lab".into(), 0),
        (format!("validate -f {wrong}"), 1),
        (format!("run -f {wrong}"), 1),
        ("run -f examples/lab --only FrameSink/nobody".into(), 2),
        ("verify -f examples/lab --sink nobody".into(), 2),
        ("camera --listen nowhere".into(), 1),
        ("--help".into(), 0),
        ("run lab.yaml".into(), 2),
        ("--version".into(), 0),
    ] {
        assert_eq!(into_nothing(&args, true), (Some(code), String::new()), "{args}");
        if code == 0 {
            assert_eq!(into_nothing(&args, false), (Some(code), String::new()), "{args}");
        }
    }
}

#[test]
fn a_camera_serves_on_when_nobody_reads_its_address() {
    let port = free_port();
    let line = format!(
        "exec 4> >(exec true); wait $!; exec '{}' camera --listen 127.0.0.1:{port} --size 320x240 >&4",
        edgereel_bin().display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &line]);
    let server = Guarded::spawn("camera", command).expect("starts");
    wait::until_ok("it serves", edgereel::PATIENCE, || {
        reqwest::blocking::get(format!("http://127.0.0.1:{port}/stats")).map_err(|e| format!("{e} {}", server.tail()))
    });
    assert_eq!(server.stderr(), "");
}
