//! Asks Kafka how far a sink is behind while the sink cannot tell: its disk is missing or hangs, it waits for its next start,
//! or for its group.
//!
//! A sink that reads is told the ends each second, and tells its lag then. So one rule does for all that can go wrong: a lag
//! that was not told for a while is asked for, and one that nobody knew for longer is absent.

use std::{
    thread,
    time::{Duration, Instant},
};

use edgereel_crds::plan::SinkPlan;
use edgereel_kafka::{
    client::{Context, KafkaFault, client_config},
    consumer::behind::Onlooker,
};
use edgereel_runtime::secrets::Secrets;
use tokio_util::sync::CancellationToken;

use crate::sink::metrics::lag::Lag;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(2);
/// A lag that is older than this is asked for: the sink tells it each second while it reads.
const STALE: Duration = Duration::from_secs(4);
/// One that is older than this is not known.
const UNKNOWN: Duration = Duration::from_secs(12);

/// Looks after the lag on a thread of its own, until `shutdown`. A client is there only while the sink tells nothing.
pub fn watch(plan: SinkPlan, lag: Lag, secrets: Secrets, shutdown: CancellationToken) {
    let name = format!("lag-{}", plan.name.name);
    let look = move || {
        let (mut onlooker, mut known) = (None, Instant::now());
        while !shutdown.is_cancelled() {
            thread::sleep(LOOK);
            if lag.silence() < STALE {
                (onlooker, known) = (None, Instant::now());
                continue;
            }
            // Which part of the group's lag would be this worker's among several nobody knows.
            if plan.spec.replicas <= 1 {
                if onlooker.is_none() {
                    onlooker = open(&plan, &secrets).ok();
                }
                if let Some(records) = onlooker.as_ref().and_then(Onlooker::lag) {
                    lag.hear(records, STALE);
                    known = Instant::now();
                }
            }
            if known.elapsed() >= UNKNOWN {
                lag.forget();
            }
        }
    };
    if let Err(e) = thread::Builder::new().name(name).spawn(look) {
        tracing::warn!("no thread that looks after the lag: {e}");
    }
}

fn open(plan: &SinkPlan, secrets: &Secrets) -> Result<Onlooker, KafkaFault> {
    let client_id = format!("edgereel-{}.{}-lag", plan.name.namespace, plan.name.name);
    let config = client_config(&plan.connection, secrets, &client_id)?;
    let context = Context::new(&plan.connection, secrets)?;
    Onlooker::open(config, context, &plan.group, &plan.topics, &plan.spec.start_from)
}
