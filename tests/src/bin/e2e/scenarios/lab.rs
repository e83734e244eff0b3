//! The laboratory of the examples, on the cluster: cameras in pods, a real Kafka, frames on the node's disk.

use edgereel_tests::{project_root, resources, scratch, unique};
use serde_json::{Value, json};

use crate::{kube::Kind, lab::Lab, world::World};

const CAMERAS: [&str; 3] = ["agricam3", "labtappocam1", "frontgate1"];
const SINKS: [&str; 3] = ["labtappocam1-frames", "frontgate1-video", "labtappocam1-archive"];

/// The documents of `examples/lab` with this cluster's addresses, disk and node, and nothing else changed.
fn example(lab: &Lab<'_>, cameras: &str, ffmpeg: &str) -> Vec<Value> {
    let mut documents = vec![];
    for file in ["connection.yaml", "cameras.yaml", "sinks.yaml"] {
        let path = project_root().join("examples/lab").join(file);
        documents.extend(resources::read(&path).unwrap_or_else(|e| panic!("{e:#}")));
    }
    let servers: Vec<&str> = lab.world.kafka.bootstrap().split(',').collect();
    for document in &mut documents {
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        let spec = &mut document["spec"];
        match kind.as_str() {
            "KafkaConnection" => spec["bootstrapServers"] = json!(servers),
            "CameraStream" => {
                // The front gate is FFmpeg's; the two others are two cameras of one server.
                spec["source"]["mjpeg"]["url"] = match name.as_str() {
                    "frontgate1" => json!(ffmpeg),
                    "labtappocam1" => json!(cameras),
                    _ => json!(cameras.replace("/cam0", "/cam1")),
                };
                spec["topic"]["replicationFactor"] = json!(1);
            }
            _ => spec["storage"]["hostPath"]["path"] = json!(lab.disk),
        }
    }
    documents
}

/// The value of a column of `kubectl get`, for each resource.
fn column(table: &str, name: &str) -> Vec<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(at) = header.split_whitespace().position(|h| h == name) else { panic!("no column {name} in\n{table}") };
    lines.map(|line| line.split_whitespace().nth(at).unwrap_or_default().to_owned()).collect()
}

pub fn the_lab_is_applied_and_every_frame_lands_on_the_node(world: &World) {
    let lab = Lab::open(world, "lab");
    let cameras = lab.camera_server("cameras", &["--count", "2"]);
    let ffmpeg = lab.ffmpeg_camera("ffmpeg");
    // As examples/kubernetes/lab says: the node that has the disk gets the label that the resources ask for.
    lab.run(&["label", "node", &lab.node(), "--overwrite", "edgereel.dev/site=lab"]);
    let documents = example(&lab, &cameras, &ffmpeg);
    lab.apply(&documents);
    for camera in CAMERAS {
        lab.await_ready(Kind::Camera, camera);
    }
    for sink in SINKS {
        lab.await_ready(Kind::Sink, sink);
    }
    lab.run(&["wait", "--for=condition=Ready", "--timeout=60s", "kafkaconnection/lab"]);

    // The table is true: it agrees with what the topics hold and with where the pods are.
    for camera in CAMERAS {
        lab.until(Kind::Camera, camera, "figures", |c| {
            c["status"]["fps"].as_f64() > Some(1.0) && c["status"]["framesAcknowledged"].as_i64() > Some(0)
        });
    }
    for sink in SINKS {
        lab.until(Kind::Sink, sink, "figures", |s| s["status"]["framesStored"].as_i64() > Some(0));
    }
    let table = lab.run(&["get", "cam"]);
    lab.say(&format!("kubectl get cam\n{table}"));
    assert_eq!(column(&table, "READY"), ["True"; 3], "{table}");
    assert_eq!(column(&table, "NODE"), vec![lab.node(); 3], "{table}");
    let topics = ["AgriCam3", "FrontGATE1", "LabTappoCam1"]; // in the table's order
    for (said, topic) in column(&table, "ACKNOWLEDGED").iter().zip(topics) {
        let said: i64 = said.parse().unwrap_or_else(|_| panic!("{said} frames acknowledged? {table}"));
        let held = world.kafka.record_count(topic);
        assert!(0 < said && said <= held, "{said} frames acknowledged, and {topic} has {held}");
    }
    let table = lab.run(&["get", "fsink"]);
    lab.say(&format!("kubectl get fsink\n{table}"));
    assert_eq!(column(&table, "READY"), ["True"; 3], "{table}");
    assert_eq!(column(&table, "NODE"), vec![lab.node(); 3], "{table}");
    assert!(column(&table, "STORED").iter().all(|n| n.parse::<i64>().is_ok_and(|n| n > 0)), "{table}");

    let all = lab.run(&["get", "edgereel"]);
    assert!(["camerastream", "framesink", "kafkaconnection"].iter().all(|kind| all.contains(kind)), "{all}");

    // What was applied is what is there: tools that compare see no drift.
    let file = resources::write(&documents);
    let drift = lab.attempt(&["diff", "-f", &file.to_string_lossy()]);
    assert!(drift.status.success(), "kubectl diff finds\n{}{}", drift.stdout, drift.stderr);
    lab.verify(&CAMERAS, &SINKS);
}

/// Those whose kinds are all there; `strimzi` and Argo CD's and Flux's own need other operators.
const EXAMPLES: [&str; 4] = ["quickstart", "lab", "gitops/overlays/lab", "gitops/overlays/field"];

pub fn the_api_server_takes_every_example_as_it_is(world: &World) {
    let lab = Lab::open(world, "examples");
    for example in EXAMPLES {
        let folder = project_root().join("examples/kubernetes").join(example);
        let rendered = lab.run(&["kustomize", &folder.to_string_lossy()]);
        let file = scratch::root().join(format!("{}.yaml", unique("example")));
        std::fs::write(&file, rendered).unwrap_or_else(|e| panic!("{e}"));
        let documents = resources::read(&file).unwrap_or_else(|e| panic!("{example}: {e:#}"));
        let documents: Vec<&Value> = documents.iter().filter(|d| d["kind"] != "Namespace").collect();
        assert!(documents.iter().any(|d| d["kind"] == "CameraStream"), "{example} has no camera");
        resources::write_to(&file, &lab.here(&documents)).unwrap_or_else(|e| panic!("{e:#}"));
        let tried = lab.attempt(&["apply", "--dry-run=server", "-f", &file.to_string_lossy()]);
        assert!(tried.status.success(), "{example}: {}", tried.stderr);
    }
}
