//! Nobody else's secrets, nobody else's data.

use edgereel_tests::resources;
use serde_json::{Value, json};

use crate::{
    kube::Kind,
    lab::{Lab, condition},
    world::World,
};

fn login(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cam-login"}, "stringData": data})
}

pub fn a_secret_is_judged_by_its_keys_and_by_what_nobody_sees_in_them(world: &World) {
    let lab = Lab::open(world, "keys");
    let url = lab.camera_server("server", &["--user", "ann", "--password", "secret"]);
    lab.apply(&[
        login(json!({"username": "ann"})),
        lab.mjpeg("cam", &url, json!({"credentialsSecretRef": {"name": "cam-login"}})),
    ]);
    let message = lab.await_reason(Kind::Camera, "cam", "Ready", "SecretKeyMissing");
    assert!(message.contains("`cam-login` has no `password`"), "which one? {message}");

    // As an editor leaves it; the camera takes the login all the same, and the status says why.
    lab.apply(&[login(json!({"username": "\u{feff}ann", "password": "secret\n"}))]);
    lab.await_ready(Kind::Camera, "cam");
    let said = |o: &Value, words: &str| condition(o, "Ready").is_some_and(|c| c["message"].to_string().contains(words));
    let camera = lab.until(Kind::Camera, "cam", "the line feed is named", |o| {
        said(o, "`password` of the Secret `cam-login` ends in a line feed, which is left out")
    });
    assert!(said(&camera, "`username` of the Secret `cam-login` begins with a byte order mark"), "{camera:#}");

    // Whoever sees the pod learns nothing: the same password in another Secret has another fingerprint.
    let checksum = |name: &str| {
        let pod = lab.await_pods(Kind::Camera, name, 1).remove(0);
        pod["metadata"]["annotations"]["edgereel.dev/secrets-checksum"].to_string()
    };
    let mut twin = login(json!({"username": "\u{feff}ann", "password": "secret\n"}));
    twin["metadata"]["name"] = json!("twin-login");
    lab.apply(&[twin, lab.mjpeg("twin", &url, json!({"credentialsSecretRef": {"name": "twin-login"}}))]);
    lab.await_ready(Kind::Camera, "twin");
    assert_ne!(checksum("cam"), checksum("twin"));
    let before = checksum("cam");
    lab.run(&["annotate", "secret", "cam-login", "touched=true"]);
    lab.apply(&[login(json!({"username": "ann", "password": "secret"}))]);
    lab.until(Kind::Camera, "cam", "nothing is odd any longer", |o| !said(o, "; note: "));
    lab.await_ready(Kind::Camera, "cam");
    assert_ne!(checksum("cam"), before, "new content makes the pod anew");
}

pub fn a_login_in_a_url_does_not_get_in(world: &World) {
    let lab = Lab::open(world, "urls");
    let camera = lab.mjpeg("cam", "http://ann:s3cret@camera.invalid/video", json!({}));
    let refused = lab.try_apply(&[camera]).expect_err("it has a login").to_string();
    assert!(refused.contains("name it in credentialsSecretRef"), "{refused}");
    lab.apply(&[lab.mjpeg("cam", "http://camera.invalid/a@b?mail=c@d", json!({"suspend": true}))]);
}

pub fn of_two_namespaces_that_write_one_directory_the_older_goes_on_and_both_say_so(world: &World) {
    let lab = Lab::open(world, "mine");
    lab.apply(&[lab.synthetic("cam", json!({})), lab.sink("frames", "cam", json!({}))]);
    lab.await_ready(Kind::Sink, "frames");
    let theirs = Lab::open(world, "theirs");
    // The topic of the other's camera, so that their files could have one name.
    let sink = json!({
        "storage": {"hostPath": {"path": lab.disk}}, "output": {"jpegFiles": {"directory": "frames"}},
        "from": {"topics": [lab.topic("cam")]}, "kafka": {"connectionRef": {"name": resources::CONNECTION}},
    });
    theirs.apply(&[theirs.sink("again", "cam", sink)]);
    let message = theirs.await_reason(Kind::Sink, "again", "Stalled", "InvalidConfiguration");
    assert!(message.contains(&format!("FrameSink/{}/frames", lab.namespace)), "{message}");
    let named = format!("note: FrameSink/{}/again wants to write", theirs.namespace);
    lab.until(Kind::Sink, "frames", "it says who waits", |o| {
        condition(o, "Ready").is_some_and(|c| c["status"] == "True" && c["message"].to_string().contains(&named))
    });
    lab.await_frames("frames", 10);

    lab.run(&["delete", "fsink", "frames", "--timeout=60s"]);
    theirs.await_ready(Kind::Sink, "again");
}

pub fn a_label_that_every_node_has_pins_nothing(world: &World) {
    let lab = Lab::open(world, "everywhere");
    let mut sink = lab.sink("frames", "cam", json!({}));
    sink["spec"]["placement"] = json!({"nodeSelector": {"kubernetes.io/os": "linux"}});
    let refused = lab.try_apply(&[sink]).expect_err("it may not float").to_string();
    assert!(refused.contains("hostPath needs placement"), "{refused}");
}
