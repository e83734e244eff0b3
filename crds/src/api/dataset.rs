//! The output `dataset` of a `FrameSink`: pictures with what they show.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    template::{Template, zone::zone},
    units::{ByteSize, Duration},
};

/// Pictures, each a file, and a CSV that says what each shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.directory) || (!self.directory.startsWith('/') && !self.directory.matches('(^|/)[.][.](/|$)'))").message("directory is below the storage's root, without .."))]
#[x_kube(validation = Rule::new("!has(self.fileName) || (self.fileName.contains('{partition') && self.fileName.contains('{offset'))").message("fileName needs {partition} and {offset}"))]
#[x_kube(validation = Rule::new("!has(self.rotate) || !has(self.annotations) || self.annotations.contains('{timestamp') || self.annotations.contains('{segment')").message("with rotate, annotations needs {timestamp} or {segment}"))]
pub struct Dataset {
    /// The directory below the storage's root; made if missing. Default: the root itself.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub directory: String,
    /// The pictures' names below it, without their ending: `.jpg`, `.png` or `.webp` is added, as the picture's bytes tell.
    /// Fields as for `jpegFiles`, and `{annotation}` and `{file}`: the record's `file` without its directory and ending, where it
    /// has none its annotation, else its capture time. `{partition}` and `{offset}` have to be there (and `{topic}` with several topics), with something between them that
    /// cannot stand in them. Default: `output_images/{partition}-{offset:06}_{file}`.
    #[serde(default = "picture_name")]
    #[schemars(length(min = 1, max = 1024))]
    pub file_name: String,
    /// The CSV's name below `directory`: `image_path,annotation`, a row for each picture in the order of capture, paths as seen
    /// from `directory`. With `rotate`, fields of the first row's record as for `fileName`, and `{segment}`, the file's number; one of
    /// `{timestamp}` and `{segment}` has to be there. A name that is taken gets `_2`, `_3`, …. Default: `annotation.csv`, with
    /// `rotate` `annotation_{timestamp:%Y-%m-%d}.csv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub annotations: Option<String>,
    /// The time zone of days and of the times in names, by its IANA name, as in `Europe/Rome`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// When to begin a new CSV. Without it, one file that grows on across restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<Rotation>,
    /// What to do with an annotation that a spreadsheet would take for a formula. Default: `escape`.
    #[serde(default)]
    pub formulas: Formulas,
    /// How long a picture without a key waits for older ones from other partitions, as for `video`. From `0s` to `5s`. Default: `250ms`.
    #[serde(default = "merge_window")]
    pub merge_window: Duration,
}

impl Dataset {
    /// The pictures' names, without an ending.
    ///
    /// # Errors
    /// What is wrong with `fileName` or `timeZone`.
    pub fn template(&self) -> Result<Template, String> {
        self.in_zone(&self.file_name)
    }

    /// The CSV's name, or the default.
    pub fn annotations(&self) -> &str {
        let default = if self.rotate.is_some() { "annotation_{timestamp:%Y-%m-%d}.csv" } else { "annotation.csv" };
        self.annotations.as_deref().unwrap_or(default)
    }

    /// The CSV's name, ready to be written.
    ///
    /// # Errors
    /// What is wrong with `annotations` or `timeZone`.
    pub fn annotations_template(&self) -> Result<Template, String> {
        self.in_zone(self.annotations())
    }

    fn in_zone(&self, name: &str) -> Result<Template, String> {
        Ok(Template::parse(name)?.in_zone(zone(self.time_zone.as_deref())?))
    }
}

/// The default of `mergeWindow`, of videos too.
pub(super) fn merge_window() -> Duration {
    Duration::millis(250)
}

fn picture_name() -> String {
    "output_images/{partition}-{offset:06}_{file}".into()
}

/// When to begin a new CSV: at the first of the two. At least one has to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.every) || has(self.maxBytes)").message("give every or maxBytes"))]
pub struct Rotation {
    /// With the first picture of a new day, by the capture times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// By the CSV's size, for example `64Mi`. At least `1Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
}

/// A part of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Every {
    /// A day in `timeZone`.
    Day,
}

/// What to do with an annotation that begins with `=`, `+`, `-`, `@`, a tab or a carriage return: a spreadsheet that opens the CSV
/// would take it for a formula and run it. A number (`-1`, `+2.5e3`) is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Formulas {
    /// An apostrophe is put before it, and before one that begins with an apostrophe: whoever takes a leading apostrophe off has
    /// each annotation as it was.
    #[default]
    Escape,
    /// It is written as it is, for programs.
    Keep,
}
