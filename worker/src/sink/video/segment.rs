//! One segment: an AVI file and the CSV beside it, always written, cut and closed together.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    avi::{
        Format, Limits, Rate, layout, read,
        recover::{Misfit, recover},
        write::AviWriter,
    },
    checkpoint::OpenAt,
    sheet::Sheet,
};
use crate::sink::{
    disk::{AppendFile, Disk, standing::Standing},
    fault::OutputError,
    output::{At, SinkFrame},
};

/// The CSV beside an AVI.
pub fn csv_path(avi: &Path) -> PathBuf {
    avi.with_extension("csv")
}

/// A segment that is written.
pub struct Segment {
    /// The AVI file, below the output's directory.
    pub name: String,
    /// When its first frame was captured, in microseconds since 1970.
    pub began: i64,
    /// The video.
    pub avi: AviWriter,
    sheet: Sheet,
}

impl Segment {
    /// Makes the two files, which must not be there. `note` goes into the AVI's header.
    ///
    /// # Errors
    /// After an error neither file is there (unless the disk refuses even that).
    pub fn begin(
        directory: &Path,
        name: String,
        (format, rate, limits): (Format, Rate, Limits),
        began: i64,
        note: &str,
        disk: &Disk,
    ) -> Result<Self, OutputError> {
        let path = directory.join(&name);
        let csv = csv_path(&path);
        let file = AppendFile::create(path.clone(), disk).at("create", &path)?;
        let make = || {
            let avi = AviWriter::begin(file, format, rate, limits, note)?;
            let sheet = AppendFile::create(csv.clone(), disk).at("create", &csv)?;
            match Sheet::begin(sheet) {
                Ok(sheet) => Ok((avi, sheet)),
                Err(error) => disk.remove(&csv).and(Err(error)),
            }
        };
        match make() {
            Ok((avi, sheet)) => Ok(Segment { name, began, avi, sheet }),
            Err(error) => disk.remove(&path).and(Err(error)),
        }
    }

    /// Takes up a segment at its checkpoint; what came after it is cut off.
    pub fn resume(directory: &Path, at: &OpenAt, limits: Limits, disk: &Disk) -> Result<Self, (PathBuf, Misfit)> {
        let path = directory.join(&at.name);
        let csv = csv_path(&path);
        let named = |path: &Path| {
            let path = path.to_path_buf();
            move |misfit: Misfit| (path, misfit)
        };
        let video = AppendFile::open(path.clone(), disk).map_err(|e| named(&path)(e.into()))?;
        let mut rows = AppendFile::open(csv.clone(), disk).map_err(|e| named(&csv)(e.into()))?;
        if rows.length() < at.csv {
            return Err(named(&csv)(Misfit::Short { length: rows.length(), expected: at.csv }));
        }
        let avi = recover(video, at.end, at.frames, limits).map_err(named(&path))?;
        rows.cut(at.csv).map_err(|e| named(&csv)(e.into()))?;
        Ok(Segment { name: at.name.clone(), began: at.began, avi, sheet: Sheet::resume(rows) })
    }

    /// Writes rows that wait, if they are many; see [`Sheet::make_room`].
    pub fn make_room(&mut self) -> Result<(), OutputError> {
        self.sheet.make_room()
    }

    /// Writes `before` (the picture before, to be shown again) and then the frame's own picture.
    pub fn show(&mut self, frame: &SinkFrame, before: &[&[u8]], content: &[u8]) -> Result<(), OutputError> {
        let number = self.avi.write(before, content)?;
        self.sheet.add(Some(number), frame);
        Ok(())
    }

    /// Notes that a frame was left out.
    pub fn leave_out(&mut self, frame: &SinkFrame) {
        self.sheet.add(None, frame);
    }

    /// Brings both files up to date; they are as a checkpoint needs them, but not yet durable.
    pub fn patch(&mut self, rate: Rate) -> Result<(), OutputError> {
        self.sheet.flush()?;
        self.avi.patch(rate)
    }

    /// Writes the video's index. Can be tried again after an error.
    pub fn finish(&mut self, rate: Rate) -> Result<(), OutputError> {
        self.sheet.flush()?;
        self.avi.finish(rate)
    }

    /// The lengths of the AVI and the CSV file.
    pub fn lengths(&self) -> (u64, u64) {
        (self.avi.file().length(), self.sheet.file().length())
    }

    /// The files, to make them durable and to see where they stand.
    pub fn files(&self) -> [Standing; 2] {
        [self.avi.file(), self.sheet.file()].map(|file| Standing::new(file.path(), file.shared()))
    }
}

/// Removes a segment that no checkpoint knows, if it is the one with this note or was never whole. Any other file of that
/// name is someone else's and stays.
pub fn remove_orphan(path: &Path, note: &str, limits: Limits, disk: &Disk) -> Result<(), OutputError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.at("open", path)?,
    };
    let mut first = Vec::new();
    (&file).take(4).read_to_end(&mut first).at("read", path)?;
    let short = file.metadata().at("read", path)?.len() < layout::first_movi(limits.riffs) + 4;
    let half_made = short && b"RIFF".starts_with(&first);
    if half_made || read::header(&mut file).is_ok_and(|header| header.note == note) {
        // In this order a CSV is never without its AVI, by which it is recognised.
        disk.remove(&csv_path(path))?;
        disk.remove(path)?;
    } else {
        tracing::warn!("{} was made by someone else and is left alone", path.display());
    }
    Ok(())
}
