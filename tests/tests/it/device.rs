//! The source `device` against real drivers of V4L2: vivid, the kernel's own test camera, and v4l2loopback, into which FFmpeg
//! writes JPEGs. Both are in a virtual machine, for they need a kernel that has them.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use edgereel_tests::{
    edgereel_bin, kafka,
    metrics::Metrics,
    project_root, resources, unique, video,
    vm::{self, Running, Vm},
    wait,
};
use serde_json::{Value, json};

use crate::support::{condition, values};

/// vivid's camera, by the name that stays with it.
const VIVID: &str = "/dev/v4l/by-id/usb-Vivid_Test_Camera_0001-video-index0";
/// v4l2loopback's.
const LOOP: &str = "/dev/video9";
/// Without KVM all takes long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The machine with its cameras, for one test at a time.
struct Lab {
    vm: &'static Vm,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// The cameras, plugged in. udev is not there: the link that it would make is made here.
    fn new() -> Lab {
        static ALONE: Mutex<()> = Mutex::new(());
        let lab = Lab { _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner), vm: vm::shared() };
        lab.vm.output(
            "modprobe -d $MODULES vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0\n\
             modprobe -d $MODULES v4l2loopback video_nr=9 card_label='Loop Camera' exclusive_caps=0\n\
             mkdir -p /dev/v4l/by-id",
        );
        lab.plug_in();
        lab
    }

    fn plug_in(&self) {
        self.vm.output(&format!(
            "driver=/sys/bus/platform/drivers/vivid; [ -e $driver/vivid.0 ] || echo vivid.0 > $driver/bind\n\
             for found in /sys/class/video4linux/*; do\n\
               if grep -q vivid $found/name; then ln -sfn ../../${{found##*/}} {VIVID}; fi\n\
             done; test -e {VIVID}",
        ));
    }

    /// What becomes of the driver's device is what becomes of a USB camera's; udev would remove the link.
    fn unplug(&self) {
        self.vm.output(&format!("echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind; rm {VIVID}"));
    }

    /// A file with this camera, and its topic.
    fn camera(&self, device: Value, more: Value) -> (PathBuf, String) {
        let (kafka, topic) = (kafka::shared(), unique("device"));
        self.forward(kafka.bootstrap());
        let camera = resources::camera("cam", json!({"device": device}), &topic, more);
        let file = self.vm.share().join(format!("{topic}.yaml"));
        let written = resources::write_to(&file, &[resources::connection(kafka.bootstrap()), camera]);
        written.unwrap_or_else(|e| panic!("{e:#}"));
        (file, topic)
    }

    fn forward(&self, bootstrap: &str) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        let port = bootstrap.rsplit(':').next().and_then(|port| port.parse().ok()).expect("HOST:PORT");
        ONCE.call_once(|| self.vm.forward(port));
    }

    /// Runs `edgereel ARGS` in the machine, and gives how it ended and all that it said.
    fn edgereel(&self, args: &str) -> (i32, String) {
        let said = self.vm.run(&format!("exec '{}' {args}", edgereel_bin().display()));
        (said.code, said.stdout + &said.stderr)
    }

    /// What `edgereel check` says of a camera.
    fn check(&self, device: Value) -> String {
        let (file, _) = self.camera(device, json!({}));
        self.edgereel(&format!("check -f {} --timeout 30s", file.display())).1
    }

    fn run(&self, file: &std::path::Path) -> Worker<'_> {
        let (bin, http) = (edgereel_bin(), self.vm.http_there());
        let run = format!("exec '{}' run -f {} --http {http} --log-format text", bin.display(), file.display());
        Worker { running: self.vm.spawn(&run), http: self.vm.http() }
    }
}

/// A worker in the machine.
struct Worker<'a> {
    running: Running<'a>,
    http: String,
}

impl Worker<'_> {
    fn get(&self, path: &str) -> Result<String, String> {
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(10)).build();
        let answer = client.and_then(|client| client.get(format!("http://{}/{path}", self.http)).send());
        answer.and_then(|answer| answer.text()).map_err(|e| format!("{e}\n{}", self.running.tail()))
    }

    #[track_caller]
    fn await_metrics(&self, what: &str, wish: impl Fn(&Metrics) -> bool) -> Metrics {
        wait::until_ok(what, PATIENCE, || {
            let metrics = Metrics::parse(&self.get("metrics")?);
            if wish(&metrics) { Ok(metrics) } else { Err(format!("other values\n{}", self.running.tail())) }
        })
    }

    #[track_caller]
    fn await_frames(&self, more: u64) {
        let frames = |m: &Metrics| m.count("camera_frames_acknowledged", "cam");
        let before = frames(&self.await_metrics("it serves", |_| true));
        self.await_metrics("frames are acknowledged", |m| frames(m) >= before + more);
    }

    /// Waits until the camera is offline with this reason, and gives the message.
    #[track_caller]
    fn await_offline(&self, reason: &str) -> String {
        wait::until_ok(&format!("the camera is {reason}"), PATIENCE, || {
            let status: Value = serde_json::from_str(&self.get("status")?).map_err(|e| e.to_string())?;
            let online = condition(&status["resources"][0], "CameraOnline");
            let is = online["status"] == "False" && online["reason"] == reason;
            if is { Ok(online["message"].as_str().unwrap_or_default().to_owned()) } else { Err(format!("{status:#}")) }
        })
    }

    #[track_caller]
    fn await_log(&self, words: &str) {
        wait::until_ok(&format!("the log says `{words}`"), PATIENCE, || {
            let tail = self.running.tail();
            if tail.contains(words) { Ok(()) } else { Err(tail) }
        });
    }

    #[track_caller]
    fn stop(self) -> String {
        self.running.signal("TERM");
        let said = self.running.wait();
        assert_eq!(said.code, 0, "{said:#?}");
        said.stderr + &said.stdout
    }
}

/// What reached the topic decodes, and is of this size.
#[track_caller]
fn assert_size(topic: &str, size: (u16, u16)) -> Vec<Vec<u8>> {
    let jpegs = values(&kafka::shared().consume_all(topic));
    assert!(!jpegs.is_empty());
    let mut sizes = video::sizes_of(&jpegs);
    sizes.dedup();
    assert_eq!(sizes, [size]);
    jpegs
}

#[test]
fn raw_pictures_are_encoded_and_the_camera_is_set_as_the_resource_says_until_it_is_unplugged_and_after_it_is_back() {
    let lab = Lab::new();
    let device = json!({"path": VIVID, "size": "320x180", "format": "yuyv", "controls": {"brightness": 200}});
    let (file, topic) = lab.camera(device.clone(), json!({"frameRate": {"target": 4}}));
    let worker = lab.run(&file);
    worker.await_frames(8);
    let ask = |what: &str| {
        let script = project_root().join("tests/python/v4l2_ask.py");
        lab.vm.output(&format!("python3 '{}' {VIVID} {what}", script.display())).trim().to_owned()
    };
    // The slowest that the camera offers and that is as fast as is wanted.
    assert_eq!((ask("rate"), ask("brightness")), ("4.0".into(), "200".into()));

    // It has one reader, and whoever is the second hears who that is.
    let said = lab.check(device);
    assert!(said.contains("another program (edgereel, process ") && said.contains("captures from it"), "{said}");

    lab.unplug();
    let message = worker.await_offline("CameraUnreachable");
    assert!(message.starts_with(VIVID), "{message}");
    lab.plug_in();
    worker.await_frames(4);
    worker.stop();
    let jpegs = assert_size(&topic, (320, 180));
    // vivid draws bars from white to black.
    let bars = video::brightness(&jpegs[jpegs.len() - 1], &[(10, 90), (160, 90), (310, 90)]);
    assert!(bars[0] > bars[1] && bars[1] > bars[2] && bars[0] - bars[2] > 50, "{bars:?}");
}

#[test]
fn jpegs_go_on_byte_for_byte_and_a_camera_that_hangs_is_noticed_and_keeps_no_worker_from_ending() {
    let lab = Lab::new();
    let pictures = video::pictures(12);
    let film = lab.vm.share().join("film.mjpeg");
    // Ten minutes of it: where FFmpeg begins a film anew, it sends in bursts.
    fs::write(&film, pictures.concat().repeat(250)).expect("written");
    let feed = format!("exec ffmpeg -v error -re -f mjpeg -framerate 5 -i {} -c copy -f v4l2 {LOOP}", film.display());
    let feeder = lab.vm.spawn(&feed);
    wait::until_ok("the camera offers JPEG", PATIENCE, || {
        let (_, found) = lab.edgereel("discover --devices -o json");
        if found.contains("\"mjpeg\"") { Ok(()) } else { Err(format!("{found}{}", feeder.tail())) }
    });
    let (file, topic) = lab.camera(json!({"path": LOOP}), json!({"watchdog": {"stall": "5s"}}));
    let worker = lab.run(&file);
    worker.await_frames(20);
    feeder.signal("STOP");
    // Whoever opens v4l2loopback anew gets the last picture once more: the camera is offline for moments alone.
    worker.await_log("no picture for 5s (watchdog.stall) camera=\"default/cam\" reason=CameraStalled");
    feeder.signal("CONT");
    worker.await_frames(5);
    feeder.signal("STOP");
    let log = worker.stop();
    assert!(log.contains("the device is set") && log.contains("mjpeg"), "{log}");
    let jpegs = values(&kafka::shared().consume_all(&topic));
    assert!(jpegs.len() >= 25 && jpegs.iter().all(|jpeg| pictures.contains(jpeg)), "{} pictures", jpegs.len());
}

#[test]
fn what_a_camera_does_not_offer_and_who_may_not_have_it_is_said_with_what_to_do() {
    let lab = Lab::new();
    for (device, words) in [
        (
            json!({"path": VIVID, "size": "321x181"}),
            &["spec.source.device.size: `321x181` is not offered: take one of nv12/", "yuyv", "640x360"][..],
        ),
        (
            json!({"path": VIVID, "format": "mjpeg"}),
            &["spec.source.device.format: `mjpeg` is not offered: take ", "`yuyv`"],
        ),
        (
            json!({"path": VIVID, "controls": {"focus": 1}}),
            &["spec.source.device.controls.focus: it has no such control; it has brightness (0 to 255)"],
        ),
        (
            json!({"path": VIVID, "controls": {"brightness": 256}}),
            &["spec.source.device.controls.brightness: 256 is out of range: write 0 to 255"],
        ),
        (
            json!({"path": "/dev/null"}),
            &["spec.source.device.path: it is no video device; name one of those that are there: ", VIVID],
        ),
        (json!({"path": "/dev/video77"}), &["there is no such device: plug it in, or name one of those ", VIVID]),
    ] {
        let said = lab.check(device.clone());
        assert!(words.iter().all(|words| said.contains(words)), "{device}: {said}");
    }
    // Somebody else, who may read the binary and the file wherever they are. The device's group is root's: no udev has changed it.
    let (file, _) = lab.camera(json!({"path": VIVID}), json!({}));
    let bin = edgereel_bin();
    let other = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search '{}' check -f {}",
        bin.display(),
        file.display()
    );
    let said = lab.vm.run(&other);
    let said = said.stdout + &said.stderr;
    assert!(said.contains("this user may not open it: add the user to its group, `root` (0)"), "{said}");
}

#[test]
fn discover_lists_the_machines_cameras_and_its_resources_capture_them() {
    let lab = Lab::new();
    let (code, found) = lab.edgereel("discover --devices -o json");
    let found: Vec<Value> = serde_json::from_str(&found).unwrap_or_else(|e| panic!("{code} {e}: {found}"));
    let vivid = found.iter().find(|camera| camera["path"] == VIVID).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((&vivid["kind"], &vivid["driver"], &vivid["name"]), (&"v4l2".into(), &"vivid".into(), &"vivid".into()));
    let yuyv = vivid["formats"].as_array().and_then(|all| all.iter().find(|format| format["format"] == "yuyv"));
    let yuyv = yuyv.unwrap_or_else(|| panic!("{vivid:#}"));
    assert!(
        yuyv["sizes"].as_array().is_some_and(|sizes| sizes.iter().any(|size| size["size"] == "320x180")),
        "{yuyv:#}"
    );
    let (_, table) = lab.edgereel("discover --devices");
    assert!(table.starts_with("CAMERA") && table.contains(VIVID) && table.contains("1280x720 at "), "{table}");

    let kafka = kafka::shared();
    lab.forward(kafka.bootstrap());
    let file = lab.vm.share().join("found.yaml");
    lab.vm.output(&format!(
        "'{}' discover --devices -o yaml --kafka lab > {}",
        edgereel_bin().display(),
        file.display()
    ));
    let (connection, text) = (resources::connection(kafka.bootstrap()), fs::read_to_string(&file).expect("written"));
    let document = text.split("---\n").find(|document| document.contains(VIVID)).unwrap_or_else(|| panic!("{text}"));
    // A small picture, for this machine computes slowly; and a topic of its own.
    let size = document.lines().find(|line| line.contains(" size: ")).unwrap_or_else(|| panic!("{document}"));
    let topic = unique("found");
    let document =
        document.replace(size, "      size: 320x180").replace("    name: \"vivid\"", &format!("    name: {topic}"));
    fs::write(&file, format!("{}---\n{document}", serde_yaml::to_string(&connection).expect("YAML"))).expect("written");
    let (code, said) = lab.edgereel(&format!("check -f {} --timeout 60s", file.display()));
    assert!(code == 0 && said.contains("device 320x180, "), "{said}");

    // The example, with this camera and this Kafka.
    let example = fs::read_to_string(project_root().join("examples/webcam/webcam.yaml")).expect("readable");
    let here = [("path: /dev/video0", format!("path: {VIVID}")), ("localhost:9092", kafka.bootstrap().to_owned())];
    let example = here.iter().fold(example, |text, (there, here)| text.replace(there, here));
    fs::write(&file, example).expect("written");
    let (_, said) = lab.edgereel(&format!("check -f {} --timeout 60s", file.display()));
    assert!(said.contains("device 640x") && said.contains(" fps"), "{said}");
}
