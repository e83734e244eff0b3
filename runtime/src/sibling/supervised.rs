//! What a program does that another one runs: it reads its documents from standard input, says on standard output where it
//! serves and how all ended, and stops when nobody listens there any more.

use std::{
    io::{self, Read as _, Write as _},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::wire::{Given, Said};

/// Without who runs it, a program stops in order for so long, and then at once.
const ORPHANED: Duration = Duration::from_secs(60);

/// The documents on standard input.
///
/// # Errors
/// Why they cannot be read.
pub fn documents() -> Result<Vec<(String, String)>, String> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(|e| format!("standard input cannot be read: {e}"))?;
    let given: Given<Vec<(String, String)>> = serde_json::from_str(&text)
        .map_err(|e| format!("standard input is not what `edgereel run` gives to the programs that it starts: {e}"))?;
    Ok(given.documents)
}

/// Says something to who runs this program; nobody may listen any more.
pub fn say(said: &Said) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(said.line().as_bytes()).and_then(|()| out.flush());
}

/// Stops this program when nobody reads its standard output any more: who ran it was killed. If it is stopping by then, it
/// ends at once.
pub fn stop_when_alone(shutdown: CancellationToken) -> io::Result<()> {
    let watch = move || {
        let out = io::stdout();
        // A pipe whose reader is gone is an error of its other end, whatever is asked for.
        let mut ends = [PollFd::new(out.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut ends, PollTimeout::NONE) {
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(e) => return warn!("cannot watch who runs this program: {e}"),
                Ok(_) => break,
            }
        }
        if !shutdown.is_cancelled() {
            warn!("who ran this program is gone: stopping");
            shutdown.cancel();
            thread::sleep(ORPHANED);
        }
        error!("who ran this program is gone: ending at once");
        std::process::exit(1);
    };
    thread::Builder::new().name("alone".into()).spawn(watch).map(drop)
}
