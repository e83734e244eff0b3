//! The cluster as its users reach it: `kubectl` and `helm` as commands, and cheap reads of objects for awaiting.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use edgereel_tests::{
    process::{self, Finished, Guarded, command},
    wait,
};
use serde_json::Value;

/// What a command may take: a rollout's `kubectl wait` is the longest.
const COMMAND: Duration = Duration::from_secs(240);
/// What has to come true by itself: a pod scheduled, started and seen, on a machine of two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster.
#[derive(Debug)]
pub struct Kube {
    kubeconfig: PathBuf,
    /// `kubectl proxy`: reads through it cost a millisecond, a `kubectl get` costs a tenth of a second of a core.
    proxy: Guarded,
    base: String,
    client: reqwest::blocking::Client,
}

/// The kinds that the tests look at, by the paths of their objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Camera,
    Worker,
    Sink,
    Connection,
    Pod,
    Node,
    Event,
    ConfigMap,
    Secret,
    Service,
    Deployment,
    StatefulSet,
    Lease,
    Claim,
    CronJob,
}

impl Kind {
    /// The group's path and the plural.
    fn path(self) -> (&'static str, &'static str) {
        match self {
            Kind::Camera => ("apis/edgereel.dev/v1alpha1", "camerastreams"),
            Kind::Worker => ("apis/edgereel.dev/v1alpha1", "cameraworkers"),
            Kind::Sink => ("apis/edgereel.dev/v1alpha1", "framesinks"),
            Kind::Connection => ("apis/edgereel.dev/v1alpha1", "kafkaconnections"),
            Kind::Pod => ("api/v1", "pods"),
            Kind::Node => ("api/v1", "nodes"),
            Kind::Event => ("apis/events.k8s.io/v1", "events"),
            Kind::ConfigMap => ("api/v1", "configmaps"),
            Kind::Secret => ("api/v1", "secrets"),
            Kind::Service => ("api/v1", "services"),
            Kind::Deployment => ("apis/apps/v1", "deployments"),
            Kind::StatefulSet => ("apis/apps/v1", "statefulsets"),
            Kind::Lease => ("apis/coordination.k8s.io/v1", "leases"),
            Kind::Claim => ("api/v1", "persistentvolumeclaims"),
            Kind::CronJob => ("apis/batch/v1", "cronjobs"),
        }
    }

    /// The name that `kubectl` takes.
    pub fn plural(self) -> &'static str {
        self.path().1
    }

    /// The path of all objects of the kind, in a namespace where one is given.
    fn list_path(self, namespace: Option<&str>) -> String {
        let (group, plural) = self.path();
        match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        }
    }
}

impl Kube {
    /// Reaches the cluster of a kubeconfig.
    pub fn connect(kubeconfig: &Path) -> Result<Kube> {
        let mut proxy = command("kubectl", ["proxy", "--port=0"]);
        proxy.env("KUBECONFIG", kubeconfig);
        let proxy = Guarded::spawn("kubectl-proxy", proxy).context("kubectl is needed")?;
        // It prints `Starting to serve on 127.0.0.1:PORT`.
        let address = wait::try_until(Duration::from_secs(30), || {
            let said = proxy.stdout();
            said.lines().find_map(|l| l.strip_prefix("Starting to serve on ").map(str::to_owned)).ok_or(())
        });
        let Ok(address) = address else { bail!("kubectl proxy does not start\n{}", proxy.tail()) };
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(20)).build()?;
        let kube = Kube { kubeconfig: kubeconfig.into(), proxy, base: format!("http://{address}"), client };
        kube.raw("readyz").with_context(|| format!("the cluster of {} does not answer", kubeconfig.display()))?;
        Ok(kube)
    }

    /// `kubectl ARGS…`.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.tool("kubectl", args)
    }

    /// A command that finds this cluster by `KUBECONFIG`.
    pub fn tool<S: AsRef<std::ffi::OsStr>>(&self, tool: &str, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = command(tool, args);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs `kubectl ARGS…` to its end, whatever that is.
    pub fn attempt(&self, args: &[&str]) -> Finished {
        process::run("kubectl", self.kubectl(args), COMMAND)
            .unwrap_or_else(|e| panic!("kubectl {}: {e:#}", args.join(" ")))
    }

    /// Runs `kubectl ARGS…`, which has to succeed, and gives its stdout.
    ///
    /// # Panics
    /// With what it says, when it fails.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let done = self.attempt(args);
        assert!(done.status.success(), "kubectl {} failed\n{}{}", args.join(" "), done.stdout, done.stderr);
        done.stdout
    }

    /// Runs `helm ARGS…`, which has to succeed.
    ///
    /// # Panics
    /// With what it says, when it fails.
    #[track_caller]
    pub fn helm<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        process::output("helm", self.tool("helm", args), COMMAND).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// `kubectl apply -f -` of these documents; the API server's refusal is the error.
    pub fn try_apply(&self, documents: &[Value]) -> Result<()> {
        let mut kubectl = self.kubectl(["apply", "-f", "-"]);
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("kubectl is needed")?;
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents});
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(list.to_string().as_bytes())?;
        drop(stdin);
        let done = child.wait_with_output()?;
        if !done.status.success() {
            bail!("{}", String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }

    /// [`Kube::try_apply`], which has to succeed.
    ///
    /// # Panics
    /// With the API server's refusal.
    #[track_caller]
    pub fn apply(&self, documents: &[Value]) {
        self.try_apply(documents).unwrap_or_else(|e| panic!("kubectl apply: {e:#}"));
    }

    /// A read of any path of the API; `None` when there is nothing.
    pub fn raw(&self, path: &str) -> Result<Option<String>> {
        let answer = self.client.get(format!("{}/{path}", self.base)).send()?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        if !answer.status().is_success() {
            bail!("{path}: {} {}", answer.status(), answer.text().unwrap_or_default());
        }
        Ok(Some(answer.text()?))
    }

    /// An object, if it is there.
    pub fn try_get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Value>> {
        let text = self.raw(&format!("{}/{name}", kind.list_path(namespace)))?;
        text.map(|t| serde_json::from_str(&t).context("not JSON")).transpose()
    }

    /// All objects of a kind that have these labels.
    pub fn try_list(&self, kind: Kind, namespace: Option<&str>, selector: &str) -> Result<Vec<Value>> {
        let path = format!("{}?labelSelector={}", kind.list_path(namespace), selector.replace('=', "%3D"));
        let text = self.raw(&path)?.unwrap_or_default();
        let list: Value = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// [`Kube::try_list`], awaited: the API server may be on its way back.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn list(&self, kind: Kind, namespace: Option<&str>, selector: &str) -> Vec<Value> {
        until(&format!("the {} are listed", kind.plural()), || self.try_list(kind, namespace, selector))
    }

    /// Whether `kubectl proxy` still runs: for a failure's message.
    pub fn proxy_log(&self) -> String {
        self.proxy.tail()
    }
}

/// Waits until this is `Ok`, with looks that are far enough apart for a cluster.
///
/// # Panics
/// With `what` and the last error.
#[track_caller]
pub fn until<T, E: Into<anyhow::Error>>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    wait::slowly(what, PATIENCE, || look().map_err(|e| format!("{:#}", e.into())))
}
