//! Cameras of this machine: Video4Linux2 devices that give pictures.

use std::{collections::BTreeSet, fmt::Write};

use edgereel_crds::{device::DeviceFormat, status::Reason};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::resources::{self, Choice, RATE, one_line};
use crate::source::device::{
    choice::{Wanted, choose},
    list::{self, printable},
    node::Node,
    offer::{Offer, Size},
};

/// A camera of this machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Local {
    /// The path that a resource names best.
    pub path: String,
    /// Where it leads to now.
    pub node: String,
    /// What it calls itself.
    pub name: String,
    /// The kernel's driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// What it offers.
    #[serde(rename = "formats", serialize_with = "formats")]
    pub offer: Offer,
    /// Why it does not say all, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A format with its sizes, and the most pictures a second that there are of each; absent where it does not say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    format: DeviceFormat,
    sizes: Vec<OfferedSize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferedSize {
    size: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_rate: Option<f64>,
}

fn formats<S: Serializer>(offer: &Offer, serializer: S) -> Result<S::Ok, S::Error> {
    let sizes = |format| {
        let all = offer.sizes(format).into_iter();
        all.map(|(size, frame_rate)| OfferedSize { size, frame_rate }).collect()
    };
    serializer.collect_seq(offer.formats().into_iter().map(|format| Offered { format, sizes: sizes(format) }))
}

/// All of them. What gives no pictures is left out; what may not be opened says so.
pub fn look() -> Vec<Local> {
    list::devices().into_iter().filter_map(camera).collect()
}

fn camera(listed: list::Listed) -> Option<Local> {
    let node = listed.node.to_string_lossy().into_owned();
    let path = listed.path;
    let (name, driver, bus, offer, problem) = match Node::open(&path) {
        Ok(device) => {
            let offer = device.offer(None);
            let about = &device.capability;
            let [name, driver, bus] = [&about.card, &about.driver, &about.bus_info].map(|text| printable(text));
            let refused = choose(&offer, &Wanted::anything()).err().map(|refused| refused.message);
            (name, driver, bus, offer, refused)
        }
        Err(error) if error.reason == Reason::InvalidConfiguration => return None,
        Err(error) => {
            let problem = error.message.strip_prefix(&format!("{path}: ")).unwrap_or(&error.message).to_owned();
            (String::new(), String::new(), String::new(), Offer::default(), Some(problem))
        }
    };
    Some(Local { path, node, name, driver, bus, offer, problem })
}

impl Local {
    /// A format's sizes in words: `1280x720 at 30 fps, 640x480`.
    pub fn video(&self, format: DeviceFormat) -> String {
        let words = |(size, rate): (Size, Option<f64>)| match rate {
            Some(rate) => format!("{size} at {} fps", (rate * 100.0).round() / 100.0),
            None => size.to_string(),
        };
        self.offer.sizes(format).into_iter().map(words).collect::<Vec<_>>().join(", ")
    }

    /// A `CameraStream` for it, or why there is none, as a comment.
    pub(super) fn document(&self, names: &mut BTreeSet<String>, choice: &Choice) -> String {
        let last = self.node.rsplit('/').next().unwrap_or_default();
        let name = json!(resources::unique(&[&self.name], last, last, names)).to_string();
        let what = if self.name.is_empty() { "A camera" } else { &self.name };
        let mut text = format!("# {} at {}", one_line(what), self.node);
        if !self.bus.is_empty() {
            let _ = write!(text, ", by {} on {}", one_line(&self.driver), one_line(&self.bus));
        }
        text.push('\n');
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "# It cannot be captured: {}", one_line(problem));
        }
        let Ok(mut taken) = choose(&self.offer, &Wanted::anything()) else { return text };
        let raw = taken.format != DeviceFormat::Mjpeg;
        if raw && let Ok(slower) = choose(&self.offer, &Wanted { rate: f64::from(RATE), ..Wanted::anything() }) {
            taken = slower;
        }
        text += &resources::head(&name);
        let _ = write!(
            text,
            "    device:\n      path: {}\n      size: {}  # {}; it offers {}\n",
            json!(self.path),
            taken.size,
            taken.format.as_str(),
            self.offer
        );
        if raw {
            let _ = writeln!(text, "  frameRate:\n    target: {RATE}  # its raw pictures are encoded");
        }
        text + &resources::tail(&name, choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::device::offer::{Interval, Mode, Rates};

    /// A camera with these formats at 1280x720 and 640x480, thirty pictures a second.
    pub fn local(name: &str, node: &str, codes: &[&[u8; 4]]) -> Local {
        let rates = Rates::Of(Interval::new(1, 30).into_iter().collect());
        let sizes = [Size(640, 480), Size(1280, 720)];
        let of = |code: &[u8; 4]| sizes.map(|size| Mode::new(code.into(), size, rates.clone()));
        let modes = codes.iter().flat_map(|code| of(code)).flatten().collect();
        Local {
            path: format!("/dev/v4l/by-id/usb-{node}"),
            node: format!("/dev/{node}"),
            name: name.into(),
            driver: "uvcvideo".into(),
            bus: "usb-0000:00:14.0-1".into(),
            offer: Offer { modes, others: vec![] },
            problem: None,
        }
    }

    fn choice() -> Choice {
        Choice { snapshots: false, kafka: "lab".into(), login: None }
    }

    #[test]
    fn a_camera_of_the_machine_becomes_a_stream_that_says_what_else_there_is() {
        let mut names = BTreeSet::new();
        let text = local("HD Pro Webcam C920", "video0", &[b"YUYV", b"MJPG"]).document(&mut names, &choice());
        let expected = "\
# HD Pro Webcam C920 at /dev/video0, by uvcvideo on usb-0000:00:14.0-1
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata:
  name: \"hd-pro-webcam-c920\"
spec:
  source:
    device:
      path: \"/dev/v4l/by-id/usb-video0\"
      size: 1280x720  # mjpeg; it offers mjpeg/yuyv 1280x720, 640x480
  topic:
    name: \"hd-pro-webcam-c920\"
  kafka:
    connectionRef:
      name: \"lab\"
";
        assert_eq!(text, expected);
        let raw = local("HD Pro Webcam C920", "video2", &[b"YUYV"]).document(&mut names, &choice());
        assert!(
            raw.contains("name: \"hd-pro-webcam-c920-video2\"") && raw.contains("    target: 10  # its raw"),
            "{raw}"
        );
        assert_eq!(super::super::resources::tests::problems(&format!("{text}---\n{raw}")), [""; 0]);
    }

    #[test]
    fn one_that_cannot_be_opened_stands_as_a_comment() {
        let closed = Local { problem: Some("this user may not open it".into()), ..local("", "video0", &[]) };
        let text = closed.document(&mut BTreeSet::new(), &choice());
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with("# ")), "{text}");
    }

    #[test]
    fn the_json_has_each_size_with_its_rate() {
        let told = json!(local("C920", "video0", &[b"MJPG"]));
        assert_eq!(told["formats"][0]["format"], "mjpeg");
        assert_eq!(told["formats"][0]["sizes"][0], json!({"size": "1280x720", "frameRate": 30.0}));
        assert_eq!(told["path"], "/dev/v4l/by-id/usb-video0");
    }
}
