//! The files of a `video` output: each segment's AVI with its CSV.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::BufReader,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use edgereel_crds::{frame_sink, plan::SinkPlan};

use super::{Extents, Files, Found, Place, report::Finding};
use crate::{
    frame::wire::Decoded,
    sink::{
        fault::OutputError,
        output::At,
        private_dir,
        video::{
            avi::{
                MJPG,
                read::{self, AviError, FrameRef},
            },
            segment_log,
        },
    },
};

/// A segment's video, open for comparing.
struct Segment {
    path: PathBuf,
    file: File,
    /// Whether the pictures are the records' own bytes.
    exact: bool,
}

impl Segment {
    /// Whether a frame shows the picture before it again: with the same bytes, or with none. Of an encoded video only the
    /// number of frames is known.
    fn repeats(&self, before: Option<FrameRef>, again: FrameRef) -> Result<bool, OutputError> {
        match before {
            None => Ok(false),
            Some(_) if again.length == 0 || !self.exact => Ok(true),
            Some(before) => Ok(before.length == again.length && self.content(before)? == self.content(again)?),
        }
    }

    fn content(&self, frame: FrameRef) -> Result<Vec<u8>, OutputError> {
        let mut bytes = vec![0; frame.length as usize];
        self.file.read_exact_at(&mut bytes, frame.offset).at("read", &self.path)?;
        Ok(bytes)
    }
}

/// Where a record's picture stands.
#[derive(Clone, Copy)]
enum Shown {
    At { segment: usize, frame: FrameRef },
    LeftOut,
}

/// All segments, and where each record's picture stands in them.
pub(super) struct Video {
    segments: Vec<Segment>,
    shown: HashMap<Place, Shown>,
    unclaimed: HashSet<Place>,
    findings: Vec<Finding>,
}

impl Video {
    pub(super) fn list(root: &Path, spec: &frame_sink::Video, plan: &SinkPlan) -> Result<Self, OutputError> {
        let directory = root.join(&spec.directory);
        let names = listed(&directory.join(private_dir::place(&plan.name)?).join("segments"))?;
        let mut video = Video { segments: vec![], shown: HashMap::new(), unclaimed: HashSet::new(), findings: vec![] };
        let mut known = HashSet::new();
        for name in names {
            let path = directory.join(&name);
            known.insert(path.with_extension("csv"));
            known.insert(path.clone());
            // Whoever moved a closed segment away took its CSV along: its records will show as missing.
            if path.exists() {
                video.read_segment(path)?;
            }
        }
        video.find_foreign(&directory, spec, &known)?;
        Ok(video)
    }

    fn damaged(&mut self, file: &Path, detail: impl Into<String>) {
        self.findings.push(Finding::Damaged { file: file.into(), detail: detail.into() });
    }

    fn read_segment(&mut self, path: PathBuf) -> Result<(), OutputError> {
        let (exact, frames, finished) = match frames(&path) {
            Ok(found) => found,
            Err(AviError::Io(e)) => return Err(OutputError::from_io("read", &path, &e)),
            Err(AviError::Malformed(why)) => {
                self.damaged(&path, why);
                return Ok(());
            }
        };
        if finished == Index::Contradicts {
            self.damaged(&path, "its index and its frames differ");
        }
        let csv = path.with_extension("csv");
        let text = fs::read_to_string(&csv).at("read", &csv)?;
        let number = self.segments.len();
        let mut shows_record = vec![false; frames.len()];
        for (line, row) in text.lines().enumerate().skip(1) {
            let Some((frame, place)) = parse_row(row) else {
                // The last row of a segment that is being written may be half there.
                if finished == Index::Whole || line + 1 < text.lines().count() {
                    self.damaged(&csv, format!("line {} is not a row: `{row}`", line + 1));
                }
                continue;
            };
            let shown = match frame {
                None => Shown::LeftOut,
                Some(frame) => match frames.get(frame) {
                    Some(f) => {
                        shows_record[frame] = true;
                        Shown::At { segment: number, frame: *f }
                    }
                    None => {
                        self.damaged(&csv, format!("names frame {frame}, the video has {}", frames.len()));
                        continue;
                    }
                },
            };
            if self.shown.insert(place.clone(), shown).is_some() {
                self.findings.push(Finding::Duplicate { place: place.clone(), file: path.clone() });
            }
            self.unclaimed.insert(place);
        }
        let file = File::open(&path).at("open", &path)?;
        let segment = Segment { path, file, exact };
        // Pictures after the last row are of a writer that is at work; before it, each has its row or repeats the one before.
        let with_rows = shows_record.iter().rposition(|shows| *shows).map_or(0, |last| last + 1);
        if finished == Index::Whole && with_rows != frames.len() {
            let message = format!("has {} frames, its CSV ends with number {}", frames.len(), with_rows);
            self.damaged(&segment.path, message);
        }
        for again in (0..with_rows).filter(|n| !shows_record[*n]) {
            let before = again.checked_sub(1).map(|before| frames[before]);
            if !segment.repeats(before, frames[again])? {
                self.damaged(&segment.path, format!("shows a picture of no record as frame {again}"));
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Videos in the output's directory that are not in the sink's own list.
    fn find_foreign(
        &mut self,
        directory: &Path,
        spec: &frame_sink::Video,
        known: &HashSet<PathBuf>,
    ) -> Result<(), OutputError> {
        // A storage's root is other outputs' place, too; so are directories that the template makes.
        if spec.directory.is_empty() {
            return Ok(());
        }
        for entry in fs::read_dir(directory).at("read", directory)? {
            let path = entry.at("read", directory)?.path();
            let ours = path.extension().is_some_and(|e| e == "avi" || e == "csv");
            if ours && !known.contains(&path) {
                self.findings
                    .push(Finding::Foreign { file: path, detail: "not in the sink's list of segments".into() });
            }
        }
        Ok(())
    }
}

/// The segments that the sink's log names, in order; none before the sink's first start.
fn listed(log: &Path) -> Result<Vec<String>, OutputError> {
    let text = match fs::read(log) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        text => text.at("read", log)?,
    };
    let damaged = |line| {
        let message = format!("{} is damaged in line {line}", log.display());
        OutputError::storage(edgereel_crds::status::Reason::StorageError, message)
    };
    let (lines, _) = segment_log::parse(&text).map_err(damaged)?;
    Ok(lines.into_iter().map(|(_, line)| line.file).collect())
}

/// What a segment's index says of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    /// It has all of them: the segment is finished.
    Whole,
    /// It has the first of them: the segment is being written, or its writer crashed.
    Partial,
    /// It has others.
    Contradicts,
}

/// The frames of a file by its chunks, held against its index.
fn frames(path: &Path) -> Result<(bool, Vec<FrameRef>, Index), AviError> {
    let mut file = BufReader::new(File::open(path)?);
    let header = read::header(&mut file)?;
    let indexed = read::indexed(&mut file, &header)?;
    let walked: Vec<FrameRef> = read::walk(&mut file, 0)?.collect::<Result<_, _>>()?;
    let place = |f: &FrameRef| (f.offset, f.length);
    let index = if !indexed.iter().map(place).eq(walked.iter().take(indexed.len()).map(place)) {
        Index::Contradicts
    } else if indexed.len() == walked.len() {
        Index::Whole
    } else {
        Index::Partial
    };
    Ok((header.format.codec == MJPG, walked, index))
}

/// `frame,topic,partition,offset,capture_time`; an empty frame was left out.
fn parse_row(row: &str) -> Option<(Option<usize>, Place)> {
    let mut fields = row.split(',');
    let frame = match fields.next()? {
        "" => None,
        number => Some(number.parse().ok()?),
    };
    let place = Place {
        topic: fields.next()?.to_owned(),
        partition: fields.next()?.parse().ok()?,
        offset: fields.next()?.parse().ok()?,
    };
    let time = fields.next()?;
    (!time.is_empty() && fields.next().is_none()).then_some((frame, place))
}

impl Files for Video {
    fn find(&mut self, place: &Place, frame: &Decoded) -> Result<Found, OutputError> {
        self.unclaimed.remove(place);
        let (segment, picture) = match self.shown.get(place) {
            None => return Ok(Found::Missing),
            Some(Shown::LeftOut) => return Ok(Found::LeftOut),
            Some(Shown::At { segment, frame }) => (&self.segments[*segment], *frame),
        };
        let path = &segment.path;
        if !segment.exact {
            let torn = || Found::Torn(format!("{} shows nothing for it", path.display()));
            return Ok(if picture.length > 0 { Found::Whole } else { torn() });
        }
        if picture.length as usize != frame.jpeg.len() {
            let detail = format!("{} has {} bytes, the record {}", path.display(), picture.length, frame.jpeg.len());
            return Ok(Found::Torn(detail));
        }
        if segment.content(picture)? != frame.jpeg {
            return Ok(Found::Torn(format!("{} has other bytes than the record", path.display())));
        }
        Ok(Found::Whole)
    }

    fn finish(&mut self, extents: &Extents) -> Vec<Finding> {
        let mut findings = std::mem::take(&mut self.findings);
        for place in self.unclaimed.drain() {
            let extent = extents.get(&(place.topic.clone(), place.partition));
            // Below `low`, the topic's retention has taken the record: there is nothing to compare with.
            if extent.is_some_and(|e| place.offset < e.low) {
                continue;
            }
            let file = match self.shown.get(&place) {
                Some(Shown::At { segment, .. }) => self.segments[*segment].path.clone(),
                _ => PathBuf::new(),
            };
            findings.push(Finding::Foreign { file, detail: format!("shows {place}, which the topic does not hold") });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_a_frame_and_its_record() {
        let place = Place { topic: "Lab-1.x".into(), partition: 2, offset: 41 };
        let row = "7,Lab-1.x,2,41,2024-06-04T10:30:00.123456Z";
        assert_eq!(parse_row(row), Some((Some(7), place.clone())));
        assert_eq!(parse_row(&row[1..]), Some((None, place)));
        for bad in ["", "7", "x,Lab,2,41,t", "7,Lab,2,41", "7,Lab,2,41,", "7,Lab,2,41,t,more", "7,Lab,2,"] {
            assert_eq!(parse_row(bad), None, "{bad}");
        }
    }
}
