//! `edgereel check` finds out beforehand what would not work, says so by its exit status, and changes nothing.

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use edgereel_tests::{
    edgereel, free_port,
    kafka::{self, Cluster},
    mounts::{Tmpfs, worker_with},
    process::{self, Finished},
    project_root, resources, scratch,
    synthetic::Cameras,
    unique,
};
use serde_json::{Value, json};

use crate::support::jpeg_files;

fn check(file: &Path, more: &[&str]) -> Finished {
    edgereel::call([&["check", "-f", &file.to_string_lossy()], more].concat())
}

/// The finding about a part of a resource: its verdict and message.
#[track_caller]
fn finding(finished: &Finished, resource: &str, check: &str) -> (String, String) {
    let all: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}{}", finished.stdout, finished.stderr));
    let found = all.as_array().into_iter().flatten().find(|f| f["resource"] == resource && f["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} of {resource}: {all:#}"));
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("message"))
}

#[track_caller]
fn assert_found(finished: &Finished, resource: &str, check: &str, verdict: &str, words: &str) {
    let (found, message) = finding(finished, resource, check);
    assert_eq!(found, verdict, "{resource} {check}: {message}");
    assert!(message.contains(words), "{resource} {check}: `{message}` lacks `{words}`");
}

fn secret(name: &str, password: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "stringData": {"username": "ann", "password": password}})
}

fn with_secret(url: &str, secret: &str) -> Value {
    json!({"mjpeg": {"url": url, "credentialsSecretRef": {"name": secret}}})
}

fn topic(name: &str, ensure: &str) -> Value {
    json!({"topic": {"name": name, "partitions": 3, "ensure": ensure}})
}

#[test]
fn what_will_work_is_ok_with_what_was_seen_and_nothing_is_changed() {
    let (kafka, disk) = (kafka::shared(), scratch::dir("disk"));
    let (new, old) = (unique("new"), unique("old"));
    kafka.create_topic(&old, 3, &[]);
    let cameras = Cameras::start(&["--user", "ann", "--password", "s3cret", "--auth", "digest", "--fps", "20"]);
    let picture = cameras.at("", "/cam0/snapshot.jpg", "");
    let snapshot =
        json!({"snapshot": {"url": picture, "interval": "200ms", "credentialsSecretRef": {"name": "cam-login"}}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        secret("cam-login", "s3cret"),
        resources::camera("stream", with_secret(&cameras.url(""), "cam-login"), &new, json!({})),
        resources::camera("shots", snapshot, "", topic(&old, "verify")),
        resources::camera("made-up", json!({"synthetic": {"size": "640x352"}}), &new, json!({})),
        resources::sink(
            "files",
            &new,
            jpeg_files("a/b"),
            &disk,
            json!({"deadLetter": {"topic": format!("{new}.dead")}}),
        ),
    ]);
    let said = check(&file, &["--json"]);
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
    assert_found(&said, "KafkaConnection/lab", "kafka", "ok", "1 broker, plain text, no login");
    assert_found(&said, "CameraStream/stream", "camera", "ok", "MJPEG 320x240, ");
    assert_found(&said, "CameraStream/stream", "camera", "ok", "digest MD5 login");
    assert_found(&said, "CameraStream/shots", "camera", "ok", "JPEG every 200ms 320x240");
    assert_found(&said, "CameraStream/made-up", "camera", "ok", "synthetic 640x352");
    assert_found(&said, "CameraStream/stream", "topic", "ok", "is not there yet and can be made, with 3 partitions");
    assert_found(&said, "CameraStream/shots", "topic", "ok", "3 partitions, 1 copy, records up to ");
    assert_found(&said, "CameraStream/shots", "topic", "ok", "this user may write");
    assert_found(&said, "FrameSink/files", "topic", "ok", "CameraStream/stream makes it");
    assert_found(&said, "FrameSink/files", "group", "ok", &resources::group("files", &new));
    assert_found(&said, "FrameSink/files", "disk", "ok", "a/b: writable, ");
    let (_, message) = finding(&said, "CameraStream/stream", "camera");
    let rate = message.split(", ").find_map(|part| part.split_once(" fps")).expect("a rate").0.parse::<f64>();
    assert!((5.0..40.0).contains(&rate.expect("a number")), "{message}");
    assert!(!said.stdout.contains("s3cret"), "{}", said.stdout);
    assert!(kafka.offsets(&new).is_err() && kafka.offsets(&format!("{new}.dead")).is_err(), "no topic was made");
    assert_eq!(kafka.record_count(&old), 0);
    assert_eq!(fs::read_dir(&disk).expect("readable").count(), 0, "no file was left");
    let table = check(&file, &[]);
    assert!(table.status.success());
    assert!(
        table.stdout.lines().any(|l| l.starts_with("OK    CameraStream/stream   camera MJPEG 320x240")),
        "{}",
        table.stdout
    );
    assert!(table.stdout.ends_with("11 checks: 11 ok, 0 to look at, 0 failed\n"), "{}", table.stdout);
    assert_eq!(table.stderr, "");
}

#[test]
fn what_will_not_work_fails_with_what_to_do_and_the_rest_is_still_told() {
    let (kafka, disk) = (kafka::shared(), scratch::dir("disk"));
    let (missing, small, made) = (unique("missing"), unique("small"), unique("made"));
    kafka.create_topic(&small, 3, &[("max.message.bytes", "10000")]);
    let cameras = Cameras::start(&["--user", "ann", "--password", "s3cret", "--frame-bytes", "30k"]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}/", silent.local_addr().expect("bound"));
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let right = |url: &str| with_secret(url, "right");
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        secret("right", "s3cret"),
        secret("wrong", "s3cret-guess"),
        resources::camera("fine", right(&cameras.url("")), &made, json!({})),
        resources::camera("wrong-password", with_secret(&cameras.url(""), "wrong"), &made, json!({})),
        resources::camera("not-there", right(&nobody), &made, json!({})),
        resources::camera("hangs", right(&silent), &made, json!({})),
        resources::camera("no-path", right(&cameras.at("", "/nowhere", "")), "", topic(&missing, "verify")),
        resources::camera("large", right(&cameras.url("")), "", {
            let mut more = topic(&small, "exists");
            more["encoding"] = json!({"maxFrameBytes": "20Ki"});
            more
        }),
        resources::camera("half", right(&cameras.url("bad=truncated")), &made, json!({"frameRate": {"target": 30}})),
        resources::sink("no-disk", &missing, jpeg_files(""), &disk.join("not-mounted"), json!({})),
    ]);
    let said = check(&file, &["--json", "--timeout", "4s"]);
    assert_eq!(said.status.code(), Some(1), "{}{}", said.stdout, said.stderr);
    for (resource, part, words) in [
        ("CameraStream/wrong-password", "camera", "refuses this user name and password (basic login)"),
        ("CameraStream/not-there", "camera", "check that it is on"),
        ("CameraStream/hangs", "camera", "no answer within 4s"),
        ("CameraStream/no-path", "camera", "check the path"),
        ("CameraStream/large", "camera", "maxFrameBytes"),
        ("CameraStream/half", "camera", "none can go on"),
        ("CameraStream/no-path", "topic", "set spec.topic.ensure: create"),
        ("CameraStream/large", "topic", "takes records up to 10000 bytes (max.message.bytes)"),
        ("FrameSink/no-disk", "topic", "start the camera that fills it"),
        ("FrameSink/no-disk", "disk", "mount the disk or make the directory"),
    ] {
        assert_found(&said, resource, part, "fail", words);
    }
    assert_found(&said, "CameraStream/fine", "camera", "ok", "basic login");
    assert_found(&said, "CameraStream/fine", "topic", "ok", "can be made");
    assert!(!said.stdout.contains("s3cret"), "{}", said.stdout);
    assert!(!disk.join("not-mounted").exists(), "the check made what should have been mounted");
}

#[test]
fn a_url_given_to_the_wrong_source_is_told_the_right_one_and_a_missing_disk_by_what_named_it() {
    let (kafka, topic) = (kafka::shared(), unique("swapped"));
    kafka.create_topic(&topic, 1, &[]);
    let (cameras, disk) = (Cameras::start(&[]), scratch::dir("disk").join("not-there"));
    let picture = cameras.at("", "/cam0/snapshot.jpg", "");
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::camera("stream", json!({"snapshot": {"url": cameras.url(""), "interval": "1s"}}), &topic, json!({})),
        resources::camera("picture", json!({"mjpeg": {"url": picture}}), &topic, json!({})),
        resources::sink("s", &topic, jpeg_files(""), &disk, json!({})),
    ]);
    let said = check(&file, &["--json"]);
    assert_found(&said, "CameraStream/stream", "camera", "fail", "use the source `mjpeg` for it");
    assert_found(&said, "CameraStream/picture", "camera", "warn", "use the source `snapshot` for it");
    assert_found(&said, "FrameSink/s", "disk", "fail", "`--storage-root DIR` puts another in its place");
    let said = check(&file, &["--json", "--storage-root", &disk.to_string_lossy()]);
    let (verdict, message) = finding(&said, "FrameSink/s", "disk");
    assert_eq!(verdict, "fail");
    assert!(message.starts_with("--storage-root: ") && !message.contains("spec.storage"), "{message}");
}

#[test]
fn a_disk_that_cannot_be_written_to_or_is_full_soon_is_told() {
    let (kafka, topic, disk) = (kafka::shared(), unique("disks"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[]);
    let mounts = [("read-only", "ro,size=16m"), ("full", "size=4k"), ("small", "size=16m")];
    let mut documents = vec![resources::connection(kafka.bootstrap())];
    let mounts = mounts.map(|(name, options)| {
        let at = disk.join(name);
        fs::create_dir(&at).expect("made");
        documents.push(resources::sink(name, &topic, jpeg_files("below"), &at, json!({})));
        Tmpfs { at, options: options.into() }
    });
    let file = resources::write(&documents);
    let mut command = worker_with(&mounts);
    command.args(["check", "--json", "-f"]).arg(&file);
    let said = process::run("check", command, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(said.status.code(), Some(1), "{}{}", said.stdout, said.stderr);
    assert_found(&said, "FrameSink/read-only", "disk", "fail", "mount it writable");
    assert_found(&said, "FrameSink/full", "disk", "fail", "is full");
    assert_found(&said, "FrameSink/small", "disk", "warn", "free, tmpfs at ");
    assert_found(&said, "FrameSink/small", "topic", "ok", "this user may read");
}

/// A connection with TLS and a login, and its Secret.
fn login(kafka: &Cluster, user: &str, password: &str) -> [Value; 2] {
    let key = |key: &str| json!({"name": "login", "key": key});
    let spec = json!({
        "bootstrapServers": [kafka.bootstrap()],
        "tls": {"caSecretRef": key("ca.crt")},
        "sasl": {"mechanism": "SCRAM-SHA-512", "usernameSecretRef": key("user"), "passwordSecretRef": key("password")},
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"ca.crt": kafka.ca_pem(), "user": user, "password": password}});
    [resources::resource("KafkaConnection", resources::CONNECTION, spec), secret]
}

/// Checks a made-up camera and a sink of a topic, as this user.
fn check_as(kafka: &Cluster, user: &str, password: &str, topic: &str) -> Finished {
    let exists = json!({"topic": {"name": topic, "ensure": "exists"}});
    let camera = resources::camera("cam", json!({"synthetic": {"size": "320x240"}}), "", exists);
    let sink = resources::sink("files", topic, jpeg_files(""), &scratch::dir("disk"), json!({}));
    let documents = [&login(kafka, user, password)[..], &[camera, sink]].concat();
    check(&resources::write(&documents), &["--json"])
}

#[test]
fn a_login_that_kafka_refuses_and_rights_that_are_missing_are_told_without_writing_or_reading() {
    let (kafka, topic) = (kafka::secure(), unique("rights"));
    kafka.create_topic(&topic, 1, &[]);
    let wrong = check_as(kafka, "admin", "wrong", &topic);
    assert_eq!(wrong.status.code(), Some(1));
    assert_found(&wrong, "KafkaConnection/lab", "kafka", "fail", "the login is refused");
    assert_found(&wrong, "CameraStream/cam", "topic", "fail", "not asked: see KafkaConnection/lab");
    assert_found(&wrong, "CameraStream/cam", "camera", "ok", "320x240");

    let admin = check_as(kafka, "admin", &kafka.admin_password(), &topic);
    assert!(admin.status.success(), "{}{}", admin.stdout, admin.stderr);
    assert_found(&admin, "KafkaConnection/lab", "kafka", "ok", "TLS, SCRAM-SHA-512 login");
    assert_found(&admin, "CameraStream/cam", "topic", "ok", "this user may write");

    let guest = kafka.guest_password();
    let stranger = check_as(kafka, "guest", &guest, &topic);
    assert_found(&stranger, "CameraStream/cam", "topic", "fail", "grant it (kafka-acls");
    let mut acls = Command::new(project_root().join("dev/kafka/kafka-cli.sh"));
    acls.arg(kafka.dir()).args(["acls", "--bootstrap-server", kafka.bootstrap(), "--command-config"]);
    acls.arg(kafka.dir().join("secure/admin.properties")).args(["--add", "--topic", &topic]);
    acls.args(["--allow-principal", "User:guest", "--operation", "Describe", "--operation", "DescribeConfigs"]);
    process::output("acls", acls, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"));
    // It may look now, and nothing more.
    let looker = check_as(kafka, "guest", &guest, &topic);
    assert_eq!(looker.status.code(), Some(1));
    assert_found(&looker, "CameraStream/cam", "topic", "fail", "lacks the right Write on topic");
    assert_found(&looker, "FrameSink/files", "topic", "fail", "lacks the right Read on topic");
    assert_found(&looker, "FrameSink/files", "group", "fail", "lacks the right Read on consumer group");
    assert!(!looker.stdout.contains(&guest), "the password shows");
}

#[test]
fn a_broker_that_is_not_there_is_told_once_and_wrong_arguments_have_a_status_of_their_own() {
    let address = format!("127.0.0.1:{}", free_port());
    let camera = resources::camera("cam", json!({"synthetic": {"size": "320x240"}}), "t", json!({}));
    let file = resources::write(&[resources::connection(&address), camera]);
    let said = check(&file, &["--json"]);
    assert_eq!(said.status.code(), Some(1));
    assert_found(&said, "KafkaConnection/lab", "kafka", "fail", &address);
    assert_found(&said, "CameraStream/cam", "topic", "fail", "not asked: see KafkaConnection/lab");
    for wrong in [&["check"][..], &["check", "-f", &file.to_string_lossy(), "--timeout", "soon"]] {
        assert_eq!(edgereel::call(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let empty = resources::write(&[resources::connection(&address)]);
    assert_eq!(check(&empty, &[]).status.code(), Some(2), "nothing to check");
}
