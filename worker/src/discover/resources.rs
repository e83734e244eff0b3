//! Resources for what was found, ready to apply.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::json;
use url::Url;

use super::{Camera, Credentials, Device, onvif::Profile};

/// Video of more frames a second is decoded and encoded anew at this rate, unless a person says otherwise.
pub(super) const RATE: u32 = 10;
/// A name that leaves room for what is added to it.
const NAME: usize = 40;

/// What resources are made of, beside the cameras.
#[derive(Clone)]
pub struct Choice {
    /// Take the pictures rather than the stream, where a camera has both.
    pub snapshots: bool,
    /// The `KafkaConnection` of all.
    pub kafka: String,
    /// The login that the cameras were asked with.
    pub login: Option<Credentials>,
}

/// A `CameraStream` for each camera that told its addresses, and a Secret where there is a login. The other ways to have a
/// camera stand beside it as comments; so do those that told nothing.
pub fn yaml(cameras: &[Camera], choice: &Choice) -> String {
    let mut names = BTreeSet::new();
    let documents = cameras.iter().map(|camera| match camera {
        Camera::V4l2(local) => local.document(&mut names, choice),
        // Quoted, since a name may look like a number.
        Camera::Onvif(device) => document(device, &json!(name(device, &mut names)).to_string(), choice),
    });
    documents.collect::<Vec<_>>().join("---\n")
}

/// The beginning of a `CameraStream`, up to its source.
pub(super) fn head(name: &str) -> String {
    format!("apiVersion: edgereel.dev/v1alpha1\nkind: CameraStream\nmetadata:\n  name: {name}\nspec:\n  source:\n")
}

/// Its end: the topic and the connection.
pub(super) fn tail(name: &str, choice: &Choice) -> String {
    format!("  topic:\n    name: {name}\n  kafka:\n    connectionRef:\n      name: {}\n", json!(choice.kafka))
}

fn document(device: &Device, name: &str, choice: &Choice) -> String {
    let mut text = format!("# {}\n", one_line(&title(device)));
    if let Some(problem) = &device.problem {
        let _ = writeln!(text, "# It {}", one_line(problem));
    }
    let mut ways: Vec<Way> = device.details.profiles.iter().flat_map(ways).collect();
    let preferred = ways.iter().position(|way| way.snapshot == choice.snapshots).unwrap_or(0);
    if ways.is_empty() {
        return text + "# There is nothing to capture that is known of.\n";
    }
    let taken = ways.remove(preferred);
    text += &head(name);
    let credentials = choice.login.as_ref().map(|_| name);
    let _ = write!(text, "{}", taken.source("    ", credentials));
    for way in &ways {
        let _ = write!(text, "    # or:\n{}", way.source("    # ", credentials));
    }
    if !taken.snapshot && taken.frame_rate > RATE {
        let _ = writeln!(text, "  frameRate:\n    target: {RATE}  # the camera sends up to {}", taken.frame_rate);
    }
    text += &tail(name, choice);
    if let Some(Credentials { username, password }) = &choice.login {
        let _ = writeln!(
            text,
            "---\napiVersion: v1\nkind: Secret\ntype: kubernetes.io/basic-auth\nmetadata:\n  name: {name}\nstringData:\n  \
             username: {}\n  password: {}",
            json!(username),
            json!(password)
        );
    }
    text
}

/// What it is, for people.
pub fn title(device: &Device) -> String {
    let details = &device.details;
    let what = [&details.manufacturer, &details.model].map(String::as_str).join(" ");
    let what = [what.trim(), &device.scopes.hardware].into_iter().find(|what| !what.is_empty()).unwrap_or("a camera");
    let mut title = format!("{what} at {}", device.address.host_str().unwrap_or_default());
    let parts = [
        ("in", &device.scopes.location),
        ("serial number", &details.serial),
        ("firmware", &details.firmware),
        ("known as", &device.endpoint),
    ];
    for (word, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(title, ", {word} {value}");
    }
    title
}

/// A way to have a camera's frames.
struct Way {
    profile: String,
    url: Url,
    snapshot: bool,
    frame_rate: u32,
}

fn ways(profile: &Profile) -> Vec<Way> {
    let way = |url: &Option<Url>, snapshot| {
        let url = url.clone()?;
        Some(Way { profile: described(profile), url, snapshot, frame_rate: profile.frame_rate })
    };
    let stream = way(&profile.stream, false).filter(|way| way.url.scheme() == "rtsp");
    let snapshot = way(&profile.snapshot, true).filter(|way| matches!(way.url.scheme(), "http" | "https"));
    stream.into_iter().chain(snapshot).collect()
}

/// A profile in words: `MainStream, H264 1920x1080 at 30 fps`.
pub fn described(profile: &Profile) -> String {
    let name = if profile.name.is_empty() { &profile.token } else { &profile.name };
    let video = video(profile);
    if video.is_empty() { name.clone() } else { format!("{name}, {video}") }
}

/// A profile's video: `H264 1920x1080 at 30 fps`.
pub fn video(profile: &Profile) -> String {
    let mut parts = vec![profile.encoding.clone()];
    if profile.width > 0 {
        parts.push(format!("{}x{}", profile.width, profile.height));
    }
    if profile.frame_rate > 0 {
        parts.push(format!("at {} fps", profile.frame_rate));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

impl Way {
    fn source(&self, indent: &str, credentials: Option<&str>) -> String {
        let kind = if self.snapshot { "snapshot" } else { "rtsp" };
        let mut lines =
            vec![format!("{kind}:  # {}", one_line(&self.profile)), format!("  url: {}", json!(self.url.as_str()))];
        if let Some(name) = credentials {
            lines.push(format!("  credentialsSecretRef:\n{indent}    name: {name}"));
        }
        lines.iter().map(|line| format!("{indent}{line}\n")).collect()
    }
}

/// What a camera says must not end a comment.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// A name for a camera of a network: its own, or else its model or address.
fn name(device: &Device, taken: &mut BTreeSet<String>) -> String {
    let host = device.address.host_str().unwrap_or_default();
    let own = [&device.scopes.name, &device.details.model, &device.scopes.hardware];
    unique(&own.map(String::as_str), host, host.rsplit(['.', ':']).next().unwrap_or_default(), taken)
}

/// A name that Kubernetes takes, and none of the others has: the first of its own, or one by its address; `last` tells two of a
/// name apart.
pub(super) fn unique(own: &[&str], address: &str, last: &str, taken: &mut BTreeSet<String>) -> String {
    let base = own.iter().map(|name| label(name)).find(|label| !label.is_empty());
    let base = base.unwrap_or_else(|| format!("camera-{}", label(address)));
    let last = label(last);
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    let candidates = [base.clone(), format!("{base}-{last}")].into_iter().chain(numbered);
    let free = candidates.map(|name| name.trim_end_matches('-').to_owned()).find(|name| !taken.contains(name));
    let free = free.unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// As much of a name as may stand in a resource's.
fn label(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let mut label = String::new();
    for c in plain {
        if label.len() < NAME && !(c == '-' && (label.is_empty() || label.ends_with('-'))) {
            label.push(c);
        }
    }
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use edgereel_crds::document::load::load;
    use proptest::prelude::*;

    use super::{
        super::{onvif::Details, probe::Scopes},
        *,
    };

    fn device(name: &str, host: &str, profiles: Vec<Profile>) -> Device {
        Device {
            address: Url::parse(&format!("http://{host}/onvif/device_service")).expect("a URL"),
            endpoint: format!("urn:uuid:{host}"),
            scopes: Scopes { name: name.into(), ..Scopes::default() },
            details: Details { manufacturer: "Acme".into(), model: "C1".into(), profiles, ..Details::default() },
            problem: None,
        }
    }

    fn profile(name: &str, encoding: &str, frame_rate: u32) -> Profile {
        let url = |scheme: &str| Url::parse(&format!("{scheme}://192.168.1.7/{name}")).ok();
        Profile {
            name: name.into(),
            token: name.into(),
            encoding: encoding.into(),
            width: 640,
            height: 480,
            frame_rate,
            stream: url("rtsp"),
            snapshot: url("http"),
        }
    }

    fn choice(snapshots: bool, login: Option<(&str, &str)>) -> Choice {
        let login =
            login.map(|(username, password)| Credentials { username: username.into(), password: password.into() });
        Choice { snapshots, kafka: "lab".into(), login }
    }

    const KAFKA: &str = "---\napiVersion: edgereel.dev/v1alpha1\nkind: KafkaConnection\nmetadata: {name: lab}\nspec: \
                         {bootstrapServers: ['k:9092']}\n";

    /// The problems that `edgereel validate` has with it.
    pub fn problems(yaml: &str) -> Vec<String> {
        let read = load(&[("found.yaml".into(), format!("{yaml}{KAFKA}"))]);
        read.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_camera_becomes_a_stream_with_its_other_ways_beside_it() {
        let found = [Camera::Onvif(device(
            "Gate North",
            "192.168.1.7",
            vec![profile("main", "H264", 30), profile("sub", "JPEG", 5)],
        ))];
        let text = yaml(&found, &choice(false, Some(("ann", "p: \"#"))));
        let expected = "\
# Acme C1 at 192.168.1.7, known as urn:uuid:192.168.1.7
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata:
  name: \"gate-north\"
spec:
  source:
    rtsp:  # main, H264 640x480 at 30 fps
      url: \"rtsp://192.168.1.7/main\"
      credentialsSecretRef:
        name: \"gate-north\"
    # or:
    # snapshot:  # main, H264 640x480 at 30 fps
    #   url: \"http://192.168.1.7/main\"
    #   credentialsSecretRef:
    #     name: \"gate-north\"
    # or:
    # rtsp:  # sub, JPEG 640x480 at 5 fps
    #   url: \"rtsp://192.168.1.7/sub\"
    #   credentialsSecretRef:
    #     name: \"gate-north\"
    # or:
    # snapshot:  # sub, JPEG 640x480 at 5 fps
    #   url: \"http://192.168.1.7/sub\"
    #   credentialsSecretRef:
    #     name: \"gate-north\"
  frameRate:
    target: 10  # the camera sends up to 30
  topic:
    name: \"gate-north\"
  kafka:
    connectionRef:
      name: \"lab\"
---
apiVersion: v1
kind: Secret
type: kubernetes.io/basic-auth
metadata:
  name: \"gate-north\"
stringData:
  username: \"ann\"
  password: \"p: \\\"#\"
";
        assert_eq!(text, expected);
        assert_eq!(problems(&text), [""; 0]);
        let text = yaml(&found, &choice(true, None));
        assert!(
            text.contains("\n    snapshot:  # main") && !text.contains("frameRate") && !text.contains("Secret"),
            "{text}"
        );
        assert_eq!(problems(&text), [""; 0]);
    }

    #[test]
    fn names_are_kubernetes_names_and_differ() {
        let hosts = ["10.0.0.7", "10.0.1.7", "10.0.2.7", "10.0.0.8"];
        let mut names = BTreeSet::new();
        let found = hosts.map(|host| name(&device("Kamera  Süd!", host, vec![]), &mut names));
        assert_eq!(found, ["kamera-s-d", "kamera-s-d-7", "kamera-s-d-2", "kamera-s-d-8"]);
        let mut nameless = device("", "10.0.0.7", vec![]);
        assert_eq!(name(&nameless, &mut names), "c1");
        nameless.details.model.clear();
        assert_eq!(name(&nameless, &mut names), "camera-10-0-0-7");
    }

    proptest! {
        #[test]
        fn whatever_cameras_say_it_becomes_valid_resources(
            words in proptest::collection::vec(any::<String>(), 6),
            login in proptest::option::of((any::<String>(), any::<String>())),
            snapshots in any::<bool>(),
        ) {
            let [name, maker, token, encoding, location, problem] = &words[..] else { unreachable!() };
            let mut found = device(name, "192.168.1.7", vec![profile("main", encoding, 30)]);
            found.details.manufacturer.clone_from(maker);
            found.details.profiles[0].name.clear();
            found.details.profiles[0].token.clone_from(token);
            found.scopes.location.clone_from(location);
            found.problem = Some(problem.clone());
            let login = login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
            let found = Camera::Onvif(found);
            let text = yaml(&[found.clone(), found], &choice(snapshots, login));
            prop_assert_eq!(problems(&text), [""; 0], "{}", text);
        }
    }
}
