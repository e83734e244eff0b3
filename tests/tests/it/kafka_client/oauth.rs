//! Logins with tokens: granted, refused, and slow to come.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        mpsc::{self, Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use edgereel_crds::{
    camera_stream::{EnsureTopic, Producer as Settings},
    frame_sink::{GroupProtocol, OnOffsetLost, StartFrom},
    kafka_connection::{KafkaTls, OAuth, Sasl, SaslMechanism},
    plan::Connection,
    status::Reason,
};
use edgereel_kafka::{
    client::{Context, client_config},
    consumer::{self, Consumer, Event},
    producer::{FrameProducer, Options, Role},
};
use edgereel_tests::{
    kafka::{self, Cluster},
    unique, wait,
};
use jiff::Timestamp;

use crate::secured;

use super::{PATIENCE, assert_fault, connection, ensure, key, next, no_change, producer, secrets, send, topic};

/// A token endpoint for the test (not a real identity provider): grants unsigned tokens to `edge`/`s3cret%`, which live so
/// many seconds, after having thought about it. Tells of each that it grants.
fn token_endpoint(lifetime: i64, thought: Duration) -> (String, Receiver<()>) {
    let (granted, grants) = channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut head, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).expect("a request") > 2 {
                head.push_str(&std::mem::take(&mut line).to_ascii_lowercase());
            }
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            // `edge:s3cret%25`, since RFC 6749 has both form-encoded first.
            let login = base64::prelude::BASE64_STANDARD.encode("edge:s3cret%25").to_ascii_lowercase();
            let asked = String::from_utf8_lossy(&body).contains("grant_type=client_credentials");
            thread::sleep(thought);
            let (status, answer) = if asked && head.contains(&format!("authorization: basic {login}")) {
                let now = Timestamp::now().as_second();
                let claims = format!(r#"{{"sub":"edge","iat":{now},"exp":{}}}"#, now + lifetime);
                let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
                let token = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims));
                ("200 OK", format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{lifetime}}}"#))
            } else {
                ("401 Unauthorized", r#"{"error":"invalid_client","error_description":"no such client"}"#.into())
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            // Who asked may have gone.
            let _ = stream.get_mut().write_all((head + &answer).as_bytes());
            if status == "200 OK" {
                let _ = granted.send(());
            }
        }
    });
    (url, grants)
}

/// A broker that takes unsigned tokens.
fn oauth_cluster() -> Cluster {
    let login_module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
    let settings = [
        "listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        "sasl.enabled.mechanisms=OAUTHBEARER".into(),
        "sasl.mechanism.inter.broker.protocol=OAUTHBEARER".into(),
        format!(
            "listener.name.client.oauthbearer.sasl.jaas.config={login_module} unsecuredLoginStringClaim_sub=\"broker\";"
        ),
    ];
    let options = kafka::Options { settings: settings.into(), ..kafka::Options::default() };
    Cluster::start(1, options).expect("a broker that takes unsigned tokens")
}

fn oauth(cluster: &Cluster, token_url: String) -> Connection {
    let mut connection = connection(cluster.bootstrap());
    connection.spec.sasl = Some(Sasl {
        mechanism: SaslMechanism::OAuthBearer,
        username: None,
        username_secret_ref: None,
        password_secret_ref: None,
        oauth: Some(OAuth {
            token_url,
            client_id_secret_ref: key("id"),
            client_secret_secret_ref: key("secret"),
            scope: Some("kafka".into()),
        }),
    });
    connection
}

#[test]
fn oauthbearer_logs_in_with_tokens_from_the_endpoint_and_says_what_the_endpoint_refused() {
    let cluster = oauth_cluster();
    let connection = oauth(&cluster, token_endpoint(600, Duration::ZERO).0);
    let good = secrets(&[("id", "edge"), ("secret", "s3cret%")]);
    let asked = topic(&unique("oauth"), 1, EnsureTopic::Create);
    ensure(&connection, &good, &asked, 1).expect("logged in and made");
    let (live, deliveries) = producer(&connection, &good, &asked.name, no_change);
    send(&live, None, b"x", 1).expect("taken");
    assert_eq!(next(&deliveries).result, Ok((0, 0)));

    let bad = secrets(&[("id", "edge"), ("secret", "nope")]);
    let fault = ensure(&connection, &bad, &asked, 1).expect_err("the endpoint refuses");
    let words = ["invalid_client (no such client)", "spec.sasl.oauth", "/token"];
    assert_fault(&fault, Reason::KafkaUnauthorized, &words);
    let (settings, budget) = (Settings::default(), 1 << 20);
    let (client_id, role, topic) = ("test".into(), Role::Camera, asked.name.as_str());
    let options = Options { client_id, role, topic, settings: &settings, budget, limit: budget, patient: false };
    let refused = FrameProducer::<u64>::new(&connection, &bad, &options, |_| ()).err().expect("no token, no client");
    assert_fault(&refused, Reason::KafkaUnauthorized, &words);
}

#[test]
fn the_user_of_a_token_needs_the_rights_that_any_other_needs() {
    let (cluster, asked) = (secured::cluster(), topic(&unique("token"), 1, EnsureTopic::Exists));
    cluster.create_topic(&asked.name, 1, &[]);
    let mut connection = oauth(cluster, token_endpoint(600, Duration::ZERO).0);
    let tls = KafkaTls { ca_secret_ref: Some(key("ca")), verify_hostname: true, ..KafkaTls::default() };
    connection.spec.tls = Some(tls);
    let good = secrets(&[("id", "edge"), ("secret", "s3cret%"), ("ca", &cluster.ca_pem())]);
    let fault = ensure(&connection, &good, &asked, 1).expect_err("no rights");
    let words = format!("lacks the right Describe on topic {}", asked.name);
    assert_fault(&fault, Reason::KafkaUnauthorized, &[&words]);
    secured::grant(cluster, "edge", &["--topic", &asked.name], &["Write"]);
    wait::until_ok("the right is granted", PATIENCE, || ensure(&connection, &good, &asked, 1));
    let (live, deliveries) = producer(&connection, &good, &asked.name, no_change);
    send(&live, None, b"x", 1).expect("taken");
    assert_eq!(next(&deliveries).result, Ok((0, 0)));
}

#[test]
fn an_identity_provider_that_takes_eight_seconds_holds_up_no_client() {
    const THOUGHT: Duration = Duration::from_secs(8);
    let cluster = oauth_cluster();
    let (url, grants) = token_endpoint(25, THOUGHT);
    let (connection, good) = (oauth(&cluster, url), secrets(&[("id", "edge"), ("secret", "s3cret%")]));
    let asked = topic(&unique("slow"), 1, EnsureTopic::Create);
    ensure(&connection, &good, &asked, 1).expect("the first token is waited for");
    let (live, deliveries) = producer(&connection, &good, &asked.name, no_change);
    let (told, events) = mpsc::channel();
    let reader = Consumer::start(
        client_config(&connection, &good, "reader").expect("a configuration"),
        Context::new(&connection, &good).expect("a context"),
        consumer::Settings {
            topics: vec![asked.name.clone()],
            group: asked.name.clone(),
            instance: "reader".into(),
            start_from: StartFrom::Earliest,
            protocol: GroupProtocol::Classic,
            on_offset_lost: OnOffsetLost::Fail,
            earlier: Arc::default(),
            shared: false,
            whole: false,
            memory: 1 << 20,
        },
        move |event| told.send(event).is_ok(),
    )
    .expect("a consumer");
    let (mut tokens, mut slowest) = (0, Duration::ZERO);
    // Three tokens, two of them renewals: while each is being fetched, records go out and their reports come.
    for number in 0.. {
        let start = Instant::now();
        send(&live, None, b"x", number).expect("room");
        next(&deliveries).result.expect("acknowledged");
        slowest = slowest.max(start.elapsed());
        tokens += u32::from(grants.recv_timeout(Duration::from_millis(100)).is_ok());
        if tokens >= 3 {
            break;
        }
    }
    assert!(slowest < THOUGHT / 2, "a record took {slowest:?}");
    let (mut assigned, mut lost, mut read) = (0, 0, 0);
    for event in events.try_iter() {
        match event {
            Event::Assigned { .. } => assigned += 1,
            Event::Lost | Event::Revoked { .. } => lost += 1,
            Event::Record(_) => read += 1,
            _ => {}
        }
    }
    assert_eq!((assigned, lost), (1, 0), "a group that was joined anew");
    assert!(read > 0, "what is sent is read meanwhile");
    assert!(reader.join(PATIENCE), "it ends");
}
