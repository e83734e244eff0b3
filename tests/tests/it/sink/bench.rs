//! A sink under test: its topic, its workers (in this process, or in one that can be killed), what stands on its disk.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread::{self, JoinHandle},
    time::Duration,
};

use edgereel_crds::{
    FrameSinkSpec, KafkaConnectionSpec,
    frame_sink::OnInvalid,
    name::{Kind, ObjectName},
    plan::{Connection, SinkPlan, Volume},
    status::{ConditionType, Reason},
};
use edgereel_runtime::{fault::Fault, metrics::Metrics, secrets::Secrets, state::ResourceState};
use edgereel_tests::{
    kafka::{self, Cluster, topics::NewRecord},
    process::Guarded,
    scratch, unique, wait,
};
use edgereel_worker::sink::{
    metrics::{SinkFamilies, SinkMetrics},
    runner::{self, SinkEnv},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// For what takes a moment even on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything but the entropy-coded data of a grey JPEG of 16 by 8 pixels, after SOI.
const TABLES: &[u8] = &[
    0xFF, 0xC0, 0x00, 0x0B, 8, 0, 8, 0, 16, 1, 1, 0x11, 0, // SOF0, one component
    0xFF, 0xC4, 0x00, 0x14, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // DHT DC
    0xFF, 0xC4, 0x00, 0x14, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // DHT AC
    0xFF, 0xDA, 0x00, 0x08, 1, 1, 0x00, 0, 63, 0, // SOS
];

/// A whole JPEG that carries a number, of about `bytes` bytes.
pub fn jpeg(number: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0xFF, 0xD8];
    let text = format!("frame {number} ").repeat(bytes / 8 + 4);
    for comment in text.as_bytes()[..bytes.max(24)].chunks(60_000) {
        data.extend([0xFF, 0xFE]);
        data.extend((comment.len() as u16 + 2).to_be_bytes());
        data.extend(comment);
    }
    data.extend([0xFF, 0xDB, 0x00, 0x43, 0x00]);
    data.extend([1; 64]);
    data.extend(TABLES);
    data.extend([0x0F, 0xFF, 0xD9]);
    data
}

/// Frames without a key, spread over the partitions in turn.
pub fn frames(numbers: std::ops::Range<u64>, partitions: i32, bytes: usize) -> impl Iterator<Item = NewRecord> {
    numbers.map(move |n| NewRecord {
        partition: Some((n % partitions as u64) as i32),
        timestamp: Some(1_700_000_000_000 + n as i64 * 33),
        ..NewRecord::value(jpeg(n, bytes))
    })
}

/// A topic, a group and a directory that no other test uses.
pub struct Bench {
    pub kafka: &'static Cluster,
    pub topic: String,
    pub group: String,
    pub root: PathBuf,
    pub spec: Value,
    pub replicas: i32,
}

impl Bench {
    pub fn new(name: &str, partitions: i32, spec: Value) -> Self {
        let topic = unique(name);
        let bench = Bench::without_topic(&topic, spec);
        // The frames are of 2023: the default retention would delete them under the test.
        bench.kafka.create_topic(&topic, partitions, KEEP);
        bench
    }

    pub fn without_topic(topic: &str, spec: Value) -> Self {
        let (group, root) = (format!("{topic}-group"), scratch::dir(topic));
        Bench { kafka: kafka::shared(), topic: topic.into(), group, root, spec, replicas: 1 }
    }

    pub fn plan(&self) -> SinkPlan {
        let mut spec = self.spec.clone();
        spec["replicas"] = self.replicas.into();
        plan_of(&self.topic, &self.group, self.kafka.bootstrap(), &self.root, &spec)
    }

    /// A worker in this process.
    pub fn start(&self, replica: u32) -> Worker {
        Worker::start(self.plan(), replica, None)
    }

    /// A worker in a process of its own that writes below `root`.
    pub fn spawn(&self, replica: u32, root: &Path) -> Guarded {
        let mut command = Command::new(env::current_exe().expect("this test"));
        command.args(["--exact", "sink::a_worker_for_other_tests", "--nocapture"]);
        let settings = json!({
            "topic": self.topic, "group": self.group, "root": self.root, "spec": self.spec, "replicas": self.replicas,
            "bootstrap": self.kafka.bootstrap(), "replica": replica, "storage": root,
        });
        command.env(CHILD, settings.to_string());
        Guarded::spawn("sink-worker", command).expect("started")
    }

    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.root)
    }

    /// Exactly the topic's frames stand on the disk, byte for byte.
    #[track_caller]
    pub fn assert_complete(&self) {
        let records = self.kafka.consume_all(&self.topic);
        let expected: BTreeMap<_, _> = records
            .into_iter()
            .map(|r| (format!("{}-{:06}.jpg", r.partition, r.offset), r.value.unwrap_or_default()))
            .collect();
        let found = self.files();
        let missing: Vec<_> = expected.keys().filter(|name| !found.contains_key(*name)).collect();
        let foreign: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
        let torn: Vec<_> =
            expected.iter().filter(|(n, v)| found.get(*n).is_some_and(|f| f != *v)).map(|(n, _)| n).collect();
        assert!(
            missing.is_empty() && foreign.is_empty() && torn.is_empty(),
            "missing {missing:?}, foreign {foreign:?}, torn {torn:?}"
        );
    }

    #[track_caller]
    pub fn await_no_lag(&self) {
        wait::until_ok("the group has no lag", PATIENCE, || match self.kafka.lag(&self.group, &self.topic) {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    pub fn committed(&self) -> BTreeMap<i32, i64> {
        let all = self.kafka.committed(&self.group, &self.topic).expect("an answer");
        all.into_iter().map(|(partition, offset, _)| (partition, offset)).collect()
    }
}

/// A sink of one topic; `spec` has what is special about it.
fn plan_of(topic: &str, group: &str, bootstrap: &str, root: &Path, special: &Value) -> SinkPlan {
    let mut spec = json!({
        "from": {"topics": [topic]},
        "output": {"jpegFiles": {"directory": "frames", "fileName": "{partition}-{offset:06}.jpg"}},
        "storage": {"hostPath": {"path": root}},
        "placement": {"nodes": ["here"]},
        "durability": {"flushInterval": "200ms", "flushFrames": 50},
    });
    for (field, value) in special.as_object().expect("an object") {
        spec[field] = value.clone();
    }
    let topics = serde_json::from_value(spec["from"]["topics"].clone()).expect("names");
    let spec: FrameSinkSpec = serde_json::from_value(spec).expect("a valid spec");
    let name = |name: &str| ObjectName { namespace: "lab".into(), name: name.into() };
    let connection = json!({"bootstrapServers": [bootstrap]});
    let connection: KafkaConnectionSpec = serde_json::from_value(connection).expect("a valid spec");
    SinkPlan {
        name: name("frames"),
        connection: Connection { name: name("lab"), spec: connection },
        topics,
        group: group.to_owned(),
        on_invalid: spec.on_invalid.unwrap_or(OnInvalid::Fail),
        camera: None,
        volume: Volume { place: String::new(), alone: true },
        spec,
    }
}

/// The frames below a storage root.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(all) = fs::read_dir(root.join("frames")) else { return BTreeMap::new() };
    let paths = all.map(|e| e.expect("an entry").path()).filter(|p| p.is_file());
    paths.filter_map(|p| Some((p.file_name()?.to_string_lossy().into_owned(), fs::read(&p).ok()?))).collect()
}

/// Keeps records whatever their age.
pub const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];

const CHILD: &str = "EDGEREEL_TEST_SINK";

/// What the child process does: see [`Bench::spawn`]. Nothing, where it was not spawned for this.
pub fn child() {
    let Ok(settings) = env::var(CHILD) else { return };
    let s: Value = serde_json::from_str(&settings).expect("settings");
    let text = |field: &str| s[field].as_str().expect("text").to_owned();
    let replica = s["replica"].as_u64().expect("a number") as u32;
    // The plan as the parent would make it, without asking for the parent's broker.
    let mut spec = s["spec"].clone();
    spec["replicas"] = s["replicas"].clone();
    let plan = plan_of(&text("topic"), &text("group"), &text("bootstrap"), Path::new(&text("root")), &spec);
    let worker = Worker::start(plan, replica, Some(text("storage").into()));
    let result = worker.thread.join().expect("no panic");
    panic!("the sink ended: {result:?}");
}

/// A worker of a sink on a thread.
pub struct Worker {
    pub thread: JoinHandle<Result<(), Fault>>,
    pub state: ResourceState,
    pub metrics: SinkMetrics,
    shutdown: CancellationToken,
}

impl Worker {
    fn start(plan: SinkPlan, replica: u32, storage_root: Option<PathBuf>) -> Self {
        let metrics = SinkFamilies::new(&mut Metrics::default()).of(&plan.name, 0);
        let state = ResourceState::new(Kind::FrameSink, plan.name.clone());
        let shutdown = CancellationToken::new();
        let env = SinkEnv {
            storage_root,
            secrets: Secrets::default(),
            metrics: metrics.clone(),
            state: state.clone(),
            shutdown: shutdown.clone(),
        };
        Worker { thread: thread::spawn(move || runner::run(&plan, replica, env)), state, metrics, shutdown }
    }

    #[track_caller]
    pub fn await_ready(&self) {
        wait::until_ok("the sink is ready", PATIENCE, || if self.state.is_ready() { Ok(()) } else { Err(self.says()) });
    }

    #[track_caller]
    pub fn await_reason(&self, reason: Reason) {
        wait::until_ok("the sink says why it is not ready", PATIENCE, || {
            match self.state.condition(ConditionType::Ready) {
                Some(ready) if ready.reason == reason => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    pub fn says(&self) -> String {
        format!("{:?}", self.state.condition(ConditionType::Ready))
    }

    /// Stops it, and gives its result.
    #[track_caller]
    pub fn stop(self) -> Result<(), Fault> {
        self.shutdown.cancel();
        self.result()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn result(self) -> Result<(), Fault> {
        wait::until("the sink ends", PATIENCE, || self.thread.is_finished());
        self.thread.join().expect("no panic")
    }
}
