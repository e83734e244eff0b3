//! A frame as a Kafka record, and back.
//!
//! Records carry CloudEvents headers in Kafka's binary mode (CloudEvents Kafka protocol binding 1.0.2, §3.2) whatever
//! their value; a reader needs none of them. [`time`] says when a record's frame was captured.

mod json;
pub mod time;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use edgereel_crds::{common::FrameFormat, frame_sink::SinkFormat, name::ObjectName};
use jiff::Timestamp;

use super::{
    Frame,
    jpeg::{self, JpegInfo, SOI},
};
use crate::reasons::InvalidReason;

/// The `ce_type` of a frame.
pub const EVENT_TYPE: &str = "dev.edgereel.frame.v1";
/// Header: the media type of the value.
pub const CONTENT_TYPE: &str = "content-type";
/// Header: the version of CloudEvents.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// Header: what the record is.
pub const CE_TYPE: &str = "ce_type";
/// Header: `<session>-<sequence>`, unique for a camera.
pub const CE_ID: &str = "ce_id";
/// Header: the camera, `/edgereel/<namespace>/<name>`.
pub const CE_SOURCE: &str = "ce_source";
/// Header: when the frame was captured, RFC 3339 in UTC with microseconds.
pub const CE_TIME: &str = "ce_time";
/// Header: the frame's number in its session.
pub const CE_SEQUENCE: &str = "ce_sequence";

/// A record's value and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The value.
    pub value: Bytes,
    /// The headers, in their order.
    pub headers: Vec<(&'static str, String)>,
}

/// Turns one camera's frames into records.
#[derive(Clone, Debug)]
pub struct FrameEncoder {
    source: String,
    session: String,
    format: FrameFormat,
}

impl FrameEncoder {
    /// What `ce_id` begins with.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Frames of `camera`, captured by a worker's run that `session` names uniquely.
    pub fn new(camera: &ObjectName, session: impl Into<String>, format: FrameFormat) -> Self {
        let source = format!("/edgereel/{}/{}", camera.namespace, camera.name);
        FrameEncoder { source, session: session.into(), format }
    }

    /// The record of a frame. With the format `jpeg` the value is the frame's own bytes, not a copy.
    pub fn encode(&self, frame: &Frame) -> Encoded {
        let time = format!("{:.6}", frame.captured_at);
        let (media_type, value) = match self.format {
            FrameFormat::Jpeg => ("image/jpeg", frame.jpeg.clone()),
            FrameFormat::Json => ("application/json", json_value(&frame.jpeg, &time)),
        };
        let headers = vec![
            (CONTENT_TYPE, media_type.to_owned()),
            (CE_SPECVERSION, "1.0".to_owned()),
            (CE_ID, format!("{}-{}", self.session, frame.sequence)),
            (CE_SOURCE, self.source.clone()),
            (CE_TYPE, EVENT_TYPE.to_owned()),
            (CE_TIME, time),
            (CE_SEQUENCE, frame.sequence.to_string()),
        ];
        Encoded { value, headers }
    }
}

/// `{"frame": <base64>, "timestamp": <time>, "size": <KB of 1024 bytes, 2 decimals>}`, encoded straight into its buffer.
fn json_value(jpeg: &[u8], time: &str) -> Bytes {
    const OPEN: &[u8] = br#"{"frame": ""#;
    let close = format!(r#"", "timestamp": "{time}", "size": {:.2}}}"#, jpeg.len() as f64 / 1024.0);
    let base64 = jpeg.len().div_ceil(3) * 4;
    let mut value = Vec::with_capacity(OPEN.len() + base64 + close.len());
    value.extend_from_slice(OPEN);
    value.resize(OPEN.len() + base64, 0);
    STANDARD.encode_slice(jpeg, &mut value[OPEN.len()..]).expect("base64 needs four bytes for each three begun");
    value.extend_from_slice(close.as_bytes());
    value.into()
}

/// A record's header: its name, which is bytes and nothing else, and its value.
pub type Header = (Bytes, Option<Bytes>);

/// A header's value. Where a name stands more than once, the last counts, whatever it holds: each writer on a record's way
/// puts its headers behind those that it found.
pub fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().rfind(|(other, _)| other == name)?.1.as_deref()
}

/// As [`header`], where the value is text.
pub fn text_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    std::str::from_utf8(header(headers, name)?).ok()
}

/// A record as it came from Kafka, from any producer.
#[derive(Clone, Debug)]
pub struct RecordView<'a> {
    /// The value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: &'a [Header],
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The record's timestamp as it stands there, which should be milliseconds; `None` where it has none.
    pub timestamp: Option<i64>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The JPEG as it stands in the record; for `jpeg` records a slice of the value.
    pub jpeg: Bytes,
    /// Its structure.
    pub info: JpegInfo,
    /// `ce_time`, else the JSON `timestamp` if it names an instant, else [the record's](time::of_record).
    pub captured_at: Timestamp,
    /// The last part of `ce_source`, else the record's key.
    pub camera: Option<String>,
    /// `ce_sequence`.
    pub sequence: Option<u64>,
}

/// A record that is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// For the metric.
    pub reason: InvalidReason,
    /// For people.
    pub message: String,
}

impl Invalid {
    fn new(reason: InvalidReason, message: impl Into<String>) -> Self {
        Invalid { reason, message: message.into() }
    }
}

/// Reads a record. No header is needed, and none that does not parse does harm.
pub fn decode(record: &RecordView<'_>, format: SinkFormat) -> Result<Decoded, Invalid> {
    let value = record.value.clone().unwrap_or_default();
    if value.is_empty() {
        return Err(Invalid::new(InvalidReason::empty, "the record has no value"));
    }
    let (jpeg, json_time) = match format {
        SinkFormat::Json => json::read(&value)?,
        SinkFormat::Auto if json::looks_like(&value) => json::read(&value)?,
        SinkFormat::Jpeg | SinkFormat::Auto => (value, None),
    };
    let info = jpeg::inspect(&jpeg).map_err(|defect| Invalid::new(defect.into(), describe(defect, &jpeg)))?;
    let header = |name| text_header(record.headers, name);
    let captured_at = header(CE_TIME).and_then(time::of_text).or(json_time);
    Ok(Decoded {
        jpeg,
        info,
        captured_at: captured_at.unwrap_or_else(|| time::of_record(record.timestamp)),
        camera: header(CE_SOURCE)
            .and_then(|source| source.trim_end_matches('/').rsplit('/').next())
            .or_else(|| std::str::from_utf8(record.key?).ok())
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        sequence: header(CE_SEQUENCE).and_then(|n| n.parse().ok()),
    })
}

/// What is wrong with bytes that are no whole JPEG.
fn describe(defect: jpeg::Defect, data: &[u8]) -> String {
    match defect {
        jpeg::Defect::NotJpeg if !data.starts_with(&SOI) => {
            let start = String::from_utf8_lossy(&data[..data.len().min(16)]).escape_debug().to_string();
            format!("not a JPEG: it begins with `{start}`")
        }
        defect => format!("{defect} ({} bytes)", data.len()),
    }
}

#[cfg(test)]
mod tests;
