//! One `syncfs` for all sinks of the process that wait for the same file system, and an error of it for every sink that it
//! may concern.
//!
//! A request is served by a run that begins after it. Requests that come while one runs share the next: with sixteen
//! sinks on a disk, two runs serve them all.
//!
//! **Errors.** The kernel tells a descriptor once that a write was lost, and not whose it was. The run that hears of it may
//! be another sink's, long before the sink whose pages are lost asks. So a run that fails is held against every
//! [`Participant`] that was there when it ended, not only against those that waited for it. What a run reports may have been
//! written at any time before its end, also while it ran.
//!
//! **A participant that has failed stays failed.** What the kernel gave up on counts as clean: a second `syncfs` would be
//! content, and the bytes would still not be there. Only what is written again may be committed; the sink therefore starts
//! anew, with a new participant, and reads again from its committed offset.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
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
    /// The last run that failed, and how.
    failed: Option<(u64, io::ErrorKind, String)>,
}

/// The requests for one file system.
#[derive(Debug)]
struct Group {
    rounds: Mutex<Rounds>,
    changed: Condvar,
    /// Kept open as long as there are participants, because the kernel tells a descriptor of write errors since it was
    /// opened (since Linux 5.8), and no longer, because a file system with an open descriptor cannot be unmounted.
    descriptor: File,
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file systems that are written to, each as long as it has participants.
#[derive(Clone, Default)]
pub struct SyncGroups(Arc<Mutex<HashMap<u64, Weak<Group>>>>);

impl SyncGroups {
    /// Those of the process.
    pub fn of_the_process() -> Self {
        static GROUPS: OnceLock<SyncGroups> = OnceLock::new();
        GROUPS.get_or_init(SyncGroups::default).clone()
    }

    /// Takes part in the syncs of the file system that the directory is on. To be called before the first write: the
    /// errors of what is written from now on are heard of.
    pub fn join(&self, directory: &File) -> io::Result<Participant> {
        let device = directory.metadata()?.dev();
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        let group = match groups.get(&device).and_then(Weak::upgrade) {
            Some(group) => group,
            None => {
                // A descriptor of its own: one that was duplicated would share what has been told with its other uses.
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let descriptor = File::from(openat(directory, ".", flags, Mode::empty())?);
                let group = Arc::new(Group { rounds: Mutex::default(), changed: Condvar::new(), descriptor });
                groups.insert(device, Arc::downgrade(&group));
                group
            }
        };
        // What ended before this is not ours. A run that is under way may end with an error of what we write meanwhile.
        let joined = group.lock().done;
        Ok(Participant { group, joined })
    }
}

/// A sink's part in the syncs of its file system.
#[derive(Clone, Debug)]
pub struct Participant {
    group: Arc<Group>,
    /// The last run that had ended when it joined.
    joined: u64,
}

impl Participant {
    /// Makes everything on the file system durable that was written before this call; `allow` is asked before each run.
    ///
    /// # Errors
    /// When any run has failed since this participant joined: then what it wrote may be lost.
    pub fn sync(&self, allow: impl Fn() -> io::Result<()>) -> io::Result<()> {
        self.request(|| allow().and_then(|()| Ok(nix::unistd::syncfs(&self.group.descriptor)?)))
    }

    /// Waits for a run that begins after this call, and makes it if nobody else does.
    fn request(&self, run: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let Group { changed, .. } = &*self.group;
        let mut rounds = self.group.lock();
        let wanted = rounds.begun + 1;
        #[cfg(test)]
        {
            rounds.asked += 1;
        }
        while rounds.done < wanted {
            if rounds.running {
                rounds = changed.wait(rounds).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.running = true;
            rounds.begun += 1;
            let mine = rounds.begun;
            drop(rounds);
            let result = run();
            rounds = self.group.lock();
            rounds.running = false;
            rounds.done = mine;
            if let Err(e) = result {
                rounds.failed = Some((mine, e.kind(), e.to_string()));
            }
            changed.notify_all();
        }
        match &rounds.failed {
            Some((round, kind, message)) if *round > self.joined => Err(io::Error::new(*kind, message.clone())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
        sync::mpsc,
        thread,
    };

    use super::*;

    fn join(groups: &SyncGroups, directory: &Path) -> Participant {
        groups.join(&File::open(directory).expect("open")).expect("joined")
    }

    fn eio() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    #[test]
    fn requests_that_come_during_a_run_share_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let member = join(&SyncGroups::default(), dir.path());
        let runs = AtomicUsize::new(0);
        let (running, is_running) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (member, runs) = (&member, &runs);
            scope.spawn(move || {
                member.request(|| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    running.send(()).expect("listening");
                    wait.recv().map_err(io::Error::other)
                })
            });
            is_running.recv().expect("the first run begins");
            for _ in 0..5 {
                scope.spawn(move || {
                    member.request(|| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
            while member.group.lock().asked < 6 {
                thread::yield_now();
            }
            release.send(()).expect("waiting");
        });
        assert_eq!(runs.load(Ordering::SeqCst), 2, "one for the first, one for the five that came meanwhile");
    }

    #[test]
    fn a_failure_reaches_everyone_who_was_there_and_nobody_who_comes_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let groups = SyncGroups::default();
        let (asks, waits) = (join(&groups, dir.path()), join(&groups, dir.path()));
        waits.request(|| Ok(())).expect("nothing was lost yet");
        assert!(asks.request(eio).is_err());
        let later = join(&groups, dir.path());
        for attempt in 0..2 {
            assert!(waits.request(|| Ok(())).is_err(), "the pages that were lost may be this one's ({attempt})");
            assert!(asks.request(|| Ok(())).is_err(), "a sync that is repeated proves nothing ({attempt})");
        }
        later.request(|| Ok(())).expect("it wrote after that");
    }

    #[test]
    fn a_run_that_is_under_way_when_a_sink_joins_may_end_with_its_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let groups = SyncGroups::default();
        let first = join(&groups, dir.path());
        let (running, is_running) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = &first;
            let run = scope.spawn(move || {
                first.request(|| {
                    running.send(()).expect("listening");
                    wait.recv().map_err(io::Error::other).and(eio())
                })
            });
            is_running.recv().expect("it runs");
            let second = join(&groups, dir.path());
            release.send(()).expect("waiting");
            assert!(run.join().expect("no panic").is_err());
            assert!(second.request(|| Ok(())).is_err(), "it wrote while the run went on");
        });
    }

    #[test]
    fn a_file_system_is_let_go_with_its_last_sink() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || {
            let fds = std::fs::read_dir("/proc/self/fd").expect("Linux");
            fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).filter(|path| path == dir.path()).count()
        };
        let groups = SyncGroups::default();
        let (one, other) = (join(&groups, dir.path()), join(&groups, dir.path()));
        assert_eq!(open(), 1, "one descriptor serves both");
        one.sync(|| Ok(())).expect("synced");
        drop(one);
        assert_eq!(open(), 1, "the other still writes");
        drop(other);
        assert_eq!(open(), 0, "it can be unmounted");
        join(&groups, dir.path()).sync(|| Ok(())).expect("and used again");
    }
}
