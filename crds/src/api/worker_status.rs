//! What a worker answers at `/status`: the conditions and figures of the resources that it runs.
//!
//! The worker writes it and the operator reads it, perhaps in another version: unknown fields are passed over, and a
//! figure that is not known is absent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::api::status::Condition;

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The worker's version.
    pub version: String,
    /// The resources that this process runs: one in a pod, all that the files hold on a machine of one's own.
    pub resources: Vec<ResourceReport>,
}

/// One resource (one replica of it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReport {
    /// `CameraStream` or `FrameSink`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, with `-<replica>` where one process runs several.
    pub name: String,
    /// Its conditions. One whose type or reason this version does not know is passed over when read.
    #[serde(deserialize_with = "known_conditions")]
    pub conditions: Vec<Condition>,
    /// The last thing that went wrong since the start, mended or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Its live figures.
    pub figures: Figures,
}

/// Reasons are a closed set, which a newer worker may have added to: that must not make its figures unreadable.
fn known_conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|condition| serde_json::from_value(condition).ok()).collect())
}

/// The last thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub time: Timestamp,
    /// What, without credentials.
    pub message: String,
}

/// Live figures: a camera's or a sink's, told apart by `framesCaptured`. Counts are since the process started; rates and
/// means are of the last five seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figures {
    /// A camera's.
    Camera(CameraFigures),
    /// A sink's.
    Sink(SinkFigures),
}

/// A camera's live figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CameraFigures {
    /// Frames a second that go on towards Kafka: those that come, without those that are dropped at once.
    pub fps: f64,
    /// Their mean size in bytes.
    pub frame_bytes: u64,
    /// Frames that came.
    pub frames_captured: u64,
    /// Frames that Kafka acknowledged.
    pub frames_acknowledged: u64,
    /// Frames that did not reach Kafka.
    pub frames_dropped: u64,
    /// Frames that came and are neither acknowledged nor dropped yet: the four add up in every answer. Older workers do not
    /// say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames_waiting: Option<u64>,
    /// The same by reason, without zeros; the reasons are those of the metric `edgereel_camera_frames_dropped_total`.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// Bytes waiting and in flight.
    #[serde(default)]
    pub buffer_bytes: i64,
    /// When the last frame came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_frame_time: Option<Timestamp>,
    /// Its width and height in pixels, as in `1280x720`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_size: Option<String>,
}

/// A sink's live figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkFigures {
    /// Frames a second that are written.
    pub fps: f64,
    /// Their mean size in bytes.
    pub frame_bytes: u64,
    /// Records read.
    #[serde(default)]
    pub records_consumed: u64,
    /// Frames written.
    pub frames_stored: u64,
    /// Their bytes.
    #[serde(default)]
    pub bytes_stored: u64,
    /// Frames durable, with their offsets committed.
    #[serde(default)]
    pub frames_durable: u64,
    /// Records that are not frames, skipped or sent to the dead-letter topic.
    #[serde(default)]
    pub records_invalid: u64,
    /// Records sent to the dead-letter topic.
    #[serde(default)]
    pub records_dead_lettered: u64,
    /// Records gone from the topic before they were read.
    #[serde(default)]
    pub records_lost: u64,
    /// Records not yet committed; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<i64>,
    /// Age of the oldest record not yet stored, in seconds; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<f64>,
    /// Free space of the output's file system, in bytes.
    #[serde(default)]
    pub disk_free_bytes: i64,
    /// Size of the output's file system, in bytes.
    #[serde(default)]
    pub disk_size_bytes: i64,
    /// The free part of it, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_ratio: Option<f64>,
    /// Partitions that this worker reads now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_partitions: Option<u32>,
    /// Partitions of its topics, whoever reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_partitions: Option<u32>,
    /// Capture time of the last frame stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_frame_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::ConditionType;

    #[test]
    fn a_newer_workers_answer_is_read_without_its_unknown_fields() {
        let answer = r#"{"version": "9.0.0", "more": 1, "resources": [
            {"kind": "CameraStream", "namespace": "lab", "name": "gate", "conditions": [], "lastError": null,
             "figures": {"fps": 29.9, "frameBytes": 85000, "framesCaptured": 100, "framesAcknowledged": 99,
                         "framesDropped": 1, "dropped": {"pacing": 1}, "lastFrameTime": "2024-06-04T10:30:00Z", "new": []}},
            {"kind": "FrameSink", "namespace": "lab", "name": "files", "conditions": [
                {"type": "Ready", "status": "False", "reason": "CatOnKeyboard", "message": "shoo", "lastTransitionTime": ""},
                {"type": "StorageHealthy", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "", "new": 1}],
             "figures": {"fps": 30.0, "frameBytes": 85000, "framesStored": 98, "lagRecords": 2}}]}"#;
        let status: WorkerStatus = serde_json::from_str(answer).expect("readable");
        let [camera, sink] = &status.resources[..] else { panic!("two resources") };
        assert!(
            matches!(&camera.figures, Figures::Camera(f) if f.frames_acknowledged == 99 && f.dropped["pacing"] == 1)
        );
        assert!(matches!(&sink.figures, Figures::Sink(f) if f.frames_stored == 98 && f.lag_records == Some(2)));
        let known: Vec<ConditionType> = sink.conditions.iter().map(|condition| condition.kind).collect();
        assert_eq!(known, [ConditionType::StorageHealthy], "a reason that is not known here harms nothing else");
    }
}
