//! Volumes: kept apart below a storage root, and never written by two sinks at the same names, whatever the way there. And
//! why a video has several files.

use std::{os::unix::fs::symlink, path::Path, process::Command};

use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin,
    kafka::{self, topics::NewRecord},
    resources, scratch, unique, video,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, files, jpeg_files};

/// A topic with so many pictures.
fn filled(prefix: &str, count: usize) -> String {
    let topic = unique(prefix);
    kafka::shared().create_topic(&topic, 1, &[]);
    kafka::shared().produce(&topic, video::pictures(count).into_iter().map(NewRecord::value));
    topic
}

fn write(sinks: &[Value]) -> std::path::PathBuf {
    let connection = resources::connection(kafka::shared().bootstrap());
    resources::write(&[&[connection], sinks].concat())
}

fn sink(name: &str, topic: &str, path: &Path) -> Value {
    resources::sink(name, topic, jpeg_files(""), path, json!({}))
}

#[test]
fn two_disks_below_a_storage_root_stay_two_and_verify_finds_each_sinks_files_alone() {
    let (a, b, root) = (filled("ssd", 20), filled("other", 30), scratch::dir("root"));
    let file = write(&[sink("a", &a, Path::new("/KafkaSSD/data")), sink("b", &b, Path::new("/mnt/other"))]);
    let option = ["--storage-root", root.to_str().expect("text"), "--log-format", "text"];
    let worker = Edgereel::run_args([&file], &option);
    await_lag_zero(kafka::shared(), &worker, "a", &a);
    await_lag_zero(kafka::shared(), &worker, "b", &b);
    assert_eq!(files(&root.join("KafkaSSD/data"), ".jpg").len(), 20);
    assert_eq!(files(&root.join("mnt/other"), ".jpg").len(), 30);
    assert!(worker.stop().success());
    let verified = edgereel::call([
        "verify".as_ref(),
        "-f".as_ref(),
        file.as_os_str(),
        "--storage-root".as_ref(),
        root.as_os_str(),
    ]);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
    assert!(verified.stdout.matches("0 duplicate, 0 torn, 0 foreign").count() == 2, "{}", verified.stdout);
}

/// A sink's directory is refused to a sink of another process that reaches it as `way`, until the first ends.
#[track_caller]
fn is_refused_to_another_process(disk: &Path, way: &Path, command: Command) {
    let (a, b) = (filled("first", 10), filled("second", 10));
    let first = Edgereel::run([write(&[sink("a", &a, disk)])]);
    await_lag_zero(kafka::shared(), &first, "a", &a);
    let second = Edgereel::run_with([write(&[sink("b", &b, way)])], command);
    let status = second.await_status("StorageLocked");
    let told = ["default/a", "default/b", &disk.to_string_lossy(), &way.to_string_lossy()];
    assert!(told.iter().all(|part| status.contains(part)), "{status}");
    assert_eq!(files(disk, ".jpg").len(), 10, "nothing of the second is written");
    assert!(first.stop().success());
    await_lag_zero(kafka::shared(), &second, "b", &b);
    assert_eq!(files(disk, ".jpg").len(), 20);
}

#[test]
fn a_directory_that_another_process_reaches_by_a_link_is_refused_with_both_sinks_names() {
    let (disk, link) = (scratch::dir("disk"), scratch::root().join(unique("link")));
    symlink(&disk, &link).expect("linked");
    is_refused_to_another_process(&disk, &link, Command::new(edgereel_bin()));
}

#[test]
fn a_directory_that_another_process_reaches_by_a_bind_mount_is_refused_with_both_sinks_names() {
    let (disk, mount) = (scratch::dir("disk"), scratch::dir("mount"));
    let script = "mount --bind \"$1\" \"$2\"; shift 2; exec setpriv --pdeathsig KILL \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-ec", script, "sh"]).args([&disk, &mount]).arg(edgereel_bin());
    is_refused_to_another_process(&disk, &mount, command);
}

#[test]
fn two_sinks_of_one_process_that_reach_one_directory_are_told_and_other_names_may_share_it() {
    let (a, b, disk) = (filled("one", 10), filled("two", 10), scratch::dir("disk"));
    let link = scratch::root().join(unique("link"));
    symlink(&disk, &link).expect("linked");
    let other = json!({"jpegFiles": {"fileName": "b_{partition}-{offset}.jpg"}});
    let file = write(&[sink("a", &a, &disk), sink("b", &b, &link), resources::sink("c", &b, other, &link, json!({}))]);
    let worker = Edgereel::run([file]);
    worker.await_status("files of the same names");
    await_lag_zero(kafka::shared(), &worker, "c", &b);
}

#[test]
fn each_new_video_file_says_once_in_the_log_why_it_begins() {
    let (kafka, topic, disk) = (kafka::shared(), unique("segments"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    let pictures = video::pictures(30).into_iter().enumerate();
    let timed =
        |(n, picture)| NewRecord { timestamp: Some(1_700_000_000_000 + n as i64 * 100), ..NewRecord::value(picture) };
    kafka.produce(&topic, pictures.map(timed));
    let output = json!({"video": {"fileName": "{segment}.avi", "frameRate": 10, "segment": {"maxDuration": "1s"}}});
    let worker = Edgereel::run([write(&[resources::sink("s", &topic, output, &disk, json!({}))])]);
    await_lag_zero(kafka, &worker, "s", &topic);
    let log = worker.log();
    let of = |reason: &str| log.matches(&format!("a new video file begins: {reason}")).count();
    assert_eq!((of("no file is open"), of("segment.maxDuration"), of("")), (1, 2, 3), "{log}");
    assert_eq!(files(&disk, ".avi").len(), 3);
}
