//! What stands in a commit's metadata: where the files stood when all frames before the committed offsets were durable.

use std::path::{Component, Path};

use edgereel_kafka::consumer::mark;
use serde::{Deserialize, Serialize};

use super::timing::Timing;

/// A broker keeps at most 4096 bytes of metadata (`offset.metadata.max.bytes`), of which the topic's mark takes its part.
pub const LONGEST: usize = 4096 - mark::LONGEST;
/// A file's name has to leave room for the rest.
pub const LONGEST_NAME: usize = 1024;
const VERSION: u32 = 1;

/// Where a sink's files stood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The number of the last segment that was begun; 0 for none.
    pub segment: u64,
    /// That segment, unless it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenAt>,
}

/// Where an open segment stood: a video with its CSV, or a data set's CSV, which is both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAt {
    /// The file, below the output's directory.
    pub name: String,
    /// Its bytes.
    pub end: u64,
    /// Its frames, repetitions included, or its rows.
    pub frames: u64,
    /// Bytes of the CSV.
    pub csv: u64,
    /// When its first frame was captured, in microseconds since 1970.
    pub began: i64,
    /// Real time; none for a fixed speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    content: T,
}

impl Checkpoint {
    /// Grows from one checkpoint of a sink to the next: segments are numbered, and of one segment bytes are added until it
    /// is closed.
    pub fn age(&self) -> impl Ord {
        (self.segment, self.open.is_none(), self.open.as_ref().map(|open| (open.end, open.csv)))
    }

    /// As compact JSON.
    pub fn to_metadata(&self) -> String {
        let versioned = Versioned { v: VERSION, content: self };
        serde_json::to_string(&versioned).expect("strings, numbers and lists always make JSON")
    }

    /// From a commit's metadata.
    ///
    /// # Errors
    /// In words that follow "the committed checkpoint ".
    pub fn from_metadata(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Ok(Version { v }) = serde_json::from_str(text) else {
            return Err(format!(
                "`{}` is no checkpoint of a sink's files",
                text.chars().take(80).collect::<String>().escape_debug()
            ));
        };
        if v != VERSION {
            return Err(format!("has version {v}, this program knows version {VERSION}: use the newer program"));
        }
        let mut value: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("is damaged: {e}"))?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("v");
        }
        let checkpoint: Checkpoint = serde_json::from_value(value).map_err(|e| format!("is damaged: {e}"))?;
        // Whoever may commit for the group must not lead the sink out of its directory.
        let plain = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        match &checkpoint.open {
            Some(open) if !plain(&open.name) => {
                Err(format!("is damaged: `{}` is no file of the sink's", open.name.escape_debug()))
            }
            _ => Ok(checkpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_checkpoint_comes_back_from_a_commit_as_it_was(
            segment: u64, end: u64, frames: u64, csv: u64, began: i64, name in "[a-z][ -.0-~]{0,899}", times: Vec<i32>,
        ) {
            let mut timing = Timing::begin(None, began);
            for time in times {
                timing = timing.next(began.saturating_add(i64::from(time)), false, 5).1;
            }
            let open = OpenAt { name, end, frames, csv, began, timing: Some(timing) };
            let checkpoint = Checkpoint { segment, open: Some(open) };
            let text = checkpoint.to_metadata();
            prop_assert!(text.len() <= LONGEST);
            prop_assert_eq!(Checkpoint::from_metadata(&text).unwrap(), checkpoint);
        }

        #[test]
        fn any_metadata_is_read_or_refused(text in ".*") {
            let _ = Checkpoint::from_metadata(&text);
        }
    }

    #[test]
    fn foreign_and_newer_metadata_are_refused_in_words() {
        for (text, word) in [
            ("hello", "no checkpoint of a sink"),
            (r#"{"v":2,"segment":1}"#, "version 2"),
            (r#"{"v":1,"segment":-1}"#, "damaged"),
            (r#"{"v":1,"segment":1,"other":1}"#, "damaged"),
            (
                r#"{"v":1,"segment":1,"open":{"name":"../x.avi","end":1,"frames":1,"csv":1,"began":1}}"#,
                "no file of the sink's",
            ),
            (
                r#"{"v":1,"segment":1,"open":{"name":"/x.avi","end":1,"frames":1,"csv":1,"began":1}}"#,
                "no file of the sink's",
            ),
        ] {
            let error = Checkpoint::from_metadata(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert_eq!(Checkpoint::from_metadata(r#"{"v":1,"segment":0}"#).unwrap(), Checkpoint::default());
    }
}
