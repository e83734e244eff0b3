//! YAML text as a tree whose nodes know their line and column.
//!
//! Scalars are read as `kubectl` reads them (YAML 1.1's `yes` and `on` are booleans too), so that the same file means the
//! same here and there. Everything is bounded: size, depth, and the nodes that aliases can make.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::problem::{FieldPath, Step, shown};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// How deep lists and mappings may lie in each other.
const MAX_DEPTH: usize = 64;
/// How many nodes a file may come to once its aliases are followed.
const MAX_NODES: usize = 1_000_000;

/// Keys that begin a resource: when one comes again, it is another's.
const BEGINS: [&str; 2] = ["apiVersion", "kind"];

/// A place in a text, line and column from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A boolean, with its text as written.
    Bool(bool, String),
    /// A number, with its text as written.
    Number(serde_json::Number, String),
    /// A text.
    Text(String),
    /// A list. Shared, for aliases point at one many times.
    List(Rc<Vec<Node>>),
    /// A mapping, in the order written.
    Map(Rc<Vec<Entry>>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Position,
    /// The value.
    pub value: Node,
}

/// What is wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Node {
    /// The mapping's entries; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where a field stands, or the nearest that there is above it: a scalar's own place, a list's or mapping's key.
    pub fn locate(&self, path: &FieldPath) -> Position {
        let (mut node, mut at) = (self, self.at);
        for step in path.steps() {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    entries.iter().find(|e| e.key == *key).map(|e| (&e.value, e.key_at))
                }
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, item.at)),
                _ => None,
            };
            let Some((found, key_at)) = next else { return at };
            let scalar = !matches!(found.value, Value::Null | Value::List(_) | Value::Map(_));
            (node, at) = (found, if scalar { found.at } else { key_at });
        }
        at
    }

    /// The value as JSON. A mapping's empty entries are left out, as the API server does.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value, _) => (*value).into(),
            Value::Number(value, _) => value.clone().into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .filter(|e| !matches!(e.value.value, Value::Null))
                .map(|e| (e.key.clone(), e.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// The documents of a text, as far as they can be read, and what is wrong with it.
pub fn parse(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let mut faults = Vec::new();
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; the most is {MAX_BYTES}", text.len());
        faults.push(Fault { at: Position { line: 1, column: 1 }, message, remedy: "split it".into() });
        return (Vec::new(), faults);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parser = Parser::new_from_str(text);
    let mut builder = Builder { parser, anchors: HashMap::new(), nodes: 0, faults, unseparated: Vec::new() };
    let mut documents = Vec::new();
    if let Err(fault) = builder.documents(&mut documents) {
        builder.faults.push(fault);
    }
    // What is wrong with the end of a text, the parser sees a line or two behind it.
    let end = text.lines().count() + 1;
    for fault in builder.faults.iter_mut().filter(|fault| fault.at.line > end) {
        fault.at = Position { line: end, column: 1 };
    }
    (documents, builder.faults)
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Finished anchors, each with the number of its nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    faults: Vec<Fault>,
    /// Documents that another one follows without a line between them.
    unseparated: Vec<Node>,
}

type Fallible<T> = Result<T, Fault>;

impl<'a> Builder<'a> {
    fn next(&mut self) -> Fallible<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = Position { line: error.marker().line().max(1), column: error.marker().col() + 1 };
                let remedy = "the rest of this file was not checked".into();
                Err(Fault { at, message: format!("not YAML: {}", shown(error.info())), remedy })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn documents(&mut self, documents: &mut Vec<Node>) -> Fallible<()> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                content => {
                    let last = self.node(content, span, 0)?;
                    documents.append(&mut self.unseparated);
                    documents.push(last);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Fallible<Node> {
        let at = position(span);
        let before = self.nodes;
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            let message = format!("lists and mappings lie more than {MAX_DEPTH} deep in each other");
            return Err(Fault { at, message, remedy: "no resource needs that".into() });
        }
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), at)),
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), at);
                (anchor, Value::List(Rc::new(self.list(depth)?)))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), at);
                (anchor, Value::Map(Rc::new(self.map(depth)?)))
            }
            _ => (0, Value::Null),
        };
        let node = Node { at, value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: Position) -> Fallible<Node> {
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            return Err(Fault { at, message: "an alias inside its own anchor".into(), remedy: "write it out".into() });
        };
        self.count(size, at)?;
        Ok(node)
    }

    fn count(&mut self, nodes: usize, at: Position) -> Fallible<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("the file comes to more than {MAX_NODES} values once its aliases are followed");
            return Err(Fault { at, message, remedy: "use fewer aliases, or split it".into() });
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Fallible<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Fallible<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut merges = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key_at = position(span);
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if merge {
                merges.push(value);
                continue;
            }
            let Some(key) = key_text(key.value) else {
                self.fault(key_at, "a key that is a list or a mapping", "keys are names");
                continue;
            };
            if depth == 0 && BEGINS.contains(&key.as_str()) && seen.contains_key(&key) {
                self.fault(key_at, "another resource begins here", "put a line `---` before it");
                let at = entries.first().map_or(key_at, |entry| entry.key_at);
                self.unseparated.push(Node { at, value: Value::Map(Rc::new(std::mem::take(&mut entries))) });
                seen.clear();
            }
            if let Some(first) = seen.get(&key) {
                let message = format!("`{}` is there twice; the first is in line {first}", shown(&key));
                self.fault(key_at, &message, "keep one of them");
                continue;
            }
            seen.insert(key.clone(), key_at.line);
            entries.push(Entry { key, key_at, value });
        }
        for merged in merges {
            self.merge(&merged, &mut entries, &mut seen);
        }
        Ok(entries)
    }

    /// `<<: *base`: the base's entries, where the mapping has none of its own.
    fn merge(&mut self, merged: &Node, entries: &mut Vec<Entry>, seen: &mut HashMap<String, usize>) {
        match &merged.value {
            Value::Map(base) => {
                for entry in base.iter() {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.key_at.line);
                        entries.push(entry.clone());
                    }
                }
            }
            Value::List(bases) if bases.iter().all(|base| matches!(base.value, Value::Map(_))) => {
                for base in bases.iter() {
                    self.merge(base, entries, seen);
                }
            }
            _ => self.fault(merged.at, "`<<` merges something that is not a mapping", "write `<<: *name` of a mapping"),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Value {
        if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str") || style != ScalarStyle::Plain {
            return Value::Text(text.into());
        }
        self.check_tag(tag, at);
        plain(text)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.fault(at, &format!("the tag `{}`", shown(&tag.to_string())), "resources have no tags of their own");
        }
    }

    fn fault(&mut self, at: Position, message: &str, remedy: &str) {
        self.faults.push(Fault { at, message: message.into(), remedy: remedy.into() });
    }
}

fn position(span: Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn key_text(value: Value) -> Option<String> {
    match value {
        Value::Null => Some("null".into()),
        Value::Text(text) | Value::Bool(_, text) | Value::Number(_, text) => Some(text),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// A scalar without quotes, by the rules of the YAML library that `kubectl` uses.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true, text.into());
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false, text.into());
        }
        _ => {}
    }
    match number(text) {
        Some(number) => Value::Number(number, text.into()),
        None => Value::Text(text.into()),
    }
}

/// Whole and decimal numbers. Not `0644`, which is octal to some readers and decimal to others: it stays a text, and a
/// field that wants a number says so.
fn number(text: &str) -> Option<serde_json::Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = unsigned.bytes().next()?;
    let padded = unsigned.len() > 1 && first == b'0' && unsigned.as_bytes()[1].is_ascii_digit();
    if padded || !(first.is_ascii_digit() || first == b'.') || text.len() > 40 {
        return None;
    }
    if let Some(hex) = unsigned.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().filter(|_| unsigned == text).map(Into::into);
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let digits = text.strip_prefix('+').unwrap_or(text);
        return digits.parse::<u64>().map(Into::into).or_else(|_| digits.parse::<i64>().map(Into::into)).ok();
    }
    let decimal = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse::<f64>().ok().filter(|_| decimal).and_then(serde_json::Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let (mut documents, faults) = parse(text);
        assert_eq!((documents.len(), faults), (1, Vec::new()), "{text}");
        documents.remove(0)
    }

    fn faults(text: &str) -> Vec<String> {
        parse(text).1.iter().map(|f| format!("{}:{}: {}; {}", f.at.line, f.at.column, f.message, f.remedy)).collect()
    }

    #[test]
    fn scalars_are_what_kubectl_makes_of_them() {
        let json = one("a: 1\nb: -2.5\nc: yes\nd: \"yes\"\ne: 010\nf: 1Mi\ng: ~\nh: 2024-06-04T10:30:00Z\ni: 0x10\nj: 1e3\nk: .inf")
            .to_json();
        let expected = serde_json::json!({"a": 1, "b": -2.5, "c": true, "d": "yes", "e": "010", "f": "1Mi",
            "h": "2024-06-04T10:30:00Z", "i": 16, "j": 1000.0, "k": ".inf"});
        assert_eq!(json, expected);
    }

    #[test]
    fn every_node_knows_its_line_and_column() {
        let node = one("a:\n  b:\n  - x\n  - y: 1\n  c: {d: e}\n");
        let at = |path: &FieldPath| {
            let at = node.locate(path);
            (at.line, at.column)
        };
        assert_eq!(at(&FieldPath::of("a.b").index(0)), (3, 5));
        assert_eq!(at(&FieldPath::of("a.b").index(1).key("y")), (4, 8));
        assert_eq!(at(&FieldPath::of("a.c.d")), (5, 10));
        assert_eq!(at(&FieldPath::of("a.c.missing")), (5, 3), "the nearest parent's key");
    }

    #[test]
    fn anchors_aliases_and_merges_are_followed() {
        let json = one("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b]").to_json();
        assert_eq!(json["use"], serde_json::json!({"y": 3, "x": 1}));
        assert_eq!(json["list"], serde_json::json!([{"x": 1, "y": 2}]));
    }

    #[test]
    fn a_key_twice_is_a_fault_at_the_second() {
        assert_eq!(faults("a: 1\nb: 2\na: 3"), ["3:1: `a` is there twice; the first is in line 1; keep one of them"]);
    }

    #[test]
    fn a_forgotten_line_between_two_documents_is_told_as_such_and_both_are_read() {
        let text = "apiVersion: v\nkind: A\nspec: {x: 1}\napiVersion: v\nkind: B\nspec: {x: 2}\nspec: {}\nkind: C\n";
        let (documents, _) = parse(text);
        let kinds: Vec<_> = documents.iter().map(|d| d.get("kind").and_then(Node::text).unwrap_or_default()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!(
            faults(text),
            [
                "4:1: another resource begins here; put a line `---` before it",
                "7:1: `spec` is there twice; the first is in line 6; keep one of them",
                "8:1: another resource begins here; put a line `---` before it",
            ]
        );
        assert_eq!(
            faults("x: {kind: A, kind: B}"),
            ["1:14: `kind` is there twice; the first is in line 1; keep one of them"]
        );
    }

    #[test]
    fn what_is_not_yaml_says_where_and_keeps_the_documents_before() {
        let (documents, faults) = parse("a: 1\n---\nb: [1, 2\n---\nc: 1");
        assert_eq!(documents.len(), 1);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.starts_with("not YAML: ") && faults[0].at.line >= 3, "{faults:?}");
    }

    #[test]
    fn aliases_cannot_make_a_small_file_large() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let items = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{items}]\n");
        }
        assert!(faults(&bomb)[0].contains("more than 1000000 values"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(faults(&"[".repeat(100))[0].contains("more than 64 deep"));
        assert!(faults(&" ".repeat(MAX_BYTES + 1))[0].contains("the most is 4194304; split it"));
    }

    #[test]
    fn tags_and_keys_that_are_lists_are_refused() {
        assert_eq!(faults("a: !secret x"), ["1:4: the tag `!secret`; resources have no tags of their own"]);
        assert_eq!(faults("? [a]\n: 1"), ["1:3: a key that is a list or a mapping; keys are names"]);
        assert_eq!(
            faults("<<: 1"),
            ["1:5: `<<` merges something that is not a mapping; write `<<: *name` of a mapping"]
        );
    }
}
