//! A small virtual machine with a kernel of its own, for devices that this machine's kernel does not have: cameras of V4L2. Its
//! disk is this machine's, to be read; so what is built here runs there. `dev/vm/` says how it is made.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    edgereel::PATIENCE,
    free_port,
    process::{self, Guarded, command},
    project_root, scratch, wait,
};

/// 90 MB and the compilation of a driver, once on a machine.
const PREPARE: Duration = Duration::from_secs(600);
/// It takes 15 s where nothing else runs.
const BOOT: Duration = Duration::from_secs(240);
/// Where a worker in it serves.
const HTTP: u16 = 9464;

/// A running machine. It ends with this process.
#[derive(Debug)]
pub struct Vm {
    qemu: Guarded,
    share: PathBuf,
    http: u16,
}

/// The machine that all tests of this process share; started on first use.
///
/// # Panics
/// When it cannot be started: what is missing, and what to do.
#[track_caller]
pub fn shared() -> &'static Vm {
    static SHARED: OnceLock<Result<Vm>> = OnceLock::new();
    match SHARED.get_or_init(Vm::start) {
        Ok(vm) => vm,
        Err(e) => panic!("there is no virtual machine to test with: {e:#}"),
    }
}

/// How a script ended, and what it said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Vm {
    fn start() -> Result<Vm> {
        let prepare = project_root().join("dev/vm/prepare.sh");
        let prepare = || command(&prepare.to_string_lossy(), [""; 0]);
        // The terminal hears of it, unless all is there already.
        process::aloud("prepare.sh", prepare(), PREPARE)?;
        let dir = PathBuf::from(process::output("prepare.sh", prepare(), PREPARE)?.trim());
        let (share, http) = (scratch::dir("vm"), free_port());
        fs::copy(project_root().join("dev/vm/guest.py"), share.join("guest")).context("cannot copy guest.py")?;
        let words = format!("console=ttyS0 quiet panic=-1 share={} directory={}", share.display(), dir.display());
        // Without KVM: where machines run in machines, QEMU's own use of it ends in an assertion.
        let mut qemu = command("qemu-system-x86_64", ["-accel", "tcg,thread=multi", "-cpu", "max"]);
        qemu.args(["-m", "768", "-smp", "2", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]);
        qemu.arg("-kernel")
            .arg(dir.join("vmlinuz"))
            .arg("-initrd")
            .arg(dir.join("initrd.gz"))
            .args(["-append", &words]);
        let disk = |name: &str, path: &Path, more: &str| {
            let path = path.display();
            format!("local,id={name},path={path},security_model=none,multidevs=remap{more}")
        };
        qemu.args(["-fsdev", &disk("root", Path::new("/"), ",readonly=on")]);
        qemu.args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]);
        qemu.args(["-fsdev", &disk("share", &share, ""), "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]);
        let forwarded = format!("user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{http}-10.0.2.15:{HTTP}");
        qemu.args(["-nic", &forwarded]);
        let vm = Vm { qemu: Guarded::spawn("qemu", qemu)?, share, http };
        let booted = wait::try_until(BOOT, || match vm.share.join("ready").exists() {
            true => Ok(true),
            false if vm.qemu.running() => Err(()),
            false => Ok(false),
        });
        anyhow::ensure!(booted == Ok(true), "it has not booted within {BOOT:?}\n{}", vm.qemu.tail());
        Ok(vm)
    }

    /// A directory that both machines see under this path; it can be written on both.
    pub fn share(&self) -> &Path {
        &self.share
    }

    /// Where the worker that serves at [`Vm::http_there`] is reached from here.
    pub fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Where a worker in it has to serve: one at a time.
    pub fn http_there(&self) -> String {
        format!("0.0.0.0:{HTTP}")
    }

    /// Starts a script of the shell, as root.
    ///
    /// # Panics
    /// When the directory cannot be written.
    #[track_caller]
    pub fn spawn(&self, script: &str) -> Running<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{:04}", COUNT.fetch_add(1, Ordering::Relaxed));
        let file = self.share.join(&name);
        let written = fs::write(file.with_extension("new"), script)
            .and_then(|()| fs::rename(file.with_extension("new"), file.with_extension("sh")));
        written.unwrap_or_else(|e| panic!("cannot write {}: {e}", file.display()));
        Running { vm: self, file }
    }

    /// Runs a script of the shell to its end, as root.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn run(&self, script: &str) -> Said {
        self.spawn(script).wait()
    }

    /// Runs a script that has to succeed, and gives its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn output(&self, script: &str) -> String {
        let said = self.run(script);
        assert!(said.code == 0, "{script}\n{said:#?}");
        said.stdout
    }

    /// Lets a port of its loopback lead to that of this machine's, for as long as it runs.
    #[track_caller]
    pub fn forward(&self, port: u16) {
        let script = project_root().join("dev/vm/forward.py");
        let forward = self.spawn(&format!("exec python3 '{}' {port}", script.display()));
        wait::until("a port is forwarded", PATIENCE, || forward.stdout().contains("listening"));
        std::mem::forget(forward);
    }
}

/// A script that runs. Dropped, it is killed with all that it started.
#[derive(Debug)]
pub struct Running<'a> {
    vm: &'a Vm,
    file: PathBuf,
}

impl Running<'_> {
    fn read(&self, extension: &str) -> String {
        let bytes = fs::read(self.file.with_extension(extension)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it has written to its standard output.
    pub fn stdout(&self) -> String {
        self.read("out")
    }

    /// What it has written to its standard error.
    pub fn stderr(&self) -> String {
        self.read("err")
    }

    /// How it ended, if it has.
    pub fn code(&self) -> Option<i32> {
        self.read("rc").trim().parse().ok()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(&self) -> Said {
        let ended = wait::try_until(PATIENCE * 2, || self.code().ok_or(()));
        let code = ended.unwrap_or_else(|()| panic!("it has not ended\n{}\n{}", self.tail(), self.vm.qemu.tail()));
        Said { code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// What it said, for a failure's message.
    pub fn tail(&self) -> String {
        format!("--- {}\n{}{}", self.file.display(), self.stdout(), self.stderr())
    }

    /// Sends a signal such as `TERM` to it and all that it started.
    ///
    /// # Panics
    /// When it was never started, or cannot be signalled.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        wait::until("it is started", PATIENCE, || self.file.with_extension("pid").exists());
        let said = self.vm.run(&format!("kill -s {name} -- -{}", self.read("pid").trim()));
        // One that has just ended is as good.
        assert!(said.code == 0 || said.stderr.contains("No such process"), "{}", said.stderr);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.code().is_none() && !std::thread::panicking() {
            self.signal("KILL");
        }
    }
}
