//! The folder's files: which there are, and what stands in them. Nothing outside of the folder is ever opened.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use edgereel_crds::status::Reason;
use edgereel_frame::{
    picture::{self, Kind},
    reasons::DropReason,
};
use edgereel_runtime::{fault::Fault, plain::plain};
use jiff::Timestamp;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};
use xxhash_rust::xxh3::xxh3_64;

use super::names::is_junk;

/// A folder that is there.
pub struct Folder {
    path: PathBuf,
    root: File,
    /// A directory in it that is none of it, as seen from it.
    except: Option<PathBuf>,
}

/// A file that can be sent.
#[derive(Debug)]
pub struct Picture {
    /// All of it.
    pub bytes: Bytes,
    /// What it is.
    pub kind: Kind,
    /// Size and time, in bits.
    pub stamp: u64,
    /// When it was last changed.
    pub time: Timestamp,
}

/// Why a file is not sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// It is wrong, as long as it does not change: why, and in words.
    Bad(DropReason, String),
    /// It is just being written.
    Changing,
    /// It is not there any more.
    Gone,
}

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files, as seen from the folder, in the order of their names.
    pub files: Vec<PathBuf>,
    /// Directories that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A file's size and time, in bits.
pub fn stamp(meta: &Metadata) -> u64 {
    let parts = [meta.len().to_le_bytes(), meta.mtime().to_le_bytes(), meta.mtime_nsec().to_le_bytes()];
    xxh3_64(&parts.concat())
}

impl Folder {
    /// Opens the folder; what is in `except` is none of it.
    ///
    /// # Errors
    /// That it is not there, or cannot be read.
    pub fn open(path: &Path, except: Option<&Path>) -> Result<Self, Fault> {
        let fault = |reason, words: String| Fault::new(reason, format!("{}: {words}", path.display()));
        let root = File::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                fault(Reason::StorageMissing, "there is no such folder: make it, or mount the disk".into())
            }
            io::ErrorKind::PermissionDenied => {
                fault(Reason::StorageError, "this user may not read the folder (chown, chmod or fsGroup)".into())
            }
            _ => fault(Reason::StorageError, format!("the folder cannot be read: {}", plain(e))),
        })?;
        if !root.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(fault(
                Reason::StorageMissing,
                "it is not a directory: name the folder that the files are in".into(),
            ));
        }
        let except = except.and_then(|except| except.strip_prefix(path).ok()).map(Path::to_owned);
        Ok(Folder { path: path.to_owned(), root, except })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a path, as seen from the folder, is one of its files by its name.
    pub fn has(&self, relative: &Path) -> bool {
        !super::names::leads_through_junk(relative)
            && !self.except.as_ref().is_some_and(|except| relative.starts_with(except))
    }

    /// Every file below it. Directories that are links are not gone into: what they lead to inside is found anyway.
    ///
    /// # Errors
    /// That the folder itself cannot be read.
    pub fn list(&self) -> Result<Listing, Fault> {
        let (mut listing, mut open) = (Listing::default(), vec![PathBuf::new()]);
        while let Some(directory) = open.pop() {
            let read = fs::read_dir(self.path.join(&directory)).and_then(|entries| {
                for entry in entries {
                    let entry = entry?;
                    let (name, kind) = (entry.file_name(), entry.file_type()?);
                    let relative = directory.join(&name);
                    if is_junk(&name, kind.is_dir()) || self.except.as_ref() == Some(&relative) {
                        continue;
                    }
                    if kind.is_dir() {
                        open.push(relative);
                    } else if kind.is_file() || kind.is_symlink() {
                        listing.files.push(relative);
                    }
                }
                Ok(())
            });
            match read {
                Ok(()) => {}
                Err(e) if directory.as_os_str().is_empty() => {
                    let words = format!("{}: the folder cannot be read: {}", self.path.display(), plain(e));
                    return Err(Fault::new(Reason::StorageError, words));
                }
                // It went while the folder was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => listing.unreadable.push((directory, plain(e))),
            }
        }
        listing.files.sort_unstable();
        Ok(listing)
    }

    /// What there is to know of a file without reading it; none where there is no file.
    pub fn look(&self, relative: &Path) -> Option<Metadata> {
        fs::metadata(self.path.join(relative)).ok().filter(Metadata::is_file)
    }

    /// Opens a file. A link that leads out of the folder is not followed, whatever becomes of it meanwhile.
    pub fn open_file(&self, relative: &Path) -> Result<File, NotNow> {
        // A pipe that nobody writes to would keep us waiting.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH);
        let opened: Result<OwnedFd, Errno> = openat2(&self.root, relative, how);
        let bad = |reason, words: &str| NotNow::Bad(reason, words.to_owned());
        let file = File::from(opened.map_err(|e| match e {
            Errno::ENOENT | Errno::ENOTDIR => NotNow::Gone,
            Errno::EXDEV => bad(DropReason::outside, "it is a link that leads out of the folder"),
            Errno::ELOOP => bad(DropReason::outside, "it is a link in a circle"),
            Errno::EACCES => bad(DropReason::unreadable, "this user may not read it (chmod or chown)"),
            e => bad(DropReason::unreadable, &plain(io::Error::from(e))),
        })?);
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(bad(DropReason::unreadable, "it is no file")),
            Err(e) => Err(bad(DropReason::unreadable, &plain(e))),
        }
    }

    /// Reads a picture of `most` bytes or less.
    pub fn read(&self, relative: &Path, most: usize) -> Result<Picture, NotNow> {
        let unreadable = |e: io::Error| NotNow::Bad(DropReason::unreadable, plain(e));
        let mut file = self.open_file(relative)?;
        let meta = file.metadata().map_err(unreadable)?;
        if meta.len() > most as u64 {
            let words = format!("{} bytes are more than `encoding.maxFrameBytes`, {most}", meta.len());
            return Err(NotNow::Bad(DropReason::too_large, words));
        }
        let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
        file.by_ref().take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let after = file.metadata().map_err(unreadable)?;
        if stamp(&after) != stamp(&meta) || bytes.len() as u64 != meta.len() {
            return Err(NotNow::Changing);
        }
        let info = picture::inspect(&bytes).map_err(|defect| NotNow::Bad(defect.into(), defect.to_string()))?;
        let time = Timestamp::new(meta.mtime(), meta.mtime_nsec() as i32).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Picture { bytes: bytes.into(), kind: info.kind, stamp: stamp(&meta), time })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    use edgereel_frame::samples::{picture, png};

    use super::*;

    fn reason(result: Result<Picture, NotNow>) -> Option<DropReason> {
        match result {
            Err(NotNow::Bad(reason, _)) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_folder_lists_its_files_and_none_that_systems_leave() {
        let dir = tempfile::tempdir().expect("a directory");
        let odd = std::ffi::OsStr::from_bytes(b"no utf-8 \xff\n.png");
        for name in ["b.png", "a/ü ü.png", "a/.DS_Store", ".edgereel/x.png", "sent/old.png", "a/b.png.part"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("one")).expect("made");
            fs::write(path, png(name)).expect("written");
        }
        fs::write(dir.path().join(odd), png("odd")).expect("written");
        let folder = Folder::open(dir.path(), Some(&dir.path().join("sent"))).expect("there");
        let files = folder.list().expect("read").files;
        assert_eq!(files, [Path::new("a/ü ü.png"), Path::new("b.png"), Path::new(odd)]);
        assert!(folder.has(Path::new("a/c.png")) && !folder.has(Path::new("sent/c.png")));
        let read = folder.read(Path::new(odd), 1000).expect("a picture");
        assert_eq!((read.kind, &read.bytes[..]), (Kind::Png, &png("odd")[..]));
    }

    #[test]
    fn links_are_followed_inside_of_the_folder_and_nowhere_else() {
        let (dir, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        fs::write(outside.path().join("secret.png"), png("secret")).expect("written");
        fs::create_dir(dir.path().join("a")).expect("made");
        fs::write(dir.path().join("a/x.png"), png("x")).expect("written");
        symlink("a/x.png", dir.path().join("inside.png")).expect("linked");
        symlink("../inside.png", dir.path().join("a/up.png")).expect("linked");
        symlink(outside.path().join("secret.png"), dir.path().join("absolute.png")).expect("linked");
        symlink("../../etc/passwd", dir.path().join("a/out.png")).expect("linked");
        symlink(outside.path(), dir.path().join("elsewhere")).expect("linked");
        symlink("loop.png", dir.path().join("loop.png")).expect("linked");
        symlink("missing.png", dir.path().join("dangling.png")).expect("linked");
        let folder = Folder::open(dir.path(), None).expect("there");
        let read = |name: &str| folder.read(Path::new(name), 1000);
        assert_eq!(read("inside.png").expect("a picture").bytes, png("x"));
        assert_eq!(read("a/up.png").expect("a picture").bytes, png("x"));
        for out in ["absolute.png", "a/out.png", "elsewhere/secret.png", "loop.png"] {
            assert_eq!(reason(read(out)), Some(DropReason::outside), "{out}");
        }
        assert_eq!(read("dangling.png").expect_err("gone"), NotNow::Gone);
        assert!(folder.look(Path::new("elsewhere")).is_none(), "no file");
    }

    #[test]
    fn a_bad_file_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let whole = picture(64, 48, 1);
        let cases: [(&str, &[u8], DropReason); 4] = [
            ("empty.jpg", b"", DropReason::empty),
            ("text.jpg", b"hello", DropReason::not_picture),
            ("cut.jpg", &whole[..whole.len() / 2], DropReason::truncated),
            ("large.jpg", &[0xFF; 20_000], DropReason::too_large),
        ];
        let folder = Folder::open(dir.path(), None).expect("there");
        for (name, bytes, expected) in cases {
            fs::write(dir.path().join(name), bytes).expect("written");
            assert_eq!(reason(folder.read(Path::new(name), 10_000)), Some(expected), "{name}");
        }
        nix::unistd::mkfifo(&dir.path().join("pipe.jpg"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert_eq!(reason(folder.read(Path::new("pipe.jpg"), 10_000)), Some(DropReason::unreadable));
        let missing = Folder::open(&dir.path().join("not here"), None).err().expect("missing");
        assert_eq!(missing.reason, Reason::StorageMissing);
        assert_eq!(
            Folder::open(&dir.path().join("text.jpg"), None).err().expect("a file").reason,
            Reason::StorageMissing
        );
    }
}
