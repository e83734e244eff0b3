//! What outputs of single pictures hold, found by the times in the files' names.

use std::{collections::HashSet, path::Path, rc::Rc};

use edgereel_crds::{
    frame_sink::Output,
    plan::SinkPlan,
    status::Reason,
    template::{DEFAULT_TIME, Field, Format, Piece, Template},
};
use edgereel_runtime::fault::Fault;
use jiff::{
    SignedDuration, Timestamp,
    fmt::strtime::{self, BrokenDownTime},
    tz::TimeZone,
};
use regex::Regex;

use super::cut::{At, Frame, Range};
use crate::sink::{
    fault::OutputError,
    record_name::{Names, Place},
    walk::walk_into,
};

/// Between the texts of several times in a name.
const APART: &str = "\u{1}";
/// Directories are chosen by the minute, for a range of so many at most: a month.
const MOST_MINUTES: i64 = 31 * 24 * 60;
/// A moment to try a name with: each of its parts is another.
const SAMPLE: Timestamp = Timestamp::constant(1_717_497_012, 345_678_000);

/// Names that tell when their pictures were captured.
pub struct TimedNames {
    names: Names,
    /// The times in a name, each a group.
    pattern: Regex,
    /// The same of its directories, each behind the ones above; none where they do not tell more than a minute.
    directories: Vec<Option<(Regex, String)>>,
    /// What the times together look like.
    format: String,
    zone: TimeZone,
    /// The names tell times to this.
    pub precision: SignedDuration,
    deep: usize,
}

/// Text for a regular expression that what a format writes fits.
fn shape(format: &str) -> String {
    let (mut text, mut rest) = (String::new(), format);
    while let Some((before, after)) = rest.split_once('%') {
        text += &regex::escape(before);
        let directive: String = after.chars().take_while(|c| !c.is_ascii_alphabetic()).collect();
        let letter = after[directive.len()..].chars().next();
        let width = directive.trim_start_matches('.').parse::<usize>().ok();
        text += &match (letter, directive.as_str(), width) {
            (Some('Y'), "", _) => "[0-9]{4}".into(),
            (Some('m' | 'd' | 'H' | 'M' | 'S' | 'y'), "", _) => "[0-9]{2}".into(),
            (Some('f'), _, Some(width)) if !directive.starts_with('.') => format!("[0-9]{{{width}}}"),
            _ => "[^/]+?".to_owned(),
        };
        rest = &after[directive.len() + letter.map_or(0, char::len_utf8)..];
    }
    text + &regex::escape(rest)
}

/// A pattern of these pieces in which each time is a group, and the formats of the times.
fn pattern(pieces: &[Piece], ending: &str) -> Result<(Regex, Vec<String>), regex::Error> {
    let (mut text, mut formats) = (String::from("^"), vec![]);
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text += &regex::escape(literal),
            Piece::Field { field: Field::Timestamp, format } => {
                let format = match format {
                    Some(Format::Strftime(format)) => format,
                    _ => DEFAULT_TIME,
                };
                text += &format!("({})", shape(format));
                formats.push(format.to_owned());
            }
            Piece::Field { field: Field::Partition | Field::Offset, .. } => text += "[0-9]+",
            Piece::Field { .. } => text += "[^/]+?",
        }
    }
    Ok((Regex::new(&format!("{text}{ending}$"))?, formats))
}

/// The pieces of each directory, with those of the ones above it.
fn directories(pieces: &[Piece]) -> Vec<Vec<Piece>> {
    let (mut all, mut path) = (vec![], vec![]);
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                for (n, part) in text.split('/').enumerate() {
                    if n > 0 {
                        all.push(path.clone());
                        path.push(Piece::Text("/".into()));
                    }
                    path.push(Piece::Text(part.to_owned()));
                }
            }
            field => path.push(field.clone()),
        }
    }
    all
}

fn texts(pattern: &Regex, name: &str) -> Option<String> {
    let groups = pattern.captures(name)?;
    let texts: Vec<&str> = groups.iter().skip(1).flatten().map(|group| group.as_str()).collect();
    Some(texts.join(APART))
}

impl TimedNames {
    /// Of a template whose pictures have these names; none where the names do not tell a second.
    pub fn new(template: &Template, names: Names, any_ending: bool) -> Result<Option<Self>, regex::Error> {
        let (pattern, formats) = pattern(template.pieces(), if any_ending { r"\.[a-z]+" } else { "" })?;
        let zone = template.zone().clone();
        let format = formats.join(APART);
        let sample = SAMPLE.to_zoned(zone.clone());
        let read = strtime::format(&format, &sample).ok().and_then(|text| read(&format, &text, &zone, |_| None));
        let Some(off) = read.map(|read| SAMPLE.duration_since(read)).filter(|off| !off.is_negative()) else {
            return Ok(None);
        };
        let precision = match off.as_nanos() {
            0 => SignedDuration::from_micros(1),
            1..1_000_000 => SignedDuration::from_millis(1),
            1_000_000..1_000_000_000 => SignedDuration::from_secs(1),
            _ => return Ok(None),
        };
        let coarse = |pieces: Vec<Piece>| -> Result<_, regex::Error> {
            let (pattern, formats) = self::pattern(&pieces, "")?;
            let format = formats.join(APART);
            let of = |time: Timestamp| strtime::format(&format, &time.to_zoned(zone.clone())).ok();
            let same = of(SAMPLE) == SAMPLE.checked_add(SignedDuration::from_secs(1)).ok().and_then(of);
            Ok(Some((pattern, format)).filter(|(_, format)| same && !format.is_empty()))
        };
        let directories = directories(template.pieces()).into_iter().map(coarse).collect::<Result<_, _>>()?;
        Ok(Some(TimedNames { names, pattern, directories, format, zone, precision, deep: template.depth() }))
    }

    /// The record of a picture's file, and when it was captured. `written` says when the file was: where clocks are set back,
    /// it tells which of the two hours is meant.
    fn read(&self, name: &str, written: impl FnOnce() -> Option<Timestamp>) -> Option<(Place, Timestamp)> {
        let place = self.names.place(name)?;
        let text = texts(&self.pattern, name)?;
        Some((place, read(&self.format, &text, &self.zone, |_| written())?))
    }

    /// The times in the names of directories that can hold pictures of the range, for each depth where that can be told.
    fn wanted(&self, range: &Range) -> Vec<Option<HashSet<String>>> {
        let minute = SignedDuration::from_mins(1);
        let wide = range.widened(minute);
        let minutes = wide.to.duration_since(wide.from).as_mins();
        let of = |format: &String| -> Option<HashSet<String>> {
            if minutes > MOST_MINUTES {
                return None;
            }
            let times = (0..=minutes).filter_map(|n| wide.from.checked_add(minute.saturating_mul(n as i32)).ok());
            times.map(|time| strtime::format(format, &time.to_zoned(self.zone.clone())).ok()).collect()
        };
        self.directories.iter().map(|each| each.as_ref().and_then(|(_, format)| of(format))).collect()
    }

    /// The pictures below a directory that were captured in the range, as those of the source of this number. Directories
    /// whose names tell that they hold none are not read.
    pub fn frames(
        &self,
        directory: &Path,
        range: &Range,
        source: usize,
        frames: &mut Vec<Frame>,
    ) -> Result<(), OutputError> {
        let wanted = self.wanted(range);
        let mut enter = |name: &str| {
            let depth = name.matches('/').count();
            match (self.directories.get(depth), wanted.get(depth)) {
                (Some(Some((pattern, _))), Some(Some(wanted))) => {
                    texts(pattern, name).is_none_or(|text| wanted.contains(&text))
                }
                _ => true,
            }
        };
        let mut topic = Rc::<str>::from("");
        walk_into(directory, self.deep, &mut enter, &mut |name| {
            let written = || directory.join(name).symlink_metadata().ok()?.modified().ok()?.try_into().ok();
            let Some((place, time)) = self.read(name, written).filter(|(_, time)| range.holds(*time)) else { return };
            if *topic != *place.topic {
                topic = place.topic.as_str().into();
            }
            let (topic, at) = (topic.clone(), At::File(name.into()));
            frames.push(Frame { time, topic, partition: place.partition, offset: place.offset, source, at });
        })
    }
}

/// The names of a sink's pictures; none of videos, and where they do not tell a second.
pub fn of_output(plan: &SinkPlan) -> Result<Option<TimedNames>, Fault> {
    let wrong = |what: String| Fault::new(Reason::InvalidConfiguration, format!("fileName: {what}"));
    let made = match &plan.spec.output {
        Output::JpegFiles(spec) => {
            let template = spec.template().map_err(wrong)?;
            Names::new(&template, &plan.topics, &[]).and_then(|names| TimedNames::new(&template, names, false))
        }
        Output::Dataset(spec) => {
            let template = spec.template().map_err(wrong)?;
            Names::of_pictures(&template, &plan.topics, &[]).and_then(|names| TimedNames::new(&template, names, true))
        }
        Output::Video(_) => return Ok(None),
    };
    made.map_err(|e| wrong(e.to_string()))
}

/// The instant that a text of this format names. Of a local time that comes twice, `written` chooses: the later, if the file
/// was written after it.
fn read(
    format: &str,
    text: &str,
    zone: &TimeZone,
    written: impl FnOnce(Timestamp) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let broken = BrokenDownTime::parse(format, text).ok()?;
    if let Ok(instant) = broken.to_timestamp() {
        return Some(instant);
    }
    let there = zone.to_ambiguous_timestamp(broken.to_datetime().ok()?);
    let later = there.later().ok()?;
    match there.is_ambiguous() && written(later).is_some_and(|written| written < later) {
        true => there.earlier().ok(),
        false => Some(later),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::sink::file_name::{Values, render};

    fn timed(template: &str, zone: Option<&str>) -> (Template, Option<TimedNames>) {
        let zone = edgereel_crds::template::zone::zone(zone).expect("a zone");
        let template = Template::parse(template).expect("a template").in_zone(zone);
        let names = Names::new(&template, &["gate".into()], &[]).expect("names");
        let timed = TimedNames::new(&template, names, false).expect("a pattern");
        (template, timed)
    }

    fn name(template: &Template, offset: i64, captured_at: Timestamp) -> String {
        let values = Values {
            camera: "cam",
            topic: "gate",
            partition: 2,
            offset,
            captured_at,
            sequence: Some(5),
            segment: None,
            label: None,
        };
        render(template, &values).expect("a name")
    }

    const TEMPLATES: [&str; 5] = [
        "frame_{partition}-{offset:06}_{timestamp}.jpg",
        "{timestamp:%Y-%m-%d}/{timestamp:%H}/{partition}-{offset}_{timestamp:%M%S.%6f}.jpg",
        "{camera}/{timestamp:%Y}/{timestamp:%m-%d}/{timestamp:%H-%M-%S}_{partition}_{offset}.jpg",
        "{timestamp:%Y%m%dT%H%M%S.%3f%z}_{partition}-{offset}.jpg",
        "{topic}/{partition}-{offset}_{timestamp:%s}.jpg",
    ];

    #[test]
    fn names_that_do_not_tell_a_second_are_told() {
        for template in [
            "{partition}-{offset}.jpg",
            "{timestamp:%Y-%m-%d}/{partition}-{offset}.jpg",
            "{timestamp:%H%M%S}_{partition}-{offset}.jpg",
        ] {
            assert!(timed(template, None).1.is_none(), "{template}");
        }
        for (template, precision) in TEMPLATES.into_iter().zip([1_000, 1, 1_000_000, 1_000, 1_000_000]) {
            let named = timed(template, None).1.unwrap_or_else(|| panic!("{template}"));
            assert_eq!(named.precision, SignedDuration::from_micros(precision), "{template}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_told_by_when_the_file_was_written() {
        let (template, timed) = timed(TEMPLATES[0], Some("Europe/Rome"));
        let timed = timed.expect("times");
        for text in ["2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z"] {
            let time: Timestamp = text.parse().expect("a time");
            let found = timed.read(&name(&template, 7, time), || time.checked_add(SignedDuration::from_secs(1)).ok());
            assert_eq!(found.map(|(_, time)| time), Some(time), "{text}");
        }
    }

    #[test]
    fn only_directories_that_can_hold_the_range_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let (template, timed) = timed(TEMPLATES[1], Some("Europe/Rome"));
        let timed = timed.expect("times");
        let begin: Timestamp = "2024-06-03T20:00:00Z".parse().expect("a time");
        let times: Vec<Timestamp> = (0..200).map(|n| begin + SignedDuration::from_secs(n * 600)).collect();
        for (n, time) in times.iter().enumerate() {
            let path = dir.path().join(name(&template, n as i64, *time));
            fs::create_dir_all(path.parent().expect("one")).expect("made");
            fs::write(path, "x").expect("written");
        }
        let range = Range { from: times[30], to: times[50] };
        let mut frames = vec![];
        timed.frames(dir.path(), &range, 0, &mut frames).expect("walked");
        frames.sort_by_key(|frame| frame.offset);
        assert_eq!(frames.iter().map(|frame| frame.time).collect::<Vec<_>>(), times[30..50]);
        // A directory of another day is not looked into: it may be whatever it is.
        let wanted = timed.wanted(&range);
        assert_eq!(wanted[0].clone().expect("days"), ["2024-06-04"].map(String::from).into());
        assert!(wanted[1].as_ref().expect("hours").len() <= 6);
    }

    proptest! {
        #[test]
        fn a_name_gives_its_record_and_its_time_back(
            which in 0usize..TEMPLATES.len(), us in 1_000_000_000_000_000i64..2_000_000_000_000_000, offset in 0i64..1_000_000_000,
        ) {
            let (template, timed) = timed(TEMPLATES[which], None);
            let timed = timed.expect("times");
            let time = Timestamp::from_microsecond(us).expect("in range");
            let (place, read) = timed.read(&name(&template, offset, time), || None).expect("read");
            prop_assert_eq!(place, Place { topic: "gate".into(), partition: 2, offset });
            let off = time.duration_since(read);
            prop_assert!(!off.is_negative() && off < timed.precision, "{} for {}", read, time);
        }
    }
}
