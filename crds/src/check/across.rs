//! What goes wrong only between resources that are sound one by one: shared groups, shared files, circles of dead letters.

use std::collections::HashSet;

use super::{FieldProblem, Kind, Report, Resource, references::Resolved};
use crate::{
    frame_sink::{Output, Storage},
    plan::{CameraPlan, Connection, SinkPlan},
    problem::listed,
    template::{Field, Piece, Template},
};

pub(super) fn check(resolved: &Resolved, problems: &mut Vec<FieldProblem>) {
    for (n, (camera, document)) in resolved.cameras.iter().enumerate() {
        let mut report = report(Kind::CameraStream, &camera.name, *document, problems);
        for (other, _) in resolved.cameras[..n].iter().filter(|(other, _)| other.name != camera.name) {
            same_topic(camera, other, &mut report);
        }
    }
    for (n, (sink, document)) in resolved.sinks.iter().enumerate() {
        let mut report = report(Kind::FrameSink, &sink.name, *document, problems);
        // Two of one name are one problem already.
        for (other, _) in resolved.sinks[..n].iter().filter(|(other, _)| other.name != sink.name) {
            shared_group(sink, other, &mut report);
            shared_files(sink, other, &mut report);
        }
        dead_letters(sink, resolved, &mut report);
    }
}

fn report<'a>(
    kind: Kind,
    name: &crate::plan::ObjectName,
    document: usize,
    problems: &'a mut Vec<FieldProblem>,
) -> Report<'a> {
    Report::on(kind, &Resource { name: name.clone(), spec: (), document }, problems)
}

/// One cluster can have several `KafkaConnection`s; a broker in common gives it away.
fn same_cluster(a: &Connection, b: &Connection) -> bool {
    a.name == b.name || a.spec.bootstrap_servers.iter().any(|server| b.spec.bootstrap_servers.contains(server))
}

/// Two cameras may fill one topic, but they have to agree on how it is made.
fn same_topic(camera: &CameraPlan, other: &CameraPlan, report: &mut Report<'_>) {
    let (mine, theirs) = (&camera.spec.topic, &other.spec.topic);
    if mine.name == theirs.name
        && mine.partitions != theirs.partitions
        && same_cluster(&camera.connection, &other.connection)
    {
        report.add(
            "spec.topic.partitions",
            format!(
                "{} here, but {} in {} with the same topic",
                mine.partitions,
                theirs.partitions,
                Kind::CameraStream.label(&other.name)
            ),
            "write the same number in both",
        );
    }
}

fn shared_group(sink: &SinkPlan, other: &SinkPlan, report: &mut Report<'_>) {
    let common: Vec<&String> = sink.topics.iter().filter(|topic| other.topics.contains(topic)).collect();
    if sink.group == other.group && !common.is_empty() && same_cluster(&sink.connection, &other.connection) {
        report.add(
            "spec.group",
            format!(
                "{} reads {} in the group `{}` too: each would get a part of the frames",
                Kind::FrameSink.label(&other.name),
                listed(common),
                sink.group
            ),
            "give each sink its own group; to share the work, raise `replicas` of one",
        );
    }
}

fn shared_files(sink: &SinkPlan, other: &SinkPlan, report: &mut Report<'_>) {
    let (Some(mine), Some(theirs)) = (names_written(sink), names_written(other)) else { return };
    if overlap(&mine, &theirs) {
        let output = match sink.spec.output {
            Output::JpegFiles(_) => "spec.output.jpegFiles",
            Output::Video(_) => "spec.output.video",
        };
        report.add(
            output,
            format!(
                "{} could write files of the same names into the same directory",
                Kind::FrameSink.label(&other.name)
            ),
            "give each sink its own `directory`, or another `fileName`",
        );
    }
}

/// A circle: what this sink gives up on comes back to it, at once or through others.
fn dead_letters(sink: &SinkPlan, resolved: &Resolved, report: &mut Report<'_>) {
    let Some(dead) = &sink.spec.dead_letter else { return };
    let mut seen = HashSet::new();
    let mut open = vec![(dead.topic.as_str(), vec![dead.topic.as_str()])];
    while let Some((topic, way)) = open.pop() {
        if sink.topics.iter().any(|own| own == topic) {
            let message = match way.as_slice() {
                [_] => format!("the sink reads `{topic}` itself: a bad record would come round for ever"),
                way => format!("a bad record would come round for ever, by {}", listed(way)),
            };
            report.add("spec.deadLetter.topic", message, "use a topic of its own");
            return;
        }
        if !seen.insert(topic) {
            continue;
        }
        for (next, _) in &resolved.sinks {
            let reads = next.topics.iter().any(|t| t == topic) && same_cluster(&next.connection, &sink.connection);
            if let Some(further) = next.spec.dead_letter.as_ref().filter(|_| reads) {
                let mut way = way.clone();
                way.push(&further.topic);
                open.push((&further.topic, way));
            }
        }
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

/// The full names of the files that a sink writes.
fn names_written(sink: &SinkPlan) -> Option<Vec<Token>> {
    let (directory, name) = match &sink.spec.output {
        Output::JpegFiles(files) => (&files.directory, files.file_name.as_str()),
        Output::Video(video) => (&video.directory, video.file_name.as_deref()?),
    };
    let root = match &sink.spec.storage {
        Storage::HostPath(host) => host.path.clone(),
        // Claims have names, not paths; the NUL keeps them apart from both.
        Storage::PersistentVolumeClaim(claim) => format!("\0{}/{}", sink.name.namespace, claim.claim_name),
        // Each sink has claims of its own.
        Storage::VolumeClaimTemplate(_) => format!("\0{}/\0{}", sink.name.namespace, sink.name.name),
    };
    let mut tokens = Vec::new();
    for part in root.split('/').chain(directory.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        tokens.extend(part.chars().map(Token::Is));
        tokens.push(Token::Is('/'));
    }
    for piece in Template::parse(name).ok()?.pieces() {
        match piece {
            Piece::Text(text) => tokens.extend(text.to_lowercase().chars().map(Token::Is)),
            Piece::Field { field: Field::Topic, .. } if sink.topics.len() == 1 => {
                tokens.extend(sink.topics[0].to_lowercase().chars().map(Token::Is));
            }
            Piece::Field { field: Field::Camera | Field::Topic, .. } => tokens.push(Token::Any),
            Piece::Field { field: Field::Timestamp, format: Some(_) } => tokens.push(Token::Any),
            Piece::Field { .. } => tokens.push(Token::Digits),
        }
    }
    Some(tokens)
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
