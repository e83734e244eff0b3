//! Children and files that do not outlive this process, whatever ends it: the one place that needs `unsafe`.
//!
//! The kernel kills a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), and test threads end with
//! their test. So one thread that never ends starts all children. It also holds after SIGKILL, where no `Drop` runs.
#![allow(unsafe_code)] // `pre_exec` and `atexit` are C's; each use below says why it is sound.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
};

use nix::{
    sys::{
        prctl,
        signal::{SigHandler, Signal, signal},
    },
    unistd::getppid,
};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a child that is killed when this process ends.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    // Ctrl-C is for us alone: whoever owns the child decides in which order things end.
    command.process_group(0);
    start(command)
}

/// As [`spawn`], in a session of its own whose terminal is the child's standard input.
pub(crate) fn spawn_on_terminal(mut command: Command) -> io::Result<Child> {
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
        });
    }
    start(command)
}

fn start(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let us = std::process::id();
    // SAFETY: between fork and exec only prctl, getppid and sigaction are called, which are async-signal-safe, and nothing
    // is allocated. The closure runs after a change of user, which would clear the setting.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // Tests that are run under `nohup` find what others find.
            signal(Signal::SIGHUP, SigHandler::SigDfl)?;
            // We may have died before the line above.
            let orphan = getppid().as_raw() as u32 != us;
            if orphan { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        let work = move || {
            for (mut command, reply) in inbox {
                // The asker waits for the answer, so that it cannot be gone.
                let _ = reply.send(command.spawn());
            }
        };
        thread::Builder::new().name("spawner".into()).spawn(work).expect("a thread can be started");
        orders
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).expect("the spawner never ends: its sender is static");
    answer.recv().expect("the spawner answers every order")
}

/// Calls this when the process exits in an orderly way (the test runner leaves by `exit`, which drops no statics).
pub(crate) fn at_exit(cleanup: extern "C" fn()) {
    // SAFETY: a plain C function is registered; it must not unwind, and `extern "C"` functions abort instead.
    unsafe { libc::atexit(cleanup) };
}
