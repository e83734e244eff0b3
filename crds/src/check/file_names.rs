//! The names of the files that a sink writes, now or ever: whether two sinks could write the same one.

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        frame_sink::Output,
        template::{Field, Piece, Template},
    },
    plan::SinkPlan,
};

/// What a sink's files can be called, seen from some directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileNames {
    /// The directories on the way to them.
    below: String,
    /// `fileName`.
    template: String,
    /// Other files that it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more: Vec<String>,
    topics: Vec<String>,
}

impl FileNames {
    /// The names in the output's own directory.
    pub fn new(template: &str, topics: &[String]) -> Self {
        FileNames { below: String::new(), template: template.to_owned(), more: vec![], topics: topics.to_vec() }
    }

    /// The names that an output gives in its own directory.
    pub fn of_output(output: &Output, topics: &[String]) -> Self {
        match output {
            Output::JpegFiles(files) => FileNames::new(&files.file_name, topics),
            Output::Video(video) => FileNames::new(video.file_name(), topics),
            Output::Dataset(dataset) => {
                let picture = |ending| format!("{}{ending}", dataset.file_name);
                let more = vec![picture(".png"), picture(".webp"), dataset.annotations().to_owned()];
                FileNames { more, ..FileNames::new(&picture(".jpg"), topics) }
            }
        }
    }

    /// The names in the sink's volume.
    pub fn of(sink: &SinkPlan) -> Self {
        FileNames::of_output(&sink.spec.output, &sink.topics).below(sink.spec.output.directory())
    }

    /// The same names from further up: these directories lead to where they were seen from.
    pub fn below(mut self, directories: &str) -> Self {
        self.below = format!("{directories}/{}", self.below);
        self
    }

    /// Whether some file could be of both.
    pub fn could_meet(&self, other: &FileNames) -> bool {
        let theirs = other.all();
        self.all().iter().any(|mine| theirs.iter().any(|theirs| overlap(mine, theirs)))
    }

    /// The patterns of all its files.
    fn all(&self) -> Vec<Vec<Token>> {
        [&self.template].into_iter().chain(&self.more).filter_map(|template| self.tokens(template)).collect()
    }

    fn tokens(&self, template: &str) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        for part in self.below.split('/').filter(|part| !part.is_empty() && *part != ".") {
            tokens.extend(part.chars().map(Token::Is));
            tokens.push(Token::Is('/'));
        }
        for piece in Template::parse(template).ok()?.pieces() {
            match piece {
                Piece::Text(text) => tokens.extend(text.to_lowercase().chars().map(Token::Is)),
                Piece::Field { field: Field::Topic, .. } if self.topics.len() == 1 => {
                    tokens.extend(self.topics[0].to_lowercase().chars().map(Token::Is));
                }
                Piece::Field { field: Field::Camera | Field::Topic | Field::Annotation | Field::File, .. } => {
                    tokens.push(Token::Any);
                }
                Piece::Field { field: Field::Timestamp, format: Some(_) } => tokens.push(Token::Any),
                Piece::Field { .. } => tokens.push(Token::Digits),
            }
        }
        Some(tokens)
    }
}

/// One character of the names that a template can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// This one.
    Is(char),
    /// Any number of digits and the signs of a time.
    Digits,
    /// Any number of characters, but no `/`.
    Any,
}

/// Whether some name fits both: the two patterns walked side by side, every reachable pair of places once.
fn overlap(a: &[Token], b: &[Token]) -> bool {
    let mut reachable = vec![false; b.len() + 1];
    for i in 0..=a.len() {
        let above = std::mem::replace(&mut reachable, vec![false; b.len() + 1]);
        for j in 0..=b.len() {
            let (left, up) = (j > 0 && reachable[j - 1], above[j]);
            let diagonal = j > 0 && above[j - 1];
            reachable[j] = (i == 0 && j == 0)
                || (diagonal && i > 0 && meet(a[i - 1], b[j - 1]))
                // A repeated class stands for nothing, or takes a further character of the other side.
                || (up && i > 0 && (repeats(a[i - 1]) || (j > 0 && repeats(b[j - 1]) && meet(a[i - 1], b[j - 1]))))
                || (left && (repeats(b[j - 1]) || (i > 0 && repeats(a[i - 1]) && meet(a[i - 1], b[j - 1]))));
        }
    }
    reachable[b.len()]
}

fn repeats(token: Token) -> bool {
    !matches!(token, Token::Is(_))
}

fn meet(a: Token, b: Token) -> bool {
    match (a, b) {
        (Token::Is(a), Token::Is(b)) => a == b,
        (Token::Is(c), Token::Any) | (Token::Any, Token::Is(c)) => c != '/',
        (Token::Is(c), Token::Digits) | (Token::Digits, Token::Is(c)) => c.is_ascii_digit() || "tz-+.:".contains(c),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Vec<Token> {
        let token = |c| match c {
            '*' => Token::Any,
            '#' => Token::Digits,
            c => Token::Is(c),
        };
        text.chars().map(token).collect()
    }

    #[test]
    fn patterns_overlap_when_one_name_fits_both() {
        for (a, b, both) in [
            ("a.avi", "a.avi", true),
            ("a.avi", "b.avi", false),
            ("a_#.avi", "a_#.avi", true),
            ("gate_#.avi", "gate_b_#.avi", false),
            ("gate_*.avi", "gate_b_#.avi", true),
            ("*", "", true),
            ("d/*", "d/e/f", false),
            ("*-#.jpg", "f_#_*.jpg", true),
            ("#", "12t3", true),
            ("#", "a", false),
            ("", "a", false),
            ("a#", "a", true),
            ("a*b", "ab", true),
            ("*a", "*b", false),
        ] {
            assert_eq!(overlap(&pattern(a), &pattern(b)), both, "{a} {b}");
            assert_eq!(overlap(&pattern(b), &pattern(a)), both, "{b} {a}");
        }
    }
}
