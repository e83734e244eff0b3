//! What becomes of a picture that was sent: it stays, goes elsewhere, or is deleted. Never another one that took its name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use edgereel_crds::directory::AfterSent;

use super::files::stamp;
use crate::sink::disk::rename_new::rename_new;

/// The name that a file has for the moment before it is deleted, with its own name behind it. It is hidden, so that nobody takes it
/// for a new file.
const LEAVING: &str = ".edgereel-leaving-";

/// What is done with a picture that was sent.
#[derive(Clone, Debug)]
pub enum Leaving {
    /// Nothing.
    Keep,
    /// It goes below this directory.
    Move(PathBuf),
    /// It is deleted.
    Delete,
}

impl Leaving {
    /// As the source says; `sent` is where pictures go.
    pub fn new(after: AfterSent, sent: Option<PathBuf>) -> Self {
        match (after, sent) {
            (AfterSent::Keep, _) | (AfterSent::Move, None) => Leaving::Keep,
            (AfterSent::Move, Some(sent)) => Leaving::Move(sent),
            (AfterSent::Delete, _) => Leaving::Delete,
        }
    }

    /// Whether pictures stay.
    pub fn keeps(&self) -> bool {
        matches!(self, Leaving::Keep)
    }

    /// Does it with a file of the folder, if it is the one with this size and time. Says whether it is gone now.
    ///
    /// # Errors
    /// What the disk refused; the file is where it was.
    pub fn leave(&self, folder: &Path, relative: &Path, of: Option<u64>) -> io::Result<bool> {
        let from = folder.join(relative);
        let (Some(above), Some(name)) = (from.parent(), from.file_name()) else { return Ok(false) };
        let is_it = |path: &Path| fs::metadata(path).is_ok_and(|meta| of.is_none_or(|of| stamp(&meta) == of));
        if matches!(self, Leaving::Keep) || !is_it(&from) {
            return Ok(false);
        }
        // By a rename the file is ours alone, whoever renames another one to its name at this moment.
        let to = match self {
            Leaving::Keep => return Ok(false),
            Leaving::Move(sent) => moved(above, name, &sent.join(relative))?,
            Leaving::Delete => {
                let mut hidden = std::ffi::OsString::from(LEAVING);
                hidden.push(name);
                let to = above.join(&hidden);
                rename(above, name, above, &hidden)?;
                to
            }
        };
        if !is_it(&to) {
            put_back(&to, &from)?;
            return Ok(false);
        }
        if let Leaving::Delete = self {
            fs::remove_file(&to)?;
        }
        Ok(true)
    }
}

fn rename(from: &Path, name: &std::ffi::OsStr, to: &Path, new: &std::ffi::OsStr) -> io::Result<()> {
    let text = |name: &std::ffi::OsStr| name.to_str().map(str::to_owned);
    match (text(name), text(new)) {
        (Some(name), Some(new)) => rename_new(&File::open(from)?, &name, &File::open(to)?, &new),
        // A name that is no UTF-8: looked at first.
        _ if to.join(new).symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        _ => fs::rename(from.join(name), to.join(new)),
    }
}

/// Moves a file to a name that is free, and gives that.
fn moved(above: &Path, name: &std::ffi::OsStr, wanted: &Path) -> io::Result<PathBuf> {
    let to = wanted.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(to)?;
    for n in 1u32.. {
        let new = if n == 1 { name.to_owned() } else { numbered(Path::new(name), n) };
        match rename(above, name, to, &new) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 10_000 => {}
            done => return done.map(|()| to.join(new)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `a_2.png` of `a.png`.
fn numbered(name: &Path, n: u32) -> std::ffi::OsString {
    let mut new = name.file_stem().unwrap_or_default().to_owned();
    new.push(format!("_{n}"));
    if let Some(ending) = name.extension() {
        new.push(".");
        new.push(ending);
    }
    new
}

/// Another file had the name: it gets it back, unless a third one has it by now.
fn put_back(at: &Path, from: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
    let (Some(home), Some(old)) = (from.parent(), from.file_name()) else { return Ok(()) };
    match rename(above, name, home, old) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let other = home.join(numbered(Path::new(old), 2));
            fs::rename(at, other)
        }
        done => done,
    }
}

/// Whether a name is one that a file has for the moment before it is deleted.
pub fn is_leaving(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(LEAVING))
}

/// Brings back what a crash has left under its passing name, in a directory of the folder. It is deleted again if it was sent.
pub fn bring_back(directory: &Path, name: &std::ffi::OsStr) -> io::Result<bool> {
    let Some(old) = name.to_str().and_then(|name| name.strip_prefix(LEAVING)) else { return Ok(false) };
    put_back(&directory.join(name), &directory.join(old)).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp_of(path: &Path) -> u64 {
        stamp(&fs::metadata(path).expect("there"))
    }

    #[test]
    fn a_sent_picture_leaves_and_another_that_took_its_name_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let (folder, sent) = (dir.path().join("in"), dir.path().join("sent"));
        fs::create_dir_all(folder.join("a")).expect("made");
        let (relative, file) = (Path::new("a/x.png"), folder.join("a/x.png"));
        for leaving in [Leaving::Delete, Leaving::Move(sent.clone())] {
            fs::write(&file, "one").expect("written");
            let of = stamp_of(&file);
            fs::write(&file, "another").expect("written");
            assert!(!leaving.leave(&folder, relative, Some(of)).expect("looked at"));
            assert_eq!(fs::read_to_string(&file).expect("there"), "another");
            assert!(leaving.leave(&folder, relative, Some(stamp_of(&file))).expect("gone"));
            assert!(!file.exists());
            assert!(!leaving.leave(&folder, relative, Some(of)).expect("nothing to do"), "it is not there");
        }
        assert_eq!(fs::read_to_string(sent.join("a/x.png")).expect("moved"), "another");
        fs::write(&file, "third").expect("written");
        assert!(Leaving::Move(sent.clone()).leave(&folder, relative, Some(stamp_of(&file))).expect("moved"));
        assert_eq!(fs::read_to_string(sent.join("a/x_2.png")).expect("moved"), "third");
        assert_eq!(fs::read_to_string(sent.join("a/x.png")).expect("there"), "another", "nothing is overwritten");
        assert_eq!(fs::read_dir(folder.join("a")).expect("there").count(), 0);
    }

    #[test]
    fn what_a_crash_left_on_its_way_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let hidden = format!("{LEAVING}x.png");
        fs::write(dir.path().join(&hidden), "x").expect("written");
        assert!(bring_back(dir.path(), hidden.as_ref()).expect("renamed"));
        assert!(!bring_back(dir.path(), "x.png".as_ref()).expect("nothing to do"));
        assert_eq!(fs::read_to_string(dir.path().join("x.png")).expect("back"), "x");
    }
}
