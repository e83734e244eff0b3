//! A terminal that a command runs on: what stands on its screen, its keys, its size, and its end.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZero,
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{edgereel::PATIENCE, process::Guarded, wait};

/// How long the reader may not notice that it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A terminal, and the command on it. Dropped, the command is killed.
pub struct Terminal {
    child: Guarded,
    end: Option<Arc<File>>,
    screen: Arc<Mutex<vt100::Parser>>,
    hung_up: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command on a terminal of this size.
    ///
    /// # Panics
    /// When that cannot be done.
    #[track_caller]
    pub fn run(command: Command, columns: u16, lines: u16) -> Terminal {
        Terminal::try_run(command, columns, lines).unwrap_or_else(|e| panic!("{e:#}"))
    }

    fn try_run(mut command: Command, columns: u16, lines: u16) -> Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end = Arc::new(File::from(openpt(flags).context("no terminal")?));
        grantpt(&*end).and_then(|()| unlockpt(&*end)).context("no terminal")?;
        let path = ptsname(&*end, vec![]).context("no terminal")?;
        set_size(&*end, columns, lines)?;
        let terminal = File::options().read(true).write(true).open(path.to_str()?).context("no terminal")?;
        command.env("TERM", "xterm-256color");
        let child = Guarded::spawn_on_terminal("terminal", command, &terminal)?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(lines), some(columns), 1000)));
        let hung_up = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (end, screen, hung_up) = (end.clone(), screen.clone(), hung_up.clone());
            move || show(&end, &screen, &hung_up)
        });
        Ok(Terminal { child, end: Some(end), screen, hung_up, reader: Some(reader) })
    }

    /// The process.
    pub fn child(&self) -> &Guarded {
        &self.child
    }

    /// What stands on the screen, without what is blank at the ends.
    pub fn lines(&self) -> Vec<String> {
        let parser = lock(&self.screen);
        let (_, columns) = parser.screen().size();
        let mut rows: Vec<String> =
            parser.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Waits until the screen is as wished, and gives it.
    ///
    /// # Panics
    /// With the screen, when it is not in time.
    #[track_caller]
    pub fn await_lines(&self, what: &str, mut wish: impl FnMut(&[String]) -> bool) -> Vec<String> {
        wait::until_ok(what, PATIENCE, || {
            let lines = self.lines();
            if wish(&lines) { Ok(lines) } else { Err(format!("\n{}", lines.join("\n"))) }
        })
    }

    /// Types keys; `\x03` is Ctrl-C.
    ///
    /// # Panics
    /// When the terminal is gone.
    #[track_caller]
    pub fn type_in(&self, keys: &str) {
        let mut terminal: &File = self.end.as_ref().expect("it has not hung up");
        terminal.write_all(keys.as_bytes()).expect("it takes keys");
    }

    /// Gives the terminal another size, as a window that is dragged does.
    ///
    /// # Panics
    /// When the terminal is gone.
    #[track_caller]
    pub fn resize(&self, columns: u16, lines: u16) {
        // What stands there is cut first: what the command writes next is for the new size.
        lock(&self.screen).screen_mut().set_size(some(lines), some(columns));
        set_size(&**self.end.as_ref().expect("it has not hung up"), columns, lines).expect("it takes a size");
    }

    /// The other end is gone, as when an SSH session is closed: the kernel sends SIGHUP.
    pub fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::Release);
        // The last handle is closed when the reader has let go of its own.
        self.reader.take().map(JoinHandle::join);
        self.end = None;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill();
        self.hang_up();
    }
}

/// Shows what the command writes until it has ended, or the terminal hangs up.
fn show(mut end: &File, screen: &Mutex<vt100::Parser>, hung_up: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while !hung_up.load(Ordering::Acquire) {
        let mut ready = [PollFd::new(end, PollFlags::IN)];
        if !matches!(poll(&mut ready, Some(&LOOK)), Ok(1..)) {
            continue;
        }
        match end.read(&mut buffer) {
            Ok(read @ 1..) => lock(screen).process(&buffer[..read]),
            // Nobody holds the command's end any more.
            _ => return,
        }
    }
}

fn lock(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn some(size: u16) -> NonZero<u16> {
    NonZero::new(size).expect("a size")
}

fn set_size(terminal: impl AsFd, columns: u16, lines: u16) -> Result<()> {
    let size = Winsize { ws_col: columns, ws_row: lines, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).context("the terminal takes no size")
}
