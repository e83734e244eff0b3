//! What all scenarios share: the cluster, the operator that Helm installed in it, and a Kafka that its pods reach.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use edgereel_tests::{
    kafka::{Cluster, Options},
    process, project_root, scratch,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kube::{Kind, Kube, until},
    lab::name_of,
};

/// The namespace and the release of the operator.
pub const OPERATOR: &str = "edgereel-system";
/// The operator's Deployment, by the chart's rules for a release of the chart's own name.
pub const DEPLOYMENT: &str = "edgereel-operator";
/// What its pods are found by.
pub const OPERATOR_PODS: &str = "app.kubernetes.io/name=edgereel-operator";
/// The user and group of both images.
pub const NONROOT: u32 = 65_532;

/// Where and with what the tests run; made from the environment by [`Settings::from_env`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster.
    pub kubeconfig: PathBuf,
    /// The directory of the cluster that `dev/cluster/up.sh` started, when it is that one: its processes can be killed
    /// and its audit log read.
    pub own: Option<PathBuf>,
    /// This machine's address for pods.
    pub host: String,
    /// Goes before the images' names.
    pub repository: String,
    /// The images' tag.
    pub tag: String,
}

impl Settings {
    /// - `KUBECONFIG`: the cluster. One whose pods reach this machine and whose nodes share `TMPDIR` with it.
    /// - `CLUSTER_RUN`: where `dev/cluster/up.sh` has what runs, when it is that cluster.
    /// - `E2E_HOST`: this machine's address for pods; for `dev/cluster` its bridge.
    /// - `E2E_REPOSITORY`, `E2E_TAG`: where the images are; `ghcr.io/edgereel`, `e2e`.
    pub fn from_env() -> Result<Settings> {
        let set = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
        let kubeconfig = set("KUBECONFIG").context("KUBECONFIG says which cluster to use; `make e2e` sets it")?;
        let own = set("CLUSTER_RUN").map(PathBuf::from).filter(|run| Path::new(&kubeconfig).starts_with(run));
        let bridge = own.is_some().then(|| "10.244.0.1".to_owned());
        let host = set("E2E_HOST").or(bridge).context("E2E_HOST has to be this machine's address for pods")?;
        Ok(Settings {
            kubeconfig: kubeconfig.into(),
            own,
            host,
            repository: set("E2E_REPOSITORY").unwrap_or_else(|| "ghcr.io/edgereel".into()),
            tag: set("E2E_TAG").unwrap_or_else(|| "e2e".into()),
        })
    }
}

/// The shared world.
#[derive(Debug)]
pub struct World {
    /// The settings.
    pub settings: Settings,
    /// The cluster.
    pub kube: Kube,
    /// The Kafka, on this machine.
    pub kafka: Cluster,
    /// The Kafka with TLS, logins and ACLs, once somebody has asked for it.
    secure: OnceLock<Cluster>,
    /// Below it all hostPaths lie.
    pub data: PathBuf,
    /// Operators' pods that an upgrade took rights from while they still ran, and since when.
    narrowed: Mutex<Vec<(String, Timestamp)>>,
    /// From when until when the API server was started anew.
    starts: Mutex<Vec<(Timestamp, Timestamp)>>,
    warned: AtomicUsize,
}

impl World {
    /// Reaches the cluster, starts the Kafka and installs both charts.
    pub fn build(settings: Settings) -> Result<World> {
        let kube = Kube::connect(&settings.kubeconfig)?;
        say("starting Kafka");
        let kafka = Cluster::start(1, Options { host: Some(settings.host.clone()), ..Options::default() })?;
        let data = scratch::dir("data");
        open_to_workers(&data)?;
        // The scratch directory itself may be private.
        open_to_read(scratch::root())?;
        let (narrowed, starts, warned) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        let world = World { settings, kube, kafka, secure: OnceLock::new(), data, narrowed, starts, warned };
        say("installing the charts");
        world.install_crds(&[]);
        world.install(&[]);
        Ok(world)
    }

    /// Installs or upgrades the CRDs, with these values.
    #[track_caller]
    pub fn install_crds(&self, values: &[&str]) {
        let chart = project_root().join("charts/edgereel-crds");
        let chart = chart.to_string_lossy();
        let mut args = ["upgrade", "--install", "edgereel-crds", &chart, "-n", OPERATOR, "--create-namespace"].to_vec();
        // Without a value Helm would take those of the release before.
        args.extend(["--wait", "--reset-values"]);
        for value in values {
            args.extend(["--set", value]);
        }
        self.kube.helm(args);
    }

    /// Installs or upgrades the operator, with further values, and waits until it works.
    #[track_caller]
    pub fn install(&self, values: &[&str]) {
        self.install_as("edgereel", OPERATOR, &["--wait"], values);
    }

    /// Upgrades the operator to values that give it fewer rights. Helm takes those of before away while the pod of before
    /// still runs.
    #[track_caller]
    pub fn install_narrower(&self, values: &[&str]) {
        let pods = self.operators();
        let mut narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        narrowed.extend(pods.iter().map(|pod| (name_of(pod), Timestamp::now())));
        drop(narrowed);
        self.install(values);
    }

    /// Whether a request in the audit log came from a pod whose rights an upgrade had taken away.
    pub fn is_narrowed(&self, event: &Value) -> bool {
        let pod = &event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0];
        let at = event["requestReceivedTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let narrowed = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        narrowed.iter().any(|(name, since)| pod == name.as_str() && at.is_some_and(|at| at >= *since))
    }

    /// Whether a request in the audit log came while the API server was started anew: it answers before it has read who
    /// may do what, and refuses then.
    pub fn was_starting(&self, event: &Value) -> bool {
        let at = event["requestReceivedTimestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| starts.iter().any(|(since, ready)| (*since..=*ready).contains(&at)))
    }

    /// Installs or upgrades an operator under a name, in a namespace.
    #[track_caller]
    pub fn install_as(&self, release: &str, namespace: &str, flags: &[&str], values: &[&str]) {
        let chart = project_root().join("charts/edgereel");
        let Settings { repository, tag, .. } = &self.settings;
        let all = [
            format!("image.repository={repository}/edgereel-operator"),
            format!("image.tag={tag}"),
            format!("worker.image.repository={repository}/edgereel"),
            format!("worker.image.tag={tag}"),
            format!("allowedHostPaths={{{}}}", self.data.display()),
            "sharedConnections=true".to_owned(),
            // Figures every 30 s are enough for people, and too slow to wait for.
            "extraArgs={--poll-interval=5s}".to_owned(),
        ];
        let mut args: Vec<String> = ["upgrade", "--install", release].map(str::to_owned).into();
        args.push(chart.to_string_lossy().into_owned());
        args.extend(["-n", namespace, "--create-namespace", "--timeout", "120s"].map(str::to_owned));
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        for value in all.iter().map(String::as_str).chain(values.iter().copied()) {
            args.extend(["--set".to_owned(), value.to_owned()]);
        }
        self.kube.helm(&args);
    }

    /// A Kafka with TLS, SCRAM-SHA-512 and ACLs, on this machine: `admin` may do everything, `guest` nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn secure_kafka(&self) -> &Cluster {
        let options = || Options { secure: true, host: Some(self.settings.host.clone()), ..Options::default() };
        self.secure.get_or_init(|| {
            say("starting a Kafka with logins");
            Cluster::start(1, options()).unwrap_or_else(|e| panic!("there is no secure Kafka to test with: {e:#}"))
        })
    }

    /// The worker's image.
    pub fn worker_image(&self) -> String {
        format!("{}/edgereel:{}", self.settings.repository, self.settings.tag)
    }

    /// The operator's pods that run, oldest first.
    #[track_caller]
    pub fn operators(&self) -> Vec<Value> {
        let mut pods = self.kube.list(Kind::Pod, Some(OPERATOR), OPERATOR_PODS);
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running");
        pods.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].to_string());
        pods
    }

    /// What the operator's pods have logged, also those containers that ended before the present ones.
    pub fn operator_log(&self) -> String {
        let mut log = String::new();
        for pod in self.kube.try_list(Kind::Pod, Some(OPERATOR), OPERATOR_PODS).unwrap_or_default() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            for which in ["--previous=true", "--previous=false"] {
                let said = self.kube.attempt(&["logs", "-n", OPERATOR, &name, which]);
                if said.status.success() {
                    log.push_str(&said.stdout);
                }
            }
        }
        log
    }

    /// The directory of the processes of `dev/cluster`; says once for each scenario why it does less on another cluster.
    pub fn own(&self, what: &str) -> Option<&Path> {
        if self.settings.own.is_none() {
            self.warned.fetch_add(1, Ordering::Relaxed);
            say(&format!("on a cluster that dev/cluster did not start, this is not tested: {what}"));
        }
        self.settings.own.as_deref()
    }

    /// Requests in the API server's audit log by the operator's ServiceAccount, from this byte of the log on.
    pub fn audited(&self, run: &Path, from: u64) -> Vec<Value> {
        let log = fs::read(run.join("audit/audit.log")).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(log.len());
        let text = String::from_utf8_lossy(&log[from..]);
        let user = format!("system:serviceaccount:{OPERATOR}:{DEPLOYMENT}");
        let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        parsed.filter(|event| event["user"]["username"] == user.as_str()).collect()
    }

    /// Where the audit log ends now.
    pub fn audit_end(&self, run: &Path) -> u64 {
        fs::metadata(run.join("audit/audit.log")).map_or(0, |m| m.len())
    }

    /// SIGKILL to a process of `dev/cluster`, and all of them started again that do not run.
    pub fn restart_process(&self, run: &Path, name: &str) -> Result<()> {
        let since = Timestamp::now();
        self.kill_process(run, name)?;
        self.start_processes(run)?;
        if name == "kube-apiserver" {
            until("the API server is ready", || self.kube.raw("readyz"));
            self.starts.lock().unwrap_or_else(PoisonError::into_inner).push((since, Timestamp::now()));
        }
        Ok(())
    }

    /// SIGKILL to a process of `dev/cluster`.
    pub fn kill_process(&self, run: &Path, name: &str) -> Result<()> {
        let file = run.join("pid").join(name);
        let pid = fs::read_to_string(&file).with_context(|| format!("{} is not there", file.display()))?;
        let pid: i32 = pid.trim().parse().with_context(|| format!("{} holds no number", file.display()))?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
        Ok(())
    }

    /// All processes of `dev/cluster` started that do not run.
    pub fn start_processes(&self, run: &Path) -> Result<()> {
        // The API server may be among them.
        let nodes = fs::read_dir(run.join("pid"))?.flatten();
        let nodes = nodes.filter(|file| file.file_name().to_string_lossy().starts_with("kubelet-")).count();
        let mut up = Command::new(project_root().join("dev/cluster/up.sh"));
        up.env("CLUSTER_RUN", run).env("NODES", nodes.to_string());
        process::output("cluster-up", up, Duration::from_secs(120))?;
        Ok(())
    }

    /// Waits until exactly so many operators run and are ready.
    #[track_caller]
    pub fn await_operators(&self, count: usize) {
        until(&format!("{count} operators are ready"), || {
            let pods = self.kube.try_list(Kind::Pod, Some(OPERATOR), OPERATOR_PODS)?;
            let ready = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null() && is_ready_pod(pod));
            match (ready.count(), pods.len()) {
                (ready, all) if ready == count && all == count => Ok(()),
                (ready, all) => bail!("{ready} of {all} are"),
            }
        });
    }

    /// What a person would look at after a failure, to stderr and into the scratch directory.
    pub fn dump(&self, scenario: &str) {
        let file = scratch::root().join(format!("{scenario}.dump"));
        let mut text = String::new();
        for args in [
            "get nodes,pods -A -o wide",
            "get edgereel,deploy,sts,cm,svc,pvc -A -o wide",
            "describe edgereel -A",
            "get events -A --sort-by=.lastTimestamp",
        ] {
            let args: Vec<&str> = args.split(' ').collect();
            let said = self.kube.attempt(&args);
            text.push_str(&format!("=== kubectl {}\n{}{}\n", args.join(" "), said.stdout, said.stderr));
        }
        for pod in
            self.kube.try_list(Kind::Pod, None, "app.kubernetes.io/managed-by=edgereel-operator").unwrap_or_default()
        {
            let (namespace, name) = (pod["metadata"]["namespace"].as_str(), pod["metadata"]["name"].as_str());
            if let (Some(namespace), Some(name)) = (namespace, name) {
                let said = self.kube.attempt(&["logs", "-n", namespace, name, "--tail=40"]);
                text.push_str(&format!("=== log of {namespace}/{name}\n{}{}\n", said.stdout, said.stderr));
            }
        }
        let log = self.operator_log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        text.push_str(&format!("=== the operator's last lines\n{tail}\n"));
        // A dump that cannot be written is still printed.
        let _ = fs::write(&file, format!("{text}\n=== the operator's whole log\n{log}\n{}", self.kube.proxy_log()));
        eprintln!("--- {scenario} failed; this and more is in {}\n{text}", file.display());
    }
}

/// A line of progress.
pub fn say(what: &str) {
    eprintln!("e2e: {what}");
}

/// Whether a pod's Ready condition is true.
pub fn is_ready_pod(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// SIGKILL to a program in a pod, from the machine: inside, the first process of a container does not hear it. Waits for
/// the program where its container is just being started again.
///
/// # Panics
/// When it does not run there.
pub fn kill_process(pod: &Value, program: &str) {
    let pid = process_of(pod, program);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap_or_else(|e| panic!("cannot kill {pid}: {e}"));
}

/// A program in a pod, as this machine numbers it. Waits until it runs.
///
/// # Panics
/// When it does not.
pub fn process_of(pod: &Value, program: &str) -> i32 {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    // The kernel keeps 15 bytes of a program's name.
    let name = &program[..program.len().min(15)];
    let runs = |dir: &PathBuf| {
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        read("comm").trim() == name && read("cgroup").contains(uid)
    };
    until(&format!("{program} runs in {}", pod["metadata"]["name"]), || {
        let all = fs::read_dir("/proc")?.flatten().map(|e| e.path());
        let dir = all.into_iter().find(runs).context("no such process")?;
        let number = dir.file_name().and_then(|n| n.to_str()).context("a number")?;
        number.parse::<i32>().context("a number")
    })
}

/// Gives a directory to the workers' user.
pub fn open_to_workers(dir: &Path) -> Result<()> {
    std::os::unix::fs::chown(dir, Some(NONROOT), Some(NONROOT))
        .with_context(|| format!("cannot give {} to the workers' user: run as root", dir.display()))
}

fn open_to_read(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).with_context(|| format!("chmod {}", dir.display()))
}
