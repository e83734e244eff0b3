//! `edgereel verify` finds whatever happened to a sink's files behind its back, and says so by its exit status.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, topics::NewRecord},
    process::{self, Finished, Guarded},
    resources, scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::{
    sink::bench::frames,
    support::{assert_verified, await_lag_zero, files, jpeg_files, store_all},
};

const FRAMES: usize = 30;
/// Records of which ten times as many are many.
const FEW: u64 = 20_000;

/// A sink that has stored a topic's frames: its disk and its resources.
fn stored(output: Value) -> (PathBuf, PathBuf) {
    let (kafka, topic, disk) = (kafka::shared(), unique("verify"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, video::pictures(FRAMES).into_iter().map(NewRecord::value));
    let sink = resources::sink("s", &topic, output, &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["s"], &topic);
    assert_verified(&file);
    (disk, file)
}

/// What `edgereel verify --json` finds wrong: the kind and the whole finding, as text.
#[track_caller]
fn findings(file: &Path) -> Vec<(String, String)> {
    let Finished { status, stdout, stderr } =
        edgereel::call(["verify".as_ref(), "--json".as_ref(), "-f".as_ref(), file.as_os_str()]);
    let reports: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}"));
    let all = reports[0]["findings"].as_array().unwrap_or_else(|| panic!("{reports:#}"));
    let found: Vec<_> =
        all.iter().map(|f| (f["kind"].as_str().unwrap_or_default().to_owned(), f.to_string())).collect();
    assert_eq!(status.code(), Some(i32::from(!found.is_empty())), "{found:?} {stderr}");
    found
}

/// Exactly this is wrong, and the finding names these words.
#[track_caller]
fn assert_found(file: &Path, kind: &str, words: &str) {
    let found = findings(file);
    assert!(matches!(&found[..], [(k, text)] if k == kind && text.contains(words)), "{kind} {words}: {found:?}");
    let plain = edgereel::verify(file);
    assert_eq!(plain.status.code(), Some(1));
    assert!(plain.stdout.starts_with("wrong default/s"), "{}", plain.stdout);
}

#[test]
fn before_the_first_run_it_says_so_and_that_it_cannot_tell() {
    let (topic, disk) = (unique("early"), scratch::dir("disk"));
    for output in [jpeg_files("frames"), json!({"video": {"directory": "frames"}})] {
        let sink = resources::sink("s", &topic, output, &disk, json!({}));
        let file = resources::write(&[resources::connection(kafka::shared().bootstrap()), sink]);
        let said = edgereel::verify(&file);
        assert_eq!(said.status.code(), Some(2), "{}{}", said.stdout, said.stderr);
        let words = format!("nothing was stored yet in {}: `edgereel run`", disk.join("frames").display());
        assert!(said.stderr.contains(&words), "{}", said.stderr);
        let elsewhere = disk.join("elsewhere");
        let root = ["--storage-root".as_ref(), elsewhere.as_os_str()];
        let said = edgereel::call([&["verify".as_ref(), "-f".as_ref(), file.as_os_str()], &root[..]].concat());
        assert_eq!(said.status.code(), Some(2), "{}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains("--storage-root: ") && !said.stderr.contains("spec.storage"), "{}", said.stderr);
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x40;
    fs::write(path, bytes).expect("writable");
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn each_damage_to_jpeg_files_is_found_by_its_kind() {
    let (disk, file) = stored(jpeg_files("frames"));
    let frames = files(&disk, ".jpg");
    assert_eq!(frames.len(), FRAMES);
    let victim = &frames[7];
    let whole = fs::read(victim).expect("readable");
    let restore = || fs::write(victim, &whole).expect("writable");

    fs::remove_file(victim).expect("removed");
    assert_found(&file, "missing", "[0]@7");
    restore();

    flip(victim, whole.len() / 2);
    assert_found(&file, "torn", &name(victim));
    restore();

    fs::write(victim, &whole[..whole.len() - 1]).expect("writable");
    assert_found(&file, "torn", "bytes, the record");
    restore();

    // The same record again, under another time.
    let again = victim.with_file_name(name(victim).replace("_20", "_19"));
    fs::copy(victim, &again).expect("copied");
    assert_found(&file, "duplicate", &name(&again));
    fs::remove_file(&again).expect("removed");

    // A record that the topic does not hold, and a file of somebody else.
    for foreign in [name(victim).replace("-000007", "-999999"), "holiday.jpg".into(), "notes.txt".into()] {
        let path = victim.with_file_name(&foreign);
        fs::copy(victim, &path).expect("copied");
        assert_found(&file, "foreign", &foreign);
        fs::remove_file(&path).expect("removed");
    }
    assert_verified(&file);
}

/// Where the bytes of the file's `n`th picture begin.
fn picture(bytes: &[u8], n: usize) -> usize {
    let starts = bytes.windows(3).enumerate().filter(|(_, w)| *w == [0xFF, 0xD8, 0xFF]);
    starts.map(|(at, _)| at).nth(n).expect("so many pictures")
}

#[test]
fn each_damage_to_an_mjpeg_video_is_found_by_its_kind() {
    let (disk, file) = stored(json!({"video": {"directory": "film", "fileName": "one.avi", "frameRate": 10}}));
    let (avi, csv) = (disk.join("film/one.avi"), disk.join("film/one.csv"));
    let (film, rows) = (fs::read(&avi).expect("readable"), fs::read_to_string(&csv).expect("readable"));

    flip(&avi, picture(&film, 11) + 2000);
    assert_found(&file, "torn", "[0]@11");
    fs::write(&avi, &film).expect("writable");

    let lines: Vec<&str> = rows.lines().collect();
    let without: Vec<&str> = lines.iter().enumerate().filter(|(i, _)| *i != 6).map(|(_, line)| *line).collect();
    fs::write(&csv, without.join("\n") + "\n").expect("writable");
    let found = findings(&file);
    let has = |kind: &str, words: &str| found.iter().any(|(k, text)| k == kind && text.contains(words));
    assert!(has("missing", "[0]@5") && has("damaged", "shows a picture of no record as frame 5"), "{found:?}");

    fs::write(&csv, format!("{rows}{}\n", lines[3])).expect("writable");
    assert!(findings(&file).iter().any(|(kind, _)| kind == "duplicate"), "a row that stands twice");

    fs::write(&csv, &rows).expect("writable");
    fs::write(&avi, &film[..film.len() / 2]).expect("writable");
    let found = findings(&file);
    assert!(found.iter().any(|(kind, _)| kind == "damaged") || found.len() >= FRAMES / 3, "{found:?}");

    fs::write(&avi, &film).expect("writable");
    fs::copy(&avi, disk.join("film/other.avi")).expect("copied");
    assert_found(&file, "foreign", "other.avi");
    fs::remove_file(disk.join("film/other.avi")).expect("removed");

    fs::remove_file(&avi).expect("removed");
    assert_eq!(findings(&file).iter().filter(|(kind, _)| kind == "missing").count(), FRAMES);
    fs::write(&avi, &film).expect("writable");
    assert_verified(&file);
}

#[test]
fn what_cannot_be_found_out_is_neither_right_nor_wrong() {
    let disk = scratch::dir("disk");
    let address = format!("127.0.0.1:{}", edgereel_tests::free_port());
    let sink = resources::sink("s", "t", jpeg_files(""), &disk, json!({}));
    let file = resources::write(&[resources::connection(&address), sink]);
    let said = edgereel::verify(&file);
    assert_eq!(said.status.code(), Some(2), "{}{}", said.stdout, said.stderr);
    assert!(said.stderr.contains(&address), "{}", said.stderr);
}

/// A sink of this output at work, idle, stopped and started again: nothing is wrong at any time.
#[track_caller]
fn is_content_with_an_idle_sink(output: Value) {
    let (kafka, topic, disk) = (kafka::shared(), unique("idle"), scratch::dir("disk"));
    kafka.create_topic(&topic, 2, &[]);
    let pictures = video::pictures(2 * FRAMES);
    kafka.produce(&topic, pictures[..FRAMES].iter().cloned().map(NewRecord::value));
    let sink = resources::sink("s", &topic, output, &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    for round in 0..3 {
        let worker = Edgereel::run([&file]);
        await_lag_zero(kafka, &worker, "s", &topic);
        worker.await_ready("s");
        assert_verified(&file);
        if round == 1 {
            kafka.produce(&topic, pictures[FRAMES..].iter().cloned().map(NewRecord::value));
            await_lag_zero(kafka, &worker, "s", &topic);
            assert_verified(&file);
        }
        assert!(worker.stop().success());
        assert_verified(&file);
    }
}

#[test]
fn an_idle_video_that_was_stopped_and_started_is_whole() {
    is_content_with_an_idle_sink(json!({"video": {"directory": "film", "fileName": "one.avi"}}));
}

#[test]
fn an_idle_xvid_video_in_segments_that_was_stopped_and_started_is_whole() {
    is_content_with_an_idle_sink(
        json!({"video": {"directory": "film", "codec": "xvid", "frameRate": 10, "segment": {"maxDuration": "1s"}}}),
    );
}

#[test]
fn idle_jpeg_files_that_were_stopped_and_started_are_whole() {
    is_content_with_an_idle_sink(jpeg_files("frames"));
}

#[test]
fn records_that_an_xvid_video_cannot_show_are_no_frames_that_are_missing() {
    for how in [json!({"onInvalid": "skip"}), json!({"deadLetter": {"topic": unique("undecodable.dead")}})] {
        let (kafka, topic, disk) = (kafka::shared(), unique("undecodable"), scratch::dir("disk"));
        kafka.create_topic(&topic, 1, &[]);
        let mut pictures = video::pictures(FRAMES);
        // Whole by its structure: only whoever decodes it finds that its tables are of no use.
        let tables = pictures[4].windows(2).position(|w| w == [0xFF, 0xC4]).expect("Huffman tables");
        pictures[4][tables + 5..tables + 21].fill(0xFF);
        kafka.produce(&topic, pictures.into_iter().map(NewRecord::value));
        let output = json!({"video": {"directory": "film", "codec": "xvid", "frameRate": 10}});
        let sink = resources::sink("s", &topic, output, &disk, how);
        let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
        store_all(kafka, &file, &["s"], &topic);
        assert_verified(&file);
        let said = edgereel::verify(&file);
        assert!(said.stdout.contains("1 not frames"), "{}", said.stdout);
    }
}

#[test]
fn a_sink_that_begins_at_the_end_has_no_claim_on_what_came_before() {
    let (kafka, topic, disk) = (kafka::shared(), unique("latest"), scratch::dir("disk"));
    kafka.create_topic(&topic, 2, &[]);
    let pictures = video::pictures(2 * FRAMES);
    kafka.produce(&topic, pictures[..FRAMES].iter().cloned().map(NewRecord::value));
    let sink = resources::sink("s", &topic, jpeg_files("frames"), &disk, json!({"startFrom": "latest"}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    assert_verified(&file);
    kafka.produce(&topic, pictures[FRAMES..].iter().cloned().map(NewRecord::value));
    await_lag_zero(kafka, &worker, "s", &topic);
    assert!(worker.stop().success());
    assert_verified(&file);
    assert_eq!(files(&disk, ".jpg").len(), FRAMES);
    let said = edgereel::verify(&file);
    assert!(said.stdout.contains(&format!("{FRAMES} from before the start")), "{}", said.stdout);
}

#[test]
fn a_working_sink_can_be_verified_at_any_moment() {
    let (kafka, topic, disk) = (kafka::shared(), unique("working"), scratch::dir("disk"));
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "8k"}});
    let camera = resources::camera("cam", source, &topic, json!({"frameRate": {"target": 60}}));
    let more = |group: &str| json!({"group": format!("{group}-{topic}"), "durability": {"flushInterval": "100ms"}});
    let segments = |codec| json!({"video": {"directory": codec, "codec": codec, "segment": {"maxDuration": "1s"}}});
    let documents = [
        resources::connection(kafka.bootstrap()),
        camera,
        resources::sink("files", &topic, jpeg_files("frames"), &disk, more("files")),
        resources::sink("film", &topic, segments("mjpeg"), &disk, more("film")),
        resources::sink("xvid", &topic, segments("xvid"), &disk, more("xvid")),
        resources::sink("one", &topic, json!({"video": {"directory": "one"}}), &disk, more("one")),
    ];
    let file = resources::write(&documents);
    let worker = Edgereel::run([&file]);
    for sink in ["cam", "files", "film", "xvid", "one"] {
        worker.await_ready(sink);
    }
    worker.await_metrics("frames are durable", |m| m.sum("sink_frames_durable_total", &[("name", "xvid")]) > 30.0);
    for _ in 0..25 {
        assert_verified(&file);
    }
    assert!(worker.stop().success());
    assert_verified(&file);
}

/// The peak of the resident memory of `edgereel verify`, in kilobytes.
#[track_caller]
fn memory_of_verify(file: &Path) -> u64 {
    let mut command = Command::new(edgereel_tests::edgereel_bin());
    command.args(["verify".as_ref(), "-f".as_ref(), file.as_os_str()]);
    let verify = Guarded::spawn("verify", command).expect("started");
    let mut peak = 0;
    wait::until("verify has ended", Duration::from_secs(300), || {
        let status = fs::read_to_string(format!("/proc/{}/status", verify.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        peak = peak.max(now);
        !verify.running()
    });
    assert!(verify.exit_status().is_some_and(|status| status.success()), "{}", verify.tail());
    peak
}

/// So many records, stored by a sink of this output; its resources.
fn many(count: u64, output: Value) -> PathBuf {
    let (kafka, topic, disk) = (kafka::shared(), unique("many"), scratch::dir("disk"));
    kafka.create_topic(&topic, 2, &[]);
    for from in (0..count).step_by(50_000) {
        kafka.produce(&topic, frames(from..count.min(from + 50_000), 2, 30));
    }
    let sink = resources::sink("s", &topic, output, &disk, json!({"durability": {"flushFrames": 5000}}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["s"], &topic);
    file
}

/// Ten times as many records need hardly more memory.
#[track_caller]
fn needs_no_more_memory_for_more(output: Value) {
    let [few, many] = [FEW, 10 * FEW].map(|count| memory_of_verify(&many(count, output.clone())));
    assert!(many < few + 24 * 1024, "{few} kB for {FEW} records, {many} kB for ten times as many");
}

#[test]
fn ten_times_the_jpeg_files_need_no_more_memory() {
    let name = format!("{{partition}}/{{offset:020}}-{}.jpg", "long".repeat(45));
    needs_no_more_memory_for_more(json!({"jpegFiles": {"directory": "frames", "fileName": name}}));
}

#[test]
fn a_video_ten_times_as_long_needs_no_more_memory() {
    needs_no_more_memory_for_more(json!({"video": {"directory": "film", "fileName": "one.avi", "frameRate": 30}}));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let (disk, file) = stored(jpeg_files("frames"));
    for path in files(&disk, ".jpg") {
        fs::remove_file(path).expect("removed");
    }
    let binary = edgereel_tests::edgereel_bin();
    for more in ["--all", "--json"] {
        let line =
            format!("'{}' verify {more} -f '{}' | true; exit ${{PIPESTATUS[0]}}", binary.display(), file.display());
        let mut command = Command::new("bash");
        command.args(["-c", &line]);
        let said = process::run("bash", command, Duration::from_secs(60)).expect("run");
        assert_eq!((said.status.code(), said.stderr.as_str()), (Some(1), ""), "{more}");
    }
}

/// Runs a command on a terminal of 100 columns, and gives what it wrote there.
const ON_A_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    said += piece
os.waitpid(pid, 0)
sys.stdout.buffer.write(said)
";

#[test]
fn a_terminal_sees_how_far_it_is_and_a_pipe_only_the_result() {
    let file = many(20_000, jpeg_files("frames"));
    let piped = edgereel::verify(&file);
    assert_eq!((piped.stderr.as_str(), piped.stdout.lines().count()), ("", 1), "{}", piped.stdout);
    let mut command = Command::new("python3");
    command.args(["-c".as_ref(), ON_A_TERMINAL.as_ref(), edgereel_tests::edgereel_bin().as_os_str()]);
    command.args(["verify".as_ref(), "-f".as_ref(), file.as_os_str()]);
    let seen = process::run("python3", command, Duration::from_secs(120)).expect("run").stdout;
    for words in ["files listed", "/20,000 records", "default/s", "20000 frames present"] {
        assert!(seen.contains(words), "no `{words}` in {seen:?}");
    }
}
