//! Tries whether a sink's volume is there and can be written to, with a file that never has a name.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use edgereel_crds::plan::SinkPlan;
use nix::{
    fcntl::OFlag,
    sys::statvfs::statvfs,
    unistd::{AccessFlags, eaccess},
};

use super::{Answer, Verdict};
use crate::sink::{fault::OutputError, volume};

/// Less than this is soon full: a camera of 30 frames a second and 85 KB fills it in seven minutes.
const LITTLE: u64 = 1 << 30;
/// Less than this part of the file system is, too.
const LITTLE_RATIO: f64 = 0.05;

/// How much is written to try it: about a picture.
const PICTURE: usize = 64 << 10;

/// Asks one sink's disk.
pub(super) async fn ask(plan: SinkPlan, storage_root: Option<PathBuf>) -> Answer {
    let looked = tokio::task::spawn_blocking(move || look(&plan, storage_root.as_deref()));
    looked.await.unwrap_or_else(|e| (Verdict::Fail, format!("a fault of ours: {e}")))
}

/// A disk may hang: blocks.
fn look(plan: &SinkPlan, storage_root: Option<&Path>) -> Answer {
    let root = match volume::Place::of(plan).and_then(|place| volume::find(&place, storage_root)) {
        Ok(root) => root,
        Err(fault) => return (Verdict::Fail, fault.message),
    };
    let directory = root.join(plan.spec.output.directory());
    // What is not there yet is made where it will be.
    let found = directory.ancestors().find(|path| path.exists()).unwrap_or(&root);
    if let Err(error) = try_writing(found) {
        return (Verdict::Fail, OutputError::from_io("write to", found, &error).to_string());
    }
    let Ok(room) = statvfs(found) else { return (Verdict::Ok, format!("{}: writable", directory.display())) };
    let bytes = |blocks: u64| blocks.saturating_mul(room.fragment_size());
    let (free, size) = (bytes(room.blocks_available()), bytes(room.blocks()));
    let on = mounted(found).map_or(String::new(), |(kind, at)| format!(", {kind} at {}", at.display()));
    let words = format!("{}: writable, {} of {} free{on}", directory.display(), shown(free), shown(size));
    match free < LITTLE || (free as f64) < size as f64 * LITTLE_RATIO {
        true => (Verdict::Warn, format!("{words}: it is full soon, free some space")),
        false => (Verdict::Ok, words),
    }
}

/// Writes a little to a file without a name, which is gone when it is closed, whatever happens meanwhile.
fn try_writing(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let nameless = File::options().write(true).custom_flags(OFlag::O_TMPFILE.bits()).open(directory);
    match nameless {
        Ok(mut file) => file.write_all(&[0; PICTURE]),
        // Not every file system knows files without names; the rights can be asked for all the same.
        Err(e) if matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory) => {
            Ok(eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
        }
        Err(e) => Err(e),
    }
}

/// The kind of file system that a path is on, and where that is mounted.
fn mounted(path: &Path) -> Option<(String, PathBuf)> {
    let path = fs::canonicalize(path).ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    innermost(&table, &path)
}

/// The last of the mounts that hold a path most closely, in a table as of `/proc/self/mountinfo`.
fn innermost(table: &str, path: &Path) -> Option<(String, PathBuf)> {
    let mounts = table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let at = PathBuf::from(unescaped(mount.split(' ').nth(4)?));
        Some((kind.split(' ').next()?.to_owned(), at))
    });
    mounts.filter(|(_, at)| path.starts_with(at)).max_by_key(|(_, at)| at.components().count())
}

/// The kernel writes blanks in paths as `\040`.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

fn shown(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000_000_000 => (1e6, "MB"),
        1_000_000_000..1_000_000_000_000 => (1e9, "GB"),
        _ => (1e12, "TB"),
    };
    format!("{:.1} {name}", bytes as f64 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_leaves_nothing_and_says_what_is_in_the_way() {
        let dir = tempfile::tempdir().expect("a directory");
        try_writing(dir.path()).expect("writable");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(try_writing(&file).expect_err("a file").kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn the_innermost_mount_counts_and_of_two_at_one_place_the_upper() {
        let table = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:2 / /Kafka\\040SSD rw shared:1 - xfs /dev/sdb1 rw
3 2 0:9 / /Kafka\\040SSD rw - tmpfs tmpfs rw";
        let of = |path: &str| innermost(table, Path::new(path)).expect("mounted").0;
        assert_eq!([of("/home"), of("/Kafka SSD/data"), of("/Kafka")], ["ext4", "tmpfs", "ext4"]);
    }

    #[test]
    fn sizes_are_shown_in_the_units_of_disks() {
        assert_eq!([shown(999), shown(1_500_000_000), shown(2_000_000_000_000)], ["0.0 MB", "1.5 GB", "2.0 TB"]);
    }
}
