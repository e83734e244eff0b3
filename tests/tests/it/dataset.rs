//! Data sets from a real Kafka: what the Python consumer's producer sends becomes its `output_images` and `annotation.csv`, each
//! picture with one row, whatever is killed.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use edgereel_frame::samples::{png, webp};
use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{self, topics::NewRecord},
    project_root, python, resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::{
    crash::{ROUNDS, run_and_kill},
    sink::bench::KEEP,
    support::{assert_verified, await_lag_zero, files, store_all},
};

/// What Python's own reader finds in a CSV, as JSON: what a training script would see.
const READ: &str = "
import csv, json, sys
with open(sys.argv[1], newline='', encoding='utf-8') as file:
    print(json.dumps(list(csv.reader(file))))
";

fn rows(csv: &Path) -> Vec<(String, String)> {
    let read = python::run(READ, &[&csv.to_string_lossy()]);
    let rows: Vec<(String, String)> = serde_json::from_str(&read).expect("rows of two cells");
    assert_eq!(rows[0], ("image_path".into(), "annotation".into()), "{}", csv.display());
    rows[1..].to_vec()
}

/// Labelled picture `n`, as JSON of the script's producer or as a bare picture with headers; and its bytes.
fn labelled(n: usize, annotation: &str) -> (NewRecord, Vec<u8>) {
    let timestamp = Some(1_700_000_000_000 + 1000 * n as i64);
    let picture = if n.is_multiple_of(2) { png(&n.to_string()) } else { webp(&n.to_string()) };
    let record = match n % 3 {
        0 => NewRecord::value(json!({"annotation": annotation, "image_file": STANDARD.encode(&picture)}).to_string()),
        1 => NewRecord {
            headers: vec![("annotation".into(), annotation.into()), ("file".into(), format!("{n}.png").into())],
            ..NewRecord::value(picture.clone())
        },
        _ => {
            let file = format!("{n}.png");
            let frame = STANDARD.encode(&picture);
            NewRecord::value(json!({"frame": frame, "annotation": annotation, "file": file, "size": 1}).to_string())
        }
    };
    (NewRecord { timestamp, ..record }, picture)
}

const ANNOTATIONS: [&str; 6] = ["2024-09-10", "a, \"b\"", "two\nlines", "=1+1", "'x", "-1"];

/// A sink `s` of a topic with a data set below `set`.
fn sink_of(topic: &str, output: Value, more: Value) -> (PathBuf, PathBuf) {
    let disk = scratch::dir("dataset");
    let sink = resources::sink("s", topic, json!({"dataset": output}), &disk, more);
    (resources::write(&[resources::connection(kafka::shared().bootstrap()), sink]), disk)
}

/// All rows of all CSVs, each with the bytes of its picture, in order of the annotations and bytes.
fn stored(disk: &Path) -> Vec<(String, Vec<u8>)> {
    let csvs = files(disk, ".csv");
    let top = csvs.first().and_then(|csv| csv.parent()).expect("a CSV").to_owned();
    let rows = csvs.iter().flat_map(|csv| rows(csv));
    let mut found: Vec<_> = rows
        .map(|(path, annotation)| {
            let path = top.join(path);
            let annotation = annotation.strip_prefix('\'').map(str::to_owned).unwrap_or(annotation);
            (annotation, fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        })
        .collect();
    let pictures = [".png", ".webp", ".jpg"].iter().map(|ending| files(&top, ending).len()).sum::<usize>();
    assert_eq!(pictures, found.len(), "a row for each picture");
    found.sort();
    found
}

fn expected(count: usize) -> Vec<(String, Vec<u8>)> {
    let all = (0..count).map(|n| (ANNOTATIONS[n % 6].to_owned(), labelled(n, "").1));
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[test]
fn what_the_python_producer_sends_becomes_output_images_and_annotation_csv() {
    let (kafka, topic) = (kafka::shared(), unique("labels"));
    kafka.create_topic(&topic, 2, KEEP);
    kafka.produce(&topic, (0..30).map(|n| labelled(n, ANNOTATIONS[n % 6]).0));
    let (file, disk) = sink_of(&topic, json!({"directory": "set"}), json!({}));
    store_all(kafka, &file, &["s"], &topic);
    assert_eq!(stored(&disk), expected(30));
    let rows = rows(&disk.join("set/annotation.csv"));
    let in_time = rows.iter().map(|(_, annotation)| annotation.trim_start_matches('\'').to_owned());
    let sent = (0..30).map(|n| ANNOTATIONS[n % 6].trim_start_matches('\'').to_owned());
    assert!(in_time.eq(sent), "in the order of capture: {rows:?}");
    assert!(rows.iter().any(|(path, _)| path.starts_with("output_images/") && path.ends_with("_2024-09-10.png")));
    assert_verified(&file);
}

#[test]
fn a_data_set_killed_at_random_moments_ends_with_each_picture_and_one_row_for_it() {
    const COUNT: usize = 600;
    for rotate in [json!(null), json!({"every": "day", "maxBytes": "4Ki"})] {
        let (kafka, topic) = (kafka::shared(), unique("labels-crash"));
        kafka.create_topic(&topic, 3, KEEP);
        let mut output = json!({"directory": "set", "timeZone": "Europe/Rome"});
        if !rotate.is_null() {
            output["rotate"] = rotate;
        }
        let (file, disk) =
            sink_of(&topic, output, json!({"durability": {"flushInterval": "100ms", "flushFrames": 16}}));
        thread::scope(|scope| {
            scope.spawn(|| {
                let numbers: Vec<usize> = (0..COUNT).collect();
                for part in numbers.chunks(COUNT / (2 * ROUNDS)) {
                    kafka.produce(&topic, part.iter().map(|n| labelled(*n, ANNOTATIONS[n % 6]).0));
                }
            });
            for _ in 0..ROUNDS {
                run_and_kill(&file);
            }
        });
        store_all(kafka, &file, &["s"], &topic);
        assert_eq!(stored(&disk), expected(COUNT));
        assert_verified(&file);
    }
}

#[test]
fn records_that_are_no_pictures_are_dead_letters_with_the_reason() {
    let (kafka, topic) = (kafka::shared(), unique("labels-bad"));
    let dead = format!("{topic}.dead");
    kafka.create_topic(&topic, 1, KEEP);
    let whole = png("a");
    let bad: [(Vec<u8>, &str); 4] = [
        (b"GIF89a".to_vec(), "not_picture"),
        (whole[..whole.len() - 1].to_vec(), "truncated"),
        (b"{\"annotation\": \"a\"}".to_vec(), "no_frame_field"),
        (b"{\"image\": \"R0lG\"}".to_vec(), "not_picture"),
    ];
    kafka.produce(&topic, bad.iter().map(|(value, _)| NewRecord::value(value.clone())).chain([labelled(0, "x").0]));
    let (file, disk) = sink_of(&topic, json!({}), json!({"deadLetter": {"topic": dead}}));
    store_all(kafka, &file, &["s"], &topic);
    assert_eq!(stored(&disk), [("x".to_owned(), labelled(0, "").1)]);
    let letters = kafka.consume_all(&dead);
    let classes = letters.iter().map(|letter| letter.header("__connect.errors.exception.class.name").expect("said"));
    assert!(classes.zip(bad).all(|(class, (_, reason))| class.ends_with(reason)));
    assert_verified(&file);
}

#[test]
fn a_data_set_at_work_and_at_rest_can_be_verified_and_damage_is_found() {
    let (kafka, topic) = (kafka::shared(), unique("labels-verify"));
    kafka.create_topic(&topic, 2, KEEP);
    let (file, disk) = sink_of(&topic, json!({"directory": "set", "rotate": {"maxBytes": "1Ki"}}), json!({}));
    let worker = Edgereel::run([&file]);
    worker.await_ready("s");
    for part in 0..5 {
        kafka.produce(&topic, (part * 40..part * 40 + 40).map(|n| labelled(n, ANNOTATIONS[n % 6]).0));
        assert_verified(&file);
    }
    await_lag_zero(kafka, &worker, "s", &topic);
    assert_verified(&file);
    assert!(worker.stop().success());
    let csv = files(&disk, ".csv").remove(1);
    let text = fs::read_to_string(&csv).expect("text");
    fs::write(&csv, text.replacen("2024-09-10\n", "2024-09-11\n", 1)).expect("written");
    let said = edgereel::verify(&file);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stdout.contains("has another annotation of"), "{}", said.stdout);
    fs::write(&csv, text).expect("written");
    assert_verified(&file);
}

#[test]
fn the_example_runs_as_it_is() {
    let text = fs::read_to_string(project_root().join("examples/dataset/dataset.yaml")).expect("readable");
    let (kafka, topic) = (kafka::shared(), unique("image-data"));
    kafka.create_topic(&topic, 2, KEEP);
    // Pictures of a camera are taken, too.
    let jpegs = video::pictures(2).into_iter().map(NewRecord::value);
    kafka.produce(&topic, (0..8).map(|n| labelled(n, ANNOTATIONS[n % 6]).0).chain(jpegs));
    let here = [
        ("localhost:9092", kafka.bootstrap()),
        ("image-data]", &format!("{topic}]")),
        ("image-consumer-group", &format!("s-{topic}")),
    ];
    let text = here.iter().fold(text, |text, (there, here)| text.replace(there, here));
    let (file, disk) = (scratch::dir("example").join("dataset.yaml"), scratch::dir("example-disk"));
    fs::write(&file, text).expect("written");
    let root = disk.to_string_lossy();
    let worker = Edgereel::run_args([&file], &["--storage-root", &root]);
    await_lag_zero(kafka, &worker, "s", &topic);
    assert!(worker.stop().success());
    assert_eq!(stored(&disk).len(), 10);
    let verified = edgereel::call(["verify", "-f", &file.to_string_lossy(), "--storage-root", &root]);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
}
