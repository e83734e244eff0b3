//! Whether a name tells which record it belongs to.
//!
//! A name is read as a person would: from both ends, up to where something does not tell where it ends. A value ends before
//! the first character that cannot stand in it, or after its width where that is fixed. What is left alone between the two
//! is known as well. No value holds a `/`, so each part of the path is read by itself; and what one part tells is known in
//! the others.

use super::{Field, Format, Piece, Template};

/// Digits of the largest partition (`i32`) and of the largest offset (`i64`).
const PARTITION_DIGITS: usize = 10;
const OFFSET_DIGITS: usize = 19;

#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    Field(Field, Option<&'a Format>),
}

impl Template {
    /// Those of `wanted` that a name does not always tell, in their order: two records could then get the same name.
    /// `known` needs no telling.
    pub fn unclear(&self, wanted: &[Field], known: &[Field]) -> Vec<Field> {
        let components = self.components();
        let mut told = known.to_vec();
        loop {
            let before = told.len();
            components.iter().for_each(|parts| read(parts, &mut told));
            if told.len() == before {
                return wanted.iter().copied().filter(|field| !told.contains(field)).collect();
            }
        }
    }

    /// The parts between the slashes.
    fn components(&self) -> Vec<Vec<Part<'_>>> {
        let mut components = vec![vec![]];
        let last = |components: &mut Vec<Vec<_>>, part| components.last_mut().into_iter().for_each(|c| c.push(part));
        for piece in &self.pieces {
            match piece {
                Piece::Field { field, format } => last(&mut components, Part::Field(*field, format.as_ref())),
                Piece::Text(text) => {
                    for (n, text) in text.split('/').enumerate() {
                        if n > 0 {
                            components.push(vec![]);
                        }
                        if !text.is_empty() {
                            last(&mut components, Part::Text(text));
                        }
                    }
                }
            }
        }
        components
    }
}

/// Adds to `told` what these parts tell.
fn read(parts: &[Part<'_>], told: &mut Vec<Field>) {
    let ends = |part: &Part<'_>, next: Option<&Part<'_>>, told: &[Field]| match (*part, next) {
        (Part::Text(_), _) | (Part::Field(..), None) => true,
        (Part::Field(field, format), _) if has_width(field, format) || told.contains(&field) => true,
        (Part::Field(field, _), Some(Part::Text(text))) => text.chars().any(|c| !may_hold(field, c)),
        (Part::Field(..), Some(Part::Field(..))) => false,
    };
    let mut tell = |part: &Part<'_>| {
        if let Part::Field(field, _) = part
            && !told.contains(field)
        {
            told.push(*field);
        }
        told.clone()
    };
    let mut so_far = tell(&Part::Text(""));
    let mut left = 0;
    while left < parts.len() && ends(&parts[left], parts.get(left + 1), &so_far) {
        so_far = tell(&parts[left]);
        left += 1;
    }
    let mut right = parts.len();
    while right > left && ends(&parts[right - 1], parts[..right - 1].last(), &so_far) {
        so_far = tell(&parts[right - 1]);
        right -= 1;
    }
    if right == left + 1 {
        tell(&parts[left]);
    }
}

/// Whether all its values have the same length.
fn has_width(field: Field, format: Option<&Format>) -> bool {
    match (field, format) {
        (Field::Timestamp, None) => true,
        (Field::Timestamp, Some(Format::Strftime(pattern))) => pattern_has_width(pattern),
        (Field::Partition, Some(Format::ZeroPad(width))) => *width >= PARTITION_DIGITS,
        (Field::Offset, Some(Format::ZeroPad(width))) => *width >= OFFSET_DIGITS,
        // A sequence may be `none`.
        _ => false,
    }
}

/// Whether all times of years of four digits have the same length. Of the directives that are not known to it is not.
fn pattern_has_width(pattern: &str) -> bool {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let known = match rest.next() {
            Some('Y' | 'm' | 'd' | 'H' | 'I' | 'M' | 'S' | 'y' | 'j' | 'F' | 'T' | 'R' | '%') => true,
            Some('3' | '6' | '9') => rest.next() == Some('f'),
            _ => false,
        };
        if !known {
            return false;
        }
    }
    true
}

/// Whether a character may stand in a field's value. Of times and names anything may.
fn may_hold(field: Field, c: char) -> bool {
    match field {
        Field::Partition | Field::Offset | Field::Segment => c.is_ascii_digit(),
        Field::Sequence => c.is_ascii_digit() || "none".contains(c),
        Field::Topic => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
        Field::Camera | Field::Timestamp | Field::Annotation | Field::File => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unclear(template: &str, known: &[Field]) -> Vec<Field> {
        let template = Template::parse(template).expect("a template");
        template.unclear(&[Field::Topic, Field::Partition, Field::Offset], known)
    }

    #[test]
    fn names_that_tell_their_record_are_told_from_those_that_do_not() {
        use Field::{Offset, Partition, Topic};
        for clear in [
            "frame_{partition}-{offset:06}_{timestamp}.jpg",
            "{partition}-{offset}.jpg",
            "cam1{partition}-{offset}0.jpg",
            "{partition}0-1{offset}.jpg",
            "{partition:010}{offset:019}.jpg",
            "{partition:010}{offset}.jpg",
            "{camera}_{partition}-{offset}_{timestamp}.jpg",
            "{camera}_{partition}-{offset}_{timestamp:%Y-%m-%dT%H:%M:%S.%6f}.jpg",
            "{timestamp}{partition}-{offset}.jpg",
            "{offset}/{partition}{offset}.jpg",
            "{partition}{offset}/{partition}-{offset}.jpg",
            "{topic}{partition}-{offset}.jpg",
            "day/{timestamp:%B}/{partition}/{offset}.JPEG",
            "{partition}-{sequence}-{offset}.jpg",
            "{offset}_{partition}_{timestamp:%B}.jpg",
        ] {
            assert_eq!(unclear(clear, &[Topic]), [], "{clear}");
        }
        for clear in [
            "{topic}/frame_{partition}-{offset:06}_{timestamp}.jpg",
            "{topic}-{partition}-{offset}.jpg",
            "{partition}-{topic}-{offset}.jpg",
            "{partition}-{offset}-{topic}.jpg",
            "{topic}@{offset}p{partition}.jpg",
            "{topic}/{topic}{partition}-{offset}.jpg",
        ] {
            assert_eq!(unclear(clear, &[]), [], "{clear}");
        }
        for (ambiguous, fields) in [
            ("{topic}{offset}-{partition}.jpg", vec![Topic, Offset]),
            ("{topic}{partition}{offset}.jpg", vec![Topic, Partition, Offset]),
            ("{topic}-{partition}{offset}.jpg", vec![Topic, Partition, Offset]),
            ("{topic}-{partition}-{offset}_{camera}.jpg", vec![Topic, Partition, Offset]),
            ("{topic}/{partition}{offset:06}.jpg", vec![Partition, Offset]),
            ("{topic}/{partition}1{offset}.jpg", vec![Partition, Offset]),
            ("{topic}/{camera}{partition}-{offset}.jpg", vec![Partition]),
            ("{topic}/{partition}-{offset}{timestamp:%s}.jpg", vec![Offset]),
            ("{topic}/{offset}none{sequence}{partition}.jpg", vec![Partition]),
        ] {
            assert_eq!(unclear(ambiguous, &[]), fields, "{ambiguous}");
        }
    }
}
