//! What is uploaded as a whole: a video's segment with its CSV; a data set's CSV after its pictures.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use edgereel_crds::status::Reason;
use jiff::Timestamp;

use crate::sink::{
    dataset::rows,
    fault::OutputError,
    output::At,
    video::{segment::csv_path, segment_log, sheet::Row},
};

/// So much of a CSV is read at either end, in bytes; longer than any row.
const ROW: u64 = 4096;

/// What a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Videos, each with its CSV.
    Video,
    /// Pictures, and CSVs that list them.
    Dataset,
}

/// A closed file that the archive lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its path below the output's directory.
    pub file: String,
    /// Its bytes, and those of all that belongs to it.
    pub bytes: u64,
    /// When it was last written, in seconds since 1970.
    pub since: i64,
}

impl Unit {
    /// What is there of a closed file; none where it is not there (any more).
    pub fn look(kind: Kind, directory: &Path, file: &str) -> Result<Option<Self>, OutputError> {
        let path = directory.join(file);
        let meta = match fs::metadata(&path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            meta => meta.at("look at", &path)?,
        };
        let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let beside = match kind {
            Kind::Video => size(&csv_path(&path)),
            Kind::Dataset => pictures(&path)?.iter().map(|picture| size(&directory.join(picture))).sum(),
        };
        let written = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let since = i64::try_from(written.as_secs()).unwrap_or(i64::MAX);
        Ok(Some(Unit { file: file.to_owned(), bytes: meta.len() + beside, since }))
    }
}

/// The CSV beside a video, by its path below the output's directory.
pub fn sheet_of(file: &str) -> String {
    csv_path(Path::new(file)).to_string_lossy().into_owned()
}

/// The pictures that a CSV lists, in its order, below the output's directory.
pub fn pictures(csv: &Path) -> Result<Vec<String>, OutputError> {
    let mut rows = rows::reader(File::open(csv).at("read", csv)?);
    let mut found = vec![];
    let mut row = csv::StringRecord::new();
    while rows.read_record(&mut row).map_err(io::Error::from).at("read", csv)? {
        found.extend(row.get(0).map(|cell| rows::path_of(cell).to_owned()));
    }
    // The headings.
    found.drain(..found.len().min(1));
    Ok(found)
}

/// When the first and the last frame of a video were captured, as its CSV says.
pub fn times(csv: &Path) -> Option<(Timestamp, Timestamp)> {
    let mut file = File::open(csv).ok()?;
    let mut read = |from: SeekFrom| {
        file.seek(from).ok()?;
        let mut text = vec![];
        (&file).take(ROW).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    };
    let head = read(SeekFrom::Start(0))?;
    let length = fs::metadata(csv).ok()?.len();
    let tail = read(SeekFrom::Start(length.saturating_sub(ROW)))?;
    let time = |row: &str| Row::parse(row)?.time.parse::<Timestamp>().ok();
    Some((head.lines().nth(1).and_then(time)?, tail.lines().last().and_then(time)?))
}

/// The names of closed files, read as the list of files grows.
pub struct Names {
    list: PathBuf,
    /// Lines before this byte were read.
    read: u64,
    /// The number of the last name that was given.
    last: u64,
}

impl Names {
    /// Of the list at this path.
    pub fn new(list: PathBuf) -> Self {
        Names { list, read: 0, last: 0 }
    }

    /// The files after those that were given, up to number `closed`. Where that is less than before, a restart has taken
    /// files back: they are all given again.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn up_to(&mut self, closed: u64) -> Result<(bool, Vec<(u64, String)>), OutputError> {
        let anew = closed < self.last;
        if anew {
            (self.read, self.last) = (0, 0);
        }
        let mut file = File::open(&self.list).at("read", &self.list)?;
        file.seek(SeekFrom::Start(self.read)).at("read", &self.list)?;
        let mut text = vec![];
        file.read_to_end(&mut text).at("read", &self.list)?;
        let (lines, end) = segment_log::parse(&text).map_err(|line| {
            let message = format!("{} is damaged {line} lines after byte {}", self.list.display(), self.read);
            OutputError::storage(Reason::StorageError, message)
        })?;
        let (begin, mut found) = (self.read, vec![]);
        self.read = begin + end;
        for (at, line) in lines {
            if line.segment > closed {
                self.read = begin + at;
                break;
            }
            self.last = line.segment;
            found.push((line.segment, line.file));
        }
        Ok((anew, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{
        disk::Disk,
        video::segment_log::{Line, SegmentLog},
    };

    #[test]
    fn names_come_once_as_the_list_grows_and_anew_where_files_were_taken_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("segments");
        let mut log = SegmentLog::open(path.clone(), &Disk::default()).expect("opened");
        let mut names = Names::new(path);
        let mut note = |segment| log.note(Line { segment, file: format!("{segment}.avi") }).expect("noted");
        (1..=3).for_each(&mut note);
        let mut numbers = |closed| {
            let (anew, found) = names.up_to(closed).expect("readable");
            (anew, found.into_iter().map(|(segment, _)| segment).collect::<Vec<_>>())
        };
        assert_eq!(numbers(0), (false, vec![]));
        assert_eq!(numbers(2), (false, vec![1, 2]));
        assert_eq!(numbers(2), (false, vec![]));
        (4..=5).for_each(&mut note);
        assert_eq!(numbers(5), (false, vec![3, 4, 5]));
        assert_eq!(numbers(4), (true, vec![1, 2, 3, 4]));
        assert_eq!(numbers(9), (false, vec![5]));
    }

    #[test]
    fn what_belongs_to_a_closed_file_is_told_by_its_rows() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("a.avi", "0123456789");
        let row = |second| format!("0,gate,0,1,2024-06-04T10:30:{second:02}.000000Z\n");
        let rows = format!("frame,topic,partition,offset,capture_time\n{}{}", row(1), row(59));
        write("a.csv", &rows);
        let unit = Unit::look(Kind::Video, dir.path(), "a.avi").expect("looked").expect("there");
        assert_eq!(unit.bytes, 10 + rows.len() as u64);
        let (from, until) = times(&dir.path().join(sheet_of("a.avi"))).expect("told");
        assert_eq!((until - from).get_seconds(), 58);
        assert_eq!(Unit::look(Kind::Video, dir.path(), "b.avi").expect("looked"), None);
        write("1.jpg", "12345");
        write("=2.jpg", "123");
        let rows = "image_path,annotation\n1.jpg,\"a, b\"\n./=2.jpg,c\nmissing.jpg,d\n";
        write("set.csv", rows);
        assert_eq!(pictures(&dir.path().join("set.csv")).expect("read"), ["1.jpg", "=2.jpg", "missing.jpg"]);
        let unit = Unit::look(Kind::Dataset, dir.path(), "set.csv").expect("looked").expect("there");
        assert_eq!(unit.bytes, rows.len() as u64 + 8);
    }
}
