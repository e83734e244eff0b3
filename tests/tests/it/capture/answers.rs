//! Cameras that answer in their own way: a bad answer among good ones, a connection that dies, one for each picture, a login
//! that they refuse. Small servers, since none that others wrote does this on demand.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use edgereel_tests::{Edgereel, edgereel, kafka, resources, unique, video, wait};
use serde_json::{Value, json};

use super::{mjpeg, whole_and_in_order};
use crate::support::{condition, is_ready};

/// A request: its number on its connection and among all, from 0, and its head.
struct Request<'a> {
    nth: usize,
    number: usize,
    head: &'a str,
}

/// What is sent, and whether the connection is kept.
type Reply = (Vec<u8>, bool);

/// Answers requests on a free port until the process ends.
fn serve(answer: impl Fn(&Request<'_>) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let (answer, numbers) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (answer, numbers) = (answer.clone(), numbers.clone());
            thread::spawn(move || connection(socket, &numbers, &*answer));
        }
    });
    url
}

/// A client that goes away is no fault of the server's.
fn connection(mut socket: TcpStream, numbers: &AtomicUsize, answer: &dyn Fn(&Request<'_>) -> Reply) {
    for nth in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if !socket.read(&mut byte).is_ok_and(|read| read == 1) {
                return;
            }
            head.push(byte[0]);
        }
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let head = String::from_utf8_lossy(&head);
        let (bytes, keep) = answer(&Request { nth, number, head: &head });
        if socket.write_all(&bytes).is_err() || !keep {
            return;
        }
    }
}

fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn snapshot(url: &str) -> Value {
    json!({"snapshot": {"url": url, "interval": "100ms"}})
}

#[test]
fn cameras_that_answer_in_their_own_way_are_ready_all_the_time_and_a_refused_login_is_not_tried_again_soon() {
    const PICTURES: u64 = 60;
    let pictures = Arc::new(video::pictures(8));
    let picture = {
        let pictures = pictures.clone();
        move |number: usize| pictures[number % pictures.len()].clone()
    };
    let shot = {
        let picture = picture.clone();
        move |number: usize| response("200 OK", "image/jpeg", &picture(number))
    };
    let (dies, errs) = (shot.clone(), shot);
    let kept_dies = serve(move |r| if r.nth == 0 { (dies(r.number), true) } else { (vec![], false) });
    let among_errors = serve(move |r| match r.number % 6 {
        1 => (response("200 OK", "text/html", b"[{\"error\": 1}]"), true),
        3 => (response("200 OK", "image/jpeg", b"<status>device error</status>"), true),
        5 => (response("503 Service Unavailable", "application/xml", b"<status>busy</status>"), true),
        _ => (errs(r.number), true),
    });
    let closes = serve(move |r| {
        let jpeg = picture(r.number);
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\nConnection: close\r\n\r\n";
        let part = format!("--x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        thread::sleep(std::time::Duration::from_millis(50)); // the camera's own rate
        ([head.as_bytes(), part.as_bytes(), &jpeg, b"\r\n--x--\r\n"].concat(), false)
    });
    let logins = Arc::new(AtomicUsize::new(0));
    let count = logins.clone();
    let refuses = serve(move |r| {
        count.fetch_add(usize::from(r.head.to_ascii_lowercase().contains("authorization: ")), Ordering::Relaxed);
        let head =
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"n\", qop=\"auth-int\"\r\n";
        (format!("{head}Content-Length: 0\r\n\r\n").into_bytes(), true)
    });
    let (topic, good) = (unique("answers"), ["kept-dies", "among-errors", "closes"]);
    let camera = |name: &str, source: Value| resources::camera(name, source, &topic, json!({}));
    let documents = [
        resources::connection(kafka::shared().bootstrap()),
        camera("kept-dies", snapshot(&kept_dies)),
        camera("among-errors", snapshot(&among_errors)),
        camera("closes", mjpeg(&closes)),
        camera("refuses", mjpeg(refuses.replace("http://", "http://ann:guess@"))),
    ];
    let worker = Edgereel::run([resources::write(&documents)]);
    good.iter().for_each(|name| worker.await_ready(name));
    wait::until_ok("enough frames are acknowledged", edgereel::PATIENCE, || {
        let metrics = worker.metrics();
        for name in good {
            let entry = worker.status_of(name);
            assert!(is_ready(&entry), "{name} was ready: {entry:#}");
        }
        let few = good.iter().find(|name| metrics.count("camera_frames_acknowledged", name) < PICTURES);
        few.map_or(Ok(()), |name| Err(format!("{name} has few")))
    });
    for name in ["kept-dies", "closes"] {
        let entry = worker.status_of(name);
        assert!(entry["lastError"].is_null() && entry["figures"]["framesDropped"] == 0, "{entry:#}");
    }
    let dropped =
        worker.metrics().sum("camera_frames_dropped_total", &[("name", "among-errors"), ("reason", "not_jpeg")]);
    assert!(dropped >= (PICTURES - 3) as f64, "each bad answer is counted: {dropped}");
    let refused = worker.status_of("refuses");
    let message = condition(&refused, "Ready")["message"].to_string();
    assert!(message.contains("refuses this user name and password (digest MD5 login)"), "{message}");
    assert_eq!(logins.load(Ordering::Relaxed), 1, "a login that was refused was tried again within seconds");
    let log = worker.log();
    assert!(log.contains("a bad answer: ") && log.contains("closes after its pictures"), "{log}");
    assert!(worker.stop().success());
    let records = kafka::shared().consume_all(&topic);
    assert_eq!(whole_and_in_order(&records).len(), good.len());
}
