//! `edgereel bench kafka`: the scripts' sweep, in topics of its own, which are gone afterwards.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use edgereel_tests::{
    edgereel, edgereel_bin,
    kafka::{self, Cluster},
    resources, scratch,
    terminal::Terminal,
    video, wait,
};
use serde_json::{Value, json};

const CSV: &str = "kafka_performance_results.csv";
const SVG: &str = "kafka_performance_results.svg";

/// How many partitions each of the command's topics has.
fn topics(kafka: &Cluster) -> BTreeMap<String, usize> {
    let topics = kafka.topics().into_iter();
    topics.filter(|(name, _)| name.starts_with("edgereel-bench-")).collect()
}

fn json_of(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn the_five_configurations_of_the_scripts_are_measured_in_their_columns() {
    let (kafka, out) = (kafka::shared(), scratch::dir("results"));
    let output = out.to_string_lossy().into_owned();
    let args = ["bench", "kafka", "--sweep", "--bootstrap-servers", kafka.bootstrap(), "--output", &output];
    let small = ["--records", "60", "--size", "320x240", "--frame-bytes", "20k", "--format", "json"];
    let finished = edgereel::call([&args[..], &small].concat());
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    // One line each, where there is no terminal.
    assert_eq!(finished.stderr.lines().filter(|line| line.contains(" of 5: ")).count(), 5, "{}", finished.stderr);
    let csv = fs::read_to_string(out.join(CSV)).expect("written");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "Batch Size,Linger (ms),Compression,Num Partitions,Producer Throughput (msg/sec),Consumer Throughput \
         (msg/sec),Producer Latency (sec/msg),Consumer Latency (sec/msg),Consumer Lag,Partition Distribution"
    );
    let configured =
        ["16384,0,none,4,", "32768,5,gzip,4,", "65536,10,snappy,4,", "128000,20,none,4,", "512000,50,gzip,4,"];
    let rows = json_of(&finished.stdout);
    assert_eq!((lines.len(), rows.len()), (6, 5), "{csv}");
    let there = topics(kafka);
    for ((line, row), start) in lines[1..].iter().zip(&rows).zip(configured) {
        assert!(line.starts_with(start), "{line}");
        let cells: Vec<&str> = line.split(',').collect();
        // The seed's latency is the time of all, shared out.
        for (rate, time) in [(4, 6), (5, 7)] {
            let (rate, time): (f64, f64) = (cells[rate].parse().expect("a rate"), cells[time].parse().expect("a time"));
            assert!(rate > 0.0 && (rate * time - 1.0).abs() < 0.05, "{line}");
        }
        assert_eq!((cells[8], &row["consumerLag"], &row["records"]), ("0", &json!(0), &json!(60)));
        let distribution = row["partitionDistribution"].as_object().expect("an object");
        assert_eq!(distribution.len(), 4, "{row:#}");
        assert_eq!(distribution.values().filter_map(Value::as_i64).sum::<i64>(), 60, "{row:#}");
        for partition in distribution.keys() {
            let (topic, _) = partition.rsplit_once('-').expect("TOPIC-PARTITION");
            assert!(topic.starts_with("edgereel-bench-") && !there.contains_key(topic), "{topic} is still there");
            assert!(line.contains(&format!("'{partition}': ")), "{line}");
        }
    }
    let svg = fs::read_to_string(out.join(SVG)).expect("drawn");
    assert!(svg.contains(">512000 bytes, 50 ms, gzip, 4 partitions<"), "{svg}");
    // What was measured before is not lost by accident.
    let again = edgereel::call(args);
    assert_eq!(again.code(), 2);
    assert!(again.stderr.contains("--overwrite"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(out.join(CSV)).expect("kept"), csv);
}

#[test]
fn a_secured_cluster_is_measured_with_pictures_of_a_folder() {
    let (kafka, out, images) = (kafka::secure(), scratch::dir("results"), scratch::dir("images"));
    let mut sent = 0;
    for (n, picture) in video::pictures(3).into_iter().enumerate() {
        sent += picture.len() * 4;
        fs::write(images.join(format!("2024-09-1{n}.jpg")), picture).expect("written");
    }
    fs::write(images.join("Thumbs.db"), "no picture").expect("written");
    let secrets = scratch::dir("secrets");
    fs::create_dir_all(secrets.join("kafka")).expect("made");
    fs::write(secrets.join("kafka/ca.crt"), kafka.ca_pem()).expect("written");
    fs::write(secrets.join("kafka/password"), kafka.admin_password()).expect("written");
    let mut connection = resources::connection(kafka.bootstrap());
    connection["spec"]["tls"] = json!({"caSecretRef": {"name": "kafka", "key": "ca.crt"}});
    let password = json!({"name": "kafka", "key": "password"});
    connection["spec"]["sasl"] =
        json!({"mechanism": "SCRAM-SHA-512", "username": "admin", "passwordSecretRef": password});
    let [file, secrets, images, out_dir] =
        [resources::write(&[connection]), secrets, images, out.clone()].map(|path| path.to_string_lossy().into_owned());
    let finished = edgereel::call(
        [
            &["bench", "kafka", "--sweep", "-f", &file, "--secrets-dir", &secrets, "--images", &images][..],
            &["--payload", "image", "--records", "12", "--compression", "lz4,zstd", "--partitions", "2"],
            &["--output", &out_dir, "--format", "json"],
        ]
        .concat(),
    );
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let rows = json_of(&finished.stdout);
    let tried: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["compression"], &row["bytes"])).collect();
    assert_eq!(tried, [(&json!("lz4"), &json!(sent)), (&json!("zstd"), &json!(sent))], "{rows:#?}");
    assert!(topics(kafka).is_empty(), "{:?}", topics(kafka));
}

/// Told from the topics of other tests by its number of partitions.
const PARTITIONS: usize = 7;

#[test]
fn ctrl_c_ends_it_with_a_bar_on_the_screen_and_leaves_no_topic() {
    let (kafka, out) = (kafka::shared(), scratch::dir("results"));
    let mut command = Command::new(edgereel_bin());
    command.args(["bench", "kafka", "--bootstrap-servers", kafka.bootstrap(), "--records", "100000000"]);
    command.args(["--partitions", &PARTITIONS.to_string()]).arg("--output").arg(&out);
    let terminal = Terminal::run(command, 100, 24);
    terminal.await_lines("it says what it measures", |lines| {
        let line = format!("1 of 1: 1048576 bytes, 0 ms, none, {PARTITIONS} partitions");
        lines.iter().any(|shown| shown.contains(&line)) && lines.iter().any(|shown| shown.contains("left"))
    });
    let ours = || topics(kafka).into_iter().find(|(_, partitions)| *partitions == PARTITIONS);
    let (topic, _) = wait::until_ok("it measures", Duration::from_secs(60), || {
        let (topic, partitions) = ours().ok_or("no topic yet")?;
        if kafka.record_count(&topic) > 100 { Ok((topic, partitions)) } else { Err("no records yet") }
    });
    terminal.type_in("\x03");
    let ended = terminal.child().wait(Duration::from_secs(60)).expect("it ends");
    assert_eq!(ended.code(), Some(130), "{}", terminal.lines().join("\n"));
    assert!(!kafka.topics().contains_key(&topic), "{topic} is still there");
    assert!(!out.join(CSV).exists(), "nothing was measured");
}

#[test]
fn a_cluster_that_is_not_there_is_said_and_so_is_what_cannot_be_asked_for() {
    let out = scratch::dir("results");
    let output = out.to_string_lossy().into_owned();
    let nobody = format!("127.0.0.1:{}", edgereel_tests::free_port());
    let call = |more: &[&str]| {
        let finished = edgereel::call([&["bench", "kafka", "--output", &output], more].concat());
        assert_eq!((finished.code(), fs::read_dir(&out).expect("a folder").count()), (2, 0), "{}", finished.stderr);
        finished.stderr
    };
    let said = call(&["--sweep", "--bootstrap-servers", &nobody]);
    assert!(said.contains("nothing listens at") && said.contains(&nobody), "{said}");
    let several = call(&["--bootstrap-servers", &nobody, "--compression", "none,gzip"]);
    assert!(several.contains("add `--sweep`"), "{several}");
    let codec = call(&["--bootstrap-servers", &nobody, "--compression", "zip"]);
    assert!(codec.contains("none, gzip, snappy, lz4, zstd"), "{codec}");
    let address = call(&["--bootstrap-servers", "http://kafka"]);
    assert!(address.contains("--bootstrap-servers"), "{address}");
    let nowhere = call(&["--bootstrap-servers", &nobody, "--images", "/nowhere"]);
    assert!(nowhere.contains("cannot read /nowhere: No such file or directory"), "{nowhere}");
}
