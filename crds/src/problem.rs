//! A problem in a resource: where it is, what is wrong, and what to do.

use std::fmt;

use crate::redact;

/// A problem at a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the caller gave it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// The resource, as in `FrameSink/lab` (`FrameSink/namespace/lab` outside the namespace `default`); empty where the
    /// document does not say.
    pub resource: String,
    /// The field, as in `spec.output.video.codec`; empty where it is not about a field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    /// As compilers do: `lab.yaml:12:7: FrameSink/lab: spec.output: what is wrong; what to do`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        for part in [&self.resource, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// A field's place in a resource: `spec.from.topics[1]`, `spec.topic.config["retention.ms"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A mapping's key.
    Key(String),
    /// A list's item, from 0.
    Index(usize),
}

impl FieldPath {
    /// The path of a plain field: names joined by dots.
    pub fn of(dotted: &str) -> Self {
        FieldPath(dotted.split('.').map(|key| Step::Key(key.into())).collect())
    }

    /// The path of `key` below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.below(Step::Key(key.into()))
    }

    /// The path of the item `index` below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.below(Step::Index(index))
    }

    /// The steps, from the document down.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn below(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        FieldPath(steps)
    }
}

impl From<&str> for FieldPath {
    fn from(dotted: &str) -> Self {
        FieldPath::of(dotted)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.chars().all(|c| c.is_alphanumeric() || "_-$".contains(c)) && !key.is_empty() => {
                    write!(f, "{}{key}", if n == 0 { "" } else { "." })?;
                }
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The name that was meant, if one of `known` is near.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| {
        let distance = strsim::osa_distance(&name.to_lowercase(), &candidate.to_lowercase());
        (distance <= (candidate.chars().count() / 3).max(1)).then_some(distance)
    };
    // A name of this length is no slip of the finger, and comparing it would take time.
    if name.len() > 100 {
        return None;
    }
    known.into_iter().filter_map(|c| near(&c).map(|d| (d, c))).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Names in backquotes with commas between: `` `a`, `b` ``.
pub fn listed<I: AsRef<str>>(names: impl IntoIterator<Item = I>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A value as a message may show it: on one line, not too long, and without a login if it is a URL where it stands.
pub fn shown(value: &str) -> String {
    const MOST: usize = 80;
    let value = redact::text(value);
    let mut text: String = value.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_lists_and_dotted_keys() {
        assert_eq!(FieldPath::of("spec.from.topics").index(1).to_string(), "spec.from.topics[1]");
        assert_eq!(FieldPath::of("spec.config").key("retention.ms").to_string(), r#"spec.config["retention.ms"]"#);
    }

    #[test]
    fn a_problem_reads_as_a_compilers() {
        let mut problem = Problem {
            file: "lab.yaml".into(),
            line: 12,
            column: 7,
            resource: "FrameSink/x".into(),
            field: "spec.output".into(),
            message: "two outputs".into(),
            remedy: "keep one".into(),
        };
        assert_eq!(problem.to_string(), "lab.yaml:12:7: FrameSink/x: spec.output: two outputs; keep one");
        problem.resource.clear();
        problem.field.clear();
        problem.remedy.clear();
        assert_eq!(problem.to_string(), "lab.yaml:12:7: two outputs");
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = ["frameRate", "encoding", "topic", "kafka"];
        assert_eq!(did_you_mean("framerate", known), Some("frameRate"));
        assert_eq!(did_you_mean("topics", known), Some("topic"));
        assert_eq!(did_you_mean("kfaka", known), Some("kafka"));
        assert_eq!(did_you_mean("storage", known), None);
    }
}
