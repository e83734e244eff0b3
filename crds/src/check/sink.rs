//! What a `FrameSink` has to keep to.

use std::time::Duration;

use super::{Report, archive, dataset, names, output_names, paths, pod};
use crate::{
    api::{
        frame_sink::{Durability, FrameSinkSpec, From, JpegFiles, OnInvalid, Output, Segment, StartFrom, Video},
        retention::{MinFree, Retention, WhenFull},
        storage::{Storage, VolumeClaimTemplate},
        template::Field,
        units::ByteSize,
    },
    problem::{FieldPath, shown},
};

pub(super) fn check(spec: &FrameSinkSpec, report: &mut Report<'_>) {
    let topics = check_from(spec, report);
    if let StartFrom::Timestamp(time) = &spec.start_from
        && time.parse::<jiff::Timestamp>().is_err()
    {
        let message = format!("there is no time `{}`", shown(time));
        report.add("spec.startFrom", message, "write it as `2024-06-04T10:30:00Z`");
    }
    match &spec.output {
        Output::JpegFiles(files) => check_jpeg_files(files, topics, report),
        Output::Video(video) => {
            check_video(video, report);
            one_writer(spec, "video", report);
        }
        Output::Dataset(dataset) => {
            dataset::check(dataset, topics, report);
            one_writer(spec, "data set", report);
        }
    }
    report.unless(
        spec.replicas >= 0,
        "spec.replicas",
        "less than none is none",
        "to stop it, write `0`, or use `suspend: true`",
    );
    if let Storage::HostPath(host) = &spec.storage
        && let Err((message, remedy)) = paths::host_path(&host.path)
    {
        report.add("spec.storage.hostPath.path", message, remedy);
    }
    if let Storage::VolumeClaimTemplate(claim) = &spec.storage {
        check_claim_template(claim, report);
    }
    pod::template(&spec.template, report);
    check_durability(&spec.durability, report);
    if let Some(retention) = &spec.retention {
        check_retention(retention, &spec.output, report);
    }
    if let Some(wanted) = &spec.archive {
        archive::check(wanted, &spec.output, report);
    }
    check_dead_letter(spec, report);
}

fn one_writer(spec: &FrameSinkSpec, what: &str, report: &mut Report<'_>) {
    report.unless(
        spec.replicas <= 1,
        "spec.replicas",
        format!("{} workers cannot write one {what}", spec.replicas),
        "set `replicas: 1`, or use one sink for each camera",
    );
}

/// Reports what is wrong with `from`, and gives the topics that it names; a camera's is not known here.
fn check_from<'a>(spec: &'a FrameSinkSpec, report: &mut Report<'_>) -> &'a [String] {
    let From::Topics(topics) = &spec.from else { return &[] };
    let field = FieldPath::of("spec.from.topics");
    if topics.is_empty() {
        report.add(field.clone(), "the list is empty", "give at least one");
    }
    for (n, topic) in topics.iter().enumerate() {
        names::topic(topic, &field.index(n), report);
        if topics[..n].contains(topic) {
            report.add(field.index(n), format!("`{}` is there twice", shown(topic)), "keep one of them");
        }
    }
    report.unless(
        spec.kafka.is_some(),
        "spec.kafka",
        "it is missing, and `from.topics` does not say where the topics are",
        "add `kafka: {connectionRef: {name: …}}`",
    );
    topics
}

fn check_jpeg_files(files: &JpegFiles, topics: &[String], report: &mut Report<'_>) {
    let at = FieldPath::of("spec.output.jpegFiles");
    output_names::directory(&files.directory, &at, report);
    output_names::time_zone(files.time_zone.as_deref(), &at, report);
    if let Some(name) = output_names::file_name(&files.file_name, &[".jpg", ".jpeg"], &at, "fileName", report) {
        output_names::one_record_a_name(&name, topics, &at, report);
        output_names::no_labels(&name, &at, "fileName", report);
    }
}

fn check_video(video: &Video, report: &mut Report<'_>) {
    let at = FieldPath::of("spec.output.video");
    output_names::directory(&video.directory, &at, report);
    output_names::time_zone(video.time_zone.as_deref(), &at, report);
    let read = |name: &String| output_names::file_name(name, &[".avi"], &at, "fileName", report);
    let name = video.file_name.as_ref().and_then(read);
    if let Some(name) = &name {
        output_names::no_labels(name, &at, "fileName", report);
    }
    report.unless(
        *video.merge_window <= Duration::from_secs(5),
        "spec.output.video.mergeWindow",
        format!("`{}` is out of range", video.merge_window),
        "write `0s` to `5s`",
    );
    let Some(segment) = &video.segment else { return };
    check_segment(segment, report);
    if name.is_some_and(|name| !name.has(Field::Timestamp) && !name.has(Field::Segment)) {
        let message = "every segment would get the same name";
        report.add(at.key("fileName"), message, "add `{timestamp}` or `{segment}`");
    }
}

fn check_segment(segment: &Segment, report: &mut Report<'_>) {
    report.unless(
        segment.max_duration.is_some() || segment.max_bytes.is_some(),
        "spec.output.video.segment",
        "it has no limit",
        "give `maxDuration` or `maxBytes`; for one file that grows on, take `segment` out",
    );
    if let Some(duration) = segment.max_duration {
        report.unless(
            *duration >= Duration::from_secs(1),
            "spec.output.video.segment.maxDuration",
            format!("`{duration}` is too short"),
            "write at least `1s`",
        );
    }
    if let Some(bytes) = segment.max_bytes {
        report.unless(
            bytes >= ByteSize::mebi(1),
            "spec.output.video.segment.maxBytes",
            format!("`{bytes}` is too small"),
            "write at least `1Mi`",
        );
    }
}

fn check_claim_template(claim: &VolumeClaimTemplate, report: &mut Report<'_>) {
    report.unless(
        claim.size >= ByteSize::mebi(1),
        "spec.storage.volumeClaimTemplate.size",
        format!("`{}` is too small", claim.size),
        "write at least `1Mi`",
    );
}

fn check_durability(durability: &Durability, report: &mut Report<'_>) {
    let interval = *durability.flush_interval;
    report.unless(
        interval >= Duration::from_millis(10) && interval <= Duration::from_secs(600),
        "spec.durability.flushInterval",
        format!("`{}` is out of range", durability.flush_interval),
        "write `10ms` to `10m`",
    );
    report.unless(
        (1..=100_000).contains(&durability.flush_frames),
        "spec.durability.flushFrames",
        format!("{} is out of range", durability.flush_frames),
        "write a whole number from 1 to 100000",
    );
}

fn check_retention(retention: &Retention, output: &Output, report: &mut Report<'_>) {
    let deletes =
        retention.when_full == WhenFull::DeleteOldest || retention.max_age.is_some() || retention.max_bytes.is_some();
    report.unless(
        !deletes || !matches!(output, Output::Dataset(_)),
        "spec.retention",
        "a data set is kept whole: rows would lead to pictures that are gone",
        "take it out, or keep only `minFree` with `whenFull: wait`; to begin a data set anew, use another `directory`",
    );
    report.unless(
        !matches!(output, Output::Video(video) if video.segment.is_none()),
        "spec.retention",
        "without `segment` a video is one file that grows on, of which nothing can go",
        "give `output.video.segment`, or take `retention` out",
    );
    if let Some(age) = retention.max_age {
        report.unless(
            *age >= Duration::from_secs(60),
            "spec.retention.maxAge",
            format!("`{age}` is too short"),
            "write at least `1m`",
        );
    }
    if let Some(bytes) = retention.max_bytes {
        report.unless(
            bytes >= ByteSize::mebi(1),
            "spec.retention.maxBytes",
            format!("`{bytes}` is too small"),
            "write at least `1Mi`",
        );
    }
    if let Some(MinFree::Bytes(bytes)) = retention.min_free {
        report.unless(
            bytes.0 == 0 || bytes >= ByteSize::mebi(1),
            "spec.retention.minFree",
            format!("`{bytes}` is that many bytes, and too small"),
            match bytes.0 {
                1..100 => format!("write `{bytes}%` for a part of the disk, or at least `1Mi`"),
                _ => "write a part of the disk as `10%`, or at least `1Mi`".to_owned(),
            },
        );
    }
}

fn check_dead_letter(spec: &FrameSinkSpec, report: &mut Report<'_>) {
    match (spec.on_invalid, &spec.dead_letter) {
        (Some(OnInvalid::DeadLetter), None) => report.add(
            "spec.deadLetter",
            "it is missing, and `onInvalid: deadLetter` needs it",
            "add `deadLetter: {topic: …}`",
        ),
        (Some(policy @ (OnInvalid::Fail | OnInvalid::Skip)), Some(_)) => {
            let policy = if policy == OnInvalid::Fail { "fail" } else { "skip" };
            report.add(
                "spec.deadLetter",
                format!("with `onInvalid: {policy}` nothing is sent there"),
                "set `onInvalid: deadLetter`, or take `deadLetter` out",
            );
        }
        (_, Some(dead)) => names::topic(&dead.topic, &FieldPath::of("spec.deadLetter.topic"), report),
        (_, None) => {}
    }
}
