//! Synthetic cameras over HTTP: what real ones send, and what broken ones do.
//!
//! Misbehaviour has to be exact to the byte, so answers are written to the socket by hand.
//!
//! - [`fault`] says what goes wrong and when, [`wire`] how parts are written, [`auth`] who may look; all pure.
//! - [`request`] reads a request; [`camera`] makes frames; [`stream`] brings them to one client.
//! - [`connection`] answers a client's requests, and this file takes connections in.

pub mod auth;
pub mod camera;
mod connection;
pub mod fault;
pub mod request;
pub mod stream;
pub mod wire;

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{auth::Login, camera::Camera, fault::Plan, request::View, wire::Format};
use super::Pattern;

#[cfg(test)]
mod tests;

/// So many clients are served at a time; more wait.
const MAX_CLIENTS: usize = 1024;

/// What to serve. The default is one camera `cam0` of 1280×720 at 30 fps with 85 kB a frame.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cameras' names; the first is at `/cam0` and `/`, the next at `/cam1`.
    pub names: Vec<String>,
    /// Width and height in pixels; see [`Pattern::new`].
    pub size: (u16, u16),
    /// About how large a frame is.
    pub frame_bytes: usize,
    /// Frames a second.
    pub fps: f64,
    /// Who may look; without it, anyone.
    pub login: Option<Login>,
    /// How streams are written, unless a request asks otherwise.
    pub format: Format,
    /// What goes wrong with each camera, counted in the camera's own frames.
    pub fault: Option<Plan>,
    /// The pause of [`fault::Fault::Drip`].
    pub pause: Duration,
    /// Each camera makes so many frames; without it, no end.
    pub frames: Option<u64>,
    /// After the last frame, streams end and so does the server once all are sent. Otherwise streams stay, silent.
    pub end: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            names: vec!["cam0".into()],
            size: (1280, 720),
            frame_bytes: 85_000,
            fps: 30.0,
            login: None,
            format: Format::default(),
            fault: None,
            pause: Duration::from_secs(1),
            frames: None,
            end: false,
        }
    }
}

/// Cameras, ready to serve.
#[derive(Debug)]
pub struct Server {
    cameras: Vec<Camera>,
    login: Option<Login>,
    view: View,
    end: bool,
}

impl Server {
    /// Checks the configuration and makes the picture. Fails with a remedy.
    pub fn new(config: Config) -> Result<Server, String> {
        let period = Duration::try_from_secs_f64(1.0 / config.fps).ok().filter(|p| !p.is_zero() && config.fps > 0.0);
        let period =
            period.ok_or_else(|| format!("{} frames a second cannot be made: take 0.01 to 1000", config.fps))?;
        if config.names.is_empty() {
            return Err("there is no camera to serve: give at least one name".into());
        }
        if config.frames == Some(0) {
            return Err("a camera of 0 frames shows nothing: take at least 1".into());
        }
        let (width, height) = config.size;
        let pattern = Pattern::new(width, height, config.frame_bytes)?;
        let camera = |name| Camera::new(name, pattern.clone(), period, config.frames, config.fault);
        let cameras = config.names.into_iter().map(camera).collect();
        let view = View { format: config.format, fault: None, pause: config.pause };
        Ok(Server { cameras, login: config.login, view, end: config.end })
    }

    /// Serves until `shutdown`, or until the last frame is sent if [`Config::end`] says so.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let server = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        let mut tasks = JoinSet::new();
        for index in 0..server.cameras.len() {
            let server = server.clone();
            tasks.spawn(async move {
                server.cameras[index].run().await;
                server.cameras[index].deserted().await;
            });
        }
        let mut running = server.cameras.len();
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => break,
                Some(_) = tasks.join_next() => {
                    running -= 1;
                    if running == 0 && server.end {
                        break;
                    }
                }
                Some(_) = clients.join_next() => {}
                (place, accepted) = async {
                    let place = places.clone().acquire_owned().await;
                    (place, listener.accept().await)
                } => match accepted {
                    Ok((socket, _)) => {
                        let server = server.clone();
                        clients.spawn(async move {
                            connection::serve(&server, socket).await;
                            drop(place);
                        });
                    }
                    // Out of descriptors, most likely: others may close theirs.
                    Err(_) => sleep(Duration::from_millis(50)).await,
                },
            }
        }
        tasks.shutdown().await;
        clients.shutdown().await;
        Ok(())
    }

    /// Each camera's state as `/stats` shows it.
    fn stats(&self) -> serde_json::Value {
        use std::sync::atomic::Ordering::Relaxed;
        let cameras = self.cameras.iter().enumerate().map(|(i, camera)| {
            serde_json::json!({
                "name": camera.name,
                "path": format!("/cam{i}"),
                "generated": camera.generated.load(Relaxed),
                "clients": camera.clients(),
                "sent": camera.sent.load(Relaxed),
                "skipped": camera.skipped.load(Relaxed),
            })
        });
        serde_json::json!({ "cameras": cameras.collect::<Vec<_>>() })
    }
}

/// Serves cameras until `shutdown`; see [`Server::serve`]. A configuration that cannot work is an error of kind
/// `InvalidInput`.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
    let server = Server::new(config).map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
    server.serve(listener, shutdown).await
}
