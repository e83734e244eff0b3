//! What `load` promises whatever it is given: no panic, every problem with its place, all files looked at; and the
//! examples are sound.

use std::{fs, path::Path};

use edgereel_crds::{
    camera_stream::Source,
    document::{Reading, read},
    frame_sink::{OnInvalid, Output},
    load,
    load::{Apart, load_apart},
    name::ObjectName,
};
use proptest::prelude::*;

fn examples() -> Vec<(String, String)> {
    fn collect(directory: &Path, files: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> =
            fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                files.push((path.display().to_string(), fs::read_to_string(&path).expect("a file")));
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &mut files);
    files
}

fn one(text: &str) -> Vec<String> {
    load(&[("a.yaml".into(), text.into())]).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn every_example_loads_without_a_problem() {
    let files = examples();
    assert!(files.len() >= 5, "the examples are found");
    // Some folders hold what goes with ours: patches of kustomize, Kafka, namespaces.
    let ours = files.iter().filter(|(_, text)| text.contains("\nkind: CameraStream\n"));
    let mut directories: Vec<&Path> = ours.filter_map(|(name, _)| Path::new(name).parent()).collect();
    directories.dedup();
    assert!(directories.len() >= 6, "{directories:?}");
    for directory in directories {
        let together: Vec<_> =
            files.iter().filter(|(name, _)| Path::new(name).parent() == Some(directory)).cloned().collect();
        let plan = load(&together).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert!(!plan.cameras.is_empty(), "{}", directory.display());
        // What sends files is read by the scripts that were there.
        let folders =
            plan.cameras.iter().all(|camera| matches!(camera.spec.source, Source::Directory(_) | Source::File(_)));
        assert!(folders || !plan.sinks.is_empty(), "{}", directory.display());
    }
}

#[test]
fn the_lab_keeps_the_addresses_topics_groups_and_paths_of_the_scripts() {
    let lab: Vec<_> = examples().into_iter().filter(|(name, _)| name.contains("/lab/")).collect();
    let plan = load(&lab).expect("sound");
    let topics: Vec<&str> = plan.cameras.iter().map(|c| c.spec.topic.name.as_str()).collect();
    assert_eq!(topics, ["AgriCam3", "LabTappoCam1", "FrontGATE1"]);
    for camera in &plan.cameras {
        assert_eq!(camera.connection.spec.bootstrap_servers, ["10.1.56.46:9092", "10.1.56.46:9093", "10.1.56.46:9094"]);
        assert_eq!((camera.spec.topic.partitions, camera.spec.topic.replication_factor), (3, Some(3)));
        assert_eq!(camera.spec.topic.config["max.message.bytes"], "104857600");
    }
    let groups: Vec<&str> = plan.sinks.iter().map(|s| s.group.as_str()).collect();
    assert_eq!(groups, ["frame_consumer_group", "video_consumer_group", "archive_consumer_group"]);
}

#[test]
fn one_resource_of_many_is_run_with_all_that_it_refers_to() {
    let lab: Vec<_> = examples().into_iter().filter(|(name, _)| name.contains("/lab/")).collect();
    let mut plan = load(&lab).expect("a sound example");
    plan.keep_only("FrameSink/frontgate1-video");
    assert_eq!((plan.cameras.len(), plan.sinks.len()), (0, 1));
    assert_eq!(plan.sinks[0].topics, ["FrontGATE1"]);
    plan.keep_only("CameraStream/frontgate1-video");
    assert_eq!(plan.sinks.len(), 0);
}

#[test]
fn the_plan_decides_what_the_resources_left_open() {
    let base = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab, namespace: edge}
spec: {bootstrapServers: [\"localhost:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate, namespace: edge}
spec: {source: {synthetic: {}}, topic: {name: Gate}, kafka: {connectionRef: {name: lab}}}
";
    let sink = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: edgereel.dev/v1alpha1\nkind: FrameSink\nmetadata: {{name: {name}, namespace: edge}}\n\
             spec: {{from: {{streamRef: {{name: gate}}}}, storage: {{hostPath: {{path: /data/{name}}}}}, placement: {{nodes: [a]}}, {spec}}}\n"
        )
    };
    let text = [
        base.to_owned(),
        sink("one", "output: {video: {}}"),
        sink("two", "output: {video: {segment: {maxDuration: 1m}}}, deadLetter: {topic: dead}, group: g"),
        sink("three", "output: {jpegFiles: {}}, onInvalid: skip"),
    ];
    let plan = load(&[("a.yaml".into(), text.concat())]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let names: Vec<_> = plan
        .sinks
        .iter()
        .map(|sink| match &sink.spec.output {
            Output::JpegFiles(files) => files.file_name.as_str(),
            Output::Video(video) => video.file_name.as_deref().unwrap_or_default(),
            Output::Dataset(_) => "",
        })
        .collect();
    assert_eq!(names, ["{topic}.avi", "{topic}_{timestamp}.avi", "frame_{partition}-{offset:06}_{timestamp}.jpg"]);
    let groups: Vec<&str> = plan.sinks.iter().map(|s| s.group.as_str()).collect();
    assert_eq!(groups, ["edgereel.edge.one", "g", "edgereel.edge.three"]);
    let policies: Vec<OnInvalid> = plan.sinks.iter().map(|s| s.on_invalid).collect();
    assert_eq!(policies, [OnInvalid::Fail, OnInvalid::DeadLetter, OnInvalid::Skip]);
    for sink in &plan.sinks {
        assert_eq!((sink.topics.as_slice(), sink.camera.as_deref()), (&["Gate".to_owned()][..], Some("gate")));
        assert_eq!(sink.connection.name.to_string(), "edge/lab");
    }
}

#[test]
fn all_problems_of_all_files_come_at_once_and_in_order() {
    let connection = "apiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: lab}\n";
    let files = [
        ("b.yaml".to_owned(), format!("{connection}spec: {{bootstrapServers: [kafka], tsl: {{}}}}\n")),
        ("a.yaml".to_owned(), "a: [1\n".to_owned()),
        ("c.yaml".to_owned(), connection.replace("lab", "LAB") + "spec: {bootstrapServers: [kafka]}"),
    ];
    let problems = load(&files).expect_err("problems");
    let places: Vec<(&str, usize)> = problems.iter().map(|p| (p.file.as_str(), p.line)).collect();
    assert_eq!(places[0], ("b.yaml", 4));
    assert!(places.iter().any(|(file, _)| *file == "a.yaml"));
    assert!(places.contains(&("c.yaml", 3)) && places.contains(&("c.yaml", 4)), "name and spec: {problems:?}");
    let order = |file: &str| ["b.yaml", "a.yaml", "c.yaml"].iter().position(|f| *f == file);
    assert!(places.is_sorted_by_key(|(file, line)| (order(file), *line)), "{places:?}");
}

#[test]
fn a_reference_to_a_resource_with_problems_of_its_own_is_not_missing() {
    let text = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec: {source: {synthetic: {}}, topic: {name: Gate}, kafka: {connectionRef: {name: lab}}}
";
    assert_eq!(one(text), ["a.yaml:5:1: KafkaConnection/lab: spec.bootstrapServers: it is missing; add a list"]);
}

#[test]
fn a_missing_reference_is_reported_together_with_the_wrong_fields_beside_it() {
    let text = "
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec: {source: {synthetic: {}}, topik: {name: Gate}, kafka: {connectionRef: {name: lab}}}
---
apiVersion: edgereel.dev/v1alpha1
kind: FrameSink
metadata: {name: files}
spec: {from: {streamRef: {name: gat}}, output: {jpgFiles: {}}, storage: {hostPath: {path: /data}}}
";
    let problems = one(text);
    for expected in [
        "CameraStream/gate: spec.topik: ",
        "CameraStream/gate: spec.kafka.connectionRef.name: there is no KafkaConnection `lab` in the namespace `default`",
        "FrameSink/files: spec.output.jpgFiles: ",
        "FrameSink/files: spec.from.streamRef.name: there is no CameraStream `gat` in the namespace `default`; did you mean `gate`?",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}\n{problems:#?}");
    }
}

#[test]
fn secrets_are_taken_and_their_values_are_never_shown() {
    let text = "
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {username: YW5u, password: aGlkZGVu}
stringData: {password: hunter2}
";
    let plan = load(&[("a.yaml".into(), text.into())]).expect("sound");
    let login = &plan.secrets[&ObjectName { namespace: "default".into(), name: "login".into() }];
    assert_eq!(login["username"], b"ann");
    assert_eq!(login["password"], b"hunter2", "stringData comes first, as in the API server");
    assert_eq!(
        one(&text.replace("YW5u", "hunter3!").replace("hunter2", "[hunter4]")),
        [
            "a.yaml:5:8: Secret/login: data.username: this is not base64; encode it, or move it to `stringData`",
            "a.yaml:6:14: Secret/login: stringData.password: this is not a text; put it in quotes",
        ]
    );
    assert_eq!(
        one(&format!("{text}---{text}")),
        ["a.yaml:10:18: Secret/login: metadata.name: there is another Secret/login; keep one"]
    );
}

#[test]
fn what_kubectl_prints_is_taken() {
    let text = "
apiVersion: v1
kind: List
items:
- apiVersion: edgereel.dev/v1alpha1
  kind: KafkaConnection
  metadata:
    name: lab
    creationTimestamp: \"2024-06-04T10:30:00Z\"
    managedFields: [{manager: kubectl}]
  spec: {bootstrapServers: [\"localhost\"]}
  status: {observedGeneration: 1}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: other}, whatever: 1}
";
    let found = one(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("a.yaml:11:29: KafkaConnection/lab: spec.bootstrapServers[0]: `localhost` has no port")
    );
    assert_eq!(one("# nothing\n---\n---\n"), [""; 0]);
    assert_eq!(one("just text"), ["a.yaml:1:1: this is not a resource; begin with `apiVersion` and `kind`"]);
}

#[test]
fn a_resource_written_out_reads_back_as_it_was() {
    for (name, text) in examples() {
        let first = read(&[(name.clone(), text)]).resources;
        let document = |kind: &str, name: &ObjectName, spec: serde_json::Value| {
            serde_json::json!({"apiVersion": "edgereel.dev/v1alpha1", "kind": kind,
                "metadata": {"name": name.name, "namespace": name.namespace}, "spec": spec})
        };
        let mut documents = Vec::new();
        documents.extend(first.connections.iter().map(|r| document("KafkaConnection", &r.name, json(&r.spec))));
        documents.extend(first.cameras.iter().map(|r| document("CameraStream", &r.name, json(&r.spec))));
        documents.extend(first.sinks.iter().map(|r| document("FrameSink", &r.name, json(&r.spec))));
        let text: Vec<String> = documents.iter().map(|d| serde_yaml::to_string(d).expect("YAML")).collect();
        let again = read(&[(name, text.join("---\n"))]);
        assert_eq!(again.problems, []);
        let specs = |r: &edgereel_crds::check::Resources| {
            (
                r.connections.iter().map(|r| r.spec.clone()).collect::<Vec<_>>(),
                r.cameras.iter().map(|r| r.spec.clone()).collect::<Vec<_>>(),
                r.sinks.iter().map(|r| r.spec.clone()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(specs(&first), specs(&again.resources));
    }
}

fn json(spec: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(spec).expect("JSON")
}

/// Cuts, doubles, swaps and changes lines and characters of a sound file: what a person does by mistake.
fn mutated(text: &str, edits: &[(usize, u8, char)]) -> String {
    let mut lines: Vec<String> = text.lines().map(Into::into).collect();
    for (at, what, c) in edits {
        let count = lines.len().max(1);
        let n = at % count;
        let Some(line) = lines.get(n).cloned() else { continue };
        let middle = line.char_indices().nth(at % (line.chars().count() + 1)).map_or(line.len(), |(i, _)| i);
        match what % 7 {
            0 => drop(lines.remove(n)),
            1 => lines.insert(n, line),
            2 => lines.swap(n, (at / 7) % count),
            3 => lines[n].insert(middle, *c),
            4 => lines[n].truncate(middle),
            5 => lines[n].insert_str(0, "  "),
            _ => lines[n] = line.replacen(": ", ":", 1),
        }
    }
    lines.join("\n")
}

fn every_problem_has_its_place(text: &str) {
    if let Err(problems) = load(&[("a.yaml".into(), text.into())]) {
        assert!(!problems.is_empty());
        let last = text.lines().count() + 1;
        for problem in problems {
            assert!((1..=last).contains(&problem.line) && problem.column >= 1, "{problem} of {last} lines:\n{text}");
            assert!(!problem.message.is_empty() && !problem.to_string().contains('\n'), "{problem}");
        }
    }
}

#[test]
fn what_is_wrong_with_the_end_of_a_file_is_told_there() {
    every_problem_has_its_place("apiVersion: v1\nkind: Namespace\nmetadata:\n  labels:\n    a");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_loads_or_has_problems_with_places(text in "(\\PC|[\n\t {}\\[\\]:&*?!|>'\"%@`,#-]){0,200}") {
        every_problem_has_its_place(&text);
    }

    #[test]
    fn a_sound_file_with_mistakes_has_problems_with_places(
        file in 0usize..100,
        edits in prop::collection::vec((any::<usize>(), any::<u8>(), any::<char>()), 1..6),
    ) {
        let examples = examples();
        every_problem_has_its_place(&mutated(&examples[file % examples.len()].1, &edits));
    }
}

/// Two connections with a camera each, a file each.
fn apart(change: impl Fn(&str, String) -> String) -> Apart {
    let head = |kind: &str, name: &str| {
        format!("apiVersion: edgereel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n")
    };
    let camera = |name: &str, kafka: &str| {
        head("CameraStream", name)
            + &format!(
                "  source: {{synthetic: {{}}}}\n  topic: {{name: T}}\n  kafka: {{connectionRef: {{name: {kafka}}}}}\n"
            )
    };
    let connection = |name: &str| head("KafkaConnection", name) + "  bootstrapServers: [\"k:9092\"]\n";
    let all =
        [("a", camera("a", "one")), ("b", camera("b", "two")), ("one", connection("one")), ("two", connection("two"))];
    let files = all.map(|(name, text)| (format!("{name}.yaml"), change(name, text)));
    load_apart(Reading::Lenient, &files)
}

fn names(apart: &Apart) -> (Vec<&str>, Vec<(&str, &str)>) {
    let runs = apart.plan.cameras.iter().map(|camera| camera.name.name.as_str()).collect();
    (runs, apart.refused.iter().map(|refused| (refused.name.name.as_str(), refused.why.as_str())).collect())
}

#[test]
fn what_is_wrong_with_one_resource_keeps_no_other_from_running() {
    assert_eq!(names(&apart(|_, text| text)), (vec!["a", "b"], vec![]));
    let of = |name: &'static str, from: &'static str, to: &'static str| {
        apart(move |file, text| if file == name { text.replace(from, to) } else { text })
    };
    let refers = "what it refers to cannot be used: the log says why";
    for (broken, why) in [
        (of("a", "synthetic: {}", "pigeon: {}"), "spec.source.pigeon: "),
        (of("a", "name: T", "name: ."), "spec.topic.name: `.` cannot be a topic's name; choose another name"),
        (of("a", "name: one", "name: three"), "spec.kafka.connectionRef.name: there is no KafkaConnection `three`"),
        (of("one", "k:9092", "k"), refers),
        (of("one", "bootstrapServers", "servers"), refers),
    ] {
        let (runs, refused) = names(&broken);
        assert_eq!((runs, refused.len(), refused[0].0), (vec!["b"], 1, "a"), "{broken:?}");
        assert!(refused[0].1.starts_with(why), "{refused:?}");
        assert!(!broken.problems.is_empty());
    }
    // What has no resource that could say it is a problem all the same.
    let torn = apart(|file, text| if file == "a" { "apiVersion: [".into() } else { text });
    assert_eq!((names(&torn), torn.problems.is_empty()), ((vec!["b"], vec![]), false));
    // Of two cameras that do not agree, the later one gives way; two of one name are nobody's.
    let rivals = of("b", "topic: {name: T}", "topic: {name: T, partitions: 2}");
    assert_eq!(names(&rivals).0, ["a"]);
    let twins = of("b", "name: b", "name: a");
    let (runs, refused) = names(&twins);
    assert_eq!((runs, refused.len()), (vec![], 1), "{refused:?}");
    assert!(refused[0].1.contains("there are 2 resources"), "{refused:?}");
}
