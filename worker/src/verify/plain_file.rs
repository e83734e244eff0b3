//! Opens files and nothing else: a pipe of a picture's name would keep its reader waiting for ever.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{errno::Errno, fcntl::OFlag};

/// Opens a file to read it; links are followed. None of what is there and is no file.
pub fn open(path: &Path) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
        // A socket, or a device that nobody serves.
        Err(e) if e.raw_os_error() == Some(Errno::ENXIO as i32) => return Ok(None),
        file => file?,
    };
    let is_file = file.metadata()?.is_file();
    Ok(is_file.then_some(file))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn only_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for (name, opened) in
            [("file", true), ("link", true), ("zero", false), ("pipe", false), ("socket", false), ("directory", false)]
        {
            assert_eq!(open(&at(name)).unwrap().is_some(), opened, "{name}");
        }
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
