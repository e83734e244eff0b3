//! Child processes that end with their owner, and with this process.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
pub use nix::sys::signal::Signal;
use nix::{
    sys::{signal, wait::waitpid},
    unistd::Pid,
};

use crate::{guard, scratch, unique, wait};

/// Children that are not yet reaped: their ids are certainly theirs.
static ALIVE: LazyLock<Mutex<HashSet<i32>>> = LazyLock::new(Mutex::default);

fn alive() -> MutexGuard<'static, HashSet<i32>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills and reaps every child, at the exit of the process.
pub(crate) fn kill_all() {
    for pid in alive().drain().map(Pid::from_raw) {
        // Already dead is as good.
        let _ = signal::kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, None);
    }
}

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    pid: Pid,
    child: Mutex<(Child, Option<ExitStatus>)>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Guarded {
    /// Starts a child without stdin; its output goes to files in the scratch directory, named after `name`.
    pub fn spawn(name: &str, mut command: Command) -> Result<Guarded> {
        let file = unique(name);
        let stdout = scratch::root().join(format!("{file}.out"));
        let stderr = scratch::root().join(format!("{file}.err"));
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let program = command.get_program().to_owned();
        Guarded::started(name, &program, guard::spawn(command), stdout, stderr)
    }

    /// Starts a child in a session of its own, with a terminal for its input and output; see [`crate::terminal`].
    pub(crate) fn spawn_on_terminal(name: &str, mut command: Command, terminal: &File) -> Result<Guarded> {
        let end = || terminal.try_clone().map(Stdio::from);
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let program = command.get_program().to_owned();
        Guarded::started(name, &program, guard::spawn_on_terminal(command), PathBuf::new(), PathBuf::new())
    }

    fn started(
        name: &str,
        program: &OsStr,
        child: io::Result<Child>,
        stdout: PathBuf,
        stderr: PathBuf,
    ) -> Result<Guarded> {
        let program = program.to_string_lossy();
        let child = match child {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                bail!("`{program}` is not installed: run `dev/setup.sh` (`make setup`)")
            }
            Err(e) => return Err(e).context(format!("cannot start `{program}`")),
        };
        let pid = Pid::from_raw(child.id() as i32);
        alive().insert(pid.as_raw());
        Ok(Guarded { name: name.into(), pid, child: Mutex::new((child, None)), stdout, stderr })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// The exit status, once it has ended.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.1.is_none() {
            // The set is held meanwhile, so that the id of a reaped child is never signalled.
            let mut alive = alive();
            child.1 = child.0.try_wait().ok().flatten();
            if child.1.is_some() {
                alive.remove(&self.pid.as_raw());
            }
        }
        child.1
    }

    /// Whether it has not ended yet.
    pub fn running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends a signal; a child that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        if self.running() {
            // Not reaped, so that the id is still its own; it may have just ended.
            let _ = signal::kill(self.pid, signal);
        }
    }

    /// Waits for its end.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus> {
        wait::try_until(timeout, || self.exit_status().ok_or(()))
            .map_err(|()| anyhow::anyhow!("{} has not ended within {timeout:?}\n{}", self.name, self.tail()))
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        // A killed process that does not end hangs in the kernel: nothing more can be done.
        let _ = self.wait(Duration::from_secs(20));
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait(timeout)
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Its last lines, for a failure's message.
    pub fn tail(&self) -> String {
        let of = |path: &Path| {
            let text = read(path);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        format!(
            "--- {}\n{}\n--- {}\n{}",
            self.stdout.display(),
            of(&self.stdout),
            self.stderr.display(),
            of(&self.stderr)
        )
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// What a finished command said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Finished {
    /// The exit status as shells show it: 128 + the signal when one ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }
}

/// Runs a command to its end; fails only when it cannot be started or does not end in time.
pub fn run(name: &str, command: Command, timeout: Duration) -> Result<Finished> {
    let child = Guarded::spawn(name, command)?;
    let status = child.wait(timeout)?;
    let finished = Finished { status, stdout: child.stdout(), stderr: child.stderr() };
    let _ = fs::remove_file(&child.stdout);
    let _ = fs::remove_file(&child.stderr);
    Ok(finished)
}

/// Runs a command that has to succeed, and gives its stdout.
pub fn output(name: &str, command: Command, timeout: Duration) -> Result<String> {
    let finished = run(name, command, timeout)?;
    if !finished.status.success() {
        bail!("{name} failed ({})\n{}{}", finished.status, finished.stdout, finished.stderr);
    }
    Ok(finished.stdout)
}

/// Runs a command that has to succeed, and lets what it says on stderr reach ours: for what takes long and shows how far
/// it is.
pub fn aloud(name: &str, mut command: Command, timeout: Duration) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let program = command.get_program().to_owned();
    let child = Guarded::started(name, &program, guard::spawn(command), PathBuf::new(), PathBuf::new())?;
    let status = child.wait(timeout)?;
    if !status.success() {
        bail!("{name} failed ({status}): what it said stands above");
    }
    Ok(())
}

/// A command from the words of a line, without a shell.
pub fn command<S: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it runs; in a container nobody may reap an orphan, which then stays as a zombie.
    fn exists(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Guarded::spawn("sleep", command("sleep", ["600"])).expect("sleep is everywhere");
        let pid = child.pid();
        assert!(child.running() && exists(pid));
        drop(child);
        assert!(!exists(pid));
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let asked = std::thread::spawn(|| Guarded::spawn("sleep", command("sleep", ["600"])).expect("starts"));
        let child = asked.join().expect("no panic");
        assert!(child.running(), "the kernel took the thread's end for ours");
    }

    #[test]
    fn children_of_a_killed_process_die_with_it() {
        // The test binary itself is the victim: it runs only the test below, which starts a child and waits.
        let mut victim = Command::new(std::env::current_exe().expect("known"));
        victim.args(["--exact", "process::tests::victim", "--nocapture"]).env("EDGEREEL_TEST_VICTIM", "1");
        let victim = Guarded::spawn("victim", victim).expect("starts");
        let child: u32 = wait::until_ok("the victim tells its child", Duration::from_secs(20), || {
            let said = victim.stdout();
            let line = said.lines().find_map(|l| l.split_once("child="));
            line.and_then(|(_, pid)| pid.trim().parse().ok()).ok_or(said.clone())
        });
        assert!(exists(child));
        victim.kill();
        wait::until("the child is gone", Duration::from_secs(20), || !exists(child));
    }

    /// Part of the test above; by itself it does nothing.
    #[test]
    fn victim() {
        if std::env::var_os("EDGEREEL_TEST_VICTIM").is_some() {
            let child = Guarded::spawn("sleep", command("sleep", ["600"])).expect("starts");
            println!("child={}", child.pid());
            let _ = child.wait(Duration::from_secs(600));
        }
    }

    #[test]
    fn what_is_run_aloud_is_heard_on_our_stderr() {
        // The test binary itself runs it: only the test below.
        let mut speaker = Command::new(std::env::current_exe().expect("known"));
        speaker.args(["--exact", "process::tests::speaker"]).env("EDGEREEL_TEST_SPEAKER", "1");
        let spoken = run("speaker", speaker, Duration::from_secs(20)).expect("it ends");
        assert!(spoken.status.success() && spoken.stderr.contains("42 files so far"), "{spoken:?}");
    }

    /// Part of the test above; by itself it does nothing.
    #[test]
    fn speaker() {
        if std::env::var_os("EDGEREEL_TEST_SPEAKER").is_some() {
            let fetch = command("sh", ["-c", "echo 42 files so far >&2; exit 3"]);
            let error = aloud("fetch", fetch, Duration::from_secs(20)).expect_err("it failed").to_string();
            assert_eq!(error, "fetch failed (exit status: 3): what it said stands above");
        }
    }

    #[test]
    fn a_missing_program_names_the_remedy() {
        let error = Guarded::spawn("x", Command::new("no-such-program")).expect_err("is missing").to_string();
        assert_eq!(error, "`no-such-program` is not installed: run `dev/setup.sh` (`make setup`)");
    }
}
