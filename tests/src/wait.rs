//! Awaiting a condition: no test sleeps for a fixed time.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// Between two looks: short against what tests wait for, long against what a look costs.
const PAUSE: Duration = Duration::from_millis(20);
/// The same where each look asks a cluster, which takes seconds to get anywhere.
const LONG_PAUSE: Duration = Duration::from_millis(250);

/// Waits until the condition holds.
///
/// # Panics
/// With `what`, when it does not hold in time.
#[track_caller]
pub fn until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    until_ok(what, timeout, || if condition() { Ok(()) } else { Err("not yet") });
}

/// Waits until this is `Ok` and gives its value.
///
/// # Panics
/// With `what` and the last error, when it is not `Ok` in time.
#[track_caller]
pub fn until_ok<T, E: Display>(what: &str, timeout: Duration, look: impl FnMut() -> Result<T, E>) -> T {
    match try_until(timeout, look) {
        Ok(value) => value,
        Err(last) => panic!("{}", in_vain(what, timeout, last)),
    }
}

/// [`until_ok`] with fewer looks, for what takes seconds and where a look costs something.
///
/// # Panics
/// With `what` and the last error, when it is not `Ok` in time.
#[track_caller]
pub fn slowly<T, E: Display>(what: &str, timeout: Duration, look: impl FnMut() -> Result<T, E>) -> T {
    match try_with(LONG_PAUSE, timeout, look) {
        Ok(value) => value,
        Err(last) => panic!("{}", in_vain(what, timeout, last)),
    }
}

fn in_vain(what: &str, timeout: Duration, last: impl Display) -> String {
    format!("waited {timeout:?} in vain until {what}; last seen: {last}")
}

/// Waits until this is `Ok`; when it is not in time, gives the last error. It is tried at least once.
pub fn try_until<T, E>(timeout: Duration, look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    try_with(PAUSE, timeout, look)
}

fn try_with<T, E>(pause: Duration, timeout: Duration, mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + timeout;
    loop {
        let late = Instant::now() >= deadline;
        match look() {
            Ok(value) => return Ok(value),
            Err(last) if late => return Err(last),
            Err(_) => thread::sleep(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_waiting() {
        let mut looks = 0;
        until("three looks", Duration::from_secs(10), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    fn waiting_in_vain_says_what_for_and_what_was_seen_last() {
        let last = try_until(Duration::ZERO, || Err::<(), _>("no wings")).expect_err("never");
        let said = in_vain("pigs fly", Duration::from_secs(1), last);
        assert_eq!(said, "waited 1s in vain until pigs fly; last seen: no wings");
    }
}
