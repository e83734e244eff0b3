//! The laboratory's resources, moved to this machine: brokers, cameras and disks have other addresses, nothing else changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use edgereel_tests::{project_root, resources};
use serde_json::{Value, json};

/// Where things are on this machine.
pub struct Here {
    /// `HOST:PORT,…`.
    pub bootstrap: String,
    /// How many brokers there are: more copies than that cannot be had.
    pub brokers: usize,
    /// The camera of those streams that take 30 frames a second, and of the gate.
    pub lab_camera: String,
    /// The gate's.
    pub gate_camera: String,
    /// The laboratory's `/`.
    pub root: PathBuf,
}

/// A stream and what its topic is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub name: String,
    pub topic: String,
}

/// A sink: what it reads, as whom, and where its files are.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub name: String,
    pub topic: String,
    pub group: String,
    pub directory: PathBuf,
}

/// The resources of this machine.
pub struct Lab {
    pub streams: Vec<Stream>,
    pub sinks: Vec<Sink>,
    /// Connection and cameras.
    pub cameras_file: PathBuf,
    /// Connection and sinks, with the cameras that they refer to suspended: this file captures nothing.
    pub sinks_file: PathBuf,
}

/// Reads `examples/lab`, moves it here, makes the disks' directories, and writes the files into `dir`.
pub fn prepare(here: &Here, dir: &Path) -> Result<Lab> {
    let examples = project_root().join("examples/lab");
    let mut documents = vec![];
    for file in ["connection.yaml", "cameras.yaml", "sinks.yaml"] {
        documents.extend(resources::read(&examples.join(file))?);
    }
    documents.iter_mut().for_each(|document| relocate(document, here));
    let of = |kind: &str| documents.iter().filter(|d| d["kind"] == kind).cloned().collect::<Vec<Value>>();
    let (connections, cameras, sinks) = (of("KafkaConnection"), of("CameraStream"), of("FrameSink"));
    for sink in &sinks {
        let path = text(&sink["spec"]["storage"]["hostPath"]["path"]);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {path}"))?;
    }
    let streams: Vec<Stream> = cameras.iter().map(stream).collect();
    let lab = Lab {
        sinks: sinks.iter().map(|document| sink(document, &streams)).collect::<Result<_>>()?,
        streams,
        cameras_file: dir.join("cameras.yaml"),
        sinks_file: dir.join("sinks.yaml"),
    };
    let mut suspended = cameras.clone();
    suspended.iter_mut().for_each(|camera| camera["spec"]["suspend"] = json!(true));
    resources::write_to(&lab.cameras_file, &[connections.clone(), cameras].concat())?;
    resources::write_to(&lab.sinks_file, &[connections, suspended, sinks].concat())?;
    Ok(lab)
}

/// Gives a document this machine's addresses.
fn relocate(document: &mut Value, here: &Here) {
    let is_gate = document["spec"]["encoding"]["format"] == "json";
    let spec = &mut document["spec"];
    if let Some(servers) = spec.get_mut("bootstrapServers") {
        *servers = here.bootstrap.split(',').collect();
    }
    if let Some(url) = spec.pointer_mut("/source/mjpeg/url") {
        *url = json!(if is_gate { &here.gate_camera } else { &here.lab_camera });
    }
    if let Some(copies) = spec.pointer_mut("/topic/replicationFactor") {
        *copies = json!(copies.as_u64().unwrap_or(1).min(here.brokers as u64));
    }
    if let Some(path) = spec.pointer_mut("/storage/hostPath/path") {
        *path = json!(here.root.join(text(path).trim_start_matches('/')));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn stream(document: &Value) -> Stream {
    Stream { name: text(&document["metadata"]["name"]), topic: text(&document["spec"]["topic"]["name"]) }
}

fn sink(document: &Value, streams: &[Stream]) -> Result<Sink> {
    let (name, spec) = (text(&document["metadata"]["name"]), &document["spec"]);
    let from = text(&spec["from"]["streamRef"]["name"]);
    let topic = streams.iter().find(|s| s.name == from).map(|s| s.topic.clone());
    let output = spec["output"].as_object().and_then(|o| o.values().next());
    let below = output.map(|o| text(&o["directory"])).unwrap_or_default();
    Ok(Sink {
        topic: topic.with_context(|| format!("FrameSink {name} refers to no CameraStream of examples/lab"))?,
        group: spec["group"].as_str().map_or_else(|| format!("edgereel.default.{name}"), Into::into),
        directory: Path::new(&text(&spec["storage"]["hostPath"]["path"])).join(below),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_copies_and_paths_change() {
        let here = Here {
            bootstrap: "127.0.0.1:1,127.0.0.1:2".into(),
            brokers: 2,
            lab_camera: "http://lab/".into(),
            gate_camera: "http://gate/".into(),
            root: "/here".into(),
        };
        let camera = |url: &str, format: &str, copies: u64| {
            json!({"kind": "CameraStream", "spec": {
                "source": {"mjpeg": {"url": url}}, "encoding": {"format": format},
                "topic": {"name": "t", "partitions": 3, "replicationFactor": copies}}})
        };
        let sink =
            |path: &str| json!({"kind": "FrameSink", "spec": {"storage": {"hostPath": {"path": path}}, "group": "g"}});
        let connection = |servers: Value| json!({"kind": "KafkaConnection", "spec": {"bootstrapServers": servers}});
        for (mut there, expected) in [
            (camera("http://10.1.56.46:9085/", "jpeg", 3), camera("http://lab/", "jpeg", 2)),
            (camera("http://10.1.56.46:9087/", "json", 1), camera("http://gate/", "json", 1)),
            (sink("/KafkaSSD/data"), sink("/here/KafkaSSD/data")),
            (connection(json!(["10.1.56.46:9092"])), connection(json!(["127.0.0.1:1", "127.0.0.1:2"]))),
        ] {
            relocate(&mut there, &here);
            assert_eq!(there, expected);
        }
    }

    #[test]
    fn the_examples_become_three_streams_and_three_sinks_with_directories() {
        let dir = edgereel_tests::scratch::dir("lab");
        let here = Here {
            bootstrap: "127.0.0.1:1".into(),
            brokers: 1,
            lab_camera: "http://127.0.0.1:2/".into(),
            gate_camera: "http://127.0.0.1:3/".into(),
            root: dir.clone(),
        };
        let lab = prepare(&here, &dir).expect("examples/lab is whole");
        let topics: Vec<&str> = lab.streams.iter().map(|s| s.topic.as_str()).collect();
        assert_eq!(topics, ["AgriCam3", "LabTappoCam1", "FrontGATE1"]);
        let groups: Vec<&str> = lab.sinks.iter().map(|s| s.group.as_str()).collect();
        assert_eq!(groups, ["frame_consumer_group", "video_consumer_group", "archive_consumer_group"]);
        assert_eq!(lab.sinks[0].directory, dir.join("KafkaSSD/data/fps test data/labtappocam1"));
        assert!(dir.join("media/user/Extreme SSD/DATAPIPELINE").is_dir());
        let written = fs::read_to_string(&lab.sinks_file).expect("written");
        assert!(!written.contains("10.1.56.46"), "{written}");
    }
}
