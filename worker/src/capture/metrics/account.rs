//! What became of a camera's frames: captured = acknowledged + dropped + waiting, whenever somebody looks.
//!
//! A step changes several counters. Steps may go on side by side, but none while somebody looks, at one camera's
//! [`Account`] or at [all metrics](edgereel_runtime::metrics::Metrics::text).

use std::collections::BTreeMap;

use edgereel_frame::reasons::DropReason;
use prometheus_client::metrics::counter::Counter;

use super::CameraMetrics;

/// A camera's frames at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All that came.
    pub captured: u64,
    /// Those that Kafka acknowledged.
    pub acknowledged: u64,
    /// Those that did not reach it, by reason, without zeros.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Those of which it is not decided yet.
    pub waiting: u64,
}

impl Account {
    /// Dropped frames over all reasons.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

impl CameraMetrics {
    /// A frame of so many bytes came, goes on, and waits for its acknowledgement.
    pub fn take_in(&self, bytes: usize) {
        let _step = self.counting.step();
        self.captured.inc();
        self.forwarded.inc();
        self.forwarded_bytes.inc_by(bytes as u64);
        self.waiting.inc();
    }

    /// A frame came, and was dropped at once.
    pub fn refuse(&self, reason: DropReason) {
        let _step = self.counting.step();
        self.captured.inc();
        self.dropped(reason).inc();
    }

    /// A frame that waited was acknowledged.
    pub fn acknowledge(&self) {
        let _step = self.counting.step();
        self.waiting.dec();
        self.acknowledged.inc();
    }

    /// Frames that waited were dropped.
    pub fn give_up(&self, reason: DropReason, frames: u64) {
        if frames > 0 {
            let _step = self.counting.step();
            self.waiting.dec_by(frames as i64);
            self.dropped(reason).inc_by(frames);
        }
    }

    /// Frames that came so far.
    pub fn captured(&self) -> u64 {
        self.captured.get()
    }

    /// Frames that went on so far, and their bytes.
    pub fn forwarded(&self) -> (u64, u64) {
        (self.forwarded.get(), self.forwarded_bytes.get())
    }

    /// How all of them stand at this moment.
    pub fn account(&self) -> Account {
        let _still = self.counting.still();
        let dropped = DropReason::ALL.iter().map(|reason| (reason.as_str(), self.dropped(*reason).get()));
        Account {
            captured: self.captured.get(),
            acknowledged: self.acknowledged.get(),
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
            waiting: self.waiting.get().try_into().unwrap_or(0),
        }
    }

    fn dropped(&self, reason: DropReason) -> Counter {
        self.dropped.get_or_create(&self.resource.because(reason.as_str())).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use edgereel_crds::name::ObjectName;
    use edgereel_runtime::metrics::Metrics;

    use super::*;
    use crate::capture::metrics::CameraFamilies;

    #[test]
    fn whoever_looks_while_frames_come_and_go_sees_figures_that_fit() {
        let families = CameraFamilies::new(&mut Metrics::default());
        let camera = families.of(&ObjectName { namespace: "lab".into(), name: "gate".into() });
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for step in 0..2 {
                let (camera, done) = (&camera, &done);
                scope.spawn(move || {
                    for round in 0..20_000u64 {
                        camera.take_in(1);
                        match (round + step) % 3 {
                            0 => camera.acknowledge(),
                            1 => camera.give_up(DropReason::delivery_failed, 1),
                            _ => {
                                camera.refuse(DropReason::pacing);
                                camera.acknowledge();
                            }
                        }
                    }
                    done.store(true, Ordering::Release);
                });
            }
            while !done.load(Ordering::Acquire) {
                let account = camera.account();
                assert_eq!(account.captured, account.acknowledged + account.dropped_total() + account.waiting);
            }
        });
        assert_eq!(camera.account().waiting, 0);
    }
}
