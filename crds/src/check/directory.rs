//! What the source `directory`, and the storage of a `CameraStream`, have to keep to.

use std::time::Duration;

use super::{Report, paths};
use crate::{
    api::{
        camera_stream::{CameraStreamSpec, Reencode, Source},
        directory::{AfterSent, AnnotationFrom, DirectorySource},
        storage::FolderStorage,
        units,
    },
    problem::{FieldPath, shown},
};

const AT: &str = "spec.source.directory";

/// What files ask of the fields beside them, and storage of a source that has none.
pub(super) fn check_storage(spec: &CameraStreamSpec, report: &mut Report<'_>) {
    let name = match &spec.source {
        Source::Directory(_) => "directory",
        Source::File(_) => "file",
        Source::Mjpeg(_) | Source::Snapshot(_) | Source::Rtsp(_) | Source::Device(_) | Source::Synthetic(_) => {
            let message = "only the sources `directory` and `file` read a disk";
            return report.unless(spec.storage.is_none(), "spec.storage", message, "take it out");
        }
    };
    match &spec.storage {
        None => {
            let message = format!("it is missing, and `source.{name}` does not say on which disk the folder is");
            report.add("spec.storage", message, "add `storage: {hostPath: {path: /…}}`, or a claim");
        }
        Some(FolderStorage::HostPath(host)) => {
            if let Err((message, remedy)) = paths::host_path(&host.path) {
                report.add("spec.storage.hostPath.path", message, remedy);
            }
        }
        Some(FolderStorage::PersistentVolumeClaim(_)) => {}
    }
    let message = "a folder's disk is mounted into a pod of its own";
    report.unless(spec.worker_ref.is_none(), "spec.workerRef", message, "take it out");
    if let Source::Directory(directory) = &spec.source {
        let message = "pictures of a folder are sent as they are";
        report.unless(spec.encoding.reencode == Reencode::Never, "spec.encoding.reencode", message, "take it out");
        let message = "a folder is read as fast as Kafka takes it, and `target` alone makes it slower";
        report.unless(!spec.frame_rate.adaptive, "spec.frameRate.adaptive", message, "take it out");
        check(directory, report);
    }
}

fn check(directory: &DirectorySource, report: &mut Report<'_>) {
    let at = FieldPath::of(AT);
    let below = [
        ("path", Some(&directory.path)),
        ("sentDirectory", directory.sent_directory.as_ref()),
        ("annotationFile", directory.annotation_file.as_ref()),
        ("processedFiles", directory.processed_files.as_ref()),
    ];
    for (field, path) in below.into_iter().filter_map(|(field, path)| Some((field, path?))) {
        if let Err((message, remedy)) = paths::directory(path) {
            report.add(at.key(field), message, remedy);
        }
    }
    if let Some(Err((message, remedy))) = directory.ledger.as_deref().map(paths::host_path) {
        report.add(at.key("ledger"), message, remedy);
    }
    goes_with(
        directory.after_sent == AfterSent::Move,
        "afterSent: move",
        "sentDirectory",
        &directory.sent_directory,
        report,
    );
    goes_with(
        directory.annotation == AnnotationFrom::Csv,
        "annotation: csv",
        "annotationFile",
        &directory.annotation_file,
        report,
    );
    if let Some(sent) = &directory.sent_directory
        && parts(sent) == parts(&directory.path)
    {
        let message = format!("`{}` is the folder itself", shown(sent));
        report.add(at.key("sentDirectory"), message, "name another directory");
    }
    duration(&at.key("rescan"), directory.rescan, (1, 24 * 3600), "write `1s` to `24h`", report);
    duration(&at.key("settle"), directory.settle, (0, 3600), "write `0s` to `1h`", report);
}

/// A duration within so many seconds.
pub(super) fn duration(
    at: &FieldPath,
    duration: units::Duration,
    (least, most): (u64, u64),
    remedy: &str,
    report: &mut Report<'_>,
) {
    let fine = (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&*duration);
    if !fine {
        report.add(at.clone(), format!("`{duration}` is out of range"), remedy);
    }
}

/// A field that another one's value needs, and no other takes.
fn goes_with(needed: bool, by: &str, field: &str, value: &Option<String>, report: &mut Report<'_>) {
    let at = FieldPath::of(AT).key(field);
    match (needed, value) {
        (true, None) => report.add(at, format!("it is missing, and `{by}` needs it"), "give a path"),
        (false, Some(_)) => report.add(at, format!("it is for `{by}`"), format!("set `{by}`, or take it out")),
        _ => {}
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}
