//! What works: streams, snapshots, logins, counts and ends.

use super::*;

#[tokio::test]
async fn a_good_camera_sends_whole_frames_with_rising_numbers_and_its_name() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam1").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: multipart/x-mixed-replace; boundary=edgereel-frame\r\n"), "{head}");
    for sequence in 0..5 {
        let stamp = stamp(&client.picture().await);
        assert_eq!((stamp.sequence, stamp.camera.as_str()), (sequence, "gate"));
    }
}

#[tokio::test]
async fn all_clients_of_a_camera_see_the_same_frames() {
    let cameras = start(config()).await;
    let (mut one, mut other) = (cameras.get("/cam0").await, cameras.get("/").await);
    one.head().await;
    other.head().await;
    let first = other.picture().await;
    let mut same = one.picture().await;
    while stamp(&same).sequence < stamp(&first).sequence {
        same = one.picture().await;
    }
    assert_eq!(same, first);
}

#[tokio::test]
async fn without_clients_no_frame_is_made() {
    let cameras = start(config()).await;
    assert_eq!(cameras.stat("generated").await, 0);
    let mut client = cameras.get("/cam0").await;
    client.head().await;
    client.picture().await;
    drop(client);
    while cameras.stat("clients").await > 0 {}
    let made = cameras.stat("generated").await;
    let (_, jpeg) = cameras.get("/cam0/snapshot.jpg").await.response().await;
    assert_eq!(stamp(&jpeg).sequence, made, "the next client gets the very next frame");
}

#[tokio::test]
async fn a_slow_client_misses_frames_and_gets_the_others_whole() {
    let cameras = start(Config { frame_bytes: 1_000_000, ..config() }).await;
    let mut slow = cameras.get("/cam0").await;
    slow.head().await;
    slow.picture().await;
    let mut quick = cameras.get("/cam0").await;
    quick.head().await;
    // More than the kernel buffers for a client that does not read.
    while stamp(&quick.part().await.1).sequence < 64 {}
    let mut before = 0;
    loop {
        let sequence = stamp(&slow.picture().await).sequence;
        if sequence > before + 1 {
            break;
        }
        before = sequence;
    }
    assert!(before < 64, "the kernel kept everything");
    assert!(cameras.stat("skipped").await > 0);
}

#[tokio::test]
async fn a_connection_serves_snapshot_after_snapshot() {
    let cameras = start(config()).await;
    let mut client = cameras.get("/cam0/snapshot.jpg").await;
    let (head, first) = client.response().await;
    assert!(head.contains("Content-Type: image/jpeg\r\n") && is_whole(&first), "{head}");
    client.ask("/cam0/snapshot.jpg").await;
    let (_, second) = client.response().await;
    assert!(stamp(&second).sequence > stamp(&first).sequence);
}

#[tokio::test]
async fn a_login_is_asked_for_and_taken() {
    for scheme in [Scheme::Basic, Scheme::Digest, Scheme::DigestSha256] {
        let login = Some(Login::new("ann", "secret", scheme));
        let cameras = start(Config { login, ..config() }).await;
        let (head, _) = cameras.get("/cam0/snapshot.jpg").await.response().await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let challenge = head.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: ")).expect("a challenge");
        let answer = match scheme {
            Scheme::Basic => "Basic YW5uOnNlY3JldA==".to_owned(),
            _ => {
                let mut prompt = digest_auth::parse(challenge).expect("a digest challenge");
                let context = digest_auth::AuthContext::new("ann", "secret", "/cam0/snapshot.jpg");
                prompt.respond(&context).expect("an answer").to_header_string()
            }
        };
        let mut client =
            Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
        let request = format!("GET /cam0/snapshot.jpg HTTP/1.1\r\nAuthorization: {answer}\r\n\r\n");
        client.socket.write_all(request.as_bytes()).await.expect("a request");
        let (head, jpeg) = client.response().await;
        assert!(head.starts_with("HTTP/1.1 200 ") && is_whole(&jpeg), "{head}");
    }
}

#[tokio::test]
async fn after_the_last_frame_streams_are_held_or_ended() {
    let held = start(Config { frames: Some(3), ..config() }).await;
    let mut client = held.get("/cam0").await;
    client.head().await;
    let numbers =
        [client.picture().await, client.picture().await, client.picture().await].map(|jpeg| stamp(&jpeg).sequence);
    assert_eq!((numbers, held.stat("generated").await, held.stat("clients").await), ([0, 1, 2], 3, 1));
    let (_, last) = held.get("/cam0/snapshot.jpg").await.response().await;
    assert_eq!(stamp(&last).sequence, 2);

    let ended = start(Config { frames: Some(3), end: true, names: vec!["lab".into()], ..config() }).await;
    let mut client = ended.get("/cam0").await;
    client.head().await;
    client.picture().await;
    client.picture().await;
    client.picture().await;
    client.drain().await;
    assert_eq!(client.bytes, b"--edgereel-frame--\r\n");
    ended.served.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_shutdown_closes_every_connection() {
    let cameras = start(config()).await;
    let (mut stream, mut stalled) = (cameras.get("/cam0").await, cameras.get("/cam0?bad=stall").await);
    stream.head().await;
    stalled.head().await;
    stream.picture().await;
    cameras.shutdown.cancel();
    cameras.served.await.expect("no panic").expect("no error");
    stream.drain().await;
    stalled.drain().await;
}

#[tokio::test]
async fn what_is_not_understood_is_answered_with_what_is() {
    let cameras = start(config()).await;
    let (head, body) = cameras.get("/cam2").await.response().await;
    assert!(head.starts_with("HTTP/1.1 404 ") && String::from_utf8_lossy(&body).contains("/cam0 to /cam1"), "{head}");
    let (head, body) = cameras.get("/cam0?bad=stal").await.response().await;
    assert!(head.starts_with("HTTP/1.1 400 ") && String::from_utf8_lossy(&body).contains("stall"), "{head}");
    assert_eq!(cameras.get("/healthz").await.response().await.1, b"ok\n");
    let mut post = Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
    post.socket.write_all(b"POST /cam0 HTTP/1.1\r\n\r\n").await.expect("a request");
    assert!(post.head().await.starts_with("HTTP/1.1 405 "));
    let mut noise = Client { socket: TcpStream::connect(cameras.address).await.expect("a connection"), bytes: vec![] };
    noise.socket.write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.expect("noise");
    assert!(noise.head().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_it_starts() {
    for bad in [
        Config { fps: 0.0, ..config() },
        Config { names: vec![], ..config() },
        Config { frames: Some(0), ..config() },
        Config { size: (65, 64), ..config() },
    ] {
        let error = start(bad).await.served.await.expect("no panic").expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let format: Format = "plain".parse().expect("a format");
    assert_eq!(format, Format::default());
}
