//! Camera servers that we did not write, each on a free port, serving when its function returns.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use nix::unistd::Uid;

use crate::{
    free_port,
    process::{self, Guarded, command},
    project_root, scratch, wait,
};

const START: Duration = Duration::from_secs(60);
/// `nobody`, for servers that refuse to run as root.
pub(crate) const NOBODY: u32 = 65_534;

/// A camera that serves. Dropped, it is gone.
#[derive(Debug)]
pub struct Camera {
    /// Where its frames are.
    pub url: String,
    /// Width and height of its pictures.
    pub size: (u16, u16),
    _server: Server,
}

#[derive(Debug)]
#[allow(dead_code)] // held for their Drop
enum Server {
    One(Guarded),
    Again(Respawned),
}

impl Camera {
    fn serving(url: String, size: (u16, u16), port: u16, server: Guarded) -> Camera {
        await_listening(port, || server.exit_status().map(|_| server.tail()));
        Camera { url, size, _server: Server::One(server) }
    }
}

fn started(name: &str, command: Command) -> Guarded {
    Guarded::spawn(name, command).unwrap_or_else(|e| panic!("{e:#}"))
}

/// Whether somebody listens on this port of loopback; asks the kernel, since some of these servers take one client only.
fn listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = columns.next().unwrap_or_default();
        local.ends_with(&wanted) && columns.nth(1) == Some(LISTEN)
    })
}

#[track_caller]
fn await_listening(port: u16, mut ended: impl FnMut() -> Option<String>) {
    let serving = wait::try_until(START, || match ended() {
        Some(tail) => Ok(Err(tail)),
        None if listening(port) => Ok(Ok(())),
        None => Err(()),
    });
    match serving {
        Ok(Ok(())) => {}
        Ok(Err(tail)) => panic!("the camera server ended\n{tail}"),
        Err(()) => panic!("the camera server does not listen on port {port} within {START:?}"),
    }
}

/// FFmpeg's `mpjpeg` over its own HTTP server, 1280×720 at 30 fps. It serves one client and ends: it is started again.
pub fn ffmpeg_mpjpeg() -> Camera {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/cam.mjpg");
    let address = url.clone();
    let server = Respawned::start(move || {
        let mut ffmpeg = command("ffmpeg", ["-v", "error", "-re", "-f", "lavfi"]);
        ffmpeg.args(["-i", "testsrc2=size=1280x720:rate=30", "-q:v", "3", "-f", "mpjpeg", "-boundary_tag", "frame"]);
        ffmpeg.args(["-content_type", "multipart/x-mixed-replace;boundary=frame", "-listen", "1", &address]);
        Guarded::spawn("ffmpeg", ffmpeg)
    });
    await_listening(port, || None);
    Camera { url, size: (1280, 720), _server: Server::Again(server) }
}

/// GStreamer's `multipartmux` over bare TCP, without any HTTP header, 1280×720 at 30 fps.
pub fn gstreamer_multipart() -> Camera {
    let port = free_port();
    let pipeline = format!(
        "videotestsrc is-live=true ! video/x-raw,width=1280,height=720,framerate=30/1 ! jpegenc ! \
         multipartmux boundary=edge ! tcpserversink host=127.0.0.1 port={port}"
    );
    let server =
        started("gst-launch", command("gst-launch-1.0", ["-q"].into_iter().chain(pipeline.split_whitespace())));
    Camera::serving(format!("http://127.0.0.1:{port}/"), (1280, 720), port, server)
}

/// VLC's MJPEG over HTTP: the pictures of a file of 640×480 at 25 fps, again and again.
pub fn vlc() -> Camera {
    let port = free_port();
    let film = scratch::dir("vlc").join("film.avi");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25"]);
    ffmpeg.args(["-t", "4", "-c:v", "mjpeg", "-q:v", "3"]).arg(&film);
    process::output("ffmpeg", ffmpeg, START).unwrap_or_else(|e| panic!("{e:#}"));
    let sout = format!("#standard{{access=http,mux=mpjpeg,dst=127.0.0.1:{port}/cam.mjpg}}");
    let mut vlc = command("cvlc", ["-I", "dummy", "--loop"]);
    vlc.arg(&film).args(["--sout", &sout]).env("HOME", film.with_file_name(""));
    if Uid::effective().is_root() {
        vlc.uid(NOBODY).gid(NOBODY);
    }
    let server = started("vlc", vlc);
    Camera::serving(format!("http://127.0.0.1:{port}/cam.mjpg"), (640, 480), port, server)
}

/// µStreamer without a device: the same picture of 640×480 once a second. `extra` adds its own headers to each part.
pub fn ustreamer(extra: bool) -> Camera {
    let port = free_port();
    let blank = scratch::dir("ustreamer").join("blank.jpg");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480"]);
    ffmpeg.args(["-frames:v", "1"]).arg(&blank);
    process::output("ffmpeg", ffmpeg, START).unwrap_or_else(|e| panic!("{e:#}"));
    let mut server = command("ustreamer", ["--device", "/dev/no-such-video", "--host", "127.0.0.1", "--blank"]);
    server.arg(&blank).args(["--port", &port.to_string()]);
    let server = started("ustreamer", server);
    let query = if extra { "?extra_headers=1" } else { "" };
    Camera::serving(format!("http://127.0.0.1:{port}/stream{query}"), (640, 480), port, server)
}

/// GStreamer's RTSP server on this port, at `/h264` and `/mjpeg`, 30 fps, over TCP and UDP; with a login if there is one.
pub fn gstreamer_rtsp(port: u16, size: (u16, u16), login: Option<(&str, &str)>) -> RtspServer {
    gstreamer_rtsp_at("127.0.0.1", port, size, login)
}

/// The same, on this address of the machine.
pub fn gstreamer_rtsp_at(address: &str, port: u16, size: (u16, u16), login: Option<(&str, &str)>) -> RtspServer {
    // The system's Python has its packages, no other.
    let mut python = command("/usr/bin/python3", [project_root().join("tests/python/rtsp_server.py")]);
    python.args([address.to_owned(), port.to_string(), format!("{}x{}", size.0, size.1)]);
    python.args(login.into_iter().flat_map(|(user, password)| [user, password]));
    let server = started("rtsp-server", python);
    await_listening(port, || server.exit_status().map(|_| server.tail()));
    RtspServer { url: format!("rtsp://{address}:{port}"), server }
}

/// An RTSP server. Dropped, it is gone.
#[derive(Debug)]
pub struct RtspServer {
    /// Without a path.
    pub url: String,
    /// Its process.
    pub server: Guarded,
}

/// VLC's RTSP server, which sends a film of H.265 over UDP and refuses TCP: 640×480 at 25 fps, again and again.
pub fn vlc_rtsp_h265() -> Camera {
    let port = free_port();
    let film = scratch::dir("vlc-rtsp").join("film.mp4");
    let mut ffmpeg = command("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=25"]);
    ffmpeg.args(["-t", "4", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=25"]);
    process::output(
        "ffmpeg",
        {
            ffmpeg.arg(&film);
            ffmpeg
        },
        START,
    )
    .unwrap_or_else(|e| panic!("{e:#}"));
    let sout = format!("#rtp{{sdp=rtsp://127.0.0.1:{port}/cam}}");
    let mut vlc = command("cvlc", ["-I", "dummy", "--loop"]);
    vlc.arg(&film).args(["--sout", &sout]).env("HOME", film.with_file_name(""));
    if Uid::effective().is_root() {
        vlc.uid(NOBODY).gid(NOBODY);
    }
    let server = started("vlc", vlc);
    Camera::serving(format!("rtsp://127.0.0.1:{port}/cam"), (640, 480), port, server)
}

/// A server that is started again whenever it ends.
#[derive(Debug)]
struct Respawned {
    stop: Arc<AtomicBool>,
    current: Arc<Mutex<Option<Guarded>>>,
    keeper: Option<JoinHandle<()>>,
}

impl Respawned {
    fn start(spawn: impl Fn() -> Result<Guarded> + Send + 'static) -> Respawned {
        let (stop, current) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (stopped, slot) = (Arc::clone(&stop), Arc::clone(&current));
        let keep = move || {
            while !stopped.load(Ordering::Acquire) {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.as_ref().is_none_or(|server: &Guarded| !server.running()) {
                    // A server that cannot be started is missed by `await_listening`.
                    *slot = spawn().ok();
                }
                drop(slot);
                thread::sleep(Duration::from_millis(50));
            }
        };
        let keeper = thread::Builder::new().name("camera".into()).spawn(keep).expect("a thread can be started");
        Respawned { stop, current, keeper: Some(keeper) }
    }
}

impl Drop for Respawned {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(keeper) = self.keeper.take() {
            // It only waits and spawns; a panic in it has nothing more to say.
            let _ = keeper.join();
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
