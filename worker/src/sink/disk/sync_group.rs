//! One `syncfs` for all sinks of the process that wait for the same file system.
//!
//! A request is served by a run that begins after it. Requests that come while one runs share the next: with sixteen
//! sinks on a disk, two runs serve them all.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Runs that were begun and done, and whether one is under way.
#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    running: bool,
    /// Requests so far.
    #[cfg(test)]
    asked: u64,
    /// The last run that failed and how. A lost write is told once, and all who waited since have to hear of it.
    failed: Option<(u64, io::ErrorKind, String)>,
}

/// The requests for one file system.
#[derive(Debug, Default)]
struct Group {
    rounds: Mutex<Rounds>,
    changed: Condvar,
    /// Kept open, because the kernel tells a descriptor of write errors since it was opened.
    descriptor: OnceLock<File>,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a run that begins after this call, and makes it if nobody else does.
    fn request(&self, run: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.lock();
        let wanted = rounds.begun + 1;
        #[cfg(test)]
        {
            rounds.asked += 1;
        }
        while rounds.done < wanted {
            if rounds.running {
                rounds = self.changed.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.running = true;
            rounds.begun += 1;
            let mine = rounds.begun;
            drop(rounds);
            let result = run();
            rounds = self.lock();
            rounds.running = false;
            rounds.done = mine;
            if let Err(e) = result {
                rounds.failed = Some((mine, e.kind(), e.to_string()));
            }
            self.changed.notify_all();
        }
        match &rounds.failed {
            Some((round, kind, message)) if *round >= wanted => Err(io::Error::new(*kind, message.clone())),
            _ => Ok(()),
        }
    }
}

/// Syncs the file system that the directory is on.
pub fn sync(directory: &File) -> io::Result<()> {
    static GROUPS: OnceLock<Mutex<HashMap<u64, Arc<Group>>>> = OnceLock::new();
    let device = directory.metadata()?.dev();
    let group = {
        let mut groups = GROUPS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry(device).or_default().clone()
    };
    if group.descriptor.get().is_none() {
        let _ = group.descriptor.set(directory.try_clone()?);
    }
    let descriptor = group.descriptor.get().unwrap_or(directory);
    group.request(|| Ok(nix::unistd::syncfs(descriptor)?))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        sync::mpsc,
        thread,
    };

    use super::*;

    #[test]
    fn requests_that_come_during_a_run_share_the_next_one() {
        let group = Group::default();
        let runs = AtomicUsize::new(0);
        let (running, is_running) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (group, runs) = (&group, &runs);
            scope.spawn(move || {
                group.request(|| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    running.send(()).expect("listening");
                    wait.recv().map_err(io::Error::other)
                })
            });
            is_running.recv().expect("the first run begins");
            for _ in 0..5 {
                scope.spawn(move || {
                    group.request(|| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
            while group.lock().asked < 6 {
                thread::yield_now();
            }
            release.send(()).expect("waiting");
        });
        assert_eq!(runs.load(Ordering::SeqCst), 2, "one for the first, one for the five that came meanwhile");
    }

    #[test]
    fn a_failure_reaches_those_who_waited_for_it_and_nobody_later() {
        let group = Group::default();
        let error = group.request(|| Err(io::Error::from(io::ErrorKind::StorageFull))).expect_err("fails");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        group.request(|| Ok(())).expect("the next is a new one");
    }

    #[test]
    fn a_real_file_system_is_synced() {
        let dir = tempfile::tempdir().expect("a directory");
        sync(&File::open(dir.path()).expect("open")).expect("synced");
    }
}
