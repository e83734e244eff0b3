//! `CameraWorker`, and the cameras that name one.

use super::{BASE, problems};

/// The base with a worker, and the camera in its pod.
fn with_worker(worker: &str, camera: &str) -> Vec<String> {
    let head = format!(
        "apiVersion: edgereel.dev/v1alpha1\nkind: CameraWorker\nmetadata: {{name: hall}}\nspec: {{{worker}}}\n---\n"
    );
    problems(&(head + &BASE.replacen("  topic: {name: Gate}", &format!("  topic: {{name: Gate}}\n{camera}"), 1)))
}

#[test]
fn a_camera_runs_in_the_pod_of_a_worker_that_is_there_and_has_none_of_its_own() {
    let named = "  workerRef: {name: hall}\n";
    assert_eq!(with_worker("", named), [""; 0], "sinks do not care");
    assert_eq!(
        with_worker("", "  workerRef: {name: hal}\n"),
        [
            "19:21: CameraStream/gate: spec.workerRef.name: there is no CameraWorker `hal` in the namespace `default`; did you \
             mean `hall`?"
        ]
    );
    let own = format!("{named}  placement: {{nodes: [a]}}\n  template: {{image: b}}\n");
    let counts = "the camera runs in the pod of CameraWorker `hall`, whose own counts; take it out, and write it there";
    assert_eq!(
        with_worker("", &own),
        [
            format!("20:3: CameraStream/gate: spec.placement: {counts}"),
            format!("21:3: CameraStream/gate: spec.template: {counts}")
        ]
    );
}

#[test]
fn a_workers_template_is_judged_like_any() {
    assert_eq!(
        with_worker("template: {volumeMounts: [{name: x, mountPath: /mnt}]}", ""),
        ["4:41: CameraWorker/hall: spec.template.volumeMounts[0].name: there is no volume `x`; add it to \
             `template.volumes`"]
    );
}
