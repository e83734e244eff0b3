//! `FrameSink`: frames from Kafka, written to a disk.

// Each printer column has a name and a type: the lint takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

use std::{borrow::Cow, fmt, str::FromStr};

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::{
    camera_stream::CameraStream,
    common::{KafkaRef, LocalRef, TOPIC_PATTERN},
    dataset::{Dataset, merge_window},
    declared::{Declared, Reference, SecretUses},
    kafka_connection::KafkaConnection,
    placement::{PINNED_RULE, Placement},
    pod::PodTemplate,
    resource_status::FrameSinkStatus,
    retention::Retention,
    status::ConditionType,
    storage::{SAME_STORAGE, Storage},
    template::{Template, zone::zone},
    units::{ByteSize, Duration},
};

/// Frames from Kafka, written to a disk as pictures or as video.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "edgereel.dev",
    version = "v1alpha1",
    kind = "FrameSink",
    doc = "Frames from Kafka, written to a disk as pictures or as video.",
    namespaced,
    shortname = "fsink",
    category = "edgereel",
    status = "FrameSinkStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "FPS", type_ = "number", json_path = ".status.fps"),
    printcolumn(name = "KB", type_ = "integer", json_path = ".status.frameKilobytes"),
    printcolumn(name = "Stored", type_ = "integer", json_path = ".status.framesStored"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lagRecords"),
    printcolumn(name = "Disk", type_ = "string", json_path = ".status.diskUsed"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(name = "Stream", type_ = "string", json_path = ".spec.from.streamRef.name", priority = 1),
    printcolumn(name = "Topics", type_ = "string", json_path = ".spec.from.topics", priority = 1),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.group", priority = 1),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.replicas", priority = 1),
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
#[x_kube(validation = Rule::new("has(self.kafka) || !has(self.from.topics)").message("from.topics needs kafka"))]
#[x_kube(validation = Rule::new("!has(self.onInvalid) || self.onInvalid != 'deadLetter' || has(self.deadLetter)").message("onInvalid: deadLetter needs deadLetter"))]
#[x_kube(validation = Rule::new("!has(self.onInvalid) || self.onInvalid == 'deadLetter' || !has(self.deadLetter)").message("deadLetter is for onInvalid: deadLetter"))]
#[x_kube(validation = Rule::new("!has(self.output.video) || !has(self.replicas) || self.replicas <= 1").message("a video is written by one worker: replicas has to be 1"))]
#[x_kube(validation = Rule::new("!has(self.output.dataset) || !has(self.replicas) || self.replicas <= 1").message("a data set is written by one worker: replicas has to be 1"))]
#[x_kube(validation = Rule::new("!has(self.output.dataset) || !has(self.retention)").message("a data set is kept whole: it has no retention"))]
#[x_kube(validation = Rule::new(PINNED_RULE).message("hostPath needs placement with nodes, nodeSelector or a required node affinity"))]
#[x_kube(validation = Rule::new(SAME_STORAGE).message("storage cannot be changed but for the size of a claim, what was recorded would be left behind: make a new sink"))]
#[x_kube(validation = Rule::new("has(self.group) == has(oldSelf.group) && (!has(self.group) || self.group == oldSelf.group)").message("group cannot be changed, its committed offsets say what is stored: make a new sink"))]
#[x_kube(validation = Rule::new("self.from == oldSelf.from || (has(self.from.topics) && has(oldSelf.from.topics) && oldSelf.from.topics.all(topic, topic in self.from.topics))").message("from cannot be changed but for topics that are added, frames of the old topic would be left unread: make a new sink"))]
pub struct FrameSinkSpec {
    /// Whose frames; exactly one of the two.
    pub from: From,
    /// The Kafka cluster. Default: that of the `CameraStream` in `from`; needed with `topics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaRef>,
    /// The consumer group. Default: `edgereel.<namespace>.<name>`. Two sinks of one group would share the topic's
    /// frames between them: refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    pub group: Option<String>,
    /// How the group shares the partitions among its workers. Default: `classic`. It may be changed at any time: the group
    /// changes over when its last worker of the other protocol has gone.
    #[serde(default)]
    pub group_protocol: GroupProtocol,
    /// Where to begin at the sink's first start. Default: `earliest`. A partition that is added to a topic later is read from
    /// its beginning. A group whose offsets are deleted or have expired is no first start, if the sink has read before:
    /// see `onOffsetLost`.
    #[serde(default)]
    pub start_from: StartFrom,
    /// What to do when the place to go on at is gone: cut by retention, of a topic that was made anew since, or deleted with
    /// the group. Default: `fail`.
    #[serde(default)]
    pub on_offset_lost: OnOffsetLost,
    /// How frames stand in the records. Default: `auto`, decided record by record.
    #[serde(default)]
    pub format: SinkFormat,
    /// What is written; exactly one of the outputs.
    pub output: Output,
    /// Where it is written. It cannot be changed: what was recorded would be left behind.
    pub storage: Storage,
    /// How often what is written is made durable and its offsets are committed.
    #[serde(default)]
    pub durability: Durability,
    /// What is deleted, oldest first. Without it nothing is, and a full disk is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// What to do with a record that is not a frame. Default: `deadLetter` if `deadLetter` is given, else `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_invalid: Option<OnInvalid>,
    /// The topic for records that are not frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// The number of workers that share the topic's partitions. Default: 1; 0 is as `suspend`, for an autoscaler. A video or a data set is written by one worker alone. In
    /// Kubernetes, workers beyond the topic's partitions are not started. With `hostPath` and several nodes, each worker
    /// writes to the disk of the node that it runs on: the frames are spread over them.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Stop writing, and keep the resource and the data. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// Which machines of a cluster may run it. With `hostPath`, Kubernetes needs it; `edgereel run` does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// What its pods are like in a cluster.
    #[serde(default)]
    pub template: PodTemplate,
}

impl Declared for FrameSink {
    const NAME: &'static str = "FrameSink";
    const COMPONENT: Option<&'static str> = Some("sink");
    const ASPECT: Option<ConditionType> = Some(ConditionType::StorageHealthy);

    fn references(spec: &FrameSinkSpec) -> Vec<Reference> {
        let own = spec.kafka.as_ref().map(|kafka| Reference::to_connection::<KafkaConnection>(&kafka.connection_ref));
        let stream = match &spec.from {
            From::StreamRef(stream) => {
                // Without a connection of its own it has its stream's.
                Some(Reference { inherits: own.is_none(), ..Reference::to::<CameraStream>(stream) })
            }
            From::Topics(_) => None,
        };
        own.into_iter().chain(stream).collect()
    }

    fn secrets(_: &FrameSinkSpec) -> SecretUses {
        SecretUses::new()
    }
}

impl FrameSinkSpec {
    /// Whether nothing is to run.
    pub fn rests(&self) -> bool {
        self.suspend || self.replicas == 0
    }

    /// Whether a cluster keeps its workers where their data lie: a directory of a node is found again only on that node.
    pub fn stays_with_its_data(&self) -> bool {
        !matches!(self.storage, Storage::HostPath(_)) || self.placement.as_ref().is_some_and(Placement::pins)
    }
}

fn one() -> i32 {
    1
}

/// Whose frames: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum From {
    /// A `CameraStream` in the same namespace: its topic.
    StreamRef(LocalRef),
    /// Topics by name, whoever fills them.
    Topics(
        #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 249), regex(pattern = TOPIC_PATTERN)))]
        Vec<String>,
    ),
}

/// Where to begin at the first start: `earliest`, `latest`, or an RFC 3339 time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// The oldest record that the topic still has.
    #[default]
    Earliest,
    /// Records that come after the first start.
    Latest,
    /// The first record at or after this time, in RFC 3339 as it was written.
    Timestamp(String),
}

/// What `startFrom` may look like; also in the CRD.
pub const START_FROM_PATTERN: &str = r"^(earliest|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))$";

impl FromStr for StartFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(StartFrom::Earliest),
            "latest" => Ok(StartFrom::Latest),
            time if time.len() >= 20 && time.as_bytes()[4] == b'-' => Ok(StartFrom::Timestamp(time.into())),
            other => Err(format!(
                "`{other}` is not a start; write `earliest`, `latest` or a time such as `2024-06-04T10:30:00Z`"
            )),
        }
    }
}

impl fmt::Display for StartFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartFrom::Earliest => "earliest",
            StartFrom::Latest => "latest",
            StartFrom::Timestamp(time) => time,
        })
    }
}

impl Serialize for StartFrom {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StartFrom {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for StartFrom {
    fn schema_name() -> Cow<'static, str> {
        "StartFrom".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": START_FROM_PATTERN})
    }
}

/// How a consumer group shares partitions among its members (Kafka's `group.protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GroupProtocol {
    /// All partitions are taken from all workers and given anew at each change. Every Kafka has it, and consumers of other
    /// programs may be in the group meanwhile.
    #[default]
    Classic,
    /// The brokers move only the partitions that have to go elsewhere (KIP-848): Kafka 4.0 or later. How long a worker that
    /// was killed keeps its place is theirs to say too: `group.consumer.session.timeout.ms`, 45 s by default.
    Consumer,
}

/// What to do when the place to go on at is gone (cut by retention, of a topic made anew since, or deleted with the group).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnOffsetLost {
    /// Stop and say so: frames are missing, and a person decides.
    #[default]
    Fail,
    /// Go on with the oldest record; the gap is counted.
    Earliest,
    /// Go on with records that come from now on; the gap is counted.
    Latest,
}

/// How frames stand in the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SinkFormat {
    /// By the record: `FF D8` is a JPEG, `{` is JSON.
    #[default]
    Auto,
    /// JPEG only.
    Jpeg,
    /// JSON with base64 only.
    Json,
}

/// What is written: exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// One JPEG file a frame.
    JpegFiles(JpegFiles),
    /// AVI files.
    Video(Video),
    /// Pictures, each a file, and a CSV that says what each shows.
    Dataset(Dataset),
}

impl Output {
    /// Its field, for messages.
    pub fn field(&self) -> &'static str {
        match self {
            Output::JpegFiles(_) => "spec.output.jpegFiles",
            Output::Video(_) => "spec.output.video",
            Output::Dataset(_) => "spec.output.dataset",
        }
    }

    /// The directory below its volume.
    pub fn directory(&self) -> &str {
        match self {
            Output::JpegFiles(files) => &files.directory,
            Output::Video(video) => &video.directory,
            Output::Dataset(dataset) => &dataset.directory,
        }
    }
}

/// One JPEG file a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.directory) || (!self.directory.startsWith('/') && !self.directory.matches('(^|/)[.][.](/|$)'))").message("directory is below the storage's root, without .."))]
#[x_kube(validation = Rule::new("!has(self.fileName) || (self.fileName.contains('{partition') && self.fileName.contains('{offset'))").message("fileName needs {partition} and {offset}"))]
pub struct JpegFiles {
    /// The directory below the storage's root; made if missing. Default: the root itself.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub directory: String,
    /// The files' names, with fields in braces: `{camera}` `{topic}` `{partition}` `{offset}` `{timestamp}` `{sequence}`.
    /// `{offset:06}` pads with zeros; `{timestamp:%Y-%m-%d}` takes a strftime format; times are in `timeZone`, UTC unless
    /// given. A `/` makes directories.
    /// `{partition}` and `{offset}` have to be there (and `{topic}` with several topics), with something between them that
    /// cannot stand in them, so that no two frames share a name. A name that is taken is never overwritten. Default: `frame_{partition}-{offset:06}_{timestamp}.jpg`.
    #[serde(default = "jpeg_name")]
    #[schemars(length(min = 1, max = 1024))]
    pub file_name: String,
    /// The time zone of the times in the files' names, by its IANA name, as in `Europe/Rome`. Where clocks are set back in
    /// autumn, an hour of names comes twice, and the record's place tells the files apart. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

impl JpegFiles {
    /// The files' names.
    ///
    /// # Errors
    /// What is wrong with `fileName` or `timeZone`.
    pub fn template(&self) -> Result<Template, String> {
        Ok(Template::parse(&self.file_name)?.in_zone(zone(self.time_zone.as_deref())?))
    }
}

fn jpeg_name() -> String {
    "frame_{partition}-{offset:06}_{timestamp}.jpg".into()
}

/// AVI files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.directory) || (!self.directory.startsWith('/') && !self.directory.matches('(^|/)[.][.](/|$)'))").message("directory is below the storage's root, without .."))]
#[x_kube(validation = Rule::new("!has(self.segment) || !has(self.fileName) || self.fileName.contains('{timestamp') || self.fileName.contains('{segment')").message("with segment, fileName needs {timestamp} or {segment}"))]
pub struct Video {
    /// The directory below the storage's root; made if missing. Default: the root itself.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub directory: String,
    /// The files' names; fields of the first frame as for `jpegFiles` (times in `timeZone`, UTC unless given), and `{segment}`, the segment's number. With
    /// `segment`, one of `{timestamp}` and `{segment}` has to be there. A name that is taken gets `_2`, `_3`, ….
    /// Default: `{topic}_{timestamp}.avi` with `segment`, `{topic}.avi` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub file_name: Option<String>,
    /// The time zone of the times in the files' names, by its IANA name, as in `Europe/Rome`. Where clocks are set back in
    /// autumn, an hour of names comes twice, and the second file gets `_2`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// `mjpeg` copies the pictures, `xvid` encodes them anew (MPEG-4 ASP). Default: `mjpeg`.
    #[serde(default)]
    pub codec: Codec,
    /// The speed that the video plays at. A number of frames a second keeps every frame. `source` keeps real time: where
    /// frames come closer together than the video's pictures it *leaves some out*, and where they come late it shows one
    /// again; the CSV and `edgereel_sink_frames_skipped_total` tell which and how many. Default: `source`.
    #[serde(default)]
    pub frame_rate: VideoRate,
    /// When to begin a new file. Without it, one file that grows on across restarts. A new file also begins when the
    /// picture's size changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    /// How long a frame without a key waits for older ones from other partitions. A frame is in its file at least so much
    /// later, where the topic has several partitions; too short, and frames are written out of order and counted
    /// (`edgereel_sink_frames_late_total`). With twice the time in which each partition gets a frame, the order also
    /// holds while a broker stalls for up to 10 s. From `0s` to `5s`. Default: `250ms`.
    #[serde(default = "merge_window")]
    pub merge_window: Duration,
}

/// Bytes for the `_2` of a name that is taken, of up to six digits.
pub const VIDEO_COPY: usize = 7;

impl Video {
    /// The files' names, or the default.
    pub fn file_name(&self) -> &str {
        let default = if self.segment.is_some() { "{topic}_{timestamp}.avi" } else { "{topic}.avi" };
        self.file_name.as_deref().unwrap_or(default)
    }

    /// The files' names, ready to be written.
    ///
    /// # Errors
    /// What is wrong with `fileName` or `timeZone`.
    pub fn template(&self) -> Result<Template, String> {
        Ok(Template::parse(self.file_name())?.in_zone(zone(self.time_zone.as_deref())?))
    }
}

/// A video's codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Codec {
    /// Motion JPEG: the very bytes of the frames.
    #[default]
    Mjpeg,
    /// MPEG-4 ASP with the FourCC `XVID`.
    Xvid,
}

/// The speed that a video plays at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum VideoRate {
    /// Real time, by the frames' capture times.
    #[default]
    Source,
    /// Every frame once, this many a second, 1 to 240.
    Fixed(u32),
}

/// What a video's `frameRate` may look like as text; also in the CRD.
pub const VIDEO_RATE_PATTERN: &str = r"^(source|[1-9][0-9]?|1[0-9]{2}|2[0-3][0-9]|240)$";

impl Serialize for VideoRate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            VideoRate::Source => s.serialize_str("source"),
            VideoRate::Fixed(fps) => s.serialize_u32(*fps),
        }
    }
}

impl<'de> Deserialize<'de> for VideoRate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(i64),
            Text(String),
        }
        let fps = match Raw::deserialize(d)? {
            Raw::Number(fps) => Some(fps),
            Raw::Text(text) if text == "source" => return Ok(VideoRate::Source),
            Raw::Text(text) => text.parse().ok(),
        };
        match fps {
            Some(fps @ 1..=240) => Ok(VideoRate::Fixed(fps as u32)),
            _ => Err(de::Error::custom("write `source` or a whole number of frames a second from 1 to 240")),
        }
    }
}

impl JsonSchema for VideoRate {
    fn schema_name() -> Cow<'static, str> {
        "VideoRate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 240,
            "pattern": VIDEO_RATE_PATTERN,
        })
    }
}

/// When to begin a new file: at the first of the two. At least one has to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxDuration) || has(self.maxBytes)").message("give maxDuration or maxBytes"))]
pub struct Segment {
    /// By the frames' capture times, for example `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Duration>,
    /// By the file's size, for example `1Gi`. At least `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

/// How often what is written is made durable and its offsets are committed: at the first of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Durability {
    /// Default: `1s`. From `10ms` to `10m`.
    pub flush_interval: Duration,
    /// Default: 256 frames.
    #[schemars(range(min = 1, max = 100000))]
    pub flush_frames: u32,
}

impl Default for Durability {
    fn default() -> Self {
        Durability { flush_interval: Duration::secs(1), flush_frames: 256 }
    }
}

/// What to do with a record that is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnInvalid {
    /// Stop at it and say so; nothing after it is committed.
    Fail,
    /// Count it and go on.
    Skip,
    /// Send it to the `deadLetter` topic and go on.
    DeadLetter,
}

/// The topic for records that are not frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The topic's name; it is made with one partition if it is not there.
    #[schemars(length(min = 1, max = 249), regex(pattern = TOPIC_PATTERN))]
    pub topic: String,
}
