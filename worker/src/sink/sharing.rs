//! Sinks that share a directory: allowed as long as no file could be of both.
//!
//! The check of the resources sees paths. Whether two of them are one directory (a link, a bind mount, another process) shows
//! only there: each sink leaves the names of its files in its own folder, and looks into the folders beside it and in the
//! directories above. Whose lock is held is at work.

use std::{
    fs::{self, File, TryLockError},
    io::Read,
    path::{Path, PathBuf},
};

use edgereel_crds::{check::FileNames, name::ObjectName, status::Reason};
use serde::{Deserialize, Serialize};

use super::{
    fault::OutputError,
    output::At,
    private_dir::{FOLDER, LOCK, lock_soon, place},
};

/// The file in a sink's folder.
const FILE: &str = "names.json";

/// What a sink says of itself to others.
#[derive(Serialize, Deserialize)]
struct Claim {
    sink: String,
    /// The output's directory, as this sink reaches it.
    directory: PathBuf,
    names: FileNames,
}

/// Says that the sink writes such names into `directory`, where its folder is and is locked.
///
/// # Errors
/// [`Reason::StorageLocked`] with the other sink when one is at work that could write a file of the same name.
pub fn claim(directory: &Path, sink: &ObjectName, names: &FileNames) -> Result<(), OutputError> {
    // One after another: of two that start at once, one is first.
    let turn = directory.join(FOLDER).join(LOCK);
    let file = File::options().create(true).append(true).open(&turn).at("open", &turn)?;
    match lock_soon(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is held by another sink that is starting: it is tried again", turn.display());
            return Err(OutputError::storage(Reason::StorageLocked, message));
        }
        Err(TryLockError::Error(e)) => return Err(OutputError::from_io("lock", &turn, &e)),
    }
    let own = directory.join(place(sink)?);
    let mut way = names.clone();
    let real = fs::canonicalize(directory).at("find", directory)?;
    for above in real.ancestors() {
        for other in others(above, &own) {
            if other.names.could_meet(&way) {
                return Err(clash(directory, sink, &other));
            }
        }
        if let Some(name) = above.file_name() {
            way = way.below(&name.to_string_lossy());
        }
    }
    let claim = Claim { sink: sink.to_string(), directory: directory.to_owned(), names: names.clone() };
    let text = serde_json::to_string(&claim).unwrap_or_default();
    let path = own.join(FILE);
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    match fs::write(&path, text).at("write", &path) {
        // A full disk must not keep the sink from starting: it has to say so and wait. What it said before is not true now.
        Err(OutputError::NoSpace { .. }) => fs::remove_file(&path).at("remove", &path),
        written => written,
    }
}

/// The sinks at work in a directory, but for the one whose folder this is. What cannot be read is nobody's claim.
fn others(directory: &Path, own: &Path) -> Vec<Claim> {
    let folders = fs::read_dir(directory.join(FOLDER)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mine = fs::canonicalize(own).ok();
    folders
        .filter(|folder| folder.is_dir() && fs::canonicalize(folder).ok() != mine && is_at_work(folder))
        .filter_map(|folder| {
            let mut text = String::new();
            File::open(folder.join(FILE)).ok()?.take(1 << 20).read_to_string(&mut text).ok()?;
            serde_json::from_str(&text).ok()
        })
        .collect()
}

/// Whether one of the sink's workers holds its lock.
fn is_at_work(folder: &Path) -> bool {
    let held = |folder: &Path| {
        File::open(folder.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    let replicas = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    held(folder) || replicas.filter(|path| path.is_dir()).any(|replica| held(&replica))
}

fn clash(directory: &Path, sink: &ObjectName, other: &Claim) -> OutputError {
    let Claim { sink: their_name, directory: theirs, .. } = other;
    let same = if directory == theirs { String::new() } else { format!(", which it reaches as {}", theirs.display()) };
    let message = format!(
        "FrameSink {their_name} writes files of the same names as FrameSink {sink} into {}{same}: give each sink its own \
         directory, or another `fileName`",
        directory.display()
    );
    OutputError::storage(Reason::StorageLocked, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::private_dir::PrivateDir;

    fn start(directory: &Path, name: &str, template: &str) -> Result<PrivateDir, OutputError> {
        let sink = ObjectName { namespace: "lab".into(), name: name.into() };
        let private = PrivateDir::open(directory, &sink, 0)?;
        claim(directory, &sink, &FileNames::new(template, &["gate".into()]))?;
        Ok(private)
    }

    #[test]
    fn one_directory_by_two_ways_is_refused_with_both_sinks_names_while_both_would_write() {
        let dir = tempfile::tempdir().expect("a directory");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).expect("made");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let template = "frame_{partition}-{offset}.jpg";
        let first = start(&real, "a", template).expect("alone");
        let error = start(&link, "b", template).expect_err("the same directory");
        assert!(matches!(error, OutputError::Storage { reason: Reason::StorageLocked, .. }), "{error:?}");
        let message = error.to_string();
        for part in ["lab/a", "lab/b", &real.display().to_string(), &link.display().to_string()] {
            assert!(message.contains(part), "{part} in {message}");
        }
        start(&link, "c", "other_{partition}-{offset}.jpg").expect("other names");
        drop(first);
        start(&link, "b", template).expect("the other has gone");
    }

    #[test]
    fn a_sink_further_up_whose_names_lead_here_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("gate");
        fs::create_dir(&below).expect("made");
        let _upper = start(dir.path(), "upper", "{topic}/{partition}-{offset}.jpg").expect("alone");
        let error = start(&below, "lower", "{partition}-{offset}.jpg").expect_err("the same files");
        assert!(error.to_string().contains("lab/upper"), "{error}");
        start(&below, "other", "x{partition}-{offset}.jpg").expect("other names");
    }

    #[test]
    fn a_sink_that_starts_again_is_not_in_its_own_way() {
        let dir = tempfile::tempdir().expect("a directory");
        for template in ["a_{partition}-{offset}.jpg", "b_{partition}-{offset}.jpg"] {
            start(dir.path(), "a", template).expect("alone");
        }
        let other = start(dir.path(), "b", "a_{partition}-{offset}.jpg");
        other.expect("the names are those of its last start");
    }
}
