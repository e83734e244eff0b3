//! The least program that runs resources: each counts ten frames a second that never were, and stores nothing.
//!
//! It shows all that a program of its own kinds has to write, and tests how `edgereel run` runs another program:
//! `edgereel run -f lab/ --program FrameSink=target/debug/examples/edgereel-toy`. At so many frames as the variable
//! `EDGEREEL_TOY_ABORT` says it ends as a fault in C++ would end it.

use std::{
    env,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::{Parser, Subcommand};
use edgereel_crds::{
    name::{Kind, ObjectName, Program},
    plan::Plan,
    status::ConditionType,
    worker_status::{Figures, Overview, Semantics},
};
use edgereel_runtime::{
    command::{
        self,
        kinds::{Kinds, Options},
    },
    fault::Fault,
    metrics::{Metrics, Resource},
    secrets::Secrets,
    state::ResourceState,
    work::{Passed, Rate, Surroundings, Wanted, Work, on_a_task, replicas},
};
use futures::future::BoxFuture;
use prometheus_client::metrics::{counter::Counter, family::Family};
use tracing::info;

/// Counts, and stores nothing.
#[derive(Debug, Parser)]
#[command(name = "edgereel-toy", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every resource in the files until SIGINT or SIGTERM.
    Run(command::Args),
}

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    command::run(Program { name: "edgereel-toy", package: "edgereel-toy" }, args, Toys::new)
}

struct Toys {
    options: Options,
    frames: Family<Resource, Counter>,
}

impl Toys {
    fn new(options: Options, metrics: &mut Metrics) -> Self {
        Toys { options, frames: metrics.family("toy_frames", "Frames that were counted and never were") }
    }
}

impl Kinds for Toys {
    fn of(&self, plan: &Plan, _: &Secrets) -> Vec<Box<dyn Wanted>> {
        let Options { replica, numbered, .. } = self.options;
        let mut all: Vec<Box<dyn Wanted>> = vec![];
        for planned in plan.runs() {
            for (replica, shown) in replicas(planned.name, planned.replicas, replica, numbered) {
                let resource = Resource::new(planned.kind, planned.name, replica);
                let frames = self.frames.get_or_create_owned(&resource);
                all.push(Box::new(Toy { kind: planned.kind, suspend: planned.suspend, shown, resource, frames }));
            }
        }
        all
    }
}

/// A resource that is counted for.
#[derive(Clone)]
struct Toy {
    kind: Kind,
    shown: ObjectName,
    resource: Resource,
    suspend: bool,
    frames: Counter,
}

impl Wanted for Toy {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn shown(&self) -> &ObjectName {
        &self.shown
    }

    fn resource(&self) -> Resource {
        self.resource.clone()
    }

    fn is_same(&self, other: &dyn Wanted) -> bool {
        let key = |toy: &Toy| (toy.kind, toy.shown.clone(), toy.suspend);
        other.downcast::<Self>().is_some_and(|other| key(other) == key(self))
    }

    fn work(&self) -> Box<dyn Work> {
        Box::new(Counts { toy: self.clone(), counted: Arc::default() })
    }
}

struct Counts {
    toy: Toy,
    counted: Arc<AtomicU64>,
}

impl Work for Counts {
    fn is_suspended(&self) -> bool {
        self.toy.suspend
    }

    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        let (state, shutdown) = (state.clone(), around.shutdown.clone());
        let (counted, frames) = (self.counted.clone(), self.toy.frames.clone());
        let last = env::var("EDGEREEL_TOY_ABORT").ok().and_then(|count| count.parse().ok()).unwrap_or(u64::MAX);
        Box::pin(on_a_task(async move {
            state.healthy(ConditionType::StorageHealthy, format!("counting in process {}", std::process::id()));
            info!(resource = state.name.name, "the toy counts");
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    _ = tick.tick() => {}
                }
                frames.inc();
                if counted.fetch_add(1, Relaxed) + 1 >= last {
                    eprintln!("terminate called after throwing an instance of 'toy::broken'");
                    std::process::abort();
                }
            }
            // What is last counted has to be seen although nobody can ask for it any more.
            counted.fetch_add(1000, Relaxed);
            Ok(())
        }))
    }

    fn passed(&self) -> Passed {
        Passed { frames: self.counted.load(Relaxed), bytes: 0 }
    }

    fn figures(&self, rate: Rate) -> Figures {
        Figures::new()
            .with("fps", Semantics::Rate, serde_json::Value::from(rate.fps))
            .count("framesCounted", self.counted.load(Relaxed))
    }

    fn overview(&self) -> Overview {
        let safe = self.counted.load(Relaxed);
        Overview { short: "toy".into(), safe, told: format!("{safe} frames counted"), ..Overview::default() }
    }
}
