//! `edgereel run`: every resource in the files, until SIGINT or SIGTERM.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use edgereel_crds::plan::Plan;
use edgereel_runtime::{
    cli::{
        log::{self, LogFormat},
        screen::Screen,
        signals,
    },
    metrics::Metrics,
    plain::plain,
    run::{Asked, Run},
    secrets::Secrets,
    serve,
    table::{self, summary},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, lookup_host},
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Place, say};
use crate::kinds::{Kinds, Options};

/// Where the process's own HTTP server listens when nothing else is asked for.
const DEFAULT_HTTP: &str = "127.0.0.1:9464";

/// What files ask for, with the secrets at hand.
type Read = (Plan, Secrets);

/// How `edgereel run` is called.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Serve /metrics, /healthz, /readyz and /status here; `off` for nowhere. Default: 127.0.0.1:9464, or a free port
    /// if that is taken.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Keep each camera's last frame in memory and serve it at /snapshot.jpg, to anyone who can reach the address.
    #[arg(long)]
    snapshots: bool,
    /// Run only this resource of the files, as in `FrameSink/gate-files`; the others are there to be referred to. Default:
    /// all of them.
    #[arg(long, value_name = "KIND/NAME")]
    only: Option<String>,
    /// Run only this replica of each sink, 0 being the first, whatever `spec.replicas` says: what a StatefulSet's pod is
    /// told. Default: all `spec.replicas` of them.
    #[arg(long, env = "EDGEREEL_REPLICA", value_name = "N")]
    replica: Option<u32>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, as in RUST_LOG: `info`, `debug`, `warn,edgereel_worker::source=debug`, …
    #[arg(long, env = "EDGEREEL_LOG", default_value = "info", value_name = "FILTER")]
    log_level: String,
    /// No live table on a terminal, only log lines.
    #[arg(long)]
    no_table: bool,
}

const EXAMPLES: &str = "\
Examples:
  edgereel run -f lab/
          a laptop: every resource in the folder
  edgereel run -f camera.yaml -f sink.yaml --snapshots
          two files, and each camera's last frame at /snapshot.jpg
  edgereel run -f resources.yaml --storage-root /data --secrets-dir /secrets \\
               --http 0.0.0.0:9464 --log-format json
          a pod

On a terminal it shows a live table; in a pipe, log lines on standard error.
SIGINT or SIGTERM stops it: frames on their way are delivered and committed
first. A second signal ends it at once; even then nothing acknowledged is lost.
SIGHUP has it read its files again: what changed in them is started, stopped or
restarted, and all else goes on. When the terminal goes away (an SSH session is
closed), it stops as for SIGTERM; `nohup`, systemd or tmux keep it.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let asked = match args.place.read() {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let asked = match args.wanted(asked) {
        Ok(asked) => asked,
        Err(message) => {
            say(message);
            return ExitCode::from(2);
        }
    };
    let screen =
        (io::stderr().is_terminal() && !args.no_table && args.log_format == LogFormat::Text).then(Screen::stderr);
    if let Err(message) = log::start(args.log_format, &args.log_level, screen.clone()) {
        say(message);
        return ExitCode::from(2);
    }
    raise_open_files_limit();
    match run_asked(asked, args, screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(plain(format_args!("{e:#}")));
            ExitCode::FAILURE
        }
    }
}

impl Args {
    /// What of the files is to run.
    fn wanted(&self, (mut plan, secrets): Read) -> Result<Read, String> {
        if let Some(only) = &self.only {
            plan.keep_only(only);
            if plan.cameras.is_empty() && plan.sinks.is_empty() {
                return Err(format!(
                    "the files hold no {only}: write --only as `CameraStream/NAME` or `FrameSink/NAME`"
                ));
            }
        }
        if plan.cameras.is_empty() && plan.sinks.is_empty() {
            return Err("the files hold no CameraStream and no FrameSink: nothing to run".into());
        }
        Ok((plan, secrets))
    }
}

fn run_asked((plan, secrets): Read, args: Args, screen: Option<Screen>) -> anyhow::Result<()> {
    // One thread is enough to move bytes, and saves waking another for each packet; what computes or blocks leaves it
    // (`block_in_place`, sinks' own threads).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options =
        Options { storage_root: args.place.storage_root.clone(), replica: args.replica, snapshots: args.snapshots };
    let fleet = runtime.block_on(async {
        let (shutdown, hangup) = (CancellationToken::new(), Arc::new(Notify::new()));
        signals::watch(shutdown.clone(), hangup.clone())?;
        let mut metrics = Metrics::default();
        let storage_root = options.storage_root.clone();
        let kinds = Kinds::new(options, &mut metrics);
        let mut run = Run::new(metrics, storage_root, shutdown.clone());
        let fleet = run.fleet.clone();
        let listener = listen(args.http.as_deref()).await?;
        info!(cameras = plan.cameras.len(), sinks = plan.sinks.len(), "starting");
        run.turn_to(kinds.of(&plan, &secrets), &secrets).await;
        if let Some(listener) = listener {
            info!(address = %listener.local_addr()?, "serving /metrics, /healthz, /readyz and /status");
            tokio::spawn(serve::serve(listener, fleet.clone(), shutdown.clone()));
        }
        let view = match &screen {
            Some(screen) => tokio::spawn(table::draw_forever(fleet.clone(), screen.clone())),
            None => tokio::spawn(table::log_forever(fleet.clone())),
        };
        let (asking, asked) = mpsc::channel(1);
        tokio::spawn(read_again(args, kinds, hangup, shutdown, asking));
        run.run(asked).await;
        view.abort();
        anyhow::Ok(fleet)
    })?;
    // Threads that still wait for a lost disk or broker must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match screen {
        Some(screen) => {
            screen.close();
            summary::lines(&fleet).into_iter().for_each(|line| screen.print(&line));
        }
        None => summary::log(&fleet),
    }
    info!("all stopped");
    Ok(())
}

/// Reads the files again at each hangup, and asks for what they hold now. Files with a problem change nothing.
async fn read_again(
    args: Args,
    kinds: Kinds,
    hangup: Arc<Notify>,
    shutdown: CancellationToken,
    asking: mpsc::Sender<Asked>,
) {
    let args = Arc::new(args);
    loop {
        hangup.notified().await;
        if args.place.reads_stdin() {
            info!("SIGHUP, and standard input cannot be read again: stopping");
            return shutdown.cancel();
        }
        info!("SIGHUP: reading the files again");
        let args = args.clone();
        // Disks may block.
        let read = tokio::task::spawn_blocking(move || {
            let asked =
                args.place.load().map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            args.wanted(asked).map_err(|problem| vec![problem])
        });
        match read.await {
            Ok(Ok((plan, secrets))) => {
                let wanted = kinds.of(&plan, &secrets);
                // Nobody listens any more when it is stopping.
                let _ = asking.send((wanted, secrets)).await;
            }
            Ok(Err(problems)) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                error!("nothing was changed: mend the files and send SIGHUP again");
            }
            Err(e) => error!("the files were not read: {e}"),
        }
    }
}

/// Binds the HTTP address. An address that was asked for must be had; the default gives way to a free port.
async fn listen(asked: Option<&str>) -> anyhow::Result<Option<TcpListener>> {
    match asked {
        Some("off") => Ok(None),
        Some(asked) => {
            let named =
                |e| anyhow!("--http `{asked}` is not an address ({}): write `127.0.0.1:9464` or `off`", plain(e));
            let addresses: Vec<_> = lookup_host(asked).await.map_err(named)?.collect();
            let refused = |e| anyhow!("cannot listen on --http {asked} ({}): choose another or `off`", plain(e));
            Ok(Some(TcpListener::bind(&addresses[..]).await.map_err(refused)?))
        }
        None => match TcpListener::bind(DEFAULT_HTTP).await {
            Ok(listener) => Ok(Some(listener)),
            Err(e) => {
                warn!("cannot listen on {DEFAULT_HTTP} ({}): taking a free port", plain(e));
                Ok(Some(TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?))
            }
        },
    }
}

/// Many sinks hold many files: take all that the system allows without asking.
fn raise_open_files_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
