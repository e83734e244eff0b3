//! The files of a `video` output: each segment's AVI with its CSV.
//!
//! - [`segment`] reads one segment's rows and frames from start to end, and [`side_by_side`](super::side_by_side) holds
//!   them against the records: a video that has grown for months needs no more memory than a young one.
//! - [`structure`] looks at each segment by itself.

mod segment;
mod structure;

use std::{path::Path, rc::Rc};

use edgereel_crds::{
    frame_sink::{self, Codec},
    plan::SinkPlan,
};
use edgereel_frame::wire::Decoded;

use self::segment::{Rows, Shown};
use super::{
    Extents, Files, Found, Look, Place,
    log::Log,
    offsets::Offsets,
    past::Past,
    report::Findings,
    side_by_side::{End, Open, Row, Sheets, SideBySide},
};
use crate::sink::{fault::OutputError, video::transcode::refuses};

/// All segments.
pub(super) struct Video {
    codec: Codec,
    rows: SideBySide<Segments>,
    /// What is wrong with the segments themselves.
    findings: Findings,
    /// How many rows are of former topics.
    former: u64,
}

/// A sink's segments.
struct Segments;

impl Sheets for Segments {
    type Open = Rows;

    fn end(&self, path: &Path) -> Result<End, OutputError> {
        segment::end(path)
    }

    fn open(&self, path: &Path, end: Option<End>) -> Result<Option<Rows>, OutputError> {
        Rows::open(path, end)
    }
}

impl Open for Rows {
    type Said = Shown;

    fn path(&self) -> &Path {
        self.avi()
    }

    fn next(&mut self, fits: impl Fn(&str, i32) -> bool) -> Result<Option<Row<Shown>>, OutputError> {
        self.next_row(fits)
    }
}

impl Video {
    /// Looks at the segments by themselves. `progress` hears of so many.
    pub(super) fn list(
        root: &Path,
        spec: &frame_sink::Video,
        plan: &SinkPlan,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, OutputError> {
        let directory = root.join(&spec.directory);
        let log = Log::of(&directory, plan, "segments")?;
        let mut findings = Findings::default();
        let former = structure::segments(&directory, &log, &plan.topics, &mut findings, progress)?;
        // A storage's root is other outputs' place, too; so are directories that the template makes.
        if !spec.directory.is_empty() {
            structure::strangers(&directory, &log, &mut findings)?;
        }
        let rows = SideBySide::new(directory, log, Segments, former);
        Ok(Video { codec: spec.codec, rows, findings, former: 0 })
    }
}

impl Files for Video {
    fn learn(&mut self, past: Rc<Past>) {
        self.rows.learn(past);
    }

    fn begin(&mut self, topic: &str, partition: i32) -> Result<(), OutputError> {
        self.rows.begin(topic, partition)
    }

    fn find(&mut self, place: &Place, frame: &Decoded, look: &Look) -> Result<Found, OutputError> {
        match self.rows.find(place, look)? {
            Some((shown, rows)) => compare(rows, shown, &frame.picture),
            None => {
                let refused = look.is_committed(place.offset) && refuses(self.codec, &frame.picture)?;
                Ok(if refused { Found::Refused } else { Found::Missing })
            }
        }
    }

    fn end(&mut self, look: &Look) -> Result<Offsets, OutputError> {
        self.rows.end(look)
    }

    fn finish(&mut self, _: &Extents, found: &mut Findings) -> Result<(), OutputError> {
        let (of_rows, former) = self.rows.finish();
        found.absorb(std::mem::take(&mut self.findings));
        found.absorb(of_rows);
        self.former = former;
        Ok(())
    }

    fn former(&self) -> u64 {
        self.former
    }
}

/// Holds a picture against its record.
fn compare(rows: &Rows, shown: Shown, jpeg: &[u8]) -> Result<Found, OutputError> {
    let path = rows.avi().display();
    let picture = match shown {
        Shown::LeftOut => return Ok(Found::LeftOut),
        Shown::Nowhere(number) => return Ok(Found::Torn(format!("{path} has no frame {number} where its CSV says"))),
        Shown::At(picture) => picture,
    };
    if !rows.is_exact() {
        let nothing = || Found::Torn(format!("{path} shows nothing for it"));
        return Ok(if picture.length > 0 { Found::Whole } else { nothing() });
    }
    if picture.length as usize != jpeg.len() {
        return Ok(Found::Torn(format!("{path} has {} bytes, the record {}", picture.length, jpeg.len())));
    }
    let differs = || Found::Torn(format!("{path} has other bytes than the record"));
    Ok(if rows.content(picture)? == jpeg { Found::Whole } else { differs() })
}
