//! The names of the files that outputs write: what all outputs have in common.

use super::{Report, paths};
use crate::{
    api::{
        frame_sink::{Output, VIDEO_COPY},
        template::{Field, Template, zone::zone},
    },
    problem::{FieldPath, shown},
};

/// Bytes for the longest ending of a picture.
const PICTURE_ENDING: usize = 5;

pub(super) fn directory(directory: &str, at: &FieldPath, report: &mut Report<'_>) {
    if let Err((message, remedy)) = paths::directory(directory) {
        report.add(at.key("directory"), message, remedy);
    }
}

pub(super) fn time_zone(name: Option<&str>, at: &FieldPath, report: &mut Report<'_>) {
    if let Err(error) = zone(name) {
        let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
        report.add(at.key("timeZone"), message, remedy);
    }
}

/// Reads the name in a field of an output; `endings` are those that it may have, none where it has none.
pub(super) fn file_name(
    name: &str,
    endings: &[&str],
    at: &FieldPath,
    field: &str,
    report: &mut Report<'_>,
) -> Option<Template> {
    paths::file_name(name, endings).map_err(|(message, remedy)| report.add(at.key(field), message, remedy)).ok()
}

/// Whether a picture's name tells its record.
pub(super) fn one_record_a_name(name: &Template, topics: &[String], at: &FieldPath, report: &mut Report<'_>) {
    let needed = [Field::Partition, Field::Offset, Field::Topic];
    let (needed, known) = if topics.len() > 1 { (&needed[..], &[][..]) } else { needed.split_at(2) };
    let (there, missing): (Vec<_>, Vec<_>) = needed.iter().partition(|field| name.has(**field));
    let in_words = |fields: &[Field]| {
        let fields: Vec<_> = fields.iter().map(|field| format!("`{{{field}}}`")).collect();
        fields.join(" and ")
    };
    let unclear = name.unclear(&there, known);
    if !missing.is_empty() {
        let message = format!("without {} two frames could get the same name", in_words(&missing));
        report.add(at.key("fileName"), message, "add it");
    } else if !unclear.is_empty() {
        let message = format!(
            "where {} ends cannot be told in a name, so that two frames could get the same one",
            in_words(&unclear)
        );
        let remedy = "put a character that cannot stand in the values between the fields, such as `-` between numbers or \
                      `/` after names";
        report.add(at.key("fileName"), message, remedy);
    }
    if name.has(Field::Segment) {
        report.add(at.key("fileName"), "a picture has no `{segment}`", "take it out");
    }
    one_name_a_topic(topics, report);
}

/// Only the pictures of a data set are labelled.
pub(super) fn no_labels(name: &Template, at: &FieldPath, field: &str, report: &mut Report<'_>) {
    for label in [Field::Annotation, Field::File] {
        if name.has(label) {
            let message = format!("only the pictures of a data set have `{{{label}}}`");
            report.add(at.key(field), message, "take it out, or use `output.dataset`");
        }
    }
}

/// No file name begins with a dot of a topic's: the worker writes `_` instead.
fn one_name_a_topic(topics: &[String], report: &mut Report<'_>) {
    let written = |topic: &str| {
        let plain = topic.trim_start_matches('.');
        "_".repeat(topic.len() - plain.len()) + plain
    };
    for (n, topic) in topics.iter().enumerate() {
        let same = |other: &&String| *other != topic && written(other) == written(topic);
        if let Some(other) = topics[..n].iter().find(same) {
            let message = format!("in file names `{}` and `{}` are the same", shown(topic), shown(other));
            report.add(FieldPath::of("spec.from.topics").index(n), message, "use one sink for each");
        }
    }
}

/// Whether files can have every name that frames of these topics lead to.
pub(super) fn names_fit(output: &Output, topics: &[String], report: &mut Report<'_>) {
    let names = match output {
        Output::JpegFiles(files) => vec![("fileName", files.template(), 0)],
        Output::Video(video) => vec![("fileName", video.template(), VIDEO_COPY)],
        Output::Dataset(dataset) => vec![
            ("fileName", dataset.template(), PICTURE_ENDING),
            ("annotations", dataset.annotations_template(), VIDEO_COPY),
        ],
    };
    for (field, name, more) in names {
        // A template that cannot be read has been reported.
        if let Ok(Err(error)) = name.map(|name| name.fits(topics, more)) {
            let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
            report.add(FieldPath::of(output.field()).key(field), message, remedy);
        }
    }
}
