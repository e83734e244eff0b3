//! What the log says of a camera: one line in a while, whatever it does. What is held back is counted, and a failure that
//! was held back is said later.

use std::time::{Duration, Instant};

use edgereel_runtime::throttle::Throttle;

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
    /// Since when it is.
    online: Option<Instant>,
}

impl Default for Lines {
    fn default() -> Self {
        Lines { all: Throttle::new(INTERVAL), untold: None, greeted: false, online: None }
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

    /// It works; `news` if it did not before. For how long it has worked, where the log says so now: not of a camera that
    /// comes and goes, and of one that comes back soon after another line, some seconds later.
    pub fn greeting(&mut self, news: bool, now: Instant) -> Option<Duration> {
        self.greeted &= !news;
        let since = *if news { self.online.insert(now) } else { self.online.get_or_insert(now) };
        if self.greeted || self.owes_a_failure(now) || self.all.allow(now).is_none() {
            return None;
        }
        self.greeted = true;
        Some(now - since)
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
        let now = Some(Duration::ZERO);
        assert_eq!(lines.greeting(true, at(0)), now);
        assert_eq!(lines.greeting(false, at(60)), None, "once is enough");
        assert_eq!(lines.failure(true, at(61)), Some(0));
        assert_eq!(lines.failure(false, at(90)), None, "nothing new");
        assert_eq!(lines.greeting(true, at(91)), now);
        assert_eq!(lines.failure(true, at(92)), None);
        assert_eq!(lines.greeting(true, at(93)), None);
        assert_eq!(lines.complaint(at(101)), None, "the failure goes first");
        assert_eq!(lines.failure(false, at(102)), Some(1));
        // One that is over for long holds nothing back.
        assert_eq!(lines.failure(true, at(103)), None);
        assert_eq!(lines.complaint(at(123)), Some(1));
    }

    #[test]
    fn a_camera_that_comes_back_soon_after_its_failure_was_said_is_greeted_later_with_since_when() {
        let (start, mut lines) = (Instant::now(), Lines::default());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(lines.failure(true, at(0)), Some(0));
        assert_eq!(lines.greeting(true, at(2)), None);
        assert_eq!(lines.greeting(false, at(9)), None);
        assert_eq!(lines.greeting(false, at(10)), Some(Duration::from_secs(8)));
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
                    _ => lines.greeting(news, now).is_some(),
                };
                if said {
                    prop_assert!(last.is_none_or(|last| now - last >= INTERVAL));
                    last = Some(now);
                }
            }
        }
    }
}
