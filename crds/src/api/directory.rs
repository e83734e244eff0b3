//! The source `directory` of a `CameraStream`: a folder of labelled pictures.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::units::Duration;

/// A folder of labelled pictures: JPEG, PNG and WebP, told by their bytes, each sent once as it is. A file that cannot be sent
/// (empty, cut short, no picture, unreadable, larger than `encoding.maxFrameBytes`) is passed over, counted, and looked at again
/// when it changes. Nothing is dropped while Kafka is slow or away: reading waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.path) || (!self.path.startsWith('/') && !self.path.matches('(^|/)[.][.](/|$)'))").message("path is below the storage's root, without .."))]
#[x_kube(validation = Rule::new("(has(self.afterSent) && self.afterSent == 'move') == has(self.sentDirectory)").message("sentDirectory is for afterSent: move, which needs it"))]
#[x_kube(validation = Rule::new("(has(self.annotation) && self.annotation == 'csv') == has(self.annotationFile)").message("annotationFile is for annotation: csv, which needs it"))]
#[x_kube(validation = Rule::new("!has(self.ledger) || self.ledger.startsWith('/')").message("ledger is an absolute path"))]
pub struct DirectorySource {
    /// The folder below the storage's root, with all that is below it; it has to be there. Hidden files, and what systems and
    /// copying programs leave (`Thumbs.db`, `.part`, `~`, …), are no pictures of it. A symbolic link is followed where it stays
    /// inside the folder. Default: the root itself.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
    /// Where it is said what a picture shows. Default: `fileName`.
    #[serde(default)]
    pub annotation: AnnotationFrom,
    /// For `annotation: csv`: the CSV below the folder, in UTF-8, with a line of headings. Its columns `image_path` (or `file`,
    /// `image_name`, `filename`, `path`) and `annotation` (or `label`) count; a path is as seen from the folder, or a bare name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub annotation_file: Option<String>,
    /// Go on with the files that come later. With `false` it ends when all that is there was looked at and sent: `edgereel run`
    /// exits when all its resources have ended, and in Kubernetes it is a Job. Default: true.
    #[serde(default = "yes")]
    pub watch: bool,
    /// How often the folder is read anew for what the system has not told of, as on network file systems. From `1s` to `24h`.
    /// Default: `1m`.
    #[serde(default = "minute")]
    pub rescan: Duration,
    /// A file whose writer has not been seen to close it is taken when its size and time have not changed for so long. From `0s`
    /// to `1h`. Default: `2s`.
    #[serde(default = "settle")]
    pub settle: Duration,
    /// What becomes of a picture that Kafka has acknowledged; its sidecar goes with it. Default: `keep`.
    #[serde(default)]
    pub after_sent: AfterSent,
    /// For `afterSent: move`: the directory below the storage's root, on the folder's file system; made if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub sent_directory: Option<String>,
    /// Where it is noted what was sent, in `.edgereel/cameras/<namespace>.<name>/`: an absolute path, for example of a volume of
    /// the `template`; then the storage is only read, unless files are moved or deleted. Default: the folder itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ledger: Option<String>,
    /// A list of files that another program has sent, a name in each line, below the storage's root: at the very first start,
    /// those of them that are there count as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub processed_files: Option<String>,
}

fn yes() -> bool {
    true
}

fn minute() -> Duration {
    Duration::secs(60)
}

fn settle() -> Duration {
    Duration::secs(2)
}

/// Where it is said what a picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AnnotationFrom {
    /// The file's name without its ending.
    #[default]
    FileName,
    /// The name of the directory that it stands in.
    ParentFolder,
    /// The text of the file beside it that has the ending `.txt` in place of its own. Without it, the picture waits for it.
    Sidecar,
    /// The row of `annotationFile`. Without one, the picture waits for it.
    Csv,
    /// Nowhere: pictures without annotations.
    None,
}

/// What becomes of a picture that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AfterSent {
    /// It stays, and is not sent again unless it changes.
    #[default]
    Keep,
    /// It goes to `sentDirectory`, below which it has the same path; where that is taken, with `_2`, `_3`, … added.
    Move,
    /// It is deleted.
    Delete,
}
