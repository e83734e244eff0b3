//! The rules of `placement` and `template`.

use crate::table;

const CAMERA: &str = "topic: {name: Gate}\n";
const SINK: &str = "  placement: {nodes: [edge-1]}\n";

#[test]
fn a_sink_says_where_its_data_lie() {
    table(&[
        (SINK, "", ""),
        (SINK, "  placement: {nodeSelector: {disk: big}}\n", ""),
        (
            "storage: {hostPath: {path: /data}}\n  placement: {nodes: [edge-1]}\n",
            "storage: {volumeClaimTemplate: {size: 100Gi}}\n",
            "",
        ),
        (
            "storage: {hostPath: {path: /data}}\n  placement: {nodes: [edge-1]}\n",
            "storage: {volumeClaimTemplate: {size: 1k}}\n",
            "23:41: FrameSink/files: spec.storage.volumeClaimTemplate.size: `1k` is too small; write at least `1Mi`",
        ),
    ]);
}

#[test]
fn a_template_keeps_clear_of_what_every_pod_has() {
    let with = |more: &str| format!("{CAMERA}  template: {{{more}}}\n");
    let device = "{name: dev, source: {hostPath: {path: /dev/video0}}}";
    table(&[
        (CAMERA, &with(&format!("volumes: [{device}], volumeMounts: [{{name: dev, mountPath: /dev/video0}}]")), ""),
        (
            CAMERA,
            &with("volumes: [{name: data, source: {emptyDir: {}}}]"),
            "14:31: CameraStream/gate: spec.template.volumes[0].name: `data` is a volume of Edgereel's own; choose another \
             name",
        ),
        (
            CAMERA,
            &with("volumeMounts: [{name: x, mountPath: /mnt}]"),
            "14:36: CameraStream/gate: spec.template.volumeMounts[0].name: there is no volume `x`; add it to \
             `template.volumes`",
        ),
        (
            CAMERA,
            &with(&format!("volumes: [{device}], volumeMounts: [{{name: dev, mountPath: /secrets/x}}]")),
            "14:117: CameraStream/gate: spec.template.volumeMounts[0].mountPath: `/secrets/x` is a path of Edgereel's own; \
             mount it elsewhere, for example below `/mnt`",
        ),
        (
            CAMERA,
            &with("volumes: [{name: a, source: {hostPath: {path: /a/../etc}}}]"),
            "14:60: CameraStream/gate: spec.template.volumes[0].source.hostPath.path: `/a/../etc` leads out of its directory \
             with `..`; write the path without `..`",
        ),
        (
            CAMERA,
            &with("env: [{name: A, value: x}, {name: A, value: z}]"),
            "14:48: CameraStream/gate: spec.template.env[1].name: `A` is there twice; keep one of them",
        ),
        (
            CAMERA,
            &with("resources: {limit: {}}"),
            "14:26: CameraStream/gate: spec.template.resources.limit: there is no such field; did you mean `limits`?",
        ),
        (CAMERA, &with("resources: {limits: {memory: 1Gi, cpu: 2}}, podSecurityContext: {runAsUser: 1000}"), ""),
        (
            CAMERA,
            &with("podSecurityContext: {runAsUser: 0}"),
            "14:46: CameraStream/gate: spec.template.podSecurityContext.runAsUser: 0 is out of range; write a whole number \
             from 1 to 4294967294",
        ),
    ]);
}
