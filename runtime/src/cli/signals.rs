//! What signals ask of `edgereel run`: to stop in order, to stop at once, to read its files again; and whether SIGHUP is
//! heard at all.

use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    sync::Arc,
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The first SIGINT or SIGTERM stops in order, the second at once. SIGHUP wakes `reread`; but where the terminal has gone
/// away that the process was started on, as with an SSH session that was closed, it stops in order too. Under `nohup`
/// nothing listens to SIGHUP.
pub fn watch(shutdown: CancellationToken, reread: Arc<Notify>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    if let Some(mut hangup) = hangup().context("cannot watch SIGHUP")? {
        let (started_on, shutdown) = (Terminal::now(), shutdown.clone());
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                if shutdown.is_cancelled() {
                    // A session that ends may send it beside SIGTERM.
                } else if started_on.is_gone(Terminal::now()) {
                    info!("SIGHUP, and the terminal is gone: stopping");
                    shutdown.cancel();
                } else {
                    reread.notify_one();
                }
            }
        });
    }
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if std::mem::replace(&mut asked, true) {
                warn!("{name} again: ending at once");
                std::process::exit(130);
            }
            info!("{name}: stopping");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// SIGINT and SIGTERM stop in order, however often they come: whoever runs this program ends it at once if need be, and a
/// service manager may send to all processes what it sends to the first. SIGHUP is not for it.
pub fn watch_supervised(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch SIGHUP")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => shutdown.cancel(),
                _ = terminate.recv() => shutdown.cancel(),
                _ = hangup.recv() => {}
            }
        }
    });
    Ok(())
}

/// SIGHUP; none under `nohup`, where it is to do nothing.
pub fn hangup() -> io::Result<Option<Signal>> {
    let ignored = ignores_hangups(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    if ignored { Ok(None) } else { signal(SignalKind::hangup()).map(Some) }
}

/// Whether SIGHUP, signal 1, was ignored by whoever started this process: `/proc/self/status` has a bit for each signal.
fn ignores_hangups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// What of this process is a terminal. One that hangs up is none any more.
#[derive(Clone, Copy, Debug)]
struct Terminal {
    controlling: bool,
    standard: [bool; 3],
}

impl Terminal {
    fn now() -> Self {
        Terminal {
            controlling: File::open("/dev/tty").is_ok(),
            standard: [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()],
        }
    }

    fn is_gone(self, now: Terminal) -> bool {
        let gone = self.standard.iter().zip(now.standard).any(|(was, is)| *was && !is);
        gone || (self.controlling && !now.controlling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_gone_when_something_was_one_and_is_none_any_more() {
        let terminal = |controlling, stderr| Terminal { controlling, standard: [false, false, stderr] };
        assert!(terminal(true, true).is_gone(terminal(false, false)));
        assert!(terminal(true, false).is_gone(terminal(false, false)), "all went to files");
        assert!(terminal(false, true).is_gone(terminal(false, false)), "a session of its own");
        assert!(!terminal(true, true).is_gone(terminal(true, true)));
        assert!(!terminal(false, false).is_gone(terminal(false, false)), "a service");
    }

    #[test]
    fn nohup_is_told_from_what_the_kernel_says() {
        assert!(ignores_hangups("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangups("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hangups(""));
    }
}
