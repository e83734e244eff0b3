//! An operator that has nothing to do does nothing: the API server's audit log shows it.

use std::path::Path;

use edgereel_tests::metrics::Metrics;
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::{Lab, condition, name_of},
    world::{OPERATOR, World},
};

/// Renewals of the Lease that are waited for: they come every two seconds, so this is about half a minute.
const RENEWALS: usize = 15;
/// The leader's Lease; those by which installations know of each other, one in each namespace, tell no time.
const LEASE: &str = "edgereel-operator";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// The operator's requests that change something, as `verb resource/subresource namespace/name`; renewals of its Lease,
/// which are what says that it lives, apart. What it writes in the namespace of another scenario, which may be on its way
/// out yet, is not this one's.
fn writes(lab: &Lab<'_>, events: &[Value]) -> (Vec<String>, usize) {
    let (mut others, mut renewals) = (vec![], 0);
    for event in events.iter().filter(|e| WRITES.iter().any(|verb| e["verb"] == *verb)) {
        let target = &event["objectRef"];
        if target["resource"] == "leases" {
            renewals += usize::from(target["name"] == LEASE && target["namespace"] == OPERATOR);
            continue;
        }
        let namespace = target["namespace"].as_str().unwrap_or_default();
        if ![lab.namespace.as_str(), OPERATOR, ""].contains(&namespace) {
            continue;
        }
        let part = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
        let verb = event["verb"].as_str().unwrap_or_default();
        others.push(format!(
            "{verb} {}/{} {}/{}",
            part("resource"),
            part("subresource"),
            part("namespace"),
            part("name")
        ));
    }
    (others, renewals)
}

/// Waits until the Lease has been renewed so often since this place in the log, and gives the other writes since then.
#[track_caller]
pub fn writes_until_renewed(lab: &Lab<'_>, run: &Path, from: u64, times: usize) -> Vec<String> {
    until("the operator goes on renewing its Lease", || {
        let (others, renewals) = writes(lab, &lab.world.audited(run, from));
        if renewals >= times { Ok(others) } else { anyhow::bail!("{renewals} of {times} renewals") }
    })
}

/// Waits until the operator has made no write, other than renewals, over a few renewals.
#[track_caller]
pub fn await_convergence(lab: &Lab<'_>, run: &Path, but: fn(&str) -> bool) {
    until("the operator comes to rest", || {
        let found = writes_until_renewed(lab, run, lab.world.audit_end(run), 3);
        let found: Vec<&String> = found.iter().filter(|w| !but(w)).collect();
        if found.is_empty() { Ok(()) } else { anyhow::bail!("{found:?}") }
    });
}

/// A change of figures.
fn is_status(write: &str) -> bool {
    write.starts_with("patch camerastreams/status ") || write.starts_with("patch framesinks/status ")
}

/// Reconciles that the operator has finished, by its own metrics.
fn reconciles(world: &World) -> anyhow::Result<f64> {
    let pods = world.operators();
    let [pod] = &pods[..] else { anyhow::bail!("{} operators", pods.len()) };
    let path = format!("api/v1/namespaces/{OPERATOR}/pods/{}:8080/proxy/metrics", name_of(pod));
    let text = world.kube.raw(&path)?.unwrap_or_default();
    Ok(Metrics::parse(&text).sum("operator_reconciles_total", &[]))
}

/// A lab whose resources have no figures that change: everything is there, and nothing runs.
fn still(lab: &Lab<'_>) {
    let mut documents = vec![];
    for i in 0..3 {
        let camera = format!("cam{i}");
        documents.push(lab.synthetic(&camera, json!({"suspend": true})));
        documents.push(lab.sink(&format!("frames{i}"), &camera, json!({"suspend": true})));
    }
    lab.apply(&documents);
    for i in 0..3 {
        lab.await_reason(Kind::Camera, &format!("cam{i}"), "Ready", "Suspended");
        lab.await_reason(Kind::Sink, &format!("frames{i}"), "Ready", "Suspended");
    }
    await_users(lab, 6);
}

/// The number of users may be written as late as ten seconds after the last has come, behind what looks like rest.
fn await_users(lab: &Lab<'_>, users: i64) {
    lab.until(Kind::Connection, "lab", "its users are counted", |o| o["status"]["users"] == users);
}

pub fn a_settled_operator_writes_nothing_but_changed_figures(world: &World) {
    let Some(run) = world.own("the operator's quiet") else { return };
    let lab = Lab::open(world, "quiet");
    let begun = world.audit_end(run);
    still(&lab);
    lab.apply(&[lab.synthetic("live", json!({})), lab.sink("live", "live", json!({}))]);
    lab.await_ready(Kind::Camera, "live");
    lab.await_ready(Kind::Sink, "live");
    // Its last word comes with the second worker's first figures.
    lab.until(Kind::Connection, "lab", "both workers have told of it", |o| {
        condition(o, "Ready").is_some_and(|ready| ready["message"].as_str().unwrap_or_default().starts_with("2 of 2"))
    });
    await_users(&lab, 8);
    await_convergence(&lab, run, is_status);
    // Silence says something only where writes would be heard.
    let (heard, _) = writes(&lab, &world.audited(run, begun));
    for write in
        ["create deployments/", "create statefulsets/", "patch camerastreams/status ", "patch framesinks/status "]
    {
        assert!(heard.iter().any(|w| w.starts_with(write)), "the audit log has no {write}: {heard:#?}");
    }
    let from = world.audit_end(run);
    let found = writes_until_renewed(&lab, run, from, RENEWALS);
    let others: Vec<&String> = found.iter().filter(|w| !is_status(w)).collect();
    assert!(others.is_empty(), "it wrote without a cause: {others:#?}");
    let still: Vec<&String> = found.iter().filter(|w| !w.ends_with("/live")).collect();
    assert!(still.is_empty(), "nothing of these has changed: {still:#?}");
    lab.say(&format!("{} writes of figures over {RENEWALS} renewals of the Lease", found.len()));
}

pub fn a_repeated_reconcile_writes_nothing(world: &World) {
    let Some(run) = world.own("the operator's quiet") else { return };
    let lab = Lab::open(world, "again");
    still(&lab);
    await_convergence(&lab, run, |_| false);

    lab.say("every resource is touched");
    let before = until("the operator tells its reconciles", || reconciles(world));
    let from = world.audit_end(run);
    lab.run(&["annotate", "cam,fsink", "--all", "example.com/touched=once"]);
    until("the operator has looked at all six", || match reconciles(world)? - before {
        done if done >= 6.0 => Ok(()),
        done => anyhow::bail!("{done}"),
    });
    let found = writes_until_renewed(&lab, run, from, 3);
    assert!(found.is_empty(), "a reconcile without a change wrote: {found:#?}");

    lab.say("the operator is restarted");
    let from = world.audit_end(run);
    for pod in world.operators() {
        world.kube.run(&["delete", "pod", "-n", OPERATOR, &name_of(&pod)]);
    }
    world.await_operators(1);
    until("the new operator has looked at all six", || match reconciles(world)? {
        done if done >= 6.0 => Ok(()),
        done => anyhow::bail!("{done}"),
    });
    let found = writes_until_renewed(&lab, run, from, 10);
    assert!(found.is_empty(), "a restart of the operator wrote: {found:#?}");
}
