//! `edgereel discover` against ONVIF cameras that we did not write, on a network of the test's.

use std::{fs, path::Path, process::Command, time::Duration};

use edgereel_tests::{
    Edgereel, edgereel, edgereel_bin, kafka,
    onvif::{self, Network},
    process::{self, Finished},
    resources, scratch,
};
use serde_json::Value;

const LOGIN: (&str, &str) = ("ann", "p:/?@&<%41");

fn asked(network: &Network, args: &[&str]) -> Finished {
    let mut discover = Command::new(edgereel_bin());
    discover.args(["discover", "--timeout", "2s"]).args(args);
    process::run("discover", network.command(discover), Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e:#}"))
}

fn found(asked: &Finished) -> Vec<Value> {
    serde_json::from_str(&asked.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", asked.stdout, asked.stderr))
}

/// The file with this password.
fn password(password: &str) -> String {
    let file = scratch::dir("password").join("password");
    fs::write(&file, format!("{password}\n")).expect("written");
    file.to_string_lossy().into_owned()
}

#[test]
fn cameras_on_a_network_say_what_they_are_and_offer_and_what_keeps_them_from_it() {
    let network = Network::empty();
    let (open, closed) = (network.ipycam("GateNorth", None), network.ipycam("GateSouth", Some(LOGIN)));
    // Whoever names another host's address gets no login.
    let _stranger = network.stranger("Stranger", &closed.service.replace("127.0.0.1", "127.0.0.2"));
    let of = |devices: &[Value], name: &str| {
        let found = devices.iter().filter(|device| device["scopes"]["name"] == name).collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{name}: {devices:#?}");
        found[0].clone()
    };

    let nobody = asked(&network, &["--interface", "lo", "-o", "json"]);
    assert_eq!(nobody.code(), 0, "{}", nobody.stderr);
    let devices = found(&nobody);
    assert_eq!(devices.len(), 3, "{devices:#?}");
    let north = of(&devices, "GateNorth");
    assert_eq!((&north["address"], &north["model"]), (&open.service.clone().into(), &"VirtualCam-1".into()));
    assert_eq!(north["profiles"].as_array().map(Vec::len), Some(2), "{north:#}");
    let main = &north["profiles"][0];
    assert_eq!(main["stream"], format!("{}/video_main", open.rtsp));
    assert_eq!(
        (&main["encoding"], main["width"].as_u64(), main["frameRate"].as_u64()),
        (&"H264".into(), Some(640), Some(10))
    );
    assert!(main["snapshot"].as_str().is_some_and(|url| url.ends_with("/snapshot.jpg")), "{main:#}");
    let south = of(&devices, "GateSouth");
    assert_eq!(south["problem"], "wants a login: give `--user` and `--password-file`");
    assert_eq!(south["profiles"], Value::Array(vec![]));

    let file = password(LOGIN.1);
    let login = ["--interface", "127.0.0.1", "--user", LOGIN.0, "--password-file", &file];
    let devices = found(&asked(&network, &[&login[..], &["-o", "json"]].concat()));
    let south = of(&devices, "GateSouth");
    assert_eq!(south.get("problem"), None, "{south:#}");
    assert_eq!(south["profiles"][0]["stream"], format!("{}/video_main", closed.rtsp));
    let stranger = of(&devices, "Stranger");
    assert_eq!(stranger["problem"], "wants a login: give `--user` and `--password-file`", "{stranger:#}");

    let table = asked(&network, &login).stdout;
    assert!(
        table.starts_with("CAMERA") && table.contains("GateSouth") && table.contains("H264 640x480 at 10 fps"),
        "{table}"
    );
    let wrong = password("wrong");
    let refused =
        found(&asked(&network, &["--interface", "lo", "--user", "ann", "--password-file", &wrong, "-o", "json"]));
    assert_eq!(of(&refused, "GateSouth")["problem"], "refuses this user name and password");
}

#[test]
fn the_resources_for_a_camera_that_was_named_capture_it() {
    let camera = onvif::ipycam("Gate", Some(LOGIN));
    let file = password(LOGIN.1);
    let kafka = kafka::shared();
    let args = ["discover", "--address", &camera.service, "--user", LOGIN.0, "--password-file", &file, "-o", "yaml"];
    let printed = edgereel::call(args.into_iter().chain(["--source", "snapshot", "--kafka", "lab"]));
    assert_eq!(printed.code(), 0, "{}", printed.stderr);
    let cameras = scratch::dir("found").join("cameras.yaml");
    fs::write(&cameras, &printed.stdout).expect("written");
    let files: [&Path; 2] = [&resources::write(&[resources::connection(kafka.bootstrap())]), &cameras];
    let worker = Edgereel::run(files);
    worker.await_metrics("frames are acknowledged", |m| m.count("camera_frames_acknowledged", "gate") >= 3);
    assert!(worker.stop().success());
}

#[test]
fn who_is_not_there_and_what_is_no_camera_is_said() {
    let network = Network::empty();
    let nobody = asked(&network, &["--interface", "lo"]);
    assert_eq!((nobody.code(), nobody.stdout.lines().count()), (1, 1), "{}", nobody.stdout);
    assert!(nobody.stderr.contains("no camera answered"), "{}", nobody.stderr);
    let none = asked(&network, &[]);
    assert_eq!(none.code(), 2);
    assert!(none.stderr.contains("no network to look on: name the cameras with `--address`"), "{}", none.stderr);
    let none = asked(&network, &["--interface", "eth9"]);
    assert_eq!(none.code(), 2);
    assert!(none.stderr.contains("no interface `eth9` with an IPv4 address: there are lo"), "{}", none.stderr);
    let none = asked(&network, &["--address", "127.0.0.1", "-o", "json"]);
    let problem = found(&none)[0]["problem"].clone();
    assert!(problem.as_str().is_some_and(|problem| problem.contains("cannot connect")), "{problem}");
    for (args, said) in [
        (&["--address", "camera"][..], "neither an address (192.0.2.7) nor a URL"),
        (&["--address", "http://a:b@camera/"], "a login is given with `--user`"),
        (&["--user", "ann"], "`--user` wants a password: give `--password-file FILE`, or set EDGEREEL_CAMERA_PASSWORD"),
        (&["--user", "ann", "--password-file", "/nowhere"], "/nowhere: "),
    ] {
        let refused = asked(&network, args);
        assert_eq!(refused.code(), 2, "{args:?}");
        assert!(refused.stderr.contains(said), "{args:?}: {}", refused.stderr);
    }
}
