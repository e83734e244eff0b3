//! Videos and sequences of pictures: each frame is sent once, whatever is killed, cut short, odd, or away.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use edgereel_frame::samples::{picture, png};
use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin,
    kafka::{self, Cluster, Options, topics::Record},
    process::{self, command},
    project_root, resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::{
    crash::run_and_kill,
    sink::bench::KEEP,
    support::{assert_verified, condition, is_ready, is_unready, jpeg_files, store_all, values},
};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(120);
const SIZE: (u16, u16) = (320, 240);

/// Makes a video of the test pattern of so many seconds, 25 frames each.
#[track_caller]
fn film(path: &Path, seconds: u32, codec: &[&str]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let source = format!("testsrc=size={}x{}:rate=25:duration={seconds}", SIZE.0, SIZE.1);
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", &source]);
    ffmpeg.args(codec).arg(path);
    process::output("ffmpeg", ffmpeg, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    settle(path);
}

/// With frames that are shown in another order than they stand in.
const H264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-pix_fmt", "yuv420p"];
const MJPEG: &[&str] = &["-c:v", "mjpeg", "-q:v", "5"];

/// As if it had been there for long.
fn settle(path: &Path) {
    let file = fs::File::options().append(true).open(path).expect("there");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("set");
}

/// A camera `night` of what stands in this disk's folder `videos`.
fn camera(topic: &str, disk: &Path, file: Value, more: Value) -> Value {
    let mut source = json!({"path": "videos"});
    let mut spec =
        json!({"storage": {"hostPath": {"path": disk}}, "topic": {"name": topic, "partitions": 2, "key": "none"}});
    for (into, from) in [(&mut source, file), (&mut spec, more)] {
        if let (Value::Object(into), Value::Object(from)) = (into, from) {
            into.extend(from);
        }
    }
    resources::camera("night", json!({"file": source}), topic, spec)
}

/// A topic, a disk with a folder `videos`, and the file of such a camera.
fn lab(kafka: &Cluster, file: Value, more: Value) -> (String, PathBuf, PathBuf) {
    let (topic, disk) = (unique("file"), scratch::dir("file"));
    fs::create_dir(disk.join("videos")).expect("made");
    kafka.create_topic(&topic, 2, KEEP);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera(&topic, &disk, file, more)]);
    (topic, disk, file)
}

/// Runs the resources of a file until all have completed, and gives what was said.
#[track_caller]
pub fn run_to_its_end(file: &Path) -> String {
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "--log-format", "text", "-f"]).arg(file);
    let ended = process::run("edgereel-run", command, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    ended.stderr
}

/// The numbers of the frames of each file in the topic, in their order; no frame stands there twice.
#[track_caller]
pub fn frames(records: &[Record]) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let id = record.header("ce_id").expect("an id");
        let number = id.rsplit_once('-').expect("a number").1.parse().expect("a number");
        all.entry(record.header("file").expect("a file's name")).or_default().push(number);
    }
    for (file, numbers) in &mut all {
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "a frame of {file} stands there twice");
    }
    all
}

fn all_of(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn videos_of_every_kind_come_frame_by_frame_and_mjpeg_as_it_stands() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({}), json!({}));
    let at = |name: &str| disk.join("videos").join(name);
    film(&at("2.mp4"), 2, H264);
    film(&at("10.mkv"), 2, H264);
    film(&at("deep/er.avi"), 2, MJPEG);
    film(&at("x.webm"), 1, &["-c:v", "libvpx", "-deadline", "realtime"]);
    film(&at("x.ts"), 1, H264);
    let log = run_to_its_end(&file);
    assert!(log.contains("200 frames of 5 files sent in this run"), "{log}");
    let records = kafka.consume_all(&topic);
    let expected = [("10.mkv", 50), ("2.mp4", 50), ("deep/er.avi", 50), ("x.ts", 25), ("x.webm", 25)];
    assert_eq!(frames(&records), expected.map(|(name, count)| (name.to_owned(), all_of(count))).into());
    let sizes = video::sizes_of(&values(&records));
    assert!(sizes.iter().all(|size| *size == SIZE), "{sizes:?}");
    // What is JPEG already goes on byte for byte (but for the Huffman tables that its container leaves out).
    let mut of_avi: Vec<(u64, Vec<u8>)> = vec![];
    for record in records.iter().filter(|record| record.header("file").as_deref() == Some("deep/er.avi")) {
        let number = record.header("ce_id").expect("an id").rsplit_once('-').expect("a number").1.parse();
        of_avi.push((number.expect("a number"), record.value.clone().expect("a picture")));
    }
    of_avi.sort();
    let quantiser = |jpeg: &[u8]| {
        let table = jpeg.windows(2).position(|marker| marker == [0xFF, 0xDB]).expect("a table");
        jpeg[table..table + 69].to_vec()
    };
    let stored = video::jpegs_of(&at("deep/er.avi"));
    assert_eq!(of_avi.len(), stored.len());
    assert!(of_avi.iter().zip(&stored).all(|((_, sent), stored)| quantiser(sent) == quantiser(stored)));
    // Once more: nothing.
    let log = run_to_its_end(&file);
    assert!(log.contains(" 0 frames of 0 files sent in this run, 5 files done before"), "{log}");
    assert_eq!(kafka.record_count(&topic), 200);
    // And to disk, each frame a file, in the files' own times.
    let times: Vec<String> = records.iter().filter_map(|record| record.header("ce_time")).collect();
    assert_eq!(times.len(), 200);
    let sink = resources::sink("s", &topic, jpeg_files("out"), &disk, json!({}));
    let sinks = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &sinks, &["s"], &topic);
    assert_verified(&sinks);
}

#[test]
fn a_rate_an_interval_and_a_part_of_a_video_are_of_its_own_time() {
    let kafka = kafka::shared();
    for (file, more, expected) in [
        // The script's `frame_interval = int(fps / 3)`.
        (json!({}), json!({"frameRate": {"target": 3}}), vec![0, 9, 17, 25, 34, 42]),
        (json!({"frameInterval": 8}), json!({}), vec![0, 8, 16, 24, 32, 40, 48]),
        (json!({"start": "500ms", "end": "600ms"}), json!({}), vec![13, 14]),
        (json!({"path": "videos/*.mp4", "start": "1900ms"}), json!({}), vec![48, 49]),
    ] {
        let (topic, disk, file) = lab(kafka, file, more);
        film(&disk.join("videos/a.mp4"), 2, H264);
        run_to_its_end(&file);
        let records = kafka.consume_all(&topic);
        assert_eq!(frames(&records), [("a.mp4".to_owned(), expected.clone())].into());
        // The first frame was recorded two seconds before the file's last change.
        let path = disk.join("videos/a.mp4");
        let changed = fs::metadata(&path).and_then(|meta| meta.modified()).expect("there");
        let began = changed - Duration::from_secs(2);
        let began = began.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        let mut times: Vec<i64> = records
            .iter()
            .map(|record| record.header("ce_time").expect("a time"))
            .map(|time| time.parse::<jiff::Timestamp>().expect("a time").as_millisecond() - began)
            .collect();
        times.sort_unstable();
        let expected: Vec<i64> = expected.iter().map(|number| *number as i64 * 40).collect();
        assert!(times.iter().zip(&expected).all(|(time, expected)| (time - expected).abs() <= 45), "{times:?}");
    }
}

#[test]
fn a_worker_killed_at_random_moments_sends_every_frame_once() {
    let kafka = kafka::shared();
    // At their own pace not all can be done between the kills.
    let (topic, disk, file) = lab(kafka, json!({"pace": "realTime"}), json!({}));
    for (name, seconds) in [("a.mp4", 8), ("b.avi", 8), ("c.mkv", 8)] {
        film(&disk.join("videos").join(name), seconds, if name == "b.avi" { MJPEG } else { H264 });
    }
    for n in 0..50 {
        let path = disk.join(format!("videos/pictures/{n}.jpg"));
        fs::create_dir_all(path.parent().expect("one")).expect("made");
        fs::write(&path, picture(64, 48, n)).expect("written");
        settle(&path);
    }
    (0..8).for_each(|_| run_and_kill(&file));
    let so_far = kafka.record_count(&topic);
    assert!(so_far > 0, "nothing was sent between the kills");
    let fast = resources::write(&[
        resources::connection(kafka.bootstrap()),
        camera(&topic, &disk, json!({"pace": "fast"}), json!({})),
    ]);
    (0..3).for_each(|_| {
        let worker = Edgereel::run([&fast]);
        let sent = kafka.record_count(&topic);
        // It may be at its end by then.
        let _ = worker.child().wait(Duration::from_millis(700));
        worker.kill();
        assert!(kafka.record_count(&topic) >= sent);
    });
    run_to_its_end(&fast);
    let found = frames(&kafka.consume_all(&topic));
    for name in ["a.mp4", "b.avi", "c.mkv"] {
        assert_eq!(found[name], all_of(200), "{name}");
    }
    assert_eq!(found.len(), 53, "each picture is a file of its own");
    assert!(run_to_its_end(&fast).contains(" 0 frames of 0 files"));
}

#[test]
fn while_kafka_is_frozen_or_away_a_video_waits_and_no_frame_is_given_up() {
    let kafka = Cluster::start(1, Options::default()).expect("a broker");
    // What a camera would give up after a second waits here.
    let (topic, disk, file) = lab(&kafka, json!({"pace": "realTime"}), json!({"producer": {"deliveryTimeout": "1s"}}));
    film(&disk.join("videos/a.mp4"), 20, H264);
    let worker = Edgereel::run([&file]);
    let sent = |more: u64| {
        worker.await_metrics("frames are acknowledged", |m| m.count("camera_frames_acknowledged", "night") >= more);
    };
    sent(10);
    for fault in ["frozen", "gone"] {
        match fault {
            "frozen" => kafka.freeze(0),
            _ => kafka.kill(0),
        }
        worker.await_status_of("night", "it says that Kafka is away", |entry| is_unready(entry, "KafkaUnreachable"));
        match fault {
            "frozen" => kafka.thaw(0),
            _ => kafka.restart(0),
        }
        let entry = worker.await_status_of("night", "it goes on", is_ready);
        assert_eq!(entry["figures"]["framesDropped"], 0, "{entry:#}");
    }
    let status = worker.child().wait(PATIENCE).unwrap_or_else(|e| panic!("{e:#}\n{}", worker.child().tail()));
    assert!(status.success(), "{}", worker.log());
    assert_eq!(frames(&kafka.consume_all(&topic)), [("a.mp4".to_owned(), all_of(500))].into());
}

#[test]
fn a_stop_is_in_order_and_the_next_run_goes_on_behind_it() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"pace": "realTime"}), json!({}));
    film(&disk.join("videos/a.mp4"), 8, H264);
    let began = Instant::now();
    let worker = Edgereel::run([&file]);
    worker.await_metrics("some are sent", |m| m.count("camera_frames_acknowledged", "night") >= 20);
    assert!(worker.stop().success());
    let sent = kafka.record_count(&topic);
    assert!(sent < 200, "{sent} frames in {:?}: not at their own pace", began.elapsed());
    let log = run_to_its_end(&file);
    assert!(log.contains(&format!("{} frames of 1 files sent in this run", 200 - sent)), "{sent} before: {log}");
    assert_eq!(frames(&kafka.consume_all(&topic)), [("a.mp4".to_owned(), all_of(200))].into());
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_the_others_are_sent() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"path": "videos/**/*"}), json!({}));
    let at = |name: &str| disk.join("videos").join(name);
    film(&at("good.mp4"), 1, H264);
    film(&disk.join("outside.mp4"), 1, H264);
    symlink("../outside.mp4", at("out.mp4")).expect("linked");
    symlink("good.mp4", at("in.mp4")).expect("linked");
    // Two files of one name.
    film(&at("a/same.mp4"), 1, H264);
    film(&at("b/same.mp4"), 1, H264);
    let whole = fs::read(at("good.mp4")).expect("there");
    // A list of other files is none of its own: FFmpeg would open what it names.
    let list = format!("#EXTM3U\n#EXTINF:1,\n{}\n", disk.join("outside.mp4").display());
    for (name, bytes) in [
        ("empty.mp4", vec![]),
        ("text.mp4", b"hello".to_vec()),
        ("list.m3u8", list.into_bytes()),
        // Its index stands at its end.
        ("cut.mp4", whole[..whole.len() / 2].to_vec()),
        ("sound.wav", vec![0; 4000]),
        ("bad.jpg", b"no picture".to_vec()),
    ] {
        fs::write(at(name), bytes).expect("written");
        settle(&at(name));
    }
    fs::write(at("one.png"), png("one")).expect("written");
    settle(&at("one.png"));
    film(&at("cut.mkv"), 2, H264);
    let mkv = fs::read(at("cut.mkv")).expect("there");
    fs::write(at("cut.mkv"), &mkv[..mkv.len() / 2]).expect("cut");
    settle(&at("cut.mkv"));
    let log = run_to_its_end(&file);
    for words in ["empty 1", "outside 1", "unsupported 4", "not_picture 1"] {
        assert!(log.contains(words), "no {words:?} in {log}");
    }
    let found = frames(&kafka.consume_all(&topic));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["a/same.mp4", "b/same.mp4", "cut.mkv", "good.mp4", "in.mp4", "one.png"]);
    assert_eq!((found["a/same.mp4"].len(), found["good.mp4"].len()), (25, 25));
    let cut = found["cut.mkv"].len();
    assert!((5..50).contains(&cut), "{cut} frames of what is there");
}

#[test]
fn a_sequence_of_pictures_is_in_its_numbers_order_and_one_more_is_sent_alone() {
    let kafka = kafka::shared();
    let (_, disk, _) = lab(kafka, json!({}), json!({}));
    // In one partition, which keeps the order.
    let topic = unique("sequence");
    let source = json!({"path": "videos/frame_*.jpg", "frameInterval": 2});
    let camera = camera(&topic, &disk, source, json!({"topic": {"name": topic, "partitions": 1}}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    let put = |n: u32| {
        let path = disk.join(format!("videos/frame_{n}.jpg"));
        fs::write(&path, picture(64, 48, n as u8)).expect("written");
        settle(&path);
    };
    (0..12).for_each(put);
    run_to_its_end(&file);
    let names =
        || -> Vec<String> { kafka.consume_all(&topic).iter().filter_map(|record| record.header("file")).collect() };
    assert_eq!(names(), ["frame_0.jpg", "frame_2.jpg", "frame_4.jpg", "frame_6.jpg", "frame_8.jpg", "frame_10.jpg"]);
    (12..14).for_each(put);
    run_to_its_end(&file);
    assert_eq!(names()[6..], ["frame_12.jpg"]);
}

#[test]
fn a_file_that_is_being_written_is_waited_for_and_one_that_is_replaced_is_another() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"settle": "2s"}), json!({}));
    let path = disk.join("videos/a.mp4");
    film(&path, 1, H264);
    let whole = fs::read(&path).expect("there");
    fs::write(&path, &whole[..whole.len() / 3]).expect("written");
    thread::scope(|scope| {
        let ended = scope.spawn(|| run_to_its_end(&file));
        // It is written on, by and by; the last of it closes it.
        for part in 2..=3 {
            thread::sleep(Duration::from_millis(700));
            fs::write(&path, &whole[..whole.len() * part / 3]).expect("written");
        }
        let log = ended.join().expect("no panic");
        assert!(log.contains("25 frames of 1 files sent"), "{log}");
    });
    let touched = fs::File::options().append(true).open(&path).expect("open");
    touched.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).expect("set");
    let log = run_to_its_end(&file);
    assert!(
        log.contains(" 0 frames of 0 files sent in this run, 1 files done before"),
        "touched, it is the same: {log}"
    );
    film(&disk.join("other.mp4"), 2, H264);
    fs::rename(disk.join("other.mp4"), &path).expect("replaced");
    let log = run_to_its_end(&file);
    assert!(log.contains("50 frames of 1 files sent"), "{log}");
    assert_eq!(kafka.record_count(&topic), 75);
}

#[test]
fn what_is_missing_is_said_until_it_is_there() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"path": "videos/late.mp4"}), json!({}));
    let worker = Edgereel::run([&file]);
    let entry = worker.await_status_of("night", "it is missing", |entry| is_unready(entry, "StorageMissing"));
    let message = condition(&entry, "Ready")["message"].to_string();
    assert!(message.contains("videos/late.mp4: there is no such file or folder"), "{message}");
    film(&disk.join("made.mp4"), 1, H264);
    fs::rename(disk.join("made.mp4"), disk.join("videos/late.mp4")).expect("put there");
    let status = worker.child().wait(PATIENCE).unwrap_or_else(|e| panic!("{e:#}\n{}", worker.child().tail()));
    assert!(status.success(), "{}", worker.log());
    assert_eq!(kafka.record_count(&topic), 25);
    // A pattern that nothing matches is no fault: the night may have brought nothing.
    let (_, _, file) = lab(kafka, json!({"path": "videos/*.mp4"}), json!({}));
    let log = run_to_its_end(&file);
    assert!(log.contains("nothing matches `*.mp4`"), "{log}");
}

#[test]
fn what_is_repeated_is_a_camera_that_goes_on() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"repeat": true}), json!({}));
    film(&disk.join("videos/a.mp4"), 1, H264);
    film(&disk.join("videos/b.avi"), 1, MJPEG);
    let worker = Edgereel::run([&file]);
    worker.await_ready("night");
    worker.await_metrics("it goes on", |m| m.count("camera_frames_acknowledged", "night") >= 120);
    assert!(worker.stop().success());
    let mut ids: Vec<String> = kafka.consume_all(&topic).iter().filter_map(|record| record.header("ce_id")).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert!(count >= 120 && ids.len() == count, "each is a new one");
    assert!(!disk.join("videos/.edgereel").exists(), "nothing is noted");
}

#[test]
fn files_are_validated_and_looked_at_beforehand() {
    let kafka = kafka::shared();
    let (_, disk, file) = lab(kafka, json!({}), json!({"schedule": "0 2 * * *", "timeZone": "Europe/Rome"}));
    film(&disk.join("videos/a.mp4"), 1, H264);
    fs::write(disk.join("videos/b.mp4"), "hello").expect("written");
    let said = edgereel::call(["check", "-f", &file.to_string_lossy()]);
    assert!(said.stdout.contains("2 videos and 0 pictures") && said.stdout.contains("b.mp4: "), "{}", said.stdout);
    let said = edgereel::call(["validate", "-f", &file.to_string_lossy()]);
    assert!(said.stdout.contains("/videos, at `0 2 * * *` Europe/Rome -> topic"), "{}", said.stdout);
    let text = fs::read_to_string(&file).expect("there");
    let wrong = file.with_extension("wrong.yaml");
    fs::write(&wrong, text.replace("path: videos", "path: frame_%04d.jpg").replace("0 2 * * *", "0 0 30 2 *"))
        .expect("written");
    let said = edgereel::call(["validate", "-f", &wrong.to_string_lossy()]);
    for message in ["write `*` for the number", "`0 0 30 2 *` never comes"] {
        assert!(said.stderr.contains(message) || said.stdout.contains(message), "no {message:?}: {}", said.stderr);
    }
}

#[test]
fn the_example_runs_as_it_is() {
    let text = fs::read_to_string(project_root().join("examples/videos/videos.yaml")).expect("readable");
    let (kafka, topic, disk) = (kafka::shared(), unique("videos"), scratch::dir("example"));
    film(&disk.join("videos/2025-04-22.mp4"), 2, H264);
    let here = [
        ("localhost:9092", kafka.bootstrap()),
        ("name: crowd", &format!("name: {topic}")),
        // Not at two at night.
        ("  schedule: \"0 2 * * *\"\n  timeZone: Australia/Melbourne\n", ""),
    ];
    for (there, _) in &here {
        assert!(text.contains(there), "{there}");
    }
    let text = here.iter().fold(text, |text, (there, here)| text.replace(there, here));
    let file = disk.join("videos.yaml");
    fs::write(&file, text).expect("written");
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "--storage-root"]).arg(&disk).arg("-f").arg(&file);
    let ended = process::run("edgereel-run", command, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(ended.status.success(), "{}", ended.stderr);
    let found = frames(&kafka.consume_all(&topic));
    assert_eq!(found["2025-04-22.mp4"], [0, 9, 17, 25, 34, 42]);
}
