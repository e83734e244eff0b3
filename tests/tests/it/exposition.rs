//! `/metrics` as Prometheus's own tools read it.

use std::process::Command;

use edgereel_tests::{Edgereel, edgereel, kafka, process, prometheus, resources, scratch, unique};
use serde_json::json;

use crate::support::jpeg_files;

#[test]
fn promtool_finds_nothing_to_complain_of() {
    let (topic, disk) = (unique("promtool"), scratch::dir("disk"));
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let documents = [
        resources::connection(kafka::shared().bootstrap()),
        resources::camera("cam", source, &topic, json!({"frameRate": {"target": 10}})),
        resources::sink("files", &topic, jpeg_files(""), &disk, json!({})),
    ];
    let worker = Edgereel::run([resources::write(&documents)]);
    worker.await_metrics("frames are stored", |m| m.count("sink_frames_durable", "files") >= 10);
    let (_, text) = worker.get("metrics").expect("it answers");
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "edgereel_build_info{version="] {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in {text}");
    }
    let file = scratch::dir("metrics").join("metrics.txt");
    std::fs::write(&file, &text).expect("written");
    let mut check = Command::new("sh");
    check.args(["-c", "\"$1\" check metrics < \"$2\"", "sh"]).arg(prometheus::tool("promtool")).arg(&file);
    let said = process::run("promtool", check, edgereel::PATIENCE).expect("it runs");
    assert!(said.status.success() && said.stderr.is_empty(), "{}{}", said.stdout, said.stderr);
}
