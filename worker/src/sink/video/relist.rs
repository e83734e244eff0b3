//! Puts segments back into a log that was lost: the header of each says whose it is, and which.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use super::{Video, avi::read, checkpoint::Checkpoint, segment_log::Line};
use crate::sink::{fault::OutputError, output::At, private_dir};

impl Video {
    /// Notes the segments of a checkpoint that the log does not know: somebody moved the sink's folder away, or lost it, and
    /// has put the files back. Later ones are not looked for: what the log does not know is not the sink's to remove.
    pub(super) fn relist(&mut self, checkpoint: &Checkpoint) -> Result<(), OutputError> {
        let known = self.log.last();
        if known >= checkpoint.segment {
            return Ok(());
        }
        let mut found = BTreeMap::new();
        let deep = self.spec.file_name().matches('/').count();
        self.find_segments(&self.directory, Path::new(""), deep, &mut found)?;
        if let Some(open) = &checkpoint.open {
            found.insert(checkpoint.segment, open.name.clone());
        }
        for (segment, file) in found.into_iter().filter(|(n, _)| (known + 1..=checkpoint.segment).contains(n)) {
            self.log.note(Line { segment, file })?;
        }
        Ok(())
    }

    /// The sink's own files, by their numbers; of a segment and its copies the one that is first by its name.
    fn find_segments(
        &self,
        directory: &Path,
        below: &Path,
        deep: usize,
        found: &mut BTreeMap<u64, String>,
    ) -> Result<(), OutputError> {
        for entry in fs::read_dir(directory).at("read", directory)? {
            let entry = entry.at("read", directory)?;
            let (path, below) = (entry.path(), below.join(entry.file_name()));
            let kind = entry.file_type().at("read", &path)?;
            if kind.is_dir() && deep > 0 && entry.file_name() != private_dir::FOLDER {
                self.find_segments(&path, &below, deep - 1, found)?;
            } else if kind.is_file()
                && let (Some(name), Some(segment)) = (below.to_str(), self.segment_of(&path))
            {
                let first = found.entry(segment).or_insert_with(|| name.to_owned());
                if name < first.as_str() {
                    *first = name.to_owned();
                }
            }
        }
        Ok(())
    }

    /// The number in a file's header, if this sink has made it.
    fn segment_of(&self, path: &Path) -> Option<u64> {
        if path.extension()? != "avi" {
            return None;
        }
        let header = read::header(&mut File::open(path).ok()?).ok()?;
        let segment = header.note.rsplit_once(' ')?.1.parse().ok()?;
        (header.note == self.note(segment)).then_some(segment)
    }
}
