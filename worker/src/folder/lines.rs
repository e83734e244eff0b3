//! Logs of lines that only grow. Each line ends with its hash: one that is not whole (a crash, at any byte) is none, and goes.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

use crate::sink::{
    disk::{AppendFile, Disk},
    fault::OutputError,
    output::At,
    private_dir::sync_directory,
};

/// A line with its hash and its end.
pub fn seal(mut text: String) -> String {
    let hash = xxh3_64(text.as_bytes());
    text.push_str(&format!(" {hash:016x}\n"));
    text
}

/// What stands in a line that is whole.
fn unseal(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (text, hash) = line.strip_suffix('\n')?.rsplit_once(' ')?;
    (hash.len() == 16 && u64::from_str_radix(hash, 16) == Ok(xxh3_64(text.as_bytes()))).then_some(text)
}

/// Gives every whole line of a log to `take`, which says whether it understands it. How many it did, and where the last line ends.
pub fn read(path: &Path, mut take: impl FnMut(&str) -> bool) -> Result<(usize, u64), OutputError> {
    let (mut lines, mut at, mut whole, mut line) = (0, 0, 0, Vec::new());
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).at("open", path)?);
    while file.read_until(b'\n', &mut line).at("read", path)? > 0 {
        at += line.len() as u64;
        if line.ends_with(b"\n") {
            whole = at;
        }
        if unseal(&line).is_some_and(&mut take) {
            lines += 1;
        }
        line.clear();
    }
    Ok((lines, whole))
}

/// Opens a log, or begins one, and gives it and the number of its lines; none where there was none before.
pub fn open(
    folder: &Path,
    name: &str,
    take: impl FnMut(&str) -> bool,
) -> Result<(AppendFile, Option<usize>), OutputError> {
    let (path, disk) = (folder.join(name), Disk::default());
    if !path.exists() {
        let file = AppendFile::create(path.clone(), &disk).at("make", &path)?;
        sync_directory(folder)?;
        return Ok((file, None));
    }
    let (lines, whole) = read(&path, take)?;
    let mut file = AppendFile::open(path.clone(), &disk).at("open", &path)?;
    // What a crash has torn goes, so that it is never taken for whole.
    if whole < file.length() {
        file.cut(whole)?;
    }
    Ok((file, Some(lines)))
}
