//! What several of the tests need: stored files as data, and a sink that has come to rest.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{Cluster, topics::Record},
    resources, wait,
};
use serde_json::{Value, json};

/// All files below a directory with this ending, by name; the sinks' own bookkeeping (`.edgereel`) left out.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The contents of [`files`], sorted.
pub fn contents(dir: &Path, ending: &str) -> Vec<Vec<u8>> {
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    sorted(files(dir, ending).into_iter().map(read).collect())
}

/// In one order, to be compared as sets that count.
pub fn sorted(mut all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    all.sort();
    all
}

/// The records' values.
pub fn values(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|r| r.value.clone().unwrap_or_default()).collect()
}

/// The records' values by capture time, as a video shows them.
pub fn in_time(mut records: Vec<Record>) -> Vec<Vec<u8>> {
    records.sort_by_key(|r| (r.timestamp, r.partition, r.offset));
    values(&records)
}

/// Waits until the sink's group has committed the topic to its end.
#[track_caller]
pub fn await_lag_zero(kafka: &Cluster, worker: &Edgereel, sink: &str, topic: &str) {
    let group = resources::group(sink, topic);
    wait::until_ok(&format!("{sink} has committed all of {topic}"), Duration::from_secs(90), || {
        if let Some(status) = worker.child().exit_status() {
            return Err(format!("the worker ended ({status})\n{}", worker.child().tail()));
        }
        match kafka.lag(&group, topic) {
            Ok(0) => Ok(()),
            Ok(lag) => Err(format!("{lag} to go\n{}", worker.child().tail())),
            Err(e) => Err(format!("{e:#}")),
        }
    });
}

/// Runs the sinks of a file until they have stored their topics, and stops them in good order.
#[track_caller]
pub fn store_all(kafka: &Cluster, file: &Path, sinks: &[&str], topic: &str) {
    let worker = Edgereel::run([file]);
    for sink in sinks {
        await_lag_zero(kafka, &worker, sink, topic);
    }
    let status = worker.stop();
    assert!(status.success(), "the worker ended badly: {status}");
}

/// `edgereel verify` finds nothing wrong.
#[track_caller]
pub fn assert_verified(file: &Path) {
    let verified = edgereel::verify(file);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
}

/// Each frame a file, in this directory.
pub fn jpeg_files(directory: &str) -> Value {
    json!({"jpegFiles": {"directory": directory}})
}

/// One condition of an entry of `/status`.
#[track_caller]
pub fn condition(entry: &Value, kind: &str) -> Value {
    let conditions = entry["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == kind));
    found.cloned().unwrap_or_else(|| panic!("no condition {kind} in {entry:#}"))
}

/// Whether a resource is ready, by its entry in `/status`.
pub fn is_ready(entry: &Value) -> bool {
    condition(entry, "Ready")["status"] == "True"
}

/// Whether a resource is unready for this reason, by its entry in `/status`.
pub fn is_unready(entry: &Value, reason: &str) -> bool {
    let ready = condition(entry, "Ready");
    ready["status"] == "False" && ready["reason"] == reason
}
