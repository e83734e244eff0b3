//! SIGHUP: `edgereel run` reads its files again, and touches what has changed in them alone.

use std::{collections::BTreeSet, fs, path::Path};

use edgereel_tests::{
    Edgereel, edgereel,
    kafka::{
        self,
        topics::{NewRecord, Record},
    },
    process::Signal,
    resources, scratch,
    synthetic::Cameras,
    unique, video, wait,
};
use serde_json::{Value, json};

use crate::support::{await_lag_zero, contents, files, jpeg_files, sorted, values};

/// A camera server's stream, at this rate.
fn camera(name: &str, cameras: &Cameras, topic: &str, rate: u32) -> Value {
    let source = json!({"mjpeg": {"url": cameras.url("")}});
    resources::camera(name, source, topic, json!({"frameRate": {"target": rate}}))
}

fn rewrite(file: &Path, documents: Vec<Value>) {
    let connection = resources::connection(kafka::shared().bootstrap());
    resources::write_to(file, &[vec![connection], documents].concat()).expect("written");
}

/// The sessions and numbers of a camera's frames, as their `ce_id` tells them.
fn ids(records: &[Record]) -> (BTreeSet<String>, Vec<u64>) {
    let id = |record: &Record| {
        let header = record.headers.iter().find(|(name, _)| name == "ce_id").expect("a ce_id");
        let text = String::from_utf8(header.1.clone()).expect("a text");
        let (session, number) = text.rsplit_once('-').expect("session and number");
        (session.to_owned(), number.parse().expect("a number"))
    };
    let all: Vec<(String, u64)> = records.iter().map(id).collect();
    let mut numbers: Vec<u64> = all.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    (all.into_iter().map(|(session, _)| session).collect(), numbers)
}

#[test]
fn a_changed_camera_is_started_anew_and_the_others_frames_go_on_without_a_gap() {
    let kafka = kafka::shared();
    let [calm, moved, added] = ["calm", "moved", "added"].map(unique);
    let disk = scratch::dir("disk");
    let servers = [(); 2].map(|()| Cameras::start(&["--fps", "30"]));
    let sink = || resources::sink("files", &calm, jpeg_files("calm"), &disk, json!({}));
    let file = resources::write(&[]);
    rewrite(&file, vec![camera("calm", &servers[0], &calm, 30), camera("moved", &servers[1], &moved, 30), sink()]);
    let worker = Edgereel::run([&file]);
    worker.await_metrics("all works", |m| {
        m.count("sink_frames_durable", "files") >= 20 && m.count("camera_frames_acknowledged", "moved") >= 20
    });
    let rebalances = worker.metrics().count("sink_rebalances", "files");

    rewrite(
        &file,
        vec![
            camera("new", &servers[1], &added, 5),
            sink(),
            camera("moved", &servers[1], &moved, 3),
            camera("calm", &servers[0], &calm, 30),
        ],
    );
    worker.signal(Signal::SIGHUP);
    let target = |m: &edgereel_tests::metrics::Metrics| m.sum("camera_frame_rate_target", &[("name", "moved")]);
    let seen = worker.await_metrics("the changed camera has its new rate, and the new one works", |m| {
        target(m) == 3.0 && m.count("camera_frames_acknowledged", "new") >= 5
    });
    let calm_before = seen.count("sink_frames_durable", "files");
    let after =
        worker.await_metrics("the sink goes on", |m| m.count("sink_frames_durable", "files") > calm_before + 20);
    assert_eq!((after.count("camera_reconnects", "calm"), after.count("restarts", "calm")), (0, 0));
    assert_eq!(after.count("sink_rebalances", "files"), rebalances, "the sink left its group");
    let names: Vec<Value> =
        worker.status()["resources"].as_array().expect("a list").iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["new", "moved", "calm", "files"]);

    // Files that are wrong change nothing, and are told.
    let good = fs::read_to_string(&file).expect("readable");
    fs::write(&file, good.replacen("target: 3", "target: fast", 1)).expect("written");
    worker.signal(Signal::SIGHUP);
    wait::until_ok("it says what is wrong", edgereel::PATIENCE, || {
        let log = worker.log();
        if log.contains("spec.frameRate.target") && log.contains("nothing was changed") { Ok(()) } else { Err(log) }
    });

    // What is taken out stops, and its figures go.
    rewrite(&file, vec![camera("calm", &servers[0], &calm, 30), sink()]);
    worker.signal(Signal::SIGHUP);
    worker.await_metrics("only two are left", |m| {
        m.sum("ready", &[("name", "moved")]) == 0.0 && m.count("camera_frames_captured", "new") == 0
    });
    worker.await_ready("calm");
    rewrite(&file, vec![sink()]);
    worker.signal(Signal::SIGHUP);
    worker.await_metrics("the camera is gone", |m| m.count("camera_frames_captured", "calm") == 0);
    await_lag_zero(kafka, &worker, "files", &calm);
    assert!(worker.stop().success());

    let records = kafka.consume_all(&calm);
    let (sessions, numbers) = ids(&records);
    assert_eq!(sessions.len(), 1, "the camera was started anew");
    assert_eq!(numbers, (numbers[0]..numbers[0] + numbers.len() as u64).collect::<Vec<_>>(), "a gap");
    assert!(contents(&disk, ".jpg") == sorted(values(&records)));
    assert_eq!(files(&disk, ".jpg").len(), records.len());
    let (sessions, _) = ids(&kafka.consume_all(&moved));
    assert_eq!(sessions.len(), 2, "the changed camera was started anew once");
}

#[test]
fn followed_files_reach_the_cameras_that_they_are_about_and_no_others() {
    let kafka = kafka::shared();
    let [calm, other, added] = ["calm", "other", "added"].map(unique);
    let dir = scratch::dir("followed");
    let synthetic = |name: &str, topic: &str, rate: u32| {
        let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
        resources::camera(name, source, topic, json!({"frameRate": {"target": rate}}))
    };
    let put = |name: &str, document: Value| {
        // As a whole, or not at all.
        let (new, file) = (dir.join(".new"), dir.join(format!("{name}.yaml")));
        resources::write_to(&new, &[document]).expect("written");
        fs::rename(new, file).expect("renamed");
    };
    put("kafka", resources::connection(kafka.bootstrap()));
    let worker = Edgereel::run_args([&dir], &["--follow", "--log-format", "text"]);
    put("calm", synthetic("calm", &calm, 20));
    put("other", synthetic("other", &other, 20));
    worker.await_metrics("both work", |m| {
        m.count("camera_frames_acknowledged", "calm") >= 10 && m.count("camera_frames_acknowledged", "other") >= 10
    });
    let ready = |name: &str, message: &str| {
        wait::until_ok(&format!("{name} says {message:?}"), edgereel::PATIENCE, || {
            let status = worker.status();
            let one = status["resources"].as_array().and_then(|all| all.iter().find(|r| r["name"] == name).cloned());
            let said = one.unwrap_or_default()["conditions"].to_string();
            if said.contains(message) { Ok(()) } else { Err(status.to_string()) }
        });
    };

    // One that is added, one that is edited, one whose edit is none.
    put("added", synthetic("added", &added, 5));
    worker.await_metrics("it works", |m| m.count("camera_frames_acknowledged", "added") >= 3);
    put("other", synthetic("other", &other, 3));
    worker.await_metrics("it has its rate", |m| m.sum("camera_frame_rate_target", &[("name", "other")]) == 3.0);
    put("other", resources::camera("other", json!({"pigeon": {}}), &other, json!({})));
    ready("other", "InvalidConfiguration");
    ready("other", "pigeon");
    ready("added", "Running");
    put("other", synthetic("other", &other, 4));
    worker.await_metrics("it is well again", |m| m.sum("camera_frame_rate_target", &[("name", "other")]) == 4.0);
    let mut named = synthetic("other", &other, 4);
    named["metadata"]["annotations"] = json!({"edgereel.dev/revision": "r7"});
    put("other", named);
    wait::until_ok("it says which revision it is", edgereel::PATIENCE, || {
        let status = worker.status();
        let revisions: Vec<Value> =
            status["resources"].as_array().expect("a list").iter().map(|r| r["revision"].clone()).collect();
        if revisions.contains(&json!("r7")) { Ok(()) } else { Err(status.to_string()) }
    });
    // The same by another text in the annotation for it: started anew once.
    let seen = worker.metrics().count("camera_frames_acknowledged", "other");
    worker.await_metrics("it sends", |m| m.count("camera_frames_acknowledged", "other") >= seen + 3);
    let sessions = || ids(&kafka.consume_all(&other)).0.len();
    let before = sessions();
    for restart in ["one", "two", "two"] {
        let mut again = synthetic("other", &other, 4);
        again["metadata"]["annotations"] = json!({"edgereel.dev/restart": restart});
        put("other", again);
        let expected = before + if restart == "one" { 1 } else { 2 };
        wait::until_ok(&format!("{restart}: it is started anew"), edgereel::PATIENCE, || match sessions() {
            now if now == expected => Ok(()),
            now => Err(format!("{now} sessions of {expected}")),
        });
    }
    fs::remove_file(dir.join("added.yaml")).expect("there");
    let seen = worker.await_metrics("it is gone", |m| m.count("camera_frames_captured", "added") == 0);
    let before = seen.count("camera_frames_acknowledged", "calm");
    let after = worker.await_metrics("on and on", |m| m.count("camera_frames_acknowledged", "calm") > before + 10);
    assert_eq!((after.count("camera_reconnects", "calm"), after.count("restarts", "calm")), (0, 0));
    assert!(worker.stop().success());
    let (sessions, numbers) = ids(&kafka.consume_all(&calm));
    assert_eq!(sessions.len(), 1, "the camera was started anew");
    assert_eq!(numbers, (numbers[0]..numbers[0] + numbers.len() as u64).collect::<Vec<_>>(), "a gap");
}

#[test]
fn a_second_volume_below_a_storage_root_leaves_the_sinks_of_the_first_running() {
    let kafka = kafka::shared();
    let ([a, b], root) = (["one", "two"].map(unique), scratch::dir("root"));
    for topic in [&a, &b] {
        kafka.create_topic(topic, 1, &[]);
        kafka.produce(topic, video::pictures(10).into_iter().map(NewRecord::value));
    }
    let sink = |name: &str, topic: &str, disk: &str| {
        resources::sink(name, topic, jpeg_files("frames"), Path::new(disk), json!({}))
    };
    let file = resources::write(&[]);
    rewrite(&file, vec![sink("first", &a, "/ssd")]);
    let worker = Edgereel::run_args([&file], &["--storage-root", root.to_str().expect("text"), "--log-format", "text"]);
    await_lag_zero(kafka, &worker, "first", &a);
    let rebalances = worker.metrics().count("sink_rebalances", "first");
    rewrite(&file, vec![sink("first", &a, "/ssd"), sink("second", &b, "/mnt/other")]);
    worker.signal(Signal::SIGHUP);
    await_lag_zero(kafka, &worker, "second", &b);
    kafka.produce(&a, video::pictures(10).into_iter().map(NewRecord::value));
    await_lag_zero(kafka, &worker, "first", &a);
    let metrics = worker.metrics();
    assert_eq!(metrics.count("sink_rebalances", "first"), rebalances, "the sink left its group");
    assert!(worker.log().contains("stopping=0 undisturbed=1"), "{}", worker.log());
    assert_eq!(files(&root.join("frames"), ".jpg").len(), 20, "it goes on where it was begun");
    assert_eq!(files(&root.join("mnt/other/frames"), ".jpg").len(), 10);
    assert!(worker.stop().success());
}
