//! Whether a file can have each name that a template makes.

use jiff::{Timestamp, ToSpan, fmt::strtime, tz::TimeZone};

use super::{Field, Format, Piece, Template};

/// The longest name of a file or directory, in bytes (NAME_MAX of Linux's file systems).
pub const NAME_MAX: usize = 255;
/// The longest camera's, annotation's or file's name that goes into a file name, in bytes: they come from records, where they may be
/// anything.
pub const CAMERA_MAX: usize = 64;
/// The longest name with its directories: a commit has room for so much.
pub const WHOLE_MAX: usize = 1024;

impl Template {
    /// Whether a file can have each name that it makes of frames of these topics, with `more` bytes added at its end.
    ///
    /// # Errors
    /// How long a name can get, and what to do.
    pub fn fits(&self, topics: &[String], more: usize) -> Result<(), String> {
        let topic = topics.iter().max_by_key(|topic| topic.len());
        let mut lengths = vec![(0, false)];
        let add = |lengths: &mut Vec<(usize, bool)>, bytes, is_topic| {
            if let Some((length, has_topic)) = lengths.last_mut() {
                *length += bytes;
                *has_topic |= is_topic;
            }
        };
        for piece in &self.pieces {
            match piece {
                Piece::Field { field: Field::Topic, .. } => add(&mut lengths, topic.map_or(1, String::len), true),
                Piece::Field { field, format } => {
                    add(&mut lengths, longest(*field, format.as_ref(), &self.zone), false)
                }
                Piece::Text(text) => {
                    for (n, text) in text.split('/').enumerate() {
                        if n > 0 {
                            lengths.push((0, false));
                        }
                        add(&mut lengths, text.len(), false);
                    }
                }
            }
        }
        add(&mut lengths, more, false);
        let whole = lengths.iter().map(|(length, _)| length + 1).sum::<usize>() - 1;
        let too_long =
            lengths.into_iter().find(|(length, _)| *length > NAME_MAX).map(|found| (found, NAME_MAX, "a name"));
        let too_long =
            too_long.or((whole > WHOLE_MAX).then_some(((whole, self.has(Field::Topic)), WHOLE_MAX, "a path")));
        let Some(((length, has_topic), most, what)) = too_long else { return Ok(()) };
        let of = topic.filter(|_| has_topic).map(|topic| format!(" of topic `{}`", crate::problem::shown(topic)));
        Err(format!(
            "{what}{} can have {length} bytes, more than the {most} that there may be; make it shorter, or leave fields out",
            of.unwrap_or_default()
        ))
    }
}

/// The most bytes that a field's value can have.
fn longest(field: Field, format: Option<&Format>, zone: &TimeZone) -> usize {
    let digits = match field {
        Field::Camera | Field::Annotation | Field::File => return CAMERA_MAX,
        Field::Topic => return NAME_MAX,
        Field::Timestamp => {
            return match format {
                Some(Format::Strftime(pattern)) => longest_time(pattern, zone),
                _ => longest_time(super::DEFAULT_TIME, zone),
            };
        }
        Field::Partition => 10,
        Field::Offset => 19,
        Field::Sequence | Field::Segment => 20,
    };
    match format {
        Some(Format::ZeroPad(width)) => digits.max(*width),
        _ => digits,
    }
}

/// Every month and every weekday, of now and of long from now, when clocks are set to summer time and when not.
fn longest_time(pattern: &str, zone: &TimeZone) -> usize {
    let late = ["2024-01-01T23:59:59.999999999Z", "9998-01-01T23:59:59.999999999Z"];
    let days = late
        .into_iter()
        .filter_map(|first| first.parse::<Timestamp>().ok())
        .flat_map(|first| (0..366i64).filter_map(move |day| first.checked_add((24 * day).hours()).ok()));
    let names = days.filter_map(|day| strtime::format(pattern, &day.to_zoned(zone.clone())).ok());
    names.map(|text| text.len()).max().unwrap_or(NAME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(template: &str, topic: &str, more: usize) -> Result<(), String> {
        Template::parse(template).expect("a template").fits(&["a".into(), topic.into()], more)
    }

    #[test]
    fn a_name_that_a_file_cannot_have_is_told_before_the_first_frame() {
        let topic = "t".repeat(249);
        fits("{topic}.jpg", &topic, 2).expect("255 bytes");
        for (template, more, bytes) in [
            ("{topic}.jpg", 3, 256),
            ("{topic}_{timestamp}.avi", 0, 249 + 1 + 19 + 4),
            ("{topic}-{partition}/{offset}.jpg", 0, 249 + 1 + 10),
            ("{topic}{offset:04}.jpg", 0, 249 + 19 + 4),
        ] {
            let error = fits(template, &topic, more).expect_err("too long");
            assert!(error.contains("of topic `ttt") && error.contains(&format!("can have {bytes} bytes")), "{error}");
        }
        let months = "{timestamp:%A %B}".repeat(14);
        let error = fits(&format!("{months}{{topic}}/{{offset}}.jpg"), "a", 0).expect_err("too long");
        assert!(error.contains("can have 267 bytes"), "`Wednesday September` has 19: {error}");
        let deep = "{camera}/".repeat(16);
        let error = fits(&format!("{deep}{{offset}}.jpg"), "a", 0).expect_err("too long");
        assert!(error.contains("a path can have 1063 bytes"), "{error}");
        fits("{camera}/frame_{partition}-{offset:06}_{timestamp}.jpg", &topic, 0).expect("short");
    }
}
