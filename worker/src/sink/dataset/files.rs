//! The CSVs of a data set: begun under a free name, closed for good.

use std::{fs, path::Path};

use edgereel_crds::dataset::Every;
use edgereel_frame::reasons::InvalidReason;
use jiff::{Timestamp, civil::Date};

use super::{Dataset, Open, rows::Rows};
use crate::sink::{
    disk::{AppendFile, standing::Standing},
    fault::OutputError,
    file_name::{self, Values},
    output::{At, SinkFrame},
    private_dir::{make_directory, sync_way},
    video::{checkpoint::LONGEST_NAME, segment_log::Line},
};

impl Dataset {
    /// Whether the open CSV ends before a picture of this time.
    pub(super) fn is_over(&self, time: Timestamp) -> bool {
        let (Some(open), Some(rotate)) = (&self.current, &self.spec.rotate) else { return false };
        let full = rotate.max_bytes.is_some_and(|max| open.rows.count() > 0 && open.rows.length() >= max.0);
        // One that is late, or far from its neighbours, begins no day.
        full || rotate.every == Some(Every::Day) && self.day(time) > self.day(open.began)
    }

    fn day(&self, time: Timestamp) -> Date {
        time.to_zoned(self.annotations.zone().clone()).date()
    }

    /// Closes the open CSV. Can be tried again after an error.
    pub(super) fn close(&mut self) -> Result<(), OutputError> {
        if let Some(open) = &mut self.current {
            // From here on its place is not looked at any more: a closed file may be moved.
            open.standing().check()?;
            open.rows.flush()?;
            self.unsynced.push(open.standing());
            self.current = None;
        }
        Ok(())
    }

    /// A name that no file has.
    fn free_name(&self, frame: &SinkFrame, number: u64) -> Result<String, OutputError> {
        let captured_at = frame.standing.time;
        let values = Values { segment: Some(number), captured_at, ..Values::from(frame) };
        let name = file_name::render(&self.annotations, &values)?;
        let stem = name.strip_suffix(".csv").unwrap_or(&name);
        if stem.len() > LONGEST_NAME {
            let message = format!("the name of CSV {number} has {} bytes, more than {LONGEST_NAME}", name.len());
            return Err(OutputError::Frame { reason: InvalidReason::bad_name, message });
        }
        let mut name = format!("{stem}.csv");
        let mut copy = 1u64;
        while fs::symlink_metadata(self.pictures.path(&name)).is_ok() {
            copy += 1;
            name = format!("{stem}_{copy}.csv");
        }
        Ok(name)
    }

    /// Begins a CSV with this picture.
    pub(super) fn begin(&mut self, frame: &SinkFrame) -> Result<(), OutputError> {
        let number = self.log.last().max(self.number) + 1;
        let name = self.free_name(frame, number)?;
        let below = Path::new(&name).parent().unwrap_or(Path::new(""));
        let directory = make_directory(self.pictures.directory(), below)?;
        sync_way(self.pictures.directory(), &directory)?;
        // Opened before it gets the name: what is lost is told to those who were there.
        let directory = Standing::open(&directory)?;
        // In the log first: from here on a crash leaves nothing that the next start does not know of.
        self.log.note(Line { segment: number, file: name.clone() })?;
        let path = self.pictures.path(&name);
        let made = AppendFile::create(path.clone(), &self.disk)
            .at("create", &path)
            .and_then(|file| Rows::begin(file).or_else(|error| self.disk.remove(&path).and(Err(error))));
        let rows = match made {
            Ok(rows) => rows,
            Err(error) => {
                self.log.cut_after(number - 1)?;
                return Err(error);
            }
        };
        tracing::info!(sink = %self.sink, file = name, "a new CSV begins");
        self.current = Some(Open { name, began: frame.standing.time, rows });
        self.number = number;
        self.unsynced.push(directory);
        Ok(())
    }
}
