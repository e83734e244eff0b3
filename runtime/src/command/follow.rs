//! Notices that files have changed, by looking at them.
//!
//! It looks instead of having the kernel tell: a mounted ConfigMap, an NFS directory and a disk are all the same then, and what is
//! looked at are some hundred files at most.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// How long from one look to the next. Files that differ have to be the same for two looks: whoever writes several of them, or one
/// in steps, has written them.
const INTERVAL: Duration = Duration::from_millis(500);
/// How deep directories are looked at.
const MAX_DEPTH: usize = 16;

/// Files, and how they were when they were looked at last.
#[derive(Debug)]
pub struct Follow {
    paths: Vec<PathBuf>,
    seen: Seen,
}

/// What tells a file from another one of its name: where it is on the disk, how large it is, and when it was written.
type Seen = BTreeMap<PathBuf, (u64, u64, i64, i64)>;

impl Follow {
    /// Of these files, and those in these directories, as they are now.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = look(&paths);
        Follow { paths, seen }
    }

    /// Waits until they are others than before, and stay so for a moment.
    pub async fn changed(&mut self) {
        let mut last = None;
        loop {
            sleep(INTERVAL).await;
            let paths = self.paths.clone();
            // Disks may block.
            let Ok(now) = tokio::task::spawn_blocking(move || look(&paths)).await else { continue };
            if now == self.seen {
                last = None;
            } else if last.as_ref() == Some(&now) {
                self.seen = now;
                return;
            } else {
                last = Some(now);
            }
        }
    }
}

fn look(paths: &[PathBuf]) -> Seen {
    let mut seen = Seen::new();
    paths.iter().for_each(|path| look_at(path, 0, &mut seen));
    seen
}

fn look_at(path: &Path, depth: usize, seen: &mut Seen) {
    // One that is just being replaced is there again at the next look.
    let Ok(metadata) = fs::metadata(path) else { return };
    if !metadata.is_dir() {
        seen.insert(path.to_owned(), (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()));
    } else if depth <= MAX_DEPTH {
        // A mounted ConfigMap keeps its versions in hidden directories, and links to the current one.
        let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| !hidden(path)).for_each(|path| look_at(&path, depth + 1, seen));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mounted_configuration_that_is_swapped_is_noticed_and_one_that_stays_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        // As the kubelet's AtomicWriter lays it out.
        let version = |name: &str, text: &str| {
            fs::create_dir(at(name)).expect("a directory");
            fs::write(at(name).join("a.yaml"), text).expect("a file");
            _ = fs::remove_file(at("..data"));
            symlink(name, at("..data")).expect("a link");
        };
        version("..1", "one");
        symlink("..data/a.yaml", at("a.yaml")).expect("a link");
        let mut follow = Follow::new(vec![dir.path().to_owned()]);
        assert!(timeout(INTERVAL * 10, follow.changed()).await.is_err(), "nothing happened");
        version("..2", "two");
        follow.changed().await;
        assert!(timeout(INTERVAL * 10, follow.changed()).await.is_err(), "once is enough");
        fs::remove_file(at("a.yaml")).expect("there");
        follow.changed().await;
    }
}
