//! Scenarios against an API server that is made up: each asserts the exact requests of a reconcile, in their order.
//!
//! [`Lab`] holds the caches and the server. What a reconcile writes comes back through the watches only when a scenario
//! says so, as in a real cluster.

mod claims;
mod device;
mod folder;
mod golden;
mod newer;
mod nodes;
mod overrides;
mod pool;
mod progress;
mod reports;
mod rollouts;
mod scenarios;
mod sharing;
mod toy;
mod verdicts;
mod wakes;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use edgereel_crds::{CameraStream, CameraWorker, FrameSink, KafkaConnection, document::yaml};
use http::{Method, Request, Response};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Client,
    client::Body,
    core::PartialObjectMeta,
    runtime::{events::Reporter, reflector::ObjectRef, watcher::Event},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower_test::mock;

use super::{
    Error,
    apply::Child,
    context::{Context, SecretValues, Written},
    managed::Managed,
    names::MANAGER,
    reconcile,
    recorder::FewRemembered,
};
use crate::{
    cache::{Caches, Guarded, Writers},
    cold::{Cold, put_away},
    kinds::Kinds,
    metrics::Metrics,
    realm::Realm,
    reports::Reports,
    rollout::{board::Board, stamp::operator_revision},
    settings::Settings,
    wakes::{Triggers, Wakes, Woken},
    workers::Workers,
};

/// What the API server has been asked, and what it keeps.
#[derive(Default)]
struct Server {
    /// `PATCH configmaps/gate-camera-config`, in order.
    requests: Vec<String>,
    /// Those that are about metadata alone: what is read and written of `managedFields` before a child is changed.
    notes: Vec<String>,
    /// Objects by `plural/name`.
    objects: BTreeMap<String, Value>,
    /// Paths that are answered with an error: its code and message.
    refuse: BTreeMap<String, (u16, &'static str)>,
    /// A status's field that the definition lacks: server-side apply refuses it.
    lacking: Option<&'static str>,
    /// The definitions as they are published; none: they may not be read.
    openapi: Option<Value>,
    /// What somebody makes just before the operator does, by its path.
    sudden: Option<(String, Value)>,
    versions: u64,
}

impl Server {
    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// Keeps an object as it was sent, with what the API server adds.
    fn store(&mut self, path: String, mut object: Value, operation: &str) -> Value {
        object["metadata"]["resourceVersion"] = json!(self.version());
        object["metadata"]["uid"] = json!(format!("uid-of-{path}"));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2024-06-04T10:30:00Z");
        object["metadata"]["managedFields"] = json!([{"manager": MANAGER, "operation": operation}]);
        self.objects.insert(path, object.clone());
        object
    }

    /// The answer to a request, as the API server would give it.
    fn answer(&mut self, method: &Method, path: &str, notes: bool, body: Value) -> (u16, Value) {
        let below = path.split_once("/namespaces/").and_then(|(_, below)| below.split_once('/'));
        let tail = below.map_or(path, |(_, tail)| tail).to_owned();
        // What is made has its name in the body.
        let made = Some(&tail).filter(|tail| *method == Method::POST && !["events", "pods"].contains(&tail.as_str()));
        let tail = made.map_or(tail.clone(), |plural| {
            format!("{plural}/{}", body["metadata"]["name"].as_str().unwrap_or_default())
        });
        let shown = shown(&tail);
        if notes { &mut self.notes } else { &mut self.requests }.push(format!("{method} {shown}"));
        if let Some((code, message)) = self.refuse.get(&shown).filter(|_| *method != Method::GET) {
            return failure(*code, message);
        }
        if *method == Method::POST && self.sudden.as_ref().is_some_and(|(path, _)| *path == shown) {
            self.objects.extend(self.sudden.take());
        }
        if let Some(field) = self.lacking.filter(|field| !body["status"][field].is_null()) {
            let message = format!("failed to create typed patch object: .status.{field}: field not declared in schema");
            return failure(500, &message);
        }
        let object = tail.strip_suffix("/status").unwrap_or(&tail).to_owned();
        if *method == Method::GET && tail == "persistentvolumeclaims" {
            let of_claims = self.objects.range(format!("{tail}/")..).take_while(|(key, _)| key.starts_with(&tail));
            let items: Vec<Value> = of_claims.map(|(_, claim)| claim.clone()).collect();
            let list = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaimList", "metadata": {}, "items": items});
            return (200, list);
        }
        if *method == Method::PATCH && tail.starts_with("persistentvolumeclaims/") {
            let claim = self.objects.get_mut(&object).expect("there");
            claim["spec"]["resources"]["requests"] = body["spec"]["resources"]["requests"].clone();
            return (200, claim.clone());
        }
        match *method {
            Method::POST if tail == "pods" => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                self.objects.insert(format!("pods/{name}"), body.clone());
                (201, body)
            }
            Method::POST if tail == "events" => (201, body),
            Method::POST if self.objects.contains_key(&object) => failure(409, "already exists"),
            Method::POST => (201, self.store(object, body, "Update")),
            Method::PATCH if !body["metadata"]["managedFields"].is_null() => {
                let Some(found) = self.objects.get_mut(&object) else { return failure(404, "not found") };
                found["metadata"]["managedFields"] = body["metadata"]["managedFields"].clone();
                (200, found.clone())
            }
            Method::PATCH if tail.ends_with("/status") => {
                let version = self.version();
                let stored = self.objects.entry(object).or_insert_with(|| json!({"metadata": {}}));
                stored["status"] = body["status"].clone();
                stored["metadata"]["resourceVersion"] = json!(version);
                (200, stored.clone())
            }
            Method::PATCH if tail.starts_with("pods/") => {
                let annotations = body["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
                let Some(pod) = self.objects.get_mut(&object) else { return failure(404, "not found") };
                for (name, value) in annotations {
                    pod["metadata"]["annotations"][name] = value;
                }
                (200, pod.clone())
            }
            Method::PATCH => (200, self.store(object, body, "Apply")),
            Method::DELETE => {
                self.objects.remove(&object);
                (200, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
            }
            Method::GET if path.starts_with("/openapi/") => match &self.openapi {
                Some(document) => (200, document.clone()),
                None => failure(403, "forbidden"),
            },
            Method::GET if tail == "events" => {
                let items = self.objects.get("events").cloned().unwrap_or(json!([]));
                (200, json!({"apiVersion": "events.k8s.io/v1", "kind": "EventList", "metadata": {}, "items": items}))
            }
            _ => match self.objects.get(&object) {
                Some(found) => (200, found.clone()),
                None => failure(404, "not found"),
            },
        }
    }
}

/// A path without what is made up anew each time: the time in an event's name, the hash in a ConfigMap's, a Job's or a copied
/// Secret's.
fn shown(path: &str) -> String {
    let (plural, name) = path.split_once('/').unwrap_or((path, ""));
    match (plural, name.rsplit_once('-')) {
        ("events", _) => "events".to_owned(),
        ("configmaps" | "jobs" | "secrets", Some((stem, hash))) if hash.len() == 8 => format!("{plural}/{stem}-HASH"),
        _ => path.to_owned(),
    }
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    // As the API server's NamespaceLifecycle admission says it.
    let terminating = message.contains("being terminated");
    let causes = if terminating { json!([{"reason": "NamespaceTerminating", "message": message}]) } else { json!([]) };
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": {"causes": causes}, "code": code});
    (code, status)
}

/// A namespace called `lab`, as the operator sees it.
pub(super) struct Lab {
    context: Arc<Context>,
    writers: Writers,
    wakes: Arc<Wakes>,
    woken: Woken,
    feeds: BTreeMap<&'static str, Feed>,
    server: Arc<Mutex<Server>>,
}

/// Brings an event of a kind through its watch.
type Feed = fn(&mut Lab, Event<Value>);

/// The event of an object of a type.
fn typed<T: DeserializeOwned>(event: Event<Value>) -> Event<T> {
    let object = |value| serde_json::from_value(value).expect("an object of its kind");
    match event {
        Event::Init => Event::Init,
        Event::InitApply(value) => Event::InitApply(object(value)),
        Event::InitDone => Event::InitDone,
        Event::Apply(value) => Event::Apply(object(value)),
        Event::Delete(value) => Event::Delete(object(value)),
    }
}

fn of_kind<K: Managed>(lab: &mut Lab, event: Event<Value>) {
    let event = typed(event);
    lab.writers.of::<Guarded<K>>().apply_watcher_event(&event);
    lab.wakes.own::<K>(&event);
}

fn of_child<C: Child>(lab: &mut Lab, event: Event<Value>) {
    let event = typed(event);
    lab.writers.of::<Cold<C>>().apply_watcher_event(&event);
    lab.wakes.child::<C>(&event);
}

/// Whether an event is of a child of ours; none: of no object.
fn ours(event: &Event<Value>) -> Option<bool> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
            Some(object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == MANAGER)
        }
        Event::Init | Event::InitDone => None,
    }
}

impl Lab {
    /// A namespace with the resources of a YAML text.
    pub fn new(text: &str) -> Self {
        Lab::with(Kinds::default(), &[], text)
    }

    /// The same, with further kinds and what brings their events.
    pub fn with(kinds: Kinds, more: &[(&'static str, Feed)], text: &str) -> Self {
        Lab::of_operator(settings(), kinds, more, text)
    }

    /// The same, of an operator that lets connections be shared.
    pub fn sharing(text: &str) -> Self {
        Lab::of_operator(Settings { shared_connections: true, ..settings() }, Kinds::default(), &[], text)
    }

    /// The same, of an operator with other settings.
    pub fn of_operator(settings: Settings, kinds: Kinds, more: &[(&'static str, Feed)], text: &str) -> Self {
        let mut lab = Lab::of_namespace(settings, kinds, more, None, Arc::default());
        lab.declare(text);
        lab
    }

    /// An empty lab of an operator that watches this namespace by itself, or all together.
    pub fn of_namespace(
        settings: Settings,
        kinds: Kinds,
        more: &[(&'static str, Feed)],
        namespace: Option<&str>,
        realm: Arc<Realm>,
    ) -> Self {
        let server = Arc::new(Mutex::new(Server::default()));
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let answers = server.clone();
        tokio::spawn(async move {
            while let Some((request, reply)) = handle.next_request().await {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let accepts = request.headers().get(http::header::ACCEPT).and_then(|value| value.to_str().ok());
                let notes = accepts.is_some_and(|accepts| accepts.contains("PartialObjectMetadata"));
                let body = request.into_body().collect_bytes().await.expect("a body");
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (code, answer) = answers.lock().expect("not poisoned").answer(&method, &path, notes, body);
                let bytes = serde_json::to_vec(&answer).expect("JSON");
                reply.send_response(Response::builder().status(code).body(Body::from(bytes)).expect("a response"));
            }
        });
        let client = Client::new(service, "lab");
        let (caches, writers) = Caches::new(&kinds, namespace.map(str::to_owned), realm.clone());
        let metrics = Arc::new(Metrics::default());
        let board = Arc::new(Board::new(settings.rollout.clone(), metrics.clone()));
        let reporter = Reporter { controller: "test".into(), instance: None };
        let context = Arc::new(Context {
            client: client.clone(),
            caches,
            operator_revision: operator_revision(&settings),
            settings,
            recorder: FewRemembered::new(client, reporter),
            metrics,
            board: board.clone(),
            workers: Workers::at_port(1),
            reports: Reports::default(),
            nodes: Arc::default(),
            secret_values: SecretValues::settled_after(Duration::ZERO),
            config_values: SecretValues::settled_after(Duration::ZERO),
            written: Written::default(),
            definitions: Arc::default(),
        });
        let (triggers, woken) = Triggers::new(&kinds, context.metrics.clone(), &context.caches);
        board.wakes_by(None, triggers.clone());
        let wakes = Arc::new(Wakes::new(context.clone(), triggers.clone()));
        let mut feeds = BTreeMap::<_, Feed>::from([
            ("CameraStream", of_kind::<CameraStream> as Feed),
            ("CameraWorker", of_kind::<CameraWorker>),
            ("FrameSink", of_kind::<FrameSink>),
            ("KafkaConnection", of_kind::<KafkaConnection>),
            ("ConfigMap", |lab, event| {
                let ours = ours(&event);
                if ours != Some(true) {
                    lab.wakes.config_map(&typed(event.clone()));
                }
                if ours != Some(false) {
                    of_child::<ConfigMap>(lab, event);
                }
            }),
            ("Service", of_child::<Service>),
            ("Deployment", of_child::<Deployment>),
            ("StatefulSet", of_child::<StatefulSet>),
            ("Job", of_child::<Job>),
            ("PodDisruptionBudget", of_child::<PodDisruptionBudget>),
            ("Secret", |lab, event| {
                let ours = ours(&event);
                let known = typed(event.clone());
                lab.writers.of::<PartialObjectMeta<Secret>>().apply_watcher_event(&known);
                lab.wakes.secret(&known);
                if ours != Some(false) {
                    of_child::<Secret>(lab, event);
                }
            }),
            ("Pod", |lab, event| {
                let event = put_away(typed::<Pod>(event));
                lab.writers.of::<Cold<Pod>>().apply_watcher_event(&event);
                lab.wakes.pod(&event);
            }),
        ]);
        feeds.extend(more.iter().copied());
        let mut lab = Lab { context, writers, wakes, woken, feeds, server };
        for feed in lab.feeds.clone().into_values() {
            feed(&mut lab, Event::Init);
            feed(&mut lab, Event::InitDone);
        }
        realm.begins(&lab.context, triggers);
        lab
    }

    /// What `kubectl apply` does: new resources, or a new generation of those that are there.
    pub fn declare(&mut self, text: &str) {
        let (documents, faults) = yaml::parse(text);
        assert_eq!(faults, [], "{text}");
        for node in documents {
            self.store(node.to_json());
        }
    }

    /// The same resource as another definition gives it: its spec differs, and nothing else.
    pub fn stored_anew(&mut self, document: Value) {
        let (kind, name) = (document["kind"].as_str(), document["metadata"]["name"].as_str());
        let path = format!("{}s/{}", kind.expect("a kind").to_lowercase(), name.expect("a name"));
        self.edit(&path, "/spec", document["spec"].clone());
    }

    /// Puts a resource into the server, and brings it through the watch.
    fn store(&mut self, mut document: Value) {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        let name = document["metadata"]["name"].as_str().expect("a name").to_owned();
        let path = format!("{}s/{name}", kind.to_lowercase());
        let mut server = self.server.lock().expect("not poisoned");
        let old = server.objects.get(&path).cloned().unwrap_or(Value::Null);
        let same_spec = old["spec"] == document["spec"];
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + i64::from(!same_spec);
        let meta = &mut document["metadata"];
        if meta["namespace"].is_null() {
            meta["namespace"] = json!("lab");
        }
        meta["uid"] = json!(format!("uid-of-{name}"));
        meta["generation"] = json!(generation);
        meta["creationTimestamp"] = json!("2024-06-04T10:30:00Z");
        meta["resourceVersion"] = json!(server.version());
        if !old["status"].is_null() {
            document["status"] = old["status"].clone();
        }
        server.objects.insert(path, document.clone());
        drop(server);
        self.bring(document);
    }

    /// What a watch brings.
    fn bring(&mut self, object: Value) {
        self.feed(&object["kind"].clone(), Event::Apply(object));
    }

    fn feed(&mut self, kind: &Value, event: Event<Value>) {
        let feed = self.feeds.get(kind.as_str().unwrap_or_default());
        feed.unwrap_or_else(|| panic!("nobody watches {kind}"))(self, event);
    }

    /// Who was woken since this was asked last, as `CameraStream/gate`.
    pub fn woken(&mut self) -> Vec<String> {
        let mut all = std::collections::BTreeSet::new();
        for (kind, woken) in &mut self.woken {
            while let Ok(name) = woken.try_recv() {
                all.insert(format!("{kind}/{}", name.name));
            }
        }
        all.into_iter().collect()
    }

    /// Everything that was written comes back through the watches.
    pub fn catch_up(&mut self) {
        let objects: Vec<Value> = self.server.lock().expect("not poisoned").objects.values().cloned().collect();
        // These are written, and watched by nobody.
        let watched = |object: &Value| object["kind"] != "Event" && object["kind"] != "PersistentVolumeClaim";
        objects.into_iter().filter(watched).for_each(|object| self.bring(object));
    }

    /// Edits an object in the server by hand, and brings it through the watch.
    pub fn edit(&mut self, path: &str, pointer: &str, value: Value) {
        let mut server = self.server.lock().expect("not poisoned");
        let version = server.version();
        let object = server.objects.get_mut(path).unwrap_or_else(|| panic!("no {path}"));
        *object.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer} in {path}")) = value;
        object["metadata"]["resourceVersion"] = json!(version);
        let object = object.clone();
        drop(server);
        self.bring(object);
    }

    /// An object of the server; of several that differ in their hash, the last by name.
    pub fn object(&self, path: &str) -> Value {
        let server = self.server.lock().expect("not poisoned");
        let found = server.objects.iter().rfind(|(key, _)| *key == path || shown(key) == path);
        found.map(|(_, object)| object.clone()).unwrap_or(Value::Null)
    }

    /// The names of the objects of a kind.
    pub fn names(&self, plural: &str) -> Vec<String> {
        let server = self.server.lock().expect("not poisoned");
        server.objects.keys().filter_map(|key| key.strip_prefix(plural)?.strip_prefix('/').map(str::to_owned)).collect()
    }

    /// Deletes an object by hand, and brings that through the watch.
    pub fn delete(&mut self, path: &str) {
        let mut server = self.server.lock().expect("not poisoned");
        let key = server.objects.keys().find(|key| *key == path || shown(key) == path).cloned().expect("there");
        let object = server.objects.remove(&key).expect("there");
        drop(server);
        self.feed(&object["kind"].clone(), Event::Delete(object));
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, name: &str) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "lab"}});
        self.feed(&json!("Pod"), Event::Delete(pod));
    }

    /// Has requests to a path refused.
    pub fn refuse(&self, path: &str, code: u16, message: &'static str) {
        self.server.lock().expect("not poisoned").refuse.insert(path.into(), (code, message));
    }

    /// Has somebody make an object just before the operator does.
    pub fn is_made_before(&self, path: &str, object: Value) {
        self.server.lock().expect("not poisoned").sudden = Some((path.into(), object));
    }

    /// Reconciles a camera, and gives the requests that this took.
    pub async fn camera(&self, name: &str) -> Vec<String> {
        self.reconcile::<CameraStream>(name).await.0
    }

    /// Reconciles a sink, and gives the requests that this took.
    pub async fn sink(&self, name: &str) -> Vec<String> {
        self.reconcile::<FrameSink>(name).await.0
    }

    /// Reconciles a resource: the requests that this took, and how it ended.
    pub async fn reconcile<K: Managed>(&self, name: &str) -> (Vec<String>, Result<(), Error>) {
        let before = self.server.lock().expect("not poisoned").requests.len();
        let object = self.context.caches.of::<K>().get(&ObjectRef::new(name).within("lab")).expect("in the cache");
        let outcome = reconcile(object, self.context.clone()).await.map(|_| ());
        let server = self.server.lock().expect("not poisoned");
        (server.requests[before..].to_vec(), outcome)
    }

    /// The reason of a resource's `Ready`.
    pub fn reason(&self, path: &str) -> String {
        let said = self.condition(path, "Ready");
        said.split([' ', ':']).nth(1).unwrap_or_default().to_owned()
    }

    /// A condition of a resource, as `True Running: frames flow`.
    pub fn condition(&self, path: &str, kind: &str) -> String {
        let object = self.object(path);
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {object:#}"));
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", text("status"), text("reason"), text("message"))
    }
}

/// The operator's settings.
pub(super) fn settings() -> Settings {
    let allowed_host_paths = vec!["/data".parse().expect("a directory")];
    Settings { worker_image: "edgereel:test".into(), allowed_host_paths, ..Settings::default() }
}

/// A connection, a camera and a sink.
pub(super) const RESOURCES: &str = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka}
spec: {bootstrapServers: [\"kafka:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://gate/video\"}}
  topic: {name: Gate, partitions: 3}
  kafka: {connectionRef: {name: kafka}}
  placement: {nodes: [edge-1]}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: files}
spec:
  from: {streamRef: {name: gate}}
  output: {jpegFiles: {directory: gate}}
  storage: {hostPath: {path: /data/frames}}
  placement: {nodes: [edge-1]}
";
