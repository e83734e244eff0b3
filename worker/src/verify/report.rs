//! What a verification found.

use std::{fmt, path::PathBuf};

use edgereel_crds::plan::SinkPlan;
use serde::{Serialize, Serializer};

use super::Place;

/// One sink's result.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `namespace/name`.
    pub sink: String,
    /// Records that the topics hold.
    pub records: u64,
    /// Frames that are there, whole.
    pub present: u64,
    /// Frames that a video left out to keep real time; its CSV names them.
    pub left_out: u64,
    /// Records that are not committed yet.
    pub pending: u64,
    /// Records from before the sink's `startFrom`.
    pub before_start: u64,
    /// Committed records that are no frames.
    pub invalid: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Finding {
    /// A committed record's frame is nowhere.
    Missing {
        /// The record.
        #[serde(serialize_with = "text")]
        place: Place,
    },
    /// A file or a part of a video is not what the record holds.
    Torn {
        /// The record.
        #[serde(serialize_with = "text")]
        place: Place,
        /// The file and the difference.
        detail: String,
    },
    /// A record's frame is there more than once.
    Duplicate {
        /// The record.
        #[serde(serialize_with = "text")]
        place: Place,
        /// Where else.
        file: PathBuf,
    },
    /// A file that this sink did not write.
    Foreign {
        /// The file.
        file: PathBuf,
        /// How that shows.
        detail: String,
    },
    /// A video whose parts do not fit together.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// A committed record that is no frame is not in the dead-letter topic either.
    NotDeadLettered {
        /// The record.
        #[serde(serialize_with = "text")]
        place: Place,
    },
}

fn text<S: Serializer>(place: &Place, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(place)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Missing { place } => write!(f, "missing    {place}"),
            Finding::Torn { place, detail } => write!(f, "torn       {place}: {detail}"),
            Finding::Duplicate { place, file } => write!(f, "duplicate  {place}: again in {}", file.display()),
            Finding::Foreign { file, detail } => write!(f, "foreign    {}: {detail}", file.display()),
            Finding::Damaged { file, detail } => write!(f, "damaged    {}: {detail}", file.display()),
            Finding::NotDeadLettered { place } => write!(f, "missing    {place}: not a frame, and not dead-lettered"),
        }
    }
}

impl Report {
    pub(super) fn new(plan: &SinkPlan) -> Self {
        Report {
            sink: plan.name.to_string(),
            records: 0,
            present: 0,
            left_out: 0,
            pending: 0,
            before_start: 0,
            invalid: 0,
            findings: vec![],
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings of a kind there are: missing, torn, duplicate, foreign.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        let count = |fits: fn(&Finding) -> bool| self.findings.iter().filter(|f| fits(f)).count();
        [
            ("missing", count(|f| matches!(f, Finding::Missing { .. } | Finding::NotDeadLettered { .. }))),
            ("duplicate", count(|f| matches!(f, Finding::Duplicate { .. }))),
            ("torn", count(|f| matches!(f, Finding::Torn { .. } | Finding::Damaged { .. }))),
            ("foreign", count(|f| matches!(f, Finding::Foreign { .. }))),
        ]
    }
}
