//! Cameras that are devices: how their pods come to them.

use serde_json::json;

use super::{Lab, settings};
use crate::{kinds::Kinds, settings::Settings};

fn resources(device: &str, template: &str) -> String {
    format!(
        "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {{name: kafka}}
spec: {{bootstrapServers: [\"kafka:9092\"]}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {{name: gate}}
spec:
  source: {{device: {{{device}}}}}
  topic: {{name: Gate}}
  kafka: {{connectionRef: {{name: kafka}}}}
  template: {{{template}}}
"
    )
}

fn lab(device: &str, template: &str) -> Lab {
    Lab::new(&resources(device, template))
}

#[tokio::test]
async fn a_pod_takes_the_device_that_a_plugin_offers_beside_what_its_template_says() {
    let named = "path: /dev/video0, resource: squat.ai/gate";
    for (template, limits) in [
        ("", json!({"memory": "387Mi", "squat.ai/gate": "1"})),
        ("resources: {limits: {memory: 1Gi}}", json!({"memory": "1Gi", "squat.ai/gate": "1"})),
        ("resources: {limits: {squat.ai/gate: 2}}", json!({"squat.ai/gate": "2"})),
    ] {
        let lab = lab(named, template);
        lab.camera("gate").await;
        let pod = lab.object("deployments/gate-camera")["spec"]["template"]["spec"].clone();
        assert_eq!(pod["containers"][0]["resources"]["limits"], limits, "{template}");
        assert_eq!(pod["containers"][0]["securityContext"]["privileged"], json!(null));
    }
}

#[tokio::test]
async fn a_device_that_no_pod_could_open_is_refused_with_what_to_do() {
    let refused = lab("path: /dev/video0", "");
    refused.camera("gate").await;
    let stalled = refused.condition("camerastreams/gate", "Stalled");
    let words = "True InvalidConfiguration: spec.source.device.resource: it is missing, and no pod may open a device of its node by \
                 itself; install a device plugin";
    assert!(stalled.starts_with(words), "{stalled}");
    assert_eq!(refused.names("deployments"), [""; 0]);
    // Whoever has another way says so of the pod.
    for template in [
        "resources: {limits: {example.com/camera: 1}}",
        "podOverrides: {metadata: {annotations: {devices.nri.io/container.worker: \"- path: /dev/video0\"}}}",
    ] {
        let lab = lab("path: /dev/video0", template);
        lab.camera("gate").await;
        assert_eq!(lab.names("deployments"), ["gate-camera"], "{template}");
    }
    let worker_defaults = serde_json::from_value(json!({"metadata": {"annotations": {"devices.nri.io/pod": "x"}}}));
    let settings = Settings { worker_defaults: worker_defaults.expect("overrides"), ..settings() };
    let lab = Lab::of_operator(settings, Kinds::default(), &[], &resources("path: /dev/video0", ""));
    lab.camera("gate").await;
    assert_eq!(lab.names("deployments"), ["gate-camera"]);
}
