//! SIGKILL at random moments: what was acknowledged is whole in the topic, and what is in the topic ends on the disk once.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use edgereel_tests::{
    Edgereel,
    kafka::{self, topics::NewRecord},
    resources, scratch, unique, video, wait,
};
use rand::Rng;
use serde_json::{Value, json};

use crate::support::{assert_verified, contents, in_time, jpeg_files, sorted, store_all, values};

pub const ROUNDS: usize = 5;
const FRAMES: usize = 600;

/// A crash may come while the worker starts, joins, catches up or is at rest.
fn any_moment() -> Duration {
    Duration::from_millis(rand::rng().random_range(50..3_000))
}

/// Lets the worker run until a random moment, and kills it.
pub fn run_and_kill(file: &Path) {
    let worker = Edgereel::run([file]);
    let ended = worker.child().wait(any_moment());
    assert!(ended.is_err(), "the worker ended by itself: {ended:?}\n{}", worker.child().tail());
    worker.kill();
}

/// A sink is killed again and again while its topic fills, then ends with exactly the topic's frames.
#[track_caller]
fn survives(name: &str, output: Value, frames_on_disk: impl Fn(&Path) -> Vec<Vec<u8>>, ordered: bool) {
    let (kafka, topic, disk) = (kafka::shared(), unique(name), scratch::dir(name));
    kafka.create_topic(&topic, 3, &[]);
    let durability = json!({"durability": {"flushInterval": "100ms", "flushFrames": 16}});
    let sink = resources::sink(name, &topic, output, &disk, durability);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    let pictures = video::pictures(FRAMES);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (round, part) in pictures.chunks(FRAMES / (2 * ROUNDS)).enumerate() {
                let record = |(i, jpeg): (usize, &Vec<u8>)| NewRecord {
                    timestamp: Some(1_700_000_000_000 + 33 * (round * 1000 + i) as i64),
                    ..NewRecord::value(jpeg.clone())
                };
                kafka.produce(&topic, part.iter().enumerate().map(record));
            }
        });
        for _ in 0..ROUNDS {
            run_and_kill(&file);
        }
    });
    store_all(kafka, &file, &[name], &topic);
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len(), FRAMES);
    let stored = frames_on_disk(&disk);
    if ordered {
        assert_eq!(stored.len(), FRAMES);
        assert!(stored == in_time(records), "the video's frames are not the topic's, or in another order");
    } else {
        assert!(sorted(stored) == sorted(values(&records)), "the stored frames are not the topic's");
    }
    assert_verified(&file);
}

#[test]
fn a_jpeg_sink_killed_at_random_moments_ends_with_every_frame_once() {
    survives("jpeg-crash", jpeg_files("frames"), |disk| contents(&disk.join("frames"), ".jpg"), false);
}

#[test]
fn an_mjpeg_video_killed_at_random_moments_ends_with_every_frame_once() {
    let output = json!({"video": {"fileName": "one.avi", "codec": "mjpeg", "frameRate": 30}});
    // Frames that were produced while the sink was at the topic's end may stand in the order of their arrival.
    survives("mjpeg-crash", output, |disk| video::jpegs_of(&disk.join("one.avi")), false);
}

#[test]
fn an_xvid_video_killed_at_random_moments_ends_with_as_many_frames() {
    let (kafka, topic, disk) = (kafka::shared(), unique("xvid-crash"), scratch::dir("xvid-crash"));
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, video::pictures(FRAMES).into_iter().map(NewRecord::value));
    let output = json!({"video": {"fileName": "one.avi", "codec": "xvid", "frameRate": 10}});
    let durability = json!({"durability": {"flushInterval": "100ms", "flushFrames": 16}});
    let sink = resources::sink("xvid-crash", &topic, output, &disk, durability);
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    for _ in 0..ROUNDS {
        run_and_kill(&file);
    }
    store_all(kafka, &file, &["xvid-crash"], &topic);
    assert_eq!(video::ffprobe(&disk.join("one.avi")).frames, FRAMES as u64);
    assert_eq!(video::opencv_frames(&disk.join("one.avi")), FRAMES as u64);
    assert_verified(&file);
}

#[test]
fn a_capture_killed_at_random_moments_leaves_whole_frames_without_a_gap() {
    let (kafka, topic) = (kafka::shared(), unique("capture-crash"));
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let camera = resources::camera("cam", source, &topic, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), camera]);
    for _ in 0..ROUNDS {
        let before = kafka.record_count(&topic);
        let worker = Edgereel::run([&file]);
        wait::until("frames come to the topic", Duration::from_secs(60), || kafka.record_count(&topic) > before);
        // Running on is what is wished: only a worker that ends by itself is wrong.
        assert!(worker.child().wait(any_moment()).is_err(), "{}", worker.child().tail());
        worker.kill();
    }
    let records = kafka.consume_all(&topic);
    assert_eq!(video::sizes_of(&values(&records)), vec![(320, 240); records.len()]);
    let mut sessions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in &records {
        let id = record.header("ce_id").expect("each record has its id");
        let (session, number) = id.rsplit_once('-').expect("<session>-<number>");
        sessions.entry(session.into()).or_default().push(number.parse().expect("a number"));
    }
    assert_eq!(sessions.len(), ROUNDS);
    for (session, numbers) in sessions {
        // One key, one partition: they stand in the order in which they were sent, up to the one that the crash cut off.
        let gapless = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(gapless, "session {session} has gaps or repeats: {numbers:?}");
    }
}
