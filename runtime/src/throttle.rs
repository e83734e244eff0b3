//! Log lines that could come thirty times a second, let through once in a while.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// As many different lines are told apart at once.
const LINES: usize = 64;

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

/// Lets each line through once per interval and counts how often it was held back. Lines that differ in their numbers
/// alone (times, addresses, ports, offsets) are the same.
#[derive(Debug)]
pub struct Throttles {
    interval: Duration,
    /// By the line's hash: when it was last let through, and how often it was held back since.
    lines: Mutex<HashMap<u64, (Instant, u64)>>,
}

impl Throttles {
    /// Each line at most once in `interval`.
    pub fn new(interval: Duration) -> Self {
        Throttles { interval, lines: Mutex::default() }
    }

    /// Whether this line may be written at `now`; if so, how often it was held back since the last time.
    pub fn allow(&self, line: &str, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let same = without_numbers(line);
        match lines.get_mut(&same) {
            Some((last, held)) if now.duration_since(*last) < self.interval => {
                *held += 1;
                None
            }
            Some(known) => Some(std::mem::replace(known, (now, 0)).1),
            None => {
                if lines.len() >= LINES
                    && let Some(oldest) = lines.iter().min_by_key(|(_, (last, _))| *last).map(|(line, _)| *line)
                {
                    lines.remove(&oldest);
                }
                lines.insert(same, (now, 0));
                Some(0)
            }
        }
    }
}

/// A hash of the line in which words with digits are alike: `10.0.0.1:9092`, `0x7f3a`, `12ms`.
fn without_numbers(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let number = word.contains(|c: char| c.is_ascii_digit());
        hasher.write(if number { b"#" } else { word.as_bytes() });
        hasher.write_u8(0xFF);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn one_line_an_interval_says_how_many_were_held_back() {
        let (start, throttle) = (Instant::now(), Throttle::new(INTERVAL));
        assert_eq!(throttle.allow(start), Some(0));
        assert_eq!(throttle.allow(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.allow(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.allow(start + Duration::from_secs(10)), Some(2));
    }

    #[test]
    fn a_flood_of_one_line_becomes_one_with_a_count_and_holds_no_other_back() {
        let (start, throttles) = (Instant::now(), Throttles::new(INTERVAL));
        let lost = |ms: u64| format!("127.0.0.1:{}/1: Disconnected (after {ms}ms in state UP)", 9092 + ms);
        assert_eq!(throttles.allow(&lost(0), start), Some(0));
        (1..50).for_each(|ms| assert_eq!(throttles.allow(&lost(ms), start), None));
        assert_eq!(throttles.allow("127.0.0.1:9092/1: SASL authentication error", start), Some(0));
        assert_eq!(throttles.allow(&lost(7), start + INTERVAL), Some(49));
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_make_no_other_line(a in any::<u64>(), b in any::<u32>(), host in any::<[u8; 4]>()) {
            let line = |n: u64, m: u32, [w, x, y, z]: [u8; 4]| {
                format!("ipv4#{w}.{x}.{y}.{z}:{m} failed at 0x{n:x}0: offset {n} after {m}ms")
            };
            prop_assert_eq!(without_numbers(&line(a, b, host)), without_numbers(&line(1, 2, [127, 0, 0, 1])));
        }

        #[test]
        fn memory_is_bounded_whatever_the_lines(lines in prop::collection::vec("[a-z]{1,12}", 0..300)) {
            let (start, throttles) = (Instant::now(), Throttles::new(INTERVAL));
            for (i, line) in lines.iter().enumerate() {
                throttles.allow(line, start + Duration::from_millis(i as u64));
                prop_assert!(throttles.lines.lock().expect("whole").len() <= LINES);
            }
        }
    }
}
