//! The reference manual, written from the shapes of the kinds: every field with its type, default and limits.

use std::fmt::Write;

use serde_json::Value;

use crate::api::{
    declared::About,
    name::{API_VERSION, Kind},
    shape::{Field, Shape, Text},
    units::{BYTE_SIZE_PATTERN, DURATION_PATTERN},
};

const HEAD: &str = "\
# Reference

Every field of every kind, generated from the types by `cargo run -p edgereel-crds --bin crdgen`: do not edit.

How values are written:

- a **size** is a number of bytes with a suffix as Kubernetes has them: `1048576`, `1Mi`, `100k`, `1.5Gi`
- a **duration** has its unit: `500ms`, `10s`, `5m`, `1h30m`
- **one of** several blocks: exactly one of them is given, as in `source: {mjpeg: {…}}`

An unknown field is an error. `edgereel validate -f FILE` says where it is and what was meant.
";

/// The manual as Markdown.
pub fn markdown() -> String {
    Kind::ALL.iter().fold(HEAD.to_owned(), |manual, kind| manual + &of_kind(&kind.about()))
}

/// One kind's part of it.
pub fn of_kind(about: &About) -> String {
    let About { name, short, schema, .. } = about;
    let mut out = String::new();
    let text = schema["description"].as_str().unwrap_or_default();
    let shape = Shape::parse(schema).expect("a kind's schema has a shape");
    push(&mut out, format_args!("\n## {name}\n\n{text}\n\n`apiVersion: {API_VERSION}`, short name `{short}`.\n"));
    section(&mut out, "spec", "", &shape);
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

/// A block's table, and after it the blocks inside.
fn section(out: &mut String, path: &str, description: &str, shape: &Shape) {
    let (fields, lead) = match shape {
        Shape::Object(fields) => (fields, ""),
        Shape::OneOf(fields) => (fields, "Exactly one of these.\n\n"),
        _ => return,
    };
    push(out, format_args!("\n### `{path}`\n\n"));
    if !description.is_empty() {
        push(out, format_args!("{}\n\n", one_line(description)));
    }
    push(out, format_args!("{lead}| Field | Type | Default | What it does |\n|---|---|---|---|\n"));
    for field in fields {
        let default = match (&field.default, field.required, matches!(shape, Shape::OneOf(_))) {
            (_, _, true) => String::new(),
            (_, true, _) => "**required**".into(),
            (Some(value), ..) => shown_default(value),
            (None, ..) => String::new(),
        };
        let name = &field.name;
        push(out, format_args!("| `{name}` | {} | {default} | {} |\n", type_of(&field.shape), about(field)));
    }
    for field in fields {
        section(out, &format!("{path}.{}", field.name), &field.description, &field.shape);
    }
}

fn about(field: &Field) -> String {
    let mut text = one_line(&field.description);
    if let Shape::Choice(words) = &field.shape {
        for word in words.iter().filter(|w| !w.description.is_empty()) {
            push(&mut text, format_args!("<br>`{}`: {}", word.word, one_line(&word.description)));
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Blocks have their defaults at their fields.
fn shown_default(value: &Value) -> String {
    match value {
        Value::Object(_) => String::new(),
        Value::String(text) if text.is_empty() => "`\"\"`".into(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn type_of(shape: &Shape) -> String {
    let range = |min: Option<f64>, max: Option<f64>| match (min, max) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) => format!(", from {min}"),
        (None, Some(max)) => format!(", up to {max}"),
        (None, None) => String::new(),
    };
    match shape {
        Shape::Object(_) => "block".into(),
        Shape::OneOf(_) => "one of".into(),
        Shape::Dict(item) => format!("map of {}s", type_of(item)),
        Shape::List { item, min, .. } => {
            format!("list of {}s{}", type_of(item), if *min > 0 { ", at least one" } else { "" })
        }
        Shape::Choice(words) => words.iter().map(|w| format!("`{}`", w.word)).collect::<Vec<_>>().join(", "),
        Shape::Text(Text { pattern: Some(p), .. }) if p == DURATION_PATTERN => "duration".into(),
        Shape::IntOrText(Text { pattern: Some(p), .. }) if p == BYTE_SIZE_PATTERN => "size".into(),
        Shape::Text(_) => "text".into(),
        Shape::IntOrText(_) => "text or whole number".into(),
        Shape::Integer { min, max } => format!("whole number{}", range(*min, *max)),
        Shape::Number { min, max } => format!("number{}", range(*min, *max)),
        Shape::Bool => "`true`, `false`".into(),
        Shape::Upstream { name, .. } => format!("Kubernetes' `{name}`"),
    }
}
