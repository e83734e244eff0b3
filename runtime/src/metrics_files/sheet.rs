//! A CSV that grows by rows: one head, whole rows only, of a size that programs open, and never in place of another's file.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// A file does not grow beyond this: about a hundred thousand rows, a tenth of what spreadsheets take.
const LARGEST: u64 = 8 << 20;
/// So many full ones are kept beside it.
const KEPT: usize = 4;
/// More than a row has.
const ROW: u64 = 4096;

/// A CSV.
pub(super) struct Sheet {
    path: PathBuf,
    /// Its first line, without the line's end.
    head: &'static str,
    largest: u64,
}

impl Sheet {
    pub fn new(path: PathBuf, head: &'static str) -> Self {
        Sheet { path, head, largest: LARGEST }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines, all or none. A full file, and one with another head, is moved aside under a name with the time.
    pub fn append(&self, rows: &str, time: Timestamp) -> io::Result<()> {
        // It is opened anew each time: people move and delete such files.
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        let end = match self.end(&mut file)? {
            Some(end) if end + rows.len() as u64 <= self.largest || end <= self.head.len() as u64 + 1 => end,
            _ => {
                fs::rename(&self.path, self.aside(time))?;
                self.prune();
                file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
                0
            }
        };
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        let text = if end == 0 { format!("{}\n{rows}", self.head) } else { rows.to_owned() };
        file.write_all(text.as_bytes()).inspect_err(|_| {
            // Half a row would be cut off the next time: so much is tidier, where the disk allows it.
            let _ = file.set_len(end);
        })
    }

    /// Where the whole rows end; 0 where not even the head is whole, and none of a file that has another head.
    fn end(&self, file: &mut File) -> io::Result<Option<u64>> {
        let head = format!("{}\n", self.head);
        let mut start = Vec::with_capacity(head.len());
        file.take(head.len() as u64).read_to_end(&mut start)?;
        if head.as_bytes() != start {
            let is_torn = head.as_bytes().starts_with(&start);
            return Ok(is_torn.then_some(0));
        }
        let length = file.metadata()?.len();
        let tail = length.saturating_sub(ROW).max(head.len() as u64 - 1);
        file.seek(SeekFrom::Start(tail))?;
        let mut last = Vec::new();
        file.take(ROW + 1).read_to_end(&mut last)?;
        let line = last.iter().rposition(|byte| *byte == b'\n');
        Ok(line.map(|at| tail + at as u64 + 1))
    }

    /// `producer_metrics_20240910T202640Z.csv`, or the next name that is free.
    fn aside(&self, time: Timestamp) -> PathBuf {
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = |n: u32| {
            let mut name = self.before_time();
            name.push(&time);
            if n > 1 {
                name.push(format!("_{n}"));
            }
            name.push(".csv");
            self.path.with_file_name(name)
        };
        (1..).map(name).find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| name(1))
    }

    fn before_time(&self) -> OsString {
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push("_");
        name
    }

    /// Deletes the oldest that were moved aside and are ours, but for [`KEPT`]. What cannot be is deleted the next time.
    fn prune(&self) {
        let (folder, start) = (self.path.parent().unwrap_or(Path::new(".")), self.before_time());
        let Ok(entries) = fs::read_dir(folder) else { return };
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let is_named = name.starts_with(start.as_encoded_bytes()) && name.ends_with(b".csv");
            is_named && File::open(path).is_ok_and(|mut file| matches!(self.end(&mut file), Ok(Some(1..))))
        };
        let mut ours: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_ours).collect();
        ours.sort();
        for path in ours.iter().take(ours.len().saturating_sub(KEPT)) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "Total,Name";

    fn sheet(folder: &Path, largest: u64) -> Sheet {
        Sheet { largest, ..Sheet::new(folder.join("metrics.csv"), HEAD) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_726_000_000 + second).expect("a time")
    }

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
        let text = |path: PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a text"))
        };
        let mut all: Vec<_> = entries.map(text).collect();
        all.sort();
        all
    }

    #[test]
    fn a_full_file_is_moved_aside_and_the_oldest_of_those_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let sheet = sheet(folder.path(), HEAD.len() as u64 + 1 + 12);
        let foreign = folder.path().join("metrics_20000101T000000Z.csv");
        fs::write(&foreign, "mine").expect("written");
        for n in 0..14 {
            sheet.append(&format!("{n:02},ab\n"), at(n)).expect("written");
        }
        let all = texts(folder.path());
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "metrics.csv",
                "metrics_20000101T000000Z.csv",
                "metrics_20240910T202646Z.csv",
                "metrics_20240910T202648Z.csv",
                "metrics_20240910T202650Z.csv",
                "metrics_20240910T202652Z.csv",
            ]
        );
        assert_eq!((all[0].1.as_str(), all[1].1.as_str()), ("Total,Name\n12,ab\n13,ab\n", "mine"));
        assert_eq!(all[5].1, "Total,Name\n10,ab\n11,ab\n");
    }

    #[test]
    fn a_file_with_another_head_is_somebody_elses_and_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for n in 0..2 {
            fs::write(folder.path().join("metrics.csv"), format!("Total\n{n}\n")).expect("written");
            sheet(folder.path(), 1000).append("1,a\n", at(0)).expect("written");
        }
        let texts: Vec<String> = texts(folder.path()).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["Total,Name\n1,a\n", "Total\n0\n", "Total\n1\n"]);
    }

    #[test]
    fn rows_larger_than_a_file_have_one_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let sheet = sheet(folder.path(), 5);
        sheet.append("1,a\n2,b\n", at(0)).expect("written");
        sheet.append("3,c\n", at(1)).expect("written");
        assert_eq!(texts(folder.path()).len(), 2);
    }

    proptest! {
        /// Wherever a power failure cuts the file, it goes on with one head and whole rows.
        #[test]
        fn a_torn_file_goes_on_with_whole_rows(rows in prop::collection::vec("[0-9]{1,9},[a-z]{1,300}\n", 0..40), cut in any::<prop::sample::Index>()) {
            let folder = tempfile::tempdir().expect("a folder");
            let sheet = sheet(folder.path(), 1 << 20);
            for row in &rows {
                sheet.append(row, at(0)).expect("written");
            }
            let before = fs::read_to_string(sheet.path()).unwrap_or_default();
            let torn = &before[..cut.index(before.len() + 1)];
            fs::write(sheet.path(), torn).expect("cut");
            sheet.append("1,last\n", at(1)).expect("written");
            let whole = torn.rfind('\n').map_or_else(|| format!("{HEAD}\n"), |end| torn[..=end].to_owned());
            prop_assert_eq!(fs::read_to_string(sheet.path()).expect("there"), whole + "1,last\n");
            prop_assert_eq!(texts(folder.path()).len(), 1);
        }
    }
}
