//! `make bench`: Edgereel against the Python scripts, on the same frames and the same broker, as ratios in one run.
//!
//! - [`duel`] alternates the two sides of a comparison and takes medians.
//! - [`load`] runs many cameras at once and watches drops, latency and memory.
//!
//! What is measured is CPU time for each frame (user and system, all threads of the process): on a busy machine it holds
//! where rates do not. The Python sides are `bench/python/`: faithful small versions of what users run.

mod duel;
mod load;
mod sides;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use edgereel_tests::{
    kafka::{Cluster, Options},
    process, project_root, python, scratch,
};

/// Measures Edgereel against the Python scripts.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  make bench\n  make bench ARGS='--only capture --rounds 5'\n\nThe results as JSON: .run/bench/results.json"
)]
pub struct Args {
    /// How often each side of a comparison runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these parts: capture, jpeg, archive, folder, load, memory.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many frames a second the camera of `capture` sends.
    #[arg(long, default_value_t = 200)]
    fps: u32,
    /// How many cameras the load has.
    #[arg(long, default_value_t = 16)]
    cameras: usize,
    /// How long the load is measured, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How long the load runs before it is measured, in seconds: groups are joined, the broker's code is compiled.
    #[arg(long, default_value_t = 30)]
    warm_up: u64,
}

impl Args {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// What every measurement uses.
pub struct Bench {
    kafka: Cluster,
    fps: u32,
    corpus: PathBuf,
    scripts: PathBuf,
}

impl Bench {
    fn start(fps: u32) -> Result<Self> {
        let scripts = project_root().join("bench/python");
        let corpus = scratch::dir("corpus");
        eprintln!("bench: making 192 frames of 1280x720");
        let mut make = python::command();
        make.arg(scripts.join("make_corpus.py")).arg(&corpus).arg("192");
        eprintln!("bench: {}", process::output("corpus", make, std::time::Duration::from_secs(300))?.trim());
        eprintln!("bench: starting Kafka");
        let kafka = Cluster::start(1, Options { production_jvm: true, ..Options::default() }).context("no Kafka")?;
        Ok(Bench { kafka, fps, corpus, scripts })
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let bench = Bench::start(args.fps)?;
    let mut results = serde_json::Map::new();
    println!("| what | side | CPU ms a frame: median (min..max) | times ours |\n|---|---|---|---|");
    for (name, duel) in [
        ("capture", duel::capture as fn(&Bench, usize) -> Result<serde_json::Value>),
        ("jpeg", duel::jpeg_files),
        ("archive", duel::archive),
        ("folder", duel::folder),
    ] {
        if args.wants(name) {
            results.insert(name.into(), duel(&bench, args.rounds)?);
        }
    }
    if args.wants("load") {
        results.insert("load".into(), load::many_cameras(&bench, args.cameras, args.warm_up, args.seconds)?);
    }
    if args.wants("memory") {
        results.insert("memory".into(), load::memory(&bench, args.seconds.min(30))?);
    }
    let path = project_root().join(".run/bench/results.json");
    std::fs::create_dir_all(path.parent().context("a directory")?)?;
    std::fs::write(&path, format!("{:#}\n", serde_json::Value::from(results)))?;
    eprintln!("bench: results in {}", path.display());
    Ok(())
}
