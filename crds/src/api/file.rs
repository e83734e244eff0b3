//! The source `file` of a `CameraStream`: videos and sequences of pictures.

use glob::MatchOptions;
pub use glob::Pattern;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::units::Duration;

/// Videos (MP4, MKV, AVI and what else FFmpeg reads) and sequences of pictures, frame by frame. MJPEG and JPEG go on as they are;
/// everything else is decoded, and what is wanted of it encoded as JPEG. Each frame is sent once, also after a crash, unless it is
/// repeated. It ends with the last file: `edgereel run` exits when all its resources have ended, and in Kubernetes it is a Job, or a
/// CronJob with `schedule`. Nothing is dropped while Kafka is slow or away: reading waits. A file that cannot be read (empty, no
/// video, a codec that is not supported) is passed over, and counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.path) || (!self.path.startsWith('/') && !self.path.matches('(^|/)[.][.](/|$)'))").message("path is below the storage's root, without .."))]
#[x_kube(validation = Rule::new("!has(self.ledger) || self.ledger.startsWith('/')").message("ledger is an absolute path"))]
#[x_kube(validation = Rule::new("!has(self.ledger) || !has(self.repeat) || !self.repeat").message("what is repeated has no ledger"))]
pub struct FileSource {
    /// What is read, below the storage's root: a file; or a folder with all that is below it, of which files with the usual endings
    /// of videos and pictures count; or a pattern, as in `night/*.mp4`: `*` stands for any part of a name, `?` for a character, `**`
    /// for any directories. Files come in the order of their names, numbers in them as numbers (`cam2` before `cam10`). Pictures of
    /// one directory are a sequence. A symbolic link is followed where it stays inside. Default: the root itself.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
    /// How fast. Default: `fast`.
    #[serde(default)]
    pub pace: FilePace,
    /// Begin anew behind the last file, without end, as a camera that is always there: for demonstrations and tests. Frames come at
    /// the files' own pace then, are new ones each time, and are dropped while Kafka is slower. Default: false.
    #[serde(default)]
    pub repeat: bool,
    /// Leave out what comes before this time of each video, as in `90s`. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Duration>,
    /// Leave out what comes from this time of each video on. Default: to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Duration>,
    /// Take each so manieth frame of a video or sequence, the first one included: 1 to 1000000. Instead of it, `frameRate.target`
    /// says how many for each second of the video. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub frame_interval: Option<u32>,
    /// How many pictures of a sequence make a second: 0.001 to 1000. Default: 25.
    #[serde(default = "pictures_a_second")]
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub pictures_per_second: f64,
    /// What a frame's time (`ce_time`) is. Default: `recorded`.
    #[serde(default)]
    pub frame_time: FrameTime,
    /// A file whose size or time has changed within so long is being written, and waited for. From `0s` to `1h`. Default: `2s`.
    #[serde(default = "settle")]
    pub settle: Duration,
    /// Where it is noted how far it has come, in `.edgereel/cameras/<namespace>.<name>/`: an absolute path, for example of a volume
    /// of the `template`; then the storage is only read. Default: beside the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ledger: Option<String>,
}

fn pictures_a_second() -> f64 {
    25.0
}

fn settle() -> Duration {
    Duration::secs(2)
}

/// How fast files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FilePace {
    /// As fast as Kafka takes it.
    #[default]
    Fast,
    /// As the video would be watched.
    RealTime,
}

/// What the time of a file's frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FrameTime {
    /// When it was recorded: the time in the file (`creation_time`), or else that of its last change less its length, and the
    /// frame's place in it. Of a picture of a sequence, the file's time.
    #[default]
    Recorded,
    /// When it was sent.
    Sent,
}

impl FileSource {
    /// Where it is looked for, below the storage's root, and what has to match below that; none: what stands there counts.
    ///
    /// # Errors
    /// What is wrong with the pattern, in words.
    pub fn parts(&self) -> Result<(String, Option<Pattern>), String> {
        let parts: Vec<&str> = self.path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let wild = parts.iter().position(|part| part.contains(['*', '?', '[']));
        let Some(wild) = wild else { return Ok((parts.join("/"), None)) };
        let pattern = Pattern::new(&parts[wild..].join("/")).map_err(|e| e.msg.to_owned())?;
        Ok((parts[..wild].join("/"), Some(pattern)))
    }
}

/// Whether a path matches: a `*` stands for no `/`.
pub fn matches(pattern: &Pattern, path: &std::path::Path) -> bool {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    pattern.matches_path_with(path, options)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_pattern_begins_at_the_first_part_that_has_a_sign_of_one() {
        let parts = |path: &str| {
            let source: FileSource = serde_json::from_value(serde_json::json!({"path": path})).expect("sound");
            source.parts().map(|(root, pattern)| (root, pattern.map(|pattern| pattern.as_str().to_owned())))
        };
        assert_eq!(parts(""), Ok((String::new(), None)));
        assert_eq!(parts("./a//b.mp4"), Ok(("a/b.mp4".into(), None)));
        assert_eq!(parts("a/b/*.mp4"), Ok(("a/b".into(), Some("*.mp4".into()))));
        assert_eq!(parts("a/cam?/x.avi"), Ok(("a".into(), Some("cam?/x.avi".into()))));
        assert!(parts("a/***").is_err());
    }

    #[test]
    fn a_star_stays_in_its_directory_and_two_do_not() {
        let matches = |pattern: &str, path: &str| matches(&Pattern::new(pattern).expect("sound"), Path::new(path));
        assert!(matches("*.mp4", "a b.mp4") && !matches("*.mp4", "a/b.mp4"));
        assert!(matches("**/*.mp4", "a/b.mp4") && matches("**/*.mp4", "b.mp4"));
    }
}
