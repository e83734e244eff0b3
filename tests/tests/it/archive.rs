//! What is closed goes to an object store that others wrote, once, whatever is killed or away; and only what is there goes from the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use edgereel_tests::{
    Edgereel, edgereel, free_port,
    kafka::{self, Cluster, topics::NewRecord},
    mounts::{Tmpfs, worker_with},
    process, project_root, resources,
    s3::{AccessKey, S3},
    scratch, unique, video, wait,
};
use serde_json::{Value, json};

use crate::{
    crash::{ROUNDS, run_and_kill},
    sink::bench::{KEEP, frames},
    support::{assert_verified, await_lag_zero, condition, contents, files, is_ready, sorted, values},
};

const PATIENCE: Duration = Duration::from_secs(120);
const MEBI: u64 = 1 << 20;

fn topic(kafka: &Cluster, partitions: i32) -> String {
    let topic = unique("archive");
    kafka.create_topic(&topic, partitions, KEEP);
    topic
}

fn film() -> Value {
    json!({"video": {"directory": "film", "fileName": "{topic}_{segment}.avi", "frameRate": 30, "segment": {"maxBytes": "1Mi"}}})
}

/// The archive of a server without logins.
fn archive(endpoint: &str, bucket: &str) -> Value {
    let key = |key: &str| json!({"name": "store", "key": key});
    json!({"s3": {
        "bucket": bucket, "endpoint": endpoint, "allowHttp": true,
        "accessKeyIdSecretRef": key("id"), "secretAccessKeySecretRef": key("secret"),
    }})
}

fn secret(key: &AccessKey) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": {"id": key.id, "secret": key.secret}})
}

fn anybody() -> AccessKey {
    AccessKey { id: "any".into(), secret: "any".into() }
}

/// The resources of a sink `s` with an archive.
fn sink_of(topic: &str, output: Value, disk: &Path, archive: &Value, more: Value) -> PathBuf {
    let mut spec = json!({"archive": archive, "durability": {"flushInterval": "100ms", "flushFrames": 16}});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let sink = resources::sink("s", topic, output, disk, spec);
    resources::write(&[resources::connection(kafka::shared().bootstrap()), secret(&anybody()), sink])
}

fn unarchived(worker: &Edgereel) -> f64 {
    worker.try_metrics().map_or(f64::NAN, |m| m.sum("sink_unarchived_files", &[("name", "s")]))
}

#[track_caller]
fn await_all_archived(worker: &Edgereel, objects: f64) {
    worker.await_metrics("all that is closed is archived", |m| {
        let of = |metric| m.sum(metric, &[("name", "s")]);
        of("sink_unarchived_files") == 0.0 && of("sink_files_uploaded_total") >= objects
    });
}

fn archive_condition(worker: &Edgereel, reason: &str) -> Value {
    let what = format!("ArchiveHealthy with {reason}");
    let status = worker.await_status_of("s", &what, |entry| {
        let all = entry["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().any(|c| c["type"] == "ArchiveHealthy" && c["reason"] == reason)
    });
    condition(&status, "ArchiveHealthy")
}

/// All frames that an archive and a disk hold together: closed files that are in both count once.
fn frames_of(store: &S3, bucket: &str, disk: &Path) -> Vec<Vec<u8>> {
    let copy = scratch::dir("fetched");
    store.fetch(bucket, &copy);
    let archived = files(&copy, ".avi");
    let name = |path: &Path| path.file_name().map(ToOwned::to_owned);
    let names: Vec<_> = archived.iter().map(|path| name(path)).collect();
    for local in files(disk, ".avi") {
        if let Some(at) = names.iter().position(|other| *other == name(&local)) {
            assert!(fs::read(&local).ok() == fs::read(&archived[at]).ok(), "{} differs", local.display());
        }
    }
    let open = files(disk, ".avi").into_iter().filter(|path| !names.contains(&name(path)));
    archived.iter().cloned().chain(open).flat_map(|path| video::jpegs_of(&path)).collect()
}

#[test]
fn closed_videos_are_in_the_archive_once_whatever_is_killed_and_go_from_the_disk_after_that() {
    let (kafka, store, disk) = (kafka::shared(), S3::start(), scratch::dir("archive"));
    let (topic, bucket) = (topic(kafka, 2), store.bucket());
    let keep = json!({"retention": {"maxBytes": "2Mi"}});
    let file = sink_of(&topic, film(), &disk, &archive(&store.endpoint(), &bucket), keep);
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in 0..20 {
                kafka.produce(&topic, frames(part * 30..part * 30 + 30, 2, 20_000));
            }
        });
        for _ in 0..ROUNDS {
            run_and_kill(&file);
            let said = edgereel::verify(&file);
            assert_ne!(said.status.code(), Some(1), "{}{}", said.stdout, said.stderr);
        }
    });
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    wait::until("all that is closed is archived", PATIENCE, || unarchived(&worker) == 0.0);
    let bytes = || files(&disk, "").iter().map(|path| fs::metadata(path).map_or(0, |meta| meta.len())).sum::<u64>();
    wait::until("the oldest are gone", PATIENCE, || bytes() <= 3 * MEBI);
    assert!(archive_condition(&worker, "Running")["status"] == "True");
    assert!(worker.stop().success());
    // Each object was written once: a bucket with versions shows every writing.
    let versions = store.versions(&bucket);
    assert!(versions.len() >= 18, "about eleven segments, each with a CSV: {versions:?}");
    for (name, versions) in &versions {
        assert_eq!(versions.len(), 1, "{name} was written again");
        assert!(name.starts_with(&format!("default/s/{topic}_")), "{name}");
    }
    assert_eq!(store.uploads(&bucket), Vec::<String>::new());
    let records = kafka.consume_all(&topic);
    assert!(sorted(frames_of(&store, &bucket, &disk)) == sorted(values(&records)), "frames are lost or twice");
    let said = edgereel::verify(&file);
    assert!(said.status.success(), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("deleted by retention"), "{}", said.stdout);
    assert!(said.stdout.contains(&format!("in s3://{bucket}/default/s")), "{}", said.stdout);
}

#[test]
fn a_store_that_is_away_is_waited_for_and_nothing_goes_meanwhile() {
    let (kafka, port, disk) = (kafka::shared(), free_port(), scratch::dir("archive-away"));
    let (topic, bucket) = (topic(kafka, 1), unique("bucket"));
    let wanted = archive(&format!("http://127.0.0.1:{port}"), &bucket);
    let file = sink_of(&topic, film(), &disk, &wanted, json!({"retention": {"maxBytes": "1Mi"}}));
    let worker = Edgereel::run([&file]);
    kafka.produce(&topic, frames(0..250, 1, 20_000));
    await_lag_zero(kafka, &worker, "s", &topic);
    worker.await_metrics("closed files wait", |m| {
        let of = |metric| m.sum(metric, &[("name", "s")]);
        of("sink_unarchived_files") >= 3.0
            && of("sink_unarchived_bytes") > 3e6
            && of("sink_unarchived_oldest_timestamp_seconds") > 1.6e9
            && of("sink_uploads_failed_total") > 0.0
    });
    let said = archive_condition(&worker, "ArchiveUnreachable");
    assert!(
        said["status"] == "False" && said["message"].as_str().is_some_and(|m| m.contains("spec.archive.s3.endpoint")),
        "{said}"
    );
    assert!(is_ready(&worker.status_of("s")), "frames flow all the same");
    assert_eq!(contents(&disk, ".avi").len(), files(&disk, ".csv").len());
    assert_eq!(worker.metrics().sum("sink_files_deleted_total", &[("name", "s")]), 0.0, "more than maxBytes, and kept");
    let store = S3::start_on(port);
    store.bucket_named(&bucket);
    await_all_archived(&worker, 8.0);
    archive_condition(&worker, "Running");
    wait::until("the oldest are gone", PATIENCE, || {
        worker.metrics().sum("sink_files_deleted_total", &[("name", "s")]) >= 4.0
    });
    assert!(worker.stop().success());
    assert!(sorted(frames_of(&store, &bucket, &disk)) == sorted(values(&kafka.consume_all(&topic))));
    assert_verified(&file);
}

#[test]
fn a_full_disk_waits_for_the_store_and_says_so() {
    let (kafka, port, disk) = (kafka::shared(), free_port(), scratch::dir("archive-full"));
    let (topic, bucket) = (topic(kafka, 1), unique("bucket"));
    let wanted = archive(&format!("http://127.0.0.1:{port}"), &bucket);
    let file = sink_of(&topic, film(), &disk, &wanted, json!({"retention": {"minFree": "20%"}}));
    kafka.produce(&topic, frames(0..600, 1, 20_000));
    // Twelve megabytes do not fit.
    let worker = Edgereel::run_with([&file], worker_with(&[Tmpfs { at: disk.clone(), options: "size=6m".into() }]));
    let status = worker.await_status("StorageFull");
    assert!(status.contains("is full"), "{status}");
    worker.await_status("are not in the archive yet, and stay until they are");
    let store = S3::start_on(port);
    store.bucket_named(&bucket);
    await_lag_zero(kafka, &worker, "s", &topic);
    worker.await_ready("s");
    await_all_archived(&worker, 16.0);
    let copy = scratch::dir("fetched");
    store.fetch(&bucket, &copy);
    let archived: Vec<_> = files(&copy, ".avi").iter().flat_map(|path| video::jpegs_of(path)).collect();
    let all = values(&kafka.consume_all(&topic));
    assert!(archived.len() >= 450 && archived.iter().all(|frame| all.contains(frame)), "{} of 600", archived.len());
    for versions in store.versions(&bucket).values() {
        assert_eq!(versions.len(), 1);
    }
}

#[test]
fn another_object_of_that_name_is_left_alone_and_said_and_the_others_go_on() {
    let (kafka, store, disk) = (kafka::shared(), S3::start(), scratch::dir("archive-foreign"));
    let (topic, bucket) = (topic(kafka, 1), store.bucket());
    let foreign = format!("default/s/{topic}_2.avi");
    store.put(&bucket, &foreign, "somebody else's");
    let file =
        sink_of(&topic, film(), &disk, &archive(&store.endpoint(), &bucket), json!({"retention": {"maxBytes": "1Mi"}}));
    kafka.produce(&topic, frames(0..300, 1, 20_000));
    let worker = Edgereel::run([&file]);
    let said = archive_condition(&worker, "ArchiveConflict");
    let message = said["message"].as_str().unwrap_or_default();
    assert!(message.contains(&foreign) && message.contains("spec.archive.s3.prefix"), "{message}");
    worker.await_metrics("all others are archived", |m| {
        m.sum("sink_unarchived_files", &[("name", "s")]) == 1.0
            && m.sum("sink_files_uploaded_total", &[("name", "s")]) >= 8.0
    });
    let versions = store.versions(&bucket);
    assert_eq!(versions[&foreign].iter().map(|v| v.bytes).collect::<Vec<_>>(), ["somebody else's".len() as u64]);
    assert!(fs::metadata(disk.join(format!("film/{topic}_2.avi"))).is_ok(), "what is not archived stays");
    // It is kept as it is, whoever starts; once the name is free it is taken.
    store.delete(&bucket, &foreign);
    assert!(worker.stop().success());
    let worker = Edgereel::run([&file]);
    wait::until("it is archived", PATIENCE, || unarchived(&worker) == 0.0);
    archive_condition(&worker, "Running");
    assert_eq!(store.versions(&bucket)[&foreign].len(), 1);
}

#[test]
fn a_large_segment_goes_in_parts_and_none_is_left_whatever_is_killed() {
    let (kafka, store, disk) = (kafka::shared(), S3::start(), scratch::dir("archive-large"));
    let (topic, bucket) = (topic(kafka, 1), store.bucket());
    let output =
        json!({"video": {"frameRate": 30, "fileName": "{topic}_{segment}.avi", "segment": {"maxBytes": "24Mi"}}});
    let mut wanted = archive(&store.endpoint(), &bucket);
    // Slow enough to be killed at it.
    wanted["s3"]["maxBytesPerSecond"] = json!("8Mi");
    wanted["s3"]["prefix"] = json!("site-a/large");
    let file = sink_of(&topic, output, &disk, &wanted, json!({}));
    kafka.produce(&topic, frames(0..130, 1, 400_000));
    let worker = Edgereel::run([&file]);
    wait::until("an upload in parts is under way", PATIENCE, || !store.uploads(&bucket).is_empty());
    worker.kill();
    assert_eq!(store.uploads(&bucket).len(), 1, "the crash has left it");
    for _ in 0..ROUNDS {
        run_and_kill(&file);
    }
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    wait::until("both are archived", PATIENCE, || store.versions(&bucket).len() >= 4 && unarchived(&worker) == 0.0);
    assert!(worker.stop().success());
    assert_eq!(store.uploads(&bucket), Vec::<String>::new());
    for (name, versions) in store.versions(&bucket) {
        assert_eq!(versions.len(), 1, "{name}");
        let parts = if name.ends_with(".avi") { versions[0].bytes.div_ceil(5 * MEBI) as u32 } else { 0 };
        assert_eq!(versions[0].parts, parts, "{name}");
        assert!(name.starts_with("site-a/large/"), "{name}");
    }
    assert!(sorted(frames_of(&store, &bucket, &disk)) == sorted(values(&kafka.consume_all(&topic))));
}

#[test]
fn an_object_that_comes_while_its_name_is_uploaded_to_is_not_replaced() {
    let (kafka, store, disk) = (kafka::shared(), S3::start(), scratch::dir("archive-race"));
    let (topic, bucket) = (topic(kafka, 1), store.bucket());
    let output =
        json!({"video": {"frameRate": 30, "fileName": "{topic}_{segment}.avi", "segment": {"maxBytes": "24Mi"}}});
    let mut wanted = archive(&store.endpoint(), &bucket);
    wanted["s3"]["maxBytesPerSecond"] = json!("2Mi");
    let file = sink_of(&topic, output, &disk, &wanted, json!({}));
    kafka.produce(&topic, frames(0..65, 1, 400_000));
    let worker = Edgereel::run([&file]);
    wait::until("an upload in parts is under way", PATIENCE, || !store.uploads(&bucket).is_empty());
    let foreign = format!("default/s/{topic}_1.avi");
    store.put(&bucket, &foreign, "somebody else's");
    let said = archive_condition(&worker, "ArchiveConflict");
    assert!(said["message"].as_str().is_some_and(|message| message.contains(&foreign)), "{said}");
    let sizes: Vec<u64> = store.versions(&bucket)[&foreign].iter().map(|version| version.bytes).collect();
    assert_eq!(sizes, ["somebody else's".len() as u64]);
    wait::until("the upload was given up", PATIENCE, || store.uploads(&bucket).is_empty());
}

#[test]
fn a_data_sets_closed_csvs_are_in_the_archive_after_their_pictures() {
    let (kafka, store, disk) = (kafka::shared(), S3::start(), scratch::dir("archive-set"));
    let (topic, bucket) = (topic(kafka, 1), store.bucket());
    let output = json!({"dataset": {
        "directory": "set", "annotations": "labels_{segment}.csv", "rotate": {"maxBytes": "4Ki"},
    }});
    let file = sink_of(&topic, output, &disk, &archive(&store.endpoint(), &bucket), json!({}));
    let labelled = |n: u64| {
        let headers =
            vec![("annotation".into(), format!("what {n} shows").into()), ("file".into(), format!("{n}").into())];
        frames(n..n + 1, 1, 500).map(move |record| NewRecord { headers: headers.clone(), ..record })
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in 0..20 {
                kafka.produce(&topic, (part * 20..part * 20 + 20).flat_map(labelled));
            }
        });
        for _ in 0..ROUNDS {
            run_and_kill(&file);
        }
    });
    let worker = Edgereel::run([&file]);
    await_lag_zero(kafka, &worker, "s", &topic);
    wait::until("all that is closed is archived", PATIENCE, || unarchived(&worker) == 0.0);
    assert!(worker.stop().success());
    let copy = scratch::dir("fetched");
    store.fetch(&bucket, &copy);
    let csvs = files(&copy, ".csv");
    let local = files(&disk, ".csv");
    assert_eq!(csvs.len() + 1, local.len(), "all but the one that grows");
    let top = copy.join("default/s");
    let mut rows = 0;
    for csv in &csvs {
        let text = fs::read_to_string(csv).expect("read");
        let name = csv.file_name().expect("a name");
        assert_eq!(fs::read_to_string(disk.join("set").join(name)).expect("it stays"), text);
        for row in text.lines().skip(1) {
            let picture = row.split(',').next().expect("a path");
            assert_eq!(fs::read(top.join(picture)).ok(), fs::read(disk.join("set").join(picture)).ok(), "{picture}");
            rows += 1;
        }
    }
    assert_eq!(files(&copy, ".jpg").len(), rows);
    assert!(rows > 200, "{rows}");
    for (name, versions) in store.versions(&bucket) {
        assert_eq!(versions.len(), 1, "{name}");
    }
    assert_verified(&file);
}

fn checked(connection: &Value, secret: &Value, archive: &Value) -> (bool, String) {
    let disk = scratch::dir("archive-check");
    let sink = resources::sink("s", "some-topic", film(), &disk, json!({"archive": archive}));
    let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"},
        "data": {"ca.crt": fs::read_to_string(certificate().0).expect("a certificate")}});
    let file = resources::write(&[connection.clone(), secret.clone(), ca, sink]);
    let said = edgereel::call(["check", "-f", &file.to_string_lossy(), "--json"]);
    let all: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", said.stdout, said.stderr));
    let found = all.as_array().into_iter().flatten().find(|f| f["check"] == "bucket").expect("a finding").clone();
    (found["verdict"] == "ok", found["message"].as_str().unwrap_or_default().to_owned())
}

/// A certificate for 127.0.0.1 that is its own authority, and its key.
fn certificate() -> (PathBuf, PathBuf) {
    static MADE: std::sync::OnceLock<(PathBuf, PathBuf)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let dir = scratch::dir("s3-tls");
        let (certificate, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        process::output("openssl", openssl, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
        (certificate, key)
    })
    .clone()
}

#[test]
fn check_tells_whether_the_bucket_can_be_written_to_and_what_is_wrong() {
    let store = S3::start();
    let bucket = store.bucket();
    let may = store.key(&["s3:PutObject", "s3:AbortMultipartUpload"]);
    let may_not = store.key(&["s3:GetObject"]);
    store.look_at_logins();
    let connection = resources::connection(kafka::shared().bootstrap());
    let wanted = archive(&store.endpoint(), &bucket);
    let ask = |key: &AccessKey, archive: &Value| checked(&connection, &secret(key), archive);
    let (ok, said) = ask(&may, &wanted);
    assert!(ok && said.contains(&format!("s3://{bucket}/default/s")), "{said}");
    let wrong_secret = AccessKey { secret: "wrong".into(), ..may.clone() };
    for (key, archive, words) in [
        (&anybody(), wanted.clone(), "spec.archive.s3.accessKeyIdSecretRef"),
        (&wrong_secret, wanted.clone(), "spec.archive.s3.secretAccessKeySecretRef"),
        (&may_not, wanted.clone(), "s3:PutObject"),
        (&may, self::archive(&store.endpoint(), "no-such-bucket"), "spec.archive.s3.bucket"),
        (&may, self::archive(&format!("http://127.0.0.1:{}", free_port()), &bucket), "spec.archive.s3.endpoint"),
    ] {
        let (ok, said) = ask(key, &archive);
        assert!(!ok && said.contains(words), "`{said}` lacks `{words}`");
    }
}

#[test]
fn a_certificate_is_trusted_when_its_authority_is_named() {
    let (certificate, key) = certificate();
    let store = S3::start_with_tls(&certificate, &key);
    let bucket = store.bucket();
    let connection = resources::connection(kafka::shared().bootstrap());
    let mut wanted = archive(&store.endpoint(), &bucket);
    let (ok, said) = checked(&connection, &secret(&anybody()), &wanted);
    assert!(!ok && said.contains("spec.archive.s3.caSecretRef"), "{said}");
    wanted["s3"]["caConfigMapRef"] = json!({"name": "trust", "key": "ca.crt"});
    let (ok, said) = checked(&connection, &secret(&anybody()), &wanted);
    assert!(ok, "{said}");
}

#[test]
fn the_example_runs_as_it_is() {
    let text = fs::read_to_string(project_root().join("examples/archive/archive.yaml")).expect("readable");
    let (kafka, store) = (kafka::shared(), S3::start());
    let topic = topic(kafka, 1);
    let bucket = store.bucket();
    kafka.produce(&topic, frames(0..30, 1, 2_000));
    // Ten minutes later a new file begins.
    let later = frames(30..40, 1, 2_000)
        .map(|record| NewRecord { timestamp: record.timestamp.map(|time| time + 601_000), ..record });
    kafka.produce(&topic, later);
    let here = [
        ("localhost:9092", kafka.bootstrap().to_owned()),
        ("[gate]", format!("[{topic}]")),
        ("name: gate-film", "name: s".to_owned()),
        ("bucket: recordings", format!("bucket: {bucket}\n      allowHttp: true")),
        ("https://minio.example.net:9000", store.endpoint()),
    ];
    let text = here.iter().fold(text, |text, (there, here)| text.replace(there, here));
    let (dir, disk) = (scratch::dir("example"), scratch::dir("example-disk"));
    let file = dir.join("archive.yaml");
    fs::write(&file, text).expect("written");
    let secret = dir.join("secrets/recordings-writer");
    fs::create_dir_all(&secret).expect("made");
    for key in ["id", "secret"] {
        fs::write(secret.join(key), "any\n").expect("written");
    }
    let root = disk.to_string_lossy();
    let secrets = dir.join("secrets");
    let worker = Edgereel::run_args([&file], &["--storage-root", &root, "--secrets-dir", &secrets.to_string_lossy()]);
    await_all_archived(&worker, 2.0);
    assert!(worker.stop().success());
    let names: Vec<String> = store.versions(&bucket).into_keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with(&format!("site-a/gate-film/{topic}_"))), "{names:?}");
}
