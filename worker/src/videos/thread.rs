//! The thread that reads, as seen from the one that sends: what it is asked for, what it tells, and what becomes of it when its disk
//! hangs. Nothing else asks the disk for files.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SendError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use edgereel_runtime::fault::Fault;

use super::{
    listing::{self, Found, Sought, Unit},
    progress::Progress,
    reader::{Known, Reader, Said},
};
use crate::folder::ledger::Id;

/// How often a file that is being written is looked at.
const PULSE: Duration = Duration::from_millis(50);

/// A thread that was given up while its read hung: no other reads as long as it does.
#[derive(Clone, Debug, Default)]
pub struct Hung(Arc<Mutex<Option<JoinHandle<()>>>>);

impl Hung {
    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one is waited for no longer.
    pub fn leave(&self, thread: JoinHandle<()>) {
        *self.lock() = Some(thread);
    }

    /// Whether it still hangs.
    pub fn hangs(&self) -> bool {
        self.lock().as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// How far files have come, for the thread that reads as well.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    /// These.
    pub fn new(progress: Progress) -> Self {
        Shared(Arc::new(Mutex::new(progress)))
    }

    /// For one thread at a time.
    pub fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known for Shared {
    fn is_done(&self, path: &Path, stamp: u64) -> bool {
        self.lock().is_done(path, stamp)
    }

    fn next(&self, path: &Path, id: Id) -> Option<u64> {
        let progress = self.lock();
        (!progress.was_done(path, id)).then(|| progress.next(id))
    }
}

/// What is to be read.
pub enum Todo {
    /// What is found.
    All(Sought),
    /// These.
    These(Vec<Unit>),
}

/// What the thread that reads tells.
pub enum Heard {
    /// So many files are there, and these directories could not be read.
    Found {
        /// How many.
        files: u64,
        /// Which, and why.
        unreadable: Vec<(PathBuf, String)>,
    },
    /// A file is being written, and waited for.
    Waits,
    /// Of what is read.
    Said(Said),
    /// The folder itself cannot be read.
    Fault(Fault),
    /// That was all.
    Over,
}

/// Everything that asks the disk for files: it may hang.
pub fn read_all(
    reader: &Reader<Shared>,
    todo: Todo,
    settle: Duration,
    say: &SyncSender<Heard>,
) -> Result<(), SendError<Heard>> {
    let units = match todo {
        Todo::These(units) => units,
        Todo::All(sought) => match listing::list(&reader.folder, &sought) {
            Ok(Found { units, unreadable }) => {
                let files = units.iter().map(|unit| unit.files().len() as u64).sum();
                say.send(Heard::Found { files, unreadable })?;
                units
            }
            Err(fault) => return say.send(Heard::Fault(fault)),
        },
    };
    for unit in &units {
        for path in unit.files() {
            while let Some(left) = unsettled(reader, path, settle) {
                say.send(Heard::Waits)?;
                thread::sleep(left.min(PULSE));
            }
        }
        if !reader.read(unit, &mut |said| say.send(Heard::Said(said)).is_ok()) {
            return Ok(());
        }
    }
    say.send(Heard::Over)
}

/// How long a file has to be left alone to count as written.
fn unsettled(reader: &Reader<Shared>, path: &Path, settle: Duration) -> Option<Duration> {
    let changed = reader.folder.look(path).and_then(|meta| meta.modified().ok())?;
    // One whose clock is ahead says nothing.
    let age = SystemTime::now().duration_since(changed).ok()?;
    settle.checked_sub(age).filter(|left| !left.is_zero())
}
