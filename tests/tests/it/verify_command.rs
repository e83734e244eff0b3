//! `edgereel verify` finds whatever happened to a sink's files behind its back, and says so by its exit status.

use std::{
    fs,
    path::{Path, PathBuf},
};

use edgereel_tests::{
    edgereel,
    kafka::{self, topics::NewRecord},
    process::Finished,
    resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::support::{assert_verified, files, jpeg_files, store_all};

const FRAMES: usize = 30;

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
