//! From a file's name back to its record.

use edgereel_crds::template::{Field, Piece, Template};
use edgereel_frame::picture::Kind;
use regex::Regex;

/// A place in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// What the names of a template look like.
pub struct Names {
    pattern: Regex,
    /// The text that all of them begin with.
    start: String,
    topics: Vec<String>,
    /// Whether each says its topic.
    pub with_topic: bool,
}

impl Names {
    /// The names that a sink of these topics gives, and gave when it read these `earlier` ones.
    pub fn new(template: &Template, topics: &[String], earlier: &[String]) -> Result<Self, regex::Error> {
        Self::with(template, "", topics, earlier)
    }

    /// The same of pictures that each have the ending of their kind.
    pub fn of_pictures(template: &Template, topics: &[String], earlier: &[String]) -> Result<Self, regex::Error> {
        let endings: Vec<String> = Kind::ALL.iter().map(|kind| regex::escape(kind.ending())).collect();
        Self::with(template, &format!("(?:{})", endings.join("|")), topics, earlier)
    }

    fn with(template: &Template, ending: &str, topics: &[String], earlier: &[String]) -> Result<Self, regex::Error> {
        let with_topic =
            template.pieces().iter().any(|piece| matches!(piece, Piece::Field { field: Field::Topic, .. }));
        let all = [topics, earlier].concat();
        let start = match template.pieces().first() {
            Some(Piece::Text(text)) => text.clone(),
            _ => String::new(),
        };
        Ok(Names { pattern: pattern(template, ending, &all)?, start, topics: topics.to_vec(), with_topic })
    }

    /// Whether a name that was cut off may be one of ours.
    pub fn could_begin_with(&self, cut: &str) -> bool {
        let length = cut.len().min(self.start.len());
        cut.as_bytes()[..length] == self.start.as_bytes()[..length]
    }

    /// The record that a name belongs to, if it is one of ours.
    pub fn place(&self, name: &str) -> Option<Place> {
        let parts = self.pattern.captures(name)?;
        let number = |field| parts.name(field)?.as_str().parse().ok();
        let topic = match (parts.name("topic"), self.topics.as_slice()) {
            (Some(topic), _) => topic.as_str().to_owned(),
            (None, [only]) => only.clone(),
            (None, _) => return None,
        };
        Some(Place { topic, partition: i32::try_from(number("partition")?).ok()?, offset: number("offset")? })
    }
}

/// A pattern that every name of the template fits, with groups for what names a record. The sink's own topics are looked
/// for first: they may have in them what stands beside them in the name.
fn pattern(template: &Template, ending: &str, topics: &[String]) -> Result<Regex, regex::Error> {
    let mut topics: Vec<String> = topics.iter().map(|topic| regex::escape(topic)).collect();
    topics.sort_by_key(|topic| std::cmp::Reverse(topic.len()));
    topics.push("[A-Za-z0-9._-]+?".into());
    let topic = format!("(?<topic>{})", topics.join("|"));
    let mut seen = vec![];
    let mut text = String::from("^");
    for piece in template.pieces() {
        match piece {
            Piece::Text(literal) => text.push_str(&regex::escape(literal)),
            Piece::Field { field, .. } => {
                let group = match field {
                    Field::Partition => "(?<partition>[0-9]+)",
                    Field::Offset => "(?<offset>[0-9]+)",
                    Field::Topic => &topic,
                    _ => "[^/]+?",
                };
                let again = seen.contains(field);
                seen.push(*field);
                // A group's name may stand once; the same field again is any text.
                text.push_str(if again { "[^/]+?" } else { group });
            }
        }
    }
    text.push_str(ending);
    text.push('$');
    Regex::new(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(template: &str, topics: &[&str]) -> Names {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).into()).collect();
        Names::new(&Template::parse(template).expect("valid"), &topics, &["a_1_b".into()]).expect("valid")
    }

    fn place(topic: &str, partition: i32, offset: i64) -> Option<Place> {
        Some(Place { topic: topic.into(), partition, offset })
    }

    #[test]
    fn a_name_leads_back_to_its_record() {
        let names = names("{timestamp:%Y-%m-%d}/frame_{partition}-{offset:06}_{timestamp}.jpg", &["gate"]);
        assert_eq!(names.place("2024-06-04/frame_2-000123_20240604_103000_123.jpg"), place("gate", 2, 123));
        for foreign in ["holiday.jpg", "2024-06-04/frame_x-1_1.jpg", "d/frame_1-99999999999999999999_1.jpg"] {
            assert_eq!(names.place(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn topics_that_begin_alike_are_told_apart() {
        let names = names("{topic}_{partition}_{offset}_{camera}.jpg", &["a", "a_1"]);
        assert_eq!(names.place("a_1_2_3_gate.jpg"), place("a_1", 2, 3));
        assert_eq!(names.place("a_2_3_gate.jpg"), place("a", 2, 3));
        assert_eq!(names.place("b_2_3_gate.jpg"), place("b", 2, 3));
        assert_eq!(names.place("a_1_b_2_3_gate.jpg"), place("a_1_b", 2, 3), "that was read earlier");
    }
}
