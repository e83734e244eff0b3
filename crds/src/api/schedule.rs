//! When something is due: a cron expression of five fields, in a time zone.

use std::str::FromStr;

use cronexpr::Crontab;
use jiff::{Timestamp, Zoned};

use crate::{api::template::zone::zone, problem::shown};

/// What a schedule may look like; also in the CRD.
pub const SCHEDULE_PATTERN: &str = r"^ *[0-9A-Za-z*,/-]+( +[0-9A-Za-z*,/-]+){4} *$";
/// What is wrong with a text that is none, and what to do.
pub const NOT_FIVE_FIELDS: (&str, &str) = (
    "a schedule of five fields",
    "write minute, hour, day of the month, month and day of the week, as in `0 2 * * *` for two at night",
);
/// Four years from here on have a 29th of February: a schedule that finds nothing in them never does.
const BEGINNING: &str = "2024-01-01T00:00:00Z";

/// Times, again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone: String,
    times: Crontab,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.zone) == (&other.text, &other.zone)
    }
}

impl Eq for Schedule {}

/// Which of the two fields of a schedule is wrong, what it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// `schedule` or `timeZone`.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Wrong {
    fn schedule(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Wrong { field: "schedule", message: message.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.message, self.remedy)
    }
}

/// Which times fell due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The last of them.
    pub last: Timestamp,
    /// How many there were before it.
    pub before: u64,
}

impl Schedule {
    /// Reads one that means the same to the CronJobs of Kubernetes (robfig/cron) as here; without a time zone it is UTC's.
    ///
    /// # Errors
    /// What is wrong: with the fields, their values, that none of its times ever comes, or that Kubernetes reads it otherwise.
    pub fn new(schedule: &str, time_zone: Option<&str>) -> Result<Self, Wrong> {
        let read = Schedule::read(schedule, time_zone)?;
        if let [_, _, day, _, weekday] = read.text.split(' ').collect::<Vec<_>>()[..] {
            days(day, weekday)?;
        }
        Ok(read)
    }

    /// Reads one, whatever Kubernetes makes of it.
    ///
    /// # Errors
    /// What is wrong: with the fields, their values, or that none of its times ever comes.
    pub fn read(schedule: &str, time_zone: Option<&str>) -> Result<Self, Wrong> {
        if let Err(error) = zone(time_zone) {
            let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
            return Err(Wrong { field: "timeZone", message: message.to_owned(), remedy: remedy.to_owned() });
        }
        let name = time_zone.unwrap_or("UTC");
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let said = match fields.len() {
            5 => None,
            6 => Some("it has six fields, and seconds or years are none of them".to_owned()),
            _ => Some(format!("`{}` has not five fields", shown(schedule))),
        };
        if let Some(said) = said {
            return Err(Wrong::schedule(said, NOT_FIVE_FIELDS.1));
        }
        let text = fields.join(" ");
        // The library's message draws the text with a marker below it, in several lines.
        let wrong = |_| {
            let remedy = "write numbers within minute 0-59, hour 0-23, day 1-31, month 1-12 (or JAN-DEC), day of the week 0-6 \
                          (or SUN-SAT, 0 is Sunday), or `*`; with `,`, `-` and `/` between";
            Wrong::schedule(format!("`{}` cannot be read", shown(schedule)), remedy)
        };
        let times = cronexpr::parse_crontab(&format!("{text} {name}")).map_err(wrong)?;
        let schedule = Schedule { text, zone: name.to_owned(), times };
        let beginning = Timestamp::from_str(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH);
        if schedule.next(beginning).is_none() {
            let message = format!("`{}` never comes: no month in it has such a day", shown(&schedule.text));
            return Err(Wrong::schedule(
                message,
                "write a day that there is, as in `0 2 1 * *` for the first of each month",
            ));
        }
        Ok(schedule)
    }

    /// The next time after this one. One that the clocks skip does not come on that day; one that they show twice comes twice.
    pub fn next(&self, after: Timestamp) -> Option<Zoned> {
        self.times.find_next(after).ok()
    }

    /// The times after one and up to another.
    pub fn due(&self, after: Timestamp, until: Timestamp) -> Option<Due> {
        let mut due: Option<Due> = None;
        let mut at = after;
        while let Some(next) = self.next(at).map(|next| next.timestamp()).filter(|next| *next <= until) {
            due = Some(Due { last: next, before: due.map_or(0, |due| due.before + 1) });
            at = next;
        }
        due
    }

    /// As it stands in a resource, with single blanks.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        &self.zone
    }
}

/// The two fields with days. Kubernetes knows no `L` and `W`, and takes no 7 for Sunday; and whether both have to hold, or one, it
/// decides otherwise where a `*` stands beside something else.
fn days(day: &str, weekday: &str) -> Result<(), Wrong> {
    let is_sign = |part: &str| part.ends_with(['L', 'W', 'l', 'w']) || part.contains('#');
    if let Some(sign) = day.split(',').chain(weekday.split(',')).find(|part| is_sign(part)) {
        let message = format!("Kubernetes does not take `{}` for a day", shown(sign));
        return Err(Wrong::schedule(message, "name days by their numbers, or days of the week as `MON`"));
    }
    let is_seven =
        |part: &str| part.split('/').next().is_some_and(|range| range.split('-').any(|n| n == "7" || n == "07"));
    if weekday.split(',').any(is_seven) {
        let message = format!("the day of the week `{}` has a 7, which Kubernetes does not take", shown(weekday));
        return Err(Wrong::schedule(message, "write Sunday as `0` or `SUN`"));
    }
    let partly = |field: &str| field.contains('*') && field != "*";
    if (partly(day) && weekday != "*") || (partly(weekday) && day != "*") {
        let message = "with days of the month and days of the week, a `*` beside something else is read in two ways";
        return Err(Wrong::schedule(message, "write the range instead of the `*`, as in `1-31/2` or `0-6/2`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn next(schedule: &str, zone: Option<&str>, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(schedule, zone).unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut at = at(after);
        let mut step = || {
            at = schedule.next(at).expect("it comes").timestamp();
            at.to_string()
        };
        (0..count).map(|_| step()).collect()
    }

    #[test]
    fn it_comes_by_the_clock_of_its_zone() {
        assert_eq!(
            next("0 2 * * *", None, "2024-06-04T02:00:00Z", 2),
            ["2024-06-05T02:00:00Z", "2024-06-06T02:00:00Z"]
        );
        assert_eq!(next("  0  2 * *  MON ", Some("Europe/Rome"), "2024-06-04T02:00:00Z", 1), ["2024-06-10T00:00:00Z"]);
        // Either day, as with every cron.
        assert_eq!(
            next("0 0 13 * FRI", None, "2024-06-08T00:00:00Z", 2),
            ["2024-06-13T00:00:00Z", "2024-06-14T00:00:00Z"]
        );
        assert_eq!(next("0 0 29 2 *", None, "2025-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    /// As Kubernetes has it: robfig/cron.
    #[test]
    fn a_time_that_the_clocks_skip_does_not_come_and_one_that_they_show_twice_comes_twice() {
        assert_eq!(
            next("30 2 * * *", Some("Europe/Rome"), "2024-03-30T02:00:00Z", 2),
            ["2024-04-01T00:30:00Z", "2024-04-02T00:30:00Z"]
        );
        assert_eq!(
            next("30 2 * * *", Some("Europe/Rome"), "2024-10-26T22:00:00Z", 3),
            ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", "2024-10-28T01:30:00Z"]
        );
    }

    #[test]
    fn what_fell_due_is_counted() {
        let schedule = Schedule::new("*/10 * * * *", None).expect("sound");
        let due = |until: &str| schedule.due(at("2024-06-04T02:00:00Z"), at(until)).map(|due| (due.last, due.before));
        assert_eq!(due("2024-06-04T02:09:59Z"), None);
        assert_eq!(due("2024-06-04T02:10:00Z"), Some((at("2024-06-04T02:10:00Z"), 0)));
        assert_eq!(due("2024-06-04T02:35:00Z"), Some((at("2024-06-04T02:30:00Z"), 2)));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_remedy() {
        for (schedule, zone, field, expected) in [
            ("nightly", None, "schedule", "`nightly` has not five fields; write minute, hour"),
            ("0 0 2 * * *", None, "schedule", "it has six fields, and seconds or years are none of them; write minute"),
            ("@daily", None, "schedule", "`@daily` has not five fields"),
            ("0 2 L * *", None, "schedule", "Kubernetes does not take `L` for a day; name days by their numbers"),
            ("0 2 * * 5#3", None, "schedule", "Kubernetes does not take `5#3` for a day"),
            ("61 2 * * *", None, "schedule", "`61 2 * * *` cannot be read; write numbers within minute 0-59"),
            ("0 2 * * FUN", None, "schedule", "`0 2 * * FUN` cannot be read"),
            (
                "0 2 * * 7",
                None,
                "schedule",
                "the day of the week `7` has a 7, which Kubernetes does not take; write Sunday",
            ),
            ("0 2 * * 5-7", None, "schedule", "the day of the week `5-7` has a 7"),
            (
                "0 2 */2 * MON",
                None,
                "schedule",
                "with days of the month and days of the week, a `*` beside something else",
            ),
            ("0 0 30 2 *", None, "schedule", "`0 0 30 2 *` never comes: no month in it has such a day; write a day"),
            ("0 0 31 4,6,9,11 *", None, "schedule", "`0 0 31 4,6,9,11 *` never comes"),
            (
                "0 2 * * *",
                Some("Europe/Roma"),
                "timeZone",
                "there is no time zone `Europe/Roma`; did you mean `Europe/Rome`?",
            ),
        ] {
            let wrong = Schedule::new(schedule, zone).expect_err(schedule);
            assert_eq!(wrong.field, field);
            let said = format!("{}; {}", wrong.message, wrong.remedy);
            assert!(said.starts_with(expected), "{said}");
        }
        for fine in ["* * * * *", "0 2 1-31/2 * MON", "0 2 */2 * *", "5/15 8-18 * JAN-MAR mon-fri"] {
            assert!(Schedule::new(fine, None).is_ok(), "{fine}");
        }
        for ours in ["0 2 L * *", "0 2 * * 7"] {
            assert!(Schedule::read(ours, None).is_ok() && Schedule::new(ours, None).is_err(), "{ours}");
        }
    }
}
