//! Brokers with TLS, logins of every kind and ACLs: what works with just the rights that it needs, and what is said where one is
//! missing, or a certificate, a password or a secret is wrong.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use edgereel_tests::{
    Edgereel, edgereel, free_port,
    kafka::{Cluster, Options},
    process::{self, Guarded, command},
    project_root, resources, scratch, unique,
};
use serde_json::{Value, json};

use crate::support::{condition, jpeg_files};

const PASSWORD: &str = "s3cret-of-edge";

/// A broker that takes every kind of login, and knows three users who may nothing: `edge`, `idle`, and `turner`, whose password
/// changes.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let module = "org.apache.kafka.common.security";
        let listener = "listener.name.client";
        let settings = vec![
            "sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER".to_owned(),
            format!(
                "{listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_edge=\"{PASSWORD}\" \
                 user_idle=\"{PASSWORD}\";"
            ),
            format!("{listener}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;"),
            format!(
                "{listener}.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";"
            ),
        ];
        let kafka = Cluster::start(1, Options { secure: true, settings, ..Options::default() }).expect("a broker");
        set_password(&kafka, "edge", PASSWORD);
        set_password(&kafka, "turner", PASSWORD);
        kafka
    })
}

/// Runs one of Kafka's own tools, as who may do everything.
fn admin(kafka: &Cluster, tool: &str, args: &[&str]) {
    let mut call = Command::new(project_root().join("dev/kafka/kafka-cli.sh"));
    call.arg(kafka.dir()).args([tool, "--bootstrap-server", kafka.bootstrap(), "--command-config"]);
    call.arg(kafka.dir().join("secure/admin.properties")).args(args);
    process::output(tool, call, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"));
}

/// Makes it a user's SCRAM password.
fn set_password(kafka: &Cluster, user: &str, password: &str) {
    // A request takes one kind of each user's.
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let credentials = format!("{mechanism}=[password={password}]");
        let user = ["--alter", "--entity-type", "users", "--entity-name", user, "--add-config", &credentials];
        admin(kafka, "configs", &user);
    }
}

/// Grants operations on what the options name.
pub fn grant(kafka: &Cluster, user: &str, on: &[&str], operations: &[&str]) {
    let principal = format!("User:{user}");
    let operations = operations.iter().flat_map(|operation| ["--operation", operation]);
    let all: Vec<&str> = ["--add", "--allow-principal", &principal].into_iter().chain(on.iter().copied()).collect();
    admin(kafka, "acls", &all.into_iter().chain(operations).collect::<Vec<_>>());
}

fn key(key: &str) -> Value {
    json!({"name": "login", "key": key})
}

fn secret(kafka: &Cluster, password: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"ca.crt": kafka.ca_pem(), "password": password}})
}

/// A connection of this name, with a user name and a password.
fn connection(kafka: &Cluster, name: &str, mechanism: &str, user: &str) -> Value {
    let spec = json!({
        "bootstrapServers": [kafka.bootstrap()],
        "tls": {"caSecretRef": key("ca.crt")},
        "sasl": {"mechanism": mechanism, "username": user, "passwordSecretRef": key("password")},
    });
    resources::resource("KafkaConnection", name, spec)
}

/// A resource that uses the connection of this name.
fn over(connection: &str, mut resource: Value) -> Value {
    resource["spec"]["kafka"]["connectionRef"]["name"] = connection.into();
    resource
}

fn camera(connection: &str, name: &str, topic: Value) -> Value {
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    over(connection, resources::camera(name, source, "", json!({"topic": topic})))
}

fn sink(connection: &str, name: &str, topic: &str) -> Value {
    over(connection, resources::sink(name, topic, jpeg_files(""), &scratch::dir("disk"), json!({})))
}

#[test]
fn each_kind_of_password_works_with_no_more_rights_than_a_camera_and_a_sink_need() {
    let (kafka, prefix) = (cluster(), unique("granted"));
    let prefixed = ["--resource-pattern-type", "prefixed"];
    let topics = ["--topic", &prefix, prefixed[0], prefixed[1]];
    grant(kafka, "edge", &topics, &["Write", "DescribeConfigs", "Create", "Read"]);
    grant(kafka, "edge", &["--group", "sink", prefixed[0], prefixed[1]], &["Read"]);
    let mut documents = vec![secret(kafka, PASSWORD)];
    let passwords = [("plain", "PLAIN"), ("scram-256", "SCRAM-SHA-256"), ("scram-512", "SCRAM-SHA-512")];
    documents.extend(passwords.map(|(name, mechanism)| connection(kafka, name, mechanism, "edge")));
    for (name, _) in passwords {
        let topic = format!("{prefix}-{name}");
        documents.push(camera(name, &format!("cam-{name}"), json!({"name": topic, "partitions": 1})));
        documents.push(sink(name, &format!("sink-{name}"), &topic));
    }
    let worker = Edgereel::run([resources::write(&documents)]);
    for (name, _) in passwords {
        let sink = format!("sink-{name}");
        worker.await_metrics(&format!("{sink} stores"), |m| m.count("sink_frames_durable", &sink) > 30);
    }
    assert!(worker.stop().success());
}

#[test]
fn the_bench_works_with_the_rights_that_its_help_names_and_says_which_one_is_missing() {
    let kafka = cluster();
    let user = "bench";
    set_password(kafka, user, PASSWORD);
    let connection = connection(kafka, "edge", "SCRAM-SHA-512", user);
    let file = resources::write(&[secret(kafka, PASSWORD), connection]).to_string_lossy().into_owned();
    let bench = || {
        let out = scratch::dir("results").to_string_lossy().into_owned();
        let small = ["--records", "10", "--size", "320x240", "--frame-bytes", "20k", "--output", &out];
        edgereel::call([&["bench", "kafka", "-f", &file][..], &small].concat())
    };
    let ours = ["--topic", "edgereel-bench-", "--resource-pattern-type", "prefixed"];
    let steps: [(&str, &[&str], &[&str]); 4] = [
        ("lacks the right Describe on topic edgereel-bench-", &ours, &["Write", "Read"]),
        ("lacks the right Create on topic edgereel-bench-", &ours, &["Create"]),
        ("lacks the right Read on consumer group edgereel-bench", &["--group", "edgereel-bench"], &["Read"]),
        ("lacks the right Delete on topic edgereel-bench-", &ours, &["Delete"]),
    ];
    for (words, on, operations) in steps {
        let finished = bench();
        assert!(finished.stderr.contains(words), "no `{words}` in {}", finished.stderr);
        grant(kafka, user, on, operations);
    }
    let finished = bench();
    assert_eq!((finished.code(), finished.stderr.contains("deleted")), (0, false), "{}", finished.stderr);
}

/// What `Ready` says.
fn ready(entry: &Value) -> String {
    let ready = condition(entry, "Ready");
    format!("{}: {}", ready["reason"].as_str().unwrap_or_default(), ready["message"].as_str().unwrap_or_default())
}

#[test]
fn a_right_that_is_missing_is_named_with_what_it_is_on_beforehand_and_while_it_runs() {
    let kafka = cluster();
    let [nothing, made, configs, write, id, read, group] =
        ["nothing", "made", "configs", "write", "id", "read", "group"].map(|name| unique(&format!("lacks-{name}")));
    for topic in [&nothing, &configs, &write, &id, &read, &group] {
        kafka.create_topic(topic, 1, &[]);
    }
    // `idle` may write nowhere; from Kafka 2.8 on, who may write to any topic needs no IdempotentWrite.
    grant(kafka, "idle", &["--topic", &id], &["Describe", "DescribeConfigs"]);
    grant(kafka, "edge", &["--topic", &made, "--topic", &write, "--topic", &read], &["Describe"]);
    grant(kafka, "edge", &["--topic", &configs], &["Write"]);
    grant(kafka, "edge", &["--topic", &group], &["Read"]);
    grant(kafka, "edge", &["--group", &resources::group("no-read", &read)], &["Read"]);
    let exists = |topic: &str| json!({"name": topic, "ensure": "exists"});
    let settings = json!({"name": configs, "partitions": 1, "config": {"retention.ms": "-1"}, "ensure": "verify"});
    let file = resources::write(&[
        secret(kafka, PASSWORD),
        connection(kafka, "edge", "SCRAM-SHA-512", "edge"),
        connection(kafka, "idle", "PLAIN", "idle"),
        camera("edge", "no-describe", exists(&nothing)),
        camera("edge", "no-create", json!({"name": made, "partitions": 1})),
        camera("edge", "no-configs", settings),
        camera("edge", "no-write", exists(&write)),
        camera("idle", "no-id", exists(&id)),
        sink("edge", "no-read", &read),
        sink("edge", "no-group", &group),
    ]);
    let of_group = resources::group("no-group", &group);
    let expected = [
        ("no-describe", "Describe", format!("topic {nothing}"), format!("--topic {nothing}")),
        ("no-create", "Create", format!("topic {made}"), format!("--topic {made}")),
        ("no-configs", "DescribeConfigs", format!("topic {configs}"), format!("--topic {configs}")),
        ("no-write", "Write", format!("topic {write}"), format!("--topic {write}")),
        ("no-id", "IdempotentWrite", "the cluster".into(), "--cluster".into()),
        ("no-read", "Read", format!("topic {read}"), format!("--topic {read}")),
        ("no-group", "Read", format!("consumer group {of_group}"), format!("--group {of_group}")),
    ];
    let checked = edgereel::call(["check", "--json", "-f", &file.to_string_lossy()]);
    let findings: Vec<Value> = serde_json::from_str(&checked.stdout).expect("JSON");
    for (name, right, on, option) in &expected {
        // Beforehand nobody asks for a producer's id: the right that it comes with is the one to have.
        let (right, on, option) = match *name {
            "no-id" => ("Write", format!("topic {id}"), format!("--topic {id}")),
            _ => (*right, on.clone(), option.clone()),
        };
        let words = format!("lacks the right {right} on {on}");
        let command = format!("kafka-acls --add {option} --operation {right}");
        let is_it = |finding: &&Value| {
            let message = finding["message"].as_str().unwrap_or_default();
            finding["resource"].as_str().is_some_and(|resource| resource.ends_with(&format!("/{name}")))
                && finding["verdict"] == "fail"
                && message.contains(&words)
                && message.contains(&command)
        };
        assert!(findings.iter().any(|finding| is_it(&finding)), "{name}: no `{words}` in {findings:#?}");
    }
    let worker = Edgereel::run([&file]);
    // The cameras: a sink that reads in vain is not ready for other reasons too, between its tries.
    for (name, right, on, option) in &expected[..5] {
        let words =
            format!("KafkaUnauthorized: KafkaConnection default/{}", if *name == "no-id" { "idle" } else { "edge" });
        let lacks = format!("lacks the right {right} on {on}");
        let command = format!("kafka-acls --add {option} --operation {right}");
        let all = [&words, &lacks, &command];
        worker.await_status_of(name, &lacks, |entry| all.iter().all(|words| ready(entry).contains(*words)));
    }
    assert!(worker.stop().success());
}

#[test]
fn a_password_that_changes_in_kafka_and_in_the_secret_costs_no_frame() {
    let (kafka, prefix) = (cluster(), unique("changed"));
    let prefixed = ["--resource-pattern-type", "prefixed"];
    grant(
        kafka,
        "turner",
        &["--topic", &prefix, prefixed[0], prefixed[1]],
        &["Write", "DescribeConfigs", "Create", "Read"],
    );
    grant(kafka, "turner", &["--group", "files", prefixed[0], prefixed[1]], &["Read"]);
    let secrets = scratch::dir("secrets");
    let put = |name: &str, text: &str| {
        fs::create_dir_all(secrets.join("login")).expect("made");
        // Whole or not at all, as Kubernetes does it.
        let beside = secrets.join(format!("{name}.new"));
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, secrets.join("login").join(name))).expect("written");
    };
    put("ca.crt", &kafka.ca_pem());
    put("password", PASSWORD);
    let file = resources::write(&[
        connection(kafka, "edge", "SCRAM-SHA-512", "turner"),
        camera("edge", "cam", json!({"name": prefix, "partitions": 2})),
        sink("edge", "files", &prefix),
    ]);
    let worker = Edgereel::run_args([&file], &["--secrets-dir", &secrets.to_string_lossy(), "--follow"]);
    let durable = |m: &edgereel_tests::metrics::Metrics| m.count("sink_frames_durable", "files");
    worker.await_metrics("frames are durable", |m| durable(m) > 20);
    set_password(kafka, "turner", "another-s3cret");
    put("password", "another-s3cret");
    let before = durable(&worker.metrics());
    worker.await_metrics("frames go on with the new password", |m| durable(m) > before + 30);
    // The brokers hang up on everybody: only the new password opens them.
    kafka.restart(0);
    let before = durable(&worker.metrics());
    let end = worker.await_metrics("frames go on after the restart", |m| durable(m) > before + 30);
    assert_eq!(end.sum("camera_frames_dropped", &[("name", "cam")]), 0.0, "{}", worker.log());
    assert!(worker.stop().success());
}

/// OpenSSL's own command.
fn openssl(dir: &std::path::Path, args: &[&str]) {
    let mut call = command("openssl", args);
    call.current_dir(dir);
    process::output("openssl", call, Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"));
}

/// An authority, and a certificate of it for this machine that was valid until yesterday: `ca.crt`, `node.crt`, `node.key`.
fn expired() -> PathBuf {
    let dir = scratch::dir("expired");
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let with = |args: &[&str]| openssl(&dir, &[args, &new[..]].concat());
    with(&["req", "-x509", "-subj", "/CN=other-ca", "-days", "30", "-keyout", "ca.key", "-out", "ca.crt"]);
    with(&["req", "-subj", "/CN=edge", "-keyout", "node.key", "-out", "node.csr"]);
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    let sign = ["x509", "-req", "-in", "node.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&dir, &[&sign[..], &["-days", "-1", "-extfile", "names", "-out", "node.crt"]].concat());
    dir
}

#[test]
fn wrong_and_expired_certificates_wrong_passwords_and_missing_secrets_say_which_field_to_look_at() {
    let (kafka, other) = (cluster(), expired());
    let read = |file: &str| fs::read_to_string(other.join(file)).expect("readable");
    // A server that has nothing to say but its certificate.
    let port = free_port().to_string();
    let mut server =
        command("openssl", ["s_server", "-accept", &port, "-cert", "node.crt", "-key", "node.key", "-quiet"]);
    server.current_dir(&other);
    let _server = Guarded::spawn("s_server", server).expect("started");
    let all = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"},
        "stringData": {"ca.crt": read("ca.crt"), "password": "not-the-password"}});
    let of_other = |key: &str| json!({"name": "other", "key": key});
    let mut wrong_ca = connection(kafka, "wrong-ca", "SCRAM-SHA-512", "edge");
    wrong_ca["spec"]["tls"]["caSecretRef"] = of_other("ca.crt");
    let mut old = wrong_ca.clone();
    old["metadata"]["name"] = "old-certificate".into();
    old["spec"]["bootstrapServers"] = json!([format!("127.0.0.1:{port}")]);
    let mut wrong_password = connection(kafka, "wrong-password", "SCRAM-SHA-512", "edge");
    wrong_password["spec"]["sasl"]["passwordSecretRef"] = of_other("password");
    let mut no_key = connection(kafka, "no-key", "PLAIN", "edge");
    no_key["spec"]["sasl"]["passwordSecretRef"] = of_other("pasword");
    let mut no_secret = connection(kafka, "no-secret", "PLAIN", "edge");
    no_secret["spec"]["sasl"]["passwordSecretRef"] = json!({"name": "nowhere", "key": "password"});
    let mut documents = vec![secret(kafka, PASSWORD), all, wrong_ca, old, wrong_password, no_key, no_secret];
    let verify = "certificate verify failed; the broker's certificate is not signed by the authority in spec.tls.caSecretRef, \
                  has expired,";
    let expected = [
        ("wrong-ca", "KafkaUnreachable", verify),
        ("old-certificate", "KafkaUnreachable", verify),
        ("wrong-password", "KafkaUnauthorized", "the login is refused"),
        ("no-key", "SecretMissing", "spec.sasl.passwordSecretRef: "),
        ("no-secret", "SecretMissing", "spec.sasl.passwordSecretRef: "),
    ];
    documents
        .extend(expected.map(|(name, ..)| camera(name, name, json!({"name": unique("none"), "ensure": "exists"}))));
    let file = resources::write(&documents);
    let checked = edgereel::call(["check", "--json", "-f", &file.to_string_lossy()]);
    let findings: Vec<Value> = serde_json::from_str(&checked.stdout).expect("JSON");
    for (name, _, words) in expected {
        let resource = format!("KafkaConnection/{name}");
        let found = findings.iter().find(|finding| finding["resource"] == *resource).expect("a finding");
        assert_eq!(found["verdict"], "fail");
        assert!(found["message"].as_str().is_some_and(|message| message.contains(words)), "{name}: {found:#}");
    }
    let worker = Edgereel::run([&file]);
    for (name, reason, words) in expected {
        let said = worker.await_status_of(name, words, |entry| ready(entry).contains(words));
        assert!(ready(&said).starts_with(reason), "{said:#}");
    }
    assert!(!worker.log().contains("not-the-password") && !checked.stdout.contains("not-the-password"));
    assert!(worker.stop().success());
}
