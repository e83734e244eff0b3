//! A resource that this operator cannot read, as an older or newer API may leave it, harms no other.

use serde_json::json;

use crate::{
    definition::Changed,
    kube::{Kind, until},
    lab::Lab,
    world::World,
};

pub fn a_resource_written_past_validation_harms_no_other(world: &World) {
    let lab = Lab::open(world, "malformed");
    lab.apply(&[lab.synthetic("before", json!({})), lab.sink("frames", "before", json!({}))]);
    lab.await_ready(Kind::Camera, "before");
    lab.await_ready(Kind::Sink, "frames");

    // A source that a later version may have, a wrong type, and one where the API server's own rules cannot be evaluated:
    // it refuses every write to that resource, also of its status.
    let mut unknown = lab.synthetic("unknown", json!({}));
    unknown["spec"]["source"] = json!({"carrierPigeon": {"loft": "north"}});
    let mistyped = lab.synthetic("mistyped", json!({"watchdog": {"stall": 5}}));
    let unruly = lab.synthetic("unruly", json!({"frameRate": "fast"}));
    let lawless = Changed::with(world, "camerastreams", |schema| {
        *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    });
    // The API server takes a moment to forget its rules.
    until("the malformed resources are taken", || world.kube.try_apply(&lab.here(&[&unknown, &mistyped, &unruly])));
    drop(lawless);

    let message = lab.await_reason(Kind::Camera, "unknown", "Stalled", "ResourceMalformed");
    assert!(message.contains("source"), "{message}");
    let message = lab.await_reason(Kind::Camera, "mistyped", "Stalled", "ResourceMalformed");
    assert!(message.contains("stall"), "{message}");

    // The operator goes on with what was there and with what comes, also when it starts anew with the bad ones there.
    for pod in world.operators() {
        world.kube.run(&["delete", "pod", "-n", crate::world::OPERATOR, &crate::lab::name_of(&pod)]);
    }
    world.await_operators(1);
    lab.edit(Kind::Camera, "before", &json!({"frameRate": {"target": 5}}));
    lab.apply(&[lab.synthetic("after", json!({}))]);
    lab.await_ready(Kind::Camera, "before");
    lab.await_ready(Kind::Camera, "after");
    lab.run(&["delete", "cam", "unknown", "mistyped", "unruly", "--timeout=30s"]);
    lab.await_frames("frames", 10);
    lab.verify(&["before"], &["frames"]);
}
