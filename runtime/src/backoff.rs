//! The one retry policy: exponential, capped, with jitter.

use std::time::Duration;

use rand::Rng;

/// Delays that double from `initial` up to `cap`, each drawn evenly from its upper half so that many workers that lost
/// the same broker or switch do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// A policy that has seen no failure.
    pub fn new(initial: Duration, cap: Duration) -> Self {
        Backoff { initial, cap, failures: 0 }
    }

    /// The delay before the next try.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let full = self.initial.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.cap);
        self.failures = (self.failures + 1).min(31);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// The last try went well: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_never_leave_their_half() {
        let mut rng = rand::rng();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for full in [100, 200, 400, 800, 1000, 1000, 1000] {
            let delay = backoff.next(&mut rng).as_millis();
            assert!((full / 2..=full).contains(&delay), "{delay} ms is not in the upper half of {full} ms");
        }
        backoff.reset();
        assert!(backoff.next(&mut rng).as_millis() <= 100);
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let delays = (0..1000).map(|_| backoff.next(&mut rand::rng()));
        assert!(delays.into_iter().all(|d| d <= Duration::from_secs(30)));
    }
}
