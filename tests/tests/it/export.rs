//! `edgereel export`: clips of what was recorded, judged by players and by the records in Kafka.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin,
    kafka::{self, topics::NewRecord},
    process::{self, Finished},
    resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, files, in_time, jpeg_files, store_all};

/// 2023-11-14T22:13:20Z.
const BEGIN: i64 = 1_700_000_000_000;
/// So like each other are two decodings of one picture, in dB: 26.0 of the same JPEG by FFmpeg and by OpenCV, since 4:2:0 costs
/// saturated edges their colour. The frame before or after has 16.
const ALIKE: f64 = 25.0;

/// When a frame of ten frames a second was captured; after so many the camera was away for 30 s.
fn time(n: usize, away_after: usize) -> i64 {
    BEGIN + 100 * n as i64 + if n < away_after { 0 } else { 30_000 }
}

fn records(pictures: &[Vec<u8>], away_after: usize, partitions: i32) -> impl Iterator<Item = NewRecord> {
    pictures.iter().enumerate().map(move |(n, jpeg)| NewRecord {
        partition: Some(n as i32 % partitions),
        timestamp: Some(time(n, away_after)),
        ..NewRecord::value(jpeg.clone())
    })
}

/// A time of the recording as people write it.
fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(BEGIN + ms).expect("in range").to_string()
}

fn export(file: &Path, args: &[&str]) -> Finished {
    edgereel::call([&["export", "-f", &file.to_string_lossy(), "--format", "json"], args].concat())
}

/// Exports, and gives the manifest.
#[track_caller]
fn exported(file: &Path, args: &[&str]) -> Value {
    let finished = export(file, args);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout, finished.stderr);
    let all: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {}", finished.stdout));
    all[0].clone()
}

/// `sha256sum` finds every file of a clip as its list says.
#[track_caller]
fn assert_sums(list: &Path) {
    let mut sums = process::command("sha256sum", ["--strict", "-c"]);
    sums.arg(list.file_name().expect("a name")).current_dir(list.parent().expect("a directory"));
    process::output("sha256sum", sums, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", path.display()))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("there")
        .map(|entry| entry.expect("read").file_name().to_string_lossy().into())
        .collect();
    names.sort();
    names
}

#[test]
fn a_clip_has_exactly_the_frames_of_its_range_over_segments_and_gaps_as_they_stand_in_kafka() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("cut"), scratch::dir("disk"), scratch::dir("clips"));
    kafka.create_topic(&topic, 3, &[("retention.ms", "-1")]);
    let pictures = video::pictures(400);
    kafka.produce(&topic, records(&pictures, 200, 3));
    let output = json!({"video": {"frameRate": 10, "segment": {"maxDuration": "7s"}}});
    let sink = resources::sink("video", &topic, output, &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["video"], &topic);
    assert!(files(&disk, ".avi").len() > 4);
    let all = in_time(kafka.consume_all(&topic));

    // From a frame's very time on, before another's: 12.3 s to 55.0 s, which is 77 frames before the gap and 50 after it.
    let (from, to) = (at(12_300), at(55_000));
    let (range, expected) = (["--from", &from, "--to", &to], &all[123..250]);
    let clip = |name: &str, more: &[&str]| {
        let path = out.join(name);
        let manifest = exported(&file, &[&range[..], &["-o", &path.to_string_lossy()], more].concat());
        assert_eq!(manifest["frames"], json!(expected.len()), "{manifest:#}");
        (path, manifest)
    };
    let (avi, manifest) = clip("clip.avi", &["--from-disk"]);
    assert!(video::jpegs_of(&avi) == expected, "the pictures are those of the records");
    let probe = video::ffprobe(&avi);
    assert_eq!((probe.frames, probe.indexed, probe.rate, &*probe.tag), (127, 127, 10.0, "MJPG"));
    assert_eq!(manifest["gaps"], json!([{"from": at(19_900), "to": at(50_000), "seconds": 30.1}]), "{manifest:#}");
    assert_eq!((&manifest["first"], &manifest["last"]), (&json!(at(12_300)), &json!(at(54_900))));
    assert_eq!(manifest["clip"]["exact"], json!(true));
    let runs =
        manifest["sources"].as_array().expect("sources").iter().flat_map(|s| s["records"].as_array().unwrap().clone());
    let count: i64 =
        runs.map(|run| run["lastOffset"].as_i64().unwrap() - run["firstOffset"].as_i64().unwrap() + 1).sum();
    assert_eq!(count, 127);
    assert_sums(&with_ending(&avi, "sha256"));
    let rows = fs::read_to_string(with_ending(&avi, "csv")).expect("rows");
    assert_eq!(
        (rows.lines().count(), rows.lines().nth(1)),
        (128, Some(&*format!("0,{topic},0,41,2023-11-14T22:13:32.300000Z")))
    );
    let said: Value = serde_json::from_slice(&fs::read(with_ending(&avi, "json")).expect("there")).expect("JSON");
    assert_eq!(said, manifest);

    // The topic has the same.
    let (from_topic, manifest) = clip("topic.avi", &["--from-topic"]);
    assert!(fs::read(&from_topic).expect("there") == fs::read(&avi).expect("there"));
    assert_eq!(manifest["sources"][0]["kind"], "topic");
    // Kafka is asked for the gap, and has nothing in it.
    let (both, _) = clip("both.avi", &[]);
    assert!(fs::read(&both).expect("there") == fs::read(&avi).expect("there"));
    // As pictures.
    let (frames, _) = clip("frames", &["--from-disk", "--time-zone", "Europe/Rome"]);
    let stored = files(&frames, ".jpg");
    assert!(stored.iter().map(|path| fs::read(path).expect("read")).eq(expected.iter().cloned()));
    assert_eq!(stored[0].file_name().expect("a name"), "000001_20231114_231332_300.jpg");
    assert_sums(&frames.join("SHA256SUMS"));
    // As H.264, in real time: what players show at a time is what was captured then; the gap takes no time.
    let (mp4, manifest) = clip("clip.mp4", &["--from-disk"]);
    let probe = video::ffprobe(&mp4);
    assert_eq!((&*probe.codec, &*probe.tag, probe.frames, probe.width, probe.height), ("h264", "avc1", 127, 320, 240));
    assert!(video::worst_likeness(&mp4, &frames) > ALIKE);
    assert_eq!((video::opencv_frames(&mp4), &manifest["clip"]["exact"]), (127, &json!(false)));
    assert_eq!(
        said_by_ffprobe(&mp4, "stream=pix_fmt,color_range,color_space,duration"),
        ["yuv420p", "tv", "smpte170m", "12.700000"]
    );
    let bytes = fs::read(&mp4).expect("there");
    let place = |name: &[u8]| bytes.windows(4).position(|window| window == name).expect("a box");
    assert!(place(b"moov") < place(b"mdat"), "a browser begins to play before it has all of it");
    assert_sums(&with_ending(&mp4, "sha256"));
    // With the time in the pictures.
    let (stamped, manifest) = clip("stamped.avi", &["--from-disk", "--burn-timestamp", "--time-zone", "Europe/Rome"]);
    assert_eq!((&manifest["clip"]["stamped"], &manifest["clip"]["exact"]), (&json!("Europe/Rome"), &json!(false)));
    let pictures = video::jpegs_of(&stamped);
    assert_eq!(pictures.len(), 127);
    assert!(pictures.iter().zip(expected).all(|(stamped, plain)| stamped != plain));
}

fn said_by_ffprobe(path: &Path, entries: &str) -> Vec<String> {
    let mut ffprobe =
        process::command("ffprobe", ["-v", "error", "-of", "default=nw=1:nk=1", "-show_entries", entries]);
    ffprobe.arg(path);
    let said = process::output("ffprobe", ffprobe, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
    said.lines().map(str::to_owned).collect()
}

#[test]
fn a_video_that_grows_can_be_cut_and_what_the_disk_lacks_comes_from_the_topic() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("grows"), scratch::dir("disk"), scratch::dir("clips"));
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    let pictures = video::pictures(120);
    let more: Vec<NewRecord> = records(&pictures, usize::MAX, 1).collect();
    let (first, rest) = more.split_at(80);
    kafka.produce(&topic, first.to_vec());
    let output = |codec: &str| json!({"video": {"fileName": format!("{codec}.avi"), "codec": codec, "frameRate": 10}});
    let mjpeg = resources::sink("mjpeg", &topic, output("mjpeg"), &disk, json!({}));
    let xvid = resources::sink("xvid", &topic, output("xvid"), &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), mjpeg, xvid]);
    let worker = Edgereel::run([&file]);
    for sink in ["mjpeg", "xvid"] {
        await_lag_zero(kafka, &worker, sink, &topic);
    }
    let (from, to) = (at(2_000), at(12_000));
    let clip = |sink: &str, name: &str, more: &[&str]| {
        let path = out.join(name);
        let name = path.to_string_lossy();
        let all = [&["--sink", sink, "--from", &from, "--to", &to, "-o", &name], more].concat();
        (exported(&file, &all), path)
    };
    let (manifest, avi) = clip("mjpeg", "open.avi", &["--from-disk"]);
    assert_eq!(manifest["frames"], 60, "{manifest:#}");
    assert!(video::jpegs_of(&avi) == pictures[20..80]);
    // An encoded video begins at any frame, and is encoded anew.
    let (manifest, frames) = clip("xvid", "xvid/", &["--from-disk"]);
    assert_eq!((&manifest["frames"], &manifest["clip"]["exact"]), (&json!(60), &json!(false)));
    let (_, avi) = clip("xvid", "xvid.avi", &["--from-disk"]);
    assert!(video::worst_likeness(&avi, &frames) > ALIKE);
    let originals = scratch::dir("originals");
    for (n, jpeg) in pictures[20..80].iter().enumerate() {
        fs::write(originals.join(format!("{n:04}.jpg")), jpeg).expect("written");
    }
    assert!(video::worst_likeness(&avi, &originals) > ALIKE, "each frame is the one that it should be");
    assert!(worker.stop().success());
    // The sink sleeps, the camera goes on.
    kafka.produce(&topic, rest.to_vec());
    let (manifest, avi) = clip("mjpeg", "both.avi", &[]);
    let kinds: Vec<&Value> = manifest["sources"].as_array().expect("sources").iter().map(|s| &s["kind"]).collect();
    assert_eq!((kinds, &manifest["gaps"]), (vec![&json!("video"), &json!("topic")], &json!([])), "{manifest:#}");
    assert!(video::jpegs_of(&avi) == pictures[20..120]);
}

#[test]
fn pictures_are_found_by_the_times_in_their_names_and_one_that_is_damaged_is_named() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("named"), scratch::dir("disk"), scratch::dir("clips"));
    kafka.create_topic(&topic, 2, &[("retention.ms", "-1")]);
    let pictures = video::pictures(60);
    kafka.produce(&topic, records(&pictures, usize::MAX, 2));
    let name = "{timestamp:%Y-%m-%d}/{timestamp:%H}/{timestamp:%M%S_%3f}_{partition}-{offset}.jpg";
    let named = json!({"jpegFiles": {"directory": "named", "fileName": name, "timeZone": "Europe/Rome"}});
    let unnamed = json!({"jpegFiles": {"directory": "unnamed", "fileName": "{partition}-{offset}.jpg"}});
    let dataset = json!({"dataset": {"directory": "set"}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink("named", &topic, named, &disk, json!({})),
        resources::sink("unnamed", &topic, unnamed, &disk, json!({})),
        resources::sink("set", &topic, dataset, &disk, json!({})),
    ]);
    store_all(kafka, &file, &["named", "unnamed", "set"], &topic);
    // 23:13:21 in Rome.
    let range = ["--from", "2023-11-14 23:13:21", "--to", "+2s", "--time-zone", "Europe/Rome"];
    let clip = |sink: &str, more: &[&str]| {
        let path = out.join(format!("{sink}.avi"));
        export(&file, &[&range[..], &["--sink", sink, "--force", "-o", &path.to_string_lossy()], more].concat())
    };
    for (sink, kind) in [("named", "pictures"), ("unnamed", "topic"), ("set", "topic")] {
        let finished = clip(sink, &[]);
        assert_eq!(finished.code(), 0, "{}{}", finished.stdout, finished.stderr);
        let manifest: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        assert_eq!(
            (&manifest[0]["sources"][0]["kind"], manifest[0]["sources"].as_array().map(Vec::len)),
            (&json!(kind), Some(1))
        );
        assert!(video::jpegs_of(&out.join(format!("{sink}.avi"))) == pictures[10..30], "{sink}");
    }
    let refused = clip("unnamed", &["--from-disk"]);
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr.contains("take them from the topic"), "{}", refused.stderr);
    // One is cut short, one is gone.
    let stored = files(&disk.join("named/2023-11-14/23"), ".jpg");
    fs::write(&stored[12], &pictures[12][..500]).expect("written");
    fs::remove_file(&stored[13]).expect("removed");
    let finished = clip("named", &["--from-disk"]);
    let manifest: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let damaged = manifest[0]["damaged"].as_array().expect("some");
    assert_eq!((finished.code(), damaged.len(), &manifest[0]["frames"]), (1, 1, &json!(18)), "{manifest:#}");
    assert!(damaged[0].as_str().expect("text").contains(&format!("{topic}[0]@6")), "{manifest:#}");
    let left: Vec<Vec<u8>> = [&pictures[10..12], &pictures[14..30]].concat();
    assert!(video::jpegs_of(&out.join("named.avi")) == left);
}

#[test]
fn what_cannot_be_done_is_said_with_what_there_is_and_leaves_nothing() {
    let (kafka, topic, disk, out) = (kafka::shared(), unique("refused"), scratch::dir("disk"), scratch::dir("clips"));
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    kafka.produce(&topic, records(&video::pictures(50), usize::MAX, 1));
    let sinks = ["one", "two"].map(|name| resources::sink(name, &topic, jpeg_files(name), &disk, json!({})));
    let [one, two] = sinks;
    let file = resources::write(&[resources::connection(kafka.bootstrap()), one.clone(), two]);
    store_all(kafka, &file, &["one", "two"], &topic);
    let avi = out.join("clip.avi").to_string_lossy().into_owned();
    let (from, to, late) = (at(0), at(1_000), at(3_600_000));
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        let finished = export(&file, args);
        assert_eq!((finished.code(), finished.stdout.as_str()), (code, ""), "{args:?}: {}", finished.stderr);
        for word in words {
            assert!(finished.stderr.contains(word), "{args:?}: no `{word}` in {}", finished.stderr);
        }
        assert_eq!(names(&out), Vec::<String>::new(), "{args:?}");
    };
    let of_one = |from: &str, to: &str, out: &str| -> Vec<String> {
        ["--sink", "one", "--from", from, "--to", to, "-o", out].map(str::to_owned).to_vec()
    };
    let try_one = |from: &str, to: &str, out: &str, code: i32, words: &[&str]| {
        let args = of_one(from, to, out);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, words);
    };
    refused(&["--from", &from, "-o", &avi], 2, &["several FrameSinks", "default/one or default/two"]);
    refused(&["--from", &from, "-o", &avi, "--sink", "three"], 2, &["no FrameSink `three`"]);
    try_one(&to, &from, &avi, 2, &["before it begins"]);
    try_one("2199-01-01", "+1m", &avi, 2, &["still to come"]);
    try_one("yesterday", "now", &avi, 2, &["--from `yesterday`", "-10m"]);
    try_one(&from, &to, "clip.mkv", 2, &["`.mkv`", "`.avi`"]);
    let nowhere = out.join("none/clip.avi").to_string_lossy().into_owned();
    try_one(&from, &to, &nowhere, 2, &["make it first"]);
    // Nothing in the range: what there is is said.
    let holds = ["nothing was recorded", "2023-11-14 22:13:20.000 +00:00 to 2023-11-14 22:13:24.900 +00:00"];
    try_one(&late, "+1m", &avi, 1, &holds);
    // Nothing of the topic.
    refused(&["--sink", "one", "--from", &from, "--topic", "other", "-o", &avi], 2, &["does not read topic other"]);
    // A file that is there stays.
    fs::write(&avi, "mine").expect("written");
    let taken = export(&file, &["--sink", "one", "--from", &from, "--to", &to, "-o", &avi]);
    assert_eq!((taken.code(), fs::read_to_string(&avi).expect("there")), (2, "mine".to_owned()), "{}", taken.stderr);
    assert!(taken.stderr.contains("--force"), "{}", taken.stderr);
    fs::remove_file(&avi).expect("removed");
    // Looking writes nothing, and needs no name.
    let manifest = exported(&file, &["--sink", "one", "--from", &from, "--to", &to, "--dry-run"]);
    assert_eq!((&manifest["frames"], &manifest["clip"]), (&json!(10), &Value::Null));
    let listed = edgereel::call(["export", "-f", &file.to_string_lossy(), "--list"]).stdout;
    assert!(
        listed.contains("default/two  2023-11-14 22:13:20.000 +00:00  2023-11-14 22:13:24.900 +00:00  4s 900ms"),
        "{listed}"
    );
    assert_eq!(names(&out), Vec::<String>::new());

    // A disk that is full, in each way to write.
    for (name, kind) in [("clip.avi", "avi"), ("clip.mp4", "mp4"), ("frames", "pictures")] {
        const SCRIPT: &str = "mount -t tmpfs -o size=100k tmpfs \"$1\"; shift; where=$1; shift
\"$@\" -o \"$where\"; echo \"code $?\"; ls -A \"$(dirname \"$where\")\"";
        let small = scratch::dir("small");
        let mut command = process::command("unshare", ["-rm", "sh", "-c", SCRIPT, "sh"]);
        command.arg(&small).arg(small.join(name)).arg(edgereel_bin()).args(["export", "-f"]).arg(&file);
        command.args(["--sink", "one", "--from-disk", "--from", &from, "--to", &at(5_000)]);
        let said = process::run("export", command, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(said.stdout, "code 2\n", "{kind}: {}", said.stderr);
        assert!(said.stderr.contains("the disk is full"), "{kind}: {}", said.stderr);
    }
    // Kafka is gone: the disk is enough, and what could not be asked is said.
    let file = resources::write(&[resources::connection("127.0.0.1:1"), one]);
    let manifest = exported(&file, &["--from", &from, "--to", &at(60_000), "-o", &avi]);
    assert_eq!(manifest["frames"], 50, "{manifest:#}");
    assert!(manifest["notes"][0].as_str().expect("a note").contains("Kafka could not be asked"), "{manifest:#}");
}
