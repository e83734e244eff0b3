//! Folders of labelled pictures: each file is sent once, whatever is killed, half copied, odd, or away.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use edgereel_frame::samples::{picture, png, webp};
use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin,
    kafka::{self, Cluster, Options, topics::Record},
    process, project_root, resources, scratch, unique,
};
use serde_json::{Value, json};

use crate::{
    crash::{ROUNDS, run_and_kill},
    sink::bench::KEEP,
    support::{assert_verified, condition, files, is_ready, is_unready, store_all},
};

/// Longer than any of these takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A camera `labels` of a folder `in` of this disk.
fn camera(topic: &str, disk: &Path, directory: Value) -> Value {
    let mut source = json!({"path": "in", "settle": "100ms", "rescan": "1s"});
    if let (Value::Object(source), Value::Object(more)) = (&mut source, directory) {
        source.extend(more);
    }
    let more =
        json!({"storage": {"hostPath": {"path": disk}}, "topic": {"name": topic, "partitions": 2, "key": "none"}});
    resources::camera("labels", json!({"directory": source}), topic, more)
}

/// A topic, a disk with a folder `in`, and the file of such a camera.
fn lab(kafka: &Cluster, directory: Value) -> (String, PathBuf, PathBuf) {
    let (topic, disk) = (unique("folder"), scratch::dir("folder"));
    fs::create_dir(disk.join("in")).expect("made");
    kafka.create_topic(&topic, 2, KEEP);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera(&topic, &disk, directory)]);
    (topic, disk, file)
}

fn put(disk: &Path, name: &str, bytes: &[u8]) {
    let path = disk.join("in").join(name);
    fs::create_dir_all(path.parent().expect("one")).expect("made");
    fs::write(path, bytes).expect("written");
}

/// Runs the resources of a file until all have completed, and gives what was said.
#[track_caller]
fn run_to_its_end(file: &Path) -> String {
    let mut command = Command::new(edgereel_bin());
    command.args(["run", "--http", "off", "--log-format", "text", "-f"]).arg(file);
    let ended = process::run("edgereel-run", command, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
    ended.stderr
}

/// What stands in a topic: of each file, by its path, what it shows and its bytes; each once.
#[track_caller]
fn sent(records: &[Record]) -> BTreeMap<String, (Option<String>, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for record in records {
        let file = record.header("file").expect("a file's name");
        let value = (record.header("annotation"), record.value.clone().expect("a picture"));
        assert!(all.insert(file.clone(), value).is_none(), "{file} twice");
    }
    all
}

fn expected(files: &[(&str, &str, Vec<u8>)]) -> BTreeMap<String, (Option<String>, Vec<u8>)> {
    files.iter().map(|(file, label, bytes)| ((*file).into(), (Some((*label).into()), bytes.clone()))).collect()
}

/// Waits until so many files were acknowledged.
#[track_caller]
fn await_sent(worker: &Edgereel, count: u64) {
    worker.await_metrics("files are acknowledged", |m| m.count("camera_frames_acknowledged", "labels") >= count);
}

#[test]
fn pictures_of_a_folder_become_a_data_set_and_what_is_none_makes_no_record() {
    let kafka = kafka::shared();
    for format in ["jpeg", "json"] {
        let (topic, disk, _) = lab(kafka, json!({}));
        let whole = picture(64, 48, 7);
        let pictures = [
            ("2024-09-10.png", "2024-09-10", png("a")),
            ("no ending", "no ending", webp("b")),
            ("wrong.txt", "wrong", whole.clone()),
            ("deep/er/Größe, \"x\" 中.jpg", "Größe, \"x\" 中", picture(64, 48, 1)),
            ("=1+1.webp", "=1+1", webp("c")),
            ("same.png", "same", png("a")),
        ];
        pictures.iter().for_each(|(name, _, bytes)| put(&disk, name, bytes));
        for (junk, bytes) in [
            (".DS_Store", &whole),
            ("._x.jpg", &whole),
            ("Thumbs.db", &whole),
            ("half.jpg.part", &whole),
            ("a.jpg~", &whole),
            ("empty.jpg", &vec![]),
            ("cut.jpg", &whole[..whole.len() / 2].to_vec()),
            ("text.jpg", &b"hello".to_vec()),
            ("large.jpg", &picture(2000, 1500, 1)),
        ] {
            put(&disk, junk, bytes);
        }
        let odd = std::ffi::OsStr::from_bytes(b"odd \xff\n.png");
        fs::write(disk.join("in").join(odd), png("odd")).expect("written");
        fs::write(disk.join("secret.png"), png("secret")).expect("written");
        symlink("../secret.png", disk.join("in/out.png")).expect("linked");
        symlink("same.png", disk.join("in/link.png")).expect("linked");
        let mut camera = camera(&topic, &disk, json!({"watch": false}));
        camera["spec"]["encoding"] = json!({"format": format, "maxFrameBytes": "200Ki"});
        let sink = resources::sink("s", &topic, json!({"dataset": {"directory": "set"}}), &disk, json!({}));
        let connection = resources::connection(kafka.bootstrap());
        let log = run_to_its_end(&resources::write(&[connection.clone(), camera]));
        for word in ["empty 1", "not_picture 1", "truncated 1", "too_large 1", "outside 1", "8 sent", "5 passed over"] {
            assert!(log.contains(word), "no {word:?} in {log}");
        }
        let records = kafka.consume_all(&topic);
        if format == "jpeg" {
            let mut all = expected(&pictures);
            all.insert("link.png".into(), (Some("link".into()), png("a")));
            all.insert("odd \u{fffd}\n.png".into(), (Some("odd \u{fffd}\n".into()), png("odd")));
            assert_eq!(sent(&records), all);
            let types: Vec<String> = records.iter().filter_map(|record| record.header("content-type")).collect();
            assert!(["image/png", "image/jpeg", "image/webp"].iter().all(|kind| types.contains(&(*kind).to_owned())));
        } else {
            let first: Value = serde_json::from_slice(records[0].value.as_deref().expect("JSON")).expect("JSON");
            assert!(
                first["frame"].is_string() && first["annotation"].is_string() && first["file"].is_string(),
                "{first}"
            );
        }
        assert_eq!(records.len(), 8);
        let file = resources::write(&[connection, sink]);
        store_all(kafka, &file, &["s"], &topic);
        let stored: usize = [".png", ".webp", ".jpg"].iter().map(|ending| files(&disk.join("set"), ending).len()).sum();
        assert_eq!(stored, 8);
        assert_verified(&file);
    }
}

#[test]
fn a_worker_killed_at_random_moments_sends_every_file_once() {
    const COUNT: usize = 400;
    for after in [json!({}), json!({"afterSent": "delete"}), json!({"afterSent": "move", "sentDirectory": "sent"})] {
        let kafka = kafka::shared();
        let (topic, disk, file) = lab(kafka, after.clone());
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..COUNT {
                    // By a rename, as rsync does.
                    let hidden = disk.join(format!("in/.{n}.png.Xy12"));
                    fs::write(&hidden, png(&n.to_string())).expect("written");
                    fs::rename(hidden, disk.join(format!("in/{n}.png"))).expect("renamed");
                    thread::sleep(Duration::from_millis(15));
                }
            });
            (0..2 * ROUNDS).for_each(|_| run_and_kill(&file));
        });
        let to_its_end = camera(&topic, &disk, {
            let mut after = after.clone();
            after["watch"] = json!(false);
            after
        });
        let end = resources::write(&[resources::connection(kafka.bootstrap()), to_its_end]);
        run_to_its_end(&end);
        let found = sent(&kafka.consume_all(&topic));
        assert_eq!(found.len(), COUNT);
        for n in 0..COUNT {
            assert_eq!(found[&format!("{n}.png")], (Some(n.to_string()), png(&n.to_string())));
        }
        let left = |directory: &str| files(&disk.join(directory), ".png").len();
        match after["afterSent"].as_str() {
            Some("delete") => assert_eq!(left("in"), 0),
            Some(_) => assert_eq!((left("in"), left("sent")), (0, COUNT)),
            None => assert_eq!(left("in"), COUNT),
        }
        // And into a data set, each with one row.
        let sink = resources::sink("s", &topic, json!({"dataset": {"directory": "set"}}), &disk, json!({}));
        let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
        store_all(kafka, &file, &["s"], &topic);
        assert_eq!(files(&disk.join("set"), ".png").len(), COUNT);
        assert_verified(&file);
    }
}

#[test]
fn a_file_is_sent_when_it_is_whole_and_again_when_it_changes() {
    let kafka = kafka::shared();
    // A rescan would hide that nobody was told.
    let (topic, disk, file) = lab(kafka, json!({"rescan": "1h", "settle": "1s"}));
    let worker = Edgereel::run([&file]);
    worker.await_ready("labels");
    let bytes = png(&"x".repeat(10_000));
    let mut writer = fs::File::create(disk.join("in/slow.png")).expect("made");
    writer.write_all(&bytes[..5000]).expect("written");
    writer.sync_all().expect("synced");
    put(&disk, "new/directory/a.png", &png("a"));
    await_sent(&worker, 1);
    writer.write_all(&bytes[5000..]).expect("written");
    drop(writer);
    await_sent(&worker, 2);
    assert_eq!(sent(&kafka.consume_all(&topic))["slow.png"].1, bytes);
    // A truncated one is told with its name, and sent when it is whole.
    put(&disk, "cut.png", &bytes[..5000]);
    worker.await_status("cut.png: the picture ends too early");
    assert!(is_ready(&worker.status_of("labels")), "one bad file keeps nobody");
    put(&disk, "cut.png", &bytes);
    await_sent(&worker, 3);
    // Touched it is the same; with other bytes it is another.
    let touched = fs::File::options().append(true).open(disk.join("in/cut.png")).expect("open");
    touched.set_modified(std::time::SystemTime::now() + Duration::from_secs(5)).expect("touched");
    drop(touched);
    put(&disk, "cut.png", &png("changed"));
    await_sent(&worker, 4);
    assert!(worker.stop().success());
    let worker = Edgereel::run([&file]);
    worker.await_ready("labels");
    put(&disk, "last.png", &png("last"));
    await_sent(&worker, 1);
    assert!(worker.stop().success());
    let records = kafka.consume_all(&topic);
    let mut names: Vec<String> = records.iter().filter_map(|record| record.header("file")).collect();
    names.sort();
    assert_eq!(names, ["cut.png", "cut.png", "last.png", "new/directory/a.png", "slow.png"]);
    let mut ids: Vec<String> = records.iter().filter_map(|record| record.header("ce_id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn five_thousand_small_files_are_sent_once_and_looked_through_again_in_vain() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"watch": false}));
    for n in 0..5000 {
        put(&disk, &format!("{}/{n}.png", n % 50), &png(&n.to_string()));
    }
    let log = run_to_its_end(&file);
    assert!(log.contains("5000 sent"), "{log}");
    assert_eq!(sent(&kafka.consume_all(&topic)).len(), 5000);
    let log = run_to_its_end(&file);
    assert!(log.contains(" 0 sent"), "{log}");
    assert_eq!(kafka.record_count(&topic), 5000);
}

#[test]
fn while_kafka_is_away_files_wait_and_none_is_given_up() {
    let kafka = Cluster::start(1, Options::default()).expect("a broker");
    let (topic, disk, file) = lab(&kafka, json!({}));
    // What a camera would give up after a second waits here.
    let text = fs::read_to_string(&file).expect("there");
    fs::write(&file, text.replace("  storage:", "  producer: {deliveryTimeout: 1s}\n  storage:")).expect("written");
    put(&disk, "before.png", &png("before"));
    let worker = Edgereel::run([&file]);
    await_sent(&worker, 1);
    for fault in ["frozen", "gone"] {
        match fault {
            "frozen" => kafka.freeze(0),
            _ => kafka.kill(0),
        }
        (0..100).for_each(|n| put(&disk, &format!("{fault}-{n}.png"), &png(&n.to_string())));
        worker.await_status_of("labels", "it says that Kafka is away", |entry| is_unready(entry, "KafkaUnreachable"));
        let waiting = worker.status_of("labels")["figures"]["filesWaiting"].as_u64();
        assert!(waiting.is_some_and(|waiting| waiting > 0), "{waiting:?}");
        match fault {
            "frozen" => kafka.thaw(0),
            _ => kafka.restart(0),
        }
        await_sent(&worker, if fault == "frozen" { 101 } else { 201 });
    }
    let entry = worker.await_status_of("labels", "it is ready again", is_ready);
    assert_eq!(entry["figures"]["framesDropped"], 0, "{entry:#}");
    assert!(worker.stop().success());
    assert_eq!(sent(&kafka.consume_all(&topic)).len(), 201);
}

#[test]
fn annotations_come_from_directories_sidecars_and_a_csv() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({"annotation": "parentFolder", "watch": false}));
    put(&disk, "cats/1.png", &png("1"));
    put(&disk, "dogs/1.png", &png("2"));
    run_to_its_end(&file);
    let all = [("cats/1.png", "cats", png("1")), ("dogs/1.png", "dogs", png("2"))];
    assert_eq!(sent(&kafka.consume_all(&topic)), expected(&all));

    // A picture waits for its annotation.
    let (topic, disk, file) =
        lab(kafka, json!({"annotation": "sidecar", "afterSent": "move", "sentDirectory": "sent"}));
    put(&disk, "a.png", &png("a"));
    let worker = Edgereel::run([&file]);
    worker.await_status("a.txt is not there");
    put(&disk, "a.txt", "a, \"b\"\nc\n".as_bytes());
    await_sent(&worker, 1);
    assert!(worker.stop().success());
    assert_eq!(sent(&kafka.consume_all(&topic)), expected(&[("a.png", "a, \"b\"\nc", png("a"))]));
    assert!(disk.join("sent/a.png").exists() && disk.join("sent/a.txt").exists() && !disk.join("in/a.txt").exists());

    let (topic, disk, file) = lab(kafka, json!({"annotation": "csv", "annotationFile": "labels.csv"}));
    put(&disk, "x/a.png", &png("a"));
    put(&disk, "b.png", &png("b"));
    put(&disk, "labels.csv", "image_path,annotation\nx/a.png,\"one, two\"\n".as_bytes());
    let worker = Edgereel::run([&file]);
    worker.await_status("b.png: labels.csv has no row of it");
    put(&disk, "labels.csv", "image_path,annotation\nx/a.png,\"one, two\"\nb.png,three\n".as_bytes());
    await_sent(&worker, 2);
    assert!(worker.stop().success());
    let all = [("x/a.png", "one, two", png("a")), ("b.png", "three", png("b"))];
    assert_eq!(sent(&kafka.consume_all(&topic)), expected(&all));
}

#[test]
fn what_another_program_has_sent_is_taken_over_and_the_ledger_may_be_elsewhere() {
    let kafka = kafka::shared();
    let state = scratch::dir("state");
    let (topic, disk, file) =
        lab(kafka, json!({"watch": false, "processedFiles": "processed_files.txt", "ledger": state.join("deep")}));
    fs::create_dir(state.join("deep")).expect("made");
    for name in ["1.png", "2.png", "3.png"] {
        put(&disk, name, &png(name));
    }
    fs::write(disk.join("processed_files.txt"), "1.png\r\nLabeled_Images/2.png\nmissing.png\n").expect("written");
    run_to_its_end(&file);
    let names: Vec<String> = kafka.consume_all(&topic).iter().filter_map(|record| record.header("file")).collect();
    assert_eq!(names, ["3.png"]);
    assert!(!disk.join("in/.edgereel").exists() && state.join("deep/.edgereel/cameras/default.labels/ledger").exists());
}

#[test]
fn what_is_wrong_with_a_folder_is_said_and_it_goes_on_when_that_is_mended() {
    let kafka = kafka::shared();
    let (topic, disk, file) = lab(kafka, json!({}));
    fs::remove_dir(disk.join("in")).expect("removed");
    let worker = Edgereel::run([&file]);
    let entry = worker.await_status_of("labels", "the folder is missing", |entry| is_unready(entry, "StorageMissing"));
    assert!(
        condition(&entry, "Ready")["message"].to_string().contains("there is no such folder: make it"),
        "{entry:#}"
    );
    fs::create_dir(disk.join("in")).expect("made");
    put(&disk, "a.png", &png("a"));
    await_sent(&worker, 1);
    worker.await_ready("labels");
    // A second one is told who reads the folder.
    let second = Edgereel::run([&file]);
    let status = second.await_status("StorageLocked");
    assert!(status.contains(&format!("process {}", worker.child().pid())), "{status}");
    assert!(second.stop().success());
    fs::rename(disk.join("in"), disk.join("away")).expect("moved");
    worker.await_status_of("labels", "the folder is gone", |entry| is_unready(entry, "StorageMissing"));
    fs::rename(disk.join("away"), disk.join("in")).expect("moved");
    put(&disk, "b.png", &png("b"));
    await_sent(&worker, 2);
    assert!(worker.stop().success());
    assert_eq!(sent(&kafka.consume_all(&topic)).len(), 2);
}

#[test]
fn a_folder_is_validated_and_looked_at_beforehand() {
    let kafka = kafka::shared();
    let (_, disk, file) = lab(kafka, json!({}));
    put(&disk, "a.png", &png("a"));
    put(&disk, "b.png", b"hello");
    let said = edgereel::call(["check", "-f", &file.to_string_lossy()]);
    assert!(said.stdout.contains("2 files") && said.stdout.contains("b.png: it is neither"), "{}", said.stdout);
    let text = fs::read_to_string(&file).expect("there");
    let wrong = file.with_extension("wrong.yaml");
    fs::write(&wrong, text.replace("path: in", "path: ../in\n      afterSent: move\n      annotation: csv"))
        .expect("written");
    let said = edgereel::call(["validate", "-f", &wrong.to_string_lossy()]);
    for message in ["leads out of its directory", "`afterSent: move` needs it", "`annotation: csv` needs it"] {
        assert!(said.stderr.contains(message) || said.stdout.contains(message), "no {message:?}: {}", said.stderr);
    }
}

#[test]
fn the_example_runs_as_it_is() {
    let text = fs::read_to_string(project_root().join("examples/folder/folder.yaml")).expect("readable");
    let (kafka, topic, disk) = (kafka::shared(), unique("image-data"), scratch::dir("example"));
    fs::create_dir(disk.join("Labeled_Images")).expect("made");
    fs::write(disk.join("Labeled_Images/2024-09-10.png"), png("a")).expect("written");
    let here = [("localhost:9092", kafka.bootstrap()), ("name: image-data", &format!("name: {topic}"))];
    let text = here.iter().fold(text, |text, (there, here)| text.replace(there, here));
    let file = disk.join("folder.yaml");
    fs::write(&file, text).expect("written");
    let root = disk.to_string_lossy();
    let worker = Edgereel::run_args([&file], &["--storage-root", &root]);
    worker.await_metrics("it is sent", |m| m.sum("camera_frames_acknowledged_total", &[]) >= 1.0);
    assert!(worker.stop().success());
    assert_eq!(sent(&kafka.consume_all(&topic)), expected(&[("2024-09-10.png", "2024-09-10", png("a"))]));
}
