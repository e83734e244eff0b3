//! The worker under test, as its users run it.

use std::{
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    edgereel_bin, free_port,
    metrics::Metrics,
    process::{self, Finished, Guarded, Signal},
    wait,
};

/// For what takes a moment even on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `edgereel run` or `edgereel camera`. Dropped, it is killed.
#[derive(Debug)]
pub struct Edgereel {
    child: Guarded,
    http: String,
}

impl Edgereel {
    /// Starts `edgereel run -f FILE… --http 127.0.0.1:PORT --log-format text`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn run<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Edgereel {
        Edgereel::run_with(files, Command::new(edgereel_bin()))
    }

    /// As [`Edgereel::run`], with further arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn run_args<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, args: &[&str]) -> Edgereel {
        Edgereel::start(files, Command::new(edgereel_bin()), args)
    }

    /// As [`Edgereel::run`], with a command that ends in the worker's path: for another user, limits, a namespace.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn run_with<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, command: Command) -> Edgereel {
        Edgereel::start(files, command, &["--log-format", "text"])
    }

    /// As [`Edgereel::run`], with a command that ends in the worker's path, and further arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start<P: AsRef<Path>>(files: impl IntoIterator<Item = P>, mut command: Command, args: &[&str]) -> Edgereel {
        let http = format!("127.0.0.1:{}", free_port());
        command.arg("run");
        for file in files {
            command.arg("-f").arg(file.as_ref());
        }
        command.args(["--http", &http]).args(args);
        let child = Guarded::spawn("edgereel-run", command).unwrap_or_else(|e| panic!("{e:#}"));
        Edgereel { child, http }
    }

    /// The process.
    pub fn child(&self) -> &Guarded {
        &self.child
    }

    /// Asks `http://…/{path}`: status code and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}/{path}", self.http);
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(&url).send().with_context(|| format!("cannot ask {url}"))?;
        Ok((answer.status().as_u16(), answer.text()?))
    }

    /// Asks for bytes, such as a picture: status code and body.
    pub fn get_bytes(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let url = format!("http://{}/{path}", self.http);
        let answer = reqwest::blocking::get(&url).with_context(|| format!("cannot ask {url}"))?;
        Ok((answer.status().as_u16(), answer.bytes()?.to_vec()))
    }

    /// Where it serves.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// One resource's entry in `/status`.
    ///
    /// # Panics
    /// When `/status` has none of this name.
    #[track_caller]
    pub fn status_of(&self, resource: &str) -> serde_json::Value {
        let status = self.status();
        let found = status["resources"].as_array().and_then(|all| all.iter().find(|r| r["name"] == resource));
        found.cloned().unwrap_or_else(|| panic!("{resource} is not in {status:#}"))
    }

    /// Waits until a resource's entry in `/status` is as wished, and gives it.
    ///
    /// # Panics
    /// With the last entry, when it is not in time.
    #[track_caller]
    pub fn await_status_of(
        &self,
        resource: &str,
        what: &str,
        mut wish: impl FnMut(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        wait::until_ok(&format!("{resource}: {what}"), PATIENCE, || {
            let entry = self.status_of(resource);
            if wish(&entry) { Ok(entry) } else { Err(format!("{entry:#}\n{}", self.child.tail())) }
        })
    }

    /// What `/metrics` says; fails while it does not listen.
    pub fn try_metrics(&self) -> Result<Metrics> {
        self.get("metrics").map(|(_, text)| Metrics::parse(&text))
    }

    /// What `/metrics` says.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        wait::until_ok("the worker shows its metrics", PATIENCE, || {
            self.try_metrics().map_err(|e| format!("{e:#}\n{}", self.child.tail()))
        })
    }

    /// What `/status` says.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        wait::until_ok("the worker shows its status", PATIENCE, || {
            let (_, text) = self.get("status").map_err(|e| format!("{e:#}\n{}", self.child.tail()))?;
            serde_json::from_str(&text).map_err(|e| format!("{e} in {text}"))
        })
    }

    /// Waits until the metrics are as wished.
    ///
    /// # Panics
    /// With the worker's last lines, when they are not in time.
    #[track_caller]
    pub fn await_metrics(&self, what: &str, mut wish: impl FnMut(&Metrics) -> bool) -> Metrics {
        wait::until_ok(what, PATIENCE, || {
            let seen = |e: String| format!("{e}\n{}", self.child.tail());
            let metrics = self.try_metrics().map_err(|e| seen(format!("{e:#}")))?;
            if wish(&metrics) { Ok(metrics) } else { Err(seen("other values".into())) }
        })
    }

    /// Waits until the resource's Ready condition is true.
    ///
    /// # Panics
    /// With its status, when that does not happen.
    #[track_caller]
    pub fn await_ready(&self, resource: &str) {
        self.await_metrics(&format!("{resource} is ready"), |m| m.sum("ready", &[("name", resource)]) == 1.0);
    }

    /// Waits until `/status` holds this text (a reason, or words of a message) and gives the status.
    ///
    /// # Panics
    /// With the last status, when it does not.
    #[track_caller]
    pub fn await_status(&self, text: &str) -> String {
        wait::until_ok(&format!("the status holds `{text}`"), PATIENCE, || {
            let status = self.get("status").map(|(_, body)| body).unwrap_or_else(|e| format!("{e:#}"));
            if status.contains(text) { Ok(status) } else { Err(format!("{status}\n{}", self.child.tail())) }
        })
    }

    /// SIGKILL: a crash.
    pub fn kill(self) {
        self.child.kill();
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end within the grace period that Kubernetes gives.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.child.terminate(Duration::from_secs(30)).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Sends a signal, such as SIGSTOP.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        format!("{}{}", self.child.stdout(), self.child.stderr())
    }
}

/// Runs `edgereel ARGS…` to its end.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[track_caller]
pub fn call<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    let mut command = Command::new(edgereel_bin());
    command.args(args);
    process::run("edgereel", command, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"))
}

/// Runs `edgereel verify -f FILE`.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[track_caller]
pub fn verify(file: &Path) -> Finished {
    call(["verify".as_ref(), "-f".as_ref(), file.as_os_str()])
}
