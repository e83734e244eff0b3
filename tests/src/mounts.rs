//! Small, full, read-only and foreign file systems: mounted in a namespace of the worker's own, so that no root is needed
//! and nothing is left behind.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{Edgereel, edgereel_bin, process};

/// A file system in memory that only the worker sees.
#[derive(Clone, Debug)]
pub struct Tmpfs {
    /// Where it is mounted; the directory has to be there.
    pub at: PathBuf,
    /// Mount options, such as `size=4m` or `ro`.
    pub options: String,
}

/// A command that runs the worker with these mounts, for [`Edgereel::run_with`].
///
/// # Panics
/// When this machine does not let users have namespaces.
#[track_caller]
pub fn worker_with(mounts: &[Tmpfs]) -> Command {
    let probe = process::run("unshare", process::command("unshare", ["-rm", "true"]), Duration::from_secs(20));
    if !probe.as_ref().is_ok_and(|p| p.status.success()) {
        panic!(
            "this test mounts file systems in a namespace of its own, and `unshare -rm true` fails: allow it with \
             `sysctl kernel.unprivileged_userns_clone=1` (in a container: --security-opt seccomp=unconfined)"
        );
    }
    // The new user namespace clears the signal that ends a child with its owner: `setpriv` sets it again.
    const SCRIPT: &str = "
set -e
while [ \"$1\" != -- ]; do mount -t tmpfs -o \"$2\" tmpfs \"$1\"; shift 2; done
shift
exec setpriv --pdeathsig KILL \"$@\"";
    let mut command = process::command("unshare", ["-rm", "sh", "-c", SCRIPT, "sh"]);
    for mount in mounts {
        command.arg(&mount.at).arg(&mount.options);
    }
    command.arg("--").arg(edgereel_bin());
    command
}

impl Edgereel {
    /// Runs a command in this worker's namespace.
    ///
    /// # Panics
    /// When it cannot be run.
    #[track_caller]
    pub fn inside<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> process::Finished {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "-U", "-m", "-t", &self.child().pid().to_string(), "--"]).args(args);
        process::run("nsenter", command, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Changes a mount's options, for example to a larger `size`.
    ///
    /// # Panics
    /// When that is refused.
    #[track_caller]
    pub fn remount(&self, at: &Path, options: &str) {
        let options = format!("remount,{options}");
        let done = self.inside([OsStr::new("mount"), OsStr::new("-o"), OsStr::new(&options), at.as_os_str()]);
        assert!(done.status.success(), "cannot remount {}: {}", at.display(), done.stderr);
    }
}
