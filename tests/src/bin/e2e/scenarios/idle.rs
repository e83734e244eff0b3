//! An operator that nothing happens to, one whose namespace is gone, and a Secret that changes again and again.

use std::{thread::sleep, time::Duration};

use edgereel_tests::metrics::Metrics;
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, name_of, uid},
    world::{OPERATOR, World},
};

/// The operator's pod.
#[track_caller]
fn operator(world: &World) -> Value {
    until("one operator runs", || match &world.operators()[..] {
        [pod] => Ok(pod.clone()),
        pods => anyhow::bail!("{} run", pods.len()),
    })
}

fn restarts(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default()
}

/// What the operator answers.
fn ask(world: &World, pod: &Value, path: &str) -> anyhow::Result<String> {
    let path = format!("api/v1/namespaces/{OPERATOR}/pods/{}:8080/proxy/{path}", name_of(pod));
    Ok(world.kube.raw(&path)?.unwrap_or_default())
}

/// What the names of namespaces begin with that are taken away while an operator watches them.
pub const GONE: &str = "gone";

pub fn an_operator_that_nothing_happens_to_lives_on(world: &World) {
    let lab = Lab::open(world, "idle");
    // Its events are listed once: a sink that waits for a directory.
    let later = lab.disk.join("later");
    lab.apply(&[lab.synthetic("cam", json!({"suspend": true}))]);
    lab.apply(&[lab.sink("frames", "cam", json!({"storage": {"hostPath": {"path": later}}}))]);
    lab.await_reason(Kind::Sink, "frames", "Stalled", "PodFailed");
    lab.run(&["delete", "fsink", "frames"]);
    // A watch lasts ten seconds in the place of five minutes, and one that is silent for a minute in the place of a quarter of
    // an hour is taken for dead: a minute and a half are more than twenty minutes.
    world.install(&["extraArgs={--poll-interval=5s,--watch-interval=10s}"]);
    world.await_operators(1);
    let before = operator(world);
    lab.say("a minute and a half in which nothing happens");
    for _ in 0..18 {
        sleep(Duration::from_secs(5));
        let health = ask(world, &before, "healthz").unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(health, "ok\n");
    }
    let after = operator(world);
    assert_eq!((uid(&after), restarts(&after)), (uid(&before), 0), "it was killed");
    world.install(&[]);
    world.await_operators(1);
}

pub fn a_namespace_that_is_gone_stalls_no_other(world: &World) {
    let (here, gone) = (Lab::open(world, "here"), Lab::open(world, GONE));
    let both = format!("watchNamespaces={{{},{}}}", gone.namespace, here.namespace);
    world.install_narrower(&[&both]);
    world.await_operators(1);
    here.apply(&[here.synthetic("before", json!({"suspend": true}))]);
    here.await_reason(Kind::Camera, "before", "Ready", "Suspended");
    world.kube.run(&["delete", "namespace", &gone.namespace, "--timeout=100s"]);

    here.say("the operator starts where one of its namespaces is gone");
    let old = operator(world);
    world.kube.run(&["delete", "pod", "-n", OPERATOR, &name_of(&old)]);
    world.await_operators(1);
    here.apply(&[here.synthetic("after", json!({"suspend": true}))]);
    here.await_reason(Kind::Camera, "after", "Ready", "Suspended");
    let pod = operator(world);
    let failing = until("the metric names the namespace", || {
        let metrics = Metrics::parse(&ask(world, &pod, "metrics")?);
        let failing = |watched: &str| metrics.sum("operator_watches_failing", &[("watched", watched)]);
        match (failing(&gone.namespace), failing(&here.namespace)) {
            (failing, 0.0) if failing > 5.0 => Ok(failing),
            other => anyhow::bail!("{other:?}"),
        }
    });
    sleep(Duration::from_secs(15));
    let log = world.kube.run(&["logs", "-n", OPERATOR, &name_of(&pod), "--since=15s"]);
    assert!(log.lines().count() < 15, "{failing} watches are tried, and each try is told:\n{log}");
    let all = world.kube.run(&["logs", "-n", OPERATOR, &name_of(&pod)]);
    assert!(all.contains("is the namespace there") && all.contains(&gone.namespace), "{all}");
    assert!(!all.contains("Status {") && !all.contains("Some("), "as Rust writes it:\n{all}");
    world.install(&[]);
    world.await_operators(1);
}

pub fn a_secret_that_changes_again_and_again_starts_the_pods_anew_once(world: &World) {
    let lab = Lab::open(world, "secret");
    let secret = |n: usize| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cam-login"}, "type": "kubernetes.io/basic-auth",
            "stringData": {"username": "ann", "password": format!("secret{n}")}})
    };
    let url = lab.camera_server("server", &["--user", "ann", "--password", "secret11"]);
    lab.apply(&[secret(0)]);
    lab.apply(&[lab.mjpeg("cam", &url, json!({"credentialsSecretRef": {"name": "cam-login"}}))]);
    lab.await_reason(Kind::Camera, "cam", "Ready", "CameraUnauthorized");
    let generation = || {
        let workload = lab.workload(Kind::Camera, "cam").unwrap_or_else(|e| panic!("{e:#}"));
        workload["metadata"]["generation"].as_i64().unwrap_or_default()
    };
    let before = generation();
    for n in 1..=11 {
        lab.apply(&[secret(n)]);
    }
    lab.await_ready(Kind::Camera, "cam");
    assert_eq!(generation() - before, 1, "rollouts");
}
