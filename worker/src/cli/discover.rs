//! `edgereel discover`: which cameras there are, as a table or as resources.

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
    Credentials, Device, Search, Target, discover, interface, interfaces,
    resources::{Choice, video, yaml},
};

/// Has the password, where it is not in a file: an argument would be seen by all users of the machine.
const PASSWORD: &str = "EDGEREEL_CAMERA_PASSWORD";

/// How `edgereel discover` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An address, or the URL of a device service, that is asked too: for cameras beyond the local network. May be given
    /// several times; then no network is probed unless `--interface` names it.
    #[arg(long, value_name = "ADDRESS", value_parser = target)]
    address: Vec<Target>,
    /// The network interface (name or address) whose network is probed. May be given several times. Default: all.
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
          the cameras on all networks of this machine
  edgereel discover --user admin --password-file pw
          and their streams, where that wants a login
  edgereel discover --user admin --password-file pw -o yaml > cameras.yaml
          resources for `edgereel run -f` or `kubectl apply -f`; the file has
          the password, as a Secret
  edgereel discover --address 192.0.2.7 --address 192.0.2.8
          cameras on another network, which no probe reaches

Cameras are asked by ONVIF: it may have to be turned on in their settings, often
with a user of its own. Nothing is changed in them.

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
    let (search, choice) = match search(&args) {
        Ok(search) => search,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    if io::stderr().is_terminal() {
        say(format_args!("asking for {}…", args.timeout));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(format_args!("cannot begin: {}", plain(e)));
            return ExitCode::from(2);
        }
    };
    let devices = match runtime.block_on(discover(&search)) {
        Ok(devices) => devices,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    if devices.is_empty() {
        say(
            "no camera answered: ONVIF may have to be turned on in its settings, and a camera on another network wants \
             `--address`",
        );
    }
    let printed = match args.output {
        Output::Table => print_as(Format::Table, &devices, listed),
        Output::Json => print_as(Format::Json, &devices, listed),
        Output::Yaml => print(&yaml(&devices, &choice)),
    };
    if devices.is_empty() { ExitCode::FAILURE } else { printed }
}

fn search(args: &Args) -> Result<(Search, Choice), String> {
    let login = match &args.user {
        Some(user) => Some(Credentials { username: user.clone(), password: password(args.password_file.as_deref())? }),
        None => None,
    };
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
    let choice =
        Choice { snapshots: args.source == SourceKind::Snapshot, kafka: args.kafka.clone(), login: login.clone() };
    let search = Search {
        interfaces: networks,
        targets: args.address.clone(),
        wait: *args.timeout,
        login,
        insecure: args.insecure,
    };
    Ok((search, choice))
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
fn listed(devices: &[Device]) -> String {
    let heads = ["CAMERA", "ADDRESS", "MODEL", "STREAM", "VIDEO", "RTSP", "SNAPSHOT"].map(|head| (head, Side::Left));
    let mut rows = vec![];
    for device in devices {
        let details = &device.details;
        let model = if details.model.is_empty() { &device.scopes.hardware } else { &details.model };
        let address = device.address.host_str().unwrap_or_default();
        let address = device.address.port().map_or(address.to_owned(), |port| format!("{address}:{port}"));
        let own = [device.scopes.name.clone(), address, model.clone()];
        let row = |streams: [String; 4]| own.iter().cloned().chain(streams).map(shown).collect::<Vec<_>>();
        let url = |url: &Option<Url>| url.as_ref().map(ToString::to_string).unwrap_or_default();
        for profile in &details.profiles {
            let name = if profile.name.is_empty() { &profile.token } else { &profile.name };
            rows.push(row([name.clone(), video(profile), url(&profile.stream), url(&profile.snapshot)]));
        }
        if details.profiles.is_empty() {
            rows.push(row(Default::default()));
        }
    }
    let mut text = table(&heads, &rows);
    for device in devices {
        if let Some(problem) = &device.problem {
            text += &shown(format!("{} {problem}", device.address));
            text.push('\n');
        }
    }
    text
}

/// What a camera says, as a terminal may show it.
fn shown(text: String) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
