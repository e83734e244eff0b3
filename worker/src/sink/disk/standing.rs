//! Whether a path still leads to what was opened there: a directory that is moved while it is open takes what is written
//! through the open handle along, and nobody who looks below `directory` would find it.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use edgereel_crds::status::Reason;

use crate::sink::{fault::OutputError, output::At};

/// Something open, and where it was opened.
#[derive(Clone, Debug)]
pub struct Standing {
    path: PathBuf,
    file: Arc<File>,
}

fn id(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

impl Standing {
    /// `file` was opened at `path`.
    pub fn new(path: impl Into<PathBuf>, file: Arc<File>) -> Self {
        Standing { path: path.into(), file }
    }

    /// Opens a directory.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        Ok(Standing::new(path, Arc::new(File::open(path).at("open", path)?)))
    }

    /// The open handle.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path leads elsewhere by now, or nowhere.
    fn is_gone(&self) -> Result<bool, OutputError> {
        let mine = self.file.metadata().at("look at", &self.path)?;
        match fs::metadata(&self.path) {
            Ok(found) => Ok(id(&found) != id(&mine)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(true),
            Err(e) => Err(OutputError::from_io("look at", &self.path, &e)),
        }
    }

    /// Fails when it was moved away, or removed.
    pub fn check(&self) -> Result<(), OutputError> {
        if self.is_gone()? { Err(self.moved("moved away or removed")) } else { Ok(()) }
    }

    /// Fails when it was moved away. A directory that was removed is no fault: nothing can be written to it any more, and
    /// what was in it went with it.
    pub fn check_unless_removed(&self) -> Result<(), OutputError> {
        let there = self.file.metadata().at("look at", &self.path)?.nlink() > 0;
        if there && self.is_gone()? { Err(self.moved("moved away")) } else { Ok(()) }
    }

    fn moved(&self, how: &str) -> OutputError {
        let message = format!(
            "{} was {how} while it was written to: frames that are not committed are read again and written where \
             spec.output says; stop the sink before you move what it writes to",
            self.path.display()
        );
        OutputError::storage(Reason::StorageError, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_or_replaced_is_noticed_and_what_was_removed_where_it_matters() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        fs::create_dir(&path).expect("made");
        let standing = Standing::open(&path).expect("open");
        standing.check().expect("in its place");
        fs::rename(&path, dir.path().join("b")).expect("moved");
        let error = standing.check_unless_removed().expect_err("moved").to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains("moved away"), "{error}");
        fs::create_dir(&path).expect("another of its name");
        assert!(standing.check().is_err() && standing.check_unless_removed().is_err());
        fs::remove_dir(&path).expect("removed");
        fs::rename(dir.path().join("b"), &path).expect("back");
        standing.check().expect("back in its place");
        fs::remove_dir(&path).expect("removed");
        standing.check_unless_removed().expect("removed");
        assert!(standing.check().is_err());
    }
}
