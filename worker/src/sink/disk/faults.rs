//! Disks that fail, for tests.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use super::{Call, Faults};

/// The process ends after so many bytes: from then on nothing on the disk changes any more. Calls without bytes count as
/// one.
pub struct CrashAfter(pub AtomicU64);

impl Faults for CrashAfter {
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        let size = match call {
            Call::Append(n) | Call::Patch(n) => n as u64,
            _ => 1,
        };
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(size), Ordering::Relaxed);
        if size <= left { Ok(()) } else { Err((left as usize, io::Error::other("crashed"))) }
    }
}

/// A disk with so many bytes free, as long as the switch is on.
pub struct Full {
    /// The switch.
    pub on: AtomicBool,
    /// Bytes.
    pub free: AtomicU64,
}

impl Faults for Full {
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        let (Call::Append(n), true) = (call, self.on.load(Ordering::Relaxed)) else { return Ok(()) };
        let free = self.free.load(Ordering::Relaxed);
        if n as u64 <= free {
            self.free.store(free - n as u64, Ordering::Relaxed);
            return Ok(());
        }
        Err((free as usize, io::ErrorKind::StorageFull.into()))
    }
}

/// The n-th call (from zero) fails; where it is a write, after half of its bytes.
pub struct FailAt {
    calls_left: AtomicI64,
    kind: io::ErrorKind,
    for_good: bool,
}

impl FailAt {
    /// `for_good`: all later calls fail too, as on a machine that died.
    pub fn new(call: i64, kind: io::ErrorKind, for_good: bool) -> Self {
        FailAt { calls_left: AtomicI64::new(call), kind, for_good }
    }
}

impl Faults for FailAt {
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        let half = match call {
            Call::Append(n) | Call::Patch(n) => n / 2,
            _ => 0,
        };
        match self.calls_left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => Ok(()),
            left if left == 0 || self.for_good => Err((half, self.kind.into())),
            _ => Ok(()),
        }
    }
}

/// A disk that loses writes: the next sync of this kind fails, once, as the kernel tells it.
pub struct LosesWrites {
    /// Which sync hears of it.
    pub call: Call,
    /// Whether writes were lost that nobody has heard of yet.
    pub lost: AtomicBool,
}

impl Faults for LosesWrites {
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        let heard = call == self.call && self.lost.swap(false, Ordering::SeqCst);
        // EIO
        if heard { Err((0, io::Error::from_raw_os_error(5))) } else { Ok(()) }
    }
}

/// Counts the syncs: of single files and directories, and of the file system.
#[derive(Default)]
pub struct CountSyncs {
    single: AtomicU64,
    whole: AtomicU64,
}

impl CountSyncs {
    /// Both counts.
    pub fn counts(&self) -> (u64, u64) {
        (self.single.load(Ordering::SeqCst), self.whole.load(Ordering::SeqCst))
    }
}

impl Faults for CountSyncs {
    fn check(&self, call: Call) -> Result<(), (usize, io::Error)> {
        match call {
            Call::Sync => self.single.fetch_add(1, Ordering::SeqCst),
            Call::SyncFileSystem => self.whole.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        Ok(())
    }
}
