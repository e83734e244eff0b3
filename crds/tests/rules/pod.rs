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

#[test]
fn overrides_add_what_a_pod_can_have_and_touch_nothing_that_the_worker_lives_by() {
    let with = |more: &str| format!("{CAMERA}  template: {{podOverrides: {{{more}}}}}\n");
    let worker = |more: &str| with(&format!("spec: {{containers: [{{name: worker, {more}}}]}}"));
    let at = "CameraStream/gate: spec.template.podOverrides";
    let elsewhere = "it cannot be overridden; say it in `spec.placement` of a resource";
    let own = "it is Edgereel's own: pods are known by it; take it out";
    let no_right = "a resource gets no such right on its node; take it out, or have `workerDefaults` of the operator's chart \
                    give such a container to the pods";
    let everything = "metadata: {labels: {a: b}}, spec: {initContainers: [{name: first, image: i, command: [\"true\"]}], \
                      containers: [{name: a, image: i}, {name: worker, env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: \
                      spec.nodeName}}}], resources: {limits: {cpu: 1}}}], hostAliases: [{ip: 10.0.0.1, hostnames: [cam]}], \
                      hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet, dnsConfig: {nameservers: [10.0.0.2]}, \
                      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]";
    let rows = [
        (with(&format!("{everything}}}")), String::new()),
        (with("spec: {hostAlias: []}"), "14:36: .spec.hostAlias: there is no such field; did you mean `hostAliases`?".into()),
        (with("spec: {hostNetwork: 1}"), "14:49: .spec.hostNetwork: `1` is a number; give `true` or `false`".into()),
        (with("spec: {nodeSelector: {a: b}}"), format!("14:36: .spec.nodeSelector: {elsewhere}")),
        (with("spec: {tolerations: []}"), format!("14:36: .spec.tolerations: {elsewhere}")),
        (with("metadata: {labels: {app.kubernetes.io/name: x}}"), format!("14:73: .metadata.labels[\"app.kubernetes.io/name\"]: {own}")),
        (with("metadata: {annotations: {edgereel.dev/revision: x}}"), format!("14:77: .metadata.annotations[\"edgereel.dev/revision\"]: {own}")),
        (worker("image: x"), "14:71: .spec.containers[0].image: it cannot be overridden; use `spec.template.image`, or `worker.image` \
                              of the operator's chart".into()),
        (worker("command: [x]"), "14:64: .spec.containers[0].command: it cannot be overridden; take it out: the resource says what \
                                  runs".into()),
        (worker("env: [{name: EDGEREEL_REPLICA, value: x}]"), "14:77: .spec.containers[0].env[0].name: `EDGEREEL_REPLICA` is a \
                                                               variable of Edgereel's own; take it out".into()),
        (worker("volumeMounts: [{name: x, mountPath: /data/x}]"), "14:100: .spec.containers[0].volumeMounts[0].mountPath: `/data/x` \
                                                                   is a path of Edgereel's own; mount it elsewhere, for example \
                                                                   below `/mnt`".into()),
        (worker("securityContext: {privileged: true}"), "14:94: .spec.containers[0].securityContext.privileged: it cannot be \
                                                         overridden; take it out: a worker needs no such right; a further \
                                                         container can have it".into()),
        (with("spec: {volumes: [{name: config, emptyDir: {}}]}"), "14:53: .spec.volumes[0].name: `config` is a volume of Edgereel's \
                                                                   own; choose another name".into()),
        (with("spec: {initContainers: [{name: worker}]}"), "14:60: .spec.initContainers[0].name: the worker's container is called \
                                                            so; choose another name".into()),
        (with("spec: {containers: [{name: a}, {name: a}]}"), "14:67: .spec.containers[1].name: there are two containers called `a`; \
                                                              give each a name of its own".into()),
        (with("spec: {containers: [{name: a, securityContext: {privileged: true}}]}"), format!("14:89: .spec.containers[0].securityContext.privileged: {no_right}")),
        (with("spec: {containers: [{name: a, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}"), format!("14:92: .spec.containers[0].securityContext.capabilities.add: {no_right}")),
        (with("spec: {hostPID: true}"), format!("14:45: .spec.hostPID: {no_right}")),
    ];
    let rows: Vec<(&str, String, String)> =
        rows.into_iter().map(|(to, expected)| (CAMERA, to, expected.replacen(": .", &format!(": {at}."), 1))).collect();
    let rows: Vec<(&str, &str, &str)> = rows.iter().map(|(a, b, c)| (*a, b.as_str(), c.as_str())).collect();
    table(&rows);
}
