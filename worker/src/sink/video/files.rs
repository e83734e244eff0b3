//! The files of a video output: begun under a free name, closed for good.

use std::{fs, path::Path};

use edgereel_crds::frame_sink::VideoRate;
use edgereel_frame::reasons::InvalidReason;

use super::{
    Video,
    avi::{Format, Rate},
    checkpoint::LONGEST_NAME,
    segment::{self, Segment},
    segment_log::Line,
    timing::Timing,
};
use crate::sink::{
    disk::standing::Standing,
    fault::OutputError,
    file_name::{self, Values},
    output::SinkFrame,
    private_dir::{make_directory, sync_way},
};

impl Video {
    /// Closes the current segment. Can be tried again after an error.
    pub(super) fn close(&mut self) -> Result<(), OutputError> {
        let rate = self.current_rate();
        if let Some(segment) = &mut self.current {
            // From here on its place is not looked at any more: a closed file may be moved.
            segment.files().iter().try_for_each(Standing::check)?;
            segment.finish(rate)?;
            self.unsynced.files.extend(segment.files());
            let name = segment.name.clone();
            self.current = None;
            self.now_closed(self.number, name);
        }
        if let Some(transcoder) = &mut self.transcoder {
            transcoder.begin_anew();
        }
        Ok(())
    }

    /// The current segment's speed: its own if it is fixed, even where the resource says another by now.
    pub(super) fn current_rate(&self) -> Rate {
        match (&self.current, &self.timing) {
            (_, Some(timing)) => timing.rate(),
            (Some(segment), None) => segment.avi.rate(),
            (None, None) => self.rate(),
        }
    }

    /// A name that no file has.
    fn free_name(&self, frame: &SinkFrame, number: u64) -> Result<String, OutputError> {
        let values = Values { segment: Some(number), ..Values::from(frame) };
        let name = file_name::render(&self.template, &values)?;
        let stem = name.strip_suffix(".avi").unwrap_or(&name);
        if stem.len() > LONGEST_NAME {
            let message =
                format!("the file name of segment {number} has {} bytes, more than {LONGEST_NAME}", name.len());
            return Err(OutputError::Frame { reason: InvalidReason::bad_name, message });
        }
        let mut name = format!("{stem}.avi");
        let mut copy = 1u64;
        loop {
            let path = self.directory.join(&name);
            let there = |path: &Path| fs::symlink_metadata(path).is_ok();
            if !there(&path) && !there(&segment::csv_path(&path)) {
                return Ok(name);
            }
            copy += 1;
            name = format!("{stem}_{copy}.avi");
        }
    }

    /// Begins a segment with this frame.
    pub(super) fn begin(&mut self, frame: &SinkFrame, format: Format, time: i64) -> Result<(), OutputError> {
        let number = self.log.last().max(self.number) + 1;
        let name = self.free_name(frame, number)?;
        let below = Path::new(&name).parent().unwrap_or(Path::new(""));
        let directory = make_directory(&self.directory, below)?;
        sync_way(&self.directory, &directory)?;
        // Opened before it gets the names: what is lost is told to those who were there.
        let directory = Standing::open(&directory)?;
        let timing = match self.spec.frame_rate {
            VideoRate::Source => Some(Timing::begin(self.timing.as_ref(), time)),
            VideoRate::Fixed(_) => None,
        };
        let rate = timing.as_ref().map_or_else(|| self.rate(), Timing::rate);
        // In the log first: from here on a crash leaves nothing that the next start does not know of.
        self.log.note(Line { segment: number, file: name.clone() })?;
        let kind = (format, rate, self.limits);
        match Segment::begin(&self.directory, name, kind, time, &self.note(number), &self.disk) {
            Ok(segment) => self.current = Some(segment),
            Err(error) => {
                self.log.cut_after(number - 1)?;
                return Err(error);
            }
        }
        if let Some(segment) = &self.current {
            tracing::info!(sink = %self.sink, file = segment.name, "a new video file begins: {}", self.begins);
        }
        self.number = number;
        self.timing = timing;
        self.unsynced.directories.push(directory);
        Ok(())
    }
}
