//! Every rule of the check with the message that a user sees: good files, one change, the problems that it makes.

mod across;
mod camera;
mod connection;
mod device;
mod document;
mod file;
mod folder;
mod pod;
mod sink;
mod worker;

use edgereel_crds::load;

const BASE: &str = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec:
  bootstrapServers: [\"10.1.56.46:9092\"]
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source:
    mjpeg: {url: \"http://gate/video\"}
  topic: {name: Gate}
  kafka: {connectionRef: {name: lab}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: files}
spec:
  from: {streamRef: {name: gate}}
  output:
    jpegFiles: {directory: frames}
  storage: {hostPath: {path: /data}}
  placement: {nodes: [edge-1]}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: video}
spec:
  from: {streamRef: {name: gate}}
  output:
    video: {directory: archive}
  storage: {hostPath: {path: /data}}
  placement: {nodes: [edge-1]}
";

fn problems(text: &str) -> Vec<String> {
    match load(&[("lab.yaml".into(), text.into())]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|p| p.to_string().replacen("lab.yaml:", "", 1)).collect(),
    }
}

/// The problems after `from` became `to`.
fn after(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "`{from}` is not in the base");
    problems(&BASE.replacen(from, to, 1))
}

/// Each row: what is replaced, by what, and the problems that it makes, one a line (none: it is fine).
fn table(rows: &[(&str, &str, &str)]) {
    let mut wrong = Vec::new();
    for (from, to, expected) in rows {
        let found = after(from, to);
        let found = found.join("\n");
        if found != *expected {
            wrong.push(format!("{to}\nfound:\n{found}\nexpected:\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_base_is_sound() {
    assert_eq!(problems(BASE), [""; 0]);
}
