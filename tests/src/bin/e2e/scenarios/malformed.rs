//! A resource that this operator cannot read, as an older or newer API may leave it, harms no other.

use serde_json::{Value, json};

use crate::{
    kube::{Kind, until},
    lab::Lab,
    world::World,
};

const CRD: &str = "camerastreams.edgereel.dev";
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// The CRD's rules, taken away and put back.
struct Lawless<'w> {
    world: &'w World,
    schema: Value,
}

impl<'w> Lawless<'w> {
    fn new(world: &'w World) -> Self {
        let text = world.kube.run(&["get", "crd", CRD, "-o", "json"]);
        let crd: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let schema = crd.pointer(SCHEMA).cloned().expect("the CRD has a schema");
        let lawless = Lawless { world, schema };
        lawless.set(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        lawless
    }

    fn set(&self, schema: &Value) {
        let patch = json!([{"op": "replace", "path": SCHEMA, "value": schema}]).to_string();
        self.world.kube.run(&["patch", "crd", CRD, "--type=json", "-p", &patch]);
    }
}

impl Drop for Lawless<'_> {
    fn drop(&mut self) {
        self.set(&self.schema);
    }
}

pub fn a_resource_written_past_validation_harms_no_other(world: &World) {
    let lab = Lab::open(world, "malformed");
    lab.apply(&[lab.synthetic("before", json!({})), lab.sink("frames", "before", json!({}))]);
    lab.await_ready(Kind::Camera, "before");
    lab.await_ready(Kind::Sink, "frames");

    let mut bad = lab.synthetic("bad", json!({}));
    bad["spec"] = json!({"source": {"mjpeg": {"url": 5}}, "frameRate": "fast", "telepathy": true});
    let lawless = Lawless::new(world);
    // The API server takes a moment to forget its rules.
    until("the malformed resource is taken", || lab.try_apply(std::slice::from_ref(&bad)));
    drop(lawless);

    let message = lab.await_reason(Kind::Camera, "bad", "Stalled", "ResourceMalformed");
    lab.say(&format!("of the malformed resource is said: {message}"));
    assert!(message.contains("url") || message.contains("frameRate") || message.contains("telepathy"), "{message}");

    // The operator goes on with what was there and with what comes, also when it starts anew with the bad one there.
    for pod in world.operators() {
        world.kube.run(&["delete", "pod", "-n", crate::world::OPERATOR, &crate::lab::name_of(&pod)]);
    }
    world.await_operators(1);
    lab.edit(Kind::Camera, "before", &json!({"frameRate": {"target": 5}}));
    lab.apply(&[lab.synthetic("after", json!({}))]);
    lab.await_ready(Kind::Camera, "before");
    lab.await_ready(Kind::Camera, "after");
    lab.run(&["delete", "cam", "bad", "--timeout=30s"]);
    lab.await_frames("frames", 10);
    lab.verify(&["before"], &["frames"]);
}
