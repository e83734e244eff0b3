//! Where a clip goes: written aside, and under its name only when it is whole.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use edgereel_crds::status::Reason;
use edgereel_runtime::fault::Fault;

use crate::sink::{disk::Disk, fault::OutputError};

/// A disk's error in words for a clip. `path` is where it was met.
pub fn full(action: &str, path: &Path, error: &io::Error) -> Fault {
    of(OutputError::from_io(action, path, error))
}

/// An output's error in words for a clip.
pub fn of(error: OutputError) -> Fault {
    match error {
        OutputError::NoSpace { path } => {
            let message = format!(
                "{}: the disk is full: free some space, or write the clip to another disk; nothing is left of it",
                path.display()
            );
            Fault::new(Reason::StorageFull, message)
        }
        error => error.into(),
    }
}

/// In a directory of pictures: what says that it is a clip.
pub const MANIFEST: &str = "manifest.json";
/// The list of checksums in a directory of pictures.
pub const SUMS: &str = "SHA256SUMS";
/// In a directory of pictures: the rows.
pub const ROWS: &str = "frames.csv";

/// What a clip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// An AVI of JPEGs.
    Avi,
    /// H.264 in MP4.
    Mp4,
    /// A directory of pictures.
    Directory,
}

/// Where a clip goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// The directory that it stands in, and its name there.
    parent: PathBuf,
    name: String,
    force: bool,
}

fn refused(message: String) -> Fault {
    Fault::new(Reason::InvalidConfiguration, message)
}

impl Target {
    /// From what was given as `--output`.
    ///
    /// # Errors
    /// When its ending is that of something else; when there is something of that name, and `force` does not say that it may
    /// go.
    pub fn new(path: &Path, force: bool) -> Result<Self, Fault> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let as_directory = path.as_os_str().to_string_lossy().ends_with('/') || path.is_dir();
        let kind = match ending.as_deref() {
            Some("avi") if !as_directory => Kind::Avi,
            Some("mp4") if !as_directory => Kind::Mp4,
            None => Kind::Directory,
            _ if as_directory => Kind::Directory,
            Some(ending) => {
                return Err(refused(format!(
                    "`.{ending}` cannot be written: end the name in `.avi` or `.mp4`, or, for a directory of pictures, in `/`"
                )));
            }
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refused(format!("`{}` is no name for a clip", path.display())))?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(refused(format!("there is no directory {}: make it first", parent.display())));
        }
        let target = Target { kind, parent: parent.to_owned(), name, force };
        target.free()?;
        Ok(target)
    }

    /// The names that are written: the clip's last.
    fn names(&self) -> Vec<String> {
        match self.kind {
            Kind::Directory => vec![self.name.clone()],
            _ => vec![self.beside("csv"), self.beside("json"), self.beside("sha256"), self.name.clone()],
        }
    }

    fn beside(&self, ending: &str) -> String {
        format!("{}.{ending}", self.name)
    }

    /// Where it will stand.
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// The directory in which it will stand.
    pub fn parent(&self) -> &Path {
        &self.parent
    }

    fn free(&self) -> Result<(), Fault> {
        for name in self.names() {
            let path = self.parent.join(name);
            let Ok(meta) = path.symlink_metadata() else { continue };
            if self.kind == Kind::Directory && meta.is_dir() {
                let empty = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
                if empty || (self.force && path.join(MANIFEST).is_file() && path.join(SUMS).is_file()) {
                    continue;
                }
                let hint = if self.force { "it is no clip, and stays" } else { "`--force` replaces a former clip" };
                return Err(refused(format!("{} is not empty: name another; {hint}", path.display())));
            }
            if !self.force || !meta.is_file() {
                return Err(refused(format!("{} is there already: `--force` replaces a file", path.display())));
            }
        }
        Ok(())
    }

    /// Begins to write it.
    pub fn begin(&self) -> Result<Draft<'_>, Fault> {
        let place = self.parent.join(format!(".{}.part", self.name));
        match fs::create_dir(&place) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(|e| full("make", &place, &e))?,
        }
        let open = File::open(&place).map_err(|e| full("open", &place, &e))?;
        if open.try_lock().is_err() {
            return Err(refused(format!("{} is being written by another export", self.path().display())));
        }
        let draft = Draft { target: self, place, _lock: open };
        // What one left that was killed.
        draft.clear().map_err(|e| full("clear", &draft.place, &e))?;
        Ok(draft)
    }
}

/// A clip that is written. Dropped before it is published, it leaves nothing.
pub struct Draft<'a> {
    target: &'a Target,
    place: PathBuf,
    /// As long as it is open, no other writes there.
    _lock: File,
}

impl Draft<'_> {
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.place)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Where the clip's file is written, or the pictures are.
    pub fn clip(&self) -> PathBuf {
        match self.target.kind {
            Kind::Directory => self.place.clone(),
            _ => self.place.join(&self.target.name),
        }
    }

    /// Where the rows go, the manifest, and the checksums.
    pub fn beside(&self) -> [PathBuf; 3] {
        match self.target.kind {
            Kind::Directory => [ROWS, MANIFEST, SUMS].map(|name| self.place.join(name)),
            _ => ["csv", "json", "sha256"].map(|ending| self.place.join(self.target.beside(ending))),
        }
    }

    /// Makes all of it durable, and gives it its names. Nothing that came there meanwhile is overwritten, unless it may be.
    pub fn publish(self) -> Result<(), Fault> {
        let Target { kind, parent, name, force } = self.target;
        let open = |path: &Path| File::open(path).map_err(|e| full("open", path, &e));
        let (from, to) = (open(&self.place)?, open(parent)?);
        match kind {
            // One sync for thousands of pictures.
            Kind::Directory => nix::unistd::syncfs(&from).map_err(|e| full("sync", &self.place, &e.into()))?,
            _ => {
                for name in self.target.names() {
                    let path = self.place.join(name);
                    open(&path)?.sync_all().map_err(|e| full("sync", &path, &e))?;
                }
                from.sync_all().map_err(|e| full("sync", &self.place, &e))?;
            }
        }
        let to_path = |name: &str| parent.join(name);
        self.target.free()?;
        if *kind == Kind::Directory {
            if *force && to_path(name).exists() {
                fs::remove_dir_all(to_path(name)).map_err(|e| full("remove", &to_path(name), &e))?;
            }
            fs::rename(&self.place, to_path(name)).map_err(|e| full("make", &to_path(name), &e))?;
        } else {
            let disk = Disk::default();
            for name in self.target.names() {
                let renamed = match force {
                    true => disk.rename(&from, &name, &to, &name),
                    false => disk.rename_new(&from, &name, &to, &name),
                };
                renamed.map_err(|e| full("make", &to_path(&name), &e))?;
            }
        }
        to.sync_all().map_err(|e| full("sync", parent, &e))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Of a directory that was published nothing is left here.
        let _ = self.clear();
        let _ = fs::remove_dir(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(dir: &Path, name: &str, force: bool) -> Result<Target, String> {
        Target::new(&dir.join(name), force).map_err(|fault| fault.message)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).expect("there").map(|e| e.expect("read").file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_ending_says_what_a_clip_is_and_another_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("old.avi")).expect("made");
        for (name, kind) in [
            ("a.avi", Kind::Avi),
            ("a.MP4", Kind::Mp4),
            ("frames", Kind::Directory),
            ("2024.06/", Kind::Directory),
            ("old.avi", Kind::Directory),
        ] {
            assert_eq!(target(dir.path(), name, false).map(|target| target.kind), Ok(kind), "{name}");
        }
        for (name, word) in [("a.mkv", "`.mkv`"), ("none/a.avi", "make it first"), ("..", "no name")] {
            let error = target(dir.path(), name, false).expect_err(name);
            assert!(error.contains(word), "{name}: {error}");
        }
    }

    fn write<'a>(target: &'a Target, text: &str) -> Draft<'a> {
        let draft = target.begin().expect("begun");
        let beside = draft.beside();
        for path in [&draft.clip()].into_iter().chain(&beside).filter(|path| !path.is_dir()) {
            fs::write(path, text).expect("written");
        }
        draft
    }

    #[test]
    fn a_clip_stands_there_whole_or_not_at_all_and_nothing_is_overwritten_unasked() {
        let dir = tempfile::tempdir().expect("a directory");
        let avi = target(dir.path(), "a.avi", false).expect("free");
        drop(write(&avi, "given up"));
        assert_eq!(names(dir.path()), Vec::<String>::new());
        let draft = write(&avi, "one");
        assert!(avi.begin().err().expect("busy").message.contains("another export"));
        draft.publish().expect("published");
        assert_eq!(names(dir.path()), ["a.avi", "a.avi.csv", "a.avi.json", "a.avi.sha256"]);
        // What was killed is cleared by the next.
        let killed = target(dir.path(), "b", false).expect("free");
        std::mem::forget(write(&killed, "killed"));
        assert!(target(dir.path(), "a.avi", false).expect_err("taken").contains("--force"));
        let again = target(dir.path(), "a.avi", true).expect("forced");
        write(&again, "two").publish().expect("published");
        assert_eq!(fs::read_to_string(dir.path().join("a.avi")).expect("there"), "two");
        // One that came while the clip was written stays.
        let late = target(dir.path(), "c.avi", false).expect("free");
        let draft = write(&late, "mine");
        fs::write(dir.path().join("c.avi"), "another's").expect("written");
        assert!(draft.publish().is_err());
        assert_eq!(fs::read_to_string(dir.path().join("c.avi")).expect("there"), "another's");
    }

    #[test]
    fn a_directory_is_replaced_only_if_it_was_a_clip() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |force| {
            let target = target(dir.path(), "frames/", force)?;
            let draft = target.begin().expect("begun");
            let [rows, manifest, sums] = draft.beside();
            [rows, manifest, sums].iter().for_each(|path| fs::write(path, "x").expect("written"));
            draft.publish().map_err(|fault| fault.message)
        };
        fs::create_dir(dir.path().join("frames")).expect("made");
        write(false).expect("an empty one is fine");
        assert!(write(false).expect_err("taken").contains("--force"));
        write(true).expect("a clip");
        assert_eq!(names(dir.path()), ["frames"]);
        fs::remove_file(dir.path().join("frames").join(MANIFEST)).expect("removed");
        assert!(write(true).expect_err("not ours").contains("stays"));
    }
}
