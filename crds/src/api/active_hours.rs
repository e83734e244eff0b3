//! When a camera captures: hours of the week, in a time zone.

use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::template::zone::zone;

/// What a time of day looks like; also in the CRD. `24:00` is the end of the day.
pub const TIME_OF_DAY_PATTERN: &str = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

/// The hours in which it captures. Outside of them the camera is let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveHours {
    /// The time zone of the hours, a name of the IANA database as `Europe/Rome`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// It captures within any of these, 1 to 50.
    #[schemars(length(min = 1, max = 50))]
    pub windows: Vec<Window>,
}

/// From a time of day to another, on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// On which days it begins: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. Default: on all.
    #[serde(default = "Day::all", skip_serializing_if = "Day::are_all")]
    #[schemars(length(min = 1, max = 7))]
    pub days: Vec<Day>,
    /// When it begins, as in `08:00`. A time that the clocks skip is an hour later. Default: `00:00`.
    #[serde(default = "midnight")]
    #[schemars(regex(pattern = TIME_OF_DAY_PATTERN))]
    pub from: String,
    /// When it ends, as in `18:00`; at or before `from`, that is on the next day. Default: `24:00`.
    #[serde(default = "end_of_day")]
    #[schemars(regex(pattern = TIME_OF_DAY_PATTERN))]
    pub until: String,
}

fn midnight() -> String {
    "00:00".into()
}

fn end_of_day() -> String {
    "24:00".into()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn all() -> Vec<Day> {
        Day::ALL.to_vec()
    }

    fn are_all(days: &[Day]) -> bool {
        Day::ALL.iter().all(|day| days.contains(day))
    }

    fn is(self, weekday: Weekday) -> bool {
        Day::ALL.iter().position(|day| *day == self) == Some(weekday.to_monday_zero_offset() as usize)
    }
}

/// A time of day in minutes, 0 to 1440.
///
/// # Errors
/// What is wrong and how to write it.
pub fn minutes(text: &str) -> Result<i16, String> {
    let parsed = text.split_once(':').filter(|(hour, minute)| {
        [hour, minute].iter().all(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_digit()))
    });
    let parsed = parsed.and_then(|(hour, minute)| Some((hour.parse::<i16>().ok()?, minute.parse::<i16>().ok()?)));
    match parsed {
        Some((hour @ 0..24, minute @ 0..60)) => Ok(hour * 60 + minute),
        Some((24, 0)) => Ok(24 * 60),
        _ => Err("write a time of day as `08:00`, `24:00` at most".into()),
    }
}

/// Hours that were read: what they say at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    zone: TimeZone,
    windows: Vec<(Vec<Day>, i16, i16)>,
}

/// What holds at a time, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it captures.
    pub active: bool,
    /// When that changes; never, if the hours leave nothing out.
    pub until: Option<Zoned>,
}

impl Hours {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong and how to write it, without the resource or field.
    pub fn new(spec: &ActiveHours) -> Result<Self, String> {
        let window = |window: &Window| Ok((window.days.clone(), minutes(&window.from)?, minutes(&window.until)?));
        let windows = spec.windows.iter().map(window).collect::<Result<_, String>>()?;
        Ok(Hours { zone: zone(spec.time_zone.as_deref())?, windows })
    }

    /// What holds at this time.
    pub fn at(&self, now: Timestamp) -> Standing {
        let spans = self.spans(now);
        let is_active = |time: Timestamp| spans.iter().any(|(begin, end)| *begin <= time && time < *end);
        let active = is_active(now);
        let ends = spans.iter().flat_map(|(begin, end)| [*begin, *end]).filter(|time| *time > now);
        // Behind it there are windows that are not looked at; what has not changed within a week never does.
        let horizon = now + jiff::SignedDuration::from_hours(24 * 8 - 25);
        let change = ends.filter(|time| *time < horizon && is_active(*time) != active).min();
        Standing { active, until: change.map(|time| time.to_zoned(self.zone.clone())) }
    }

    /// The windows that begin from the day before to the week after, in time.
    fn spans(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let today = now.to_zoned(self.zone.clone()).date();
        let mut spans = vec![];
        for day in -1..=8 {
            let Ok(date) = today.checked_add(day.days()) else { continue };
            for (days, from, until) in &self.windows {
                if !days.iter().any(|day| day.is(date.weekday())) {
                    continue;
                }
                let next = if until > from { *until } else { until + 24 * 60 };
                let moment = |minutes: i16| {
                    let date = date.checked_add(i64::from(minutes / (24 * 60)).days()).ok()?;
                    let minutes = minutes % (24 * 60);
                    let time = Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok()?;
                    Some(self.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok()?.timestamp())
                };
                spans.extend(moment(*from).zip(moment(next)).filter(|(begin, end)| begin < end));
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(zone: &str, windows: &[(&[Day], &str, &str)]) -> Hours {
        let window = |(days, from, until): &(&[Day], &str, &str)| Window {
            days: days.to_vec(),
            from: (*from).into(),
            until: (*until).into(),
        };
        let spec = ActiveHours { time_zone: Some(zone.into()), windows: windows.iter().map(window).collect() };
        Hours::new(&spec).expect("sound")
    }

    fn at(hours: &Hours, time: &str) -> (bool, Option<String>) {
        let Standing { active, until } = hours.at(time.parse().expect("a time"));
        (active, until.map(|until| until.strftime("%a %Y-%m-%d %H:%M %:z").to_string()))
    }

    const WEEKDAYS: &[Day] = &[Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];

    #[test]
    fn on_weekdays_it_goes_from_morning_to_evening_and_rests_over_the_weekend() {
        let hours = hours("Europe/Rome", &[(WEEKDAYS, "08:00", "18:00")]);
        // A Friday in summer, two hours ahead of UTC.
        for (time, active, until) in [
            ("2024-06-07T05:59:59Z", false, "Fri 2024-06-07 08:00 +02:00"),
            ("2024-06-07T06:00:00Z", true, "Fri 2024-06-07 18:00 +02:00"),
            ("2024-06-07T15:59:59Z", true, "Fri 2024-06-07 18:00 +02:00"),
            ("2024-06-07T16:00:00Z", false, "Mon 2024-06-10 08:00 +02:00"),
            ("2024-06-09T12:00:00Z", false, "Mon 2024-06-10 08:00 +02:00"),
        ] {
            assert_eq!(at(&hours, time), (active, Some(until.to_owned())), "{time}");
        }
    }

    #[test]
    fn a_window_may_end_on_the_next_day_and_two_may_meet() {
        let night = hours("UTC", &[(&[Day::Fri], "22:00", "06:00")]);
        assert_eq!(at(&night, "2024-06-07T23:00:00Z"), (true, Some("Sat 2024-06-08 06:00 +00:00".into())));
        assert_eq!(at(&night, "2024-06-08T05:00:00Z"), (true, Some("Sat 2024-06-08 06:00 +00:00".into())));
        assert_eq!(at(&night, "2024-06-08T06:00:00Z"), (false, Some("Fri 2024-06-14 22:00 +00:00".into())));
        let both = hours("UTC", &[(&Day::ALL, "08:00", "12:00"), (&Day::ALL, "12:00", "13:00")]);
        assert_eq!(at(&both, "2024-06-07T09:00:00Z"), (true, Some("Fri 2024-06-07 13:00 +00:00".into())));
    }

    #[test]
    fn hours_that_leave_nothing_out_never_end() {
        for windows in [&[(&Day::ALL[..], "00:00", "24:00")][..], &[(&Day::ALL[..], "09:00", "09:00")][..]] {
            assert_eq!(at(&hours("UTC", windows), "2024-06-07T09:00:00Z"), (true, None), "{windows:?}");
        }
    }

    #[test]
    fn a_day_of_23_hours_and_one_of_25_have_their_hours() {
        let night = hours("Europe/Rome", &[(&Day::ALL, "00:00", "24:00"), (&[Day::Sun], "02:30", "04:00")]);
        assert_eq!(at(&night, "2024-03-31T00:00:00Z"), (true, None));
        // The clocks skip 02:30: it begins at what they show then, 03:30.
        let skipped = hours("Europe/Rome", &[(&[Day::Sun], "02:30", "04:00")]);
        assert_eq!(at(&skipped, "2024-03-31T00:59:00Z"), (false, Some("Sun 2024-03-31 03:30 +02:00".into())));
        assert_eq!(at(&skipped, "2024-03-31T01:45:00Z"), (true, Some("Sun 2024-03-31 04:00 +02:00".into())));
        // Of the 02:30 that comes twice, the first.
        assert_eq!(at(&skipped, "2024-10-27T00:29:00Z"), (false, Some("Sun 2024-10-27 02:30 +02:00".into())));
        assert_eq!(at(&skipped, "2024-10-27T02:59:00Z"), (true, Some("Sun 2024-10-27 04:00 +01:00".into())));
    }

    #[test]
    fn times_of_day_that_are_none_are_refused() {
        assert_eq!(["00:00", "08:30", "24:00"].map(minutes), [Ok(0), Ok(510), Ok(1440)]);
        for text in ["", "8:00", "08:60", "24:01", "25:00", "-1:00", "08:00:00", "0800", "aa:bb", "+1:+2"] {
            assert!(minutes(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// What `until` names is the next moment at which the answer differs, whatever the windows.
        #[test]
        fn what_holds_holds_until_then(
            windows in prop::collection::vec((prop::collection::vec(0usize..7, 1..4), 0i16..1440, 0i16..=1440), 1..4),
            second in 1_700_000_000i64..1_760_000_000, steps in prop::collection::vec(0.0f64..1.0, 8),
        ) {
            let hours = Hours {
                zone: zone(Some("America/New_York")).expect("a zone"),
                windows: windows.into_iter()
                    .map(|(days, from, until)| (days.into_iter().map(|day| Day::ALL[day]).collect(), from, until))
                    .collect(),
            };
            let now = Timestamp::from_second(second).expect("a time");
            let Standing { active, until } = hours.at(now);
            let Some(until) = until else { return Ok(()) };
            let until = until.timestamp().as_second();
            prop_assert!(until > second);
            for step in steps {
                let between = second + ((until - second) as f64 * step) as i64;
                let between = Timestamp::from_second(between.min(until - 1)).expect("a time");
                prop_assert_eq!(hours.at(between).active, active);
            }
            prop_assert_eq!(hours.at(Timestamp::from_second(until).expect("a time")).active, !active);
        }
    }
}
