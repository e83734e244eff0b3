//! Two processes that capture one camera into one topic know of each other, as long as there are two.

use edgereel_tests::{
    Edgereel,
    kafka::{self, Cluster, Options},
    resources, unique,
};
use serde_json::{Value, json};

use crate::support::{condition, is_ready};

fn capture(topic: &str) -> std::path::PathBuf {
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let camera = resources::camera("cam", source, topic, json!({}));
    resources::write(&[resources::connection(kafka::shared().bootstrap()), camera])
}

fn is_told_of_another(entry: &Value) -> bool {
    let ready = condition(entry, "Ready");
    ready["reason"] == "CapturedTwice" && is_ready(entry)
}

#[test]
fn two_processes_of_one_camera_say_so_both_and_the_one_that_is_left_takes_it_back() {
    let file = capture(&unique("twins"));
    let [first, second] = [Edgereel::run([&file]), Edgereel::run([&file])];
    for (worker, other) in [(&first, &second), (&second, &first)] {
        let entry = worker.await_status_of("cam", "another process is told of", is_told_of_another);
        let message = condition(&entry, "Ready")["message"].as_str().expect("a text").to_owned();
        assert!(message.contains(&format!("process {} on ", other.child().pid())), "{message}");
        assert_eq!(worker.metrics().sum("camera_captured_twice", &[("name", "cam")]), 1.0);
    }
    assert!(second.stop().success());
    first.await_status_of("cam", "it is alone", |entry| condition(entry, "Ready")["reason"] == "Running");
    assert_eq!(first.metrics().sum("camera_captured_twice", &[("name", "cam")]), 0.0);
    let log = first.log();
    assert_eq!(log.matches("this camera is captured into topic").count(), 1, "once in the log:\n{log}");
    assert!(log.contains("no other process captures this camera any more"), "{log}");
}

#[test]
fn a_process_outlives_a_broker_that_is_away_while_it_looks_for_others() {
    let cluster = Cluster::start(1, Options::default()).expect("a broker of its own");
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let camera = resources::camera("cam", source, &unique("away"), json!({"buffer": {"memory": "1Mi"}}));
    let file = resources::write(&[resources::connection(cluster.bootstrap()), camera]);
    let pair = [Edgereel::run([&file]), Edgereel::run([&file])];
    pair[0].await_status_of("cam", "another process is told of", is_told_of_another);
    let captured = || pair[0].metrics().count("camera_frames_captured", "cam");
    type OnOne = fn(&Cluster, usize);
    let faults: [(OnOne, OnOne); 2] = [(Cluster::freeze, Cluster::thaw), (Cluster::kill, Cluster::restart)];
    for (away, back) in faults {
        away(&cluster, 0);
        // Longer than any request of a look may take: 600 frames, 20 s.
        let before = captured();
        pair[0].await_metrics("it captures on", |m| m.count("camera_frames_captured", "cam") > before + 600);
        back(&cluster, 0);
        for worker in &pair {
            worker.await_status_of("cam", "another process is told of again", is_told_of_another);
        }
    }
}

#[test]
fn a_process_that_was_killed_and_starts_again_is_no_other() {
    let file = capture(&unique("again"));
    let before = Edgereel::run([&file]);
    before.await_metrics("it captures", |m| m.count("camera_frames_acknowledged", "cam") > 150);
    before.kill();
    let again = Edgereel::run([&file]);
    // Longer than another would need to be told of: 400 frames, 13 s.
    again.await_metrics("it captures", |m| {
        assert_eq!(m.sum("camera_captured_twice", &[("name", "cam")]), 0.0);
        m.count("camera_frames_acknowledged", "cam") > 400
    });
}
