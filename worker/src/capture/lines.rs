//! What the log says of a camera: one line in a while, whatever it does. What is held back is counted, and a failure that
//! was held back is said later.

use std::time::{Duration, Instant};

use crate::throttle::Throttle;

/// One line of all kinds in this time.
const INTERVAL: Duration = Duration::from_secs(10);

/// Decides which lines are written.
#[derive(Debug)]
pub struct Lines {
    all: Throttle,
    /// When a failure was news and was not said. It goes before all else, for a while.
    untold: Option<Instant>,
    /// Whether the log says that the camera is online.
    greeted: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Lines { all: Throttle::new(INTERVAL), untold: None, greeted: false }
    }
}

impl Lines {
    /// Something that goes on while the camera works: whether it is said now, and how many lines were held back.
    pub fn complaint(&self, now: Instant) -> Option<u64> {
        if self.owes_a_failure(now) { None } else { self.all.allow(now) }
    }

    fn owes_a_failure(&self, now: Instant) -> bool {
        self.untold.is_some_and(|since| now.duration_since(since) < 2 * INTERVAL)
    }

    /// A connection failed; `news` if not for the same reason as the one before.
    pub fn failure(&mut self, news: bool, now: Instant) -> Option<u64> {
        if !news && !self.owes_a_failure(now) {
            return None;
        }
        let held = self.all.allow(now);
        self.untold = held.is_none().then_some(now);
        held
    }

    /// It works; `news` if it did not before. Whether the log says so now: not of a camera that comes and goes.
    pub fn greeting(&mut self, news: bool, now: Instant) -> bool {
        self.greeted &= !news;
        if self.greeted || self.owes_a_failure(now) || self.all.allow(now).is_none() {
            return false;
        }
        self.greeted = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_failure_that_was_held_back_is_said_later_and_before_any_greeting() {
        let (start, mut lines) = (Instant::now(), Lines::default());
        let at = |s| start + Duration::from_secs(s);
        assert!(lines.greeting(true, at(0)));
        assert!(!lines.greeting(false, at(60)), "once is enough");
        assert_eq!(lines.failure(true, at(61)), Some(0));
        assert_eq!(lines.failure(false, at(90)), None, "nothing new");
        assert!(lines.greeting(true, at(91)));
        assert_eq!(lines.failure(true, at(92)), None);
        assert!(!lines.greeting(true, at(93)));
        assert_eq!(lines.complaint(at(101)), None, "the failure goes first");
        assert_eq!(lines.failure(false, at(102)), Some(1));
        // One that is over for long holds nothing back.
        assert_eq!(lines.failure(true, at(103)), None);
        assert_eq!(lines.complaint(at(123)), Some(1));
    }

    proptest! {
        #[test]
        fn whatever_a_camera_does_there_is_one_line_in_ten_seconds(
            events in prop::collection::vec((0u64..3000, 0u8..3, any::<bool>()), 0..300)
        ) {
            let (start, mut lines) = (Instant::now(), Lines::default());
            let (mut now, mut last) = (start, None::<Instant>);
            for (gap, kind, news) in events {
                now += Duration::from_millis(gap);
                let said = match kind {
                    0 => lines.complaint(now).is_some(),
                    1 => lines.failure(news, now).is_some(),
                    _ => lines.greeting(news, now),
                };
                if said {
                    prop_assert!(last.is_none_or(|last| now - last >= INTERVAL));
                    last = Some(now);
                }
            }
        }
    }
}
