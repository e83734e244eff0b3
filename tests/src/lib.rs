//! The test harness: real brokers, real cameras, real clients and the worker under test.
//!
//! - [`process`] runs children that end with this process, whatever ends it; [`scratch`] holds their logs.
//! - [`kafka`] starts brokers, [`cameras`] starts camera servers that we did not write, [`synthetic`] our own,
//!   [`edgereel`] runs the worker.
//! - [`terminal`] is a terminal that a command runs on, with what stands on its screen.
//! - [`prometheus`] is one that scrapes, with the rules of the chart and the questions of the dashboards.
//! - [`python`] and [`video`] ask clients and players that we did not write.
//! - [`vm`] is a machine with a kernel of its own, for cameras that are devices.
//! - [`onvif`] is a network of its own with ONVIF cameras on it; [`mounts`] gives the worker small, full and read-only disks.
//! - [`s3`] is an object store that we did not write.
//! - [`resources`] writes resources for tests; [`metrics`] reads what a worker says of itself; [`wait`] awaits.
//!
//! Everything takes free ports and can run beside itself. What is missing on the machine is named with its remedy.

pub mod cameras;
pub mod edgereel;
mod guard;
pub mod kafka;
pub mod metrics;
pub mod mounts;
pub mod onvif;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod resources;
pub mod s3;
pub mod scratch;
pub mod synthetic;
pub mod terminal;
pub mod video;
pub mod vm;
pub mod wait;

use std::{
    collections::HashSet,
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    time::SystemTime,
};

pub use edgereel::Edgereel;
use rand::Rng;

/// A name that no other test uses: the prefix and eight letters. Fit for topics, groups, resources and directories.
pub fn unique(prefix: &str) -> String {
    let mut rng = rand::rng();
    let tail: String = (0..8).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
    format!("{prefix}-{tail}")
}

/// Below the range that the kernel takes for outgoing connections, so that none of those gets in between.
const PORTS: std::ops::Range<u16> = 10_240..20_480;

/// A free port on loopback, never given twice in this process.
pub fn free_port() -> u16 {
    free_ports(&[0])
}

/// A port such that it and all these distances from it are free.
pub fn free_ports(distances: &[u16]) -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..10_000 {
        let base = rand::rng().random_range(PORTS);
        let ports: Vec<u16> = distances.iter().map(|d| base + d).collect();
        let free = |port: &u16| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if ports.iter().all(free) {
            given.extend(ports);
            return base;
        }
    }
    panic!("no free port between {} and {} on 127.0.0.1", PORTS.start, PORTS.end)
}

/// The project's root.
pub fn project_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/edgereel`: what is fetched once and kept (Kafka's jars, a Python environment).
pub fn cache_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.expect("neither XDG_CACHE_HOME nor HOME is set: set one of them").join("edgereel")
}

/// The built worker, `edgereel`, of the same profile as this executable.
///
/// # Panics
/// When it is not there or older than its sources: `cargo test` alone does not build another crate's binary.
pub fn edgereel_bin() -> PathBuf {
    built("edgereel", &["crds/src", "frame/src", "kafka/src", "runtime/src", "worker/src"], "cargo build --bins")
}

/// The built example `edgereel-toy`, of the same profile as this executable: a program of kinds of its own.
///
/// # Panics
/// When it is not there or older than its sources.
pub fn toy_bin() -> PathBuf {
    built(
        "examples/edgereel-toy",
        &["crds/src", "runtime/src", "runtime/examples"],
        "cargo build -p edgereel-runtime --examples",
    )
}

fn built(name: &str, sources: &[&str], command: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the kernel knows this executable");
    let mut dir = exe.parent().expect("an executable lies in a directory");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("target/<profile>");
    }
    let bin = dir.join(name);
    let built = fs::metadata(&bin).and_then(|m| m.modified());
    let newest = sources.iter().map(|dir| newest_source(&project_root().join(dir)));
    match (built, newest.flatten().max()) {
        (Err(_), _) => panic!("{} is not built: run `{command}` (`make test` does)", bin.display()),
        (Ok(built), Some(newest)) if built < newest => {
            panic!("{} is older than its sources: run `{command}` (`make test` does)", bin.display())
        }
        _ => bin,
    }
}

fn newest_source(dir: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let time = if path.is_dir() { newest_source(&path)? } else { fs::metadata(&path)?.modified()? };
        newest = newest.max(time);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_are_given_once() {
        let names: HashSet<String> = (0..100).map(|_| unique("x")).collect();
        assert_eq!(names.len(), 100);
        let ports: HashSet<u16> = (0..100).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 100);
    }
}
