//! File name templates: `frame_{partition}-{offset:06}_{timestamp:%Y-%m-%d}.jpg` as a list of pieces.
//!
//! Parsing is here, where the check and the worker share it; rendering is the worker's. [`unique`] says whether a name tells
//! its record, [`length`] whether a file can have it, [`zone`] in which time zone it is written.

pub mod length;
pub mod unique;
pub mod zone;

use std::fmt;

use jiff::tz::TimeZone;

/// How `{timestamp}` is written without a format of its own.
pub const DEFAULT_TIME: &str = "%Y%m%d_%H%M%S_%3f";

/// A parsed file name template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    zone: TimeZone,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands as it is; never empty, and never two of them side by side.
    Text(String),
    /// A value of the frame.
    Field {
        /// Which value.
        field: Field,
        /// How it is written; fits the field.
        format: Option<Format>,
    },
}

/// A value that a frame brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The camera's name.
    Camera,
    /// The record's topic.
    Topic,
    /// The record's partition.
    Partition,
    /// The record's offset.
    Offset,
    /// When the frame was captured.
    Timestamp,
    /// The camera's count of its frames.
    Sequence,
    /// The video segment's number, from 1.
    Segment,
    /// What a labelled picture shows.
    Annotation,
    /// The name of a labelled picture's file.
    File,
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A number with zeros on its left, at least this many digits, 1 to 20: `{offset:06}`.
    ZeroPad(usize),
    /// A time by a strftime pattern, in the template's time zone: `{timestamp:%Y-%m-%d}`.
    Strftime(String),
}

/// The longest number that a field can hold has 20 digits.
const MAX_WIDTH: usize = 20;

impl Field {
    /// All of them, in the order in which messages name them.
    pub const ALL: [Field; 9] = [
        Field::Camera,
        Field::Topic,
        Field::Partition,
        Field::Offset,
        Field::Timestamp,
        Field::Sequence,
        Field::Segment,
        Field::Annotation,
        Field::File,
    ];

    /// The name between the braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Camera => "camera",
            Field::Topic => "topic",
            Field::Partition => "partition",
            Field::Offset => "offset",
            Field::Timestamp => "timestamp",
            Field::Sequence => "sequence",
            Field::Segment => "segment",
            Field::Annotation => "annotation",
            Field::File => "file",
        }
    }

    fn format(self, spec: &str) -> Result<Format, String> {
        match self {
            Field::Camera | Field::Topic | Field::Annotation | Field::File => {
                Err(format!("`{{{self}:{spec}}}`: `{self}` takes no format; write `{{{self}}}`"))
            }
            Field::Timestamp => strftime(spec),
            Field::Partition | Field::Offset | Field::Sequence | Field::Segment => zero_pad(self, spec),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn zero_pad(field: Field, spec: &str) -> Result<Format, String> {
    let digits = spec.strip_prefix('0').filter(|d| !d.is_empty() && d.len() <= 2);
    match digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok()) {
        Some(width @ 1..=MAX_WIDTH) => Ok(Format::ZeroPad(width)),
        _ => Err(format!(
            "`{{{field}:{spec}}}` is not a way to write a number; give a zero and a width up to {MAX_WIDTH}, as in `{{{field}:06}}`"
        )),
    }
}

/// Any time will do: whether a pattern can be written depends on its directives, not on the time.
fn strftime(spec: &str) -> Result<Format, String> {
    let bad =
        |why: &str| format!("`{{timestamp:{spec}}}`: {why}; write a strftime pattern, as in `{{timestamp:%Y-%m-%d}}`");
    if !spec.contains('%') {
        return Err(bad("no `%` directive"));
    }
    let time = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let sample = jiff::fmt::strtime::format(spec, &time).map_err(|_| bad("an unknown directive"))?;
    if sample.contains(['/', '\\', '\0']) || sample.chars().any(char::is_control) {
        return Err(bad("it writes a `/`, a backslash or a control character"));
    }
    Ok(Format::Strftime(spec.to_owned()))
}

impl Template {
    /// Reads a template; times are in UTC. Braces that are to stand in the name are doubled: `{{`, `}}`.
    ///
    /// # Errors
    /// What is wrong and how to write it, without the resource or field.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let Some(end) = rest.find('}').filter(|_| brace == "{") else {
                let other = if brace == "{" { "}" } else { "{" };
                return Err(format!("`{brace}` has no `{other}`; to have a brace in the name, double it"));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(field_piece(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Template { pieces, zone: TimeZone::UTC })
    }

    /// The template's parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The same name with its times in this zone.
    pub fn in_zone(self, zone: TimeZone) -> Template {
        Template { zone, ..self }
    }

    /// The time zone of its times.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// How many directories it leads down.
    pub fn depth(&self) -> usize {
        let slashes = |piece: &Piece| match piece {
            Piece::Text(text) => text.matches('/').count(),
            Piece::Field { .. } => 0,
        };
        self.pieces.iter().map(slashes).sum()
    }

    /// Whether a field stands in it.
    pub fn has(&self, wanted: Field) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Field { field, .. } if *field == wanted))
    }
}

fn field_piece(inner: &str) -> Result<Piece, String> {
    let (name, spec) = match inner.split_once(':') {
        Some((name, spec)) => (name, Some(spec)),
        None => (inner, None),
    };
    let Some(field) = Field::ALL.into_iter().find(|f| f.as_str() == name) else {
        let all = Field::ALL.map(|f| format!("`{{{f}}}`")).join(", ");
        return Err(format!("there is no field `{{{name}}}`; the fields are {all}"));
    };
    let format = spec.map(|spec| field.format(spec)).transpose()?;
    Ok(Piece::Field { field, format })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(field: Field, format: Option<Format>) -> Piece {
        Piece::Field { field, format }
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn a_template_is_text_and_fields_in_their_order() {
        let template = Template::parse("f_{partition}-{offset:06}_{timestamp:%Y-%m}{camera}.jpg").expect("valid");
        let expected = [
            text("f_"),
            field(Field::Partition, None),
            text("-"),
            field(Field::Offset, Some(Format::ZeroPad(6))),
            text("_"),
            field(Field::Timestamp, Some(Format::Strftime("%Y-%m".into()))),
            field(Field::Camera, None),
            text(".jpg"),
        ];
        assert_eq!(template.pieces(), expected);
        assert!(template.has(Field::Offset) && !template.has(Field::Segment));
    }

    #[test]
    fn doubled_braces_stand_for_themselves() {
        assert_eq!(Template::parse("a{{b}}c").expect("valid").pieces(), [text("a{b}c")]);
    }

    #[test]
    fn every_mistake_says_how_to_write_it() {
        let all = "`{camera}`, `{topic}`, `{partition}`, `{offset}`, `{timestamp}`, `{sequence}`, `{segment}`, \
                   `{annotation}`, `{file}`";
        let table = [
            ("{frame}.jpg", format!("there is no field `{{frame}}`; the fields are {all}")),
            ("{}.jpg", format!("there is no field `{{}}`; the fields are {all}")),
            ("{offset", "`{` has no `}`; to have a brace in the name, double it".into()),
            ("offset}", "`}` has no `{`; to have a brace in the name, double it".into()),
            ("{camera:06}", "`{camera:06}`: `camera` takes no format; write `{camera}`".into()),
            ("{offset:6}", "`{offset:6}` is not a way to write a number; give a zero and a width up to 20, as in `{offset:06}`".into()),
            ("{offset:0}", "`{offset:0}` is not a way to write a number; give a zero and a width up to 20, as in `{offset:06}`".into()),
            ("{offset:021}", "`{offset:021}` is not a way to write a number; give a zero and a width up to 20, as in `{offset:06}`".into()),
            (
                "{timestamp:iso}",
                "`{timestamp:iso}`: no `%` directive; write a strftime pattern, as in `{timestamp:%Y-%m-%d}`".into(),
            ),
            (
                "{timestamp:%Y%!}",
                "`{timestamp:%Y%!}`: an unknown directive; write a strftime pattern, as in `{timestamp:%Y-%m-%d}`"
                    .into(),
            ),
            (
                "{timestamp:%D}",
                "`{timestamp:%D}`: it writes a `/`, a backslash or a control character; write a strftime pattern, as in \
                 `{timestamp:%Y-%m-%d}`"
                    .into(),
            ),
        ];
        for (template, message) in table {
            assert_eq!(Template::parse(template), Err(message), "{template}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "(\\PC|[{}:%0-9]){0,40}") {
            let _ = Template::parse(&text);
        }

        #[test]
        fn text_with_its_braces_doubled_comes_back_as_it_was(text in "(\\PC|[{}]){1,40}") {
            let template = Template::parse(&text.replace('{', "{{").replace('}', "}}")).expect("valid");
            prop_assert_eq!(template.pieces(), [Piece::Text(text)]);
        }
    }
}
