//! Cameras that refuse, lead astray, or are something else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use digest_auth::{AuthContext, AuthorizationHeader, HttpMethod};
use edgereel_crds::{common::SecretKeyRef, name::ObjectName};

use super::{
    test_server::{Reply, TestServer, Then},
    *,
};

fn camera(url: &str) -> HttpCamera {
    HttpCamera::new(url, None, None, "lab", &Secrets::default()).expect("a sound configuration")
}

fn secrets(username: &str, password: &str) -> Secrets {
    let data = BTreeMap::from([("username".into(), username.into()), ("password".into(), password.into())]);
    Secrets::new(None, BTreeMap::from([(ObjectName { namespace: "lab".into(), name: "login".into() }, data)]))
}

/// The server's address with a login before it.
fn with_login(server: &TestServer, path: &str) -> String {
    format!("http://ann:s3%2Fcret@{}{path}", server.address)
}

async fn refusal(url: &str) -> SourceError {
    let error = camera(url).get().await.expect_err("a refusal");
    assert!(!error.message.contains("s3"), "{error} shows the password");
    error
}

#[tokio::test]
async fn an_answer_that_is_no_picture_says_what_it_is_and_what_to_do() {
    let server = TestServer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/missing" => Reply::whole("404 Not Found", "", b"no"),
        "/forbidden" => Reply::whole("403 Forbidden", "", b""),
        "/login" => Reply::whole("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b""),
        "/busy" => Reply::whole("503 Service Unavailable", "", b""),
        "/broken" => Reply::whole("500 Internal Server Error", "", b""),
        "/gzip" => Reply::whole("200 OK", "Content-Type: image/jpeg\r\nContent-Encoding: gzip\r\n", &[0x1F, 0x8B, 7]),
        "/loop" => Reply::whole("302 Found", "Location: /loop2\r\n", b""),
        "/loop2" => Reply::whole("302 Found", "Location: /loop\r\n", b""),
        "/nowhere" => Reply::whole("302 Found", "", b""),
        "/ftp" => Reply::whole("302 Found", "Location: ftp://x/\r\n", b""),
        "/endless" => {
            let lines = (0..).map(|n| format!("X-{n}: {}\r\n", "y".repeat(1000)).into_bytes());
            Reply::raw([b"HTTP/1.1 200 OK\r\n".to_vec()].into_iter().chain(lines), Then::Hang)
        }
        "/endless-line" => {
            let pieces = std::iter::repeat_with(|| vec![b'y'; 10_000]);
            Reply::raw([b"HTTP/1.1 200 OK\r\nX: ".to_vec()].into_iter().chain(pieces), Then::Hang)
        }
        "/hangs-up" => Reply::raw([], Then::Close),
        path => panic!("{path}"),
    })
    .await;
    use Reason::{
        CameraProtocolError as Protocol, CameraUnauthorized as Unauthorized, CameraUnreachable as Unreachable,
    };
    for (path, reason, words) in [
        ("/missing", Protocol, "answered 404 Not Found: check the path"),
        ("/forbidden", Unauthorized, "answered 403 Forbidden"),
        ("/login", Unauthorized, "set `credentialsSecretRef`"),
        ("/busy", Protocol, "answered 503"),
        ("/broken", Protocol, "answered 500"),
        ("/gzip", Protocol, "the encoding `gzip`"),
        ("/loop", Protocol, "5 redirects lead nowhere"),
        ("/nowhere", Protocol, "without a usable location"),
        ("/ftp", Protocol, "without a usable location"),
        ("/endless", Protocol, "the header of its answer does not end"),
        ("/endless-line", Protocol, "the header of its answer does not end"),
        ("/hangs-up", Unreachable, "broke off before an answer"),
    ] {
        let error = refusal(&server.url(path)).await;
        assert_eq!(error.reason, reason, "{error}");
        assert!(error.message.contains(words), "`{error}` lacks `{words}`");
        assert!(error.message.contains(&server.url(path)), "{error}");
    }
}

#[tokio::test]
async fn a_camera_that_is_not_there_is_unreachable() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let error = refusal(&format!("http://ann:s3cret@127.0.0.1:{port}/?pwd=s3cret")).await;
    assert_eq!(error.reason, Reason::CameraUnreachable);
    assert!(error.message.contains("Connection refused") && !error.message.contains("os error"), "{error}");
    let error = refusal("http://no-such-camera.invalid/").await;
    assert_eq!(error.reason, Reason::CameraUnreachable);
    assert!(error.message.contains("does not resolve"), "{error}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_without_showing_the_url() {
    for url in ["http://", "ftp://cam/", "http://ann:s3/cret@cam/", "http://ann:s3cret@:80/"] {
        let error = HttpCamera::new(url, None, None, "lab", &Secrets::default()).err().expect("refused");
        assert_eq!(error.reason, Reason::InvalidConfiguration);
        assert!(!error.message.contains("s3"), "{error}");
    }
    let login = LocalRef { name: "login".into() };
    let error = HttpCamera::new("http://cam/", Some(&login), None, "lab", &Secrets::default()).err().expect("missing");
    assert_eq!(error.reason, Reason::SecretMissing);
}

#[tokio::test]
async fn a_redirect_is_followed_but_takes_no_login_to_another_host() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let other = TestServer::start(move |request| {
        log.lock().expect("no panic").push(request.to_ascii_lowercase());
        let wants_login = request.starts_with("GET /login");
        let status = if wants_login { "401 Unauthorized" } else { "200 OK" };
        Reply::whole(status, "WWW-Authenticate: Basic realm=\"other\"\r\n", b"")
    })
    .await;
    let target = other.url("");
    let server = TestServer::start(move |request| match request.split(' ').nth(1).unwrap_or_default() {
        "/own" => Reply::whole("301 Moved Permanently", "Location: moved?x=1\r\n", b""),
        "/moved?x=1" => Reply::whole("200 OK", "", b""),
        path if request.contains("authorization: Basic") => {
            Reply::whole("302 Found", &format!("Location: {target}{path}\r\n"), b"")
        }
        _ => Reply::whole("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b""),
    })
    .await;
    camera(&server.url("/own")).get().await.expect("followed");
    camera(&with_login(&server, "/elsewhere")).get().await.expect("followed");
    let error = refusal(&with_login(&server, "/login")).await;
    assert!(error.message.contains("not sent to another host"), "{error}");
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| !request.contains("authorization")), "{seen:?}");
}

#[tokio::test]
async fn a_basic_login_is_given_once_asked_for_and_then_at_once() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let server = TestServer::start(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        // ann:s3/cret
        match request.contains("authorization: Basic YW5uOnMzL2NyZXQ=\r\n") {
            true => Reply::whole("200 OK", "", b""),
            false => Reply::whole("401 Unauthorized", "WWW-Authenticate: Basic realm=\"cam\"\r\n", b"log in"),
        }
    })
    .await;
    let mut by_url = camera(&with_login(&server, "/"));
    by_url.get().await.expect("logged in");
    by_url.get().await.expect("logged in");
    assert_eq!(requests.load(Ordering::Relaxed), 3);
    assert_eq!(server.connections(), 1);
    let login = LocalRef { name: "login".into() };
    let secrets = secrets("ann", "s3/cret\n");
    let mut by_secret = HttpCamera::new(&server.url("/"), Some(&login), None, "lab", &secrets).expect("sound");
    by_secret.get().await.expect("logged in");
    let error = camera(&format!("http://ann:wrong@{}/", server.address)).get().await.expect_err("refused");
    assert_eq!(error.reason, Reason::CameraUnauthorized);
    assert!(error.message.contains("refuses this user name and password (basic login)"), "{error}");
}

/// Whether a request's digest answers a challenge with `nonce` for ann's password.
fn digest_is_right(request: &str, nonce: &str) -> bool {
    let Some(line) = request.lines().find_map(|line| line.strip_prefix("authorization: ")) else { return false };
    let mut given = AuthorizationHeader::parse(line).expect("a digest");
    let response = given.response.clone();
    let target = request.split(' ').nth(1).expect("a path");
    given.digest(&AuthContext::new_with_method("ann", "s3/cret", target, Some(&b""[..]), HttpMethod::GET));
    given.response == response && given.nonce == nonce
}

#[tokio::test]
async fn a_digest_login_works_with_every_algorithm_that_cameras_use() {
    for (algorithm, qop) in [
        ("", ""),
        ("", "auth"),
        ("MD5", "auth,auth-int"),
        ("MD5", "auth-int"),
        ("MD5-sess", "auth"),
        ("SHA-256", "auth"),
        ("SHA-256", "auth-int"),
        ("SHA-512-256-sess", "auth-conf, AUTH"),
    ] {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let parameter = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!(", {name}=\"{value}\""),
        };
        let parameters = parameter("algorithm", algorithm) + &parameter("qop", qop);
        let challenge = format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\", opaque=\"o\"{parameters}\r\n");
        let server = TestServer::start(move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            match digest_is_right(request, "n1") {
                true => Reply::whole("200 OK", "", b""),
                false => Reply::whole("401 Unauthorized", &challenge, b""),
            }
        })
        .await;
        let mut camera = camera(&with_login(&server, "/video.cgi?channel=1"));
        for _ in 0..3 {
            camera.get().await.unwrap_or_else(|e| panic!("{algorithm} {qop}: {e}"));
        }
        // The first without a login, then one each: the nonce is used again.
        assert_eq!(requests.load(Ordering::Relaxed), 4, "{algorithm} {qop}");
        let wrong = self::camera(&format!("http://ann:wrong@{}/", server.address)).get().await.expect_err("refused");
        assert_eq!(wrong.reason, Reason::CameraUnauthorized);
        assert!(wrong.message.contains("digest"), "{wrong}");
    }
}

#[tokio::test]
async fn a_nonce_that_ran_out_is_replaced() {
    let served = AtomicUsize::new(0);
    let server = TestServer::start(move |request| {
        // Each nonce is good for one picture.
        let n = served.load(Ordering::Relaxed);
        if digest_is_right(request, &format!("n{n}")) {
            served.fetch_add(1, Ordering::Relaxed);
            return Reply::whole("200 OK", "", b"");
        }
        let challenge = format!("WWW-Authenticate: Digest realm=\"cam\", qop=\"auth\", nonce=\"n{n}\", stale=true\r\n");
        Reply::whole("401 Unauthorized", &challenge, b"")
    })
    .await;
    let mut camera = camera(&with_login(&server, "/"));
    for _ in 0..3 {
        camera.get().await.expect("logged in again");
    }
}

#[tokio::test]
async fn a_camera_that_calls_every_nonce_stale_does_not_keep_us_for_ever() {
    let challenge = "WWW-Authenticate: Digest realm=\"cam\", qop=\"auth\", nonce=\"n\", stale=true\r\n";
    let server = TestServer::start(move |_| Reply::whole("401 Unauthorized", challenge, b"")).await;
    assert_eq!(refusal(&with_login(&server, "/")).await.reason, Reason::CameraUnauthorized);
}

/// A TLS server with a certificate that it signed itself for `127.0.0.1`: its address, and the certificate as PEM.
fn tls_server() -> (String, Vec<u8>) {
    use openssl::{asn1::*, hash::MessageDigest, pkey::PKey, rsa::Rsa, ssl::*, x509::*};
    let key = Rsa::generate(2048).and_then(PKey::from_rsa).expect("a key");
    let certificate = || {
        let mut name = X509Name::builder()?;
        name.append_entry_by_text("CN", "camera")?;
        let name = name.build();
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        builder.set_pubkey(&key)?;
        builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(2)?)?;
        let host =
            extension::SubjectAlternativeName::new().ip("127.0.0.1").build(&builder.x509v3_context(None, None))?;
        builder.append_extension(host)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok::<_, openssl::error::ErrorStack>(builder.build())
    };
    let certificate = certificate().expect("a certificate");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("an acceptor");
    acceptor.set_private_key(&key).expect("a key");
    acceptor.set_certificate(&certificate).expect("a certificate");
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for socket in listener.incoming().flatten() {
            // A client that does not like the certificate goes away.
            let Ok(mut stream) = acceptor.accept(socket) else { continue };
            let read = stream.read(&mut [0; 4096]);
            read.and_then(|_| stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).ok();
        }
    });
    (address, certificate.to_pem().expect("PEM"))
}

#[tokio::test]
async fn a_self_signed_camera_is_trusted_by_its_certificate_or_not_checked_at_all() {
    let (address, pem) = tls_server();
    let url = format!("https://{address}/");
    let error = refusal(&url).await;
    assert_eq!(error.reason, Reason::CameraProtocolError, "{error}");
    for words in ["certificate", "`tls.caSecretRef`", "`tls.insecureSkipVerify`"] {
        assert!(error.message.contains(words), "`{error}` lacks {words}");
    }
    let data = BTreeMap::from([("ca.crt".to_owned(), pem), ("junk".to_owned(), b"junk".to_vec())]);
    let name = ObjectName { namespace: "lab".into(), name: "camera-ca".into() };
    let secrets = Secrets::new(None, BTreeMap::from([(name, data)]));
    let tls = |key: Option<&str>| {
        let ca = key.map(|key| SecretKeyRef { name: "camera-ca".into(), key: key.into() });
        let tls = CameraTls { insecure_skip_verify: ca.is_none(), ca_secret_ref: ca };
        HttpCamera::new(&url, None, Some(&tls), "lab", &secrets)
    };
    tls(Some("ca.crt")).expect("sound").get().await.expect("trusted");
    tls(None).expect("sound").get().await.expect("not checked");
    let error = tls(Some("junk")).err().expect("refused");
    assert_eq!(error.reason, Reason::InvalidConfiguration);
    assert!(error.message.contains("`junk` of secret `camera-ca` is not a PEM certificate"), "{error}");
}

#[tokio::test]
async fn a_page_that_repeats_the_request_does_not_tell_its_secrets() {
    let server = TestServer::start(|request| {
        let target = request.split(' ').nth(1).unwrap_or_default();
        let page = format!("<title>no {target} here</title>");
        Reply::whole("200 OK", "Content-Type: text/html\r\n", page.as_bytes())
    })
    .await;
    let mut camera = camera(&server.url("/v?fps=5;pwd=s3cret%2Dword"));
    let mut response = camera.get().await.expect("an answer");
    let mut page = Page::of(&response);
    while let Ok(Some(bytes)) = response.chunk().await {
        page.take(&bytes);
    }
    let error = camera.no_pictures(&page);
    assert!(error.message.contains("no /v?") && !error.message.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_kept_connection_that_dies_without_an_answer_is_replaced_at_once_and_a_new_one_that_does_is_a_fault() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let server = TestServer::start(move |request| {
        // The first request of each connection is answered; the second, which comes over the same one, is not.
        let number = count.fetch_add(1, Ordering::Relaxed);
        match request.starts_with("GET /kept ") && number.is_multiple_of(2) {
            true => Reply::whole("200 OK", "Connection: keep-alive\r\n", b""),
            false => Reply::raw([], Then::Close),
        }
    })
    .await;
    let mut kept = camera(&server.url("/kept"));
    for _ in 0..4 {
        let mut response = kept.get().await.expect("an answer");
        assert_eq!(response.chunk().await.expect("a body"), None);
    }
    assert_eq!((requests.swap(0, Ordering::Relaxed), server.connections()), (7, 4));
    let mut new = camera(&server.url("/new"));
    for _ in 0..2 {
        let error = new.get().await.expect_err("no answer");
        assert_eq!((error.reason, requests.swap(0, Ordering::Relaxed)), (Reason::CameraUnreachable, 1), "{error}");
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_answered_is_named_and_never_tried() {
    for (challenge, words) in [
        ("Digest realm=\"cam\", nonce=\"n\", qop=\"auth-conf\"", "digest with the qop `auth-conf`"),
        ("Digest realm=\"cam\", nonce=\"n\", algorithm=MD6", "digest with the algorithm `MD6`"),
        ("Digest realm=\"cam\"", "digest without a nonce"),
        ("Negotiate", "`negotiate`"),
        ("", "it names none"),
    ] {
        let logins = Arc::new(AtomicUsize::new(0));
        let count = logins.clone();
        let header = if challenge.is_empty() { String::new() } else { format!("WWW-Authenticate: {challenge}\r\n") };
        let server = TestServer::start(move |request| {
            count.fetch_add(usize::from(request.contains("authorization: ")), Ordering::Relaxed);
            Reply::whole("401 Unauthorized", &header, b"")
        })
        .await;
        let error = refusal(&with_login(&server, "/")).await;
        assert_eq!((error.reason, error.again), (Reason::CameraUnauthorized, Again::Later), "{error}");
        assert!(error.message.contains(words) && !error.message.contains("password"), "`{error}` lacks `{words}`");
        assert_eq!(logins.load(Ordering::Relaxed), 0, "{challenge}: a login that can only fail");
    }
}

#[tokio::test]
async fn one_login_that_is_refused_is_one_try() {
    for challenge in ["Basic realm=\"cam\"", "Digest realm=\"cam\", nonce=\"n\", qop=\"auth\""] {
        let logins = Arc::new(AtomicUsize::new(0));
        let count = logins.clone();
        let header = format!("WWW-Authenticate: {challenge}\r\n");
        let server = TestServer::start(move |request| {
            count.fetch_add(usize::from(request.contains("authorization: ")), Ordering::Relaxed);
            Reply::whole("401 Unauthorized", &header, b"")
        })
        .await;
        let error = refusal(&with_login(&server, "/")).await;
        assert!(error.message.contains("refuses this user name and password"), "{error}");
        assert_eq!((error.again, logins.load(Ordering::Relaxed)), (Again::MuchLater, 1), "{challenge}");
    }
}

/// Bytes as text of as many characters, so that none is lost.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// The parameters of an `Authorization` header, sorted; those that are random in each answer without their values.
fn parameters(header: &str) -> Vec<String> {
    let (scheme, rest) = header.split_once(' ').expect("a scheme");
    let blur = |part: &str| match part.split_once('=') {
        Some((name @ ("cnonce" | "response"), value)) => format!("{name}={} characters", value.len()),
        _ => part.to_owned(),
    };
    let mut parts: Vec<String> = std::iter::once(scheme.to_owned()).chain(rest.split(", ").map(blur)).collect();
    parts.sort();
    // How curl makes its nonce is its own affair.
    parts.retain(|part| !part.starts_with("cnonce="));
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_is_what_curl_sends() {
    for (challenge, scheme) in [
        (&b"Digest realm=\"cam\", nonce=\"abc123\", algorithm=MD5, qop=\"auth-int\""[..], "--digest"),
        (b"Digest Realm=\"cam\",nonce=\"n\",algorithm=md5,qop=\"AUTH\",charset=utf-8", "--digest"),
        (b"Digest realm=\"caf\xE9 \\\"2\\\"\", nonce=\"n==\", qop=\"auth-conf, auth\", opaque=\"\"", "--digest"),
        (b"Digest realm=\"cam\", nonce=\"n\", qop=\"\"", "--digest"),
        (b"Digest realm=\"cam\", nonce=\"n\"", "--digest"),
        (b"Digest realm=\"cam\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\", userhash=true", "--digest"),
        (b"Digest realm=\"cam\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"", "--digest"),
        (b"Basic realm=\"caf\xE9\", Digest realm=\"cam\", nonce=\"n\", qop=\"auth\"", "--anyauth"),
        (b"Basic realm=\"caf\xE9\"", "--anyauth"),
    ] {
        let logins = Arc::new(Mutex::new(Vec::new()));
        let (seen, header) = (logins.clone(), challenge.to_vec());
        let server = TestServer::start_bytes(move |request| {
            let lower = latin1(&request.to_ascii_lowercase());
            let head =
                [b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: ", &header[..], b"\r\nContent-Length: 0\r\n\r\n"];
            let Some(at) = lower.find("authorization: ") else { return Reply::raw([head.concat()], Then::KeepAlive) };
            let line = latin1(request)[at + "authorization: ".len()..].lines().next().unwrap_or_default().to_owned();
            seen.lock().expect("no panic").push(line);
            Reply::whole("200 OK", "", b"")
        })
        .await;
        camera(&with_login(&server, "/a?b=c")).get().await.expect("logged in");
        let url = server.url("/a?b=c");
        let curl = tokio::process::Command::new("curl").args(["-sS", scheme, "-u", "ann:s3/cret", &url]).output().await;
        let curl = curl.expect("curl is needed: `make setup`");
        let said = String::from_utf8_lossy(&curl.stderr);
        let logins = logins.lock().expect("no panic").clone();
        assert_eq!(logins.len(), 2, "{}: {said}", challenge.escape_ascii());
        assert_eq!(parameters(&logins[0]), parameters(&logins[1]), "{}", challenge.escape_ascii());
    }
}
