//! Clients and players that we did not write: their records are stored by our sinks, our records and files are read by them.

use std::{fs, time::Duration};

use edgereel_tests::{
    Edgereel,
    kafka::{self, topics::NewRecord},
    process, python, resources, scratch, unique, video,
};
use serde_json::json;

use crate::support::{assert_verified, contents, files, in_time, jpeg_files, sorted, store_all, values};

const FRAMES: usize = 60;

/// The producers of the Python scripts, with kafka-python: `jpeg` sends binary frames, `json` frames in base64.
const SCRIPT_PRODUCER: &str = r#"
import base64, datetime, glob, json, sys, time
from kafka import KafkaProducer
bootstrap, topic, form, pictures = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=bootstrap.split(','))
for path in sorted(glob.glob(pictures + '/*.jpg')):
    frame = open(path, 'rb').read()
    if form == 'json':
        frame = json.dumps({'frame': base64.b64encode(frame).decode('utf-8'),
            'timestamp': datetime.datetime.now().isoformat(), 'size': round(len(frame) / 1024, 2)}).encode('utf-8')
    producer.send(topic, value=frame).get(timeout=30)
    # A camera's pictures are not two in one millisecond, which is all that Kafka's time tells apart.
    sent = int(time.time() * 1000)
    while int(time.time() * 1000) == sent:
        pass
producer.flush()
producer.close()
"#;

/// The topic filled by the scripts' producer, and the pictures that it sent, as files.
#[track_caller]
fn script_topic(form: &str) -> (String, std::path::PathBuf) {
    let (kafka, topic, dir) = (kafka::shared(), unique(&format!("script-{form}")), scratch::dir("sent"));
    for (i, jpeg) in video::pictures(FRAMES).iter().enumerate() {
        fs::write(dir.join(format!("{i:06}.jpg")), jpeg).expect("written");
    }
    kafka.create_topic(&topic, 3, &[]);
    python::run(SCRIPT_PRODUCER, &[kafka.bootstrap(), &topic, form, &dir.to_string_lossy()]);
    assert_eq!(kafka.record_count(&topic), FRAMES as i64);
    (topic, dir)
}

#[test]
fn binary_frames_of_kafka_python_are_stored_byte_by_byte() {
    let (kafka, disk) = (kafka::shared(), scratch::dir("disk"));
    let (topic, sent) = script_topic("jpeg");
    let sink = resources::sink("frames", &topic, jpeg_files("fps test data/cam"), &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["frames"], &topic);
    assert!(contents(&disk, ".jpg") == contents(&sent, ".jpg"), "the stored frames are not those that were sent");
    assert_verified(&file);
}

#[test]
fn json_frames_of_kafka_python_become_an_xvid_video_that_looks_like_them() {
    let (kafka, disk) = (kafka::shared(), scratch::dir("disk"));
    let (topic, sent) = script_topic("json");
    let output = json!({"video": {"fileName": "FrontGATE1.avi", "codec": "xvid", "frameRate": 10}});
    let sink = resources::sink("gate", &topic, output, &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["gate"], &topic);
    let avi = disk.join("FrontGATE1.avi");
    let probe = video::ffprobe(&avi);
    assert_eq!((probe.tag.as_str(), probe.width, probe.height), ("XVID", 320, 240));
    assert_eq!((probe.frames, probe.indexed, probe.rate), (FRAMES as u64, FRAMES as u64, 10.0));
    assert_eq!(video::opencv_frames(&avi), FRAMES as u64);
    let likeness = video::worst_likeness(&avi, &sent);
    // FFmpeg's own encoder gives these pictures 26.2 dB at the same quantiser: 4:2:0 costs saturated edges their colour.
    assert!(likeness > 25.5, "a frame has only {likeness:.1} dB");
    assert_verified(&file);
}

#[test]
fn an_mjpeg_video_holds_the_very_bytes_of_the_topic_in_the_order_of_capture() {
    let (kafka, topic, disk) = (kafka::shared(), unique("mjpeg"), scratch::dir("disk"));
    kafka.create_topic(&topic, 3, &[]);
    let start = 1_700_000_000_000;
    let record = |(i, jpeg): (usize, Vec<u8>)| NewRecord {
        partition: Some((i % 3) as i32),
        timestamp: Some(start + 100 * i as i64),
        ..NewRecord::value(jpeg)
    };
    kafka.produce(&topic, video::pictures(FRAMES).into_iter().enumerate().map(record));
    let whole = json!({"video": {"fileName": "whole.avi", "codec": "mjpeg", "frameRate": 10}});
    let parts = json!({"video": {"directory": "parts", "fileName": "part_{segment}.avi", "frameRate": 10,
        "segment": {"maxDuration": "2s"}}});
    let file = resources::write(&[
        resources::connection(kafka.bootstrap()),
        resources::sink("whole", &topic, whole, &disk, json!({})),
        resources::sink("parts", &topic, parts, &disk, json!({})),
    ]);
    store_all(kafka, &file, &["whole", "parts"], &topic);
    let expected = in_time(kafka.consume_all(&topic));
    let avi = disk.join("whole.avi");
    assert!(video::jpegs_of(&avi) == expected, "the video's frames are not the topic's");
    let probe = video::ffprobe(&avi);
    assert_eq!((probe.tag.as_str(), probe.frames, probe.rate), ("MJPG", FRAMES as u64, 10.0));
    assert_eq!(video::opencv_frames(&avi), FRAMES as u64);
    let segments = files(&disk.join("parts"), ".avi");
    assert!(segments.len() >= 3, "{segments:?}");
    let frames: Vec<Vec<u8>> = segments.iter().flat_map(|segment| video::jpegs_of(segment)).collect();
    assert!(frames == expected, "the segments' frames are not the topic's");
    assert_verified(&file);
}

/// Our capture of frames made here, so many of them at least, in this format.
#[track_caller]
fn our_topic(format: &str) -> String {
    let (kafka, topic) = (kafka::shared(), unique(&format!("ours-{format}")));
    let source = json!({"synthetic": {"size": "320x240", "frameBytes": "10k"}});
    let camera = resources::camera("cam", source, &topic, json!({"encoding": {"format": format}}));
    let worker = Edgereel::run([resources::write(&[resources::connection(kafka.bootstrap()), camera])]);
    worker.await_metrics("frames are acknowledged", |m| m.count("camera_frames_acknowledged", "cam") >= 30);
    assert!(worker.stop().success());
    topic
}

#[test]
fn kcat_reads_our_frames_with_their_key_and_cloudevents_headers() {
    let (kafka, topic) = (kafka::shared(), our_topic("jpeg"));
    let form = "%k|%S|%h\n";
    let kcat = ["-q", "-C", "-b", kafka.bootstrap(), "-t", &topic, "-o", "beginning", "-e", "-f", form];
    let said = process::output("kcat", process::command("kcat", kcat), Duration::from_secs(60)).expect("kcat reads");
    let records = kafka.consume_all(&topic);
    assert_eq!(said.lines().count(), records.len());
    for line in said.lines() {
        assert!(line.starts_with("cam|"), "{line}");
        for header in
            ["content-type=image/jpeg", "ce_specversion=1.0", "ce_type=dev.edgereel.frame.v1", "ce_id=", "ce_time="]
        {
            assert!(line.contains(header), "{header} is not in {line}");
        }
    }
    assert_eq!(video::sizes_of(&values(&records)), vec![(320, 240); records.len()]);
}

/// The consumer of the Python scripts: it decodes each frame, as `jpeg` or as `json`, and prints width, height and size.
const SEED_CONSUMER: &str = r#"
import base64, cv2, json, numpy, sys
from kafka import KafkaConsumer
bootstrap, topic, form = sys.argv[1:]
consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap.split(','), group_id=None, auto_offset_reset='earliest',
    consumer_timeout_ms=5000)
for message in consumer:
    value = message.value
    if form == 'json':
        data = json.loads(value.decode('utf-8'))
        value = base64.b64decode(data['frame'])
        assert data['size'] == round(len(value) / 1024, 2), data['size']
        assert data['timestamp'][10] == 'T'
    frame = cv2.imdecode(numpy.frombuffer(value, numpy.uint8), cv2.IMREAD_COLOR)
    print(frame.shape[1], frame.shape[0])
"#;

#[test]
fn kafka_python_and_opencv_decode_every_frame_of_ours_in_both_formats() {
    let kafka = kafka::shared();
    for format in ["jpeg", "json"] {
        let topic = our_topic(format);
        let said = python::run(SEED_CONSUMER, &[kafka.bootstrap(), &topic, format]);
        let expected = vec!["320 240"; kafka.record_count(&topic) as usize];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{format}");
    }
}

#[test]
fn our_sink_stores_what_our_capture_sent_and_nothing_else() {
    let (kafka, topic, disk) = (kafka::shared(), our_topic("jpeg"), scratch::dir("disk"));
    let sink = resources::sink("own", &topic, jpeg_files(""), &disk, json!({}));
    let file = resources::write(&[resources::connection(kafka.bootstrap()), sink]);
    store_all(kafka, &file, &["own"], &topic);
    assert!(contents(&disk, ".jpg") == sorted(values(&kafka.consume_all(&topic))));
}
