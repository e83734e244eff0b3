//! Real Kafka clusters: a shared one for tests that only need a topic of their own, others to be killed and restarted.
//!
//! Settings, keys and jars are `dev/kafka/kafka-up.sh`'s business; here each broker is a child of this process.
//!
//! - [`topics`] makes topics and looks into them; `raw` writes what no client library does; [`tap`] sees what clients ask.

mod raw;
pub mod tap;
pub mod topics;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;

use crate::{
    free_ports,
    process::{self, Guarded, Signal, command},
    project_root, scratch, wait,
};

/// 49 MB, once on a machine; on a slow line that takes minutes.
const FETCH: Duration = Duration::from_secs(900);
/// A start on a busy machine takes tens of seconds.
const START: Duration = Duration::from_secs(120);

/// How a cluster differs from the plain one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// TLS, SCRAM and ACLs.
    pub secure: bool,
    /// Lines of `server.properties`, such as `message.max.bytes=1000000`.
    pub settings: Vec<String>,
    /// A heap of 1 GiB, the G1 collector and both compilers, as in production, instead of a small and quick start.
    pub production_jvm: bool,
    /// This machine's address for clients; loopback unless given.
    pub host: Option<String>,
    /// Where its data goes; the scratch directory unless given.
    pub dir: Option<PathBuf>,
    /// Another release than that of `dev/kafka/pom.xml`.
    pub version: Option<&'static str>,
}

/// A running cluster. Dropped, it is killed.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    host: Option<String>,
    secure: bool,
    production_jvm: bool,
    version: Option<&'static str>,
    brokers: Vec<Mutex<Option<Guarded>>>,
    bootstrap: String,
}

/// The single broker that all tests of this process share; started on first use.
///
/// # Panics
/// When it cannot be started, in each test that asks.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Result<Cluster>> = OnceLock::new();
    started(&SHARED, Options::default())
}

/// The shared broker with TLS, SCRAM-SHA-512 and ACLs: `admin` may do everything, `guest` nothing.
///
/// # Panics
/// When it cannot be started, in each test that asks.
pub fn secure() -> &'static Cluster {
    static SECURE: OnceLock<Result<Cluster>> = OnceLock::new();
    started(&SECURE, Options { secure: true, ..Options::default() })
}

fn started(cell: &'static OnceLock<Result<Cluster>>, options: Options) -> &'static Cluster {
    match cell.get_or_init(|| Cluster::start(1, options)) {
        Ok(cluster) => cluster,
        Err(e) => panic!("there is no Kafka to test with: {e:#}"),
    }
}

fn kafka_up() -> String {
    project_root().join("dev/kafka/kafka-up.sh").to_string_lossy().into()
}

impl Cluster {
    /// Starts so many brokers and waits until they serve. From three on, there are three copies of everything and two
    /// have to be in sync.
    pub fn start(brokers: usize, options: Options) -> Result<Cluster> {
        // The terminal hears of it, unless it is there already.
        let mut fetch = command(&kafka_up(), ["--fetch"]);
        fetch.args(options.version.iter().flat_map(|version| ["--kafka", version]));
        process::aloud("kafka-up.sh --fetch", fetch, FETCH).context("cannot fetch Kafka")?;
        let dir = options.dir.unwrap_or_else(|| scratch::dir("kafka"));
        let distances: Vec<u16> = (0..brokers as u16).flat_map(|i| [i, 50 + i]).collect();
        let port = free_ports(&distances);
        let mut cluster = Cluster {
            dir,
            port,
            host: options.host,
            secure: options.secure,
            production_jvm: options.production_jvm,
            version: options.version,
            brokers: Vec::new(),
            bootstrap: String::new(),
        };
        cluster.brokers.resize_with(brokers, Mutex::default);
        let mut prepare = cluster.script();
        prepare.arg("--prepare").args(options.settings.iter().flat_map(|line| ["--set", line]));
        let said = process::output("kafka-prepare", prepare, START).context("cannot prepare Kafka")?;
        let bootstrap = said.lines().find_map(|line| line.strip_prefix("bootstrap="));
        cluster.bootstrap = bootstrap.context("kafka-up.sh names no bootstrap servers")?.into();
        for i in 0..brokers {
            cluster.launch(i)?;
        }
        for i in 0..brokers {
            cluster.await_ready(i)?;
        }
        Ok(cluster)
    }

    fn script(&self) -> std::process::Command {
        let mut script = command(&kafka_up(), [self.brokers.len().to_string()]);
        script.arg(&self.dir).arg(self.port.to_string());
        if self.secure {
            script.arg("--secure");
        }
        if self.production_jvm {
            script.args(["--heap", "1g"]).env("KAFKA_JVM_OPTS", "-XX:+UseG1GC");
        }
        script.args(self.version.iter().flat_map(|version| ["--kafka", version]));
        if let Some(host) = &self.host {
            script.args(["--host", host]);
        }
        script
    }

    fn launch(&self, i: usize) -> Result<()> {
        let mut java = self.script();
        java.args(["--foreground", "--only", &i.to_string()]);
        let broker = Guarded::spawn(&format!("kafka-{i}"), java)?;
        *self.broker(i) = Some(broker);
        Ok(())
    }

    fn broker(&self, i: usize) -> std::sync::MutexGuard<'_, Option<Guarded>> {
        self.brokers[i].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn await_ready(&self, i: usize) -> Result<()> {
        let broker = self.broker(i);
        let Some(broker) = broker.as_ref() else { bail!("broker {i} is not started") };
        let ready = || {
            if broker.stderr().contains("Kafka Server started") {
                Ok(true)
            } else {
                broker.exit_status().map_or(Err(()), |_| Ok(false))
            }
        };
        match wait::try_until(START, ready) {
            Ok(true) => Ok(()),
            Ok(false) => bail!("broker {i} ended\n{}", broker.tail()),
            Err(()) => bail!("broker {i} is not ready within {START:?}\n{}", broker.tail()),
        }
    }

    /// `HOST:PORT,…` of all brokers.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The directory with its data, for `dev/kafka/kafka-cli.sh`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A broker's process, if it runs.
    pub fn pid(&self, i: usize) -> Option<u32> {
        self.broker(i).as_ref().map(Guarded::pid)
    }

    /// SIGKILL to a broker.
    pub fn kill(&self, i: usize) {
        if let Some(broker) = self.broker(i).take() {
            broker.kill();
        }
    }

    /// An orderly stop of a broker.
    pub fn stop(&self, i: usize) {
        if let Some(broker) = self.broker(i).take() {
            // A last broker waits for a quorum that is no more: dropping it kills it.
            let _ = broker.terminate(Duration::from_secs(15));
        }
    }

    /// SIGSTOP: the broker holds its connections and says nothing.
    pub fn freeze(&self, i: usize) {
        self.signal(i, Signal::SIGSTOP);
    }

    /// SIGCONT after [`Cluster::freeze`].
    pub fn thaw(&self, i: usize) {
        self.signal(i, Signal::SIGCONT);
    }

    fn signal(&self, i: usize, signal: Signal) {
        if let Some(broker) = self.broker(i).as_ref() {
            broker.signal(signal);
        }
    }

    /// Starts a broker again with its data, after [`Cluster::kill`] or [`Cluster::stop`].
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self, i: usize) {
        self.stop(i);
        self.launch(i)
            .and_then(|()| self.await_ready(i))
            .unwrap_or_else(|e| panic!("cannot restart broker {i}: {e:#}"));
    }

    /// The certificate authority's PEM of a secure cluster.
    pub fn ca_pem(&self) -> String {
        self.secret("ca.crt")
    }

    /// The password of `admin`, who may do everything.
    pub fn admin_password(&self) -> String {
        self.secret("admin.pw").trim().into()
    }

    /// The password of `guest`, who may do nothing.
    pub fn guest_password(&self) -> String {
        self.secret("guest.pw").trim().into()
    }

    fn secret(&self, file: &str) -> String {
        let path = self.dir.join("secure").join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("not a secure cluster? {}: {e}", path.display()))
    }

    /// A client's settings: the brokers, and `admin`'s login where the cluster is secure.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        if self.secure {
            config.set("security.protocol", "SASL_SSL").set("ssl.ca.pem", self.ca_pem());
            config.set("sasl.mechanism", "SCRAM-SHA-512").set("sasl.username", "admin");
            config.set("sasl.password", self.admin_password());
        }
        config
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for broker in &mut self.brokers {
            *broker.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        }
        // Data of a passed test would only fill the disk; a failed one's is kept with its logs.
        if self.dir.starts_with(scratch::root()) && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
