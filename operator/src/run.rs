//! Runs the operator: caches, watches and one controller a kind, for each namespace or for all, until it is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::Context as _;
use edgereel_crds::{CameraStream, FrameSink, KafkaConnection, name::ObjectName};
use futures::{StreamExt, stream};
use kube::{
    Client,
    core::DeserializeGuard,
    runtime::{
        Controller, controller,
        events::{Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::{
    cache::Caches,
    controller::{
        self as reconciler,
        context::{Context, SecretHashes, Written},
        dereference::object_name,
        managed::Managed,
        names::MANAGER,
    },
    metrics::Metrics,
    settings::Settings,
    watch::{Scope, Triggers, watch},
    workers::Workers,
};

/// What the operator runs with.
pub struct Operator {
    /// The API server.
    pub client: Client,
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
            let (caches, writers) = Caches::new();
            let context = Arc::new(self.context(caches));
            let (cameras, camera_refs) = unbounded_channel();
            let (sinks, sink_refs) = unbounded_channel();
            let (connections, connection_refs) = unbounded_channel();
            let triggers = Triggers { cameras, sinks, connections, metrics: self.metrics.clone() };
            let scope = Scope { client: self.client.clone(), namespace };
            watches.spawn(watch(scope, writers, context.clone(), triggers));
            contexts.push((context, camera_refs, sink_refs, connection_refs));
        }
        for (context, camera_refs, sink_refs, connection_refs) in contexts {
            tokio::select! {
                filled = context.caches.wait_until_ready() => filled.context("the caches cannot be filled")?,
                () = shutdown.cancelled() => return Ok(()),
            }
            let concurrency = self.concurrency;
            controllers.spawn(control::<CameraStream>(camera_refs, context.clone(), concurrency, shutdown.clone()));
            controllers.spawn(control::<FrameSink>(sink_refs, context.clone(), concurrency, shutdown.clone()));
            controllers.spawn(control::<KafkaConnection>(connection_refs, context, concurrency, shutdown.clone()));
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
            secret_hashes: SecretHashes::default(),
            written: Written::default(),
        }
    }
}

/// One kind's controller: each resource by itself, several at a time, none twice at once.
async fn control<K: Managed>(
    woken: UnboundedReceiver<ObjectRef<DeserializeGuard<K>>>,
    context: Arc<Context>,
    concurrency: u16,
    shutdown: CancellationToken,
) {
    let reader = K::store(&context.caches).clone();
    let metrics = context.metrics.clone();
    // Everything that wakes a resource comes from our own watches.
    Controller::for_stream(stream::pending(), reader)
        .reconcile_on(UnboundedReceiverStream::new(woken))
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
                        metrics.started(K::KIND, &ObjectName { namespace, name: gone.name.clone() });
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
    resource: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> Result<controller::Action, reconciler::Error> {
    let (name, begun) = (object_name(&*resource), Instant::now());
    context.metrics.started(K::KIND, &name);
    let outcome = reconciler::reconcile(resource, context.clone()).await;
    context.metrics.reconciled(K::KIND, &name, outcome.is_ok(), begun.elapsed());
    outcome
}
