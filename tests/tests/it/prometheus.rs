//! Alerts and dashboards as a real Prometheus takes them, on what the programs really export.

use std::{collections::BTreeSet, fs, time::Duration};

use edgereel_tests::{
    Edgereel,
    kafka::{self, topics::NewRecord},
    project_root,
    prometheus::{Prometheus, dashboards, metrics_in, panels, rules},
    python, resources, scratch,
    synthetic::Cameras,
    unique, wait,
};
use serde_json::{Value, json};

use crate::support::jpeg_files;

const PATIENCE: Duration = Duration::from_secs(120);

/// The metrics of the operator, which runs in a cluster: by the document, which its own tests hold against what it exports.
fn of_the_operator() -> BTreeSet<String> {
    let document = fs::read_to_string(project_root().join("docs/metrics.md")).expect("docs/metrics.md");
    let table =
        document.split("## The operator's").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next());
    let names = rows.flat_map(|name| ["", "_bucket", "_count", "_sum"].map(|part| format!("{name}{part}")));
    names.collect()
}

/// A camera whose frames are above its target and want mending, a sink with all that a sink can have, and a record that is no frame.
fn lab(cameras: &Cameras) -> Edgereel {
    let (kafka, topic, disk) = (kafka::shared(), unique("prometheus"), scratch::dir("prometheus-disk"));
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, [NewRecord::value("no frame")]);
    let more = json!({"onInvalid": "skip", "retention": {"maxBytes": "1Mi"}});
    let documents = [
        resources::connection(kafka.bootstrap()),
        resources::camera(
            "cam",
            json!({"mjpeg": {"url": cameras.url("format=no-huffman")}}),
            &topic,
            json!({"frameRate": {"target": 10}}),
        ),
        resources::sink("files", &topic, jpeg_files(""), &disk, more),
    ];
    let worker = Edgereel::run([resources::write(&documents)]);
    worker.await_metrics("frames are stored", |m| {
        m.count("sink_frames_durable", "files") >= 100 && m.count("sink_files_deleted", "files") > 0
    });
    worker
}

#[test]
fn every_alert_and_every_panel_can_be_asked_and_asks_for_what_there_is() {
    let cameras = Cameras::start(&["--fps", "20"]);
    let worker = lab(&cameras);
    let (file, groups) = rules();
    let prometheus = Prometheus::start(&[worker.http().trim_start_matches("http://")], &file);
    let wanted: usize =
        groups.as_array().into_iter().flatten().map(|g| g["rules"].as_array().map_or(0, Vec::len)).sum();
    assert!(wanted >= 17, "{groups:#}");
    let rules = wait::until_ok("every rule was evaluated without an error", PATIENCE, || {
        let rules = prometheus.rules().map_err(|e| format!("{e:#}"))?;
        let unwell: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        match rules.len() == wanted && unwell.is_empty() {
            true => Ok(rules),
            false => Err(format!("{} of {wanted} rules, of which {unwell:#?}", rules.len())),
        }
    });
    // A rate needs two scrapes.
    wait::until("the worker was scraped twice", PATIENCE, || {
        prometheus.query("count_over_time(edgereel_build_info[1m]) >= 2").is_ok_and(|series| !series.is_empty())
    });
    let dashboards = dashboards();
    let panels: Vec<_> = dashboards.iter().flat_map(|(file, dashboard)| panels(file, dashboard)).collect();
    assert!(panels.len() > 30, "{panels:#?}");
    let mut asked: Vec<(String, String)> =
        rules.iter().map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect();
    for panel in &panels {
        assert!(!panel.expressions.is_empty(), "{} asks nothing", panel.name);
        asked.extend(panel.expressions.iter().map(|expression| (panel.name.clone(), expression.clone())));
    }
    let seen = prometheus.names().expect("names");
    let elsewhere = of_the_operator();
    let mut unseen = BTreeSet::new();
    for (name, expression) in &asked {
        prometheus.query(expression).unwrap_or_else(|e| panic!("{name}: {e:#}\n{expression}"));
        let metrics = metrics_in(expression);
        assert!(!metrics.is_empty(), "{name} asks for nothing of ours: {expression}");
        for metric in metrics.into_iter().filter(|metric| !seen.contains(metric) && !elsewhere.contains(metric)) {
            unseen.insert((metric, name.clone()));
        }
    }
    assert!(unseen.is_empty(), "nobody exports these: {unseen:#?}");
    chosen(&prometheus, &dashboards, &elsewhere);
    // A worker that does well raises no alert that fires at once, and what stands in a panel about it is something.
    let alerts = prometheus.query("ALERTS{alertstate=\"firing\",alertname!~\"EdgereelOperator.*\"}").expect("asked");
    assert!(alerts.is_empty(), "{alerts:#?}");
    for expression in [
        "sum(rate(edgereel_camera_frames_acknowledged_total[1m])) > 0",
        "sum(rate(edgereel_sink_frames_durable_total[1m])) > 0",
        "max(edgereel_ready{kind=\"FrameSink\"}) == 1",
        "sum(edgereel_camera_frames_dropped_total{reason=\"pacing\"}) > 0",
        "sum(edgereel_camera_frames_mended_total) > 0",
        "sum(edgereel_sink_records_invalid_total) > 0",
    ] {
        assert!(!prometheus.query(expression).expect("asked").is_empty(), "{expression}");
    }
}

/// What people choose from is there: a label of a metric.
fn chosen(prometheus: &Prometheus, dashboards: &[(String, Value)], elsewhere: &BTreeSet<String>) {
    for (file, dashboard) in dashboards {
        for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
            let query = text(&variable["query"]["query"]);
            let Some(values) = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')) else {
                continue;
            };
            let (metric, label) = values.rsplit_once(',').expect("a metric and a label");
            if metrics_in(metric).is_subset(elsewhere) {
                continue;
            }
            let selected = metric.replace("$namespace", ".*");
            let series = prometheus.query(&format!("count by ({}) ({selected})", label.trim())).expect("asked");
            assert!(series.iter().any(|one| one["metric"][label.trim()].is_string()), "{file}: {query}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Reads a dashboard by the types that Grafana generates from its own schema, and prints each field that these do not know.
const UNKNOWN: &str = r#"
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    ours = json.load(file)
theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
unknown = []
def compare(a, b, path):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a:
            compare(a[key], b.get(key), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for n, (x, y) in enumerate(zip(a, b)):
            compare(x, y, f"{path}[{n}]")
    elif a != b:
        unknown.append(path)
compare(ours, theirs, "")
print(json.dumps(unknown))
"#;

#[test]
fn dashboards_hold_nothing_that_grafanas_own_schema_does_not_know() {
    for (name, _) in dashboards() {
        let path = project_root().join("charts/edgereel/files/dashboards").join(&name);
        let said = python::run(UNKNOWN, &[&path.to_string_lossy()]);
        let unknown: Vec<String> = serde_json::from_str(said.trim()).expect("paths");
        // Grafana writes it itself beside a variable's query, to show it; its schema has no word of it.
        let unknown: Vec<_> = unknown.iter().filter(|path| !path.ends_with("].definition")).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}
