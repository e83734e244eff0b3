//! Definitions of another version than the operator, come and gone while frames flow: nothing that runs notices, and what is
//! not known is named.

use std::{
    fs,
    path::{Path, PathBuf},
};

use edgereel_tests::{metrics::Metrics, project_root, resources};
use serde_json::{Value, json};

use super::quiet::{await_convergence, writes_until_renewed};
use crate::{
    definition::Changed,
    kube::{Kind, until},
    lab::{Lab, condition, name_of, uid},
    world::{OPERATOR, World},
};

const PLURALS: [&str; 3] = ["camerastreams", "framesinks", "kafkaconnections"];

/// A field of a version to come: somebody can set it, and the API server puts it in where nobody does.
fn with_a_new_field(schema: &mut Value) {
    schema["properties"]["spec"]["properties"]["novelty"] = json!({
        "type": "object", "description": "How new it is. Since 9.9.9.", "default": {},
        "properties": {"level": {"type": "integer", "default": 3}},
    });
}

/// A pod and how often its containers were started anew.
fn lives(pods: &[Value]) -> Vec<(String, String)> {
    pods.iter().map(|pod| (uid(pod), pod["status"]["containerStatuses"][0]["restartCount"].to_string())).collect()
}

fn restart_operator(world: &World) {
    for pod in world.operators() {
        world.kube.run(&["delete", "pod", "-n", OPERATOR, &name_of(&pod)]);
    }
    world.await_operators(1);
}

pub fn a_newer_definition_and_the_way_back_disturb_no_stream(world: &World) {
    let lab = Lab::open(world, "newer");
    lab.apply(&[lab.synthetic("set", json!({})), lab.synthetic("untouched", json!({}))]);
    lab.apply(&[lab.sink("frames", "set", json!({})), lab.sink("others", "untouched", json!({}))]);
    let all = [(Kind::Camera, "set"), (Kind::Camera, "untouched"), (Kind::Sink, "frames"), (Kind::Sink, "others")];
    let pods = || all.map(|(kind, name)| lives(&lab.await_pods(kind, name, 1)));
    all.iter().for_each(|(kind, name)| drop(lab.await_ready(*kind, name)));
    let before = pods();
    let undisturbed = |when: &str| {
        lab.await_frames("frames", 20);
        lab.await_frames("others", 20);
        assert_eq!(pods(), before, "{when}: a pod was made or started anew");
        for (kind, name) in all {
            let found = lab.look(kind, name).unwrap_or_else(|e| panic!("{e:#}"));
            let ready = condition(&found, "Ready").cloned().unwrap_or_default();
            assert_eq!(ready["status"], "True", "{when}: {name}: {ready}");
        }
    };

    lab.say("the definitions first: they are newer than the operator");
    let newer = PLURALS.map(|plural| Changed::with(world, plural, with_a_new_field));
    for (kind, name) in all {
        lab.until(kind, name, "the API server puts the default in", |o| o["spec"]["novelty"]["level"] == 3);
    }
    lab.edit(Kind::Camera, "set", &json!({"novelty": {"level": 9}}));
    let message = lab.await_reason(Kind::Camera, "set", "UnknownFields", "UnknownFields");
    assert!(message.contains("spec.novelty") && message.contains("9.9.9"), "{message}");
    undisturbed("with newer definitions");

    lab.say("the operator of before comes back over the newer definitions");
    restart_operator(world);
    undisturbed("after the operator's restart");
    lab.await_reason(Kind::Camera, "set", "UnknownFields", "UnknownFields");
    for (kind, name) in all.iter().filter(|(_, name)| *name != "set") {
        let found = lab.look(*kind, name).unwrap_or_else(|e| panic!("{e:#}"));
        assert!(condition(&found, "UnknownFields").is_none(), "{name}: nobody set anything: {found:#}");
    }

    lab.say("the definitions are taken back, and nobody touches a resource");
    drop(newer);
    lab.until(Kind::Camera, "set", "what was said of the field is gone", |o| {
        o["spec"]["novelty"].is_null() && condition(o, "UnknownFields").is_none()
    });
    undisturbed("with the definitions of before");
    lab.edit(Kind::Camera, "set", &json!({"frameRate": {"target": 5}}));
    lab.await_ready(Kind::Camera, "set");
    lab.verify(&["set", "untouched"], &["frames", "others"]);
}

/// A metric of the one operator.
fn metric(world: &World, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
    let pods = world.operators();
    let [pod] = &pods[..] else { anyhow::bail!("{} operators", pods.len()) };
    let path = format!("api/v1/namespaces/{OPERATOR}/pods/{}:8080/proxy/metrics", name_of(pod));
    Ok(Metrics::parse(&world.kube.raw(&path)?.unwrap_or_default()).sum(name, labels))
}

pub fn an_older_definition_is_said_and_a_status_that_it_cuts_is_written_once(world: &World) {
    let Some(run) = world.own("writes under an older definition") else { return };
    let lab = Lab::open(world, "older");
    lab.apply(&[lab.synthetic("cam", json!({"suspend": true})), lab.sink("frames", "cam", json!({"suspend": true}))]);
    lab.await_reason(Kind::Sink, "frames", "Ready", "Suspended");
    let older = Changed::with(world, "framesinks", |schema| {
        for (part, field) in [("spec", "durability"), ("status", "selector")] {
            schema["properties"][part]["properties"].as_object_mut().and_then(|all| all.remove(field)).expect("there");
        }
    });
    restart_operator(world);
    let missing = || metric(world, "operator_definition_fields_missing", &[("kind", "FrameSink")]);
    until("the operator counts what is missing", || match missing()? {
        2.0 => Ok(()),
        other => anyhow::bail!("{other}"),
    });
    let log = world.operator_log();
    let said = log.lines().find(|line| line.contains("older than this operator") && line.contains("FrameSink"));
    let said = said.unwrap_or_else(|| panic!("nothing is said:\n{log}"));
    assert!(said.contains("spec.durability") && said.contains("status.selector"), "{said}");

    await_convergence(&lab, run, |_| false);
    let from = world.audit_end(run);
    let before = until("the operator tells its reconciles", || metric(world, "operator_reconciles_total", &[]));
    for n in 1..=5 {
        lab.run(&["annotate", "fsink", "frames", "--overwrite", &format!("example.com/touched={n}")]);
        until("the operator has looked", || match metric(world, "operator_reconciles_total", &[])? - before {
            done if done >= f64::from(n) => Ok(()),
            done => anyhow::bail!("{done}"),
        });
    }
    let found = writes_until_renewed(&lab, run, from, 3);
    assert!(found.is_empty(), "it writes what the API server does not keep, again and again: {found:#?}");

    drop(older);
    restart_operator(world);
    lab.until(Kind::Sink, "frames", "its status is whole again", |o| o["status"]["selector"].is_string());
    until("nothing is missing", || match missing()? {
        0.0 => Ok(()),
        other => anyhow::bail!("{other}"),
    });
}

fn released() -> PathBuf {
    project_root().join("crds/tests/released")
}

/// Our documents of the release's examples, those of a folder together, as they are: but none of them runs.
fn examples(folder: &Path, found: &mut Vec<Vec<Value>>) {
    let mut here = vec![];
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => examples(&path, found),
            false => here.extend(resources::read(&path).unwrap_or_else(|e| panic!("{e:#}"))),
        }
    }
    here.retain(|document| document["apiVersion"] == "edgereel.dev/v1alpha1");
    for document in here.iter_mut().filter(|document| document["kind"] != "KafkaConnection") {
        document["spec"]["suspend"] = json!(true);
    }
    if !here.is_empty() {
        found.push(here);
    }
}

/// Whether all that was declared is there, with whatever else.
fn holds(there: &Value, declared: &Value) -> bool {
    match (there, declared) {
        (Value::Object(there), Value::Object(declared)) => {
            declared.iter().all(|(name, value)| there.get(name).is_some_and(|there| holds(there, value)))
        }
        (Value::Array(there), Value::Array(declared)) => {
            there.len() == declared.len() && there.iter().zip(declared).all(|(there, value)| holds(there, value))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (there, declared) => there == declared,
    }
}

pub fn what_the_last_releases_definitions_stored_is_read_today(world: &World) {
    let mut all = vec![];
    examples(&released().join("examples"), &mut all);
    assert!(all.len() >= 5, "the release's examples are there");
    let labs: Vec<(Lab<'_>, Vec<Value>)> = all.into_iter().map(|all| (Lab::open(world, "released"), all)).collect();
    let definitions = PLURALS.map(|plural| {
        let file = released().join("crds").join(format!("{plural}.yaml"));
        let read = resources::read(&file).unwrap_or_else(|e| panic!("{e:#}")).remove(0);
        Changed::with(world, plural, |schema| {
            *schema = read["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
        })
    });
    for (lab, documents) in &labs {
        until("the release's definitions take its examples", || lab.try_apply(documents));
    }
    drop(definitions);
    for (lab, documents) in &labs {
        for document in documents {
            let name = name_of(document);
            let kind = match document["kind"].as_str() {
                Some("CameraStream") => Kind::Camera,
                Some("FrameSink") => Kind::Sink,
                _ => Kind::Connection,
            };
            let found = lab.until(kind, &name, "it was looked at", |o| {
                o["status"]["observedGeneration"] == o["metadata"]["generation"]
            });
            assert!(holds(&found["spec"], &document["spec"]), "{name}: {found:#}");
            let ready = condition(&found, "Ready").cloned().unwrap_or_default();
            assert_ne!(ready["reason"], "ResourceMalformed", "{name}: {ready}");
            assert!(condition(&found, "UnknownFields").is_none(), "{name}: {found:#}");
        }
        until("the present definitions take the release's examples", || lab.try_apply(documents));
    }
}

pub fn the_definitions_refuse_a_name_that_no_worker_takes(world: &World) {
    let lab = Lab::open(world, "names");
    let (longest, longer) = ("a".repeat(63), "a".repeat(64));
    let refused = lab.try_apply(&[lab.synthetic(&longer, json!({}))]).expect_err("refused");
    assert!(format!("{refused:#}").contains("a name has 63 characters at most"), "{refused:#}");
    let longest = resources::camera(
        &longest,
        json!({"synthetic": {"size": "320x240"}}),
        &lab.topic("long"),
        json!({"frameRate": {"target": 2}}),
    );
    lab.apply(std::slice::from_ref(&longest));
    lab.await_ready(Kind::Camera, &name_of(&longest));
}
