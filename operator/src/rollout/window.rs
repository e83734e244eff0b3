//! When roll-outs may go on: from the moments of a cron expression, for a duration, in a time zone.

use std::time::Duration;

use cronexpr::Crontab;
use edgereel_crds::units;
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
#[derive(Clone, Debug)]
pub struct Window {
    text: String,
    opens: Crontab,
    lasts: Duration,
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.lasts) == (&other.text, other.lasts)
    }
}

impl TryFrom<MaintenanceWindow> for Window {
    type Error = String;

    fn try_from(given: MaintenanceWindow) -> Result<Self, String> {
        let MaintenanceWindow { schedule, duration, time_zone } = given;
        let zone = time_zone.unwrap_or_else(|| "UTC".into());
        if jiff::tz::TimeZone::get(&zone).is_err() {
            return Err(format!("timeZone: there is no `{zone}`; it is a name such as `Europe/Berlin`"));
        }
        if schedule.split_whitespace().count() != 5 {
            return Err(format!("schedule: `{schedule}` has not five fields, as in `0 2 * * *` for two at night"));
        }
        let text = format!("{schedule} {zone}");
        let opens = cronexpr::parse_crontab(&text).map_err(|e| format!("schedule: `{schedule}`: {e}"))?;
        if duration.is_zero() {
            return Err("duration: a window that closes at once is none".into());
        }
        Ok(Window { text, opens, lasts: *duration })
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
        let opened = self.next(since).is_some_and(|opening| opening.timestamp() <= now);
        if opened { Ok(()) } else { Err(self.next(now)) }
    }

    fn next(&self, after: Timestamp) -> Option<Zoned> {
        self.opens.find_next(after).ok()
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
            ("61 2 * * *", "1h", None, "schedule: `61 2 * * *`: "),
            ("0 2 * * *", "0s", None, "duration: "),
            ("0 2 * * *", "1h", Some("Berlin"), "timeZone: there is no `Berlin`"),
        ] {
            let error = window(schedule, duration, zone).expect_err(schedule);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
