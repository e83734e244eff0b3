//! What has an end, again and again by a schedule. The clock is awaited: its minutes are the world's own.

use std::{fs, path::Path, time::Duration};

use edgereel_frame::samples::png;
use edgereel_tests::{Edgereel, edgereel, kafka, resources, scratch, unique, wait};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{condition, is_ready};

/// A minute comes within a minute; with what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(150);

fn put(folder: &Path, name: &str) {
    fs::write(folder.join(name), png(name)).expect("written");
}

#[track_caller]
fn await_ready_message(worker: &Edgereel, what: &str, wish: impl Fn(&Value, &str) -> bool) -> Value {
    wait::until_ok(what, PATIENCE, || {
        let entry = worker.status_of("nightly");
        let ready = condition(&entry, "Ready");
        let message = ready["message"].as_str().unwrap_or_default().to_owned();
        if wish(&ready, &message) { Ok(entry) } else { Err(format!("{entry:#}\n{}", worker.child().tail())) }
    })
}

#[test]
fn it_waits_runs_and_waits_and_sends_nothing_twice() {
    let (kafka, topic, disk) = (kafka::shared(), unique("schedule"), scratch::dir("schedule"));
    let source = json!({"directory": {"path": "in", "watch": false, "settle": "0s"}});
    let more = json!({"storage": {"hostPath": {"path": &disk}}, "schedule": "* * * * *"});
    fs::create_dir(disk.join("in")).expect("made");
    put(&disk.join("in"), "a.png");
    let camera = resources::camera("nightly", source, &topic, more);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    let worker = Edgereel::run([&file]);
    let entry = await_ready_message(&worker, "it waits for its first run", |ready, message| {
        ready["reason"] == "Scheduled" && message.starts_with("the next run is at ")
    });
    assert!(is_ready(&entry), "{entry:#}");
    // Where a minute has just begun, it has run by now.
    let said = edgereel::call(["status", "--http", worker.http()]);
    assert!(said.stdout.contains("Scheduled") || kafka.topics().contains_key(&topic), "{}", said.stdout);
    let of_run = |message: &str, sent: &str| {
        message.starts_with("the next run is at ")
            && message.contains("the last one, due at ")
            && message.contains(sent)
    };
    await_ready_message(&worker, "its first run has ended", |ready, message| {
        ready["reason"] == "Scheduled" && of_run(message, ": all files were looked at: 1 sent in this run")
    });
    assert_eq!(kafka.record_count(&topic), 1);
    put(&disk.join("in"), "b.png");
    let due = |entry: &Value| -> Timestamp {
        let message = condition(entry, "Ready")["message"].as_str().unwrap_or_default().to_owned();
        let due = message
            .split("due at ")
            .nth(1)
            .and_then(|rest| rest.split(':').take(3).collect::<Vec<_>>().join(":").parse().ok());
        due.unwrap_or_else(|| panic!("no time in {message}"))
    };
    let second = await_ready_message(&worker, "its second run has ended", |_, message| {
        of_run(message, ": all files were looked at: 1 sent in this run") && kafka.record_count(&topic) == 2
    });
    assert_eq!(due(&second).as_second() % 60, 0, "at the minute");
    // One that finds nothing new sends nothing.
    let third = await_ready_message(&worker, "its third run has ended", |_, message| {
        of_run(message, ": all files were looked at: 0 sent in this run")
    });
    assert!(due(&third) > due(&second));
    assert_eq!(kafka.record_count(&topic), 2);
    let said = edgereel::call(["status", "--http", worker.http()]);
    assert!(said.stdout.contains("the next run is at"), "{}", said.stdout);
    assert!(worker.stop().success());
}
