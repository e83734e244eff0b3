//! Takes up an AVI file that was left at a checkpoint: cuts off what came after it and goes on.
//!
//! The RIFFs before the last are known by the header's list of indexes, so only the last is walked: a file that has grown
//! for months is taken up as quickly as a young one.

use std::io::{Read, Seek};

use super::{
    Limits,
    layout::{self, Entry},
    read::{self, AviError, End, Header},
    write::AviWriter,
};
use crate::sink::disk::AppendFile;

/// Why a file does not fit its checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// It ends before the checkpoint.
    #[error("is shorter than its checkpoint ({length} of {expected} bytes)")]
    Short {
        /// Bytes there.
        length: u64,
        /// Bytes at the checkpoint.
        expected: u64,
    },
    /// Something else wrote to it.
    #[error("differs from its checkpoint ({0})")]
    Different(&'static str),
    /// It cannot be read.
    #[error("cannot be read ({0})")]
    Unreadable(#[from] AviError),
    /// It cannot be cut.
    #[error(transparent)]
    Output(#[from] crate::sink::fault::OutputError),
}

impl From<std::io::Error> for Misfit {
    fn from(error: std::io::Error) -> Self {
        Misfit::Unreadable(error.into())
    }
}

/// Cuts `file` back to `end` bytes and `frames` frames, and goes on from there.
pub fn recover(mut file: AppendFile, end: u64, frames: u64, limits: Limits) -> Result<AviWriter, Misfit> {
    if file.length() < end {
        return Err(Misfit::Short { length: file.length(), expected: end });
    }
    let shared = file.shared();
    let mut header = read::header(&mut &*shared)?;
    // Indexes behind the checkpoint belong to what is cut off.
    let listed = header.closed.len();
    header.closed.retain(|closed| closed.index < end);
    let limits = Limits { riffs: header.riffs, ..limits };
    let first_movi = layout::first_movi(limits.riffs);
    let frames_before: u64 = header.closed.iter().map(|closed| u64::from(closed.frames)).sum();
    let index_end = header.closed.last().map(|last| last.index + u64::from(last.index_length));
    let first_bytes = header.closed.first().map(|first| {
        // An `idx1` of the same frames follows the first `ix00`.
        first.index + u64::from(first.index_length) + 8 + 16 * u64::from(first.frames)
    });
    let (riff, movi) = match (header.closed.len(), first_bytes, index_end) {
        (0, _, _) => (0, first_movi),
        (1, Some(start), _) => (start, start + layout::AVIX_HEADER - 4),
        (_, _, Some(start)) => (start, start + layout::AVIX_HEADER - 4),
        _ => return Err(Misfit::Different("its list of indexes")),
    };
    if movi + 4 > end || frames_before > frames {
        return Err(Misfit::Different("its list of indexes"));
    }
    let mut walk = read::walk_to(&*shared, riff, end);
    let mut entries = Vec::new();
    for frame in walk.by_ref() {
        let frame = frame?;
        if frame.offset < movi + 4 + 8 || entries.len() as u64 >= frames - frames_before {
            return Err(Misfit::Different("its last frames"));
        }
        entries.push(Entry { offset: (frame.offset - 8 - movi) as u32, length: frame.length, key: frame.key });
    }
    if walk.ended() != Some(End::Whole) || frames_before + entries.len() as u64 != frames {
        return Err(Misfit::Different("its last frames"));
    }
    let last = last_picture(&mut &*shared, &header, movi, &entries)?;
    // Only now: a file that is not the checkpoint's keeps what it has.
    file.cut(end)?;
    let writer = AviWriter {
        file,
        format: header.format,
        limits,
        rate: header.rate,
        closed: header.closed,
        frames_before,
        first_bytes,
        riff,
        movi,
        entries,
        last,
        finished: false,
    };
    // Before anything is written: a place that counts must never be one that is being written.
    if writer.closed.len() < listed {
        writer.patch_totals()?;
    }
    Ok(writer)
}

/// Where the last picture's content stands: among the last RIFF's frames, or, where it has none yet, in the one before.
fn last_picture(
    file: &mut (impl Read + Seek),
    header: &Header,
    movi: u64,
    entries: &[Entry],
) -> Result<Option<(u64, u32)>, AviError> {
    if let Some(entry) = entries.iter().rfind(|entry| entry.length > 0) {
        return Ok(Some((movi + u64::from(entry.offset) + 8, entry.length)));
    }
    let before = Header { closed: header.closed.last().copied().into_iter().collect(), ..header.clone() };
    let frames = read::indexed(file, &before)?;
    Ok(frames.iter().rfind(|frame| frame.length > 0).map(|frame| (frame.offset, frame.length)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::{
        super::{Format, MJPG, Rate, write::new_file},
        *,
    };
    use crate::sink::disk::Disk;

    #[test]
    fn a_place_in_the_list_that_is_written_half_belongs_to_no_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.avi");
        let limits = Limits { riff_bytes: 1000, riff_frames: 20, riffs: 5 };
        let (format, rate) = (Format { codec: MJPG, width: 640, height: 480 }, Rate::per_second(10));
        let mut avi = AviWriter::begin(new_file(&path), format, rate, limits, "gate").unwrap();
        avi.write(&[], &[1; 900]).unwrap();
        avi.patch(rate).unwrap();
        let (end, frames) = (avi.file().length(), avi.frames());
        avi.finish(rate).unwrap();
        drop(avi);
        // It is taken up from before its end, and a crash leaves a place of the list half written.
        let open = || AppendFile::open(path.clone(), &Disk::default()).unwrap();
        drop(recover(open(), end, frames, limits).unwrap());
        assert_eq!(read::header(&mut File::open(&path).unwrap()).unwrap().closed, []);
        let mut bytes = fs::read(&path).unwrap();
        bytes[layout::PLACES as usize..][..8].copy_from_slice(&(end - 100).to_le_bytes());
        fs::write(&path, bytes).unwrap();
        assert_eq!(recover(open(), end, frames, limits).unwrap().frames(), 1);
    }
}
