//! Judging our videos and pictures with players that we did not write: FFmpeg, OpenCV and VLC.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::unistd::Uid;
use serde_json::Value;

use crate::{
    cameras::NOBODY,
    process::{self, command},
    python, scratch,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// What ffprobe says of a video's picture track after decoding all of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // FFmpeg's own terms
pub struct Probe {
    pub codec: String,
    /// The FourCC.
    pub tag: String,
    pub width: u64,
    pub height: u64,
    /// Frames a second, as in the header.
    pub rate: f64,
    /// Frames in the index.
    pub indexed: u64,
    /// Frames that decode.
    pub frames: u64,
}

/// Decodes a whole video with FFmpeg.
///
/// # Panics
/// When FFmpeg cannot read it, or complains of anything in it.
#[track_caller]
pub fn ffprobe(path: &Path) -> Probe {
    let none = |said: &str| if said.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{said}")) };
    probe(path, none).unwrap_or_else(|e| panic!("ffprobe on {}: {e:#}", path.display()))
}

/// What ffprobe says; `complaints` judges its warnings.
fn probe(path: &Path, complaints: impl FnOnce(&str) -> Result<()>) -> Result<Probe> {
    let mut ffprobe = command("ffprobe", ["-v", "warning", "-count_frames", "-select_streams", "v:0"]);
    ffprobe.args(["-show_streams", "-of", "json"]).arg(path);
    let finished = process::run("ffprobe", ffprobe, PATIENCE)?;
    anyhow::ensure!(finished.status.success(), "{}", finished.stderr);
    complaints(&finished.stderr)?;
    let said: Value = serde_json::from_str(&finished.stdout)?;
    let stream = said["streams"].get(0).context("no picture track")?;
    let text = |key: &str| stream[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| stream[key].as_u64().or_else(|| text(key).parse().ok()).unwrap_or_default();
    let rate = text("r_frame_rate");
    let (over, under) = rate.split_once('/').context("no frame rate")?;
    Ok(Probe {
        codec: text("codec_name"),
        tag: text("codec_tag_string"),
        width: number("width"),
        height: number("height"),
        rate: over.parse::<f64>()? / under.parse::<f64>()?,
        indexed: number("nb_frames"),
        frames: number("nb_read_frames"),
    })
}

/// The frames of an MJPEG video as FFmpeg's demuxer takes them out, byte for byte, in their order.
///
/// # Panics
/// When FFmpeg cannot read it.
#[track_caller]
pub fn jpegs_of(video: &Path) -> Vec<Vec<u8>> {
    let dir = scratch::dir("frames");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-i"]);
    ffmpeg.arg(video).args(["-map", "0:v", "-c", "copy", "-f", "image2"]).arg(dir.join("%08d.jpg"));
    process::output("ffmpeg", ffmpeg, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    files(&dir)
}

/// How many frames OpenCV reads from a video, one after the other.
///
/// # Panics
/// When OpenCV cannot open it.
#[track_caller]
pub fn opencv_frames(video: &Path) -> u64 {
    const SCRIPT: &str = "
import cv2, sys
video = cv2.VideoCapture(sys.argv[1])
assert video.isOpened(), 'cannot open'
count = 0
while True:
    ok, picture = video.read()
    if not ok: break
    assert picture.size > 0
    count += 1
print(count)
";
    let said = python::run(SCRIPT, &[&video.to_string_lossy()]);
    said.trim().parse().unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// How many frames VLC reads from a video, but for the last two at most, and how many a second it takes them for.
///
/// # Panics
/// When VLC cannot read it.
#[track_caller]
pub fn vlc_frames(video: &Path) -> (u64, f64) {
    try_vlc_frames(video).unwrap_or_else(|e| panic!("VLC on {}: {e:#}", video.display()))
}

fn try_vlc_frames(video: &Path) -> Result<(u64, f64)> {
    let dir = scratch::dir("vlc");
    let (original, copy) = (dir.join("original.avi"), dir.join("copy.avi"));
    fs::copy(video, &original)?;
    let mut vlc = command("cvlc", ["-I", "dummy", "--no-audio", "--play-and-exit", "--sout"]);
    vlc.arg(format!("#std{{access=file,mux=avi,dst={}}}", copy.display())).arg(&original).env("HOME", &dir);
    // VLC does not run as root.
    if Uid::effective().is_root() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        vlc.uid(NOBODY).gid(NOBODY);
    }
    process::run("vlc", vlc, PATIENCE)?;
    // VLC writes an XVID stream's headers twice, of which FFmpeg complains.
    let probe = probe(&copy, |_| Ok(()))?;
    Ok((probe.indexed, probe.rate))
}

/// The lowest peak signal-to-noise ratio in dB, over all frames, between a video and the JPEG files of this directory
/// in the order of their names, by OpenCV. 30 dB and more look alike; another picture has less than 20.
///
/// # Panics
/// When their numbers differ or one cannot be read.
#[track_caller]
pub fn worst_likeness(video: &Path, pictures: &Path) -> f64 {
    const SCRIPT: &str = "
import cv2, glob, sys
video = cv2.VideoCapture(sys.argv[1])
worst = 1e9
for path in sorted(glob.glob(glob.escape(sys.argv[2]) + '/*.jpg')):
    ok, frame = video.read()
    assert ok, 'the video ends before ' + path
    worst = min(worst, cv2.PSNR(frame, cv2.imread(path)))
assert not video.read()[0], 'the video has more frames than there are pictures'
print(worst)
";
    let said = python::run(SCRIPT, &[&video.to_string_lossy(), &pictures.to_string_lossy()]);
    said.trim().parse().unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// So many different JPEGs of 320×240, from FFmpeg's test picture; the same ones every time.
///
/// # Panics
/// When FFmpeg cannot make them.
#[track_caller]
pub fn pictures(count: usize) -> Vec<Vec<u8>> {
    let dir = scratch::dir("pictures");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10"]);
    ffmpeg.args(["-frames:v", &count.to_string(), "-q:v", "3", "-f", "image2"]).arg(dir.join("%08d.jpg"));
    process::output("ffmpeg", ffmpeg, PATIENCE).unwrap_or_else(|e| panic!("{e:#}"));
    let made = files(&dir);
    assert_eq!(made.len(), count);
    made
}

/// Width and height of each JPEG, as OpenCV decodes it.
///
/// # Panics
/// When one cannot be decoded, or the decoder complains of it (a missing end, corrupt data).
#[track_caller]
pub fn sizes_of(jpegs: &[Vec<u8>]) -> Vec<(u16, u16)> {
    try_sizes_of(jpegs).unwrap_or_else(|e| panic!("{e:#}"))
}

/// As [`sizes_of`], failing instead.
pub fn try_sizes_of(jpegs: &[Vec<u8>]) -> Result<Vec<(u16, u16)>> {
    const SCRIPT: &str = "
import cv2, glob, sys
for path in sorted(glob.glob(glob.escape(sys.argv[1]) + '/*.jpg')):
    picture = cv2.imread(path)
    assert picture is not None, path
    print(picture.shape[1], picture.shape[0])
";
    let dir = scratch::dir("decode");
    for (i, jpeg) in jpegs.iter().enumerate() {
        fs::write(dir.join(format!("{i:08}.jpg")), jpeg)?;
    }
    let mut python = python::command();
    python.arg("-c").arg(SCRIPT).arg(&dir);
    let said = process::run("python", python, PATIENCE)?;
    anyhow::ensure!(said.status.success() && said.stderr.is_empty(), "{}", said.stderr);
    fs::remove_dir_all(&dir)?;
    let size = |line: &str| {
        let (width, height) = line.split_once(' ').context("not a size")?;
        Ok((width.parse()?, height.parse()?))
    };
    said.stdout.lines().map(size).collect()
}

/// How bright a JPEG is at these points, as OpenCV decodes it.
///
/// # Panics
/// When it cannot be decoded.
#[track_caller]
pub fn brightness(jpeg: &[u8], points: &[(u32, u32)]) -> Vec<u8> {
    const SCRIPT: &str = "
import cv2, sys
picture = cv2.imread(sys.argv[1], cv2.IMREAD_GRAYSCALE)
for point in sys.argv[2:]:
    x, y = map(int, point.split(','))
    print(picture[y, x])
";
    let file = scratch::dir("brightness").join("picture.jpg");
    fs::write(&file, jpeg).unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
    let points = points.iter().map(|(x, y)| format!("{x},{y}"));
    let args: Vec<String> = [file.to_string_lossy().into_owned()].into_iter().chain(points).collect();
    let said = python::run(SCRIPT, &args.iter().map(String::as_str).collect::<Vec<_>>());
    said.lines().map(|line| line.parse().unwrap_or_else(|e| panic!("{e}: {said}"))).collect()
}

/// The contents of a directory's files in the order of their names; the directory goes.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    let contents = paths.iter().map(|p| fs::read(p).unwrap_or_else(|e| panic!("{}: {e}", p.display()))).collect();
    // A failed test keeps its scratch directory: these would only fill it.
    let _ = fs::remove_dir_all(dir);
    contents
}
