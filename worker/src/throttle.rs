//! Log lines that could come thirty times a second, let through once in a while.

use std::{
    sync::Mutex,
    sync::PoisonError,
    time::{Duration, Instant},
};

/// Lets one line through per interval and counts the others.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    inner: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// At most one line in `interval`.
    pub const fn new(interval: Duration) -> Self {
        Throttle { interval, inner: Mutex::new((None, 0)) }
    }

    /// Whether a line may be written at `now`; if so, how many were held back since the last one.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held) = *inner;
        if last.is_some_and(|last| now.duration_since(last) < self.interval) {
            inner.1 += 1;
            return None;
        }
        *inner = (Some(now), 0);
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval_says_how_many_were_held_back() {
        let (start, throttle) = (Instant::now(), Throttle::new(Duration::from_secs(10)));
        assert_eq!(throttle.allow(start), Some(0));
        assert_eq!(throttle.allow(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.allow(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.allow(start + Duration::from_secs(10)), Some(2));
    }
}
