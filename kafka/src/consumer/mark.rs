//! What stands beside a committed offset: of which topic it is, and how many partitions that had when reading began.
//!
//! A name is not a topic: one that was deleted and made anew has the same name, and offsets of the old one mean nothing in
//! it. Kafka gives each its own id (2.8 and later). It is the first line of a commit's metadata; the output's own state
//! follows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A topic's id, as Kafka's tools show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(String);

impl TopicId {
    /// An id in its text form.
    pub fn new(text: impl Into<String>) -> Self {
        TopicId(text.into())
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first line of a commit's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The topic's id; none from brokers that give none.
    pub id: Option<TopicId>,
    /// The partitions that the topic had at this sink's first start; none where an earlier version committed. Those after
    /// them were added since.
    pub first: Option<i32>,
}

const BEGIN: &str = "edgereel/2 ";
/// The most bytes that a mark takes of a commit's metadata.
pub const LONGEST: usize = 64;

impl Mark {
    /// A commit's metadata: this mark and the output's state.
    pub fn with(&self, state: &str) -> String {
        let id = self.id.as_ref().map_or("-", |id| &id.0);
        let first = self.first.map_or_else(|| "-".to_owned(), |first| first.to_string());
        format!("{BEGIN}{id} {first}\n{state}")
    }

    /// Takes a commit's metadata apart. What has no mark is all state: an earlier version's, or another program's.
    pub fn split(metadata: &str) -> (Self, &str) {
        let parse = || {
            let (line, state) = metadata.strip_prefix(BEGIN)?.split_once('\n')?;
            let (id, first) = line.split_once(' ')?;
            let id = (id != "-").then(|| TopicId::new(id));
            let first = if first == "-" { None } else { Some(first.parse().ok()?) };
            Some((Mark { id, first }, state))
        };
        parse().unwrap_or((Mark::default(), metadata))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_earlier_version_committed_is_all_state() {
        for state in ["", r#"{"v":1,"segment":3}"#, "edgereel/2 ", "edgereel/2 x\n", "edgereel/2 x y\n{}"] {
            assert_eq!(Mark::split(state), (Mark::default(), state));
        }
    }

    proptest! {
        #[test]
        fn a_mark_comes_back_as_it_was(
            id in prop::option::of("[A-Za-z0-9_-]{22}"), first in prop::option::of(0i32..i32::MAX), state in "(?s).{0,200}",
        ) {
            // No id of Kafka's is a single dash.
            let mark = Mark { id: id.map(TopicId::new), first };
            let text = mark.with(&state);
            prop_assert!(text.len() <= LONGEST + state.len());
            prop_assert_eq!(Mark::split(&text), (mark, state.as_str()));
        }

        #[test]
        fn any_metadata_is_read(text in "(?s).*") {
            let _ = Mark::split(&text);
        }
    }
}
