//! The command line: flags, each also an environment variable, and the life of the process.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, ValueEnum, builder::NonEmptyStringValueParser};
use edgereel_crds::{pod_overrides::PodOverrides, units};
use kube::{Client, Config, client::ClientBuilder};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::{
    api_layer::Counting,
    guard::Guard,
    http::{Probes, serve},
    kinds::Kinds,
    lease::Candidate,
    metrics::Metrics,
    rollout::settings::RolloutSettings,
    run::Operator,
    settings::{Allowed, Settings, name, worker_defaults},
};

/// Turns CameraStreams, FrameSinks and KafkaConnections into the workloads that do their work.
#[derive(Debug, Parser)]
#[command(name = "edgereel-operator", version, after_help = EXAMPLES)]
struct Cli {
    /// The image that workers run, unless their resource's `spec.template.image` names another.
    #[arg(long, env = "EDGEREEL_WORKER_IMAGE", value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    worker_image: String,
    /// A Secret to pull the worker's image with, in the resource's namespace. May be given several times.
    #[arg(long, env = "EDGEREEL_IMAGE_PULL_SECRETS", value_name = "NAME", value_delimiter = ',', value_parser = name)]
    image_pull_secrets: Vec<String>,
    /// A namespace to work on. May be given several times. Default: all of them.
    #[arg(
        long = "watch-namespace",
        alias = "namespace",
        env = "EDGEREEL_WATCH_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        value_parser = name
    )]
    watch_namespaces: Vec<String>,
    /// A directory of nodes below which a `hostPath` may lie; `NAMESPACE=PATH` for one namespace alone. May be given several
    /// times. Default: none may.
    #[arg(long, env = "EDGEREEL_ALLOWED_HOST_PATHS", value_name = "[NAMESPACE=]PATH", value_delimiter = ',')]
    allowed_host_paths: Vec<Allowed>,
    /// Let cameras and sinks use the KafkaConnections of other namespaces that allow it (`spec.allowedNamespaces`). Copies of their
    /// Secrets are made where they are used: needs the right to write Secrets.
    #[arg(long, env = "EDGEREEL_SHARED_CONNECTIONS", value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    shared_connections: bool,
    /// The user that workers run as, unless their resource says otherwise. Never root.
    #[arg(long, env = "EDGEREEL_WORKER_RUN_AS_USER", value_name = "UID", default_value_t = 65532, value_parser = clap::value_parser!(i64).range(1..))]
    worker_run_as_user: i64,
    /// Their main group.
    #[arg(long, env = "EDGEREEL_WORKER_RUN_AS_GROUP", value_name = "GID", default_value_t = 65532, value_parser = clap::value_parser!(i64).range(1..))]
    worker_run_as_group: i64,
    /// What all workers' pods have beside what the operator builds, unless their resource says otherwise: a part of a pod's template
    /// as YAML or JSON, merged as `spec.template.podOverrides` is: `{spec: {priorityClassName: high, containers: [{name: worker,
    /// resources: {limits: {memory: 512Mi}}}]}}`.
    #[arg(long, env = "EDGEREEL_WORKER_DEFAULTS", value_name = "YAML", default_value = "{}", value_parser = worker_defaults)]
    worker_defaults: PodOverrides,
    /// How often each worker is asked for its figures.
    #[arg(long, env = "EDGEREEL_POLL_INTERVAL", value_name = "DURATION", default_value = "30s")]
    poll_interval: units::Duration,
    /// How changes of the operator's own (its worker image, its settings) reach the workers, as YAML or JSON:
    /// `{maxUnavailable: 10%, pauseBetween: 30s, haltAfterFailures: 1, maintenanceWindow: {schedule: "0 2 * * *", duration:
    /// 2h, timeZone: Europe/Berlin}, overrides: [{namespaces: [lab], selector: {tier: test}, maxUnavailable: 100%}]}`.
    /// What is not given is as here; without a window, at any time.
    #[arg(long, env = "EDGEREEL_ROLLOUT", value_name = "YAML", default_value = "{}")]
    rollout: RolloutSettings,
    /// How many resources of a kind are worked on at once.
    #[arg(long, env = "EDGEREEL_CONCURRENCY", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// How long each watch lasts before it is begun anew, 5s to 290s. /healthz fails when one gave no sign of life for three times
    /// as long, and at least a minute.
    #[arg(long, env = "EDGEREEL_WATCH_INTERVAL", value_name = "DURATION", default_value = "290s", value_parser = watch_interval)]
    watch_interval: Duration,
    /// Look which nodes are lost, for the reason NodeLost. Needs the right to list and watch nodes.
    #[arg(long, env = "EDGEREEL_WATCH_NODES", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    watch_nodes: bool,
    /// Work only while holding a Lease, so that of several operators one works at a time.
    #[arg(long, env = "EDGEREEL_LEADER_ELECT", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
    /// The Lease's name.
    #[arg(long, env = "EDGEREEL_LEASE_NAME", value_name = "NAME", default_value = "edgereel-operator", value_parser = name)]
    lease_name: String,
    /// The Lease's namespace. Default: the operator's own.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", value_parser = name)]
    lease_namespace: Option<String>,
    /// Who this operator is, in the Lease and in events. Default: the host's name.
    #[arg(long, env = "POD_NAME", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    identity: Option<String>,
    /// Serve /metrics, /healthz and /readyz here.
    #[arg(long, env = "EDGEREEL_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// How log lines look.
    #[arg(long, env = "EDGEREEL_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, as in RUST_LOG: `info`, `debug`, `info,kube=debug`, …
    #[arg(long, env = "EDGEREEL_LOG", value_name = "FILTER", default_value = "info")]
    log_level: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  edgereel-operator --worker-image ghcr.io/edgereel/edgereel:0.1.0 --allowed-host-paths /KafkaSSD/data
  edgereel-operator --worker-image edgereel:dev --watch-namespace lab --leader-elect=false      from a laptop, by KUBECONFIG

It finds the cluster by KUBECONFIG, or by the ServiceAccount of its pod. SIGINT or SIGTERM stops it: what is under way is
finished and the Lease given back. Workers run on without it.";

/// Runs the operator.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(message) = start_log(cli.log_format, &cli.log_level) {
        eprintln!("edgereel-operator: {message}");
        return ExitCode::from(2);
    }
    // Waiting for answers is all that it does: two threads are plenty, and take less memory than one for each core.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(run(cli));
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{e:#}");
            eprintln!("edgereel-operator: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat, filter: &str) -> Result<(), String> {
    // The controller's own span would stand before every line, and its watches warn of what ours say once: each time.
    let quiet = if filter.contains("kube") { String::new() } else { ",kube_runtime=error".to_owned() };
    let filter = EnvFilter::try_new(format!("{filter}{quiet}")).map_err(|e| format!("--log-level `{filter}`: {e}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => log.init(),
    }
    Ok(())
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    stop_on_signals(shutdown.clone())?;
    let metrics = Arc::new(Metrics::default());
    let ready = Arc::new(AtomicBool::new(false));
    let listener = TcpListener::bind(cli.http).await;
    let listener = listener.with_context(|| format!("cannot listen on --http {}: choose another", cli.http))?;
    info!(version = env!("CARGO_PKG_VERSION"), address = %cli.http, "serving /metrics, /healthz and /readyz");
    let patience = (cli.watch_interval * 3).max(Duration::from_secs(60));
    let probes = Probes { metrics: metrics.clone(), ready: ready.clone(), patience };
    tokio::spawn(serve(listener, probes, shutdown.clone()));
    let (client, own_namespace) = connect(&metrics).await?;
    let identity = cli.identity.clone().or_else(host_name).unwrap_or_else(|| "edgereel-operator".into());
    let lease_namespace = cli.lease_namespace.unwrap_or(own_namespace);
    let guard = Guard::new(client.clone(), &lease_namespace, &cli.lease_name, metrics.clone());
    let operator = Operator {
        client: client.clone(),
        guard: Arc::new(guard),
        kinds: Kinds::default(),
        settings: Settings {
            worker_image: cli.worker_image,
            image_pull_secrets: cli.image_pull_secrets,
            allowed_host_paths: cli.allowed_host_paths,
            shared_connections: cli.shared_connections,
            run_as_user: cli.worker_run_as_user,
            run_as_group: cli.worker_run_as_group,
            worker_defaults: cli.worker_defaults,
            poll_interval: *cli.poll_interval,
            rollout: cli.rollout,
        },
        // One that stands there twice is not worked on twice.
        namespaces: cli.watch_namespaces.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        concurrency: cli.concurrency,
        watch_interval: cli.watch_interval,
        watch_nodes: cli.watch_nodes,
        nodes: Arc::default(),
        identity: identity.clone(),
        metrics: metrics.clone(),
        ready: ready.clone(),
    };
    if !cli.leader_elect {
        metrics.set_leader(true);
        return operator.run(shutdown).await;
    }
    let mut candidate = Candidate::new(client, &lease_namespace, &cli.lease_name, &identity);
    // One that waits is ready to take over.
    ready.store(true, Ordering::Relaxed);
    tokio::select! {
        () = candidate.acquire() => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    metrics.set_leader(true);
    let outcome = tokio::select! {
        outcome = operator.run(shutdown.clone()) => outcome,
        // Another may have begun: nothing more is written, not even what is under way.
        () = candidate.keep() => Err(anyhow::anyhow!("the lease is lost: ending, so that two never work at once")),
    };
    metrics.set_leader(false);
    if outcome.is_ok() {
        candidate.release().await;
    }
    outcome
}

async fn connect(metrics: &Arc<Metrics>) -> anyhow::Result<(Client, String)> {
    let config = Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod with a ServiceAccount")?;
    let namespace = config.default_namespace.clone();
    let builder = ClientBuilder::try_from(config).context("the cluster's configuration cannot be used")?;
    Ok((builder.with_layer(&Counting(metrics.clone())).build(), namespace))
}

/// The API server's own limit, and what kube's client waits for at most, is five minutes.
fn watch_interval(text: &str) -> Result<Duration, String> {
    let interval: units::Duration = text.parse()?;
    match interval.as_secs() {
        5..=290 => Ok(*interval),
        _ => Err("it has to be from 5s to 290s".into()),
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(format!("{}-{}", name.trim(), std::process::id()))
}

/// The first SIGINT or SIGTERM stops in order, the second at once.
fn stop_on_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if shutdown.is_cancelled() {
                std::process::exit(130);
            }
            info!("stopping");
            shutdown.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_be_repeated_and_leader_election_turned_off() {
        let cli = Cli::parse_from([
            "x",
            "--worker-image",
            "i",
            "--allowed-host-paths=/a",
            "--allowed-host-paths=/b",
            "--namespace=n",
            "--leader-elect=false",
            "--poll-interval=1m",
        ]);
        assert_eq!(cli.allowed_host_paths, ["/a", "/b"].map(|path| path.parse().expect("a directory")));
        assert_eq!((cli.watch_namespaces, cli.leader_elect), (vec!["n".to_owned()], false));
        assert_eq!(*cli.poll_interval, Duration::from_secs(60));
        assert_eq!(cli.watch_interval, Duration::from_secs(290));
        assert!(Cli::try_parse_from(["x", "--worker-image", "i", "--worker-run-as-user=0"]).is_err(), "never root");
        assert!(
            Cli::try_parse_from(["x", "--worker-image", "i", "--watch-interval=1h"]).is_err(),
            "longer than a watch lasts"
        );
    }

    #[test]
    fn what_is_empty_is_an_error_and_never_everything() {
        for flag in [
            "--watch-namespace=",
            "--watch-namespace=a,,b",
            "--allowed-host-paths=",
            "--allowed-host-paths=/a,",
            "--image-pull-secrets=",
            "--lease-name=",
            "--lease-namespace=",
            "--identity=",
        ] {
            let error = Cli::try_parse_from(["x", "--worker-image=i", flag]).expect_err(flag).to_string();
            assert!(error.contains(flag.split('=').next().unwrap_or_default()), "{error}");
        }
        assert!(Cli::try_parse_from(["x", "--worker-image="]).is_err());
    }
}
