//! The children that are built, as YAML that people read: a change of one shows in review, and would roll every pod.
//!
//! `UPDATE_GOLDEN=1 cargo test -p edgereel-operator golden` writes the files anew.

use std::{fs, path::Path};

use edgereel_crds::{CameraStream, CameraWorker, FrameSink};

use super::{Lab, pool, settings, sharing};
use crate::{
    controller::managed::Managed,
    kinds::Kinds,
    settings::{Settings, worker_defaults},
};

async fn children<K: Managed>(name: &str, text: &str, resource: &str) {
    children_of::<K>(settings(), name, text, resource).await;
}

async fn children_of<K: Managed>(settings: Settings, name: &str, text: &str, resource: &str) {
    let lab = Lab::of_operator(settings, Kinds::default(), &[], text);
    let (path, (requests, _)) = (format!("{}/{resource}", K::plural(&())), lab.reconcile::<K>(resource).await);
    let refusal = lab.object(&path)["status"].clone();
    let applied: Vec<String> = requests
        .iter()
        .filter_map(|request| request.strip_prefix("POST "))
        .filter(|path| *path != "events")
        .map(|path| {
            let mut object = lab.object(path);
            let meta = object["metadata"].as_object_mut().expect("metadata");
            // What the server adds.
            for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
                meta.remove(field);
            }
            serde_yaml::to_string(&object).expect("YAML")
        })
        .collect();
    assert!(!applied.is_empty(), "nothing was applied: {refusal}");
    let found = applied.join("---\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("writable");
        fs::write(&file, &found).expect("writable");
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == stored, "{name} differs; UPDATE_GOLDEN=1 writes it anew. Found:\n{found}");
}

#[tokio::test]
async fn golden_camera() {
    children::<CameraStream>("camera.yaml", super::RESOURCES, "gate").await;
}

#[tokio::test]
async fn golden_worker_of_two_cameras() {
    children::<CameraWorker>("worker.yaml", &pool::resources(), "hall").await;
}

#[tokio::test]
async fn golden_camera_with_a_connection_of_another_namespace() {
    let settings = Settings { shared_connections: true, ..settings() };
    children_of::<CameraStream>(settings, "camera-with-shared-connection.yaml", &sharing::resources(), "gate").await;
}

#[tokio::test]
async fn golden_sink_on_a_host_path() {
    children::<FrameSink>("sink-host-path.yaml", super::RESOURCES, "files").await;
}

#[tokio::test]
async fn golden_sink_with_claims_logins_and_everything_a_template_has() {
    let text = "\
apiVersion: v1
kind: Secret
metadata: {name: kafka-login}
data: {user: YQ==, password: Yg==}
---
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka}
spec:
  bootstrapServers: [\"kafka:9092\"]
  sasl:
    mechanism: SCRAM-SHA-512
    usernameSecretRef: {name: kafka-login, key: user}
    passwordSecretRef: {name: kafka-login, key: password}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: archive, annotations: {edgereel.dev/restart: \"1\"}}
spec:
  from: {topics: [a, b]}
  kafka: {connectionRef: {name: kafka}}
  output: {jpegFiles: {fileName: \"{topic}/{partition}-{offset}.jpg\"}}
  storage: {volumeClaimTemplate: {storageClassName: fast, size: 400Gi}}
  replicas: 2
  placement:
    nodes: [edge-1, edge-2]
    nodeSelector: {disk: big}
    affinity:
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
            - matchExpressions: [{key: zone, operator: In, values: [a]}]
    tolerations: [{key: edge, operator: Exists}]
  template:
    image: registry/edgereel@sha256:0123
    imagePullPolicy: Always
    imagePullSecrets: [{name: registry}]
    resources: {requests: {cpu: 1, memory: 1Gi}}
    labels: {team: video, app.kubernetes.io/name: mine}
    annotations: {note: hello}
    env: [{name: EDGEREEL_LOG, value: debug}]
    priorityClassName: high
    serviceAccountName: pullers
    podSecurityContext: {runAsUser: 1000, supplementalGroups: [44]}
    terminationGracePeriodSeconds: 30
    volumes: [{name: extra, source: {hostPath: {path: /data/extra}}}]
    volumeMounts: [{name: extra, mountPath: /mnt/extra, readOnly: true}]
";
    children::<FrameSink>("sink-with-everything.yaml", text, "archive").await;
}

#[tokio::test]
async fn golden_camera_with_overrides_and_defaults_of_the_operator() {
    let defaults = "{metadata: {annotations: {scraped: 'true'}}, spec: {priorityClassName: cameras, containers: [{name: worker, env: \
                    [{name: EDGEREEL_LOG, value: debug}]}]}}";
    let settings = Settings { worker_defaults: worker_defaults(defaults).expect("sound"), ..settings() };
    let text = super::RESOURCES.replacen(
        "  placement: {nodes: [edge-1]}\n",
        "  placement: {nodes: [edge-1]}
  template:
    podOverrides:
      spec:
        hostNetwork: true
        dnsPolicy: ClusterFirstWithHostNet
        dnsConfig: {options: [{name: ndots, value: '1'}]}
        hostAliases: [{ip: 10.0.0.1, hostnames: [gate]}]
        topologySpreadConstraints:
          - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: video}}}
        initContainers: [{name: wait, image: busybox, command: [sh, -c, 'until nslookup gate; do sleep 1; done']}]
        containers:
          - {name: agent, image: agent, volumeMounts: [{name: shared, mountPath: /shared}]}
          - name: worker
            env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
            volumeMounts: [{name: shared, mountPath: /mnt/shared}]
        volumes: [{name: shared, emptyDir: {}}]
",
        1,
    );
    children_of::<CameraStream>(settings, "camera-with-overrides.yaml", &text, "gate").await;
}

#[tokio::test]
async fn golden_data_set_and_a_sink_with_retention() {
    let text = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka}
spec: {bootstrapServers: [\"kafka:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: labels}
spec:
  from: {topics: [image-data]}
  kafka: {connectionRef: {name: kafka}}
  output: {dataset: {directory: set, rotate: {every: day}}}
  storage: {persistentVolumeClaim: {claimName: frames}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: week}
spec:
  from: {topics: [gate]}
  kafka: {connectionRef: {name: kafka}}
  output: {jpegFiles: {directory: week}}
  storage: {persistentVolumeClaim: {claimName: frames}}
  retention: {maxAge: 168h, minFree: 10%}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: film}
spec:
  from: {topics: [gate]}
  kafka: {connectionRef: {name: kafka}}
  output: {video: {directory: film, segment: {maxDuration: 10m}}}
  storage: {persistentVolumeClaim: {claimName: frames}}
  archive:
    s3:
      bucket: recordings
      endpoint: https://minio.lan:9000
      accessKeyIdSecretRef: {name: minio, key: id}
      secretAccessKeySecretRef: {name: minio, key: secret}
      caConfigMapRef: {name: trust, key: ca.crt}
---
apiVersion: v1
kind: Secret
metadata: {name: minio}
data: {id: YQ==, secret: Yg==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: trust}
data: {ca.crt: pem}
";
    children::<FrameSink>("data-set.yaml", text, "labels").await;
    children::<FrameSink>("sink-with-retention.yaml", text, "week").await;
    children::<FrameSink>("sink-with-archive.yaml", text, "film").await;
}

#[tokio::test]
async fn golden_folders_of_pictures() {
    let text = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka}
spec: {bootstrapServers: [\"kafka:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: labels}
spec:
  source: {directory: {path: Labeled_Images, watch: false, afterSent: delete}}
  storage: {persistentVolumeClaim: {claimName: pictures}}
  topic: {name: image-data}
  kafka: {connectionRef: {name: kafka}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: inbox}
spec:
  source: {directory: {ledger: /state}}
  storage: {hostPath: {path: /data/inbox}}
  topic: {name: inbox}
  kafka: {connectionRef: {name: kafka}}
  placement: {nodes: [edge-1]}
  template:
    volumes: [{name: state, source: {persistentVolumeClaim: {claimName: state}}}]
    volumeMounts: [{name: state, mountPath: /state}]
";
    children::<CameraStream>("folder-to-its-end.yaml", text, "labels").await;
    children::<CameraStream>("folder-watched.yaml", text, "inbox").await;
}

#[tokio::test]
async fn golden_videos_by_a_schedule_and_repeated() {
    let text = "\
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: kafka}
spec: {bootstrapServers: [\"kafka:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: crowd}
spec:
  source: {file: {path: videos/*.mp4}}
  frameRate: {target: 3}
  schedule: \"0  2 * * *\"
  timeZone: Australia/Melbourne
  storage: {persistentVolumeClaim: {claimName: crowd}}
  topic: {name: crowd}
  kafka: {connectionRef: {name: kafka}}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: show}
spec:
  source: {file: {path: show.mp4, repeat: true}}
  storage: {persistentVolumeClaim: {claimName: crowd}}
  topic: {name: show}
  kafka: {connectionRef: {name: kafka}}
";
    children::<CameraStream>("videos-by-a-schedule.yaml", text, "crowd").await;
    children::<CameraStream>("videos-repeated.yaml", text, "show").await;
}
