//! Cameras that answer with something else than pictures: the status says what, what to do, and never a password.

use edgereel_tests::{Edgereel, kafka, resources, synthetic::Cameras, unique};
use serde_json::json;

use super::{mjpeg, run_cameras};
use crate::support::{condition, is_unready};

#[test]
fn a_camera_without_pictures_shows_by_its_url_with_what_it_answers_and_what_to_do() {
    let cameras = Cameras::start(&[]);
    let cases = [
        ("unauthorized", "401", "CameraUnauthorized", "401"),
        ("not-found", "404", "CameraProtocolError", "answered 404 Not Found: check the path"),
        ("broken", "500", "CameraProtocolError", "answered 500"),
        ("page", "html", "CameraProtocolError", "text/html"),
        ("loop", "redirect-loop", "CameraProtocolError", "redirects lead nowhere"),
        ("header", "endless-header", "CameraProtocolError", "header"),
    ];
    // A login in the URL and a key in its query: both are secrets.
    let url = |bad: &str| mjpeg(cameras.at("ann:s3cret@", "/cam0", &format!("bad={bad}")));
    let all: Vec<_> = cases.iter().map(|(name, bad, ..)| (*name, url(bad), json!({}))).collect();
    let worker = run_cameras(&all, &unique("refused"));
    for (name, _, reason, words) in cases {
        let entry = worker.await_status_of(name, &format!("is {reason}"), |entry| is_unready(entry, reason));
        let online = condition(&entry, "CameraOnline");
        let message = online["message"].as_str().unwrap_or_default();
        assert_eq!((&online["status"], &online["reason"]), (&json!("False"), &json!(reason)), "{name}");
        assert!(message.contains(words), "{name}: `{message}` lacks `{words}`");
        assert!(message.contains(&cameras.url("bad=***")), "{name}: `{message}` does not name the URL");
        assert_eq!(entry["lastError"]["message"], message, "{name}");
    }
    assert_no_secret(&worker, "s3cret");
}

#[track_caller]
fn assert_no_secret(worker: &Edgereel, secret: &str) {
    let (_, status) = worker.get("status").expect("it answers");
    let (_, metrics) = worker.get("metrics").expect("it answers");
    let (_, readyz) = worker.get("readyz").expect("it answers");
    for (place, text) in [("status", status), ("metrics", metrics), ("readyz", readyz), ("log", worker.log())] {
        assert!(!text.contains(secret), "the {place} shows the password: {text}");
    }
}

#[test]
fn a_login_is_answered_as_the_camera_asks_and_a_wrong_one_shows_as_unauthorized() {
    let kafka = kafka::shared();
    for scheme in ["basic", "digest"] {
        let topic = unique(scheme);
        let cameras = Cameras::start(&["--user", "ann", "--password", "s3cret word", "--auth", scheme]);
        let secret = |name: &str, password: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"username": "ann", "password": password}})
        };
        let by_secret = |name: &str| json!({"mjpeg": {"url": cameras.url(""), "credentialsSecretRef": {"name": name}}});
        let camera = |name: &str, source| resources::camera(name, source, &topic, json!({}));
        let documents = [
            resources::connection(kafka.bootstrap()),
            secret("right", "s3cret word"),
            secret("wrong", "s3cret guess"),
            camera("by-secret", by_secret("right")),
            camera("by-url", mjpeg(cameras.at("ann:s3cret%20word@", "/cam0", ""))),
            camera("wrong-login", by_secret("wrong")),
            camera("no-login", mjpeg(cameras.url(""))),
            camera("no-secret", by_secret("missing")),
        ];
        let worker = Edgereel::run([resources::write(&documents)]);
        for name in ["by-secret", "by-url"] {
            worker.await_ready(name);
        }
        for (name, reason, words) in [
            ("wrong-login", "CameraUnauthorized", "refuses this user name and password"),
            ("no-login", "CameraUnauthorized", "set `credentialsSecretRef`"),
            ("no-secret", "SecretMissing", "`missing`"),
        ] {
            let entry = worker.await_status_of(name, &format!("is {reason}"), |entry| is_unready(entry, reason));
            let message = condition(&entry, "Ready")["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains(words), "{scheme} {name}: `{message}` lacks `{words}`");
        }
        assert_no_secret(&worker, "s3cret");
        assert!(worker.stop().success());
    }
}
