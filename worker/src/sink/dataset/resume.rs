//! Takes up where the group's commit says the CSV stood: the way back after a crash.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use edgereel_crds::status::Reason;
use jiff::Timestamp;

use super::{
    Dataset, LOG, Open,
    rows::{self, HEADER, Rows},
};
use crate::sink::{
    disk::{AppendFile, standing::Standing},
    fault::OutputError,
    output::{Assigned, At, TopicPartition},
    record_name::Names,
    video::{
        checkpoint::{Checkpoint, OpenAt},
        committed::Committed,
        resume::BEGIN_ANEW,
        segment_log::{Line, SegmentLog},
    },
};

/// How a CSV's name ends.
const ENDING: &str = ".csv";

impl Dataset {
    /// Brings the CSVs to where the newest commit says they stood.
    pub(super) fn take_up(&mut self, assigned: &[Assigned]) -> Result<(), OutputError> {
        // A worker that crashed, or another one, may have written to it since it was read.
        self.log = SegmentLog::open(self.pictures.folder().join(LOG), &self.disk)?;
        let Some(committed) = Committed::read(&self.sink, assigned)? else {
            // Either the first start, or the offsets were lost or set anew: what is there was durable once and stays.
            self.number = self.log.last();
            return Ok(());
        };
        let (directory, names) = (self.pictures.directory(), &self.names);
        committed.check(&self.sink, &mut self.log, |line, source, bytes| {
            last_offset(&directory.join(&line.file), names, source, bytes)
        })?;
        let checkpoint = committed.newest;
        self.number = checkpoint.segment;
        self.remove_orphans(checkpoint.segment)?;
        // Another output's file is none of this one's: the resource asked for that before.
        if let Some(open) = checkpoint.open.as_ref().filter(|open| open.name.ends_with(ENDING)) {
            self.reopen(open)?;
            self.relist(&checkpoint, open)?;
        }
        Ok(())
    }

    /// Removes the CSVs that the checkpoint does not know.
    fn remove_orphans(&mut self, last: u64) -> Result<(), OutputError> {
        for orphan in self.log.after(last)? {
            let path = self.pictures.path(&orphan.file);
            if !is_own(&path, &self.names).at("read", &path)? {
                tracing::warn!("{} was made by someone else and is left alone", path.display());
                continue;
            }
            // Opened before it changes: what is lost is told to those who were there.
            let directory = path.parent().filter(|d| d.is_dir()).map(Standing::open).transpose()?;
            self.disk.remove(&path)?;
            if let Some(directory) = directory {
                self.disk.sync(directory.file()).at("sync", directory.path())?;
            }
        }
        self.log.cut_after(last)
    }

    /// Takes up the CSV of a checkpoint.
    fn reopen(&mut self, at: &OpenAt) -> Result<(), OutputError> {
        let path = self.pictures.path(&at.name);
        match self.reopened(&path, at)? {
            Ok(rows) => {
                let began = Timestamp::from_microsecond(at.began).unwrap_or(Timestamp::UNIX_EPOCH);
                self.current = Some(Open { name: at.name.clone(), began, rows });
                Ok(())
            }
            Err(misfit) => {
                let anew = self.pictures.folder().join(BEGIN_ANEW);
                let message = format!(
                    "{} {misfit}: put it back as it was, with all else that its directory held, .edgereel included (is the \
                     disk mounted?), or, to leave it as it is and go on in a new file, make the empty file {}",
                    path.display(),
                    anew.display()
                );
                if anew.exists() {
                    tracing::warn!(sink = %self.sink, "{message}: it is there, a new file begins");
                    return Ok(());
                }
                Err(OutputError::storage(Reason::StorageError, message))
            }
        }
    }

    /// The CSV cut back to its checkpoint, or why it is not the one that it was.
    fn reopened(&self, path: &Path, at: &OpenAt) -> Result<Result<Rows, String>, OutputError> {
        let mut file = match AppendFile::open(path.to_path_buf(), &self.disk) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err("is gone".into())),
            file => file.at("open", path)?,
        };
        if file.length() < at.csv {
            let message = format!("has {} bytes, {} were committed", file.length(), at.csv);
            return Ok(Err(message));
        }
        let bytes = |from: u64, length: usize| {
            let mut found = vec![0; length];
            file.shared().read_exact_at(&mut found, from).map(|()| found).at("read", path)
        };
        let begins = at.csv >= HEADER.len() as u64 && bytes(0, HEADER.len())? == HEADER;
        if !begins || bytes(at.csv - 1, 1)? != b"\n" {
            return Ok(Err("was changed by another program".into()));
        }
        file.cut(at.csv)?;
        Ok(Ok(Rows::resume(file, at.frames)))
    }

    /// Notes the CSV of a checkpoint that the log does not know: the sink's folder was moved away, or lost.
    fn relist(&mut self, checkpoint: &Checkpoint, open: &OpenAt) -> Result<(), OutputError> {
        if self.log.last() >= checkpoint.segment {
            return Ok(());
        }
        self.log.note(Line { segment: checkpoint.segment, file: open.name.clone() })
    }

    /// A new file stands in the commit now: the mark that asked for it has done its work.
    pub(super) fn forget_the_mark(&self) -> Result<(), OutputError> {
        self.disk.remove(&self.pictures.folder().join(BEGIN_ANEW))
    }
}

/// Whether a file that is gone after this is a CSV of this sink: it has its headings, or what a power failure left of them, and
/// if there is a row, one of a picture's.
fn is_own(path: &Path, names: &Names) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    let mut start = vec![];
    (&file).take(HEADER.len() as u64).read_to_end(&mut start)?;
    if start != HEADER {
        return Ok(start.iter().zip(HEADER).all(|(found, own)| found == own || *found == 0));
    }
    let length = file.metadata()?.len() - HEADER.len() as u64;
    let mut rows = rows::reader(file.take(length));
    let mut row = csv::ByteRecord::new();
    if !rows.read_byte_record(&mut row).map_err(io::Error::from)? {
        return Ok(true);
    }
    let path = String::from_utf8_lossy(row.get(0).unwrap_or_default()).into_owned();
    // A row without its end is one that was being written.
    let half = rows.position().byte() == length && row.len() < 2;
    Ok(names.place(rows::path_of(&path)).is_some() || half && names.could_begin_with(rows::path_of(&path)))
}

/// The last offset of a partition among these bytes of a CSV. One that was moved away tells nothing.
fn last_offset(
    path: &Path,
    names: &Names,
    source: &TopicPartition,
    bytes: std::ops::Range<u64>,
) -> Result<Option<i64>, OutputError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.at("open", path)?,
    };
    file.seek(SeekFrom::Start(bytes.start)).at("read", path)?;
    let rows = rows::reader(file.take(bytes.end.saturating_sub(bytes.start)));
    let mut last = None;
    for row in rows.into_byte_records() {
        let row = row.map_err(io::Error::from).at("read", path)?;
        let name = row.get(0).and_then(|cell| std::str::from_utf8(cell).ok());
        let place = name.and_then(|name| names.place(rows::path_of(name)));
        let ours = place.filter(|place| *place.topic == *source.topic && place.partition == source.partition);
        last = last.max(ours.map(|place| place.offset));
    }
    Ok(last)
}
