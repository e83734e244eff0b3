//! One camera: a clock that makes a frame a tick, once for all clients, and only while there are any.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};

use super::fault::{Fault, Plan, Trigger};
use crate::synthetic::Pattern;

/// A frame as it leaves the camera.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Its number, from 0, without gaps.
    pub sequence: u64,
    /// When it was made.
    pub time: Timestamp,
    /// The picture.
    pub jpeg: Bytes,
    /// What is wrong with the camera at this frame.
    pub fault: Option<Fault>,
    /// There are no more.
    pub last: bool,
}

/// A camera.
#[derive(Debug)]
pub struct Camera {
    /// Its name, in the picture and the comment.
    pub name: String,
    pattern: Arc<Pattern>,
    half: OnceLock<Arc<Pattern>>,
    period: Duration,
    limit: Option<u64>,
    trigger: Mutex<Option<Trigger>>,
    latest: watch::Sender<Option<Shot>>,
    wake: Notify,
    /// How many frames were made.
    pub generated: AtomicU64,
    /// How many frames were sent, to all clients together.
    pub sent: AtomicU64,
    /// How many frames clients were too slow for.
    pub skipped: AtomicU64,
}

impl Camera {
    /// A camera that stands still until [`Camera::run`] and the first client. It ends after `limit` frames.
    pub fn new(name: String, pattern: Arc<Pattern>, period: Duration, limit: Option<u64>, fault: Option<Plan>) -> Self {
        Camera {
            name,
            pattern,
            half: OnceLock::new(),
            period,
            limit,
            trigger: Mutex::new(fault.map(Trigger::new)),
            latest: watch::Sender::new(None),
            wake: Notify::new(),
            generated: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Makes frames while there are clients; done after the last one.
    pub async fn run(&self) {
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for sequence in 0..self.limit.unwrap_or(u64::MAX) {
            // A stalled camera makes no frames, so that its numbers go on without a gap.
            loop {
                while self.clients() == 0 {
                    self.wake.notified().await;
                }
                ticks.tick().await;
                if self.clients() > 0 && self.fault() != Some(Fault::Stall) {
                    break;
                }
            }
            let time = Timestamp::now();
            let jpeg = self.pattern.frame(sequence, time, &self.name);
            let last = Some(sequence + 1) == self.limit;
            let shot = Shot { sequence, time, jpeg, fault: self.fault(), last };
            self.generated.store(sequence + 1, Relaxed);
            self.latest.send_replace(Some(shot));
        }
    }

    /// The camera's frames from the next one on. A slow reader finds the latest and misses those between.
    pub fn watch(&self) -> watch::Receiver<Option<Shot>> {
        let shots = self.latest.subscribe();
        self.wake.notify_one();
        shots
    }

    /// The last frame, once there are no more.
    pub fn over(&self) -> Option<Shot> {
        self.latest.borrow().clone().filter(|shot| shot.last)
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.latest.receiver_count()
    }

    /// Waits until there are no clients.
    pub async fn deserted(&self) {
        self.latest.closed().await;
    }

    /// What is wrong with the camera now.
    pub fn fault(&self) -> Option<Fault> {
        let mut trigger = self.trigger.lock().unwrap_or_else(PoisonError::into_inner);
        trigger.as_mut()?.active(self.generated.load(Relaxed), Instant::now())
    }

    /// A new frame outside the clock.
    pub fn picture(&self, sequence: u64, time: Timestamp) -> Bytes {
        self.pattern.frame(sequence, time, &self.name)
    }

    /// A shot as `fault` makes it look; `shown` is the picture that a frozen camera stands at.
    pub fn distorted(&self, shot: &Shot, fault: Fault, shown: (u64, Timestamp)) -> Bytes {
        match fault {
            Fault::Freeze => self.pattern.frozen(shown, shot.sequence, shot.time, &self.name),
            Fault::Resize => self.half().frame(shot.sequence, shot.time, &self.name),
            _ => shot.jpeg.clone(),
        }
    }

    fn half(&self) -> &Pattern {
        self.half.get_or_init(|| {
            let (width, height) = self.pattern.size();
            // A side that cannot be halved is doubled: the size has to change.
            let side = |side: u16| if side >= 128 { side / 32 * 16 } else { side * 2 };
            let third = self.picture(0, Timestamp::UNIX_EPOCH).len() / 3;
            let targets = std::iter::successors(Some(third), |bytes| Some(bytes * 2));
            let made = targets.take(16).find_map(|bytes| Pattern::new(side(width), side(height), bytes).ok());
            made.expect("a picture of an allowed size can be made, for enough bytes")
        })
    }
}
