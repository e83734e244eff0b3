//! What the source `file` of a `CameraStream` has to keep to.

use super::{Report, directory::duration, paths};
use crate::{
    api::{
        camera_stream::{CameraStreamSpec, Reencode, Source},
        file::FileSource,
    },
    problem::{FieldPath, shown},
};

const AT: &str = "spec.source.file";

pub(super) fn check(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    let Source::File(file) = &spec.source else { return };
    check_file(file, report);
    let both = file.frame_interval.is_some() && spec.frame_rate.target.is_some();
    let message = "`frameRate.target` says the same in another way";
    report.unless(!both, &format!("{AT}.frameInterval"), message, "keep one of the two");
    if file.repeat {
        return;
    }
    let message = "frames of a file are encoded with `quality`, where they are not JPEG already";
    report.unless(spec.encoding.reencode == Reencode::Never, "spec.encoding.reencode", message, "take it out");
    let message = "a file waits for Kafka, and no frame of it is dropped";
    report.unless(!spec.frame_rate.adaptive, "spec.frameRate.adaptive", message, "take it out");
}

fn check_file(file: &FileSource, report: &mut Report<'_>) {
    let at = FieldPath::of(AT);
    if let Err((message, remedy)) = paths::directory(&file.path) {
        report.add(at.key("path"), message, remedy);
    } else if file.path.contains('%') && file.path.rsplit('%').next().is_some_and(is_number_sign) {
        let message = format!("`{}` has a number as FFmpeg's sequences do", shown(&file.path));
        report.add(at.key("path"), message, "write `*` for the number: the order of the numbers is kept");
    } else if let Err(why) = file.parts() {
        let message = format!("`{}` is no pattern: {why}", shown(&file.path));
        report.add(at.key("path"), message, "write `*` for any part of a name, and `[*]` for a star itself");
    }
    if let Some(Err((message, remedy))) = file.ledger.as_deref().map(paths::host_path) {
        report.add(at.key("ledger"), message, remedy);
    }
    if file.repeat && file.ledger.is_some() {
        let message = "what is repeated is sent anew each time, and nothing is noted";
        report.add(at.key("ledger"), message, "take it out");
    }
    let (start, end) = (file.start.unwrap_or_default(), file.end);
    if let Some(end) = end.filter(|end| **end <= *start) {
        report.add(at.key("end"), format!("`{end}` is not behind `start`, `{start}`"), "make it later, or take it out");
    }
    if file.frame_interval.is_some_and(|interval| !(1..=1_000_000).contains(&interval)) {
        report.add(at.key("frameInterval"), "it is out of range", "write a whole number from 1 to 1000000");
    }
    if !(0.001..=1000.0).contains(&file.pictures_per_second) {
        report.add(at.key("picturesPerSecond"), "it is out of range", "write a number from 0.001 to 1000");
    }
    duration(&at.key("settle"), file.settle, (0, 3600), "write `0s` to `1h`", report);
}

/// What stands behind a `%`, as in `frame_%04d.jpg`.
fn is_number_sign(rest: &str) -> bool {
    rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('d')
}
