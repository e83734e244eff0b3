//! NetworkPolicies that are enforced: those of the chart let pass what has to, and nothing else.

use std::{process::Command, time::Duration};

use edgereel_tests::{process, project_root};
use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::Lab,
    world::{DEPLOYMENT, World, process_of},
};

const LONG_ENOUGH: Duration = Duration::from_secs(120);

/// Policies of a node's pods are enforced while this lives.
struct Enforced<'a> {
    world: &'a World,
}

impl<'a> Enforced<'a> {
    fn on(world: &'a World, node: &str) -> Enforced<'a> {
        let enforced = Enforced { world };
        let begun = process::output("policies", enforced.script(node), LONG_ENOUGH);
        begun.unwrap_or_else(|e| panic!("policies cannot be enforced: {e:#}"));
        enforced
    }

    fn script(&self, argument: &str) -> Command {
        let mut script = Command::new(project_root().join("dev/cluster/policies.sh"));
        script.arg(argument).env("CLUSTER_RUN", self.world.settings.own.as_deref().unwrap_or("".as_ref()));
        script
    }
}

impl Drop for Enforced<'_> {
    fn drop(&mut self) {
        if let Err(error) = process::output("policies", self.script("--off"), LONG_ENOUGH) {
            eprintln!("e2e: policies are enforced still: {error:#}");
        }
    }
}

/// Whether the program in a pod could connect to an address.
fn reaches(from: &Value, program: &str, address: &str) -> anyhow::Result<bool> {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let pid = process_of(from, program).to_string();
    let connect = format!("exec 3<> /dev/tcp/{host}/{port}");
    let inside = process::command("nsenter", ["-t", &pid, "-n", "timeout", "5", "bash", "-c", &connect]);
    Ok(process::run("nsenter", inside, LONG_ENOUGH)?.status.success())
}

#[track_caller]
fn await_reach(from: &Value, program: &str, address: &str, wanted: bool) {
    let name = from["metadata"]["name"].as_str().unwrap_or_default();
    let what = if wanted { "reaches" } else { "does not reach" };
    until(&format!("{name} {what} {address}"), || match reaches(from, program, address)? {
        found if found == wanted => Ok(()),
        found => anyhow::bail!("it does: {found}"),
    });
}

fn at(pod: &Value, port: u16) -> String {
    format!("{}:{port}", pod["status"]["podIP"].as_str().unwrap_or_default())
}

pub fn enforced_policies_let_pass_what_has_to_and_nothing_else(world: &World) {
    if world.own("policies that are enforced").is_none() {
        return;
    }
    let (lab, monitoring) = (Lab::open(world, "policed"), Lab::open(world, "monitoring"));
    let node = lab.node();
    let here = json!({"placement": {"nodes": [node]}});
    let install = |policies: bool| {
        world.install(&[
            &format!("networkPolicy.enabled={policies}"),
            &format!("networkPolicy.workerNamespaces={{{}}}", lab.namespace),
            &format!(
                "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name={}",
                monitoring.namespace
            ),
            &format!("nodeSelector.kubernetes\\.io/hostname={node}"),
        ]);
        world.await_operators(1);
        world.operators().remove(0)
    };
    let enforced = Enforced::on(world, &node);
    let operator = install(true);
    // Kubelets ask both for their readiness; the operator asks the API server, and the worker for its figures.
    lab.apply(&[lab.synthetic("cam", here.clone()), lab.sink("frames", "cam", json!({}))]);
    monitoring.apply(&[monitoring.synthetic("scraper", here)]);
    for (lab, kind, name) in
        [(&lab, Kind::Camera, "cam"), (&lab, Kind::Sink, "frames"), (&monitoring, Kind::Camera, "scraper")]
    {
        lab.await_ready(kind, name);
        lab.await_reason(kind, name, "FiguresAvailable", "Running");
    }
    lab.await_frames("frames", 10);

    let camera = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
    let scraper = monitoring.await_pods(Kind::Camera, "scraper", 1).remove(0);
    let worker = "edgereel";
    lab.say("scrapes get through");
    await_reach(&scraper, worker, &at(&camera, 9464), true);
    await_reach(&scraper, worker, &at(&operator, 8080), true);
    lab.say("others do not");
    await_reach(&camera, worker, &at(&operator, 8080), false);
    let kafka = world.kafka.bootstrap();
    await_reach(&camera, worker, kafka, true);
    await_reach(&operator, DEPLOYMENT, kafka, false);

    lab.say("and it is the policies that keep them out");
    let operator = install(false);
    await_reach(&camera, worker, &at(&operator, 8080), true);
    await_reach(&operator, DEPLOYMENT, kafka, true);
    drop(enforced);
    world.install(&[]);
    world.await_operators(1);
    lab.await_ready(Kind::Camera, "cam");
}
