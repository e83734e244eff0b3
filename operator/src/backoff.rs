//! The one backoff: each failure in a row doubles the wait, up to a cap, and no two waits are alike.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// However often it failed.
const MOST: Duration = Duration::from_secs(120);

/// How long to wait after so many failures before this one; `luck` is a random number from 0 to 1.
pub fn wait(failures: u32, luck: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.min(16)).min(MOST);
    doubled.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_cap_and_is_spread() {
        let at = |failures| wait(failures, 1.0);
        assert_eq!([at(0), at(1), at(2)], [1, 2, 4].map(Duration::from_secs));
        assert_eq!([at(7), at(60), at(u32::MAX)], [MOST; 3]);
        assert_eq!(wait(0, 0.0), Duration::from_millis(500));
    }
}
