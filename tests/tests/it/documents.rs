//! What the README and the guide tell newcomers to type works as it stands there.

use std::{fs, net::TcpListener, path::PathBuf, process::Command, time::Duration};

use edgereel_tests::{Edgereel, edgereel, kafka, process, project_root, scratch, synthetic::Cameras, unique, wait};

use crate::support::contents;

/// The YAML blocks of a document, in their order.
fn blocks(document: &str) -> Vec<String> {
    let text = fs::read_to_string(project_root().join(document)).expect("readable");
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
    blocks.collect()
}

fn saved(text: &str) -> PathBuf {
    let file = scratch::dir("documents").join("lab.yaml");
    fs::write(&file, text).expect("written");
    file
}

/// The name in `AgriCam3` or in `topic: {name: lab}`.
fn name_of(topic: &str) -> &str {
    topic.rsplit(' ').next().unwrap_or(topic).trim_end_matches('}')
}

/// Passes the check as it stands; and runs, with addresses and a topic of our own, until frames lie on the disk.
#[track_caller]
fn runs_as_it_is(text: &str, topic: &str) {
    let checked = edgereel::call(["validate".as_ref(), "-f".as_ref(), saved(text).as_os_str()]);
    assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
    let cameras = Cameras::start(&[]);
    let here = [
        ("localhost:9092", kafka::shared().bootstrap().to_owned()),
        ("http://127.0.0.1:8090/cam0", cameras.url("")),
        (topic, topic.replace(name_of(topic), &unique("documents"))),
    ];
    let text = here.iter().fold(text.to_owned(), |text, (there, here)| {
        assert!(text.contains(there), "no {there} in {text}");
        text.replace(there, here)
    });
    let (file, disk) = (saved(&text), scratch::dir("documents-disk"));
    let root = disk.to_string_lossy();
    let worker = Edgereel::run_args([&file], &["--storage-root", &root]);
    wait::until_ok("frames lie on the disk", edgereel::PATIENCE, || {
        if contents(&disk, ".jpg").len() >= 10 { Ok(()) } else { Err(worker.child().tail()) }
    });
    assert!(worker.stop().success());
    let verified = edgereel::call(["verify", "-f", &file.to_string_lossy(), "--storage-root", &root]);
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn the_first_yaml_of_the_readme_runs_as_it_is() {
    runs_as_it_is(&blocks("README.md")[0], "AgriCam3");
}

#[test]
fn the_guides_camera_and_sink_run_as_they_are() {
    let blocks = blocks("docs/guide.md");
    runs_as_it_is(&blocks[..2].join("---\n"), "topic: {name: lab}");
}

#[test]
fn kafka_up_says_that_its_port_is_taken_and_by_which_number() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let mut up = Command::new(project_root().join("dev/kafka/kafka-up.sh"));
    up.arg("1").arg(scratch::dir("kafka-taken")).arg(port.to_string());
    let said = process::run("kafka-up", up, Duration::from_secs(300)).expect("it ends");
    assert_eq!(said.status.code(), Some(1), "{}", said.stderr);
    let words = format!("kafka-up: port {port} of 127.0.0.1 is taken by another process");
    assert!(said.stderr.lines().last().is_some_and(|line| line.starts_with(&words)), "{}", said.stderr);
}
