//! Runs the operator: caches, watches and one controller a kind, for each namespace or for all, until it is stopped.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use edgereel_crds::name::ObjectName;
use futures::{
    StreamExt,
    future::{join_all, pending},
    stream,
};
use kube::{
    Client,
    runtime::{Controller, controller, events::Reporter},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    task::{JoinError, JoinSet},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    cache::{Caches, Guarded, reference},
    controller::{
        self as reconciler,
        context::{Context, SecretValues, Written},
        dereference::object_name,
        managed::Managed,
        names::MANAGER,
        recorder::FewRemembered,
    },
    definitions::{self, Definitions},
    guard::{Guard, Standing},
    kinds::Kinds,
    metrics::Metrics,
    nodes::{self, Nodes},
    realm::Realm,
    references::Node,
    reports::{Reports, poll},
    rollout::{board::Board, stamp::operator_revision},
    settings::Settings,
    wakes::{Triggers, Wakes},
    watch::{Reach, Scope, watch},
    workers::Workers,
};

/// What the operator runs with.
pub struct Operator {
    /// The API server.
    pub client: Client,
    /// What is worked on.
    pub kinds: Kinds,
    /// The flags that decide what is built.
    pub settings: Settings,
    /// The namespaces to work on; none: all of them.
    pub namespaces: Vec<String>,
    /// How many resources of a kind are worked on at once.
    pub concurrency: u16,
    /// How long a watch lasts before it is begun anew.
    pub watch_interval: Duration,
    /// Whether to look which nodes are lost.
    pub watch_nodes: bool,
    /// Those that are.
    pub nodes: Arc<Nodes>,
    /// Who this is, in events.
    pub identity: String,
    /// Which namespaces are this installation's.
    pub guard: Arc<Guard>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Set once the caches are filled.
    pub ready: Arc<AtomicBool>,
}

impl Operator {
    /// Works until `shutdown`; reconciles under way are finished first. Each namespace has caches and controllers of its own, and
    /// waits for no other.
    ///
    /// # Errors
    /// A watch or a controller ended, by a panic too: whoever goes on without it would only seem to work.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let scopes: Vec<Option<String>> = match self.namespaces.as_slice() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        let (operator, mut working, mut begun) = (Arc::new(self), JoinSet::new(), Vec::new());
        // What concerns all namespaces fails together.
        let everywhere = Arc::new(Reach::new(None, operator.metrics.clone()));
        let mut nodes = JoinSet::new();
        if operator.watch_nodes {
            nodes.spawn(nodes::watch(operator.scope(None, &everywhere), operator.nodes.clone()));
        }
        let definitions = Arc::new(Definitions::default());
        // It ends with this function.
        let mut beside = JoinSet::new();
        let (client, kinds, metrics) = (operator.client.clone(), operator.kinds.clone(), operator.metrics.clone());
        beside.spawn(definitions::watch_over(client, kinds, metrics));
        let guard = operator.guard.clone();
        beside.spawn(async move { guard.keep().await });
        let board = Arc::new(Board::new(operator.settings.rollout.clone(), operator.metrics.clone()));
        let realm = Arc::new(Realm::new(&operator.namespaces));
        for namespace in scopes {
            let (begins, has_begun) = oneshot::channel();
            begun.push(has_begun);
            let reach = match &namespace {
                None => everywhere.clone(),
                Some(namespace) => Arc::new(Reach::new(Some(namespace), operator.metrics.clone())),
            };
            let scope = operator.scope(namespace, &reach);
            let shared = Shared { definitions: definitions.clone(), board: board.clone(), realm: realm.clone() };
            working.spawn(operator.clone().work(scope, shared, begins, shutdown.clone()));
        }
        let ready = operator.ready.clone();
        let announced = async move {
            join_all(begun).await;
            ready.store(true, Ordering::Relaxed);
            pending::<()>().await
        };
        tokio::select! {
            outcome = all_end(&mut working) => outcome,
            () = announced => Ok(()),
            Some(ended) = nodes.join_next() => Err(ended_early("the watch of the nodes", Some(ended))),
        }
    }

    fn scope(&self, namespace: Option<String>, reach: &Arc<Reach>) -> Scope {
        Scope { client: self.client.clone(), namespace, interval: self.watch_interval, reach: reach.clone() }
    }

    /// Works on one namespace, or on all. `begins` is told when its caches are filled, or cannot be for now.
    async fn work(
        self: Arc<Self>,
        scope: Scope,
        Shared { definitions, board, realm }: Shared,
        begins: oneshot::Sender<()>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (caches, writers) = Caches::new(&self.kinds, scope.namespace.clone(), realm.clone());
        let context = Arc::new(self.context(caches, definitions, board.clone()));
        let (triggers, mut woken) = Triggers::new(&self.kinds, self.metrics.clone(), &context.caches);
        board.wakes_by(scope.namespace.clone(), triggers.clone());
        let wakes = Arc::new(Wakes::new(context.clone(), triggers.clone()));
        let (reach, namespace) = (scope.reach.clone(), scope.namespace.clone());
        let mut watches = JoinSet::new();
        watches.spawn(watch(scope, writers, wakes.clone(), self.kinds.clone()));
        watches.spawn(poll(context.clone(), triggers.clone()));
        watches.spawn(wakes.clone().of_nodes());
        let filled = async {
            let mut filled = pin!(context.caches.wait_until_ready());
            let at_once = tokio::select! {
                outcome = &mut filled => Some(outcome),
                () = reach.fails() => None,
            };
            realm.begins(&context, triggers);
            // Whoever waits for it has gone: so does everything.
            _ = begins.send(());
            match at_once {
                Some(outcome) => outcome,
                None => filled.await,
            }
        };
        tokio::select! {
            filled = filled => filled.context("the caches cannot be filled")?,
            ended = watches.join_next() => return Err(ended_early("a watch", ended)),
            () = shutdown.cancelled() => return Ok(()),
        }
        info!(namespace, "the caches are filled: working");
        let mut controllers = JoinSet::new();
        for kind in self.kinds.iter() {
            let Some(woken) = woken.remove(kind.name()) else { continue };
            let (guard, shutdown) = (self.guard.clone(), shutdown.clone());
            let control = kind.control(woken, context.clone(), Pace { concurrency: self.concurrency, guard }, shutdown);
            controllers.spawn(async move {
                control.await;
                Ok(())
            });
        }
        tokio::select! {
            outcome = all_end(&mut controllers) => match shutdown.is_cancelled() {
                true => outcome,
                false => Err(outcome.err().unwrap_or_else(|| anyhow::anyhow!("the controllers ended"))),
            },
            ended = watches.join_next() => Err(ended_early("a watch", ended)),
        }
    }

    fn context(&self, caches: Caches, definitions: Arc<Definitions>, board: Arc<Board>) -> Context {
        let reporter = Reporter { controller: MANAGER.into(), instance: Some(self.identity.clone()) };
        Context {
            client: self.client.clone(),
            caches,
            settings: self.settings.clone(),
            recorder: FewRemembered::new(self.client.clone(), reporter),
            metrics: self.metrics.clone(),
            workers: Workers::default(),
            reports: Reports::default(),
            nodes: self.nodes.clone(),
            secret_values: SecretValues::default(),
            config_values: SecretValues::default(),
            written: Written::default(),
            definitions,
            board,
            operator_revision: operator_revision(&self.settings),
        }
    }
}

/// What all namespaces have in common.
struct Shared {
    definitions: Arc<Definitions>,
    board: Arc<Board>,
    realm: Arc<Realm>,
}

/// Waits until all have ended.
///
/// # Errors
/// The first that failed or panicked.
async fn all_end(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended.context("a fault of ours: it panicked")??;
    }
    Ok(())
}

fn ended_early(what: &str, ended: Option<Result<(), JoinError>>) -> anyhow::Error {
    match ended {
        Some(Err(error)) => anyhow::Error::new(error).context(format!("a fault of ours: {what} panicked")),
        Some(Ok(())) | None => anyhow::anyhow!("{what} ended"),
    }
}

/// How soon a resource of a namespace that another installation works on is looked at again.
const CONTESTED: Duration = Duration::from_secs(15);

/// How a kind is worked on.
pub struct Pace {
    /// How many resources at once.
    pub concurrency: u16,
    /// In which namespaces.
    pub guard: Arc<Guard>,
}

/// One kind's controller: each resource by itself, several at a time, none twice at once.
pub(crate) async fn control<K: Managed>(
    woken: UnboundedReceiver<ObjectName>,
    context: Arc<Context>,
    pace: Pace,
    shutdown: CancellationToken,
) {
    let Pace { concurrency, guard } = pace;
    let reader = context.caches.of::<K>().clone();
    let metrics = context.metrics.clone();
    // Everything that wakes a resource comes from our own watches.
    Controller::for_stream(stream::pending(), reader)
        .reconcile_on(UnboundedReceiverStream::new(woken).map(|name| reference::<Guarded<K>>(&name)))
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(move |resource, context| measured(resource, context, guard.clone()), reconciler::retry, context)
        .for_each(|outcome| {
            let metrics = metrics.clone();
            async move {
                match outcome {
                    // Deleted since it was woken.
                    Err(controller::Error::ObjectNotFound(gone)) => {
                        let namespace = gone.namespace.clone().unwrap_or_default();
                        metrics.started(K::NAME, &ObjectName { namespace, name: gone.name.clone() });
                    }
                    // `retry` has told of it.
                    Err(error) => debug!("{error}"),
                    Ok(_) => {}
                }
            }
        })
        .await;
}

async fn measured<K: Managed>(
    resource: Arc<Guarded<K>>,
    context: Arc<Context>,
    guard: Arc<Guard>,
) -> Result<controller::Action, reconciler::Error> {
    let (name, begun) = (object_name(&*resource), Instant::now());
    context.metrics.started(K::NAME, &name);
    if let Standing::Theirs(_) = guard.claim(&name.namespace).await {
        context.board.give_up(&Node::of::<K>(&name));
        return Ok(controller::Action::requeue(CONTESTED));
    }
    // Boxed: the controller has places for as many as may run at once, and for more.
    let outcome = Box::pin(reconciler::reconcile(resource, context.clone())).await;
    context.metrics.reconciled(K::NAME, &name, outcome.is_ok(), begun.elapsed());
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_controller_that_panics_ends_the_operator() {
        let mut controllers = JoinSet::new();
        controllers.spawn(async { pending().await });
        controllers.spawn(async { panic!("as the test wants") });
        let error = all_end(&mut controllers).await.expect_err("the other works on, and that is not enough");
        assert!(error.to_string().contains("panicked"), "{error:#}");
    }
}
