//! Python clients and players that we did not write, in an environment made once and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_64;

use crate::{cache_dir, process, project_root, unique};

/// About 120 MB come over the network the first time.
const INSTALL: Duration = Duration::from_secs(900);

/// Runs Python source with arguments (`sys.argv[1:]`) and gives its stdout.
///
/// # Panics
/// With its stderr, when it fails or takes longer than two minutes.
#[track_caller]
pub fn run(script: &str, args: &[&str]) -> String {
    let mut command = self::command();
    command.arg("-c").arg(script).args(args);
    process::output("python", command, Duration::from_secs(120)).unwrap_or_else(|e| panic!("{e:#}"))
}

/// The environment's interpreter.
///
/// # Panics
/// When the environment cannot be made.
pub fn command() -> Command {
    static PYTHON: OnceLock<Result<PathBuf>> = OnceLock::new();
    match PYTHON.get_or_init(environment) {
        Ok(python) => Command::new(python),
        Err(e) => panic!("there is no Python to test with: {e:#}"),
    }
}

/// Made beside its place and moved there whole: an interpreter finds its packages by its own path.
fn environment() -> Result<PathBuf> {
    let (mut requirements, mut wanted) = (vec![], vec![]);
    for name in ["requirements.txt", "requirements-alone.txt"] {
        let file = project_root().join("tests/python").join(name);
        wanted.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
        requirements.push(file);
    }
    let home = cache_dir().join(format!("python-{:016x}", xxh3_64(&wanted)));
    let python = home.join("bin/python");
    if python.exists() {
        return Ok(python);
    }
    let fresh = cache_dir().join(unique("python-new"));
    fs::create_dir_all(cache_dir()).context("cannot make the cache directory")?;
    let made = install(&fresh, &requirements[0], &requirements[1]);
    let moved = made.and_then(|()| fs::rename(&fresh, &home).context("cannot move the environment to its place"));
    if moved.is_err() {
        // Left to its own, a half-made environment would only take space.
        let _ = fs::remove_dir_all(&fresh);
    }
    // Another run may have been first.
    if python.exists() { Ok(python) } else { moved.map(|()| python) }
}

fn install(home: &Path, requirements: &Path, alone: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(home);
    let made = process::run("python-venv", venv, INSTALL)?;
    if !made.status.success() {
        bail!("python3 -m venv failed: run `dev/setup.sh test` (`make setup`)\n{}{}", made.stdout, made.stderr);
    }
    for (how, list) in [("--only-binary=:all:", requirements), ("--no-deps", alone)] {
        let mut pip = Command::new(home.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", how, "-r"]).arg(list);
        process::output("pip", pip, INSTALL)?;
    }
    Ok(())
}
