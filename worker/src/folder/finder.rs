//! Which files are to be looked at now: all that are there, then those that the system tells of, and now and then all again, for
//! network file systems tell of nothing.
//!
//! A file is at rest when its writer was seen to close it or it was renamed to its name; otherwise, when its size and time have
//! stayed for `settle`. (What was cut short shows in its bytes, whatever the times say.)

use std::{
    collections::{BTreeSet, HashMap},
    fs::Metadata,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use notify::{
    Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode},
};

use super::files::stamp;

/// With more hints than this, the whole folder is read anew.
const HINTS: usize = 10_000;
/// Reading the folder takes one part in so many of the time.
const SHARE: u32 = 20;

/// What the system told of.
#[derive(Debug, Default)]
pub struct Hints {
    /// Files that were closed after writing, or renamed, in full.
    pub closed: BTreeSet<PathBuf>,
    /// Something else happened: look through everything.
    pub all: bool,
}

/// Hints, as they come.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Hints>>);

impl Told {
    /// Takes all hints that there are.
    pub fn take(&self) -> Hints {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An event; says whether there is something new to be taken.
    fn tell(&self, event: notify::Result<Event>) -> bool {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let had = hints.all || !hints.closed.is_empty();
        match event {
            Err(_) => hints.all = true,
            Ok(event) if event.need_rescan() => hints.all = true,
            Ok(event) => match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => hints.closed.extend(event.paths),
                // What is in it may have come before it was watched.
                EventKind::Create(CreateKind::Folder) => hints.all = true,
                _ => {}
            },
        }
        if hints.closed.len() > HINTS {
            (hints.closed, hints.all) = (BTreeSet::new(), true);
        }
        !had && (hints.all || !hints.closed.is_empty())
    }
}

/// Has the system tell of what happens below a folder, and `wake` called when there is something new.
///
/// # Errors
/// Why it cannot: most often, that too many directories are watched (`fs.inotify.max_user_watches`).
pub fn watch(folder: &Path, told: &Told, wake: impl Fn() + Send + 'static) -> notify::Result<RecommendedWatcher> {
    let told = told.clone();
    let on_event = move |event| {
        if told.tell(event) {
            wake();
        }
    };
    let mut watcher = RecommendedWatcher::new(on_event, Config::default().with_follow_symlinks(false))?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Files that wait for their turn.
#[derive(Debug)]
pub struct Finder {
    settle: Duration,
    rescan: Duration,
    /// When all is looked through again; none: now.
    next: Option<Instant>,
    /// Each once, however often it was found.
    ready: BTreeSet<PathBuf>,
    /// Files that may be being written: as they were, and since when.
    settling: HashMap<PathBuf, (u64, Instant)>,
}

impl Finder {
    /// Nothing was looked at yet.
    pub fn new(settle: Duration, rescan: Duration) -> Self {
        Finder { settle, rescan, next: None, ready: BTreeSet::new(), settling: HashMap::new() }
    }

    /// Whether it is time to look through everything.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// Everything has to be looked through at once.
    pub fn look_again(&mut self) {
        self.next = None;
    }

    /// Everything was looked through, since `began`. A folder that takes long to be read is read more rarely.
    pub fn looked(&mut self, began: Instant, now: Instant) {
        self.next = Some(now + self.rescan.max((now - began) * SHARE));
    }

    /// Takes in a file that is not done yet. `closed`: its writer has closed it, or it was renamed.
    pub fn take_in(&mut self, path: PathBuf, meta: &Metadata, closed: bool, now: Instant) {
        let (stamp, age) =
            (stamp(meta), meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok()));
        let (was, since) = self.settling.get(&path).copied().unwrap_or((stamp, now));
        let since = if was == stamp { since } else { now };
        if closed || age.is_some_and(|age| age >= self.settle) || now.duration_since(since) >= self.settle {
            self.settling.remove(&path);
            self.ready.insert(path);
        } else {
            self.settling.insert(path, (stamp, since));
        }
    }

    /// A file changed while it was read.
    pub fn unsettled(&mut self, path: PathBuf, now: Instant) {
        self.settling.insert(path, (0, now));
    }

    /// The files that may be at rest by now.
    pub fn settled(&mut self, now: Instant) -> Vec<PathBuf> {
        let due = self.settling.iter().filter(|(_, (_, since))| now.duration_since(*since) >= self.settle);
        due.map(|(path, _)| path.clone()).collect()
    }

    /// It is not there any more.
    pub fn forget(&mut self, path: &Path) {
        self.settling.remove(path);
    }

    /// The next file to be read.
    pub fn take_out(&mut self) -> Option<PathBuf> {
        self.ready.pop_first()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.settling.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    /// When there is something to do without being told.
    pub fn wake_at(&self, now: Instant) -> Instant {
        let settled = self.settling.values().map(|(_, since)| *since + self.settle).min();
        let next = self.next.unwrap_or(now);
        settled.map_or(next, |settled| settled.min(next))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};

    use super::*;

    #[test]
    fn a_file_is_taken_when_it_has_stayed_as_it_is_or_was_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x");
        fs::write(&path, "1").expect("written");
        let file = File::options().append(true).open(&path).expect("open");
        let meta = || fs::metadata(&path).expect("there");
        let soon = SystemTime::now() + Duration::from_secs(600);
        file.set_times(FileTimes::new().set_modified(soon)).expect("set");
        let (start, mut finder) = (Instant::now(), Finder::new(Duration::from_secs(2), Duration::from_secs(60)));
        let at = |seconds| start + Duration::from_secs(seconds);
        let take = |finder: &mut Finder, closed, seconds| {
            finder.take_in("x".into(), &meta(), closed, at(seconds));
            finder.take_out()
        };
        assert_eq!((take(&mut finder, false, 0), finder.waiting()), (None, 1), "its clock says nothing");
        assert_eq!(take(&mut finder, false, 1), None);
        fs::write(&path, "12").expect("written");
        file.set_times(FileTimes::new().set_modified(soon)).expect("set");
        assert_eq!(take(&mut finder, false, 3), None, "it has grown");
        assert_eq!((finder.settled(at(4)), finder.settled(at(5))), (vec![], vec![PathBuf::from("x")]));
        assert_eq!(finder.wake_at(at(4)), at(4), "it was never looked through");
        assert_eq!(take(&mut finder, false, 5), Some("x".into()));
        assert_eq!(take(&mut finder, true, 6), Some("x".into()), "closed");
        (0..2).for_each(|_| finder.take_in("x".into(), &meta(), true, at(6)));
        assert_eq!((finder.take_out(), finder.take_out()), (Some("x".into()), None), "once, however often it is found");
        file.set_times(FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3))).expect("set");
        assert_eq!(take(&mut finder, false, 7), Some("x".into()), "old");
        finder.looked(at(0), at(10));
        assert_eq!(finder.wake_at(at(11)), at(10) + Duration::from_secs(200), "ten seconds in two hundred");
    }

    #[test]
    fn the_system_tells_of_files_that_are_closed_or_renamed_and_of_new_directories() {
        let dir = tempfile::tempdir().expect("a directory");
        let (told, (woken, wakes)) = (Told::default(), std::sync::mpsc::channel());
        let _watcher = watch(dir.path(), &told, move || woken.send(()).expect("listened to")).expect("watched");
        let next = || {
            wakes.recv_timeout(Duration::from_secs(30)).expect("woken");
            told.take()
        };
        fs::write(dir.path().join("a.png"), "a").expect("written");
        assert_eq!(next().closed.into_iter().collect::<Vec<_>>(), [dir.path().join("a.png")]);
        fs::rename(dir.path().join("a.png"), dir.path().join("b.png")).expect("renamed");
        assert_eq!(next().closed.into_iter().collect::<Vec<_>>(), [dir.path().join("b.png")]);
        fs::create_dir(dir.path().join("c")).expect("made");
        assert!(next().all);
    }
}
