//! A frame as a Kafka record, and back.
//!
//! Records carry CloudEvents headers in Kafka's binary mode (CloudEvents Kafka protocol binding 1.0.2, §3.2) whatever
//! their value; a reader needs none of them. [`labelled`] is a picture of a folder; [`time`] says when a record's frame was captured.

mod json;
pub mod labelled;
pub mod time;

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use edgereel_crds::{
    common::FrameFormat,
    frame_sink::{Output, SinkFormat},
    name::ObjectName,
};
use jiff::Timestamp;

use super::{
    Frame,
    jpeg::{self, SOI},
    picture::{self, Info},
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
/// Header: what a labelled picture shows.
pub const ANNOTATION: &str = "annotation";
/// Header: the name of a labelled picture's file.
pub const FILE: &str = "file";

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

    /// The records' `ce_source`.
    pub fn source(&self) -> &str {
        &self.source
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
            FrameFormat::Json => ("application/json", json_value(&frame.jpeg, &frame_members(&frame.jpeg, &time))),
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

/// `{"frame": <base64>, <members>`, encoded straight into its buffer. The members end the object.
fn json_value(picture: &[u8], members: &str) -> Bytes {
    const OPEN: &[u8] = br#"{"frame": ""#;
    const CLOSE: &[u8] = br#"", "#;
    let base64 = picture.len().div_ceil(3) * 4;
    let mut value = Vec::with_capacity(OPEN.len() + base64 + CLOSE.len() + members.len());
    value.extend_from_slice(OPEN);
    value.resize(OPEN.len() + base64, 0);
    STANDARD.encode_slice(picture, &mut value[OPEN.len()..]).expect("base64 needs four bytes for each three begun");
    value.extend_from_slice(CLOSE);
    value.extend_from_slice(members.as_bytes());
    value.into()
}

/// What stands behind a frame: `"timestamp": <time>, "size": <KB of 1024 bytes, 2 decimals>}`.
fn frame_members(jpeg: &[u8], time: &str) -> String {
    format!(r#""timestamp": "{time}", "size": {:.2}}}"#, jpeg.len() as f64 / 1024.0)
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

/// What a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Frames: JPEG, in JSON as `frame`.
    Frames,
    /// Pictures of all [kinds](picture::Kind) with what they show; in JSON under one of several names.
    Labelled,
}

impl From<&Output> for Take {
    fn from(output: &Output) -> Self {
        match output {
            Output::JpegFiles(_) | Output::Video(_) => Take::Frames,
            Output::Dataset(_) => Take::Labelled,
        }
    }
}

/// What a record says of a labelled picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// What it shows: the header `annotation`, else the JSON's.
    pub annotation: Option<String>,
    /// The name of its file: the header `file`, else the JSON's.
    pub file: Option<String>,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The picture as it stands in the record; where the record is nothing else, a slice of the value.
    pub picture: Bytes,
    /// What it is.
    pub info: Info,
    /// Where [labelled](Take::Labelled) pictures are taken: its label.
    pub label: Label,
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
pub fn decode(record: &RecordView<'_>, format: SinkFormat, take: Take) -> Result<Decoded, Invalid> {
    let value = record.value.clone().unwrap_or_default();
    if value.is_empty() {
        return Err(Invalid::new(InvalidReason::empty, "the record has no value"));
    }
    let json = match format {
        SinkFormat::Json => true,
        SinkFormat::Auto => json::looks_like(&value),
        SinkFormat::Jpeg => false,
    };
    let (picture, json_time, mut label) = match json {
        true => json::read(&value, take)?,
        false => (value, None, Label::default()),
    };
    let info = match take {
        Take::Frames => jpeg::inspect(&picture).map(Info::from).map_err(|defect| {
            no_picture(defect, &picture, defect == jpeg::Defect::NotJpeg && !picture.starts_with(&SOI))
        })?,
        Take::Labelled => picture::inspect(&picture)
            .map_err(|defect| no_picture(defect, &picture, defect == picture::Defect::NotPicture))?,
    };
    let header = |name| text_header(record.headers, name);
    let captured_at = header(CE_TIME).and_then(time::of_text).or(json_time);
    if take == Take::Labelled {
        let labelled = |name| header_bytes(record.headers, name);
        label.annotation = labelled(ANNOTATION).or(label.annotation);
        label.file = labelled(FILE).or(label.file);
    }
    Ok(Decoded {
        picture,
        info,
        label,
        captured_at: captured_at.unwrap_or_else(|| time::of_record(record.timestamp)),
        camera: header(CE_SOURCE)
            .and_then(|source| source.trim_end_matches('/').rsplit('/').next())
            .or_else(|| std::str::from_utf8(record.key?).ok())
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        sequence: header(CE_SEQUENCE).and_then(|n| n.parse().ok()),
    })
}

/// A header as text, whatever its bytes are: a label is not lost for one letter that is no UTF-8.
fn header_bytes(headers: &[Header], name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(header(headers, name)?).into_owned())
}

/// What is wrong with bytes that are no whole picture; of what is another kind (`other`), how it begins.
fn no_picture(defect: impl fmt::Display + Into<InvalidReason>, data: &[u8], other: bool) -> Invalid {
    let message = match other {
        true => {
            let start = String::from_utf8_lossy(&data[..data.len().min(16)]).escape_debug().to_string();
            format!("{}: it begins with `{start}`", defect.to_string().trim_start_matches("it is "))
        }
        false => format!("{defect} ({} bytes)", data.len()),
    };
    Invalid::new(defect.into(), message)
}

#[cfg(test)]
mod tests;
