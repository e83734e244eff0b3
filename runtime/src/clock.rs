//! Waits by the clock on the wall.

use std::{future::pending, time::Duration};

use jiff::{Timestamp, Zoned};

/// The clock is looked at so often: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(20);

/// Waits until the clock has passed this time; without one, for ever.
pub async fn passed(until: Option<&Zoned>, clock: impl Fn() -> Timestamp) {
    let Some(until) = until.map(Zoned::timestamp) else { return pending().await };
    loop {
        let left = Duration::try_from(until.duration_since(clock())).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
