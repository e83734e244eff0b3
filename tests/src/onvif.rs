//! ONVIF cameras that we did not write: ipycam, and a device that only WSDiscovery publishes. Those of a [`Network`] are
//! alone there, since everybody on a network answers a probe.

use std::{fs, process::Command, time::Duration};

use serde_json::json;

use crate::{
    free_ports,
    process::{self, Guarded, command},
    project_root, python, scratch, unique, wait,
};

const START: Duration = Duration::from_secs(60);

/// An ONVIF camera. Dropped, it is gone.
#[derive(Debug)]
pub struct OnvifCamera {
    /// Its device service.
    pub service: String,
    /// Without a path.
    pub rtsp: String,
    _server: Guarded,
}

/// A network with a loopback of its own. Dropped, it is gone with all that runs on it.
#[derive(Debug)]
pub struct Network {
    keeper: Guarded,
}

impl Network {
    /// With nobody on it.
    ///
    /// # Panics
    /// Where nobody but root may make a network namespace.
    #[track_caller]
    pub fn empty() -> Network {
        let script = "ip link set lo up && echo up && exec sleep infinity";
        let keeper = started("network", command("unshare", ["-rn", "sh", "-ec", script]));
        await_word(&keeper, "up");
        Network { keeper }
    }

    /// A command on this network.
    pub fn command(&self, of: Command) -> Command {
        let mut entered =
            command("nsenter", ["-t", &self.keeper.pid().to_string(), "-U", "-n", "--preserve-credentials"]);
        entered.arg(of.get_program()).args(of.get_args());
        for (name, value) in of.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            entered.env(name, value);
        }
        entered
    }

    /// An ipycam on it.
    #[track_caller]
    pub fn ipycam(&self, name: &str, login: Option<(&str, &str)>) -> OnvifCamera {
        serve(name, login, |command| self.command(command))
    }

    /// A device that answers the probe, and says that its service is there.
    #[track_caller]
    pub fn stranger(&self, name: &str, service: &str) -> Guarded {
        let mut python = python::command();
        python.arg(project_root().join("tests/python/onvif_stranger.py")).args([service, name]);
        let stranger = started("stranger", self.command(python));
        await_word(&stranger, "published");
        stranger
    }
}

/// An ipycam on this machine's loopback.
#[track_caller]
pub fn ipycam(name: &str, login: Option<(&str, &str)>) -> OnvifCamera {
    serve(name, login, |command| command)
}

#[track_caller]
fn serve(name: &str, login: Option<(&str, &str)>, on: impl FnOnce(Command) -> Command) -> OnvifCamera {
    let dir = scratch::dir("ipycam");
    let (film, config) = (dir.join("film.avi"), dir.join("config.json"));
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=10"]);
    ffmpeg.args(["-t", "4", "-c:v", "mjpeg", "-q:v", "3"]).arg(&film);
    process::output("ffmpeg", ffmpeg, START).unwrap_or_else(|e| panic!("{e:#}"));
    let port = free_ports(&[0, 1, 2, 3, 4]);
    let (user, password) = login.unwrap_or_default();
    let settings = json!({
        "name": name, "local_ip": "127.0.0.1", "username": user, "password": password,
        "onvif_port": port, "rtsp_port": port + 1, "rtmp_port": port + 2, "web_port": port + 3, "go2rtc_api_port": port + 4,
        "main_width": 640, "main_height": 480, "main_fps": 10, "sub_width": 320, "sub_height": 240, "sub_fps": 5,
    });
    fs::write(&config, settings.to_string()).unwrap_or_else(|e| panic!("cannot write {}: {e}", config.display()));
    let mut python = python::command();
    python.args(["-u", "-m", "ipycam", "--config"]).arg(&config).arg("--source").arg(&film);
    let server = started(&unique("ipycam"), on(python));
    await_word(&server, "IP Camera is running!");
    OnvifCamera {
        service: format!("http://127.0.0.1:{port}/onvif/device_service"),
        rtsp: format!("rtsp://127.0.0.1:{}", port + 1),
        _server: server,
    }
}

#[track_caller]
fn started(name: &str, command: Command) -> Guarded {
    Guarded::spawn(name, command).unwrap_or_else(|e| panic!("{e:#}"))
}

#[track_caller]
fn await_word(child: &Guarded, word: &str) {
    let said = wait::try_until(START, || match child.stdout().contains(word) {
        true => Ok(true),
        false if child.running() => Err(()),
        false => Ok(false),
    });
    assert_eq!(said, Ok(true), "no {word:?} was said within {START:?}\n{}", child.tail());
}
