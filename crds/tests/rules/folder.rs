//! The rules of a `CameraStream` that reads a folder.

use crate::after;

/// The problems of this source with these fields beside it, without their places.
fn found(directory: &str, beside: &str) -> Vec<String> {
    let camera = format!("    directory: {{{directory}}}\n{beside}");
    let all = after("    mjpeg: {url: \"http://gate/video\"}\n", &camera);
    let message = |problem: &String| problem.split_once("CameraStream/gate: ").map(|(_, rest)| rest.to_owned());
    all.iter().map(|problem| message(problem).unwrap_or_else(|| problem.clone())).collect()
}

const DISK: &str = "  storage: {hostPath: {path: /data}}\n";

#[test]
fn a_folder_keeps_to_its_rules() {
    let fine = [
        "",
        "path: a/b, afterSent: move, sentDirectory: sent",
        "annotation: csv, annotationFile: labels.csv, watch: false",
        "ledger: /state, settle: 0s, rescan: 1s, processedFiles: processed_files.txt",
    ];
    fine.iter().for_each(|directory| assert_eq!(found(directory, DISK), [""; 0], "{directory}"));
    for (directory, expected) in [
        (
            "path: ../a",
            "spec.source.directory.path: `../a` leads out of its directory with `..`; write the path without `..`",
        ),
        (
            "path: /a",
            "spec.source.directory.path: `/a` is absolute, and directories are below the storage's root; leave the `/` at the \
             beginning out; the root is `storage.hostPath.path`",
        ),
        (
            "afterSent: move",
            "spec.source.directory.sentDirectory: it is missing, and `afterSent: move` needs it; give a path",
        ),
        (
            "sentDirectory: a",
            "spec.source.directory.sentDirectory: it is for `afterSent: move`; set `afterSent: move`, or take it out",
        ),
        (
            "path: a, afterSent: move, sentDirectory: ./a/",
            "spec.source.directory.sentDirectory: `./a/` is the folder itself; name another directory",
        ),
        (
            "annotation: csv",
            "spec.source.directory.annotationFile: it is missing, and `annotation: csv` needs it; give a path",
        ),
        ("ledger: state", "spec.source.directory.ledger: `state` is not an absolute path; begin it with `/`"),
        ("rescan: 10ms", "spec.source.directory.rescan: `10ms` is out of range; write `1s` to `24h`"),
        ("settle: 2h", "spec.source.directory.settle: `2h` is out of range; write `0s` to `1h`"),
    ] {
        assert_eq!(found(directory, DISK), [expected], "{directory}");
    }
}

#[test]
fn a_folder_needs_a_disk_and_a_camera_has_none() {
    assert_eq!(
        found("", ""),
        [
            "spec.storage: it is missing, and `source.directory` does not say on which disk the folder is; add `storage: \
          {hostPath: {path: /…}}`, or a claim"
        ]
    );
    let camera = after("  topic: {name: Gate}\n", &format!("  topic: {{name: Gate}}\n{DISK}"));
    assert!(
        camera.len() == 1
            && camera[0].ends_with("spec.storage: only the sources `directory` and `file` read a disk; take it out")
    );
    for (beside, expected) in [
        (
            "  encoding: {reencode: size}\n",
            "spec.encoding.reencode: pictures of a folder are sent as they are; take it out",
        ),
        (
            "  frameRate: {target: 5, adaptive: true}\n",
            "spec.frameRate.adaptive: a folder is read as fast as Kafka takes it, and `target` alone makes it slower; take it out",
        ),
    ] {
        assert_eq!(found("", &format!("{DISK}{beside}")), [expected], "{beside}");
    }
}
