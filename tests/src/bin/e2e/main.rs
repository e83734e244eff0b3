//! `make e2e`: the images as built, installed by Helm in a real cluster, and everything that may happen to them there.
//!
//! - [`kube`] is the cluster as its users reach it, [`definition`] changes what it knows of our kinds; [`world`] what all scenarios share; [`lab`] a scenario's own namespace.
//! - [`scenarios`] are the tests. Those that leave the operator alone run side by side; those that kill, restart or remove
//!   what all need run one by one after them; the last ones look back on everything.
//!
//! Takes the arguments of `cargo test`: a filter, `--list`, `--exact`, `--skip`.

mod definition;
mod kube;
mod lab;
mod scenarios;
mod world;

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use libtest_mimic::{Arguments, Trial};

use crate::{
    scenarios::Scenario,
    world::{Settings, World, say},
};

/// So many scenarios run side by side: they mostly wait, but their workers share the machine's processors.
const SIDE_BY_SIDE: usize = 3;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let phases = [(SIDE_BY_SIDE, scenarios::SIDE_BY_SIDE), (1, scenarios::ONE_BY_ONE), (1, scenarios::LAST)];
    if args.list {
        let trials = phases.iter().flat_map(|(_, all)| *all).map(|(name, _)| Trial::test(*name, || Ok(())));
        libtest_mimic::run(&args, trials.collect()).exit();
    }
    let world = match Settings::from_env().and_then(World::build) {
        // The tests' threads borrow it until the process ends.
        Ok(world) => &*Box::leak(Box::new(world)),
        Err(e) => {
            eprintln!("e2e: {e:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut good = true;
    for (threads, all) in phases {
        let trials = all.iter().map(|(name, run)| trial(world, name, *run)).collect();
        let args = Arguments { test_threads: Some(threads), ..args.clone() };
        good &= !libtest_mimic::run(&args, trials).has_failed();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A scenario as a test: its failure shows what a person would look at.
fn trial(world: &'static World, name: &'static str, run: Scenario) -> Trial {
    Trial::test(name, move || {
        say(&format!("--- {name}"));
        let began = std::time::Instant::now();
        let done = panic::catch_unwind(AssertUnwindSafe(|| run(world)));
        if let Err(panic) = done {
            world.dump(name);
            panic::resume_unwind(panic);
        }
        say(&format!("--- {name}: {} s", began.elapsed().as_secs()));
        Ok(())
    })
}
