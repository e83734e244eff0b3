//! `edgereel discover`: which cameras there are, at this machine and on its networks, as a table or as resources.

use std::{
    env, fs,
    io::{self, IsTerminal, Read},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use edgereel_crds::units;
use edgereel_runtime::{command::say, plain::plain};
use url::Url;

use super::{
    Format,
    columns::{Side, table},
    print, print_as,
};
use crate::discover::{
    Camera, Credentials, Device, Search, Target, discover, interface, interfaces,
    local::{self, Local},
    resources::{Choice, video, yaml},
};

/// Has the password, where it is not in a file: an argument would be seen by all users of the machine.
const PASSWORD: &str = "EDGEREEL_CAMERA_PASSWORD";

/// How `edgereel discover` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// This machine's own cameras alone: USB and other Video4Linux2 devices. Nobody is asked over a network.
    #[arg(long, conflicts_with_all = ["address", "interface", "user"])]
    devices: bool,
    /// An address, or the URL of a device service, that is asked too: for cameras beyond the local network. May be given
    /// several times; then no network is probed unless `--interface` names it, and this machine's own cameras are left out.
    #[arg(long, value_name = "ADDRESS", value_parser = target)]
    address: Vec<Target>,
    /// The network interface (name or address) whose network is probed. May be given several times; then this machine's own
    /// cameras are left out. Default: all.
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,
    /// How long answers to the probe are waited for.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    timeout: units::Duration,
    /// The user name of cameras that want a login; a camera that refuses it is asked once.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file with the password; `-` is standard input. Default: the environment variable EDGEREEL_CAMERA_PASSWORD.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Take any certificate of cameras that speak HTTPS.
    #[arg(long)]
    insecure: bool,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t, visible_alias = "format")]
    output: Output,
    /// What the resources capture, where a camera has both.
    #[arg(long, value_enum, default_value_t)]
    source: SourceKind,
    /// The `KafkaConnection` that the resources name.
    #[arg(long, default_value = "kafka", value_name = "NAME")]
    kafka: String,
}

const EXAMPLES: &str = "\
Examples:
  edgereel discover
          the cameras of this machine (USB) and on all its networks
  edgereel discover --devices -o yaml > cameras.yaml
          this machine's own alone, as resources
  edgereel discover --user admin --password-file pw
          and their streams, where that wants a login
  edgereel discover --user admin --password-file pw -o yaml > cameras.yaml
          resources for `edgereel run -f` or `kubectl apply -f`; the file has
          the password, as a Secret
  edgereel discover --address 192.0.2.7 --address 192.0.2.8
          cameras on another network, which no probe reaches

Cameras on networks are asked by ONVIF: it may have to be turned on in their
settings, often with a user of its own. Nothing is changed in them.

Exit status: 0 when there are cameras, 1 when there are none, 2 when nobody
could be asked or the arguments are wrong.";

/// How what was found is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// A JSON array.
    Json,
    /// Resources.
    Yaml,
}

/// What is captured of a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SourceKind {
    /// Its stream.
    #[default]
    Rtsp,
    /// Its pictures, one at a time.
    Snapshot,
}

fn target(text: &str) -> Result<Target, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Target::Address(ip));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            match url.username().is_empty() && url.password().is_none() {
                true => Ok(Target::Url(url)),
                false => Err("a login is given with `--user` and `--password-file`".into()),
            }
        }
        _ => Err("neither an address (192.0.2.7) nor a URL (http://camera/onvif/device_service)".into()),
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let (cameras, choice) = match found(&args) {
        Ok(found) => found,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    if cameras.is_empty() {
        say(match args.devices {
            true => "there is no camera at this machine: plug one in; in a container, give it the device",
            false => {
                "no camera answered: ONVIF may have to be turned on in its settings, and a camera on another network wants \
                 `--address`"
            }
        });
    }
    let printed = match args.output {
        Output::Table => print_as(Format::Table, &cameras, listed),
        Output::Json => print_as(Format::Json, &cameras, listed),
        Output::Yaml => print(&yaml(&cameras, &choice)),
    };
    if cameras.is_empty() { ExitCode::FAILURE } else { printed }
}

/// This machine's own cameras, and those that answer; and what resources for them are made of.
fn found(args: &Args) -> Result<(Vec<Camera>, Choice), String> {
    let login = login(args)?;
    let choice =
        Choice { snapshots: args.source == SourceKind::Snapshot, kafka: args.kafka.clone(), login: login.clone() };
    let chosen = !args.interface.is_empty() || !args.address.is_empty();
    let mut cameras = vec![];
    if !chosen {
        cameras.extend(local::look().into_iter().map(Camera::V4l2));
    }
    if args.devices {
        return Ok((cameras, choice));
    }
    let search = match search(args, login) {
        Ok(search) => search,
        // With a camera of its own, a machine needs no network.
        Err(_) if !cameras.is_empty() => return Ok((cameras, choice)),
        Err(message) => return Err(message),
    };
    if io::stderr().is_terminal() {
        say(format_args!("asking for {}…", args.timeout));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("cannot begin: {}", plain(e)))?;
    match runtime.block_on(discover(&search)) {
        Ok(devices) => cameras.extend(devices.into_iter().map(Camera::Onvif)),
        Err(message) if cameras.is_empty() => return Err(message),
        Err(message) => say(message),
    }
    Ok((cameras, choice))
}

fn login(args: &Args) -> Result<Option<Credentials>, String> {
    let Some(user) = &args.user else { return Ok(None) };
    Ok(Some(Credentials { username: user.clone(), password: password(args.password_file.as_deref())? }))
}

fn search(args: &Args, login: Option<Credentials>) -> Result<Search, String> {
    let networks = match (args.interface.is_empty(), args.address.is_empty()) {
        (false, _) => {
            let named: Result<Vec<_>, String> = args.interface.iter().map(|name| interface(name)).collect();
            named?.concat()
        }
        (true, false) => vec![],
        (true, true) => {
            let all = interfaces()?;
            if all.is_empty() {
                return Err("this machine has no network to look on: name the cameras with `--address`".into());
            }
            all.into_iter().map(|(_, address)| address).collect()
        }
    };
    Ok(Search {
        interfaces: networks,
        targets: args.address.clone(),
        wait: *args.timeout,
        login,
        insecure: args.insecure,
    })
}

/// The password, without the line feed that editors put at a file's end.
fn password(file: Option<&Path>) -> Result<String, String> {
    let text = match file {
        Some(file) if file == Path::new("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|e| format!("standard input: {}", plain(e)))?;
            text
        }
        Some(file) => fs::read_to_string(file).map_err(|e| format!("{}: {}", file.display(), plain(e)))?,
        None => env::var(PASSWORD)
            .map_err(|_| format!("`--user` wants a password: give `--password-file FILE`, or set {PASSWORD}"))?,
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A line for each stream of each camera; what a camera does not say, and why, below.
fn listed(cameras: &[Camera]) -> String {
    let heads = ["CAMERA", "ADDRESS", "MODEL", "STREAM", "VIDEO", "RTSP", "SNAPSHOT"].map(|head| (head, Side::Left));
    let rows = cameras.iter().flat_map(|camera| match camera {
        Camera::V4l2(local) => local_rows(local),
        Camera::Onvif(device) => rows(device),
    });
    let rows: Vec<Vec<String>> = rows.map(|row| row.map(shown).to_vec()).collect();
    let mut text = table(&heads, &rows);
    for camera in cameras {
        let problem = match camera {
            Camera::V4l2(local) => local.problem.as_ref().map(|problem| format!("{}: {problem}", local.path)),
            Camera::Onvif(device) => device.problem.as_ref().map(|problem| format!("{} {problem}", device.address)),
        };
        text.extend(problem.map(|problem| shown(problem) + "\n"));
    }
    text
}

type Row = [String; 7];

/// A line for each format of a camera of this machine.
fn local_rows(local: &Local) -> Vec<Row> {
    let row = |format: &str, video: String| {
        let [name, path, driver] = [&local.name, &local.path, &local.driver].map(Clone::clone);
        [name, path, driver, format.to_owned(), video, String::new(), String::new()]
    };
    let formats = local.offer.formats();
    match formats.is_empty() {
        true => vec![row("", String::new())],
        false => formats.into_iter().map(|format| row(format.as_str(), local.video(format))).collect(),
    }
}

/// A line for each stream of a camera on a network.
fn rows(device: &Device) -> Vec<Row> {
    let details = &device.details;
    let model = if details.model.is_empty() { &device.scopes.hardware } else { &details.model };
    let address = device.address.host_str().unwrap_or_default();
    let address = device.address.port().map_or(address.to_owned(), |port| format!("{address}:{port}"));
    let row = |[name, video, rtsp, snapshot]: [String; 4]| {
        [device.scopes.name.clone(), address.clone(), model.clone(), name, video, rtsp, snapshot]
    };
    let url = |url: &Option<Url>| url.as_ref().map(ToString::to_string).unwrap_or_default();
    let streams = details.profiles.iter().map(|profile| {
        let name = if profile.name.is_empty() { &profile.token } else { &profile.name };
        row([name.clone(), video(profile), url(&profile.stream), url(&profile.snapshot)])
    });
    let rows: Vec<Row> = streams.collect();
    if rows.is_empty() { vec![row(Default::default())] } else { rows }
}

/// What a camera says, as a terminal may show it.
fn shown(text: String) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
