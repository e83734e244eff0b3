//! What a resource puts into its pods beside what the operator builds.

use serde_json::{Value, json};

use crate::{
    kube::Kind,
    lab::{Lab, uid},
    world::World,
};

/// A container that was added: of the one image that is there in any case.
fn container(world: &World, name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": world.worker_image(), "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    })
}

fn overrides(world: &World, address: &str, beside: &str) -> Value {
    json!({"template": {"podOverrides": {"metadata": {"annotations": {"note": "as in any template"}}, "spec": {
        "hostAliases": [{"ip": address, "hostnames": ["cam.alias"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "initContainers": [container(world, "first", "echo $((6 * 7)) > /shared/answer")],
        "containers": [
            container(world, "a-sidecar", beside),
            {
                "name": "worker",
                "env": [{"name": "EDGEREEL_LOG", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['level']"}}}],
                "volumeMounts": [{"name": "shared", "mountPath": "/mnt/shared", "readOnly": true}],
            },
        ],
        "volumes": [{"name": "shared", "emptyDir": {"sizeLimit": "1Mi"}}],
    }}, "annotations": {"level": "debug"}}})
}

pub fn a_camera_captures_by_a_host_alias_behind_an_init_container_and_beside_a_sidecar(world: &World) {
    let lab = Lab::open(world, "overrides");
    lab.camera_server("server", &[]);
    let address = lab.run(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"]);
    let wants = "grep -q 42 /shared/answer && exec sleep 3600";
    let more = overrides(world, address.trim(), wants);
    lab.apply(&[lab.mjpeg("cam", "http://cam.alias:8080/cam0", more), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Camera, "cam");
    lab.await_ready(Kind::Sink, "frames");
    lab.await_frames("frames", 20);
    let pod = lab.await_pods(Kind::Camera, "cam", 1).remove(0);
    assert_eq!(pod["metadata"]["annotations"]["note"], "as in any template");
    let status = lab.until(Kind::Camera, "cam", "its figures", |cam| cam["status"]["fps"].as_f64() > Some(0.0));
    let figures = crate::lab::condition(&status, "FiguresAvailable");
    assert_eq!(figures.map(|c| c["status"].clone()), Some(json!("True")), "{}", status["status"]);

    lab.say("the same once more: nothing starts anew");
    lab.edit(Kind::Camera, "cam", &overrides(world, address.trim(), wants));
    lab.run(&["annotate", "cam/cam", "looked=again"]);
    lab.await_frames("frames", 20);
    assert_eq!(uid(&lab.await_pods(Kind::Camera, "cam", 1)[0]), uid(&pod));

    lab.say("a sidecar that does not stay is named, and the worker beside it goes on");
    lab.edit(Kind::Camera, "cam", &overrides(world, address.trim(), "exit 3"));
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "PodCrashing");
    assert!(message.starts_with("the container `a-sidecar` ends again and again, last with status 3"), "{message}");
    lab.await_frames("frames", 20);

    lab.say("what the worker lives by cannot be overridden");
    lab.edit(Kind::Camera, "cam", &json!({"template": {"podOverrides": {"spec": {"nodeName": "elsewhere"}}}}));
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "InvalidConfiguration");
    assert!(message.contains("spec.template.podOverrides.spec.nodeName: it cannot be overridden"), "{message}");

    lab.say("and back");
    let good = json!({"template": {"podOverrides": {"spec": {"nodeName": null}}}});
    lab.edit(Kind::Camera, "cam", &good);
    lab.edit(Kind::Camera, "cam", &overrides(world, address.trim(), wants));
    lab.await_ready(Kind::Camera, "cam");
    lab.await_frames("frames", 20);
    lab.verify(&["cam"], &["frames"]);
}
