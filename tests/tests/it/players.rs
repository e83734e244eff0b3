//! Videos that keep real time, in players that we did not write: every repetition is a frame to all of them.

use edgereel_tests::{
    kafka::{self, topics::NewRecord},
    python, resources, scratch, unique, video,
};
use serde_json::json;

use crate::support::{assert_verified, store_all};

/// A camera of 10 frames a second that stood still for three seconds.
const FRAMES: u64 = 60;
const STALL_AFTER: u64 = 40;
const REPEATED: u64 = 30;

/// Reads a video from its first frame to its last, then from the middle: each place has to show what it showed before.
const SEEK: &str = r#"
import cv2, sys, zlib
video = cv2.VideoCapture(sys.argv[1])
seen = []
while True:
    ok, picture = video.read()
    if not ok: break
    seen.append(zlib.crc32(picture.tobytes()))
assert len(seen) == int(video.get(cv2.CAP_PROP_FRAME_COUNT)), (len(seen), video.get(cv2.CAP_PROP_FRAME_COUNT))
if sys.argv[2] == 'exact':
    for place in range(0, len(seen), 7):
        video.set(cv2.CAP_PROP_POS_FRAMES, place)
        ok, picture = video.read()
        assert ok and zlib.crc32(picture.tobytes()) == seen[place], place
print(len(seen), video.get(cv2.CAP_PROP_FPS))
"#;

#[test]
fn ffmpeg_opencv_and_vlc_show_a_frame_for_each_place_of_a_real_time_video() {
    let (kafka, topic, disk) = (kafka::shared(), unique("real-time"), scratch::dir("disk"));
    kafka.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    let time = |i: u64| 1_700_000_000_000 + 100 * (i + if i < STALL_AFTER { 0 } else { REPEATED }) as i64;
    let record = |(i, jpeg)| NewRecord { timestamp: Some(time(i as u64)), ..NewRecord::value(jpeg) };
    kafka.produce(&topic, video::pictures(FRAMES as usize).into_iter().enumerate().map(record));
    let output =
        |codec: &str| json!({"video": {"fileName": format!("{codec}.avi"), "codec": codec, "frameRate": "source"}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink("mjpeg", &topic, output("mjpeg"), &disk, json!({})),
        resources::sink("xvid", &topic, output("xvid"), &disk, json!({})),
    ]);
    store_all(kafka, &file, &["mjpeg", "xvid"], &topic);
    assert_verified(&file);
    let all = FRAMES + REPEATED;
    for codec in ["mjpeg", "xvid"] {
        let avi = disk.join(format!("{codec}.avi"));
        let probe = video::ffprobe(&avi);
        assert_eq!((probe.frames, probe.indexed, probe.rate), (all, all, 10.0), "{codec}: ffprobe");
        // OpenCV seeks an encoded video by its time, which B-frame-less XVID does not make exact.
        let seeks = if codec == "mjpeg" { "exact" } else { "no" };
        let said = python::run(SEEK, &[&avi.to_string_lossy(), seeks]);
        assert_eq!(said.trim(), format!("{all} 10.0"), "{codec}: OpenCV");
        let (frames, rate) = video::vlc_frames(&avi);
        // VLC's own writer leaves out what it holds back at the end.
        assert!((all - 2..=all).contains(&frames) && rate == 10.0, "{codec}: VLC has {frames} frames at {rate}");
    }
    let frames = video::jpegs_of(&disk.join("mjpeg.avi"));
    let still = &frames[STALL_AFTER as usize - 1..][..REPEATED as usize + 1];
    assert!(still.iter().all(|frame| *frame == still[0]), "the stall shows the picture before it");
}
