//! What a sink's disk holds, from when to when.

use std::path::Path;

use edgereel_crds::{frame_sink::Output, plan::SinkPlan};
use edgereel_runtime::fault::Fault;
use jiff::Timestamp;
use serde::Serialize;

use super::{cut::Range, named::of_output, segments};
use crate::{
    sink::volume::{self, Place},
    verify::log::Log,
};

/// What a sink's disk holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// `namespace/name`.
    pub sink: String,
    /// The file, or the directory of pictures.
    pub path: String,
    /// When its oldest frame was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When its newest frame was captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The bytes of a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What a sink's disk holds, file by file; of pictures, all together. Of videos the first and the last row of each CSV are
/// read; directories of pictures are walked.
pub fn holdings(plan: &SinkPlan, storage_root: Option<&Path>) -> Result<Vec<Holding>, Fault> {
    let directory = volume::find(&Place::of(plan)?, storage_root)?.join(plan.spec.output.directory());
    if !directory.is_dir() {
        return Ok(vec![]);
    }
    let holding = |path: &Path, from, to, bytes| Holding {
        sink: plan.name.to_string(),
        path: path.display().to_string(),
        from,
        to,
        bytes,
    };
    if let Output::Video(_) = &plan.spec.output {
        let all = segments::all(&directory, &Log::of(&directory, plan, "segments")?)?;
        let of = |segment: &segments::Segment| {
            let extent = segment.extent.map(|(a, b)| (a.min(b), a.max(b)));
            holding(&segment.path, extent.map(|e| e.0), extent.map(|e| e.1), Some(segment.bytes))
        };
        return Ok(all.iter().map(of).collect());
    }
    let Some(names) = of_output(plan)? else { return Ok(vec![holding(&directory, None, None, None)]) };
    let mut frames = vec![];
    names.frames(&directory, &Range { from: Timestamp::MIN, to: Timestamp::MAX }, 0, &mut frames)?;
    let times = || frames.iter().map(|frame| frame.time);
    Ok(vec![holding(&directory, times().min(), times().max(), None)])
}
