//! One temporary directory a process, for logs and data; kept, and its path printed, when a test fails.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{guard, process, unique};

const PREFIX: &str = "edgereel-tests-";
const FAILED: &str = "failed";

static KEEP: AtomicBool = AtomicBool::new(false);
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(dir) = CHOSEN.get() {
        guard::at_exit(end_children);
        return dir.clone();
    }
    sweep();
    let dir = std::env::temp_dir().join(unique(&format!("{PREFIX}{}", std::process::id())));
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}; set TMPDIR", dir.display()));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        keep();
    }));
    guard::at_exit(clean_up);
    dir
});

/// Takes this directory, which is there, instead of a temporary one; it is kept. Counts only before the first use.
pub fn choose(dir: PathBuf) {
    // A second choice has no effect.
    let _ = CHOSEN.set(dir);
}

/// This process's temporary directory.
pub fn root() -> &'static Path {
    &ROOT
}

/// A fresh directory in it.
pub fn dir(name: &str) -> PathBuf {
    let dir = root().join(unique(name));
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
    dir
}

/// Keeps the directory beyond this process and prints its path, once.
pub fn keep() {
    if !KEEP.swap(true, Ordering::Relaxed) {
        // Without the mark a later run sweeps it. If that cannot be written, then neither could logs.
        let _ = fs::write(root().join(FAILED), "");
        eprintln!("logs and data of this run are kept in {}", root().display());
    }
}

extern "C" fn end_children() {
    process::kill_all();
}

extern "C" fn clean_up() {
    process::kill_all();
    if !KEEP.load(Ordering::Relaxed) {
        // What cannot be removed is swept by the next run.
        let _ = fs::remove_dir_all(root());
    }
}

/// Removes what earlier processes left: those that were killed at once, those that failed after a day.
fn sweep() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some(tail) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)) else { continue };
        let Some(pid) = tail.split('-').next().and_then(|p| p.parse::<u32>().ok()) else { continue };
        let failed = fs::metadata(entry.path().join(FAILED)).and_then(|m| m.modified());
        let young = failed
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < Duration::from_secs(24 * 3600)));
        if !young && !Path::new(&format!("/proc/{pid}")).exists() {
            // Another run may sweep at the same time, or it belongs to another user.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
