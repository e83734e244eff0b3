//! The rules that the API server runs, evaluated as it does: each refuses what the check refuses, and every example
//! passes them.

use std::{collections::BTreeSet, fs, path::Path};

use edgereel_crds::{FrameSinkSpec, crds, document::yaml};
use kube_cel::Validator;
use serde_json::Value;

fn schema(kind: &str) -> Value {
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == kind).expect("a kind of ours");
    serde_json::to_value(&crd.spec.versions[0].schema.as_ref().expect("a schema").open_api_v3_schema).expect("JSON")
}

/// The messages with which the API server would refuse the document.
fn refusals(document: &Value) -> Vec<String> {
    let kind = document["kind"].as_str().expect("a kind");
    let errors = Validator::new().validate_with_defaults(&schema(kind), document, None);
    errors.err().map(|e| e.into_vec()).unwrap_or_default().into_iter().map(|e| e.message).collect()
}

fn all_rules(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.insert(rule["message"].as_str().unwrap_or_default().to_owned());
            }
            map.values().for_each(|value| all_rules(value, messages));
        }
        Value::Array(items) => items.iter().for_each(|value| all_rules(value, messages)),
        _ => {}
    }
}

fn document(kind: &str, spec: &str) -> Value {
    let text = format!("apiVersion: edgereel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}\n");
    let (mut documents, faults) = yaml::parse(&text);
    assert_eq!(faults, [], "{text}");
    documents.remove(0).to_json()
}

const LOGIN: &str = "a login in the URL would stand in a ConfigMap: make a Secret with the keys username and password, name it \
                     in credentialsSecretRef, and take the login out of url";

#[test]
fn every_rule_refuses_what_it_is_for_and_says_so() {
    let camera = "topic: {name: a}, kafka: {connectionRef: {name: k}}";
    let source = "source: {synthetic: {}}, kafka: {connectionRef: {name: k}}";
    let film = "output: {video: {segment: {maxBytes: 1Mi}}}";
    let sink = "from: {streamRef: {name: a}}, storage: {hostPath: {path: /d}}, placement: {nodes: [n]}";
    let disk = "{persistentVolumeClaim: {claimName: pictures}}";
    let servers = "bootstrapServers: [\"a:1\"]";
    let reference = "{name: a, key: b}";
    let oauth = format!(
        "oauth: {{tokenUrl: \"https://a\", clientIdSecretRef: {reference}, clientSecretSecretRef: {reference}}}"
    );
    let login = format!("usernameSecretRef: {reference}, passwordSecretRef: {reference}");
    let table: Vec<(&str, String, &[&str])> = vec![
        ("KafkaConnection", format!("{servers}, sasl: {{mechanism: PLAIN, {login}}}"), &[]),
        ("KafkaConnection", format!("{servers}, sasl: {{mechanism: OAUTHBEARER, {oauth}}}"), &[]),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: OAUTHBEARER, {}}}", oauth.replace("//a", "//ann:pw@a")),
            &[
                "a login in tokenUrl would stand in a ConfigMap: take it out, the client's id and secret come from Secrets",
            ],
        ),
        ("KafkaConnection", format!("{servers}, tls: {{caConfigMapRef: {reference}}}"), &[]),
        (
            "KafkaConnection",
            format!("{servers}, tls: {{caSecretRef: {reference}, caConfigMapRef: {reference}}}"),
            &["give one of caSecretRef and caConfigMapRef"],
        ),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: PLAIN}}"),
            &["PLAIN and SCRAM need username or usernameSecretRef, and passwordSecretRef"],
        ),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: SCRAM-SHA-512, username: ann, passwordSecretRef: {reference}}}"),
            &[],
        ),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: PLAIN, username: ann, {login}}}"),
            &["give one of username and usernameSecretRef"],
        ),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: PLAIN, {login}, {oauth}}}"),
            &["only OAUTHBEARER uses oauth"],
        ),
        (
            "KafkaConnection",
            format!("{servers}, sasl: {{mechanism: OAUTHBEARER, {login}, {oauth}}}"),
            &["OAUTHBEARER needs oauth, and neither user name nor password"],
        ),
        ("CameraStream", format!("source: {{mjpeg: {{url: \"https://a\", tls: {{}}}}}}, {camera}"), &[]),
        (
            "CameraStream",
            format!("source: {{mjpeg: {{url: \"http://a\", tls: {{}}}}}}, {camera}"),
            &["tls is for https:// URLs"],
        ),
        (
            "CameraStream",
            format!(
                "source: {{snapshot: {{url: \"https://a\", tls: {{insecureSkipVerify: true, caSecretRef: {reference}}}}}}}, {camera}"
            ),
            &["caSecretRef and insecureSkipVerify contradict each other"],
        ),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, frameRate: {{target: 5, minimum: 1, adaptive: true}}"),
            &[],
        ),
        ("CameraStream", format!("source: {{mjpeg: {{url: \"http://cam/a@b?c=d@e\"}}}}, {camera}"), &[]),
        ("CameraStream", format!("source: {{directory: {{}}}}, storage: {disk}, {camera}"), &[]),
        (
            "CameraStream",
            format!("source: {{file: {{}}}}, storage: {disk}, schedule: '0 2 * * *', timeZone: UTC, {camera}"),
            &[],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{watch: false}}}}, storage: {disk}, schedule: '0 2 * * *', {camera}"),
            &[],
        ),
        (
            "CameraStream",
            format!("source: {{file: {{repeat: true}}}}, storage: {disk}, schedule: '0 2 * * *', {camera}"),
            &["schedule is for what ends: source.file without repeat, and source.directory with watch: false"],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{}}}}, storage: {disk}, schedule: '0 2 * * *', {camera}"),
            &["schedule is for what ends: source.file without repeat, and source.directory with watch: false"],
        ),
        (
            "CameraStream",
            format!("source: {{synthetic: {{}}}}, schedule: '0 2 * * *', {camera}"),
            &["schedule is for what ends: source.file without repeat, and source.directory with watch: false"],
        ),
        (
            "CameraStream",
            format!(
                "source: {{file: {{}}}}, storage: {disk}, schedule: '0 2 * * *', activeHours: {{windows: [{{}}]}}, {camera}"
            ),
            &["with schedule there are no activeHours"],
        ),
        (
            "CameraStream",
            format!("source: {{file: {{}}}}, storage: {disk}, timeZone: UTC, {camera}"),
            &["timeZone is for schedule"],
        ),
        (
            "CameraStream",
            format!("source: {{file: {{}}}}, {camera}"),
            &["storage is for source.directory and source.file, which need it"],
        ),
        (
            "CameraStream",
            format!("source: {{file: {{path: ../a}}}}, storage: {disk}, {camera}"),
            &["path is below the storage's root, without .."],
        ),
        (
            "CameraStream",
            format!("source: {{file: {{repeat: true, ledger: /s}}}}, storage: {disk}, {camera}"),
            &["what is repeated has no ledger"],
        ),
        (
            "CameraStream",
            format!(
                "source: {{directory: {{path: a, afterSent: move, sentDirectory: b, annotation: csv, annotationFile: c, ledger: /s}}}}, storage: {disk}, {camera}"
            ),
            &[],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{}}}}, {camera}"),
            &["storage is for source.directory and source.file, which need it"],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{}}}}, storage: {disk}, workerRef: {{name: w}}, {camera}"),
            &["a camera with storage has a pod of its own"],
        ),
        (
            "CameraStream",
            format!(
                "source: {{device: {{path: /dev/video0, size: 640x480, controls: {{gain: -1}}, resource: squat.ai/video}}}}, {camera}"
            ),
            &[],
        ),
        (
            "CameraStream",
            format!("source: {{device: {{path: /dev/video0}}}}, workerRef: {{name: w}}, {camera}"),
            &["a camera that is a device has a pod of its own"],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{path: ../a}}}}, storage: {disk}, {camera}"),
            &["path is below the storage's root, without .."],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{afterSent: move}}}}, storage: {disk}, {camera}"),
            &["sentDirectory is for afterSent: move, which needs it"],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{annotationFile: a}}}}, storage: {disk}, {camera}"),
            &["annotationFile is for annotation: csv, which needs it"],
        ),
        (
            "CameraStream",
            format!("source: {{directory: {{ledger: a}}}}, storage: {disk}, {camera}"),
            &["ledger is an absolute path"],
        ),
        ("CameraStream", format!("source: {{mjpeg: {{url: \"http://ann:s3cret@cam/\"}}}}, {camera}"), &[LOGIN]),
        ("CameraStream", format!("source: {{snapshot: {{url: \"https://ann@cam/\"}}}}, {camera}"), &[LOGIN]),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, frameRate: {{target: 5, minimum: 9, adaptive: true}}"),
            &["minimum is at most target"],
        ),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, frameRate: {{adaptive: true}}"),
            &["adaptive needs target"],
        ),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, frameRate: {{target: 5, minimum: 1}}"),
            &["minimum is for adaptive: true"],
        ),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a, ensure: exists, replicationFactor: 1}}"),
            &["with ensure: exists, config and replicationFactor are not looked at"],
        ),
        ("CameraStream", format!("{source}, topic: {{name: \"..\"}}"), &["a topic cannot be called . or .."]),
        ("CameraStream", format!("{source}, topic: {{name: a}}, workerRef: {{name: w}}, template: {{}}"), &[]),
        ("CameraStream", format!("{source}, topic: {{name: a}}, placement: {{}}, template: {{image: i}}"), &[]),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, workerRef: {{name: w}}, placement: {{nodes: [n]}}"),
            &["with workerRef, the CameraWorker has the placement"],
        ),
        (
            "CameraStream",
            format!("{source}, topic: {{name: a}}, workerRef: {{name: w}}, template: {{env: [{{name: A, value: b}}]}}"),
            &["with workerRef, the CameraWorker has the template"],
        ),
        ("CameraWorker", "placement: {nodes: [n]}, template: {image: i}".into(), &[]),
        ("FrameSink", format!("{sink}, output: {{video: {{}}}}"), &[]),
        (
            "FrameSink",
            format!("{sink}, output: {{video: {{}}}}, replicas: 2"),
            &["a video is written by one worker: replicas has to be 1"],
        ),
        ("FrameSink", format!("{sink}, output: {{video: {{segment: {{}}}}}}"), &["give maxDuration or maxBytes"]),
        ("FrameSink", format!("{sink}, output: {{dataset: {{rotate: {{every: day}}}}}}"), &[]),
        (
            "FrameSink",
            format!("{sink}, output: {{dataset: {{}}}}, replicas: 2"),
            &["a data set is written by one worker: replicas has to be 1"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{dataset: {{}}}}, retention: {{maxAge: 1h}}"),
            &["a data set is kept whole: it has no retention"],
        ),
        ("FrameSink", format!("{sink}, output: {{dataset: {{rotate: {{}}}}}}"), &["give every or maxBytes"]),
        (
            "FrameSink",
            format!("{sink}, output: {{jpegFiles: {{}}}}, archive: {{s3: {{bucket: recordings}}}}"),
            &["archive is for video with segment and dataset with rotate: each frame would be an object"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{video: {{}}}}, archive: {{s3: {{bucket: recordings}}}}"),
            &["archive needs output.video.segment: files are uploaded when they are closed"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{dataset: {{}}}}, archive: {{s3: {{bucket: recordings}}}}"),
            &["archive needs output.dataset.rotate: a CSV and its pictures are uploaded when it is closed"],
        ),
        (
            "FrameSink",
            format!("{sink}, {film}, archive: {{s3: {{bucket: recordings, endpoint: 'https://minio'}}}}"),
            &[],
        ),
        (
            "FrameSink",
            format!("{sink}, {film}, archive: {{s3: {{bucket: recordings, endpoint: 'http://minio'}}}}"),
            &["an endpoint without TLS needs allowHttp: true"],
        ),
        (
            "FrameSink",
            format!(
                "{sink}, {film}, archive: {{s3: {{bucket: recordings, accessKeyIdSecretRef: {{name: a, key: b}}}}}}"
            ),
            &["give both of accessKeyIdSecretRef and secretAccessKeySecretRef, or neither"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{dataset: {{annotations: a.csv, rotate: {{maxBytes: 1Mi}}}}}}"),
            &["with rotate, annotations needs {timestamp} or {segment}"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{video: {{fileName: a.avi, segment: {{maxBytes: 1Gi}}}}}}"),
            &["with segment, fileName needs {timestamp} or {segment}"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{video: {{directory: a/../b}}}}"),
            &["directory is below the storage's root, without .."],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{jpegFiles: {{directory: /a}}}}"),
            &["directory is below the storage's root, without .."],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{jpegFiles: {{fileName: \"{{offset}}.jpg\"}}}}"),
            &["fileName needs {partition} and {offset}"],
        ),
        ("FrameSink", format!("{sink}, output: {{jpegFiles: {{}}}}, replicas: 2, deadLetter: {{topic: d}}"), &[]),
        (
            "FrameSink",
            format!("{sink}, output: {{jpegFiles: {{}}}}, onInvalid: deadLetter"),
            &["onInvalid: deadLetter needs deadLetter"],
        ),
        (
            "FrameSink",
            format!("{sink}, output: {{jpegFiles: {{}}}}, onInvalid: skip, deadLetter: {{topic: d}}"),
            &["deadLetter is for onInvalid: deadLetter"],
        ),
        (
            "FrameSink",
            "from: {topics: [a]}, storage: {hostPath: {path: /d}}, placement: {nodes: [n]}, output: {jpegFiles: {}}"
                .into(),
            &["from.topics needs kafka"],
        ),
    ];
    let long = "a name has 63 characters at most";
    for kind in ["KafkaConnection", "CameraStream", "FrameSink"] {
        let mut named = document(kind, "bootstrapServers: [\"a:1\"]");
        let mut said = |letters: usize| {
            named["metadata"]["name"] = "a".repeat(letters).into();
            refusals(&named).contains(&long.to_owned())
        };
        assert_eq!((said(63), said(64)), (false, true), "{kind}");
        named["status"] = serde_json::json!({});
        assert!(!refusals(&named).contains(&long.to_owned()), "what was there before the rule can be written on");
    }
    let unpinned = "hostPath needs placement with nodes, nodeSelector or a required node affinity";
    let pinned = [
        ("placement: {nodes: [a]}", true),
        ("placement: {nodeSelector: {disk: big}}", true),
        (
            "placement: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}",
            true,
        ),
        ("placement: {nodeSelector: {kubernetes.io/os: linux, disk: big}}", true),
        ("placement: {nodeSelector: {kubernetes.io/os: linux}}", false),
        ("placement: {nodeSelector: {kubernetes.io/os: linux, kubernetes.io/arch: arm64}}", false),
        ("placement: {}", false),
        ("placement: {nodes: [], nodeSelector: {}}", false),
        ("placement: {affinity: {podAffinity: {}}}", false),
        ("placement: {tolerations: [{operator: Exists}]}", false),
    ];
    let sink_on =
        |storage: &str| format!("from: {{streamRef: {{name: a}}}}, output: {{video: {{}}}}, storage: {storage}");
    for (placement, pins) in pinned {
        let spec = format!("{}, {placement}", sink_on("{hostPath: {path: /d}}"));
        let expected: &[&str] = if pins { &[] } else { &[unpinned] };
        assert_eq!(refusals(&document("FrameSink", &spec)), expected, "{placement}");
        let typed: FrameSinkSpec = serde_yaml::from_str(&format!("{{{spec}}}")).expect("a sink");
        assert_eq!(typed.stays_with_its_data(), pins, "the operator agrees: {placement}");
    }
    assert_eq!(refusals(&document("FrameSink", &sink_on("{persistentVolumeClaim: {claimName: c}}"))), [""; 0]);
    assert_eq!(refusals(&document("FrameSink", &sink_on("{volumeClaimTemplate: {size: 1Gi}}"))), [""; 0]);
    let mut seen = BTreeSet::from([long.to_owned(), unpinned.to_owned()]);
    seen.extend(EDITS.iter().flat_map(|(.., expected)| *expected).map(|message| (*message).to_owned()));
    for (kind, spec, expected) in table {
        let found = refusals(&document(kind, &spec));
        assert_eq!(found, expected, "{kind}: {spec}");
        seen.extend(found);
    }
    let mut all = BTreeSet::new();
    ["KafkaConnection", "CameraStream", "FrameSink"].iter().for_each(|kind| all_rules(&schema(kind), &mut all));
    assert_eq!(seen, all, "every rule refuses something here");
}

/// A kind, its spec before and after an edit, and how the API server refuses the edit.
type Edit = (&'static str, &'static str, &'static str, &'static [&'static str]);

const SINK: &str = "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 1Gi}}";

const TOPICS: &str = "kafka: {connectionRef: {name: k}}, output: {jpegFiles: {fileName: \"{topic}/{partition}-{offset}.jpg\"}}, storage: {volumeClaimTemplate: {size: 1Gi}}, from: {topics: [a, b]}";
const MORE_TOPICS: &str = "kafka: {connectionRef: {name: k}}, output: {jpegFiles: {fileName: \"{topic}/{partition}-{offset}.jpg\"}}, storage: {volumeClaimTemplate: {size: 1Gi}}, from: {topics: [c, b, a]}";
const STORAGE: &[&str] =
    &["storage cannot be changed but for the size of a claim, what was recorded would be left behind: make a new sink"];
const FROM: &[&str] = &[
    "from cannot be changed but for topics that are added, frames of the old topic would be left unread: make a new sink",
];

const EDITS: &[Edit] = &[
    ("FrameSink", TOPICS, MORE_TOPICS, &[]),
    ("FrameSink", MORE_TOPICS, TOPICS, FROM),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 1Gi}}, replicas: 3, suspend: true, placement: {nodes: [b]}, template: {image: i}",
        &[],
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {video: {}}, storage: {volumeClaimTemplate: {size: 1Gi}}",
        &[],
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 2Gi}}",
        &[],
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 1Gi, storageClassName: b}}",
        STORAGE,
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 2Gi, accessModes: [ReadWriteMany]}}",
        STORAGE,
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {persistentVolumeClaim: {claimName: c}}",
        STORAGE,
    ),
    (
        "FrameSink",
        SINK,
        "from: {streamRef: {name: b}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 1Gi}}",
        &[
            "from cannot be changed but for topics that are added, frames of the old topic would be left unread: make a new sink",
        ],
    ),
    (
        "FrameSink",
        SINK,
        "group: g, from: {streamRef: {name: a}}, output: {jpegFiles: {}}, storage: {volumeClaimTemplate: {size: 1Gi}}",
        &["group cannot be changed, its committed offsets say what is stored: make a new sink"],
    ),
    (
        "CameraStream",
        "source: {synthetic: {}}, topic: {name: a}, kafka: {connectionRef: {name: k}}",
        "source: {mjpeg: {url: \"http://a\"}}, topic: {name: a, partitions: 3}, kafka: {connectionRef: {name: l}}",
        &[],
    ),
    (
        "CameraStream",
        "source: {synthetic: {}}, topic: {name: a}, kafka: {connectionRef: {name: k}}",
        "source: {synthetic: {}}, topic: {name: b}, kafka: {connectionRef: {name: k}}",
        &["topic.name cannot be changed, sinks would leave frames of the old topic unread: make a new camera"],
    ),
];

#[test]
fn what_would_lose_data_cannot_be_edited_and_everything_else_can() {
    for (kind, before, after, expected) in EDITS {
        let (before, after) = (document(kind, before), document(kind, after));
        let errors = Validator::new().validate_with_defaults(&schema(kind), &after, Some(&before)).err();
        let found: Vec<String> =
            errors.map(|e| e.into_vec()).unwrap_or_default().into_iter().map(|e| e.message).collect();
        assert_eq!(found, *expected, "{kind}: {after}");
    }
}

#[test]
fn every_example_passes_the_rules() {
    for name in [
        "lab/connection.yaml",
        "lab/cameras.yaml",
        "lab/sinks.yaml",
        "quickstart/quickstart.yaml",
        "secure/secure.yaml",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let text = fs::read_to_string(&path).expect("an example");
        for node in yaml::parse(&text).0 {
            assert_eq!(refusals(&node.to_json()), [""; 0], "{name}");
        }
    }
}
