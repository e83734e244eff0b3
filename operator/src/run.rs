//! Runs the operator: caches, watches and one controller a kind, for each namespace or for all, until it is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Context as _;
use edgereel_crds::name::ObjectName;
use futures::{StreamExt, stream};
use kube::{
    Client,
    runtime::{
        Controller, controller,
        events::{Recorder, Reporter},
    },
};
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet};
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
    },
    kinds::Kinds,
    metrics::Metrics,
    settings::Settings,
    wakes::{Triggers, Wakes},
    watch::{Scope, watch},
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
    /// Who this is, in events.
    pub identity: String,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Set once the caches are filled.
    pub ready: Arc<AtomicBool>,
}

impl Operator {
    /// Works until `shutdown`; reconciles under way are finished first.
    ///
    /// # Errors
    /// A watch ended for good.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let scopes: Vec<Option<String>> = match self.namespaces.as_slice() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        let mut controllers = JoinSet::new();
        let mut watches = JoinSet::new();
        let mut contexts = Vec::new();
        for namespace in scopes {
            let (caches, writers) = Caches::new(&self.kinds);
            let context = Arc::new(self.context(caches));
            let (triggers, woken) = Triggers::new(&self.kinds, self.metrics.clone());
            let wakes = Arc::new(Wakes::new(context.clone(), triggers));
            let scope = Scope { client: self.client.clone(), namespace };
            watches.spawn(watch(scope, writers, wakes, self.kinds.clone()));
            contexts.push((context, woken));
        }
        for (context, mut woken) in contexts {
            tokio::select! {
                filled = context.caches.wait_until_ready() => filled.context("the caches cannot be filled")?,
                () = shutdown.cancelled() => return Ok(()),
            }
            for kind in self.kinds.iter() {
                let Some(woken) = woken.remove(kind.name()) else { continue };
                controllers.spawn(kind.control(woken, context.clone(), self.concurrency, shutdown.clone()));
            }
        }
        self.ready.store(true, Ordering::Relaxed);
        info!("the caches are filled: working");
        tokio::select! {
            _ = async { while controllers.join_next().await.is_some() {} } => {}
            ended = watches.join_next() => {
                ended.transpose().context("a watch failed")?;
                anyhow::bail!("a watch ended");
            }
        }
        Ok(())
    }

    fn context(&self, caches: Caches) -> Context {
        let reporter = Reporter { controller: MANAGER.into(), instance: Some(self.identity.clone()) };
        Context {
            client: self.client.clone(),
            caches,
            settings: self.settings.clone(),
            recorder: Recorder::new(self.client.clone(), reporter),
            metrics: self.metrics.clone(),
            workers: Workers::default(),
            secret_values: SecretValues::default(),
            written: Written::default(),
        }
    }
}

/// One kind's controller: each resource by itself, several at a time, none twice at once.
pub(crate) async fn control<K: Managed>(
    woken: UnboundedReceiver<ObjectName>,
    context: Arc<Context>,
    concurrency: u16,
    shutdown: CancellationToken,
) {
    let reader = context.caches.of::<K>().clone();
    let metrics = context.metrics.clone();
    // Everything that wakes a resource comes from our own watches.
    Controller::for_stream(stream::pending(), reader)
        .reconcile_on(UnboundedReceiverStream::new(woken).map(|name| reference::<Guarded<K>>(&name)))
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(measured, reconciler::retry, context)
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
) -> Result<controller::Action, reconciler::Error> {
    let (name, begun) = (object_name(&*resource), Instant::now());
    context.metrics.started(K::NAME, &name);
    let outcome = reconciler::reconcile(resource, context.clone()).await;
    context.metrics.reconciled(K::NAME, &name, outcome.is_ok(), begun.elapsed());
    outcome
}
