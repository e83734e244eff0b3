//! A frame's file name: a pure function of its record, which cannot lead out of the output's directory.
//!
//! Topics, keys and headers are other people's text. A value from them is one part of one path component: no `/`, no
//! control characters, no leading dot, and not too long.

use edgereel_crds::template::{
    DEFAULT_TIME, Field, Format, Piece, Template,
    length::{CAMERA_MAX, NAME_MAX},
};
use edgereel_frame::{reasons::InvalidReason, wire::Label};
use jiff::{Timestamp, Zoned, fmt::strtime, tz::TimeZone};

use super::{fault::OutputError, output::SinkFrame};

/// Endings that a file's name loses: each picture gets its own.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Years have four digits in names. A time before them is written as the first that there is.
const YEAR_ZERO: Timestamp = Timestamp::constant(-62_167_219_200, 0);

/// What a template's fields stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `{camera}`.
    pub camera: &'a str,
    /// `{topic}`.
    pub topic: &'a str,
    /// `{partition}`.
    pub partition: i32,
    /// `{offset}`.
    pub offset: i64,
    /// `{timestamp}`.
    pub captured_at: Timestamp,
    /// `{sequence}`; `none` where the record does not say.
    pub sequence: Option<u64>,
    /// `{segment}`; `none` for a frame's own file.
    pub segment: Option<u64>,
    /// `{annotation}`, and what `{file}` comes from.
    pub label: Option<&'a Label>,
}

impl<'a> From<&'a SinkFrame> for Values<'a> {
    fn from(frame: &'a SinkFrame) -> Self {
        Values {
            camera: &frame.camera,
            topic: &frame.source.topic,
            partition: frame.source.partition,
            offset: frame.offset,
            captured_at: frame.captured_at,
            sequence: frame.sequence,
            segment: None,
            label: Some(&frame.label),
        }
    }
}

/// The path below the output's directory. Fails with [`InvalidReason::bad_name`] when the values lead to a name that no
/// file can have.
pub fn render(template: &Template, values: &Values) -> Result<String, OutputError> {
    let bad = |why: String| OutputError::Frame { reason: InvalidReason::bad_name, message: why };
    let mut name = String::with_capacity(96);
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => name.push_str(text),
            Piece::Field { field, format } => {
                push_field(&mut name, *field, format.as_ref(), values, template.zone()).map_err(bad)?;
            }
        }
    }
    for part in name.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(bad(format!("`{}` is not a file name", name.escape_debug())));
        }
        if part.len() > NAME_MAX {
            let start: String = part.chars().take(40).collect();
            return Err(bad(format!("the file name `{start}…` has {} bytes, more than {NAME_MAX}", part.len())));
        }
    }
    Ok(name)
}

fn push_field(
    name: &mut String,
    field: Field,
    format: Option<&Format>,
    values: &Values,
    zone: &TimeZone,
) -> Result<(), String> {
    match field {
        Field::Camera => push_clean(name, values.camera, CAMERA_MAX),
        Field::Annotation => push_clean(name, annotation(values).unwrap_or_default(), CAMERA_MAX),
        Field::File => match file_stem(values).or_else(|| annotation(values)) {
            Some(stem) => push_clean(name, stem, CAMERA_MAX),
            None => push_field(name, Field::Timestamp, None, values, zone)?,
        },
        Field::Topic => push_clean(name, values.topic, NAME_MAX),
        Field::Partition => push_number(name, Some(i64::from(values.partition)), format),
        Field::Offset => push_number(name, Some(values.offset), format),
        Field::Sequence => push_number(name, values.sequence, format),
        Field::Segment => push_number(name, values.segment, format),
        Field::Timestamp => {
            let pattern = match format {
                Some(Format::Strftime(pattern)) => pattern,
                _ => DEFAULT_TIME,
            };
            let time = in_zone(values.captured_at, zone);
            let text = strtime::format(pattern, &time).map_err(|e| {
                format!("the capture time {} cannot be written as `{pattern}`: {e}", values.captured_at)
            })?;
            push_clean(name, &text, NAME_MAX);
        }
    }
    Ok(())
}

fn annotation<'a>(values: &Values<'a>) -> Option<&'a str> {
    values.label?.annotation.as_deref().filter(|text| !text.is_empty())
}

/// The name of a picture's file without its directories, of whichever system, and without a picture's ending.
fn file_stem<'a>(values: &Values<'a>) -> Option<&'a str> {
    let name = values.label?.file.as_deref()?.rsplit(['/', '\\']).next()?;
    let stem = match name.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) => stem,
        _ => name,
    };
    Some(stem).filter(|stem| !stem.is_empty())
}

/// The time there. Where the year has no four digits, the first that has.
fn in_zone(time: Timestamp, zone: &TimeZone) -> Zoned {
    let there = time.max(YEAR_ZERO).to_zoned(zone.clone());
    if there.year() < 0 { YEAR_ZERO.to_zoned(TimeZone::UTC) } else { there }
}

fn push_number<N: std::fmt::Display>(name: &mut String, number: Option<N>, format: Option<&Format>) {
    use std::fmt::Write;
    let width = match format {
        Some(Format::ZeroPad(width)) => *width,
        _ => 0,
    };
    // Writing to a String cannot fail.
    let _ = match number {
        Some(number) => write!(name, "{number:0width$}"),
        None => write!(name, "none"),
    };
}

/// Appends a value with everything replaced that means something to a file system, cut to `max` bytes.
fn push_clean(name: &mut String, value: &str, max: usize) {
    let from = name.len();
    let mut leading = true;
    for c in value.chars() {
        leading &= c == '.';
        let c = if leading || c.is_control() || matches!(c, '/' | '\\') { '_' } else { c };
        if name.len() - from + c.len_utf8() > max {
            break;
        }
        name.push(c);
    }
    if name.len() == from {
        name.push('_');
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    const VALUES: Values = Values {
        camera: "agricam3",
        topic: "AgriCam3",
        partition: 2,
        offset: 42,
        captured_at: Timestamp::UNIX_EPOCH,
        sequence: Some(7),
        segment: None,
        label: None,
    };

    fn named(template: &str, values: &Values) -> Result<String, OutputError> {
        render(&Template::parse(template).expect("a template"), values)
    }

    #[test]
    fn fields_are_written_as_their_formats_say() {
        let cases = [
            ("frame_{partition}-{offset:06}_{timestamp}.jpg", "frame_2-000042_19700101_000000_000.jpg"),
            ("{camera}/{topic}-{partition}/{offset}.jpg", "agricam3/AgriCam3-2/42.jpg"),
            ("{timestamp:%Y-%m-%d}/{sequence:04}.jpg", "1970-01-01/0007.jpg"),
        ];
        for (template, expected) in cases {
            assert_eq!(named(template, &VALUES).expect("a name"), expected);
        }
        let unnumbered = Values { sequence: None, ..VALUES };
        assert_eq!(named("{sequence:04}-{offset}.jpg", &unnumbered).expect("a name"), "none-42.jpg");
    }

    #[test]
    fn a_key_that_climbs_or_hides_becomes_plain_text() {
        for (camera, expected) in [
            ("../../etc/passwd", "___.._etc_passwd/1.jpg"),
            ("/etc/cron.d/x", "_etc_cron.d_x/1.jpg"),
            ("..", "__/1.jpg"),
            (".hidden", "_hidden/1.jpg"),
            ("a\0b\n\\c", "a_b__c/1.jpg"),
            ("", "_/1.jpg"),
        ] {
            let values = Values { camera, offset: 1, ..VALUES };
            assert_eq!(named("{camera}/{offset}.jpg", &values).expect("a name"), expected, "{camera:?}");
        }
    }

    #[test]
    fn a_labelled_picture_is_named_by_its_file_else_by_what_it_shows_else_by_its_time() {
        let labelled = |file: Option<&str>, annotation: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let label = Label { annotation: own(annotation), file: own(file) };
            named("{annotation}-{file}", &Values { label: Some(&label), ..VALUES }).expect("a name")
        };
        for (file, annotation, expected) in [
            (Some("2024-09-10.png"), Some("a cat"), "a cat-2024-09-10"),
            (Some("../x/C:\\pics\\a.b.JPEG"), Some("a/b\n"), "a_b_-a.b"),
            (Some("photo.bmp"), None, "_-photo.bmp"),
            (Some("a/"), Some("..="), "__=-__="),
            (None, None, "_-19700101_000000_000"),
            (Some(".png"), Some(""), "_-19700101_000000_000"),
        ] {
            assert_eq!(labelled(file, annotation), expected);
        }
    }

    #[test]
    fn a_name_that_no_file_can_have_makes_the_record_invalid() {
        let topic = "t".repeat(249);
        let values = Values { topic: &topic, ..VALUES };
        let error = named("{topic}_{offset:020}.jpg", &values).expect_err("refused");
        assert!(matches!(error, OutputError::Frame { reason: InvalidReason::bad_name, .. }), "{error}");
    }

    #[test]
    fn times_before_the_calendar_have_a_name_of_the_same_length() {
        for (captured_at, expected) in
            [(Timestamp::MIN, "00000101_000000_000.jpg"), (Timestamp::MAX, "99991230_220000_999.jpg")]
        {
            assert_eq!(named("{timestamp}.jpg", &Values { captured_at, ..VALUES }).expect("a name"), expected);
        }
    }

    #[test]
    fn times_are_those_of_the_zone_and_where_an_hour_comes_twice_the_place_tells_the_names_apart() {
        let template = Template::parse("{timestamp:%Y-%m-%d_%H%M}/{partition}-{offset}.jpg").expect("a template");
        let zone = edgereel_crds::template::zone::zone(Some("Europe/Rome")).expect("a zone");
        let template = template.in_zone(zone);
        let name = |time: &str, offset| {
            let captured_at = time.parse().expect("a time");
            render(&template, &Values { captured_at, offset, ..VALUES }).expect("a name")
        };
        assert_eq!(name("2024-06-04T22:30:00Z", 1), "2024-06-05_0030/2-1.jpg");
        assert_eq!(name("2024-01-04T22:30:00Z", 1), "2024-01-04_2330/2-1.jpg");
        // The clocks go from 3:00 to 2:00.
        let (before, after) = (name("2024-10-27T00:30:00Z", 7), name("2024-10-27T01:30:00Z", 8));
        assert_eq!((before.as_str(), after.as_str()), ("2024-10-27_0230/2-7.jpg", "2024-10-27_0230/2-8.jpg"));
    }

    #[test]
    fn in_no_zone_a_time_has_a_name_of_another_length() {
        for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"] {
            let zone = edgereel_crds::template::zone::zone(Some(zone)).expect("a zone");
            let template = Template::parse("{timestamp}.jpg").expect("a template").in_zone(zone);
            for captured_at in [Timestamp::MIN, YEAR_ZERO, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                let name = render(&template, &Values { captured_at, ..VALUES }).expect("a name");
                assert_eq!(name.len(), "20240604_103000_000.jpg".len(), "{name}");
            }
        }
    }

    /// Templates of a few pieces, in any order.
    fn template() -> impl Strategy<Value = String> {
        let one_of = |pieces: &[&'static str]| prop::sample::select(pieces.to_vec());
        let other = one_of(&[
            "{camera}",
            "{sequence}",
            "{timestamp:%s}",
            "{timestamp:%j}",
            "{timestamp:%-d}",
            "{topic}",
            "{offset}",
            "-",
            "-",
            "_",
            "_",
            "/",
            "/",
            "1",
            "0-1",
            "n",
        ]);
        let partition = one_of(&["{partition}", "{partition:02}", "{partition:010}"]);
        let offset = one_of(&["{offset}", "{offset:03}", "{offset:019}"]);
        let pieces =
            (partition, offset, prop::collection::vec(other, 2..8)).prop_map(|(partition, offset, mut pieces)| {
                pieces.extend([partition, offset, "{topic}"]);
                pieces
            });
        pieces.prop_shuffle().prop_map(|pieces| format!("x{}.jpg", pieces.concat()))
    }

    /// Camera, topic, partition, offset, sequence and day of a record, alike enough to be taken for one another.
    fn record() -> impl Strategy<Value = (&'static str, &'static str, i32, i64, Option<u64>, i64)> {
        let text = || prop::sample::select(vec!["1", "11", "1-1", "1_1"]);
        let number = || prop::sample::select(vec![1, 11, 111]);
        (
            text(),
            text(),
            number(),
            number().prop_map(i64::from),
            prop::option::of(Just(1)),
            number().prop_map(i64::from),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn where_the_check_finds_names_clear_two_records_never_share_one(
            text in template(),
            records in prop::collection::vec(record(), 100),
        ) {
            let template = Template::parse(&text).expect("a template");
            let needed = [Field::Topic, Field::Partition, Field::Offset];
            prop_assume!(template.unclear(&needed, &[]).is_empty());
            let mut names = std::collections::HashMap::new();
            for (camera, topic, partition, offset, sequence, day) in &records {
                let captured_at = Timestamp::from_second(day * 86_400).expect("in range");
                let values = Values { camera, topic, partition: *partition, offset: *offset, captured_at, sequence: *sequence, segment: None, label: None };
                let Ok(name) = render(&template, &values) else { continue };
                let record = (topic, partition, offset);
                let other = names.insert(name.clone(), record);
                prop_assert!(other.is_none_or(|other| other == record), "{} for {:?} and {:?}", name, other, record);
            }
        }
    }

    proptest! {
        #[test]
        fn no_record_leads_out_of_the_directory(
            camera in ".*", topic in ".*", partition in any::<i32>(), offset in any::<i64>(), sequence in any::<Option<u64>>(),
        ) {
            let values = Values { camera: &camera, topic: &topic, partition, offset, sequence, ..VALUES };
            for template in ["{camera}/{topic}/{partition}-{offset}.jpg", "{camera}{topic}{offset}.jpg", "x/{sequence}{camera}"] {
                if let Ok(name) = named(template, &values) {
                    prop_assert!(!name.contains('\0'));
                    let plain = |c: Component| matches!(c, Component::Normal(part) if part.len() <= NAME_MAX);
                    prop_assert!(Path::new(&name).components().all(plain), "{name:?}");
                    prop_assert_eq!(name.split('/').count(), template.split('/').count());
                }
            }
        }
    }
}
