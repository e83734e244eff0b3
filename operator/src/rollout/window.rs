//! When roll-outs may go on: from the moments of a cron expression, for a duration, in a time zone.

use std::time::Duration;

use edgereel_crds::{schedule::Schedule, units};
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::Deserialize;

/// A window as it is declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// When it opens: minute, hour, day of the month, month, day of the week.
    pub schedule: String,
    /// How long it stays open.
    pub duration: units::Duration,
    /// Whose clock that is, as in `Europe/Berlin`; else UTC's.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A window that is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    opens: Schedule,
    lasts: Duration,
}

impl TryFrom<MaintenanceWindow> for Window {
    type Error = String;

    fn try_from(given: MaintenanceWindow) -> Result<Self, String> {
        let MaintenanceWindow { schedule, duration, time_zone } = given;
        let opens = Schedule::read(&schedule, time_zone.as_deref()).map_err(|wrong| wrong.to_string())?;
        if duration.is_zero() {
            return Err("duration: a window that closes at once is none".into());
        }
        Ok(Window { opens, lasts: *duration })
    }
}

impl Window {
    /// Whether it is open; else when it opens next, if it ever does.
    ///
    /// # Errors
    /// It is closed.
    pub fn open(&self, now: Timestamp) -> Result<(), Option<Zoned>> {
        let lasts = SignedDuration::try_from(self.lasts).unwrap_or(SignedDuration::MAX);
        // One that opened within its duration is open still.
        let since = now.checked_sub(lasts).unwrap_or(Timestamp::MIN);
        let opened = self.opens.next(since).is_some_and(|opening| opening.timestamp() <= now);
        if opened { Ok(()) } else { Err(self.opens.next(now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(schedule: &str, duration: &str, zone: Option<&str>) -> Result<Window, String> {
        let duration = duration.parse().expect("a duration");
        Window::try_from(MaintenanceWindow { schedule: schedule.into(), duration, time_zone: zone.map(str::to_owned) })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn it_is_open_from_its_opening_for_its_duration() {
        let nightly = window("0 2 * * *", "2h", None).expect("a window");
        for (time, open) in [
            ("2024-06-04T01:59:59Z", false),
            ("2024-06-04T02:00:00Z", true),
            ("2024-06-04T03:59:59Z", true),
            ("2024-06-04T04:00:00Z", false),
            ("2024-06-04T12:00:00Z", false),
        ] {
            assert_eq!(nightly.open(at(time)).is_ok(), open, "{time}");
        }
        let next = nightly.open(at("2024-06-04T12:00:00Z")).expect_err("closed").expect("it opens again");
        assert_eq!(next.timestamp(), at("2024-06-05T02:00:00Z"));
    }

    #[test]
    fn it_goes_by_the_clock_of_its_zone_also_where_that_is_put_forward() {
        let berlin = window("0 3 * * SUN", "1h", Some("Europe/Berlin")).expect("a window");
        // The clocks went from 2:00 to 3:00 in the night to 2024-03-31.
        for (time, open) in [
            ("2024-03-24T02:00:00Z", true),
            ("2024-03-31T01:30:00Z", true),
            ("2024-03-31T02:00:00Z", false),
            ("2024-03-30T02:00:00Z", false),
        ] {
            assert_eq!(berlin.open(at(time)).is_ok(), open, "{time}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for (schedule, duration, zone, expected) in [
            ("nightly", "1h", None, "schedule: `nightly` has not five fields"),
            ("61 2 * * *", "1h", None, "schedule: `61 2 * * *` cannot be read"),
            ("0 0 30 2 *", "1h", None, "schedule: `0 0 30 2 *` never comes"),
            ("0 2 * * *", "0s", None, "duration: "),
            ("0 2 * * *", "1h", Some("Berlin"), "timeZone: there is no time zone `Berlin`; "),
        ] {
            let error = window(schedule, duration, zone).expect_err(schedule);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
