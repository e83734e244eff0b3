//! `edgereel camera`: serves synthetic cameras over HTTP.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use clap::ValueEnum;
use edgereel_crds::units;
use edgereel_runtime::{
    cli::{log::LogFormat, signals},
    plain::plain,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{say, told};
use crate::synthetic::{
    parse_size,
    server::{
        Config, Server,
        auth::{Login, Scheme},
        fault::{Fault, Plan},
        wire::{Format, Quirk},
    },
};

const EXAMPLES: &str = "\
Examples:
  edgereel camera
          one camera at http://127.0.0.1:8090/cam0
  edgereel camera --names lab,gate --fps 10 --frame-bytes 60k
          two cameras, at /cam0 and /cam1
  edgereel camera --user ann --password secret --auth digest
          a camera with a login
  edgereel camera --bad stall --after 300 --for 20s
          after 300 frames, nothing for 20 seconds

Each camera is at /camN, its picture at /camN/snapshot.jpg; / is the first one.
/stats counts frames and clients as JSON, /healthz says ok.

A request may ask for its own trouble, which is counted in its own frames:
  /cam0?bad=stall&after=30&for=5s
  /cam0?format=no-content-length,blank-line
  /cam0?bad=drip&pause=100ms
  /cam0?bad=none                          a good stream from a bad camera

A frame's JPEG comment says which one it is:
  edgereel seq=123 time=2024-06-04T10:30:00.123456Z camera=lab
Frames are made only while someone looks.

SIGINT (Ctrl-C), SIGTERM or SIGHUP (a closed SSH session) ends it; `nohup`,
systemd or tmux keep it.";

/// What `edgereel camera` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{}\n\n{EXAMPLES}", lists()))]
pub struct Args {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS:PORT")]
    pub listen: String,
    /// How many cameras
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,
    /// The cameras' names, which their pictures show, instead of cam0, cam1 …
    #[arg(long, value_delimiter = ',', conflicts_with = "count", value_name = "NAME,…")]
    pub names: Vec<String>,
    /// Width x height in pixels: multiples of 16 from 64 to 7680
    #[arg(long, default_value = "1280x720", value_parser = parse_size, value_name = "WxH")]
    pub size: (u16, u16),
    /// Frames a second
    #[arg(long, default_value_t = 30.0, value_parser = fps)]
    pub fps: f64,
    /// About how large a frame is
    #[arg(long, default_value = "85k", value_name = "SIZE")]
    pub frame_bytes: units::ByteSize,
    /// Each camera makes so many frames, and then does as --then says
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub frames: Option<u64>,
    /// After the last frame: keep streams open in silence, or end them and exit
    #[arg(long, default_value = "hold", requires = "frames")]
    pub then: Then,
    /// The login's name
    #[arg(long, requires = "password")]
    pub user: Option<String>,
    /// The login's password
    #[arg(long, requires = "user", env = "EDGEREEL_CAMERA_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// How the login is asked for
    #[arg(long, default_value = "basic", requires = "user")]
    pub auth: Scheme,
    /// How streams are written: `plain`, or one or more of the formats below
    #[arg(long, default_value = "plain", value_name = "FORMAT,…")]
    pub format: Format,
    /// What goes wrong: one of the faults below
    #[arg(long, value_name = "FAULT")]
    pub bad: Option<Fault>,
    /// The fault comes after so many of the camera's frames
    #[arg(long, default_value_t = 0, requires = "bad", value_name = "N")]
    pub after: u64,
    /// The fault goes after this long (`5s`, `1m30s`); without it, it stays
    #[arg(long = "for", requires = "bad", value_name = "DURATION")]
    pub lasts: Option<units::Duration>,
    /// The pause after each byte of a drip
    #[arg(long, default_value = "1s", value_name = "DURATION")]
    pub pause: units::Duration,
    /// What to print: lines for people, or JSON
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

/// What a camera does after its last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Then {
    /// Keep streams open, silent.
    Hold,
    /// End streams, then the process.
    End,
}

fn fps(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|fps| (0.01..=1000.0).contains(fps));
    value.ok_or_else(|| format!("`{text}` frames a second cannot be made: take 0.01 to 1000"))
}

/// The formats and faults, for `--help`.
fn lists() -> String {
    let line = |name: &str, help: &str| format!("  {name:<24}{help}\n");
    let formats: String = Quirk::ALL.iter().map(|(_, name, help)| line(name, help)).collect();
    let faults: String = Fault::ALL.iter().map(|(_, name, help)| line(name, help)).collect();
    format!("Formats:\n{}{formats}\nFaults:\n{faults}", line("plain", "as most cameras write"))
}

impl Args {
    fn config(&self) -> Config {
        let names = match self.names.is_empty() {
            true => (0..self.count).map(|i| format!("cam{i}")).collect(),
            false => self.names.clone(),
        };
        let login = self.user.as_deref().zip(self.password.as_deref());
        Config {
            names,
            size: self.size,
            frame_bytes: self.frame_bytes.as_usize(),
            fps: self.fps,
            login: login.map(|(user, password)| Login::new(user, password, self.auth)),
            format: self.format,
            fault: self.bad.map(|fault| Plan { fault, after: self.after, lasts: self.lasts.map(|d| *d) }),
            pause: *self.pause,
            frames: self.frames,
            end: self.then == Then::End,
        }
    }

    /// What is printed for each camera.
    fn line(&self, index: usize, name: &str, address: SocketAddr) -> String {
        let (width, height) = self.size;
        let url = format!("http://{address}/cam{index}");
        match self.log_format {
            LogFormat::Text => {
                let kb = self.frame_bytes.0 as f64 / 1000.0;
                format!("camera {name} {url} {width}x{height} {} fps {kb:.0} KB", self.fps)
            }
            LogFormat::Json => serde_json::json!({
                "event": "camera", "name": name, "url": url, "width": width, "height": height, "fps": self.fps,
                "frameBytes": self.frame_bytes.0,
            })
            .to_string(),
        }
    }
}

/// Serves until SIGINT, SIGTERM or SIGHUP, or until the last frame with `--then end`.
pub fn run(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = match runtime {
        Ok(runtime) => {
            let served = runtime.block_on(serve(&args));
            // A stuck client must not hold up the exit.
            runtime.shutdown_timeout(Duration::from_secs(1));
            served
        }
        Err(e) => Err(format!("no threads to serve with: {}", plain(e))),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(format_args!("camera: {message}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: &Args) -> Result<(), String> {
    let config = args.config();
    let names = config.names.clone();
    let server = Server::new(config)?;
    let listener = TcpListener::bind(&args.listen).await.map_err(|e| refused(&args.listen, &e))?;
    let address = listener.local_addr().map_err(|e| refused(&args.listen, &e))?;
    let shutdown = CancellationToken::new();
    stop_on_signal(&shutdown).map_err(|e| format!("no signals can be awaited: {}", plain(e)))?;
    for (index, name) in names.iter().enumerate() {
        // The cameras serve on, whoever reads their addresses.
        told(writeln!(io::stdout(), "{}", args.line(index, name, address)));
    }
    if io::stdout().is_terminal() && args.log_format == LogFormat::Text {
        let _ = writeln!(io::stderr(), "View it with `ffplay http://{address}/cam0` or in a browser; Ctrl-C ends it.");
    }
    server.serve(listener, shutdown).await.map_err(|e| format!("serving on {address} failed: {}", plain(e)))
}

fn refused(listen: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another process has it; take another port, or 0 for a free one",
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; take a higher one",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; take 127.0.0.1 or 0.0.0.0",
        _ => "write an address and a port, as `127.0.0.1:8090`",
    };
    format!("cannot listen on `{listen}` ({}): {remedy}", plain(error))
}

fn stop_on_signal(shutdown: &CancellationToken) -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signals::hangup()?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            // There are no files to read again.
            Some(()) = async { hangup.as_mut()?.recv().await } => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Camera {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Camera::try_parse_from(std::iter::once("camera").chain(line.split_whitespace())).map(|camera| camera.args)
    }

    #[test]
    fn help_lists_every_format_and_fault() {
        let help = Camera::command().render_long_help().to_string();
        for name in Fault::ALL.iter().map(|f| f.1).chain(Quirk::ALL.iter().map(|q| q.1)) {
            assert!(help.contains(&format!("  {name} ")), "{name}\n{help}");
        }
    }

    #[test]
    fn flags_become_the_configuration() {
        let line = "--names lab,gate --size 640x352 --fps 12.5 --frame-bytes 20k --user ann --password s --auth digest \
                    --format no-eoi,padding --bad freeze --after 7 --for 2s --frames 9 --then end --pause 3ms";
        let config = parse(line).expect("good flags").config();
        assert_eq!((config.names, config.size), (vec!["lab".into(), "gate".into()], (640, 352)));
        assert_eq!((config.fps, config.frame_bytes, config.frames, config.end), (12.5, 20_000, Some(9), true));
        assert_eq!(config.login.map(|login| (login.user, login.scheme)), Some(("ann".into(), Scheme::Digest)));
        assert_eq!(config.format.to_string(), "no-eoi,padding");
        let plan = Plan { fault: Fault::Freeze, after: 7, lasts: Some(Duration::from_secs(2)) };
        assert_eq!((config.fault, config.pause), (Some(plan), Duration::from_millis(3)));
        let three = parse("--count 3").expect("good flags").config().names;
        assert_eq!(three, ["cam0", "cam1", "cam2"]);
    }

    #[test]
    fn flags_that_would_have_no_effect_are_refused() {
        for line in ["--after 3", "--for 3s", "--then end", "--user ann", "--auth digest", "--count 2 --names a,b"] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in ["--size 1280", "--fps 0", "--fps 2000", "--bad stal", "--format x", "--for 3", "--count 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_line_says_where_the_camera_is() {
        let address = "127.0.0.1:8090".parse().expect("an address");
        let text = parse("").expect("good flags").line(0, "lab", address);
        assert_eq!(text, "camera lab http://127.0.0.1:8090/cam0 1280x720 30 fps 85 KB");
        let json = parse("--log-format json").expect("good flags").line(1, "gate", address);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            (json["url"].as_str(), json["frameBytes"].as_u64()),
            (Some("http://127.0.0.1:8090/cam1"), Some(85_000))
        );
    }
}
