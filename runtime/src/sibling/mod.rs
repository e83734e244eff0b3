//! Resources whose work is another program's: a process each, started, watched and shown as if the work were done here.
//!
//! One command runs everything on a machine, a crash in one program takes nothing else along, and each program has only the
//! libraries that it needs.
//!
//! - [`program`] finds the programs; [`process`] is one of them that runs, [`client`] asks it, [`told`] keeps what it said.
//! - [`supervised`] is the other side: what a program does that is run so. [`wire`] is what both sides say.

pub mod client;
mod process;
pub mod program;
pub mod supervised;
mod told;
pub mod wire;

use std::{ffi::OsString, sync::Arc, time::Duration};

use edgereel_crds::{
    name::{Kind, ObjectName},
    plan::Plan,
    status::Reason,
    worker_status::{Figures, Overview},
};
use futures::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{
    client::Client,
    process::{Heard, Process},
    program::Named,
    told::Told,
};
use crate::{
    cli::log::Lines,
    fault::Fault,
    metrics::{Resource, exposition::Format},
    state::ResourceState,
    work::{Passed, Rate, Snapshot, Surroundings, Wanted, Work, on_a_task},
};

/// How often a program is asked for its status.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// From then on the status says that it does not answer.
const SILENT: Duration = Duration::from_secs(10);
/// A program that says nothing for so long, or does not begin, is ended and started again.
const HUNG: Duration = Duration::from_secs(60);

/// How this process starts programs.
#[derive(Debug)]
pub struct Launch {
    /// What all of them are told: `--storage-root`, `--log-format` and so on.
    pub args: Vec<OsString>,
    /// Where their log lines go.
    pub lines: Lines,
}

/// A resource (one replica of it) whose work another program does.
pub struct WantedSibling {
    /// Its kind.
    pub kind: Kind,
    /// The resource's name.
    pub name: ObjectName,
    /// The name that it shows.
    pub shown: ObjectName,
    /// Which replica the program is told to be.
    pub replica: u32,
    /// The plan, with nothing in it but this resource.
    pub plan: Plan,
    /// The secrets that it reads.
    pub secrets: Vec<Option<Vec<u8>>>,
    /// Whether it is to wait.
    pub suspend: bool,
    /// Who does it.
    pub program: Named,
    /// The documents, as they were read here.
    pub documents: Arc<Vec<(String, String)>>,
    /// How it is started.
    pub launch: Arc<Launch>,
}

impl Wanted for WantedSibling {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn shown(&self) -> &ObjectName {
        &self.shown
    }

    fn resource(&self) -> Resource {
        Resource::new(self.kind, &self.name, self.replica)
    }

    fn is_same(&self, other: &dyn Wanted) -> bool {
        let Some(other) = other.downcast::<Self>() else { return false };
        (self.kind, &self.shown, self.replica, &self.plan, &self.secrets, &self.program)
            == (other.kind, &other.shown, other.replica, &other.plan, &other.secrets, &other.program)
    }

    fn work(&self) -> Box<dyn Work> {
        let mut args: Vec<OsString> =
            ["run", "-f", "-", "--supervised", "--http", "127.0.0.1:0"].map(Into::into).into();
        args.push("--only".into());
        args.push(format!("{}/{}/{}", self.kind, self.name.namespace, self.name.name).into());
        args.push("--replica".into());
        args.push(self.replica.to_string().into());
        args.extend(self.launch.args.iter().cloned());
        Box::new(SiblingWork(Arc::new(Sibling {
            shown: self.shown.clone(),
            suspend: self.suspend,
            program: self.program.clone(),
            args,
            documents: self.documents.clone(),
            launch: self.launch.clone(),
            told: Told::new(self.kind),
        })))
    }
}

/// A resource's program, running or not.
struct Sibling {
    shown: ObjectName,
    suspend: bool,
    program: Named,
    args: Vec<OsString>,
    documents: Arc<Vec<(String, String)>>,
    launch: Arc<Launch>,
    told: Told,
}

struct SiblingWork(Arc<Sibling>);

impl Work for SiblingWork {
    fn is_suspended(&self) -> bool {
        self.0.suspend
    }

    fn start(&self, state: &ResourceState, around: &Surroundings) -> BoxFuture<'static, Result<(), Fault>> {
        let (sibling, state, around) = (self.0.clone(), state.clone(), around.clone());
        Box::pin(on_a_task(async move { sibling.run(&state, &around).await }))
    }

    fn passed(&self) -> Passed {
        let overview = self.0.told.overview();
        Passed { frames: overview.came.unwrap_or(overview.safe), bytes: overview.bytes }
    }

    /// The program has measured its rates itself.
    fn figures(&self, _: Rate) -> Figures {
        self.0.told.figures()
    }

    fn overview(&self) -> Overview {
        self.0.told.overview()
    }

    fn snapshot(&self) -> BoxFuture<'_, Snapshot> {
        Box::pin(async {
            match self.0.told.client() {
                Some(client) => client.snapshot(&self.0.shown).await,
                None => Snapshot::Nothing,
            }
        })
    }

    fn exposition(&self, format: Format) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move { self.0.told.client()?.metrics(format).await.ok() })
    }
}

impl Sibling {
    /// Runs the program once, to its end.
    async fn run(&self, state: &ResourceState, around: &Surroundings) -> Result<(), Fault> {
        let path = self.program.find().map_err(|message| Fault::new(Reason::ProgramMissing, message))?;
        let mut process = Process::start(&path, &self.args, &self.documents, &self.launch.lines)
            .map_err(|e| self.fault(format!("cannot be started ({e}): see that it may be executed by this user")))?;
        let ended = self.attend(&mut process, state, around).await;
        if let Some(last) = process.last_status() {
            self.told.hear(last, state);
        }
        self.told.has_ended();
        if let Err(fault) = &ended {
            state.unknown_but_ready(fault.reason, &fault.message);
        }
        ended
    }

    /// Looks after a running program until it ends, or is to.
    async fn attend(&self, process: &mut Process, state: &ResourceState, around: &Surroundings) -> Result<(), Fault> {
        let heard = process.heard();
        tokio::select! {
            () = around.shutdown.cancelled() => {
                process.stop(HUNG).await;
                Ok(())
            }
            how = process.ended() => Err(self.fault(how)),
            what = self.ask_until_silent(&heard, state) => {
                process.kill().await;
                Err(self.fault(what))
            }
        }
    }

    /// Takes over what the program tells until it has told nothing for too long; says so then.
    async fn ask_until_silent(&self, heard: &Heard, state: &ResourceState) -> String {
        let mut tick = interval(ASK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            tick.tick().await;
            if self.told.client().is_none()
                && let Some(address) = heard.address()
            {
                self.told.has_begun(Client::new(address));
            }
            if self.ask(state).await {
                last = Instant::now();
            }
            let silence = last.elapsed();
            if silence >= HUNG {
                let what = if self.told.client().is_some() { "did not answer" } else { "did not begin" };
                return format!("{what} for {} s and was ended", silence.as_secs());
            } else if silence >= SILENT {
                let message = format!("{} does not answer: it is restarted if that goes on", self.program.name);
                state.unready(Reason::ProgramFailed, &message);
                state.unknown_but_ready(Reason::ProgramFailed, &message);
            }
        }
    }

    /// Whether the program told how its resource fares.
    async fn ask(&self, state: &ResourceState) -> bool {
        let Some(client) = self.told.client() else { return false };
        let Ok(status) = client.status().await else { return false };
        self.told.hear(status, state)
    }

    fn fault(&self, what: impl std::fmt::Display) -> Fault {
        Fault::new(Reason::ProgramFailed, format!("{} {what}", self.program.name))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use edgereel_crds::status::{ConditionStatus, ConditionType};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Runs a script as the program of a sink.
    async fn run(script: &str) -> (ResourceState, Result<(), Fault>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("set");
        let name = ObjectName { namespace: "lab".into(), name: "files".into() };
        let state = ResourceState::new(Kind::FrameSink, name.clone());
        state.set(ConditionType::StorageHealthy, ConditionStatus::True, Reason::Running, "writing");
        let wanted = WantedSibling {
            kind: Kind::FrameSink,
            shown: name.clone(),
            name,
            replica: 0,
            plan: Plan::default(),
            secrets: vec![],
            suspend: false,
            program: Named { name: path.display().to_string(), package: None },
            documents: Arc::default(),
            launch: Arc::new(Launch { args: vec![], lines: Lines::to(|_| ()) }),
        };
        let around =
            Surroundings { storage_root: None, secrets: Default::default(), shutdown: CancellationToken::new() };
        let outcome = wanted.work().start(&state, &around).await;
        (state, outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_does_not_begin_is_said_to_be_silent_and_is_ended_at_last() {
        let (state, outcome) = run("exec sleep 1000").await;
        let fault = outcome.expect_err("a fault");
        assert_eq!(fault.reason, Reason::ProgramFailed);
        assert!(fault.message.contains("did not begin for 60 s and was ended"), "{fault}");
        let last = state.last_error().expect("told before").message;
        assert!(last.contains("does not answer"), "{last}");
    }

    #[tokio::test]
    async fn nothing_is_known_of_a_resource_whose_program_has_ended() {
        let (state, outcome) = run("echo 'no camera' >&2; exit 2").await;
        assert!(outcome.expect_err("a fault").message.ends_with("ended with exit status 2; its last line: no camera"));
        let aspect = state.condition(ConditionType::StorageHealthy).expect("set");
        assert_eq!((aspect.status, aspect.reason), (ConditionStatus::Unknown, Reason::ProgramFailed));
    }
}
