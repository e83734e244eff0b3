//! Cuts a range of time out of what sinks have recorded, exact to the frame.
//!
//! - [`moment`] reads when it begins and ends; [`cut`] says which frames that are, in which order, and where there are none.
//! - [`segments`] finds frames in a video's files, with [`rows`]; [`named`] in files that are named by their times;
//!   [`records`] in the topics. [`holding`] says what the disk holds, [`archived`] what only the archive does.
//! - [`picture`] makes of each what the clip takes; [`writer`] writes it, with [`mp4`] for one kind of clip.
//! - [`target`] has it stand there whole or not at all; [`manifest`] says what it was made of.
//!
//! A sink may be at work meanwhile. What it has written can be read up to its last whole row: each row of a video's CSV is
//! written after its picture.

mod archived;
pub mod cut;
pub mod holding;
pub mod manifest;
pub mod moment;
pub mod mp4;
pub mod named;
pub mod picture;
pub mod records;
pub mod rows;
pub mod segments;
pub mod target;
pub mod writer;

use std::{
    fs,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use edgereel_crds::{frame_sink::Output, plan::SinkPlan, status::Reason};
use edgereel_kafka::reader::TopicReader;
use edgereel_runtime::{fault::Fault, plain::plain, secrets::Secrets};
use ffmpeg_next::format::Pixel;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use self::{
    cut::{At as Where, Frame, Gap, Range},
    manifest::{Clip, Manifest, sha256},
    records::Spool,
    segments::{Avi, Content},
    target::{Kind, Target, full},
    writer::{Failure, Writer, pixel},
};
use crate::{
    sink::volume::{self, Place},
    verify::log::Log,
};

/// Where frames are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The disk, and what it lacks from the topics.
    Both,
    /// The disk alone.
    Disk,
    /// The topics alone.
    Topic,
}

/// What is wanted.
pub struct Wish<'a> {
    /// The sink that recorded it.
    pub plan: &'a SinkPlan,
    /// Its logins.
    pub secrets: &'a Secrets,
    /// What stands in for its volume.
    pub storage_root: Option<&'a Path>,
    /// When.
    pub range: Range,
    /// Only of this topic.
    pub topic: Option<&'a str>,
    /// From where.
    pub from: Origin,
    /// Look at each row and each record, however far it stands from where its time belongs.
    pub thorough: bool,
}

/// What was recorded in a range.
pub struct Recording {
    frames: Vec<Frame>,
    sources: Vec<Source>,
    left_out: u64,
    notes: Vec<String>,
}

enum Source {
    Video(PathBuf),
    Pictures(PathBuf),
    Topic(Spool),
}

/// Finds the frames of the range. Those of the topics go into a spool in this directory; without one they are only counted.
pub fn look(wish: &Wish<'_>, spool: Option<&Path>) -> Result<Recording, Fault> {
    let mut recording = Recording { frames: vec![], sources: vec![], left_out: 0, notes: vec![] };
    if wish.from != Origin::Topic {
        match Place::of(wish.plan).and_then(|place| volume::find(&place, wish.storage_root)) {
            Ok(root) => recording.look_at_disk(wish, &root)?,
            Err(fault) if wish.from == Origin::Disk => return Err(fault),
            Err(fault) => recording.notes.push(fault.message),
        }
    }
    recording.arrange(wish);
    let lacks = match wish.from {
        Origin::Disk => vec![],
        Origin::Topic => vec![wish.range],
        Origin::Both if recording.frames.is_empty() => vec![wish.range],
        Origin::Both => together(cut::gaps(&recording.frames, &wish.range)),
    };
    if !lacks.is_empty() {
        let spool = spool.map(Spool::new);
        match recording.look_at_topics(wish, &lacks, spool) {
            Err(fault) if wish.from == Origin::Both && !recording.frames.is_empty() => {
                let note = format!("Kafka could not be asked for what the disk lacks: {}", fault.message);
                recording.notes.push(note);
            }
            looked => looked?,
        }
        recording.arrange(wish);
    }
    Ok(recording)
}

/// Gaps as ranges; those that are close to each other are one, since topics are read from a while before to a while after.
fn together(gaps: Vec<Gap>) -> Vec<Range> {
    let mut ranges = Vec::<Range>::new();
    for Gap { from, to, .. } in gaps {
        match ranges.last_mut() {
            Some(last) if from.duration_since(last.to) < SignedDuration::from_mins(2) => last.to = to,
            _ => ranges.push(Range { from, to }),
        }
    }
    ranges
}

impl Recording {
    fn arrange(&mut self, wish: &Wish<'_>) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.retain(|frame| wish.topic.is_none_or(|topic| *frame.topic == *topic));
        self.frames = cut::arrange(frames, &wish.range);
    }

    fn look_at_disk(&mut self, wish: &Wish<'_>, root: &Path) -> Result<(), Fault> {
        let plan = wish.plan;
        let directory = root.join(plan.spec.output.directory());
        if !directory.is_dir() {
            self.notes.push(format!("nothing was stored yet in {}", directory.display()));
            return Ok(());
        }
        if let Output::Video(_) = &plan.spec.output {
            let log = Log::of(&directory, plan, "segments")?;
            for segment in segments::all(&directory, &log)? {
                if wish.thorough || segment.may_hold(&wish.range) {
                    let (source, before) = (self.sources.len(), self.frames.len());
                    self.left_out += segment.frames(&wish.range, source, wish.thorough, &mut self.frames)?;
                    if self.frames.len() > before {
                        self.sources.push(Source::Video(segment.path));
                    }
                }
            }
            self.notes.extend(archived::notes(&directory, plan, &wish.range)?);
            return Ok(());
        }
        let Some(names) = named::of_output(plan)? else {
            let note = "the names of the pictures on the disk do not tell when they were captured (`fileName` has no \
                        `{timestamp}` with date, time and seconds)";
            if wish.from == Origin::Disk {
                return Err(Fault::new(Reason::InvalidConfiguration, format!("{note}: take them from the topic")));
            }
            self.notes.push(note.into());
            return Ok(());
        };
        names.frames(&directory, &wish.range, self.sources.len(), &mut self.frames)?;
        self.sources.push(Source::Pictures(directory));
        if names.precision > SignedDuration::from_millis(1) {
            self.notes.push("the names of the pictures tell their times to the second".into());
        }
        Ok(())
    }

    fn look_at_topics(&mut self, wish: &Wish<'_>, lacks: &[Range], mut spool: Option<Spool>) -> Result<(), Fault> {
        let reader = TopicReader::open(&wish.plan.connection, wish.secrets, "edgereel-export")?;
        let source = self.sources.len();
        for range in lacks {
            records::frames(wish.plan, &reader, (range, wish.thorough), source, spool.as_mut(), &mut self.frames)?;
        }
        self.sources.push(Source::Topic(spool.unwrap_or_else(|| Spool::new(Path::new("")))));
        Ok(())
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What is known of it, for a clip that is not written.
    pub fn manifest(&self, wish: &Wish<'_>) -> Manifest {
        let all: Vec<&Frame> = self.frames.iter().collect();
        self.manifest_of(wish, &all, vec![])
    }

    fn manifest_of(&self, wish: &Wish<'_>, frames: &[&Frame], damaged: Vec<String>) -> Manifest {
        let source = |(n, source): (usize, &Source)| {
            let records = manifest::runs(frames.iter().copied().filter(|frame| frame.source == n));
            let (kind, path) = match source {
                Source::Video(path) => ("video", Some(path)),
                Source::Pictures(path) => ("pictures", Some(path)),
                Source::Topic(_) => ("topic", None),
            };
            let path = path.map(|path| path.display().to_string());
            (!records.is_empty()).then_some(manifest::Source { kind, path, records })
        };
        Manifest {
            program: format!("edgereel {}", env!("CARGO_PKG_VERSION")),
            made: Timestamp::now(),
            sink: wish.plan.name.to_string(),
            asked: wish.range,
            first: frames.first().map(|frame| frame.time),
            last: frames.last().map(|frame| frame.time),
            frames: frames.len(),
            gaps: cut::gaps(&self.frames, &wish.range),
            left_out: self.left_out,
            damaged,
            notes: self.notes.clone(),
            sources: self.sources.iter().enumerate().filter_map(source).collect(),
            clip: None,
        }
    }

    /// Writes it as a clip. `zone` is that of the times in the names of pictures, and, with `burn`, in the pictures themselves.
    /// `progress` hears how many of how many frames are done, and says whether to go on.
    pub fn write(
        &self,
        wish: &Wish<'_>,
        target: &Target,
        (zone, burn): (&TimeZone, bool),
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Manifest, Fault> {
        let draft = target.begin()?;
        let mut writer = Writer::new(&draft, target.kind, &self.frames, (zone, burn));
        let shown = cut::timeline(&self.frames);
        let mut open: Option<(usize, Avi)> = None;
        let (mut done, mut damaged) = (vec![], vec![]);
        for (frame, shown) in self.frames.iter().zip(shown) {
            if !progress(done.len() as u64, self.frames.len() as u64) {
                return Err(Fault::new(Reason::InternalError, "interrupted: nothing is left of the clip"));
            }
            let content = self.content(frame, pixel(target.kind), &mut open);
            match content.map_err(Failure::Damaged).and_then(|content| writer.add(content, frame, shown)) {
                Ok(()) => done.push(frame),
                Err(Failure::Damaged(why)) => {
                    let Frame { topic, partition, offset, time, .. } = frame;
                    damaged.push(format!("{topic}[{partition}]@{offset} of {time}: {why}"));
                }
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        if done.is_empty() {
            let message = format!("none of the {} frames can be read: {}", damaged.len(), damaged.join("; "));
            return Err(Fault::new(Reason::StorageError, message));
        }
        let exact = writer.is_exact();
        let mut sums = writer.finish()?;
        let mut manifest = self.manifest_of(wish, &done, damaged);
        let [rows, said, list] = draft.beside();
        let written = |path: &Path| {
            let path = path.to_owned();
            move |e: io::Error| full("write", &path, &e)
        };
        fs::File::create_new(&rows)
            .and_then(|file| manifest::rows(BufWriter::new(file), &done))
            .map_err(written(&rows))?;
        let path = target.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let sum = match target.kind {
            Kind::Directory => None,
            _ => Some(sha256(&draft.clip()).map_err(|e| full("read", &draft.clip(), &e))?),
        };
        sums.extend(sum.clone().map(|sum| (sum, name.clone())));
        let stamped = burn.then(|| zone.iana_name().unwrap_or("UTC").to_owned());
        manifest.clip = Some(Clip { name, kind: target.kind, exact, stamped, sha256: sum });
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
        fs::write(&said, text).map_err(written(&said))?;
        for path in [&rows, &said] {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            sums.push((sha256(path).map_err(|e| full("read", path, &e))?, name));
        }
        let text: String = sums.iter().map(|(sum, name)| format!("{sum}  {name}\n")).collect();
        fs::write(&list, text).map_err(written(&list))?;
        draft.publish()?;
        Ok(manifest)
    }

    /// What a frame holds; in words, why it cannot be had. `open` is the video that was read last.
    fn content(&self, frame: &Frame, to: Pixel, open: &mut Option<(usize, Avi)>) -> Result<Content, String> {
        match (&self.sources[frame.source], &frame.at) {
            (Source::Video(path), Where::Number(number)) => {
                let avi = match open.take_if(|(source, _)| *source == frame.source) {
                    Some(avi) => avi,
                    None => (frame.source, Avi::open(path, to)?),
                };
                open.insert(avi).1.content(*number)
            }
            (Source::Pictures(directory), Where::File(name)) => {
                let path = directory.join(&**name);
                fs::read(&path).map(Content::Jpeg).map_err(|e| format!("{}: {}", path.display(), plain(e)))
            }
            (Source::Topic(spool), Where::Spooled(at, length)) => {
                spool.read(*at, *length).map(Content::Jpeg).map_err(plain)
            }
            _ => Err("its source does not have it".into()),
        }
    }
}
