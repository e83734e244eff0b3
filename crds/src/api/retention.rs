//! How long a [`FrameSink`](super::frame_sink) keeps what it has stored.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::units::{ByteSize, Duration};

/// What is deleted, oldest first: pictures, or whole files of a video. Only what this sink has written goes, and never the video
/// that grows. Whatever is deleted is written down before, so that `edgereel verify` misses nothing that went on purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// What was captured longer ago, for example `168h`. At least `1m`. Of a frame without a usable time, when it was stored counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// What is more than this, for example `400Gi`; of each worker by itself. At least `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
    /// How much of the disk is to stay free, as `10%` or `50Gi`: what is less makes the disk full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_free: Option<MinFree>,
    /// What to do when the disk is full. Default: `deleteOldest`.
    #[serde(default)]
    pub when_full: WhenFull,
}

/// What to do when the disk is full, or less than `minFree` of it is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenFull {
    /// Delete the oldest frames until there is room. Of the sinks that share a volume and say so, the one with the oldest frame
    /// deletes.
    #[default]
    DeleteOldest,
    /// Wait: frames stay in Kafka until there is room, as without `retention`.
    Wait,
}

/// A part of a disk: `10%`, or bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MinFree {
    /// Bytes.
    Bytes(ByteSize),
    /// Of a hundred.
    Percent(f32),
}

/// What `minFree` may look like; also in the CRD.
pub const MIN_FREE_PATTERN: &str = r"^([0-9]{1,2}(\.[0-9]+)?%|[0-9]+(\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?)$";

impl FromStr for MinFree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no part of a disk; write `10%`, or bytes as `50Gi`");
        match text.strip_suffix('%') {
            None => text.parse().map(MinFree::Bytes).map_err(|_| bad()),
            Some(percent) => match percent.parse::<f32>() {
                Ok(percent @ 0.0..100.0) if !percent.is_sign_negative() => Ok(MinFree::Percent(percent)),
                _ => Err(bad()),
            },
        }
    }
}

impl fmt::Display for MinFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MinFree::Bytes(bytes) => bytes.fmt(f),
            MinFree::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MinFree {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MinFree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(d)? {
            Raw::Number(n) => Ok(MinFree::Bytes(ByteSize(n))),
            Raw::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for MinFree {
    fn schema_name() -> Cow<'static, str> {
        "MinFree".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "pattern": MIN_FREE_PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_disk_is_a_percentage_or_bytes() {
        for (text, expected) in [
            ("10%", MinFree::Percent(10.0)),
            ("2.5%", MinFree::Percent(2.5)),
            ("50Gi", MinFree::Bytes(ByteSize(50 << 30))),
            ("0", MinFree::Bytes(ByteSize(0))),
        ] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        for bad in ["", "%", "100%", "-1%", "x", "10 %"] {
            assert!(bad.parse::<MinFree>().is_err(), "{bad}");
        }
    }
}
