//! A program that runs: its standard input and output, its log lines, its end.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use console::strip_ansi_codes;
use edgereel_crds::worker_status::WorkerStatus;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use super::wire::{Given, Said};
use crate::cli::log::Lines;

/// A line is passed on in pieces of so many bytes.
const LINE: u64 = 64 << 10;
/// What it said is waited for so long after its end: what it started itself may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running program. Dropped, it is killed.
pub struct Process {
    child: Child,
    heard: Heard,
    readers: Vec<JoinHandle<()>>,
}

/// What a program said. All clones are the same.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    address: Option<String>,
    stopped: Option<WorkerStatus>,
    /// Its last log line.
    last: String,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it serves HTTP, once it has said so.
    pub fn address(&self) -> Option<String> {
        self.lock().address.clone()
    }
}

impl Process {
    /// Starts it with these documents; its log lines go to `lines`.
    ///
    /// It has a process group of its own: Ctrl-C on a terminal stops this process, which stops it in order.
    pub fn start(path: &Path, args: &[OsString], documents: &[(String, String)], lines: &Lines) -> io::Result<Process> {
        let mut command = Command::new(path);
        command.args(args).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if console::colors_enabled_stderr() {
            command.env("CLICOLOR_FORCE", "1");
        }
        let given = serde_json::to_vec(&Given { documents })?;
        let mut child = command.spawn()?;
        let heard = Heard::default();
        let mut readers = vec![];
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends before it has read all will say why itself.
            tokio::spawn(async move { stdin.write_all(&given).await });
        }
        if let Some(stdout) = child.stdout.take() {
            let heard = heard.clone();
            readers.push(tokio::spawn(each_line(BufReader::new(stdout), u64::MAX, move |line| {
                let mut heard = heard.lock();
                match serde_json::from_slice(line) {
                    Ok(Said::Http(address)) => heard.address = Some(address),
                    Ok(Said::Stopped(status)) => heard.stopped = Some(status),
                    // What a library prints is no log, and no loss.
                    Err(_) => {}
                }
            })));
        }
        if let Some(stderr) = child.stderr.take() {
            let (heard, lines) = (heard.clone(), lines.clone());
            readers.push(tokio::spawn(each_line(BufReader::new(stderr), LINE, move |line| {
                let line = String::from_utf8_lossy(line);
                lines.print(&format!("{line}\n"));
                heard.lock().last = line.into_owned();
            })));
        }
        Ok(Process { child, heard, readers })
    }

    /// What it said, and will say.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// What it said of its resources when it stopped.
    pub fn last_status(&self) -> Option<WorkerStatus> {
        self.heard.lock().stopped.take()
    }

    /// Waits until it ends by itself, and says how. May be dropped and called again.
    pub async fn ended(&mut self) -> String {
        let status = self.child.wait().await;
        self.last_words().await;
        let last = strip_ansi_codes(&self.heard.lock().last).trim().to_owned();
        let how = match status {
            Ok(status) => in_words(status),
            Err(e) => format!("cannot be waited for: {e}"),
        };
        if last.is_empty() { how } else { format!("{how}; its last line: {last}") }
    }

    /// Asks it to stop in order, and waits until it has; after so long it is ended.
    pub async fn stop(&mut self, patience: Duration) {
        // As long as it is not waited for, its id is its own.
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(patience, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.last_words().await;
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
        self.last_words().await;
    }

    async fn last_words(&mut self) {
        for mut reader in self.readers.drain(..) {
            if timeout(LAST_WORDS, &mut reader).await.is_err() {
                reader.abort();
            }
        }
    }
}

/// How a program ended.
fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended by itself, without being asked to".into(),
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
            format!("was ended by {name}")
        }
        (None, None) => "ended".into(),
    }
}

/// Calls `with` for each line, without its end; a line of more than `longest` bytes comes in pieces.
async fn each_line(mut from: impl AsyncBufRead + Unpin, longest: u64, mut with: impl FnMut(&[u8])) {
    let mut line = vec![];
    while let Ok(1..) = (&mut from).take(longest).read_until(b'\n', &mut line).await {
        with(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn shell(script: &str) -> Process {
        let args = ["-c".into(), script.into()];
        Process::start(Path::new("/bin/sh"), &args, &[], &Lines::to(|_| ())).expect("a shell")
    }

    #[tokio::test]
    async fn how_a_program_ended_is_said_with_its_last_line() {
        for (script, how) in [
            ("echo 'terminate called' >&2; kill -ABRT $$", "was ended by SIGABRT; its last line: terminate called"),
            ("exit 3", "ended with exit status 3"),
            ("true", "ended by itself, without being asked to"),
        ] {
            assert_eq!(shell(script).ended().await, how);
        }
    }

    #[tokio::test]
    async fn what_it_says_is_heard_whatever_else_stands_there() {
        let mut process = shell("echo 'a library'; echo '{\"http\":\"127.0.0.1:7\"}'; echo '{\"new\":1}'");
        process.ended().await;
        assert_eq!(process.heard().address().as_deref(), Some("127.0.0.1:7"));
    }

    #[tokio::test]
    async fn one_that_is_asked_to_stop_does_so_in_its_time() {
        let mut process = shell(
            "trap 'echo \"{\\\"http\\\":\\\"late\\\"}\"; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done",
        );
        while process.heard.lock().last != "ready" {
            tokio::task::yield_now().await;
        }
        process.stop(Duration::from_secs(60)).await;
        assert_eq!(process.heard().address().as_deref(), Some("late"));
    }

    #[tokio::test]
    async fn lines_are_passed_on_whole_and_long_ones_in_pieces() {
        let (tell, told) = mpsc::channel();
        let text: &[u8] = b"one\n\ntwo\nabcdefg";
        each_line(text, 4, |line| tell.send(String::from_utf8_lossy(line).into_owned()).expect("heard")).await;
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["one", "", "two", "abcd", "efg"]);
    }
}
