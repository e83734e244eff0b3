//! `make demo`: the laboratory's three consumers on one machine, with a crash in the middle, and every frame accounted for.
//!
//! - [`lab`] turns `examples/lab` into resources for this machine, and changes nothing else in them.
//! - [`show`] runs it: Kafka, cameras, captures, sinks, SIGKILL, the end in good order.
//! - [`report`] says what came of it.

mod lab;
mod report;
mod show;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use edgereel_crds::units;

/// Cameras → a real Kafka → disk, from examples/lab, with a SIGKILL in the middle.
///
/// Everything runs on 127.0.0.1 and lies in .run/demo, which is wiped at the start: the resources, the logs, Kafka's data
/// and the frames. Exit status 0 only if every frame that Kafka acknowledged is stored.
#[derive(Debug, Parser)]
#[command(name = "demo", max_term_width = 100)]
pub struct Args {
    /// How long the cameras run, such as `30s` or `2m`; at least 10 s.
    #[arg(long, default_value = "30s")]
    duration: units::Duration,
    /// Kafka's brokers. With three, there are three copies of every frame.
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    brokers: String,
    /// After that, go on until Ctrl-C, and account for the frames then.
    #[arg(long)]
    keep_running: bool,
}

impl Args {
    fn duration(&self) -> Duration {
        self.duration.0.max(Duration::from_secs(10))
    }

    fn brokers(&self) -> usize {
        if self.brokers == "3" { 3 } else { 1 }
    }
}

fn main() -> ExitCode {
    match show::run(&Args::parse()) {
        Ok(outcome) => {
            print!("{outcome}");
            if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}
