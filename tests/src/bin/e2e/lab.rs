//! A scenario's own laboratory: a namespace, cameras in it, resources, and a directory of the node for their frames.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail};
use edgereel_tests::{edgereel, process::Finished, resources, unique};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, Kube, until},
    world::{World, is_ready_pod, open_to_workers, say},
};

/// Frames small enough that two cores carry several cameras beside a cluster.
const SIZE: &str = "320x240";
/// Frames a second of a camera, unless the scenario says otherwise.
const FPS: u32 = 10;

/// A namespace that is deleted with this value; the data stays until the end of the tests.
#[derive(Debug)]
pub struct Lab<'a> {
    /// What all scenarios share.
    pub world: &'a World,
    /// The namespace.
    pub namespace: String,
    /// The node's directory for frames, which workers may write to.
    pub disk: PathBuf,
    /// The documents as they were applied last, for `edgereel verify`.
    applied: Mutex<BTreeMap<(String, String), Value>>,
}

impl<'a> Lab<'a> {
    /// A namespace whose pods may have hostPaths, with the `KafkaConnection` of all its resources.
    #[track_caller]
    pub fn open(world: &'a World, name: &str) -> Lab<'a> {
        Lab::labelled(world, name, json!({}))
    }

    /// [`Lab::open`] with labels of the namespace.
    #[track_caller]
    pub fn labelled(world: &'a World, name: &str, labels: Value) -> Lab<'a> {
        let namespace = unique(name);
        let disk = world.data.join(&namespace);
        fs::create_dir(&disk).unwrap_or_else(|e| panic!("cannot create {}: {e}", disk.display()));
        open_to_workers(&disk).unwrap_or_else(|e| panic!("{e:#}"));
        let lab = Lab { world, namespace, disk, applied: Mutex::default() };
        lab.kube().apply(&[json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": lab.namespace, "labels": labels},
        })]);
        lab.apply(&[resources::connection(world.kafka.bootstrap())]);
        lab
    }

    /// The cluster.
    pub fn kube(&self) -> &'a Kube {
        &self.world.kube
    }

    fn applied(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Progress.
    pub fn say(&self, what: &str) {
        say(&format!("{}: {what}", self.namespace));
    }

    /// `kubectl apply` in this namespace.
    #[track_caller]
    pub fn apply(&self, documents: &[Value]) {
        self.try_apply(documents).unwrap_or_else(|e| panic!("kubectl apply: {e:#}"));
    }

    /// `kubectl apply` in this namespace; the API server's refusal is the error.
    pub fn try_apply(&self, documents: &[Value]) -> Result<()> {
        let documents = self.here(&documents.iter().collect::<Vec<_>>());
        self.kube().try_apply(&documents)?;
        for document in documents {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = (text(&document["kind"]), text(&document["metadata"]["name"]));
            self.applied().insert(key, document);
        }
        Ok(())
    }

    /// The documents with this namespace.
    pub fn here(&self, documents: &[&Value]) -> Vec<Value> {
        let here = |document: &&Value| {
            let mut document = (*document).clone();
            document["metadata"]["namespace"] = json!(self.namespace);
            document
        };
        documents.iter().map(here).collect()
    }

    /// Changes a resource's spec by a JSON merge patch.
    #[track_caller]
    pub fn edit(&self, kind: Kind, name: &str, change: &Value) {
        self.say(&format!("{} {name}: {change}", kind.plural()));
        let patch = json!({"spec": change}).to_string();
        self.run(&["patch", kind.plural(), name, "--type=merge", "-p", &patch]);
    }

    /// `kubectl -n NAMESPACE ARGS…`, which has to succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let all: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        self.kube().run(&all)
    }

    /// `kubectl -n NAMESPACE ARGS…`, however it ends.
    pub fn attempt(&self, args: &[&str]) -> Finished {
        let all: Vec<&str> = ["-n", &self.namespace].into_iter().chain(args.iter().copied()).collect();
        self.kube().attempt(&all)
    }

    // --- cameras, and resources ---

    /// A pod that runs `edgereel camera ARGS…`, and its Service: the URL of its stream. Waits until it serves.
    #[track_caller]
    pub fn camera_server(&self, name: &str, args: &[&str]) -> String {
        let fps = FPS.to_string();
        let fixed = ["camera", "--listen", "0.0.0.0:8080", "--size", SIZE, "--frame-bytes", "10k", "--fps", &fps];
        let args: Vec<&str> = fixed.into_iter().chain(args.iter().copied()).collect();
        self.serve(name, &self.world.worker_image(), json!({ "args": args }));
        format!("http://{name}:8080/cam0")
    }

    /// A pod in which FFmpeg serves MJPEG, and its Service: the URL of its stream, which one client may read.
    #[track_caller]
    pub fn ffmpeg_camera(&self, name: &str) -> String {
        let image = format!("{}/edgereel-ffmpeg-camera:{}", self.world.settings.repository, self.world.settings.tag);
        self.serve(name, &image, json!({}));
        format!("http://{name}:8080/cam.mjpg")
    }

    #[track_caller]
    fn serve(&self, name: &str, image: &str, more: Value) {
        let mut container = json!({
            "name": "camera", "image": image, "imagePullPolicy": "IfNotPresent",
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        });
        if let (Some(container), Some(more)) = (container.as_object_mut(), more.as_object()) {
            container.extend(more.clone());
        }
        let labels = json!({"app": name});
        self.kube().apply(&[
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"selector": labels, "ports": [{"port": 8080}]},
            }),
        ]);
        self.run(&["wait", "--for=condition=Ready", "--timeout=120s", &format!("pod/{name}")]);
    }

    /// A `CameraStream` whose frames are made in its own pod; `more` goes into its spec.
    pub fn synthetic(&self, name: &str, more: Value) -> Value {
        let source = json!({"synthetic": {"size": SIZE, "frameBytes": "10k"}});
        let mut spec = json!({"frameRate": {"target": FPS}});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        resources::camera(name, source, &self.topic(name), spec)
    }

    /// A `CameraStream` of this source; `more` goes into its spec.
    pub fn camera(&self, name: &str, source: Value, more: Value) -> Value {
        resources::camera(name, source, &self.topic(name), more)
    }

    /// A `CameraStream` of a URL; `more` goes into its spec.
    pub fn mjpeg(&self, name: &str, url: &str, more: Value) -> Value {
        let source = match more.get("credentialsSecretRef") {
            Some(login) => json!({"mjpeg": {"url": url, "credentialsSecretRef": login}}),
            None => json!({"mjpeg": {"url": url}}),
        };
        let mut more = more;
        if let Some(more) = more.as_object_mut() {
            more.remove("credentialsSecretRef");
        }
        resources::camera(name, source, &self.topic(name), more)
    }

    /// The topic of a camera: no other scenario's.
    pub fn topic(&self, camera: &str) -> String {
        format!("{}.{camera}", self.namespace)
    }

    /// A `FrameSink` of a camera that writes each frame to a file below the lab's disk, on the first node.
    pub fn sink(&self, name: &str, camera: &str, more: Value) -> Value {
        let mut spec = json!({
            "from": {"streamRef": {"name": camera}},
            "output": {"jpegFiles": {"directory": name}},
            "storage": {"hostPath": {"path": self.disk}},
            "placement": {"nodes": [self.node()]},
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        resources::resource("FrameSink", name, spec)
    }

    /// The cluster's first node.
    #[track_caller]
    pub fn node(&self) -> String {
        let mut names: Vec<String> = self.kube().list(Kind::Node, None, "").iter().map(name_of).collect();
        names.sort();
        names.first().cloned().expect("a cluster has a node")
    }

    // --- what is there ---

    /// An object, which has to be there.
    pub fn look(&self, kind: Kind, name: &str) -> Result<Value> {
        let found = self.kube().try_get(kind, Some(&self.namespace), name)?;
        found.with_context(|| format!("there is no {} {name}", kind.plural()))
    }

    /// Waits until an object is as wished, and gives it.
    #[track_caller]
    pub fn until(&self, kind: Kind, name: &str, what: &str, mut wish: impl FnMut(&Value) -> bool) -> Value {
        until(&format!("{} {name}: {what}", kind.plural()), || {
            let object = self.look(kind, name)?;
            if wish(&object) { Ok(object) } else { bail!("status {:#}", object["status"]) }
        })
    }

    /// `kubectl wait --for=condition=Ready`, and a status that is about the present spec.
    #[track_caller]
    pub fn await_ready(&self, kind: Kind, name: &str) -> Value {
        self.until(kind, name, "the status is about this spec", |o| {
            o["status"]["observedGeneration"] == o["metadata"]["generation"]
        });
        self.run(&["wait", "--for=condition=Ready", "--timeout=120s", &format!("{}/{name}", kind.plural())]);
        self.until(kind, name, "it is ready", |o| {
            condition(o, "Ready")
                .is_some_and(|c| c["status"] == "True" && c["observedGeneration"] == o["metadata"]["generation"])
        })
    }

    /// Waits until a condition has this reason, and gives its message.
    #[track_caller]
    pub fn await_reason(&self, kind: Kind, name: &str, of: &str, reason: &str) -> String {
        let object = self.until(kind, name, &format!("{of} says {reason}"), |o| {
            condition(o, of).is_some_and(|c| c["reason"] == reason)
        });
        let message = condition(&object, of).map(|c| c["message"].as_str().unwrap_or_default().to_owned());
        message.unwrap_or_default()
    }

    /// The workload that a resource owns: a camera's or its worker's Deployment, a sink's StatefulSet.
    pub fn workload(&self, kind: Kind, name: &str) -> Result<Value> {
        let (child, owner) = match kind {
            Kind::Sink => (Kind::StatefulSet, "FrameSink"),
            Kind::Worker => (Kind::Deployment, "CameraWorker"),
            _ => (Kind::Deployment, "CameraStream"),
        };
        let all = self.kube().try_list(child, Some(&self.namespace), "")?;
        let owned = |o: &&Value| {
            let owners = o["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|all| all.iter().any(|r| r["kind"] == owner && r["name"] == name))
        };
        all.iter().find(owned).cloned().with_context(|| format!("{name} has no {}", child.plural()))
    }

    /// The resource's pods that are not on their way out, by name.
    pub fn pods(&self, kind: Kind, name: &str) -> Result<Vec<Value>> {
        let workload = self.workload(kind, name)?;
        let labels = workload["spec"]["selector"]["matchLabels"].as_object().context("a selector")?;
        let selector: Vec<String> =
            labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
        let mut pods = self.kube().try_list(Kind::Pod, Some(&self.namespace), &selector.join(","))?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods.sort_by_key(name_of);
        Ok(pods)
    }

    /// Waits until the resource has exactly so many pods, all of them ready, and gives them.
    #[track_caller]
    pub fn await_pods(&self, kind: Kind, name: &str, count: usize) -> Vec<Value> {
        until(&format!("{name} has {count} ready pods"), || {
            let pods = self.pods(kind, name)?;
            if pods.len() == count && pods.iter().all(is_ready_pod) { Ok(pods) } else { bail!("{}", brief(&pods)) }
        })
    }

    /// Waits until the resource's single pod runs, ready or not, and gives it.
    #[track_caller]
    pub fn await_pod_running(&self, kind: Kind, name: &str) -> Value {
        until(&format!("{name}'s pod runs"), || match &self.pods(kind, name)?[..] {
            [pod] if pod["status"]["phase"] == "Running" => Ok(pod.clone()),
            pods => bail!("{}", brief(pods)),
        })
    }

    /// Waits until the resource's single pod is ready and another than this one.
    #[track_caller]
    pub fn await_new_pod(&self, kind: Kind, name: &str, old: &Value) -> Value {
        until(&format!("{name} has a new pod"), || match &self.pods(kind, name)?[..] {
            [pod] if uid(pod) != uid(old) && is_ready_pod(pod) => Ok(pod.clone()),
            pods => bail!("{}", brief(pods)),
        })
    }

    // --- frames ---

    /// Waits until this many more frames are on the disk of a sink.
    #[track_caller]
    pub fn await_frames(&self, sink: &str, more: usize) {
        let dir = self.disk.join(sink);
        let before = count(&dir);
        until(&format!("{sink} stores {more} more frames"), || match count(&dir).saturating_sub(before) {
            stored if stored >= more => Ok(()),
            stored => bail!("{stored}, in {}", dir.display()),
        });
    }

    /// Suspends the cameras, waits until the sinks have committed all, and compares every record with every file:
    /// nothing may be missing, twice, torn, foreign or pending. Then the cameras run on.
    #[track_caller]
    pub fn verify(&self, cameras: &[&str], sinks: &[&str]) {
        for camera in cameras {
            self.edit(Kind::Camera, camera, &json!({"suspend": true}));
        }
        for camera in cameras {
            until(&format!("{camera} is suspended"), || match self.pods(Kind::Camera, camera)?.len() {
                0 => Ok(()),
                pods => bail!("{pods} pods"),
            });
        }
        for sink in sinks {
            self.verify_sink(sink);
        }
        for camera in cameras {
            self.edit(Kind::Camera, camera, &json!({"suspend": false}));
        }
    }

    /// Waits until nothing of a sink whose cameras are silent is pending, and finds nothing wrong.
    #[track_caller]
    pub fn verify_sink(&self, sink: &str) {
        let documents: Vec<Value> = self.applied().values().cloned().map(outside).collect();
        let file = resources::write(&documents);
        let report = until(&format!("{sink} has stored everything"), || {
            let report = self.report(&file, sink)?;
            if report["pending"] == 0 { Ok(report) } else { bail!("{report}") }
        });
        assert_eq!(report["findings"], json!([]), "{sink} is not as its topic");
        assert!(report["present"].as_u64() > Some(0), "{sink} has nothing: {report}");
        self.say(&format!("{sink}: {} frames, none missing", report["present"]));
    }

    fn report(&self, file: &Path, sink: &str) -> Result<Value> {
        let args =
            ["verify".as_ref(), "--json".as_ref(), "--sink".as_ref(), sink.as_ref(), "-f".as_ref(), file.as_os_str()];
        let said = edgereel::call(args);
        let reports: Value =
            serde_json::from_str(&said.stdout).with_context(|| format!("{}{}", said.stdout, said.stderr))?;
        Ok(reports[0].clone())
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        // A failed scenario has been looked at by then; its pods would only take the next one's processor.
        self.kube().attempt(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// A document for `edgereel verify` on this machine, which has no use for logins of cameras.
fn outside(mut document: Value) -> Value {
    for source in ["mjpeg", "rtsp"] {
        if let Some(source) = document.pointer_mut(&format!("/spec/source/{source}")).and_then(Value::as_object_mut) {
            source.remove("credentialsSecretRef");
        }
    }
    document
}

/// A condition of an object.
pub fn condition<'o>(object: &'o Value, of: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == of)
}

/// An object's name.
pub fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// What tells an object from a later one of its name.
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// The pods in a line, for a message.
pub fn brief(pods: &[Value]) -> String {
    let line =
        |pod: &Value| format!("{} {} {}", name_of(pod), pod["status"]["phase"], pod["status"]["containerStatuses"]);
    pods.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// The frames below a directory.
pub fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of = |path: PathBuf| match path.is_dir() {
        true => count(&path),
        false => usize::from(path.extension().is_some_and(|e| e == "jpg")),
    };
    entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.')).map(|e| of(e.path())).sum()
}
