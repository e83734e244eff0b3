//! A document's tree against its kind's shape: every problem of form, with its place.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;

use crate::{
    api::{
        active_hours::TIME_OF_DAY_PATTERN,
        archive::{BUCKET_PATTERN, ENDPOINT_PATTERN, PREFIX_PATTERN},
        camera_stream::{NO_HOST, RTSP_URL_PATTERN, SYNTHETIC_SIZE_PATTERN, URL_PATTERN},
        common::{LABEL_PATTERN, TOPIC_PATTERN},
        device::{DEVICE_PATTERN, DEVICE_SIZE_PATTERN, EXTENDED_RESOURCE_PATTERN},
        frame_sink::{START_FROM_PATTERN, VIDEO_RATE_PATTERN},
        kafka_connection::NAMESPACE_PATTERN,
        pod::ENV_PATTERN,
        retention::MIN_FREE_PATTERN,
        schedule::{NOT_FIVE_FIELDS, SCHEDULE_PATTERN},
        shape::{Field, Shape, Text},
        storage::HOST_PATH_PATTERN,
        units::{BYTE_SIZE_PATTERN, ByteSize, DURATION_PATTERN, Duration},
    },
    document::yaml::{Entry, Node, Position, Value},
    problem::{FieldPath, did_you_mean, listed, shown},
};

/// A problem of form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub at: Position,
    /// The field.
    pub field: FieldPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// It is only a field too many: what else there is can be read without it.
    pub unknown: bool,
}

/// What each of the schemas' patterns means, and how to write such a value.
const PATTERNS: [(&str, &str, &str); 18] = [
    (SCHEDULE_PATTERN, NOT_FIVE_FIELDS.0, NOT_FIVE_FIELDS.1),
    (URL_PATTERN, "a URL of a camera", "write it as `http://camera/video` or `https://…`"),
    (TIME_OF_DAY_PATTERN, "a time of day", "write it as `08:00`, `24:00` at most"),
    (RTSP_URL_PATTERN, "an RTSP URL", "write it as `rtsp://camera/stream`"),
    (SYNTHETIC_SIZE_PATTERN, "a picture size", "write width × height in pixels, as in `1280x720`"),
    (
        DEVICE_PATTERN,
        "a device",
        "write its path, as in `/dev/v4l/by-id/…` or `/dev/video0`; `edgereel discover` lists them",
    ),
    (DEVICE_SIZE_PATTERN, "a picture size", "write width × height in pixels, as in `1280x720`"),
    (
        EXTENDED_RESOURCE_PATTERN,
        "an extended resource",
        "write it as the device plugin offers it, as in `squat.ai/video`",
    ),
    (TOPIC_PATTERN, "a topic's name", "use letters, digits, `.`, `_` and `-`"),
    (HOST_PATH_PATTERN, "an absolute path", "begin it with `/`"),
    (LABEL_PATTERN, "a name", "use small letters, digits and `-`, a letter or digit at both ends"),
    (ENV_PATTERN, "a variable's name", "use letters, digits and `_`"),
    (START_FROM_PATTERN, "a start", "write `earliest`, `latest` or a time such as `2024-06-04T10:30:00Z`"),
    (NAMESPACE_PATTERN, "a namespace's name", "write the name of one, or `\"*\"` for all"),
    (BUCKET_PATTERN, "a bucket's name", "use small letters, digits, `-` and `.`, a letter or digit at both ends"),
    (
        PREFIX_PATTERN,
        "the beginning of objects' names",
        "write it as `site-a/gate`, without `/` at an end, `.` and `..`",
    ),
    (ENDPOINT_PATTERN, "a server's address", "write it as `https://minio.lan:9000`, without a path or a login"),
    (MIN_FREE_PATTERN, "a part of a disk", "write `10%`, or bytes as `50Gi`"),
];

static COMPILED: LazyLock<HashMap<&str, Regex>> = LazyLock::new(|| {
    let all = PATTERNS.iter().map(|(pattern, ..)| *pattern).chain([VIDEO_RATE_PATTERN]);
    all.map(|p| (p, Regex::new(p).expect("a constant that the tests compile"))).collect()
});

/// Every problem of form that `node` has as the value of `path`, whose key stands at `key_at`.
pub fn walk(node: &Node, key_at: Position, shape: &Shape, path: &FieldPath) -> Vec<Finding> {
    let mut walk = Walk { findings: Vec::new() };
    walk.value(node, key_at, shape, path);
    walk.findings
}

/// What to do about an RTSP URL that stands elsewhere than in the source `rtsp`.
const RTSP: (&str, &str) = ("this is an RTSP URL", "use the source `rtsp` for it");
/// The source `rtsp` takes no TLS.
const RTSPS: (&str, &str) = (
    "RTSP over TLS is not supported",
    "use `rtsp://` within a network that you trust, or the camera's `https://` MJPEG or snapshot URL",
);

struct Walk {
    findings: Vec<Finding>,
}

impl Walk {
    fn add(&mut self, at: Position, field: &FieldPath, message: impl Into<String>, remedy: impl Into<String>) {
        let (field, message, remedy) = (field.clone(), message.into(), remedy.into());
        self.findings.push(Finding { at, field, message, remedy, unknown: false });
    }

    /// `key_at` is where the value's key stands: what is missing is reported there.
    fn value(&mut self, node: &Node, key_at: Position, shape: &Shape, path: &FieldPath) {
        match (shape, &node.value) {
            (Shape::Upstream { shape, .. }, _) => self.value(node, key_at, shape, path),
            (Shape::Object(fields), Value::Map(entries)) => self.object(entries, key_at, fields, path),
            (Shape::OneOf(members), Value::Map(entries)) => self.one_of(entries, key_at, members, path),
            (Shape::Dict(item), Value::Map(entries)) => {
                for entry in entries.iter() {
                    self.value(&entry.value, entry.key_at, item, &path.key(&entry.key));
                }
            }
            (Shape::List { item, min, max }, Value::List(items)) => {
                let count = items.len() as u64;
                if count < *min {
                    self.add(key_at, path, "the list is empty", "give at least one");
                }
                if let Some(max) = max.filter(|max| count > *max) {
                    self.add(key_at, path, format!("the list has {count} entries"), format!("{max} are the most"));
                }
                for (n, node) in items.iter().enumerate() {
                    self.value(node, node.at, item, &path.index(n));
                }
            }
            (Shape::Choice(words), Value::Text(text)) => {
                if !words.iter().any(|w| w.word == *text) {
                    let known = words.iter().map(|w| w.word.as_str());
                    self.add(node.at, path, format!("`{}` is not known here", shown(text)), {
                        match did_you_mean(text, known.clone()) {
                            Some(near) => format!("did you mean `{near}`? Allowed: {}", listed(known)),
                            None => format!("allowed: {}", listed(known)),
                        }
                    });
                }
            }
            (Shape::Text(rule) | Shape::IntOrText(rule), Value::Text(text)) => self.text(node.at, rule, text, path),
            (Shape::IntOrText(rule), Value::Number(number, _)) if !number.is_f64() => {
                self.text(node.at, rule, &number.to_string(), path);
            }
            (Shape::Integer { min, max }, Value::Number(number, _)) if !number.is_f64() => {
                self.range(node.at, "a whole number", (*min, *max), number, path);
            }
            (Shape::Number { min, max }, Value::Number(number, _)) => {
                self.range(node.at, "a number", (*min, *max), number, path);
            }
            (Shape::Bool, Value::Bool(..)) => {}
            (_, Value::Null) => {
                self.add(key_at, path, "it has no value", format!("give {}, or take it out", wanted(shape)))
            }
            (shape, value) => self.wrong_type(node.at, shape, value, path),
        }
    }

    fn object(&mut self, entries: &[Entry], key_at: Position, fields: &[Field], path: &FieldPath) {
        for entry in entries {
            match fields.iter().find(|f| f.name == entry.key) {
                // As the API server has it: an optional field without a value is a field left out.
                Some(field) if matches!(entry.value.value, Value::Null) && !field.required => {}
                Some(field) => self.value(&entry.value, entry.key_at, &field.shape, &path.key(&entry.key)),
                None => self.unknown(entry, fields, path, true),
            }
        }
        for field in fields.iter().filter(|f| f.required && !entries.iter().any(|e| e.key == f.name)) {
            let remedy = format!("add {}", wanted(&field.shape));
            self.add(key_at, &path.key(&field.name), "it is missing", remedy);
        }
    }

    fn one_of(&mut self, entries: &[Entry], key_at: Position, members: &[Field], path: &FieldPath) {
        let names = || members.iter().map(|m| m.name.as_str());
        let known: Vec<&Entry> = entries.iter().filter(|e| names().any(|n| n == e.key)).collect();
        for entry in entries.iter().filter(|e| !names().any(|n| n == e.key)) {
            self.unknown(entry, members, path, !known.is_empty());
        }
        match known.as_slice() {
            [] if entries.is_empty() => {
                self.add(key_at, path, "nothing is chosen", format!("give exactly one of {}", listed(names())));
            }
            [] => {}
            [_] => {}
            [first, second, ..] => {
                let all = listed(known.iter().map(|e| &e.key));
                let message = format!("{all} are given, the first in line {}; only one can be", first.key_at.line);
                self.add(second.key_at, path, message, "keep one of them");
            }
        }
        for entry in known {
            if let Some(member) = members.iter().find(|m| m.name == entry.key) {
                self.value(&entry.value, entry.key_at, &member.shape, &path.key(&entry.key));
            }
        }
    }

    fn range(
        &mut self,
        at: Position,
        what: &str,
        (min, max): (Option<f64>, Option<f64>),
        number: &serde_json::Number,
        path: &FieldPath,
    ) {
        let value = number.as_f64().unwrap_or(f64::MAX);
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            let from = min.map_or(String::new(), |n| format!(" from {n}"));
            let to = max.map_or(String::new(), |n| format!(" to {n}"));
            self.add(at, path, format!("{number} is out of range"), format!("write {what}{from}{to}"));
        }
    }

    /// `beside`: what else there is can be read without it.
    fn unknown(&mut self, entry: &Entry, fields: &[Field], path: &FieldPath, beside: bool) {
        let names = fields.iter().map(|f| f.name.as_str());
        let remedy = match did_you_mean(&entry.key, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields here are {}", listed(names)),
        };
        let (at, field, message) = (entry.key_at, path.key(&entry.key), "there is no such field".into());
        self.findings.push(Finding { at, field, message, remedy, unknown: beside });
    }

    fn text(&mut self, at: Position, rule: &Text, text: &str, path: &FieldPath) {
        let length = text.chars().count() as u64;
        if length < rule.min {
            return self.add(at, path, "it is empty", "give a text");
        }
        if let Some(max) = rule.max.filter(|max| length > *max) {
            return self.add(at, path, format!("it has {length} characters"), format!("{max} is the most"));
        }
        let Some(pattern) = rule.pattern.as_deref() else { return };
        let own_message = match pattern {
            BYTE_SIZE_PATTERN => text.parse::<ByteSize>().err(),
            DURATION_PATTERN => text.parse::<Duration>().err(),
            _ => None,
        };
        if let Some(message) = own_message {
            // The units' own errors are `what; how`, as everything here is.
            let (what, how) = message.split_once("; ").unwrap_or((&message, "write it as in `64Mi`"));
            return self.add(at, path, shown_around(what, text), how);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("rtsps") if [URL_PATTERN, RTSP_URL_PATTERN].contains(&pattern) => {
                return self.add(at, path, RTSPS.0, RTSPS.1);
            }
            Some("rtsp") if pattern == URL_PATTERN => return self.add(at, path, RTSP.0, RTSP.1),
            Some(scheme) if [URL_PATTERN, RTSP_URL_PATTERN].contains(&pattern) => {
                let rest = &text[scheme.len()..];
                let small = COMPILED.get(pattern).is_some_and(|regex| regex.is_match(&format!("{scheme}{rest}")));
                if small && !text.starts_with(scheme) {
                    let message = format!("`{}://` is in capitals", &text[..scheme.len()]);
                    return self.add(at, path, message, format!("write it in small letters: `{scheme}://`"));
                }
                if rest == "://" {
                    return self.add(at, path, NO_HOST.0, NO_HOST.1);
                }
            }
            _ => {}
        }
        if COMPILED.get(pattern).is_some_and(|regex| !regex.is_match(text)) {
            let (what, how) = PATTERNS.iter().find(|(p, ..)| *p == pattern).map_or(
                ("a video's rate", "write `source` or a whole number of frames a second from 1 to 240"),
                |(_, what, how)| (*what, *how),
            );
            self.add(at, path, format!("`{}` is not {what}", shown(text)), how);
        }
    }

    fn wrong_type(&mut self, at: Position, shape: &Shape, value: &Value, path: &FieldPath) {
        let (found, text) = match value {
            Value::Null => ("nothing", ""),
            Value::Bool(_, text) => ("a boolean", text.as_str()),
            Value::Number(_, text) => ("a number", text.as_str()),
            Value::Text(text) => ("a text", text.as_str()),
            Value::List(_) => ("a list", ""),
            Value::Map(_) => ("a mapping", ""),
        };
        let scalar = matches!(value, Value::Bool(..) | Value::Number(..));
        let quoted = scalar.then(|| format!("{:?}", shown(text)));
        let remedy = match (shape, quoted) {
            (Shape::Text(Text { pattern: Some(p), .. }), Some(_)) if p == DURATION_PATTERN => {
                "write a duration with its unit: `500ms`, `10s`, `5m`, `1h30m`".into()
            }
            (Shape::Text(_), Some(quoted)) => format!("put it in quotes: `{quoted}`"),
            _ => format!("give {}", wanted(shape)),
        };
        let message =
            if text.is_empty() { format!("this is {found}") } else { format!("`{}` is {found}", shown(text)) };
        self.add(at, path, message, remedy);
    }
}

/// The units' messages quote the text; a long one is cut.
fn shown_around(message: &str, text: &str) -> String {
    message.replacen(text, &shown(text), 1)
}

/// What a shape wants, for a sentence that begins with `give`.
fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Object(fields) => {
            let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
            match required.as_slice() {
                [] => "a mapping of fields".into(),
                names => format!("a mapping with {}", listed(names)),
            }
        }
        Shape::OneOf(members) => format!("a mapping with exactly one of {}", listed(members.iter().map(|m| &m.name))),
        Shape::Dict(_) => "a mapping of names to values".into(),
        Shape::List { .. } => "a list".into(),
        Shape::Choice(words) => format!("one of {}", listed(words.iter().map(|w| &w.word))),
        Shape::Text(Text { pattern: Some(p), .. }) if p == DURATION_PATTERN => "a duration, as in `10s`".into(),
        Shape::Text(_) => "a text".into(),
        Shape::IntOrText(Text { pattern: Some(p), .. }) if p == BYTE_SIZE_PATTERN => "a size, as in `64Mi`".into(),
        Shape::IntOrText(_) => "a text or a whole number".into(),
        Shape::Integer { .. } => "a whole number".into(),
        Shape::Number { .. } => "a number".into(),
        Shape::Bool => "`true` or `false`".into(),
        Shape::Upstream { name, .. } => format!("a mapping as Kubernetes' `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{camera_stream::CameraStreamSpec, frame_sink::FrameSinkSpec, kafka_connection::KafkaConnectionSpec},
        document::yaml,
    };

    fn found<T: schemars::JsonSchema>(text: &str) -> Vec<String> {
        let (documents, faults) = yaml::parse(text);
        assert_eq!(faults, [], "{text}");
        let shape = Shape::of::<T>().expect("a shape");
        let show = |f: &Finding| format!("{}:{}: {}: {}; {}", f.at.line, f.at.column, f.field, f.message, f.remedy);
        walk(&documents[0], documents[0].at, &shape, &FieldPath::of("spec")).iter().map(show).collect()
    }

    #[test]
    fn every_mistake_of_form_in_a_camera_has_its_message() {
        let good = "topic: {name: a}\nkafka: {connectionRef: {name: lab}}\nsource: {synthetic: {}}\n";
        let table = [
            ("framerate: 1", "4:1: spec.framerate: there is no such field; did you mean `frameRate`?"),
            (
                "watchdog: {x1: 1}",
                "4:12: spec.watchdog.x1: there is no such field; the fields here are `stall`, `frozen`",
            ),
            ("suspend: 1", "4:10: spec.suspend: `1` is a number; give `true` or `false`"),
            ("suspend: on", ""),
            ("suspend:", ""),
            ("watchdog: 10s", "4:11: spec.watchdog: `10s` is a text; give a mapping of fields"),
            (
                "watchdog: {stall: 10}",
                "4:19: spec.watchdog.stall: `10` is a number; write a duration with its unit: `500ms`, `10s`, `5m`, `1h30m`",
            ),
            (
                "watchdog: {stall: 10sec}",
                "4:19: spec.watchdog.stall: `10sec` is not a duration; write it with its unit: `500ms`, `10s`, `5m`, `1h30m`",
            ),
            (
                "buffer: {memory: 64MB}",
                "4:18: spec.buffer.memory: `64MB` is not a size; write bytes as `1048576`, `64Mi`, `100k` or `1.5Gi`",
            ),
            (
                "buffer: {memory: -1}",
                "4:18: spec.buffer.memory: `-1` is not a size; write bytes as `1048576`, `64Mi`, `100k` or `1.5Gi`",
            ),
            ("buffer: {memory: 0.3}", "4:18: spec.buffer.memory: `0.3` is a number; give a size, as in `64Mi`"),
            ("producer: {acks: none}", "4:18: spec.producer.acks: `none` is not known here; allowed: `all`, `leader`"),
            (
                "buffer: {whenFull: dropoldest}",
                "4:20: spec.buffer.whenFull: `dropoldest` is not known here; did you mean `dropOldest`? Allowed: \
                 `dropOldest`, `dropNewest`",
            ),
            (
                "encoding: {quality: 101}",
                "4:21: spec.encoding.quality: 101 is out of range; write a whole number from 1 to 100",
            ),
            ("encoding: {quality: 8.5}", "4:21: spec.encoding.quality: `8.5` is a number; give a whole number"),
            (
                "frameRate: {target: 0}",
                "4:21: spec.frameRate.target: 0 is out of range; write a number from 0.001 to 1000",
            ),
            ("frameRate: {target: fast}", "4:21: spec.frameRate.target: `fast` is a text; give a number"),
        ];
        for (line, message) in table {
            let expected: &[&str] = if message.is_empty() { &[] } else { &[message] };
            assert_eq!(found::<CameraStreamSpec>(&format!("{good}{line}")), expected, "{line}");
        }
    }

    #[test]
    fn what_is_missing_is_named_where_it_should_stand() {
        assert_eq!(
            found::<CameraStreamSpec>("source: {}\ntopic: {}\nkafka:\n"),
            [
                "1:1: spec.source: nothing is chosen; give exactly one of `mjpeg`, `snapshot`, `rtsp`, `device`, `directory`, `file`, `synthetic`",
                "2:1: spec.topic.name: it is missing; add a text",
                "3:1: spec.kafka: it has no value; give a mapping with `connectionRef`, or take it out",
            ]
        );
        assert_eq!(
            found::<FrameSinkSpec>("from: {topics: []}\noutput: {video: {}}"),
            [
                "1:8: spec.from.topics: the list is empty; give at least one",
                "1:1: spec.storage: it is missing; add a mapping with exactly one of `hostPath`, `persistentVolumeClaim`, \
                 `volumeClaimTemplate`",
            ]
        );
    }

    #[test]
    fn two_members_of_a_union_are_both_named() {
        let text = "from: {topics: [a]}\nstorage: {hostPath: {path: /x}}\noutput:\n  video: {}\n  jpegFiles: {}";
        assert_eq!(
            found::<FrameSinkSpec>(text),
            [
                "5:3: spec.output: `video`, `jpegFiles` are given, the first in line 4; only one can be; keep one of them"
            ]
        );
        assert_eq!(
            found::<FrameSinkSpec>("from: {topics: [a]}\nstorage: {hostPath: {path: /x}}\noutput: {vidio: {}}"),
            ["3:10: spec.output.vidio: there is no such field; did you mean `video`?"]
        );
    }

    #[test]
    fn texts_that_yaml_reads_as_something_else_are_to_be_quoted() {
        let text = "bootstrapServers: [\"a:1\"]\nproperties: {a: 1, b: yes, c: \"1\"}";
        assert_eq!(
            found::<KafkaConnectionSpec>(text),
            [
                "2:17: spec.properties.a: `1` is a number; put it in quotes: `\"1\"`",
                "2:23: spec.properties.b: `yes` is a boolean; put it in quotes: `\"yes\"`",
            ]
        );
    }

    #[test]
    fn each_pattern_says_how_to_write_the_value() {
        let table = [
            (
                "source: {mjpeg: {url: camera}}",
                "`camera` is not a URL of a camera; write it as `http://camera/video` or `https://…`",
            ),
            (
                "source: {mjpeg: {url: \"rtsp://ann:s3cret@camera:554/1\"}}",
                "spec.source.mjpeg.url: this is an RTSP URL; use the source `rtsp` for it",
            ),
            (
                "source: {rtsp: {url: \"rtsps://ann:s3cret@camera/1\"}}",
                "spec.source.rtsp.url: RTSP over TLS is not supported; use `rtsp://` within a network that you trust, or \
                 the camera's `https://` MJPEG or snapshot URL",
            ),
            (
                "source: {rtsp: {url: \"http://camera/1\"}}",
                "spec.source.rtsp.url: `http://camera/1` is not an RTSP URL; write it as `rtsp://camera/stream`",
            ),
            (
                "source: {synthetic: {size: HD}}",
                "`HD` is not a picture size; write width × height in pixels, as in `1280x720`",
            ),
            (
                "source: {rtsp: {url: \"RTSP://camera/1\"}}",
                "spec.source.rtsp.url: `RTSP://` is in capitals; write it in small letters: `rtsp://`",
            ),
            (
                "source: {mjpeg: {url: \"Http://camera/1\"}}",
                "spec.source.mjpeg.url: `Http://` is in capitals; write it in small letters: `http://`",
            ),
            (
                "source: {rtsp: {url: \"rtsp://\"}}",
                "spec.source.rtsp.url: the URL names no camera; write its host behind `//`, as in `//camera/…`",
            ),
            ("topic: {name: a b}", "`a b` is not a topic's name; use letters, digits, `.`, `_` and `-`"),
            ("topic: {name: \"\"}", "it is empty; give a text"),
        ];
        for (line, message) in table {
            let found = found::<CameraStreamSpec>(&format!("kafka: {{connectionRef: {{name: lab}}}}\n{line}"));
            assert!(found.iter().any(|f| f.ends_with(message)), "{line}: {found:?}");
        }
        let sink =
            "from: {topics: [a]}\nstorage: {hostPath: {path: x}}\nstartFrom: now\noutput: {video: {frameRate: 300}}";
        assert_eq!(
            found::<FrameSinkSpec>(sink),
            [
                "2:28: spec.storage.hostPath.path: `x` is not an absolute path; begin it with `/`",
                "3:12: spec.startFrom: `now` is not a start; write `earliest`, `latest` or a time such as \
                 `2024-06-04T10:30:00Z`",
                "4:29: spec.output.video.frameRate: `300` is not a video's rate; write `source` or a whole number of \
                 frames a second from 1 to 240",
            ]
        );
    }

    #[test]
    fn every_pattern_of_the_schemas_is_checked() {
        fn patterns(schema: &serde_json::Value, all: &mut Vec<String>) {
            match schema {
                serde_json::Value::Object(map) => {
                    all.extend(map.get("pattern").and_then(|p| p.as_str()).map(Into::into));
                    map.values().for_each(|v| patterns(v, all));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|v| patterns(v, all)),
                _ => {}
            }
        }
        let mut all = Vec::new();
        patterns(&crate::api::shape::schema_of::<CameraStreamSpec>(), &mut all);
        patterns(&crate::api::shape::schema_of::<FrameSinkSpec>(), &mut all);
        patterns(&crate::api::shape::schema_of::<KafkaConnectionSpec>(), &mut all);
        for pattern in all {
            let known = COMPILED.contains_key(&*pattern) || [BYTE_SIZE_PATTERN, DURATION_PATTERN].contains(&&*pattern);
            assert!(known, "{pattern}");
        }
    }
}
