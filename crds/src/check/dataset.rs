//! What the output `dataset` has to keep to.

use std::time::Duration;

use super::{Report, output_names as names};
use crate::{
    api::{dataset::Dataset, template::Field, units::ByteSize},
    problem::FieldPath,
};

pub(super) fn check(dataset: &Dataset, topics: &[String], report: &mut Report<'_>) {
    let at = FieldPath::of("spec.output.dataset");
    names::directory(&dataset.directory, &at, report);
    names::time_zone(dataset.time_zone.as_deref(), &at, report);
    if let Some(name) = names::file_name(&dataset.file_name, &[], &at, "fileName", report) {
        names::one_record_a_name(&name, topics, &at, report);
    }
    report.unless(
        *dataset.merge_window <= Duration::from_secs(5),
        "spec.output.dataset.mergeWindow",
        format!("`{}` is out of range", dataset.merge_window),
        "write `0s` to `5s`",
    );
    let annotations = names::file_name(dataset.annotations(), &[".csv"], &at, "annotations", report);
    let Some(rotate) = &dataset.rotate else { return };
    report.unless(
        rotate.every.is_some() || rotate.max_bytes.is_some(),
        "spec.output.dataset.rotate",
        "it has no limit",
        "give `every` or `maxBytes`; for one file that grows on, take `rotate` out",
    );
    if let Some(bytes) = rotate.max_bytes {
        report.unless(
            bytes >= ByteSize(1 << 10),
            "spec.output.dataset.rotate.maxBytes",
            format!("`{bytes}` is too small"),
            "write at least `1Ki`",
        );
    }
    if annotations.is_some_and(|name| !name.has(Field::Timestamp) && !name.has(Field::Segment)) {
        report.add(at.key("annotations"), "every file would get the same name", "add `{timestamp}` or `{segment}`");
    }
}
