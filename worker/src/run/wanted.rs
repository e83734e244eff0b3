//! What is to run, and how another plan differs from it.

use std::path::{Path, PathBuf};

use edgereel_crds::{
    name::ObjectName,
    plan::{CameraPlan, Plan, SinkPlan},
    secret_uses::{camera_secrets, connection_secrets, merged},
};
use tracing::warn;

use super::Options;
use crate::sink::{output::output_directory, volume};
use edgereel_runtime::{secrets::Secrets, state::Kind};

/// One resource (one replica of it), with all that it depends on. Equal ones need no restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What it does.
    pub what: What,
    /// The name that it shows.
    pub shown: ObjectName,
    /// The secrets that it reads.
    secrets: Vec<Option<Vec<u8>>>,
}

/// A camera, or a replica of a sink.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum What {
    Camera(CameraPlan),
    Sink(SinkPlan, u32),
}

impl Wanted {
    /// All of a plan, in its order, cameras first.
    pub fn of(plan: &Plan, options: &Options, secrets: &Secrets) -> Vec<Wanted> {
        let mut all = vec![];
        for camera in &plan.cameras {
            let uses = merged(camera_secrets(&camera.spec), connection_secrets(&camera.connection.spec));
            let secrets = secrets.values(&camera.name.namespace, &uses);
            all.push(Wanted { what: What::Camera(camera.clone()), shown: camera.name.clone(), secrets });
        }
        for sink in &plan.sinks {
            let secrets = secrets.values(&sink.name.namespace, &connection_secrets(&sink.connection.spec));
            for (replica, shown) in replicas(sink, options.replica) {
                all.push(Wanted { what: What::Sink(sink.clone(), replica), shown, secrets: secrets.clone() });
            }
        }
        all
    }

    /// What stays the same when the resource changes.
    pub fn id(&self) -> (Kind, ObjectName, u32) {
        match &self.what {
            What::Camera(camera) => (Kind::CameraStream, camera.name.clone(), 0),
            What::Sink(sink, replica) => (Kind::FrameSink, sink.name.clone(), *replica),
        }
    }

    /// As log lines name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.id().0.as_str(), self.shown)
    }

    /// Where its frames go, in words.
    pub fn goes_to(&self, storage_root: Option<&Path>) -> String {
        match &self.what {
            What::Camera(camera) => format!("topic {}", camera.spec.topic.name),
            What::Sink(sink, _) => {
                let directory = output_directory(&sink.spec.output);
                let root = volume::locate(sink, storage_root).unwrap_or_default();
                root.components().chain(Path::new(directory).components()).collect::<PathBuf>().display().to_string()
            }
        }
    }
}

/// The replicas of a sink that this process runs, and the name that each shows: `name`, or `name-<replica>` where this
/// process runs several.
///
/// A process that was told its replica runs just that one, whatever `spec.replicas` says: in a StatefulSet the number of
/// pods may be ahead of the resource or behind it for a moment, and a pod must neither fail nor idle for that.
fn replicas(sink: &SinkPlan, only: Option<u32>) -> Vec<(u32, ObjectName)> {
    let replicas = sink.spec.replicas.max(1) as u32;
    match only {
        Some(replica) => {
            if replica >= replicas {
                warn!(sink = %sink.name, replica, replicas, "running one replica more than spec.replicas, as asked");
            }
            vec![(replica, sink.name.clone())]
        }
        None if replicas == 1 => vec![(0, sink.name.clone())],
        None => (0..replicas)
            .map(|replica| {
                let name = format!("{}-{replica}", sink.name.name);
                (replica, ObjectName { namespace: sink.name.namespace.clone(), name })
            })
            .collect(),
    }
}

/// What becomes of what runs when something else is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Places in the old list: these end.
    pub ending: Vec<usize>,
    /// Places in the new list: these begin, some of them anew.
    pub beginning: Vec<usize>,
    /// Places in the old list and in the new one: these go on undisturbed.
    pub staying: Vec<(usize, usize)>,
}

/// Compares what runs with what is wanted.
pub fn changes(running: &[&Wanted], wanted: &[Wanted]) -> Changes {
    let mut changes = Changes::default();
    for (new, wish) in wanted.iter().enumerate() {
        match running.iter().position(|runs| *runs == wish) {
            Some(old) => changes.staying.push((old, new)),
            None => changes.beginning.push(new),
        }
    }
    let stays = |old: &usize| changes.staying.iter().any(|(place, _)| place == old);
    changes.ending = (0..running.len()).filter(|old| !stays(old)).collect();
    changes
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    fn plan(documents: &str) -> Plan {
        edgereel_crds::load(&[("lab.yaml".into(), documents.into())]).expect("sound")
    }

    fn wanted(documents: &str) -> Vec<Wanted> {
        Wanted::of(&plan(documents), &Options::default(), &Secrets::default())
    }

    fn compared(old: &str, new: &str) -> Changes {
        let (old, new) = (wanted(old), wanted(new));
        changes(&old.iter().collect::<Vec<_>>(), &new)
    }

    #[test]
    fn a_process_runs_all_replicas_or_the_one_that_it_was_told() {
        let plan = plan(DOCUMENTS);
        let names =
            |only| replicas(&plan.sinks[0], only).into_iter().map(|(n, name)| (n, name.name)).collect::<Vec<_>>();
        assert_eq!(names(None), [(0, "files-0".into()), (1, "files-1".into()), (2, "files-2".into())]);
        assert_eq!(names(Some(1)), [(1, "files".into())]);
        assert_eq!(names(Some(5)), [(5, "files".into())], "a pod that is ahead of the resource works all the same");
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
    fn another_password_concerns_whoever_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("login")).expect("a directory");
        let secrets = Secrets::new(Some(dir.path().into()), Default::default());
        let write = |password| fs::write(dir.path().join("login/password"), password).expect("a file");
        let read = || Wanted::of(&plan(DOCUMENTS), &Options::default(), &secrets);
        write("one");
        let before = read();
        write("two");
        let changes = changes(&before.iter().collect::<Vec<_>>(), &read());
        assert_eq!((changes.ending, changes.beginning), (vec![0], vec![0]), "the camera alone");
    }

    #[test]
    fn where_frames_go_is_said_without_asking_the_disk() {
        let all = wanted(DOCUMENTS);
        let said = |root: Option<&str>| [&all[0], &all[1]].map(|w| w.goes_to(root.map(Path::new)));
        assert_eq!(said(None), ["topic gate", "/data/gate"]);
        assert_eq!(said(Some("/mnt")), ["topic gate", "/mnt/gate"]);
    }
}
