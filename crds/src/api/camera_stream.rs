//! `CameraStream`: one camera's frames, on their way to a Kafka topic.

// Each printer column has a name and a type: the lint takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    active_hours::ActiveHours,
    camera_worker::CameraWorker,
    common::{FrameFormat, KafkaRef, LocalRef, NO_LOGIN, NO_LOGIN_RULE, SecretKeyRef, TOPIC_PATTERN, has_login},
    declared::{Declared, Reference, SecretUses, key, whole},
    device::DeviceSource,
    directory::DirectorySource,
    file::FileSource,
    kafka_connection::KafkaConnection,
    placement::Placement,
    pod::PodTemplate,
    resource_status::CameraStreamStatus,
    schedule::SCHEDULE_PATTERN,
    status::ConditionType,
    storage::FolderStorage,
    units::{ByteSize, Duration},
};

/// One camera: where its frames come from, and the Kafka topic that they go to.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "edgereel.dev",
    version = "v1alpha1",
    kind = "CameraStream",
    doc = "One camera: where its frames come from, and the Kafka topic that they go to.",
    namespaced,
    shortname = "cam",
    category = "edgereel",
    status = "CameraStreamStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "FPS", type_ = "number", json_path = ".status.fps"),
    printcolumn(name = "KB", type_ = "integer", json_path = ".status.frameKilobytes"),
    printcolumn(name = "Acknowledged", type_ = "integer", json_path = ".status.framesAcknowledged"),
    printcolumn(name = "Dropped", type_ = "integer", json_path = ".status.framesDropped"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topic.name", priority = 1),
    printcolumn(name = "Kafka", type_ = "string", json_path = ".spec.kafka.connectionRef.name", priority = 1),
    printcolumn(name = "Next run", type_ = "string", json_path = ".status.nextRunTime", priority = 1),
    printcolumn(name = "Rate", type_ = "number", json_path = ".spec.frameRate.target", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.workerRef) || !has(self.placement)").message("with workerRef, the CameraWorker has the placement"))]
#[x_kube(validation = Rule::new("has(self.storage) == (has(self.source.directory) || has(self.source.file))").message("storage is for source.directory and source.file, which need it"))]
#[x_kube(validation = Rule::new("!has(self.schedule) || (has(self.source.file) && !(has(self.source.file.repeat) && self.source.file.repeat)) || (has(self.source.directory) && has(self.source.directory.watch) && !self.source.directory.watch)").message("schedule is for what ends: source.file without repeat, and source.directory with watch: false"))]
#[x_kube(validation = Rule::new("!has(self.timeZone) || has(self.schedule)").message("timeZone is for schedule"))]
#[x_kube(validation = Rule::new("!has(self.schedule) || !has(self.activeHours)").message("with schedule there are no activeHours"))]
#[x_kube(validation = Rule::new("!has(self.workerRef) || !has(self.storage)").message("a camera with storage has a pod of its own"))]
#[x_kube(validation = Rule::new("!has(self.workerRef) || !has(self.source.device)").message("a camera that is a device has a pod of its own"))]
#[x_kube(validation = Rule::new(NO_TEMPLATE_RULE).message("with workerRef, the CameraWorker has the template"))]
pub struct CameraStreamSpec {
    /// Where the frames come from; exactly one of the sources.
    pub source: Source,
    /// Where the files of `source.directory` and `source.file` are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<FolderStorage>,
    /// How many frames a second go on. Without it, all that the camera sends.
    #[serde(default)]
    pub frame_rate: FrameRate,
    /// How a frame stands in a record.
    #[serde(default)]
    pub encoding: Encoding,
    /// The topic that the frames go to.
    pub topic: Topic,
    /// The Kafka cluster.
    pub kafka: KafkaRef,
    /// How records are sent.
    #[serde(default)]
    pub producer: Producer,
    /// What is kept in memory while Kafka is slower than the camera.
    #[serde(default)]
    pub buffer: Buffer,
    /// When a silent or frozen camera counts as broken.
    #[serde(default)]
    pub watchdog: Watchdog,
    /// The hours in which it captures. Default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_hours: Option<ActiveHours>,
    /// When it runs, for what ends (`source.file` without `repeat`, `source.directory` with `watch: false`): minute, hour, day of the
    /// month, month and day of the week, as in `0 2 * * *` for two at night. In Kubernetes it is a CronJob. A run is never joined by
    /// the next: what falls due meanwhile is made up for once, right after it. Default: one run, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = SCHEDULE_PATTERN))]
    pub schedule: Option<String>,
    /// The time zone of `schedule`, a name of the IANA database as `Europe/Rome`. A time that the clocks skip in spring does not come
    /// on that day, one that they show twice in autumn comes twice. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// Stop capturing, and keep the resource; with `schedule`, no other run begins. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// The `CameraWorker` in the same namespace whose pod captures it, beside other cameras. `placement` and `template` are that
    /// one's then. Default: a pod of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_ref: Option<LocalRef>,
    /// Which machines of a cluster may run it, for example the one that reaches the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// What its pod is like in a cluster.
    #[serde(default)]
    pub template: PodTemplate,
}

impl Declared for CameraStream {
    const NAME: &'static str = "CameraStream";
    const COMPONENT: Option<&'static str> = Some("camera");
    const ASPECT: Option<ConditionType> = Some(ConditionType::CameraOnline);

    fn references(spec: &CameraStreamSpec) -> Vec<Reference> {
        let worker = spec.worker_ref.iter().map(Reference::to::<CameraWorker>);
        [Reference::to_connection::<KafkaConnection>(&spec.kafka.connection_ref)].into_iter().chain(worker).collect()
    }

    fn secrets(spec: &CameraStreamSpec) -> SecretUses {
        let mut uses = SecretUses::new();
        let (login, tls) = match &spec.source {
            Source::Mjpeg(source) => (&source.credentials_secret_ref, &source.tls),
            Source::Snapshot(source) => (&source.credentials_secret_ref, &source.tls),
            Source::Rtsp(source) => (&source.credentials_secret_ref, &None),
            Source::Device(_) | Source::Directory(_) | Source::File(_) | Source::Synthetic(_) => (&None, &None),
        };
        whole(&mut uses, login.as_ref(), ["username", "password"]);
        key(&mut uses, tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()));
        uses
    }
}

/// The CEL rule for a camera in the pod of a `CameraWorker`: nothing of a `template` is set. The API server puts an empty one in,
/// which cannot be compared with.
const NO_TEMPLATE_RULE: &str = "!has(self.workerRef) || !has(self.template) || !(has(self.template.image) || \
has(self.template.imagePullPolicy) || has(self.template.imagePullSecrets) || has(self.template.resources) || \
has(self.template.labels) || has(self.template.annotations) || has(self.template.env) || \
has(self.template.priorityClassName) || has(self.template.serviceAccountName) || \
has(self.template.podSecurityContext) || has(self.template.terminationGracePeriodSeconds) || \
has(self.template.volumes) || has(self.template.volumeMounts) || has(self.template.podOverrides))";

/// What a camera's URL may look like; also in the CRD.
pub const URL_PATTERN: &str = r"^https?://.+";
/// What an RTSP camera's URL may look like; also in the CRD.
pub const RTSP_URL_PATTERN: &str = r"^rtsp://.+";
/// A URL without a host: what is wrong, and what to do.
pub const NO_HOST: (&str, &str) = ("the URL names no camera", "write its host behind `//`, as in `//camera/…`");
/// What a synthetic picture's size may look like; also in the CRD.
pub const SYNTHETIC_SIZE_PATTERN: &str = r"^[0-9]{2,4}x[0-9]{2,4}$";

/// Where frames come from: exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A multipart MJPEG stream over HTTP(S), passed through without decoding.
    Mjpeg(MjpegSource),
    /// A URL that answers with one JPEG, asked again and again.
    Snapshot(SnapshotSource),
    /// An RTSP stream: MJPEG is passed through; H.264, H.265 and others are decoded, and encoded as JPEG.
    Rtsp(RtspSource),
    /// A camera of the machine itself: a Video4Linux2 device, as most USB cameras are. JPEG is passed through, raw pictures are
    /// encoded. It is set to the rate that it offers nearest above `frameRate.target`.
    Device(DeviceSource),
    /// A folder of labelled pictures, each sent once as it is.
    Directory(DirectorySource),
    /// Videos and sequences of pictures: MJPEG and JPEG are passed through, others decoded, and encoded as JPEG.
    File(FileSource),
    /// Frames made here: a moving pattern, a clock and a number.
    Synthetic(SyntheticSource),
}

impl CameraStreamSpec {
    /// The field of a URL that has a login in it.
    pub fn login_in_url(&self) -> Option<&'static str> {
        let (field, url) = match &self.source {
            Source::Mjpeg(mjpeg) => ("spec.source.mjpeg.url", &mjpeg.url),
            Source::Snapshot(snapshot) => ("spec.source.snapshot.url", &snapshot.url),
            Source::Rtsp(rtsp) => ("spec.source.rtsp.url", &rtsp.url),
            Source::Device(_) | Source::Directory(_) | Source::File(_) | Source::Synthetic(_) => return None,
        };
        has_login(url).then_some(field)
    }

    /// Whether it comes to an end by itself.
    pub fn ends(&self) -> bool {
        match &self.source {
            Source::Directory(directory) => !directory.watch,
            Source::File(file) => !file.repeat,
            Source::Mjpeg(_) | Source::Snapshot(_) | Source::Rtsp(_) | Source::Device(_) | Source::Synthetic(_) => {
                false
            }
        }
    }
}

/// An MJPEG stream over HTTP(S).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tls) || self.url.startsWith('https://')").message("tls is for https:// URLs"))]
#[x_kube(validation = Rule::new(NO_LOGIN_RULE).message(NO_LOGIN))]
pub struct MjpegSource {
    /// `http://` or `https://`. A user name and password belong into `credentialsSecretRef`: `edgereel run` takes them in the
    /// URL of a file of yours, a cluster does not. They are never shown in logs, status or metrics.
    #[schemars(length(max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// A Secret of type `kubernetes.io/basic-auth` (`username`, `password`), for basic and digest login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// TLS towards the camera, for `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<CameraTls>,
}

/// A URL that answers with one JPEG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tls) || self.url.startsWith('https://')").message("tls is for https:// URLs"))]
#[x_kube(validation = Rule::new(NO_LOGIN_RULE).message(NO_LOGIN))]
pub struct SnapshotSource {
    /// `http://` or `https://`; see the `mjpeg` source.
    #[schemars(length(max = 2048), regex(pattern = URL_PATTERN))]
    pub url: String,
    /// How long from one picture to the next. Default: `1s`. At least `10ms`.
    #[serde(default = "second")]
    pub interval: Duration,
    /// A Secret of type `kubernetes.io/basic-auth` (`username`, `password`), for basic and digest login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// TLS towards the camera, for `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<CameraTls>,
}

fn second() -> Duration {
    Duration::secs(1)
}

/// An RTSP stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(NO_LOGIN_RULE).message(NO_LOGIN))]
pub struct RtspSource {
    /// `rtsp://`; see the `mjpeg` source for a user name and password in it. Of several streams, the best video is taken;
    /// sound is not asked for.
    #[schemars(length(max = 2048), regex(pattern = RTSP_URL_PATTERN))]
    pub url: String,
    /// A Secret of type `kubernetes.io/basic-auth` (`username`, `password`), for basic and digest login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// How the video comes. Default: `tcp`, which loses nothing.
    #[serde(default)]
    pub transport: RtspTransport,
    /// Decode key frames alone, one every second or few with most cameras: a fraction of the work. MJPEG has no others.
    /// Default: false.
    #[serde(default)]
    pub key_frames_only: bool,
}

/// How an RTSP camera sends its video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RtspTransport {
    /// Within the RTSP connection.
    #[default]
    Tcp,
    /// Beside it: what is lost on the way is missing, and the pictures that it was part of are dropped and counted.
    Udp,
}

impl RtspTransport {
    /// As it stands in a resource.
    pub fn as_str(self) -> &'static str {
        match self {
            RtspTransport::Tcp => "tcp",
            RtspTransport::Udp => "udp",
        }
    }
}

/// TLS towards a camera. Cameras often carry a certificate that they signed themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caSecretRef) || !has(self.insecureSkipVerify) || !self.insecureSkipVerify").message("caSecretRef and insecureSkipVerify contradict each other"))]
pub struct CameraTls {
    /// The certificate authority's (or the camera's own) PEM. Without it, the system's authorities are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// Take any certificate: encrypted, but open to a man in the middle. Default: false.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// Frames made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyntheticSource {
    /// Width × height in pixels, each 64 to 7680 and a multiple of 16. Default: `1280x720`.
    #[serde(default = "hd")]
    #[schemars(regex(pattern = SYNTHETIC_SIZE_PATTERN))]
    pub size: String,
    /// About how large a frame is. Default: `85k`, an average camera's at 1280x720.
    #[serde(default = "frame_bytes")]
    pub frame_bytes: ByteSize,
}

fn hd() -> String {
    "1280x720".into()
}

fn frame_bytes() -> ByteSize {
    ByteSize(85_000)
}

/// How many frames a second go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minimum) || !has(self.target) || self.minimum <= self.target").message("minimum is at most target"))]
#[x_kube(validation = Rule::new("!has(self.adaptive) || !self.adaptive || has(self.target)").message("adaptive needs target"))]
#[x_kube(validation = Rule::new("!has(self.minimum) || (has(self.adaptive) && self.adaptive)").message("minimum is for adaptive: true"))]
pub struct FrameRate {
    /// Frames a second, 0.001 to 1000. What the camera sends above it is dropped and counted. Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub target: Option<f64>,
    /// What `adaptive` may go down to, in frames a second. Default: 1. At most `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub minimum: Option<f64>,
    /// Lower the rate while Kafka cannot keep up, and raise it again: additive increase, multiplicative decrease.
    /// Needs `target`. Default: false.
    #[serde(default)]
    pub adaptive: bool,
}

/// How a frame stands in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Encoding {
    /// `jpeg` or `json`. Default: `jpeg`.
    pub format: FrameFormat,
    /// The JPEG quality for `reencode`, and for what comes otherwise than as JPEG (`rtsp` and `file` with H.264 or H.265, raw
    /// pictures of a `device`), 1 to 100. Default: 85.
    #[schemars(range(min = 1, max = 100))]
    pub quality: u8,
    /// Whether pictures are encoded anew. Default: `never`, the camera's own bytes.
    pub reencode: Reencode,
    /// The largest frame that goes on. A larger one is encoded smaller with `reencode: size`, and dropped and counted
    /// otherwise. Default: `750Ki`, which in JSON's base64 too fits a topic with Kafka's own limit. The topic's and the
    /// brokers' limits have to allow it.
    pub max_frame_bytes: ByteSize,
    /// A larger frame is counted and shown in red. Default: `100k`.
    pub warn_frame_bytes: ByteSize,
}

impl Default for Encoding {
    fn default() -> Self {
        Encoding {
            format: FrameFormat::Jpeg,
            quality: 85,
            reencode: Reencode::Never,
            max_frame_bytes: ByteSize(750 << 10),
            warn_frame_bytes: ByteSize(100_000),
        }
    }
}

/// Whether pictures are encoded anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reencode {
    /// The camera's own bytes go on.
    #[default]
    Never,
    /// Every picture is encoded with `quality`.
    Quality,
    /// A picture above `maxFrameBytes` is encoded with the highest quality, `quality` at most, that makes it fit.
    Size,
}

/// The topic that the frames go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.ensure) || self.ensure != 'exists' || (!has(self.config) && !has(self.replicationFactor))").message("with ensure: exists, config and replicationFactor are not looked at"))]
#[x_kube(validation = Rule::new("self.name != '.' && self.name != '..'").message("a topic cannot be called . or .."))]
#[x_kube(validation = Rule::new("self.name == oldSelf.name").message("topic.name cannot be changed, sinks would leave frames of the old topic unread: make a new camera"))]
pub struct Topic {
    /// The topic's name: letters, digits, `.`, `_` and `-`, at most 249.
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC_PATTERN))]
    pub name: String,
    /// The number of partitions. Default: 1. With `ensure: verify` and `create`, an existing topic must have as many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10000))]
    pub partitions: i32,
    /// The number of copies. Default: the broker's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replication_factor: Option<i32>,
    /// The records' key. Default: `camera`.
    #[serde(default)]
    pub key: RecordKey,
    /// Whether the topic is made. Default: `create`.
    #[serde(default)]
    pub ensure: EnsureTopic,
    /// Topic settings, for example `retention.ms: "604800000"`. An existing topic that differs is reported, not changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

fn one() -> i32 {
    1
}

/// The records' key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RecordKey {
    /// The camera's name: its frames stay in one partition, in their order.
    #[default]
    Camera,
    /// None: frames spread over all partitions, as from producers that set no key.
    None,
}

/// Whether the topic is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EnsureTopic {
    /// Make it if it is not there; if it is there, check it as `verify` does.
    #[default]
    Create,
    /// It must be there with these partitions, replication factor and settings.
    Verify,
    /// It must be there; nothing else is looked at.
    Exists,
}

/// How records are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Producer {
    /// Whose acknowledgement counts. Default: `all` in-sync replicas.
    pub acks: Acks,
    /// Compression of batches. Default: `none`; JPEG does not compress.
    pub compression: Compression,
    /// How long a record may wait for others. Default: `0s`: no camera sends frames so close to each other that waiting
    /// would bring two together, and those that have piled up go together anyway.
    pub linger: Duration,
    /// The largest batch. Default: `1Mi`.
    pub batch_bytes: ByteSize,
    /// After this long without acknowledgement, a frame is given up and counted as dropped. Default: `30s`.
    pub delivery_timeout: Duration,
}

impl Default for Producer {
    fn default() -> Self {
        Producer {
            acks: Acks::All,
            compression: Compression::None,
            linger: Duration::secs(0),
            batch_bytes: ByteSize::mebi(1),
            delivery_timeout: Duration::secs(30),
        }
    }
}

/// Whose acknowledgement counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Acks {
    /// All in-sync replicas.
    #[default]
    All,
    /// The partition's leader alone: a broker's crash can lose acknowledged frames.
    Leader,
}

/// Compression of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the codecs' own names
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What is kept in memory while Kafka is slower than the camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Buffer {
    /// Frames waiting or in flight, in bytes. Default: `64Mi`. At least `maxFrameBytes`.
    pub memory: ByteSize,
    /// Which frame goes when it is full. Default: `dropOldest`.
    pub when_full: WhenFull,
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer { memory: ByteSize::mebi(64), when_full: WhenFull::DropOldest }
    }
}

/// Which frame goes when the buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenFull {
    /// The oldest that is not yet on its way to the broker.
    #[default]
    DropOldest,
    /// The one that has just come.
    DropNewest,
}

/// When a silent or frozen camera counts as broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Watchdog {
    /// Without a frame for this long, the camera is offline and is dialled again. Default: `10s`.
    pub stall: Duration,
    /// With the same picture for this long, the camera counts as frozen and is dialled again. Default: `60s`; `0s`
    /// turns it off.
    pub frozen: Duration,
}

impl Default for Watchdog {
    fn default() -> Self {
        Watchdog { stall: Duration::secs(10), frozen: Duration::secs(60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::shape::{Shape, schema_of};

    #[test]
    fn the_rule_about_templates_knows_all_their_fields() {
        let Ok(Shape::Object(fields)) = Shape::parse(&schema_of::<PodTemplate>()) else { panic!("an object") };
        let missing: Vec<_> =
            fields.iter().filter(|f| !NO_TEMPLATE_RULE.contains(&format!("has(self.template.{})", f.name))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
