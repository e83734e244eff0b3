//! Cameras whose labels are wrong and whose pictures are sound, as servers of our own, byte by byte: each picture arrives as
//! it was, none comes twice, what is no whole picture is counted, and nobody is told that the camera is not well.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use edgereel_tests::{edgereel, kafka, unique, video, wait};
use serde_json::{Value, json};

use super::{mjpeg, run_cameras};
use crate::support::{is_ready, sorted, values};

/// So many pictures each camera has.
const PICTURES: usize = 40;
const PERIOD: Duration = Duration::from_millis(50);

/// What a camera does with its pictures.
struct Camera {
    name: &'static str,
    /// What is done to a picture before it is sent, so that it is still one.
    picture: fn(Vec<u8>) -> Vec<u8>,
    /// The head of a stream; none for a camera that is asked for each picture.
    head: Option<&'static str>,
    /// The bytes on the wire of the picture of this number.
    wire: fn(usize, &[u8]) -> Vec<u8>,
    /// Whether the picture of this number is sent whole.
    whole: fn(usize) -> bool,
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";

fn part(body: &[u8]) -> Vec<u8> {
    let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body, b"\r\n"].concat()
}

fn answer(headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body].concat()
}

/// A picture with more behind its first segment.
fn behind_the_first_segment(jpeg: Vec<u8>, more: &[u8]) -> Vec<u8> {
    let at = 4 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    [&jpeg[..at], more, &jpeg[at..]].concat()
}

fn cameras() -> Vec<Camera> {
    let stream = |name, wire| Camera { name, picture: |jpeg| jpeg, head: Some(STREAM), wire, whole: |_| true };
    let snapshot = |name, wire| Camera { head: None, ..stream(name, wire) };
    vec![
        Camera {
            head: Some(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\n\
                 Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n",
            ),
            ..stream("second-head", |_, jpeg| part(jpeg))
        },
        stream("bytes-before-picture", |n, jpeg| {
            part(&[[&b"\0\0"[..], b"X-Left: over\r\n", b"\r\n"][n % 3], jpeg].concat())
        }),
        Camera {
            picture: |jpeg| behind_the_first_segment(jpeg, &[0x37; 608]),
            ..stream("bytes-between-segments", |_, jpeg| part(jpeg))
        },
        Camera {
            picture: |jpeg| {
                let text = b"x\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n\xFF\xD8\xFF\xD9\r\n--frame\r\n";
                behind_the_first_segment(jpeg, &[&[0xFF, 0xFE, 0, text.len() as u8 + 2], &text[..]].concat())
            },
            ..stream("boundary-in-comment", |_, jpeg| {
                [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", jpeg, b"\r\n"].concat()
            })
        },
        Camera {
            head: Some(
                "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            ),
            ..stream("chunk-extensions", |_, jpeg| {
                let part = part(jpeg);
                [format!("{:x};note={}\r\n", part.len(), "n".repeat(1000)).as_bytes(), &part, b"\r\n"].concat()
            })
        },
        stream("text-beside-pictures", |_, jpeg| {
            [b"--frame\r\nContent-Type: text/plain\r\n\r\nbattery low\r\n", &part(jpeg)[..]].concat()
        }),
        snapshot("length-48-too-large", |_, jpeg| {
            answer("Content-Type: image/jpeg\r\nConnection: close", jpeg.len() + 48, jpeg)
        }),
        Camera {
            whole: |n| n % 3 != 2,
            ..snapshot("cut-in-half", |n, jpeg| match n % 3 {
                2 => answer("Content-Type: image/jpeg\r\nConnection: close", jpeg.len(), &jpeg[..jpeg.len() / 2]),
                _ => answer("Content-Type: image/jpeg", jpeg.len(), jpeg),
            })
        },
        snapshot("picture-called-text", |n, jpeg| {
            answer(["Content-Type: text/html", "Content-Type: text/plain"][n % 2], jpeg.len(), jpeg)
        }),
    ]
}

/// Reads a request to its end; `false` when none comes any more.
fn is_asked(client: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    while client.read_line(&mut line).is_ok_and(|n| n > 0) {
        if matches!(line.as_str(), "\r\n") {
            return true;
        }
        line.clear();
    }
    false
}

impl Camera {
    /// Serves the pictures, each once, and after the last one nothing. Gives the address.
    fn serve(self, pictures: Arc<Vec<Vec<u8>>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let next = AtomicUsize::new(0);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A worker that hangs up is no fault of the camera's.
                self.answer(client, &pictures, &next).ok();
            }
        });
        format!("http://{address}/")
    }

    fn answer(&self, client: TcpStream, pictures: &[Vec<u8>], next: &AtomicUsize) -> std::io::Result<()> {
        let mut client = BufReader::new(client);
        while is_asked(&mut client) {
            client.get_mut().write_all(self.head.unwrap_or_default().as_bytes())?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(jpeg) = pictures.get(n) else {
                    // Nothing more, until the worker hangs up.
                    return client.read_to_end(&mut vec![]).map(drop);
                };
                let wire = (self.wire)(n, jpeg);
                client.get_mut().write_all(&wire)?;
                if self.head.is_none() {
                    if wire.windows(17).any(|w| w == b"Connection: close") {
                        return Ok(());
                    }
                    break;
                }
                thread::sleep(PERIOD);
            }
        }
        Ok(())
    }
}

#[test]
fn whatever_stands_around_them_sound_pictures_arrive_as_they_are_and_the_camera_is_well() {
    let pictures = video::pictures(PICTURES);
    let (mut all, mut expected) = (vec![], vec![]);
    for camera in cameras() {
        let pictures: Vec<_> = pictures.iter().cloned().map(camera.picture).collect();
        let whole: Vec<_> = (0..).zip(&pictures).filter(|(n, _)| (camera.whole)(*n)).map(|(_, p)| p.clone()).collect();
        expected.push((camera.name, unique(camera.name), whole));
        let is_stream = camera.head.is_some();
        let (name, url) = (camera.name, camera.serve(Arc::new(pictures)));
        let source: Value = match is_stream {
            true => mjpeg(url),
            false => json!({"snapshot": {"url": url, "interval": PERIOD.as_millis().to_string() + "ms"}}),
        };
        let topic = json!({"name": expected.last().map(|(_, topic, _)| topic), "replicationFactor": 1});
        // It is silent after its last picture: that is no matter here.
        all.push((name, source, json!({"topic": topic, "watchdog": {"stall": "5m"}})));
    }
    let worker = run_cameras(&all, "");
    for (name, topic, whole) in &expected {
        wait::until_ok(&format!("{name}: all have come"), edgereel::PATIENCE, || {
            let acknowledged = worker.metrics().count("camera_frames_acknowledged", name);
            let status = || format!("{acknowledged} of {}: {:#}", whole.len(), worker.status_of(name));
            if acknowledged as usize >= whole.len() { Ok(()) } else { Err(status()) }
        });
        let entry = worker.status_of(name);
        assert!(is_ready(&entry), "{name}: {entry:#}");
        let lost = (PICTURES - whole.len()) as u64;
        let dropped = if lost > 0 { json!({"truncated": lost}) } else { json!({}) };
        assert_eq!(entry["figures"]["dropped"], dropped, "{name}: {entry:#}");
        let records = kafka::shared().consume_all(topic);
        assert!(sorted(values(&records)) == sorted(whole.clone()), "{name}: other pictures than were sent");
        let log = worker.log();
        let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(name)).count();
        assert!(lines <= 1 + usize::from(lost > 0), "{name}: {lines} lines\n{log}");
    }
}
