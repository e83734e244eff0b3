//! When a clip begins and ends, as people write it.

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

/// How a moment is written, for messages.
const WAYS: &str = "write it as `2024-06-04T10:30:00Z`, `2024-06-04 10:30` or `10:30` (in the time zone), or `-10m`";

/// What a text is measured by.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Of times without one.
    pub zone: TimeZone,
    /// What `-10m` goes back from.
    pub now: Timestamp,
    /// What `+30s` goes on from.
    pub from: Option<Timestamp>,
}

impl Clock {
    /// The instant that a text means: RFC 3339, with or without a zone in brackets; a local date with or without a time; a
    /// time of today; `now`; `-10m`, so long before now; `+30s`, so long after the beginning.
    ///
    /// # Errors
    /// What is wrong, and how to write it.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(self.now);
        }
        if let Some(before) = text.strip_prefix('-') {
            return self.moved(self.now, text, before, |span| -span);
        }
        if let Some(after) = text.strip_prefix('+') {
            let from = self.from.ok_or_else(|| format!("`{text}` counts from the beginning, and is no beginning"))?;
            return self.moved(from, text, after, |span| span);
        }
        if let Ok(zoned) = text.parse::<Zoned>() {
            return Ok(zoned.timestamp());
        }
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Ok(instant);
        }
        let today = || self.now.to_zoned(self.zone.clone()).date();
        let local = text.parse::<civil::DateTime>().or_else(|e| match text.parse::<civil::Time>() {
            Ok(time) if !text.contains('-') => Ok(today().to_datetime(time)),
            _ => Err(e),
        });
        let local = local.map_err(|_| format!("`{text}` is no time: {WAYS}"))?;
        let there = self.zone.to_ambiguous_timestamp(local);
        let name = self.zone.iana_name().unwrap_or("this time zone");
        there.unambiguous().map_err(|_| {
            let two = [there.earlier(), there.later()].map(|at| at.map(|at| at.to_string()).unwrap_or_default());
            format!("`{text}` comes twice in {name}, or never: write {} or {}", two[0], two[1])
        })
    }

    fn moved(
        &self,
        start: Timestamp,
        text: &str,
        length: &str,
        turn: impl FnOnce(Span) -> Span,
    ) -> Result<Timestamp, String> {
        let span: Span = length.trim().parse().map_err(|_| format!("`{text}` is no length of time: {WAYS}"))?;
        let moved = start.to_zoned(self.zone.clone()).checked_add(turn(span));
        moved.map(|at| at.timestamp()).map_err(|_| format!("`{text}` leads out of the calendar"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rome() -> Clock {
        Clock {
            zone: edgereel_crds::template::zone::zone(Some("Europe/Rome")).expect("a zone"),
            now: "2024-06-04T10:30:00Z".parse().expect("a time"),
            from: None,
        }
    }

    fn read(text: &str) -> Result<String, String> {
        rome().read(text).map(|at| at.to_string())
    }

    #[test]
    fn a_moment_is_read_in_each_way_that_people_write_it() {
        for (text, expected) in [
            ("2024-06-04T10:30:00.123456Z", "2024-06-04T10:30:00.123456Z"),
            ("2024-06-04T12:30:00+02:00", "2024-06-04T10:30:00Z"),
            ("2024-06-04T12:30:00+05:30[Asia/Kolkata]", "2024-06-04T07:00:00Z"),
            ("2024-06-04 12:30", "2024-06-04T10:30:00Z"),
            ("2024-01-04T12:30:05.5", "2024-01-04T11:30:05.5Z"),
            ("2024-06-04", "2024-06-03T22:00:00Z"),
            ("12:29", "2024-06-04T10:29:00Z"),
            ("now", "2024-06-04T10:30:00Z"),
            ("-10m", "2024-06-04T10:20:00Z"),
            ("-1h 30m", "2024-06-04T09:00:00Z"),
            ("-1d", "2024-06-03T10:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        let with = Clock { from: Some(Timestamp::UNIX_EPOCH), ..rome() };
        assert_eq!(with.read("+30s").expect("read").to_string(), "1970-01-01T00:00:30Z");
    }

    #[test]
    fn what_is_no_moment_is_refused_with_the_ways_to_write_one() {
        for (text, word) in [
            ("yesterday", "-10m"),
            ("10m", "-10m"),
            ("-soon", "no length"),
            ("+30s", "no beginning"),
            ("2024-13-01", "no time"),
            ("-99999y", "`-99999y`"),
            // The hour that comes twice, and the one that never comes.
            ("2024-10-27 02:30", "write 2024-10-27T00:30:00Z or 2024-10-27T01:30:00Z"),
            ("2024-03-31 02:30", "or never"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_refused(text in ".*") {
            let _ = rome().read(&text);
        }

        #[test]
        fn an_instant_is_read_as_it_is_written(us in 0i64..4_000_000_000_000_000) {
            let at = Timestamp::from_microsecond(us).expect("in range");
            prop_assert_eq!(rome().read(&at.to_string()), Ok(at));
        }
    }
}
