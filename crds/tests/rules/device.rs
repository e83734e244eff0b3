//! The rules of a `CameraStream` that is a device of the machine.

use super::{BASE, after, problems};

/// The problems of this source with these fields beside it, without their places.
fn found(device: &str, beside: &str) -> Vec<String> {
    let camera = format!("    device: {{{device}}}\n{beside}");
    let all = after("    mjpeg: {url: \"http://gate/video\"}\n", &camera);
    let message = |problem: &String| problem.split_once("CameraStream/gate: ").map(|(_, rest)| rest.to_owned());
    all.iter().map(|problem| message(problem).unwrap_or_else(|| problem.clone())).collect()
}

#[test]
fn a_device_keeps_to_its_rules() {
    let fine = [
        "path: /dev/video0",
        "path: /dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_1234-video-index0, format: mjpeg, size: 1920x1080",
        "path: /dev/gate, format: yuyv, controls: {brightness: 128, gain: -3}, resource: smarter-devices/video0",
    ];
    fine.iter().for_each(|device| assert_eq!(found(device, ""), [""; 0], "{device}"));
    for (device, expected) in [
        ("format: mjpeg", "spec.source.device.path: it is missing; add a text"),
        (
            "path: \"0\"",
            "spec.source.device.path: `0` is not a device; write its path, as in `/dev/v4l/by-id/…` or `/dev/video0`; `edgereel \
             discover` lists them",
        ),
        (
            "path: /dev/../etc/passwd",
            "spec.source.device.path: `/dev/../etc/passwd` leads out of its directory with `..`; write the path without `..`",
        ),
        (
            "path: /dev/video0, size: HD",
            "spec.source.device.size: `HD` is not a picture size; write width × height in pixels, as in `1280x720`",
        ),
        (
            "path: /dev/video0, size: 99999x1",
            "spec.source.device.size: `99999x1` is not a picture size; write width × height, each up to 16384, as in `1280x720`",
        ),
        (
            "path: /dev/video0, controls: {Exposure Time: 1}",
            "spec.source.device.controls[\"Exposure Time\"]: `Exposure Time` is no control's name; write it as `v4l2-ctl \
             --list-ctrls` does: small letters, digits and `_`",
        ),
        (
            "path: /dev/video0, resource: video",
            "spec.source.device.resource: `video` is not an extended resource; write it as the device plugin offers it, as in \
             `squat.ai/video`",
        ),
        (
            "path: /dev/video0, resource: node.kubernetes.io/video",
            "spec.source.device.resource: `node.kubernetes.io/video` is one of Kubernetes' own, and no device; name the one that \
             the device plugin offers",
        ),
    ] {
        assert_eq!(found(device, ""), [expected], "{device}");
    }
}

#[test]
fn a_device_is_given_to_a_pod_of_its_own() {
    let all = found("path: /dev/video0", "  workerRef: {name: hall}\n");
    assert!(all.contains(&"spec.workerRef: a device is given to a pod of its own; take it out".into()), "{all:?}");
}

/// The problems of the base with a device, and a second camera with these fields.
fn beside(first: &str, second: &str) -> Vec<String> {
    let base = BASE.replacen("    mjpeg: {url: \"http://gate/video\"}\n", &format!("    device: {{{first}}}\n"), 1);
    problems(&format!(
        "{base}---\napiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata: {{name: yard}}\nspec: {{topic: {{name: Yard}}, \
         kafka: {{connectionRef: {{name: lab}}}}, {second}}}\n"
    ))
}

#[test]
fn a_device_has_one_reader_at_a_time() {
    let twice = beside("path: /dev/video0", "source: {device: {path: /dev/video0}}");
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(
        twice[0].ends_with(
            "CameraStream/yard: spec.source.device.path: CameraStream/gate reads `/dev/video0` too, and a device has one reader; \
             keep one of them: any number of sinks can read its topic"
        ),
        "{twice:?}"
    );
    let night = "activeHours: {windows: [{from: \"20:00\", until: \"06:00\"}]}";
    for other in [
        "source: {device: {path: /dev/video1}}",
        "source: {device: {path: /dev/video0}}, suspend: true",
        &format!("source: {{device: {{path: /dev/video0}}}}, {night}"),
        "source: {device: {path: /dev/video0, resource: squat.ai/yard}}",
    ] {
        assert_eq!(beside("path: /dev/video0", other), [""; 0], "{other}");
    }
}
