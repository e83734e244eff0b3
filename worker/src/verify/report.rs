//! What a verification found.

use std::{collections::BTreeMap, fmt, path::PathBuf};

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
    /// Records that were committed before the sink had the folder that it has now, and from before all that is there: they
    /// may be in another directory, or were lost with it.
    pub before_folder: u64,
    /// Frames that the sink's retention has deleted.
    pub deleted: u64,
    /// What the sink's archive has acknowledged, by its place (as in `s3://recordings/site-a`).
    pub archived: BTreeMap<String, Archived>,
    /// Files or a video's rows of topics that were made anew since, or are not read any more.
    pub former: u64,
    /// Committed records that are no frames, or that the output cannot show.
    pub invalid: u64,
    /// Those of them whose dead letters the dead-letter topic's retention may have taken.
    pub letters_gone: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub found: Findings,
}

/// What an archive has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// Closed files: videos, or CSVs with their pictures.
    pub files: u64,
    /// Their bytes, with all that belongs to them.
    pub bytes: u64,
    /// So many of them are not on the disk any more.
    pub only: u64,
}

/// What is wrong, and how much of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How much.
    pub counts: Counts,
    /// What; of very much, the first that was found.
    #[serde(rename = "findings")]
    pub list: Vec<Finding>,
}

/// How much is wrong, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // as the kinds of findings
pub struct Counts {
    pub missing: u64,
    pub duplicate: u64,
    pub torn: u64,
    pub foreign: u64,
}

/// So many findings are kept: where everything is wrong, memory stays small.
const MOST: usize = 100_000;

/// Something that is wrong. They are told in this order: what is damaged may be why others are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Finding {
    /// A video whose parts do not fit together, or a file of the sink's own that cannot be read.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        detail: String,
    },
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
            before_folder: 0,
            deleted: 0,
            archived: BTreeMap::new(),
            former: 0,
            invalid: 0,
            letters_gone: 0,
            found: Findings::default(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.found.counts == Counts::default()
    }
}

impl Findings {
    /// Something is wrong.
    pub(super) fn add(&mut self, finding: Finding) {
        let Counts { missing, duplicate, torn, foreign } = &mut self.counts;
        *match &finding {
            Finding::Missing { .. } | Finding::NotDeadLettered { .. } => missing,
            Finding::Duplicate { .. } => duplicate,
            Finding::Torn { .. } | Finding::Damaged { .. } => torn,
            Finding::Foreign { .. } => foreign,
        } += 1;
        if self.list.len() < MOST {
            self.list.push(finding);
        }
    }

    /// Takes others in.
    pub(super) fn absorb(&mut self, others: Findings) {
        let Counts { missing, duplicate, torn, foreign } = others.counts;
        self.counts.missing += missing;
        self.counts.duplicate += duplicate;
        self.counts.torn += torn;
        self.counts.foreign += foreign;
        let room = MOST.saturating_sub(self.list.len());
        self.list.extend(others.list.into_iter().take(room));
    }
}

impl Counts {
    /// How many things are wrong.
    pub fn total(&self) -> u64 {
        self.missing + self.duplicate + self.torn + self.foreign
    }
}
