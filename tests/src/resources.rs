//! Resources for tests, as plain data, and as the files that the worker reads.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{scratch, unique};

/// The name of the connection that [`camera`] and [`sink`] refer to.
pub const CONNECTION: &str = "lab";

/// A resource of a kind.
pub fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "edgereel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A `KafkaConnection` named [`CONNECTION`], in plain text.
pub fn connection(bootstrap: &str) -> Value {
    resource("KafkaConnection", CONNECTION, json!({"bootstrapServers": bootstrap.split(',').collect::<Vec<_>>()}))
}

/// A `CameraStream`: its source, its topic (three partitions, one copy), and further fields of the spec.
pub fn camera(name: &str, source: Value, topic: &str, more: Value) -> Value {
    let spec = json!({
        "source": source,
        "topic": {"name": topic, "partitions": 3, "replicationFactor": 1},
        "kafka": {"connectionRef": {"name": CONNECTION}},
    });
    resource("CameraStream", name, merged(spec, more))
}

/// A `CameraStream` of an MJPEG URL.
pub fn mjpeg_camera(name: &str, url: &str, topic: &str) -> Value {
    camera(name, json!({"mjpeg": {"url": url}}), topic, json!({}))
}

/// A `FrameSink` of topics: its output, the directory that it writes to, and further fields of the spec.
pub fn sink(name: &str, topic: &str, output: Value, storage: &Path, more: Value) -> Value {
    let spec = json!({
        "from": {"topics": [topic]},
        "kafka": {"connectionRef": {"name": CONNECTION}},
        "group": format!("{name}-{topic}"),
        "output": output,
        "storage": {"hostPath": {"path": storage}},
        "placement": {"nodes": ["here"]},
    });
    resource("FrameSink", name, merged(spec, more))
}

/// The group of a [`sink`].
pub fn group(sink: &str, topic: &str) -> String {
    format!("{sink}-{topic}")
}

/// One object with the fields of both; the second's win.
fn merged(mut spec: Value, more: Value) -> Value {
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    spec
}

/// Writes the documents to one new file in the scratch directory.
///
/// # Panics
/// When that cannot be written.
pub fn write(documents: &[Value]) -> PathBuf {
    let path = scratch::root().join(format!("{}.yaml", unique("resources")));
    write_to(&path, documents).unwrap_or_else(|e| panic!("{e:#}"));
    path
}

/// Writes the documents to a file, as YAML.
pub fn write_to(path: &Path, documents: &[Value]) -> Result<()> {
    let texts: Result<Vec<String>, _> = documents.iter().map(serde_yaml::to_string).collect();
    let text = texts.with_context(|| format!("cannot write {} as YAML", path.display()))?.join("---\n");
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads every document of a YAML file.
pub fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_multiple(&text).with_context(|| format!("cannot read {} as YAML", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_read_back_as_they_were_written() {
        let documents = [
            connection("127.0.0.1:1,127.0.0.1:2"),
            camera("cam", json!({"synthetic": {}}), "t", json!({"frameRate": {"target": 30}})),
            sink("s", "t", json!({"jpegFiles": {"directory": "a b: #c"}}), Path::new("/x y"), json!({})),
        ];
        assert_eq!(read(&write(&documents)).expect("reads"), documents);
    }
}
