//! The harness itself keeps its promises.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use edgereel_tests::{
    cameras::{self, Camera},
    kafka::{self, Cluster, Options, topics::NewRecord},
    unique, video, wait,
};

#[test]
fn the_shared_broker_gives_back_what_was_produced() {
    let (kafka, topic) = (kafka::shared(), unique("harness"));
    kafka.create_topic(&topic, 3, &[("retention.ms", "604800000")]);
    kafka.produce(&topic, (0..30u8).map(|n| NewRecord { key: Some(vec![n]), ..NewRecord::value(vec![n; 9]) }));
    let records = kafka.consume_all(&topic);
    assert_eq!(records.len(), 30);
    assert!(records.iter().all(|r| r.key.as_ref().map(|k| k[0]) == r.value.as_ref().map(|v| v[8])));
    assert_eq!((kafka.record_count(&topic), kafka.lag(&unique("nobody"), &topic).expect("known")), (30, 30));
}

#[test]
fn the_secure_broker_knows_admin_and_nobody_else() {
    let kafka = kafka::secure();
    let topic = unique("secure");
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, [NewRecord::value("x")]);
    assert_eq!(kafka.consume_all(&topic).len(), 1);
    assert_ne!(kafka.admin_password(), kafka.guest_password());
    assert!(kafka.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn three_brokers_survive_the_loss_of_one_and_take_it_back() {
    let kafka = Cluster::start(3, Options::default()).expect("starts");
    let topic = unique("three");
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(&topic, (0..10).map(|n| NewRecord::value(vec![n])));
    kafka.kill(1);
    wait::until("the two others lead every partition", Duration::from_secs(30), || {
        kafka.offsets(&topic).is_ok_and(|o| o.iter().map(|(_, high)| high).sum::<i64>() == 10)
    });
    kafka.produce(&topic, (10..20).map(|n| NewRecord::value(vec![n])));
    kafka.restart(1);
    assert_eq!(kafka.consume_all(&topic).len(), 20);
}

/// Asks a camera as any client does, until two pictures have begun.
fn two_pictures_come_from(camera: &Camera) {
    let (host, path) = camera.url["http://".len()..].split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    write!(stream, "GET /{path} HTTP/1.0\r\n\r\n").expect("it takes a request");
    let (mut seen, mut buffer) = (vec![], vec![0; 65_536]);
    while seen.windows(3).filter(|w| *w == [0xFF, 0xD8, 0xFF]).count() < 2 {
        let read = stream.read(&mut buffer).expect("it sends");
        assert!(read > 0, "{} ended after {} bytes", camera.url, seen.len());
        seen.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn every_camera_server_serves_pictures() {
    for start in [cameras::ffmpeg_mpjpeg, cameras::gstreamer_multipart, cameras::vlc] {
        two_pictures_come_from(&start());
    }
    two_pictures_come_from(&cameras::ustreamer(true));
}

#[test]
fn opencv_sees_pictures_as_they_are_and_refuses_half_ones() {
    let mut pictures = video::pictures(3);
    assert_eq!(video::sizes_of(&pictures), [(320, 240); 3]);
    pictures[1].truncate(2000);
    assert!(video::try_sizes_of(&pictures).is_err(), "half a picture passes");
}
