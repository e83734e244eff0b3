//! So many bytes a second, in the mean.

use std::time::Duration;

use tokio::time::Instant;

/// Says when the next bytes may go.
pub struct Pace {
    rate: Option<u64>,
    next: Instant,
}

impl Pace {
    /// A pace of so many bytes a second, or none.
    pub fn new(rate: Option<u64>) -> Self {
        Pace { rate: rate.filter(|rate| *rate > 0), next: Instant::now() }
    }

    /// These bytes are about to go: when they may. What was not used before is lost.
    pub fn take(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        let at = self.next.max(now);
        self.next = at + Duration::from_secs_f64(bytes as f64 / rate as f64);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_waits_for_what_went_before_and_a_pause_saves_nothing_up() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1000));
        let mut seconds = |bytes, at: u64| {
            let now = start + Duration::from_secs(at);
            (pace.take(bytes, now) - start).as_secs_f64().round() as u64
        };
        assert_eq!([seconds(5000, 0), seconds(1000, 0), seconds(1000, 1)], [0, 5, 6]);
        assert_eq!([seconds(1000, 100), seconds(0, 100)], [100, 101], "after a pause it is not made up for");
        assert_eq!(Pace::new(None).take(1 << 40, start), start);
    }
}
