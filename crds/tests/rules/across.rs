//! The rules between resources.

use crate::{BASE, problems, table};

const SECOND_CAMERA: &str = "
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: yard}
spec:
  source: {synthetic: {}}
  topic: {name: Gate, partitions: 3}
  kafka: {connectionRef: {name: lab}}
";

#[test]
fn references_lead_to_resources_of_the_same_namespace() {
    table(&[
        (
            "kafka: {connectionRef: {name: lab}}",
            "kafka: {connectionRef: {name: labs}}",
            "14:33: CameraStream/gate: spec.kafka.connectionRef.name: there is no KafkaConnection `labs` \
             in the namespace `default`; did you mean `lab`?",
        ),
        (
            "from: {streamRef: {name: gate}}",
            "from: {streamRef: {name: roof}}",
            "20:28: FrameSink/files: spec.from.streamRef.name: there is no CameraStream `roof` in the \
             namespace `default`; the namespace has `gate`",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: files, namespace: other}",
            "20:28: FrameSink/other/files: spec.from.streamRef.name: there is no CameraStream `gate` in \
             the namespace `other`; there is one in the namespace `default`; references stay in their own",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: video}",
            "18:18: FrameSink/video: metadata.name: there are 2 resources FrameSink/video; give each its \
             own name, or keep one\n\
             28:18: FrameSink/video: metadata.name: there are 2 resources FrameSink/video; give each its \
             own name, or keep one",
        ),
    ]);
}

#[test]
fn a_connection_of_another_namespace_is_used_where_it_allows_that() {
    let elsewhere = |more: &str| {
        let there = format!("metadata: {{name: lab, namespace: platform}}\nspec:\n  allowedNamespaces: [{more}]\n");
        BASE.replacen("metadata: {name: lab}\nspec:\n", &there, 1)
    };
    let used = |text: String| {
        text.replacen("connectionRef: {name: lab}", "connectionRef: {name: lab, namespace: platform}", 1)
    };
    for allowed in ["default", "other, default", "\"*\""] {
        assert_eq!(problems(&used(elsewhere(allowed))), [""; 0], "{allowed}");
    }
    let not_allowed = "15:49: CameraStream/gate: spec.kafka.connectionRef.namespace: KafkaConnection `lab` of the namespace \
                       `platform` does not allow the namespace `default`; add `default` to its `spec.allowedNamespaces`, or use \
                       a connection of this namespace";
    for allowed in ["", "other", "def"] {
        assert_eq!(problems(&used(elsewhere(allowed))), [not_allowed], "{allowed}");
    }
    assert_eq!(
        problems(&elsewhere("default")),
        [
            "15:33: CameraStream/gate: spec.kafka.connectionRef.name: there is no KafkaConnection `lab` in the namespace \
          `default`; there is one in the namespace `platform`: add `namespace: platform` if its `spec.allowedNamespaces` \
          allows that"
        ]
    );
    assert_eq!(
        problems(&elsewhere("def-*").replace("name: lab}}", "name: lab, namespace: platform}}"))[..1],
        [
            "5:23: KafkaConnection/platform/lab: spec.allowedNamespaces[0]: `def-*` is not a namespace's name; write the name of \
          one, or `\"*\"` for all"
        ]
    );
}

#[test]
fn resources_do_not_get_in_each_others_way() {
    let group = |name: &str| format!("metadata: {{name: {name}}}\nspec:\n  group: g\n");
    let both = BASE.replacen("metadata: {name: files}\nspec:\n", &group("files"), 1).replacen(
        "metadata: {name: video}\nspec:\n",
        &group("video"),
        1,
    );
    assert_eq!(
        problems(&both),
        [
            "31:10: FrameSink/video: spec.group: FrameSink/files reads `Gate` in the group `g` too: each would get a part of \
          the frames; give each sink its own group; to share the work, raise `replicas` of one"
        ]
    );
    let same_files = BASE.replacen("video: {directory: archive}", "jpegFiles: {directory: frames}", 1);
    assert_eq!(
        problems(&same_files),
        [
            "32:5: FrameSink/video: spec.output.jpegFiles: FrameSink/files could write files of the same names into the same \
          directory; give each sink its own `directory`, or another `fileName`"
        ]
    );
    let same_by_another_way = same_files.replacen("jpegFiles: {directory: frames}", "jpegFiles: {}", 1).replacen(
        "path: /data",
        "path: /data/./frames/",
        1,
    );
    assert_eq!(
        problems(&same_by_another_way),
        [
            "32:5: FrameSink/video: spec.output.jpegFiles: FrameSink/files could write files of the same names into the same \
          directory; give each sink its own `directory`, or another `fileName`"
        ]
    );
    assert_eq!(
        problems(&format!("{BASE}{SECOND_CAMERA}")),
        [
            "42:35: CameraStream/yard: spec.topic.partitions: 3 here, but 1 in CameraStream/gate with the same topic; write \
          the same number in both"
        ]
    );
    assert_eq!(problems(&format!("{BASE}{}", SECOND_CAMERA.replace(", partitions: 3", ""))), [""; 0]);
}

#[test]
fn dead_letters_do_not_come_round() {
    let circle = BASE
        .replacen("  output:\n    jpegFiles", "  deadLetter: {topic: back}\n  output:\n    jpegFiles", 1)
        .replacen(
            "  from: {streamRef: {name: gate}}\n  output:\n    video",
            "  from: {topics: [back]}\n  kafka: {connectionRef: {name: lab}}\n  deadLetter: {topic: Gate}\n  output:\n    video",
            1,
        );
    assert_eq!(
        problems(&circle),
        [
            "21:23: FrameSink/files: spec.deadLetter.topic: a bad record would come round for ever, by `back`, `Gate`; \
             use a topic of its own",
            "33:23: FrameSink/video: spec.deadLetter.topic: a bad record would come round for ever, by `Gate`, `back`; \
             use a topic of its own",
        ]
    );
}

#[test]
fn a_name_that_no_file_can_have_is_reported_with_the_topic_that_makes_it_so() {
    let topic = "t".repeat(249);
    let long = BASE.replace("name: Gate", &format!("name: {topic}"));
    let found = problems(&long);
    let about: Vec<_> = found.iter().filter(|problem| problem.contains("spec.output")).collect();
    assert!(
        matches!(about.as_slice(), [video] if video.contains("FrameSink/video: spec.output.video.fileName: a name of topic `ttt")
            && video.contains("can have 260 bytes, more than the 255 that there may be; make it shorter")),
        "{found:?}"
    );
}
