//! What goes wrong outside: brokers that refuse, records that are no frames, disks that are missing, full or foreign. Each
//! shows in the status with its reason and remedy, and what can recover does so by itself.

use std::{fs, path::Path, time::Duration};

use edgereel_tests::{
    Edgereel, edgereel, free_port,
    kafka::{self, Cluster, topics::NewRecord},
    mounts::{Tmpfs, worker_with},
    resources, scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::support::{assert_verified, await_lag_zero, contents, files, jpeg_files, sorted, values};

fn synthetic(topic: &str, more: Value) -> Value {
    resources::camera("cam", json!({"synthetic": {"size": "320x240", "frameBytes": "20k"}}), topic, more)
}

/// Runs a camera whose Kafka is wrong, and gives the status that shows it.
#[track_caller]
fn status_of_camera(connection: Value, secrets: &[Value], camera: Value, reason: &str) -> String {
    let documents = [&[connection, camera][..], secrets].concat();
    let worker = Edgereel::run([resources::write(&documents)]);
    let status = worker.await_status(reason);
    assert!(worker.child().running(), "the worker ended\n{}", worker.child().tail());
    status
}

#[test]
fn an_unreachable_broker_shows_by_its_address() {
    let address = format!("127.0.0.1:{}", free_port());
    let camera = synthetic(&unique("nowhere"), json!({}));
    let status = status_of_camera(resources::connection(&address), &[], camera, "KafkaUnreachable");
    assert!(status.contains(&address), "{status}");
}

#[test]
fn a_topic_that_has_to_be_there_and_is_not_shows_as_missing() {
    let (kafka, topic) = (kafka::shared(), unique("missing"));
    let topic_spec = json!({"topic": {"name": topic, "partitions": 3, "ensure": "verify"}});
    let camera = synthetic(&topic, topic_spec);
    let status = status_of_camera(resources::connection(kafka.bootstrap()), &[], camera, "TopicMissing");
    assert!(status.contains(&topic), "{status}");
}

#[test]
fn a_topic_that_takes_only_small_messages_shows_as_too_small() {
    let (kafka, topic) = (kafka::shared(), unique("small"));
    kafka.create_topic(&topic, 3, &[("max.message.bytes", "10000")]);
    let camera = synthetic(&topic, json!({"topic": {"name": topic, "partitions": 3, "ensure": "exists"}}));
    let status = status_of_camera(resources::connection(kafka.bootstrap()), &[], camera, "MessageTooLarge");
    assert!(status.contains("max.message.bytes"), "{status}");
}

/// A connection with TLS and a login, and its Secret.
fn login(kafka: &Cluster, user: &str, password: &str) -> (Value, Value) {
    let key = |key: &str| json!({"name": "login", "key": key});
    let spec = json!({
        "bootstrapServers": [kafka.bootstrap()],
        "tls": {"caSecretRef": key("ca.crt")},
        "sasl": {"mechanism": "SCRAM-SHA-512", "usernameSecretRef": key("user"), "passwordSecretRef": key("password")},
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"ca.crt": kafka.ca_pem(), "user": user, "password": password}});
    (resources::resource("KafkaConnection", resources::CONNECTION, spec), secret)
}

#[test]
fn a_wrong_password_and_a_user_without_rights_show_as_unauthorized() {
    let (kafka, topic) = (kafka::secure(), unique("rights"));
    kafka.create_topic(&topic, 3, &[]);
    for (user, password) in [("admin", "wrong".to_owned()), ("guest", kafka.guest_password())] {
        let (connection, secret) = login(kafka, user, &password);
        let status = status_of_camera(connection, &[secret], synthetic(&topic, json!({})), "KafkaUnauthorized");
        assert!(!status.contains(&password), "the password shows: {status}");
    }
    let (connection, secret) = login(kafka, "admin", &kafka.admin_password());
    let worker = Edgereel::run([resources::write(&[connection, synthetic(&topic, json!({})), secret])]);
    worker.await_ready("cam");
}

/// Records that are no frames, each with the reason that it is counted under.
fn no_frames(picture: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let json = |text: &str| Some(text.as_bytes().to_vec());
    vec![
        ("empty", None),
        ("empty", Some(vec![])),
        ("not_jpeg", json("not a picture")),
        ("truncated", Some(picture[..picture.len() / 2].to_vec())),
        ("bad_json", json("{\"frame\": ")),
        ("no_frame_field", json("{\"timestamp\": \"2024-06-04T10:30:00Z\"}")),
        ("bad_base64", json("{\"frame\": \"!!!\"}")),
    ]
}

#[test]
fn records_that_are_no_frames_go_to_the_dead_letters_and_the_others_are_stored() {
    let (kafka, topic, disk) = (kafka::shared(), unique("invalid"), scratch::dir("disk"));
    let pictures = video::pictures(10);
    let bad = no_frames(&pictures[0]);
    kafka.create_topic(&topic, 1, &[]);
    let good = pictures.iter().map(|p| NewRecord::value(p.clone()));
    let wrong = bad.iter().map(|(_, value)| NewRecord { value: value.clone(), ..NewRecord::default() });
    kafka.produce(&topic, wrong.chain(good));
    let dead = format!("{topic}.dead");
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({"deadLetter": {"topic": dead}}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    let metrics = worker.metrics();
    for reason in ["empty", "not_jpeg", "truncated", "bad_json", "no_frame_field", "bad_base64"] {
        let expected = bad.iter().filter(|(r, _)| *r == reason).count() as f64;
        let counted = metrics.sum("sink_records_invalid_total", &[("name", "s"), ("reason", reason)]);
        assert_eq!(counted, expected, "{reason}");
    }
    assert!(worker.stop().success());
    assert!(contents(&disk, ".jpg") == sorted(pictures));
    let letters = kafka.consume_all(&dead);
    assert_eq!(
        letters.iter().map(|l| l.value.clone()).collect::<Vec<_>>(),
        bad.iter().map(|b| b.1.clone()).collect::<Vec<_>>()
    );
    assert!(letters.iter().all(|l| l.header("__connect.errors.topic") == Some(topic.clone())));
    assert_verified(&file);
}

/// A topic with these pictures.
fn filled(prefix: &str, count: usize) -> String {
    let (kafka, topic) = (kafka::shared(), unique(prefix));
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, video::pictures(count).into_iter().map(NewRecord::value));
    topic
}

fn one_sink(topic: &str, output: Value, disk: &Path) -> std::path::PathBuf {
    let sink = resources::sink("s", topic, output, disk, json!({}));
    resources::write(&[resources::connection(kafka::shared().bootstrap()), sink])
}

/// Waits until the sink `s` tells the lag that Kafka tells, which is this or more: what it stores is committed meanwhile.
#[track_caller]
fn await_true_lag(kafka: &Cluster, worker: &Edgereel, topic: &str, at_least: i64) {
    worker.await_metrics("the lag is Kafka's", |metrics| {
        let told = metrics.sum("sink_lag_records", &[("name", "s")]) as i64;
        // Where the group has no commit yet, all that the topic holds waits.
        let waits = kafka.lag(&resources::group("s", topic), topic).expect("known");
        told == waits && told >= at_least
    });
}

#[test]
fn a_lag_that_nobody_knows_is_absent_and_no_zero() {
    let (topic, disk) = (unique("nowhere"), scratch::dir("disk"));
    let connection = resources::connection(&format!("127.0.0.1:{}", free_port()));
    let sink = resources::sink("s", &topic, jpeg_files(""), &disk, json!({}));
    let worker = Edgereel::run([resources::write(&[connection, sink])]);
    worker.await_status("KafkaUnreachable");
    let figures = worker.status_of("s")["figures"].clone();
    assert!(figures["framesStored"] == 0 && figures.get("lagRecords").is_none(), "{figures}");
    let (_, metrics) = worker.get("metrics").expect("it answers");
    assert!(!metrics.contains("edgereel_sink_lag_records{"), "{metrics}");
}

#[test]
fn a_disk_that_is_not_mounted_shows_and_is_used_once_it_is_there() {
    let (kafka, topic, disk) = (kafka::shared(), filled("unmounted", 20), scratch::dir("disk").join("not-there"));
    let worker = Edgereel::run([one_sink(&topic, jpeg_files("sub"), &disk)]);
    let status = worker.await_status("StorageMissing");
    assert!(status.contains(&disk.to_string_lossy().into_owned()), "{status}");
    assert!(!disk.exists(), "the worker made what should have been mounted");
    await_true_lag(kafka, &worker, &topic, 20);
    kafka.produce(&topic, video::pictures(30).into_iter().map(NewRecord::value));
    await_true_lag(kafka, &worker, &topic, 50);
    fs::create_dir(&disk).expect("made");
    await_lag_zero(kafka, &worker, "s", &topic);
    assert!(contents(&disk, ".jpg") == sorted(values(&kafka.consume_all(&topic))));
}

#[test]
fn a_read_only_disk_shows_and_is_used_once_it_is_writable() {
    let (kafka, topic, disk) = (kafka::shared(), filled("read-only", 20), scratch::dir("disk"));
    let mount = Tmpfs { at: disk.clone(), options: "ro,size=16m".into() };
    let worker = Edgereel::run_with([one_sink(&topic, jpeg_files(""), &disk)], worker_with(&[mount]));
    let status = worker.await_status("StorageReadOnly");
    assert!(status.contains(&disk.to_string_lossy().into_owned()), "{status}");
    worker.remount(&disk, "rw");
    await_lag_zero(kafka, &worker, "s", &topic);
}

/// A full disk pauses the sink; with more room it stores everything.
#[track_caller]
fn waits_for_room(output: Value) {
    let (kafka, topic, disk) = (kafka::shared(), filled("full", 200), scratch::dir("disk"));
    let file = one_sink(&topic, output, &disk);
    // 200 pictures of about 15 KB do not fit.
    let mount = Tmpfs { at: disk.clone(), options: "size=1m".into() };
    let worker = Edgereel::run_with([&file], worker_with(&[mount]));
    let status = worker.await_status("StorageFull");
    assert!(status.contains("is full"), "{status}");
    await_true_lag(kafka, &worker, &topic, 1);
    kafka.produce(&topic, video::pictures(300).into_iter().map(NewRecord::value));
    await_true_lag(kafka, &worker, &topic, 300);
    assert!(worker.child().running());
    worker.remount(&disk, "size=64m");
    await_lag_zero(kafka, &worker, "s", &topic);
    worker.await_ready("s");
    let verified =
        worker.inside([edgereel_tests::edgereel_bin().as_os_str(), "verify".as_ref(), "-f".as_ref(), file.as_ref()]);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn a_full_disk_pauses_a_jpeg_sink_and_nothing_is_lost() {
    waits_for_room(jpeg_files("frames"));
}

#[test]
fn a_full_disk_pauses_a_video_and_nothing_is_lost() {
    waits_for_room(json!({"video": {"fileName": "one.avi", "frameRate": 10}}));
}

#[test]
fn another_file_system_below_the_directory_is_refused_by_its_path() {
    let (topic, disk) = (filled("foreign", 5), scratch::dir("disk"));
    let below = disk.join("below");
    fs::create_dir(&below).expect("made");
    let output = json!({"jpegFiles": {"fileName": "below/frame_{partition}-{offset}.jpg"}});
    let mount = Tmpfs { at: below.clone(), options: "size=16m".into() };
    let worker = Edgereel::run_with([one_sink(&topic, output, &disk)], worker_with(&[mount]));
    let status = worker.await_status("another file system");
    assert!(status.contains(&below.to_string_lossy().into_owned()), "{status}");
    assert!(files(&disk, ".jpg").is_empty());
}

#[test]
fn a_disk_that_no_sink_uses_can_be_unmounted_while_the_worker_runs() {
    let (kafka, topic, disk) = (kafka::shared(), unique("unmount"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, video::pictures(40).into_iter().map(NewRecord::value));
    let mount = Tmpfs { at: disk.clone(), options: "size=16m".into() };
    let worker = Edgereel::run_with([one_sink(&topic, jpeg_files("frames"), &disk)], worker_with(&[mount]));
    await_lag_zero(kafka, &worker, "s", &topic);
    // The sink ends, and waits before it starts again.
    kafka.produce(&topic, [NewRecord::value("not a picture")]);
    worker.await_status("InvalidRecord");
    wait::until("the disk is unmounted", Duration::from_secs(60), || {
        worker.inside([std::ffi::OsStr::new("umount"), disk.as_os_str()]).status.success()
    });
}

#[test]
fn frames_go_where_the_directory_says_after_it_was_moved_away() {
    let (kafka, topic, disk) = (kafka::shared(), filled("moved", 20), scratch::dir("disk"));
    let worker = Edgereel::run([one_sink(&topic, jpeg_files("frames"), &disk)]);
    await_lag_zero(kafka, &worker, "s", &topic);
    let before = files(&disk.join("frames"), ".jpg").len();
    fs::rename(disk.join("frames"), disk.join("archive")).expect("moved");
    let later = video::pictures(30).split_off(20);
    kafka.produce(&topic, later.iter().cloned().map(NewRecord::value));
    worker.await_status("was moved away");
    await_lag_zero(kafka, &worker, "s", &topic);
    assert_eq!(before, 20);
    assert!(contents(&disk.join("frames"), ".jpg") == sorted(later), "all that came later, and nothing else");
    // Some were written where nobody looks for them, and once more here.
    assert_eq!(worker.metrics().sum("sink_frames_stored_total", &[("name", "s")]), 30.0);
}

#[test]
fn a_picture_that_no_codec_takes_goes_to_the_dead_letters_and_the_video_goes_on() {
    let (kafka, topic, disk) = (kafka::shared(), unique("huge"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    let pictures = video::pictures(10);
    let mut huge = pictures[0].clone();
    let sof = huge.windows(2).position(|w| w == [0xFF, 0xC0]).expect("a header");
    huge[sof + 5..sof + 9].fill(0xFF);
    let (first, rest) = pictures.split_at(5);
    kafka.produce(&topic, [first, std::slice::from_ref(&huge), rest].concat().into_iter().map(NewRecord::value));
    let dead = format!("{topic}.dead");
    let output = json!({"video": {"fileName": "one.avi", "codec": "xvid", "frameRate": 10}});
    let sink = resources::sink("s", &topic, output, &disk, json!({"deadLetter": {"topic": dead}}));
    let worker = Edgereel::run([resources::write(&[resources::connection(kafka.bootstrap()), sink])]);
    await_lag_zero(kafka, &worker, "s", &topic);
    let metrics = worker.metrics();
    let counted = metrics.sum("sink_records_invalid_total", &[("name", "s"), ("reason", "unencodable")]);
    assert_eq!((counted, metrics.sum("sink_frames_stored_total", &[("name", "s")])), (1.0, 10.0));
    assert!(worker.stop().success());
    assert_eq!(values(&kafka.consume_all(&dead)), [huge]);
    assert_eq!(files(&disk, ".avi").len(), 1, "one video");
}

#[test]
fn files_with_problems_run_nothing_and_name_them_all() {
    let path = scratch::root().join(unique("broken.yaml"));
    fs::write(&path, "apiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata: {name: x}\nspec: {sauce: 1}\n")
        .expect("written");
    for command in ["run", "validate"] {
        let finished = edgereel::call([command.as_ref(), "-f".as_ref(), path.as_os_str()]);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(!finished.status.success(), "{command} takes it");
        assert!(said.contains("sauce") && said.contains(":4:"), "{command} says: {said}");
    }
}
