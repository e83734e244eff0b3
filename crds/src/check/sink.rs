//! What a `FrameSink` has to keep to.

use std::time::Duration;

use super::{Report, names, paths, pod};
use crate::{
    api::{
        frame_sink::{
            Durability, FrameSinkSpec, From, JpegFiles, OnInvalid, Output, Segment, StartFrom, VIDEO_COPY, Video,
        },
        storage::{Storage, VolumeClaimTemplate},
        template::{Field, Template, zone::zone},
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
            report.unless(
                spec.replicas <= 1,
                "spec.replicas",
                format!("{} workers cannot write one video", spec.replicas),
                "set `replicas: 1`, or use one sink for each camera",
            );
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
    check_dead_letter(spec, report);
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
    directory(&files.directory, &at, report);
    time_zone(files.time_zone.as_deref(), &at, report);
    let Some(name) = file_name(&files.file_name, &[".jpg", ".jpeg"], &at, report) else { return };
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
        report.add(at.key("fileName"), "only videos have a `{segment}`", "take it out");
    }
    one_name_a_topic(topics, report);
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
    let (at, name, more) = match output {
        Output::JpegFiles(files) => ("spec.output.jpegFiles", files.template(), 0),
        Output::Video(video) => ("spec.output.video", video.template(), VIDEO_COPY),
    };
    // A template that cannot be read has been reported.
    if let Ok(Err(error)) = name.map(|name| name.fits(topics, more)) {
        let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
        report.add(FieldPath::of(at).key("fileName"), message, remedy);
    }
}

fn check_video(video: &Video, report: &mut Report<'_>) {
    let at = FieldPath::of("spec.output.video");
    directory(&video.directory, &at, report);
    time_zone(video.time_zone.as_deref(), &at, report);
    let name = video.file_name.as_ref().and_then(|name| file_name(name, &[".avi"], &at, report));
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

fn directory(directory: &str, at: &FieldPath, report: &mut Report<'_>) {
    if let Err((message, remedy)) = paths::directory(directory) {
        report.add(at.key("directory"), message, remedy);
    }
}

fn time_zone(name: Option<&str>, at: &FieldPath, report: &mut Report<'_>) {
    if let Err(error) = zone(name) {
        let (message, remedy) = error.split_once("; ").unwrap_or((&error, ""));
        report.add(at.key("timeZone"), message, remedy);
    }
}

fn file_name(name: &str, endings: &[&str], at: &FieldPath, report: &mut Report<'_>) -> Option<Template> {
    paths::file_name(name, endings).map_err(|(message, remedy)| report.add(at.key("fileName"), message, remedy)).ok()
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
