//! The rules of a `CameraStream` that reads videos, and of a schedule.

use crate::after;

const DISK: &str = "  storage: {hostPath: {path: /data}}\n";

/// The problems of a camera with this source, and these fields beside it, without their places.
fn of(source: &str, beside: &str) -> Vec<String> {
    let all = after("    mjpeg: {url: \"http://gate/video\"}\n", &format!("    {source}\n{beside}"));
    let message = |problem: &String| problem.split_once("CameraStream/gate: ").map(|(_, rest)| rest.to_owned());
    all.iter().map(|problem| message(problem).unwrap_or_else(|| problem.clone())).collect()
}

fn file(fields: &str, beside: &str) -> Vec<String> {
    of(&format!("file: {{{fields}}}"), &format!("{DISK}{beside}"))
}

#[test]
fn files_keep_to_their_rules() {
    for fine in [
        "",
        "path: night/*.mp4, pace: realTime, start: 10s, end: 20s",
        "path: a.mp4, repeat: true, picturesPerSecond: 0.5",
        "ledger: /state, settle: 0s, frameInterval: 10, frameTime: sent",
    ] {
        assert_eq!(file(fine, ""), [""; 0], "{fine}");
    }
    for (fields, expected) in [
        ("path: /a", "spec.source.file.path: `/a` is absolute"),
        ("path: a/../b", "spec.source.file.path: `a/../b` leads out of its directory"),
        (
            "path: a_%04d.jpg",
            "spec.source.file.path: `a_%04d.jpg` has a number as FFmpeg's sequences do; write `*` for the number",
        ),
        ("path: a/***", "spec.source.file.path: `a/***` is no pattern: "),
        ("ledger: state", "spec.source.file.ledger: `state` is not an absolute path"),
        ("repeat: true, ledger: /state", "spec.source.file.ledger: what is repeated is sent anew each time"),
        ("start: 20s, end: 10s", "spec.source.file.end: `10s` is not behind `start`, `20s`; make it later"),
        ("settle: 2h", "spec.source.file.settle: `2h` is out of range; write `0s` to `1h`"),
    ] {
        let found = file(fields, "");
        assert!(found.len() == 1 && found[0].starts_with(expected), "{fields}: {found:?}");
    }
    for (beside, expected) in [
        ("  encoding: {reencode: size}\n", "spec.encoding.reencode: frames of a file are encoded with `quality`"),
        ("  frameRate: {target: 5, adaptive: true}\n", "spec.frameRate.adaptive: a file waits for Kafka"),
    ] {
        let found = file("", beside);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
        assert_eq!(file("repeat: true", beside), [""; 0], "a camera that is always there");
    }
    let both = file("frameInterval: 2", "  frameRate: {target: 5}\n");
    assert_eq!(
        both,
        ["spec.source.file.frameInterval: `frameRate.target` says the same in another way; keep one of the two"]
    );
    let missing = of("file: {}", "");
    assert!(missing.len() == 1 && missing[0].contains("`source.file` does not say on which disk"), "{missing:?}");
}

#[test]
fn a_schedule_is_for_what_ends_and_has_times_that_come() {
    let with = |schedule: &str| format!("{DISK}  schedule: \"{schedule}\"\n");
    for source in ["file: {}", "directory: {watch: false}"] {
        assert_eq!(of(source, &format!("{}  timeZone: Europe/Rome\n", with("0 2 * * *"))), [""; 0]);
    }
    for (source, beside, expected) in [
        (
            "file: {repeat: true}",
            with("0 2 * * *"),
            "spec.schedule: files that are repeated have no end; take `source.file.repeat` out",
        ),
        (
            "directory: {}",
            with("0 2 * * *"),
            "spec.schedule: a folder that is watched has no end; set `source.directory.watch: false`",
        ),
        (
            "rtsp: {url: \"rtsp://gate/\"}",
            "  schedule: \"0 2 * * *\"\n".into(),
            "spec.schedule: a camera has no end; hours in which it captures are `activeHours`; write `activeHours` instead",
        ),
        ("file: {}", with("0 0 30 2 *"), "spec.schedule: `0 0 30 2 *` never comes"),
        (
            "file: {}",
            with("0 0 2 * * *"),
            "spec.schedule: `0 0 2 * * *` is not a schedule of five fields; write minute, hour",
        ),
        ("file: {}", with("@daily"), "spec.schedule: `@daily` is not a schedule of five fields"),
        (
            "file: {}",
            with("0 25 * * *"),
            "spec.schedule: `0 25 * * *` cannot be read; write numbers within minute 0-59",
        ),
        ("file: {}", with("0 2 * * 7"), "spec.schedule: the day of the week `7` has a 7"),
        (
            "file: {}",
            format!("{}  timeZone: Europe/Roma\n", with("0 2 * * *")),
            "spec.timeZone: there is no time zone `Europe/Roma`; did you mean `Europe/Rome`?",
        ),
        (
            "file: {}",
            format!("{DISK}  timeZone: UTC\n"),
            "spec.timeZone: it is the time zone of `schedule`, which is missing",
        ),
        (
            "file: {}",
            format!("{}  activeHours: {{windows: [{{from: \"08:00\"}}]}}\n", with("0 2 * * *")),
            "spec.activeHours: with `schedule` each run goes on to its end; take it out, or `schedule`",
        ),
    ] {
        let found = of(source, &beside);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{source} {beside}: {found:?}");
    }
}
