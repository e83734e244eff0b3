//! What every worker program's commands have in common, and the one that all of them have: `run`.
//!
//! - [`place`] is which files a command is about, [`documents`] reads them, [`follow`] notices that they change. [`kinds`] is what of
//!   them the program runs, [`refused`] what it cannot.

pub mod documents;
pub mod follow;
pub mod kinds;
pub mod place;
pub mod refused;

use std::{
    fmt::Display,
    fs::File,
    future::pending,
    io::{self, IsTerminal, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use edgereel_crds::{
    document::Reading,
    name::{Kind, Program},
    problem::Problem,
    status::ConditionType,
    units,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, lookup_host},
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::{
    follow::Follow,
    kinds::{All, Kinds, Options},
    place::{Loaded, Place},
};
use crate::{
    cli::{
        log::{self, Lines, LogFormat},
        screen::Screen,
        signals,
    },
    metrics::Metrics,
    metrics_files::MetricsFiles,
    plain::plain,
    run::{Asked, Run, fleet::Fleet},
    serve,
    sibling::{
        Launch,
        program::{Named, Programs, moved},
        supervised,
        wire::Said,
    },
    table::{self, summary},
};

/// Where the process's own HTTP server listens when nothing else is asked for.
const DEFAULT_HTTP: &str = "127.0.0.1:9464";
/// Rows for spreadsheets are not written more often.
const OFTEN: Duration = Duration::from_secs(1);

/// How `run` is called.
#[derive(Debug, clap::Args)]
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
    /// Run only this resource of the files, as in `FrameSink/gate-files` or `FrameSink/NAMESPACE/gate-files`; the others are
    /// there to be referred to. Default: all of them.
    #[arg(long, value_name = "KIND/NAME")]
    only: Option<String>,
    /// Run only this replica of each sink, 0 being the first, whatever `spec.replicas` says: what a StatefulSet's pod is
    /// told. Default: all `spec.replicas` of them.
    #[arg(long, env = "EDGEREEL_REPLICA", value_name = "N")]
    replica: Option<u32>,
    /// Read the files again when they change, or those below --secrets-dir, as on SIGHUP. What is wrong with one resource then
    /// keeps no other from running: it is told of at its place. There may be nothing to run yet. For files that are replaced as a
    /// whole, as Kubernetes does it.
    #[arg(long, conflicts_with_all = ["only", "supervised"])]
    follow: bool,
    /// What becomes of a field that this version does not know: `refuse` takes it for a mistake, `report` passes over it and
    /// names it in the log and in /status, which is for documents that another version may have written.
    #[arg(long, env = "EDGEREEL_UNKNOWN_FIELDS", value_enum, default_value_t)]
    unknown_fields: UnknownFields,
    /// Write figures for spreadsheets into this folder: producer_metrics.csv and consumer_metrics.csv, a row for each resource
    /// at a time.
    #[arg(long, value_name = "DIR", conflicts_with = "supervised")]
    metrics_files: Option<PathBuf>,
    /// How often.
    #[arg(long, value_name = "DURATION", default_value = "1m", requires = "metrics_files")]
    metrics_files_every: units::Duration,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, as in RUST_LOG: `info`, `debug`, `warn,edgereel_worker::source=debug`, …
    #[arg(long, env = "EDGEREEL_LOG", default_value = "info", value_name = "FILTER")]
    log_level: String,
    /// No live table on a terminal, only log lines.
    #[arg(long)]
    no_table: bool,
    /// Another program is to run this kind, in a process for each resource.
    #[arg(long, hide = true, value_name = "KIND=PROGRAM", value_parser = moved)]
    program: Vec<(Kind, Named)>,
    /// Another program runs this one: it gives the documents, and listens to what is said.
    #[arg(long, hide = true, conflicts_with = "program")]
    supervised: bool,
}

/// What becomes of a field that is not known.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum UnknownFields {
    /// The documents are refused.
    #[default]
    Refuse,
    /// It is passed over and named.
    Report,
}

/// Runs the command of a program, whose kinds `make` makes.
pub fn run<K: Kinds>(program: Program, args: Args, make: impl FnOnce(Options, &mut Metrics) -> K) -> ExitCode {
    // What changes while it is read is noticed afterwards.
    let follow = args.follow.then(|| Follow::new(args.place.all_files()));
    let loaded = match args.read().and_then(|loaded| args.wanted(loaded).map_err(refused)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let table = io::stderr().is_terminal() && !args.no_table && args.log_format == LogFormat::Text;
    let screen = table.then(Screen::stderr);
    let lines = Lines::new(screen.clone());
    if let Err(message) = log::start(args.log_format, &args.log_level, lines.clone()) {
        return refused(message);
    }
    raise_open_files_limit();
    let mut metrics = Metrics::default();
    let programs = match args.supervised {
        true => Programs::all_own(),
        false => Programs::seen_by(program.name, args.program.clone()),
    };
    let own = make(args.options(), &mut metrics);
    let kinds = All { own, programs, replica: args.replica, launch: Arc::new(args.launch(lines)) };
    match run_loaded(loaded, args, kinds, metrics, screen, follow) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(plain(format_args!("{e:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Says why something was not asked for as it has to be.
fn refused(message: String) -> ExitCode {
    say(message);
    ExitCode::from(2)
}

impl Args {
    fn options(&self) -> Options {
        Options {
            storage_root: self.place.storage_root.clone(),
            replica: self.replica,
            numbered: self.supervised,
            snapshots: self.snapshots,
        }
    }

    /// How the programs of others are started.
    fn launch(&self, lines: Lines) -> Launch {
        let mut args = vec!["--log-format".into(), self.log_format.as_str().into()];
        args.extend(["--log-level".into(), self.log_level.clone().into()]);
        for (name, dir) in [("--storage-root", &self.place.storage_root), ("--secrets-dir", &self.place.secrets_dir)] {
            args.extend(dir.iter().flat_map(|dir| [name.into(), dir.into()]));
        }
        args.extend(self.snapshots.then(|| "--snapshots".into()));
        // One that is as strict as it was before it knew this flag need not know it.
        if let UnknownFields::Report = self.unknown_fields {
            args.extend(["--unknown-fields".into(), "report".into()]);
        }
        Launch { args, lines }
    }

    /// What the files ask for; or, the problems being printed, the exit status.
    fn read(&self) -> Result<Loaded, ExitCode> {
        if !self.supervised {
            return self.load().map_err(|problems| {
                documents::print_problems(&problems);
                ExitCode::FAILURE
            });
        }
        let documents = supervised::documents().map_err(refused)?;
        self.place.load_texts(self.reading(), documents).map_err(|problems| {
            documents::print_problems(&problems);
            ExitCode::FAILURE
        })
    }

    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        match self.follow {
            true => self.place.load_apart(self.reading()),
            false => self.place.load(self.reading()),
        }
    }

    fn reading(&self) -> Reading {
        match self.unknown_fields {
            UnknownFields::Refuse => Reading::Strict,
            UnknownFields::Report => Reading::Lenient,
        }
    }

    /// What of the files is to run.
    fn wanted(&self, mut loaded: Loaded) -> Result<Loaded, String> {
        let plan = &mut loaded.plan;
        if let Some(only) = &self.only {
            plan.keep_only(only);
            if plan.runs().is_empty() {
                return Err(format!(
                    "the files hold no {only}: write --only as `CameraStream/NAME` or `FrameSink/NAME`"
                ));
            }
        }
        if plan.runs().is_empty() && !self.follow {
            return Err("the files hold no CameraStream and no FrameSink: nothing to run".into());
        }
        Ok(loaded)
    }
}

fn run_loaded<K: Kinds>(
    loaded: Loaded,
    args: Args,
    kinds: All<K>,
    metrics: Metrics,
    screen: Option<Screen>,
    follow: Option<Follow>,
) -> anyhow::Result<()> {
    // One thread is enough to move bytes, and saves waking another for each packet; what computes or blocks leaves it
    // (`block_in_place`, sinks' own threads).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let supervised = args.supervised;
    let fleet = runtime.block_on(async {
        let (shutdown, hangup) = (CancellationToken::new(), Arc::new(Notify::new()));
        if supervised {
            signals::watch_supervised(shutdown.clone())?;
            supervised::stop_when_alone(shutdown.clone())?;
        } else {
            signals::watch(shutdown.clone(), hangup.clone())?;
        }
        let files = args.metrics_files.clone().map(|folder| (folder, args.metrics_files_every.0.max(OFTEN)));
        let mut run = Run::new(metrics, args.place.storage_root.clone(), shutdown.clone());
        let fleet = run.fleet.clone();
        let listener = listen(args.http.as_deref()).await?;
        let plan = &loaded.plan;
        // Whoever runs this program has said what it starts.
        match supervised {
            true => debug!(cameras = plan.cameras.len(), sinks = plan.sinks.len(), "starting"),
            false => info!(cameras = plan.cameras.len(), sinks = plan.sinks.len(), "starting"),
        }
        loaded.problems.iter().for_each(|problem| error!("{problem}"));
        run.turn_to(kinds.asked(&loaded)).await;
        if let Some(listener) = listener {
            let address = listener.local_addr()?;
            tokio::spawn(serve::serve(listener, fleet.clone(), shutdown.clone()));
            if supervised {
                supervised::say(&Said::Http(address.to_string()));
            } else {
                info!(%address, "serving /metrics, /healthz, /readyz and /status");
            }
        }
        let view = match &screen {
            Some(screen) => Some(tokio::spawn(table::draw_forever(fleet.clone(), screen.clone()))),
            None if supervised => None,
            None => Some(tokio::spawn(table::log_forever(fleet.clone()))),
        };
        let files = files.map(|(folder, every)| MetricsFiles::start(&folder, every, fleet.clone())).transpose();
        let files = files.context("no thread for the metrics files")?;
        let (asking, asked) = mpsc::channel(1);
        let ends = follow.is_none();
        tokio::spawn(read_again(args, kinds, hangup, follow, shutdown, asking));
        run.run(asked, ends).await;
        if let Some(files) = files {
            files.end();
        }
        if let Some(view) = view {
            view.abort();
        }
        anyhow::Ok(fleet)
    })?;
    // Threads that still wait for a lost disk or broker must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if supervised {
        supervised::say(&Said::Stopped(fleet.status()));
        return Ok(());
    }
    leave_last_words(&fleet);
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

/// Where Kubernetes reads what a container says at its end.
const LAST_WORDS: &str = "/dev/termination-log";

/// Leaves what those say that ran to their end, where somebody reads it.
fn leave_last_words(fleet: &Fleet) {
    let members = fleet.members();
    let completed = members.iter().filter(|member| member.state.is_completed());
    let ready = completed.filter_map(|member| member.state.condition(ConditionType::Ready));
    let words: Vec<String> = ready.map(|condition| condition.message).collect();
    if let Ok(mut file) = File::options().write(true).truncate(true).open(LAST_WORDS) {
        let _ = file.write_all(words.join("; ").as_bytes());
    }
}

/// Reads the files again at each hangup, or when they change, and asks for what they hold now. Files with a problem change
/// nothing, unless they are followed: then the problem concerns its resource alone.
async fn read_again<K: Kinds>(
    args: Args,
    kinds: All<K>,
    hangup: Arc<Notify>,
    mut follow: Option<Follow>,
    shutdown: CancellationToken,
    asking: mpsc::Sender<Asked>,
) {
    let args = Arc::new(args);
    loop {
        let change = async {
            match &mut follow {
                Some(follow) => follow.changed().await,
                None => pending().await,
            }
        };
        let why = tokio::select! {
            () = hangup.notified() => "SIGHUP",
            () = change => "the files have changed",
        };
        if args.place.reads_stdin() {
            info!("{why}, and standard input cannot be read again: stopping");
            return shutdown.cancel();
        }
        info!("{why}: reading the files again");
        let args = args.clone();
        // Disks may block.
        let read = tokio::task::spawn_blocking(move || {
            let loaded =
                args.load().map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            args.wanted(loaded).map_err(|problem| vec![problem])
        });
        match read.await {
            Ok(Ok(loaded)) => {
                loaded.problems.iter().for_each(|problem| error!("{problem}"));
                // Nobody listens any more when it is stopping.
                let _ = asking.send(kinds.asked(&loaded)).await;
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

/// A line for people, on standard error; `eprintln!` panics where that is closed.
pub fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "edgereel: {message}");
}
