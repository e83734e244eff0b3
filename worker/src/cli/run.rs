//! `edgereel run`: every resource in the files, until SIGINT or SIGTERM.

use std::{io::IsTerminal, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, anyhow};
use edgereel_crds::plan::Plan;
use indicatif::MultiProgress;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Place,
    log::{self, LogFormat},
    table,
};
use crate::{
    plain::plain,
    run::{Options, Run},
    secrets::Secrets,
    serve,
};

/// Where the process's own HTTP server listens when nothing else is asked for.
const DEFAULT_HTTP: &str = "127.0.0.1:9464";

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
first. A second signal ends it at once; even then nothing acknowledged is lost.";

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let (mut plan, secrets) = match args.place.read() {
        Ok(read) => read,
        Err(code) => return code,
    };
    if let Some(only) = &args.only {
        plan.keep_only(only);
        if plan.cameras.is_empty() && plan.sinks.is_empty() {
            eprintln!("edgereel: the files hold no {only}: write --only as `CameraStream/NAME` or `FrameSink/NAME`");
            return ExitCode::from(2);
        }
    }
    let table = (std::io::stderr().is_terminal() && !args.no_table && args.log_format == LogFormat::Text)
        .then(MultiProgress::new);
    if let Err(message) = log::start(args.log_format, &args.log_level, table.clone()) {
        eprintln!("edgereel: {message}");
        return ExitCode::from(2);
    }
    if plan.cameras.is_empty() && plan.sinks.is_empty() {
        eprintln!("edgereel: the files hold no CameraStream and no FrameSink: nothing to run");
        return ExitCode::from(2);
    }
    raise_open_files_limit();
    match run_plan(plan, secrets, args, table) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("edgereel: {}", plain(format_args!("{e:#}")));
            ExitCode::FAILURE
        }
    }
}

fn run_plan(plan: Plan, secrets: Secrets, args: Args, table: Option<MultiProgress>) -> anyhow::Result<()> {
    // One thread is enough to move bytes, and saves waking another for each packet; what computes or blocks leaves it
    // (`block_in_place`, sinks' own threads).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let options = Options { storage_root: args.place.storage_root, replica: args.replica, snapshots: args.snapshots };
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        let run = Run::new(&plan, &options);
        let fleet = run.fleet.clone();
        if let Some(listener) = listen(args.http.as_deref()).await? {
            info!(address = %listener.local_addr()?, "serving /metrics, /healthz, /readyz and /status");
            tokio::spawn(serve::serve(listener, fleet.clone(), shutdown.clone()));
        }
        info!(cameras = plan.cameras.len(), sinks = plan.sinks.len(), "starting");
        let view = match &table {
            Some(screen) => tokio::spawn(table::draw_forever(fleet, screen.clone())),
            None => tokio::spawn(table::log_forever(fleet)),
        };
        run.run(options, secrets, shutdown).await;
        view.abort();
        anyhow::Ok(())
    })?;
    // Threads that still wait for a lost disk or broker must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    info!("all stopped");
    Ok(())
}

/// Binds the HTTP address. An address that was asked for must be had; the default gives way to a free port.
async fn listen(asked: Option<&str>) -> anyhow::Result<Option<TcpListener>> {
    match asked {
        Some("off") => Ok(None),
        Some(address) => {
            let address: SocketAddr = address
                .parse()
                .with_context(|| format!("--http `{address}` is not an address: write `127.0.0.1:9464` or `off`"))?;
            let listener = TcpListener::bind(address).await;
            let refused = |e| anyhow!("cannot listen on --http {address} ({}): choose another or `off`", plain(e));
            Ok(Some(listener.map_err(refused)?))
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

/// The first SIGINT or SIGTERM stops in order, the second at once.
fn stop_on_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if shutdown.is_cancelled() {
                warn!("{name} again: ending at once");
                std::process::exit(130);
            }
            info!("{name}: stopping");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// Many sinks hold many files: take all that the system allows without asking.
fn raise_open_files_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
