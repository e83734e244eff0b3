//! When a frame was captured, as its record says: one answer for a record, whoever reads it and however often.
//!
//! File names hold the capture time, so it has to be a pure function of the record: with a clock in it, a frame that is
//! read again after a crash would be stored twice.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The capture time of a frame whose record names none.
pub const UNKNOWN: Timestamp = Timestamp::UNIX_EPOCH;
/// Before this, a clock was not set (many begin at 1970): 2000-01-01.
const SET: i64 = 946_684_800;
/// What is further ahead than this is no clock that is a little fast.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// A record's timestamp, which Kafka means in milliseconds. Micro- and nanoseconds, which some producers write, are told
/// by their size; -1 (none) and what no calendar holds is [`UNKNOWN`]. Any other time stands as it is.
pub fn of_record(timestamp: Option<i64>) -> Timestamp {
    let Some(n @ 0..) = timestamp else { return UNKNOWN };
    match n {
        // Milliseconds reach the year 5138 here.
        ..100_000_000_000_000 => Timestamp::from_millisecond(n).unwrap_or(UNKNOWN),
        _ => of_number(n).unwrap_or(UNKNOWN),
    }
}

/// A number that a producer wrote as a time: seconds, milliseconds, microseconds or nanoseconds since 1970, told by its
/// size; each from 1973 to 5138 (nanoseconds to 2262). Other numbers are no time.
pub fn of_number(n: i64) -> Option<Timestamp> {
    match n {
        100_000_000..100_000_000_000 => Timestamp::from_second(n).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(n).ok(),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(n).ok(),
        100_000_000_000_000_000.. => Timestamp::from_nanosecond(n.into()).ok(),
        _ => None,
    }
}

/// As [`of_number`], of a number with a fraction. (Nanoseconds have none that a double could hold.)
pub fn of_fraction(n: f64) -> Option<Timestamp> {
    match n {
        1e8..1e11 => Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs_f64(n)).ok(),
        1e11..9.2e18 => of_number(n as i64),
        _ => None,
    }
}

/// A text that names an instant: RFC 3339, or one of the [numbers](of_number). A local time without a zone names none.
pub fn of_text(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| of_number(text.parse().ok()?))
}

/// How old a frame is, where its capture time says so: not when the time is [`UNKNOWN`], of a clock that was never set, or
/// days ahead. A clock that is a little fast makes it no younger than new.
pub fn age(captured_at: Timestamp, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(captured_at);
    let told = captured_at.as_second() >= SET && age >= -AHEAD;
    told.then(|| Duration::try_from(age).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn a_records_time_is_read_in_whatever_unit_its_producer_wrote() {
        let cases = [
            (None, "1970-01-01T00:00:00Z"),
            (Some(-1), "1970-01-01T00:00:00Z"),
            (Some(i64::MIN), "1970-01-01T00:00:00Z"),
            (Some(0), "1970-01-01T00:00:00Z"),
            (Some(1_717_497_000), "1970-01-20T21:04:57Z"),
            (Some(1_717_497_000_500), "2024-06-04T10:30:00.5Z"),
            (Some(4_102_444_800_000), "2100-01-01T00:00:00Z"),
            (Some(1_717_497_000_500_250), "2024-06-04T10:30:00.50025Z"),
            (Some(1_717_497_000_500_250_125), "2024-06-04T10:30:00.500250125Z"),
            (Some(i64::MAX), "2262-04-11T23:47:16.854775807Z"),
        ];
        for (timestamp, expected) in cases {
            assert_eq!(of_record(timestamp), time(expected), "{timestamp:?}");
        }
    }

    #[test]
    fn a_number_is_a_time_in_the_unit_that_its_size_tells() {
        for n in [1_717_497_000, 1_717_497_000_000, 1_717_497_000_000_000, 1_717_497_000_000_000_000] {
            assert_eq!(of_number(n), Some(time("2024-06-04T10:30:00Z")), "{n}");
            assert_eq!(of_fraction(n as f64), of_number(n), "{n}");
            assert_eq!(of_text(&n.to_string()), of_number(n), "{n}");
        }
        for n in [i64::MIN, -1_717_497_000, -1, 0, 7, 99_999_999] {
            assert_eq!((of_number(n), of_fraction(n as f64)), (None, None), "{n}");
        }
        for n in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e19, f64::MAX] {
            assert_eq!(of_fraction(n), None, "{n}");
        }
        assert_eq!(of_fraction(1_717_497_000.5), Some(time("2024-06-04T10:30:00.5Z")));
    }

    #[test]
    fn a_time_that_says_nothing_of_a_frames_age_gives_none() {
        let now = time("2026-11-28T12:00:00Z");
        assert_eq!(age(time("2026-11-28T11:59:58Z"), now), Some(Duration::from_secs(2)));
        assert_eq!(age(time("2024-06-04T10:30:00Z"), now).map(|d| d.as_secs() / 86_400), Some(907), "old is old");
        assert_eq!(age(time("2026-11-28T12:00:03Z"), now), Some(Duration::ZERO), "a clock that is a little fast");
        for nonsense in [UNKNOWN, time("1970-01-20T21:04:57Z"), time("2100-01-01T00:00:00Z"), Timestamp::MIN] {
            assert_eq!(age(nonsense, now), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_a_time_or_none_and_never_panics(n: i64, f: f64, text in ".*", now in 0i64..4_102_444_800) {
            let _ = (of_fraction(f), of_text(&text));
            let at = of_record(Some(n));
            prop_assert!(at >= UNKNOWN);
            let _ = age(at, Timestamp::from_second(now).expect("in range"));
        }
    }
}
