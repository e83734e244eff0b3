//! A rename that never overwrites.

use std::{fs::File, io};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, linkat, unlinkat},
};

/// Whether a file system has no such call (EPERM is what `link` says then).
fn unknown(error: Errno) -> bool {
    matches!(error, Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM)
}

/// Gives a file a name that no file has; a taken one is [`io::ErrorKind::AlreadyExists`].
///
/// Linux has a call for it that not every file system takes (NFS does not). The next best are a second name, which is
/// refused if it is taken, and, where files have one name only, an empty file that holds the name.
pub fn rename_new(from: &File, from_name: &str, to: &File, to_name: &str) -> io::Result<()> {
    match renameat2(from, from_name, to, to_name, RenameFlags::RENAME_NOREPLACE) {
        Err(error) if unknown(error) => {}
        done => return Ok(done?),
    }
    match link(from, from_name, to, to_name) {
        Err(error) if unknown(error) => {}
        done => return Ok(done?),
    }
    Ok(reserve(from, from_name, to, to_name)?)
}

fn link(from: &File, from_name: &str, to: &File, to_name: &str) -> nix::Result<()> {
    linkat(from, from_name, to, to_name, AtFlags::empty())?;
    unlinkat(from, from_name, UnlinkatFlags::NoRemoveDir)
}

/// A crash in the middle leaves an empty file, as a power failure would: it is this record's, and is written again.
fn reserve(from: &File, from_name: &str, to: &File, to_name: &str) -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    openat(to, to_name, flags, Mode::from_bits_truncate(0o644))?;
    renameat(from, from_name, to, to_name).inspect_err(|_| {
        let _ = unlinkat(to, to_name, UnlinkatFlags::NoRemoveDir);
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_way_takes_a_free_name_and_leaves_a_taken_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = File::open(dir.path()).expect("open");
        type Way = fn(&File, &str, &File, &str) -> io::Result<()>;
        let ways: [(&str, Way); 3] = [
            ("rename", rename_new),
            ("link", |a, b, c, d| Ok(link(a, b, c, d)?)),
            ("reserve", |a, b, c, d| Ok(reserve(a, b, c, d)?)),
        ];
        for (way, rename) in ways {
            fs::write(dir.path().join("new"), "new").expect("written");
            rename(&at, "new", &at, way).expect("free");
            assert_eq!(fs::read(dir.path().join(way)).expect("there"), b"new", "{way}");
            assert!(!dir.path().join("new").exists(), "{way}");
            fs::write(dir.path().join("new"), "newer").expect("written");
            let error = rename(&at, "new", &at, way).expect_err("taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{way}");
            assert_eq!(fs::read(dir.path().join(way)).expect("there"), b"new", "{way}");
            assert_eq!(fs::read(dir.path().join("new")).expect("there"), b"newer", "{way}");
        }
    }
}
