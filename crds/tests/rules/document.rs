//! The rules of a document around its spec.

use crate::table;

#[test]
fn documents_say_what_they_are() {
    table(&[
        (
            "metadata: {name: files}",
            "metadata: {name: Files_1}",
            "18:18: FrameSink/Files_1: metadata.name: `Files_1` is not a name (RFC 1123); use small \
             letters, digits and `-`, a letter or digit at both ends",
        ),
        (
            "metadata: {name: files}",
            "metadata: {}",
            "18:1: FrameSink: metadata.name: it is missing; give the resource a name",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: 1}",
            "18:18: FrameSink: metadata.name: this is not a text; put it in quotes",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: files, namespace: a.b}",
            "18:36: FrameSink/a.b/files: metadata.namespace: `a.b` is not a namespace's name (RFC 1123); \
             use small letters, digits and `-`, a letter or digit at both ends\n\
             20:28: FrameSink/a.b/files: spec.from.streamRef.name: there is no CameraStream `gate` in \
             the namespace `a.b`; there is one in the namespace `default`; references stay in their own",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: files, label: {}}",
            "18:25: FrameSink/files: metadata.label: there is no such field; did you mean `labels`?",
        ),
        (
            "metadata: {name: files}",
            "metadata: {name: files, labels: {a: 1}}",
            "18:37: FrameSink/files: metadata.labels.a: `1` is a number; put it in quotes: `\"1\"`",
        ),
        ("metadata: {name: files}", "metadata: {name: files, labels: {a: b}, uid: x}\nstatus: {x: 1}", ""),
        (
            "kind: FrameSink",
            "kind: FrameSync",
            "17:7: kind: there is no kind `FrameSync` in `edgereel.dev/v1alpha1`; did you mean \
             `FrameSink`?",
        ),
        (
            "kind: FrameSink",
            "kind: Pod",
            "17:7: kind: there is no kind `Pod` in `edgereel.dev/v1alpha1`; the kinds are \
             `KafkaConnection`, `CameraWorker`, `CameraStream`, `FrameSink`",
        ),
        (
            "kind: FrameSink",
            "",
            "16:1: kind: it is missing, or not a text; begin with `apiVersion: edgereel.dev/v1alpha1` \
             and `kind: KafkaConnection|CameraWorker|CameraStream|FrameSink`",
        ),
        (
            "edgereel.dev/v1alpha1\nkind: FrameSink",
            "edgereel.dev/v1\nkind: FrameSink",
            "16:13: FrameSink: apiVersion: there is no FrameSink in `edgereel.dev/v1`; write \
             `edgereel.dev/v1alpha1`",
        ),
        (
            "edgereel.dev/v1alpha1\nkind: FrameSink",
            "edgreel.dev/v1alpha1\nkind: FrameSink",
            "16:13: FrameSink: apiVersion: there is no FrameSink in `edgreel.dev/v1alpha1`; write \
             `edgereel.dev/v1alpha1`",
        ),
        ("edgereel.dev/v1alpha1\nkind: FrameSink", "v1\nkind: ConfigMap", ""),
        (
            "metadata: {name: files}\nspec:",
            "metadata: {name: files}\nspecs:",
            "16:1: FrameSink/files: spec: it is missing; say what the resource is to do\n\
             19:1: FrameSink/files: specs: there is no such field; did you mean `spec`?",
        ),
    ]);
}
