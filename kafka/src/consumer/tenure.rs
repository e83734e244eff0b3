//! How long this worker's right to its partitions lasts.
//!
//! Two things end it: the group takes the partitions away (the generation moves on), or the consumer was not polled for
//! so long that the group must have given this worker up: a process that was stopped (SIGSTOP, a suspended laptop, a
//! paused container) runs on without knowing what happened meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Milliseconds since boot, counting time spent suspended.
pub fn boot_time_ms() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .map(|t| Duration::from(t).as_millis() as u64)
        .unwrap_or_default()
}

/// The generation that may write and until when, as the consumer's thread keeps them. All clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Tenure {
    /// The generation that may write now. Odd while partitions are assigned, even between assignments.
    pub generation: Arc<AtomicU64>,
    /// Milliseconds on the boot-time clock.
    pub valid_until: Arc<AtomicU64>,
}

impl Tenure {
    /// A new assignment: its generation.
    pub fn begin(&self) -> u64 {
        let next = (self.generation.load(Ordering::Acquire) + 1) | 1;
        self.generation.store(next, Ordering::Release);
        next
    }

    /// The assignment is over: whoever holds its generation may write no more.
    pub fn end(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        self.generation.store(generation + generation % 2, Ordering::Release);
    }

    /// Whether this generation may commit now.
    pub fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
            && boot_time_ms() < self.valid_until.load(Ordering::Acquire)
    }
}

/// Sees gaps in the polling and extends the tenure while there are none.
#[derive(Debug)]
pub struct PollClock {
    tenure: Tenure,
    limit_ms: u64,
    last_ms: u64,
}

impl PollClock {
    /// A clock that allows `limit` between two polls: the group's session timeout less what a heartbeat may be late.
    pub fn new(tenure: Tenure, limit: Duration, now_ms: u64) -> Self {
        let clock = PollClock { tenure, limit_ms: limit.as_millis() as u64, last_ms: now_ms };
        clock.tenure.valid_until.store(now_ms + clock.limit_ms, Ordering::Release);
        clock
    }

    /// Call at each poll. After a gap the tenure is not extended (it has ended by itself) and the gap is returned: the
    /// worker has to join the group anew, since its session may have gone while it slept.
    pub fn tick(&mut self, now_ms: u64) -> Result<(), Duration> {
        let gap = now_ms.saturating_sub(self.last_ms);
        if gap >= self.limit_ms {
            return Err(Duration::from_millis(gap));
        }
        self.restart(now_ms);
        Ok(())
    }

    /// Starts counting anew, where no assignment is held that a gap could have ended.
    pub fn restart(&mut self, now_ms: u64) {
        self.last_ms = now_ms;
        self.tenure.valid_until.store(now_ms + self.limit_ms, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_assignment_may_write() {
        let tenure = Tenure::default();
        tenure.valid_until.store(u64::MAX, Ordering::Release);
        let first = tenure.begin();
        assert!(tenure.is_current(first));
        tenure.end();
        assert!(!tenure.is_current(first));
        tenure.end();
        let second = tenure.begin();
        assert!(second > first && tenure.is_current(second) && !tenure.is_current(first));
        let third = tenure.begin();
        assert!(tenure.is_current(third) && !tenure.is_current(second));
    }

    #[test]
    fn a_worker_that_slept_past_its_session_gets_no_more_time() {
        let tenure = Tenure::default();
        let mut clock = PollClock::new(tenure.clone(), Duration::from_secs(7), 1000);
        assert_eq!(clock.tick(7999), Ok(()));
        assert_eq!(tenure.valid_until.load(Ordering::Acquire), 14_999);
        assert_eq!(clock.tick(14_999), Err(Duration::from_secs(7)));
        assert_eq!(tenure.valid_until.load(Ordering::Acquire), 14_999, "not extended");
    }
}
