//! What is wanted, and what another file changes of it.

use std::{collections::BTreeSet, fs, path::Path};

use edgereel_crds::name::Kind;
use edgereel_frame::reasons::{DropReason, InvalidReason, MendReason};
use edgereel_runtime::{
    command::kinds::Kinds as _,
    metrics::{Resource, exposition::Format},
    run::changes::{Changes, changes},
};

use super::*;

const DOCUMENTS: &str = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"127.0.0.1:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://gate/video\", credentialsSecretRef: {name: login}}}
  topic: {name: gate}
  kafka: {connectionRef: {name: lab}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: files}
spec:
  from: {topics: [frames]}
  kafka: {connectionRef: {name: lab}}
  output: {jpegFiles: {directory: gate}}
  storage: {hostPath: {path: /data/}}
  placement: {nodes: [edge-1]}
  replicas: 3
";

/// A camera and three replicas of a sink.
pub fn plan() -> Plan {
    read(DOCUMENTS)
}

fn read(documents: &str) -> Plan {
    edgereel_crds::load(&[("lab.yaml".into(), documents.into())]).expect("sound")
}

fn kinds() -> Kinds {
    Kinds::new(Options::default(), &mut Metrics::default())
}

fn wanted(documents: &str) -> Vec<Box<dyn Wanted>> {
    kinds().of(&read(documents), &Secrets::default())
}

fn compared(old: &str, new: &str) -> Changes {
    let (old, new) = (wanted(old), wanted(new));
    changes(&old.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &new)
}

#[test]
fn a_process_runs_all_replicas_or_the_one_that_it_was_told() {
    let plan = plan();
    let names = |only, numbered| {
        replicas(&plan.sinks[0].name, 3, only, numbered).into_iter().map(|(n, name)| (n, name.name)).collect::<Vec<_>>()
    };
    assert_eq!(names(None, false), [(0, "files-0".into()), (1, "files-1".into()), (2, "files-2".into())]);
    assert_eq!(names(Some(1), false), [(1, "files".into())]);
    assert_eq!(names(Some(5), false), [(5, "files".into())], "a pod that is ahead of the resource works all the same");
    assert_eq!(names(Some(1), true), [(1, "files-1".into())], "others of this machine run the others");
    let alone: Vec<_> = replicas(&plan.sinks[0].name, 1, Some(0), true);
    assert_eq!(alone, [(0, plan.sinks[0].name.clone())]);
}

#[test]
fn only_what_changed_is_touched() {
    let same = Changes { staying: (0..4).map(|n| (n, n)).collect(), ..Changes::default() };
    assert_eq!(compared(DOCUMENTS, DOCUMENTS), same);
    let camera = Changes { ending: vec![0], beginning: vec![0], staying: (1..4).map(|n| (n, n)).collect() };
    assert_eq!(compared(DOCUMENTS, &DOCUMENTS.replace("gate/video", "gate/live")), camera);
    let connection = DOCUMENTS.replace("127.0.0.1:9092", "127.0.0.1:9093");
    let all = Changes { ending: (0..4).collect(), beginning: (0..4).collect(), staying: vec![] };
    assert_eq!(compared(DOCUMENTS, &connection), all, "all of them use it");
    let (first, sink) = DOCUMENTS.rsplit_once("---").expect("several documents");
    let gone = Changes { ending: vec![1, 2, 3], beginning: vec![], staying: vec![(0, 0)] };
    assert_eq!(compared(DOCUMENTS, first), gone);
    let (connection, camera) = first.rsplit_once("---").expect("several documents");
    let moved = format!("{connection}---{sink}---{camera}");
    assert_eq!(compared(DOCUMENTS, &moved), same, "the order of the documents changes nothing");
}

#[test]
fn a_second_volume_beside_theirs_does_not_disturb_sinks() {
    let (_, sink) = DOCUMENTS.rsplit_once("---").expect("several documents");
    let second = sink.replace("name: files", "name: other").replace("/data/", "/mnt/other");
    let two = format!("{DOCUMENTS}---{second}");
    let added = Changes { ending: vec![], beginning: vec![4, 5, 6], staying: (0..4).map(|n| (n, n)).collect() };
    assert_eq!(compared(DOCUMENTS, &two), added);
    let gone = Changes { ending: vec![4, 5, 6], beginning: vec![], staying: (0..4).map(|n| (n, n)).collect() };
    assert_eq!(compared(&two, DOCUMENTS), gone);
    let moved = DOCUMENTS.replace("/data/", "/mnt/other");
    let all = Changes { ending: vec![1, 2, 3], beginning: vec![1, 2, 3], staying: vec![(0, 0)] };
    assert_eq!(compared(DOCUMENTS, &moved), all, "another volume is another place");
}

#[test]
fn another_password_concerns_whoever_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("login")).expect("a directory");
    let secrets = Secrets::new(Some(dir.path().into()), Default::default());
    let write = |password| fs::write(dir.path().join("login/password"), password).expect("a file");
    let look = || kinds().of(&plan(), &secrets);
    write("one");
    let before = look();
    write("two");
    let changes = changes(&before.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &look());
    assert_eq!((changes.ending, changes.beginning), (vec![0], vec![0]), "the camera alone");
}

#[test]
fn where_frames_go_is_said_without_asking_the_disk() {
    let said = |root: Option<&str>| sink::goes_to(&plan().sinks[0], root.map(Path::new));
    assert_eq!([said(None), said(Some("/mnt"))], ["/data/gate", "/mnt/gate"]);
}

/// What a name in the document's table may look like: with labels, several in a cell.
fn documented(row: &str) -> Vec<(String, String)> {
    let mut cells = row.trim_matches('|').split('|').map(str::trim);
    let (names, kind) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    let name = |name: &str| name.trim().trim_matches('`').split('{').next().unwrap_or_default().to_owned();
    names.split(',').map(|n| (name(n), kind.to_owned())).filter(|(name, _)| name.starts_with("edgereel_")).collect()
}

#[test]
fn the_document_of_metrics_names_all_that_are_exported_and_no_others() {
    let mut metrics = Metrics::default();
    let kinds = Kinds::new(Options::default(), &mut metrics);
    let plan = plan();
    let (camera, sink) = (kinds.cameras.of(&plan.cameras[0].name), kinds.sinks.of(&plan.sinks[0].name, 0));
    let resource = Resource::new(Kind::FrameSink, &plan.sinks[0].name, 0);
    metrics.ready(&resource);
    metrics.restarts(&resource);
    // These have no series before there is something to say.
    DropReason::ALL.iter().for_each(|reason| camera.refuse(*reason));
    MendReason::ALL.iter().for_each(|reason| _ = camera.mended(*reason).inc());
    InvalidReason::ALL.iter().for_each(|reason| _ = sink.invalid(*reason).inc());
    sink.lag.tell(1, 1.0);

    let text = metrics.text(Format::Prometheus);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE edgereel_")?.split_once(' '));
    let exported: BTreeSet<(String, String)> =
        types.map(|(name, kind)| (format!("edgereel_{name}"), kind.to_owned())).collect();
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md"));
    let document = document.expect("docs/metrics.md");
    let workers = document.split("## The operator's").next().unwrap_or_default();
    let documented: BTreeSet<(String, String)> = workers.lines().flat_map(documented).collect();
    let missing: Vec<_> = exported.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&exported).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in the document: {missing:?}; nowhere else: {unknown:?}");

    let reasons = text.lines().filter_map(|line| line.split_once("reason=\"")?.1.split('"').next());
    let untold: BTreeSet<&str> = reasons.filter(|reason| !workers.contains(&format!("\n| `{reason}` | "))).collect();
    assert!(untold.is_empty(), "reasons that the document does not tell: {untold:?}");
    assert!(text.contains("reason=\"not_jpeg\""), "{text}");
}
