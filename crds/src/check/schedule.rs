//! What `schedule` of a `CameraStream` has to keep to.

use super::Report;
use crate::{
    api::{
        camera_stream::{CameraStreamSpec, Source},
        schedule::Schedule,
    },
    problem::FieldPath,
};

pub(super) fn check(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    let Some(schedule) = &spec.schedule else {
        let message = "it is the time zone of `schedule`, which is missing";
        return report.unless(spec.time_zone.is_none(), "spec.timeZone", message, "give `schedule`, or take it out");
    };
    if !spec.ends() {
        let (message, remedy) = match &spec.source {
            Source::Directory(_) => ("a folder that is watched has no end", "set `source.directory.watch: false`"),
            Source::File(_) => ("files that are repeated have no end", "take `source.file.repeat` out"),
            Source::Mjpeg(_) | Source::Snapshot(_) | Source::Rtsp(_) | Source::Device(_) | Source::Synthetic(_) => {
                ("a camera has no end; hours in which it captures are `activeHours`", "write `activeHours` instead")
            }
        };
        report.add("spec.schedule", message, remedy);
    }
    if let Err(wrong) = Schedule::new(schedule, spec.time_zone.as_deref()) {
        report.add(FieldPath::of("spec").key(wrong.field), wrong.message, wrong.remedy);
    }
    let message = "with `schedule` each run goes on to its end";
    report.unless(spec.active_hours.is_none(), "spec.activeHours", message, "take it out, or `schedule`");
}
