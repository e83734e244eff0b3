//! Opens all that a sink needs. Nothing is consumed unless the output can be written.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use edgereel_crds::{
    frame_sink::{self, OnInvalid},
    plan::SinkPlan,
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_kafka::{
    client::{Context, client_config},
    consumer::{Consumer, Settings},
    reader::TopicReader,
};
use edgereel_runtime::{backoff::Backoff, fault::Fault, secrets::Secrets, throttle::Throttle};

use super::{
    LOG_INTERVAL, Message, Runner, SinkEnv, faults::Faults, flusher::Flusher, intake::Decoder, memory, memory::Memory,
    stage::Stage, storage, tending::Tender,
};
use crate::sink::{
    dataset::Dataset,
    dead_letter::DeadLetters,
    disk::Disk,
    jpeg_files::JpegFiles,
    output::Output,
    record_name::Names,
    retention::ours::{Now, Ours},
    video::Video,
    volume::{self, Place},
};

/// Bytes of records that may wait between the consumer and the output.
const MEMORY: usize = 16 << 20;

/// Opens everything. Nothing is consumed unless the output can be written.
pub fn open<'a>(plan: &'a SinkPlan, replica: u32, env: &'a SinkEnv) -> Result<Runner<'a>, Fault> {
    let root = volume::open(&Place::of(plan)?, env.storage_root.as_deref())?;
    storage::measure(&root, &env.metrics);
    let output = open_output(plan, &root, replica, &env.secrets)?;
    let tender = Tender::open(plan, &root, replica);
    env.state.set(ConditionType::StorageHealthy, ConditionStatus::True, Reason::Running, "the output is open");
    let dead_letters = match (plan.on_invalid, &plan.spec.dead_letter) {
        (OnInvalid::DeadLetter, Some(dead)) => {
            Some(Arc::new(DeadLetters::open(plan, &dead.topic, replica, &env.secrets, &env.metrics)?))
        }
        (OnInvalid::DeadLetter, None) => {
            let message = "spec.onInvalid is `deadLetter`: say where to in spec.deadLetter.topic";
            return Err(Fault::new(Reason::InvalidConfiguration, message));
        }
        _ => None,
    };
    let folder = output.folder();
    let memory = Memory::open(folder, sink_folder(folder, replica), output.has_written())?;
    let (sender, inbox) = mpsc::channel();
    let context = Context::new(&plan.connection, &env.secrets)?;
    let health = context.health().clone();
    let client_id = format!("edgereel-{}.{}-{replica}", plan.name.namespace, plan.name.name);
    let settings = Settings {
        topics: plan.topics.clone(),
        group: plan.group.clone(),
        protocol: plan.spec.group_protocol,
        instance: format!("{}-{}.{}-{replica}", plan.group, plan.name.namespace, plan.name.name),
        start_from: plan.spec.start_from.clone(),
        on_offset_lost: plan.spec.on_offset_lost,
        earlier: memory.known(),
        shared: plan.spec.replicas > 1,
        whole: output.needs_all_partitions(),
        memory: MEMORY,
    };
    let events = sender.clone();
    let consumer =
        Consumer::start(client_config(&plan.connection, &env.secrets, &client_id)?, context, settings, move |event| {
            events.send(Message::Kafka(event)).is_ok()
        })?;
    // The runner drops its end of the channel when it ends; a flush that is done later is of no interest.
    let flusher = Flusher::start(move |done| {
        let _ = sender.send(Message::Flushed(done));
    })?;
    Ok(Runner {
        plan,
        env,
        root,
        output,
        tender,
        dead_letters,
        consumer,
        flusher,
        inbox,
        health,
        decoder: Decoder::new(plan),
        memory,
        stage: Stage::Joining,
        stuck: None,
        backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
        ending: None,
        faults: Faults::left_in(&env.state),
        missing: Vec::new(),
        disk_measured: Instant::now(),
        state_told: None,
        full_said: Throttle::new(LOG_INTERVAL),
        invalid_said: Throttle::new(LOG_INTERVAL),
    })
}

/// The folder of a worker's sink: that of a worker with a number stands in it.
fn sink_folder(folder: &Path, replica: u32) -> &Path {
    folder.parent().filter(|_| replica > 0).unwrap_or(folder)
}

/// What the sink may have stored, as its own folder and the brokers say.
fn ours(plan: &SinkPlan, folder: &Path, names: &Names, secrets: &Secrets) -> Result<Ours, Fault> {
    let workers = memory::everyones(folder)?;
    let reader = TopicReader::open(&plan.connection, secrets, &plan.group)?;
    let topics = workers.iter().flat_map(|worker| worker.topics.keys()).chain(&plan.topics);
    let now = |topic: &String| -> Result<_, Fault> {
        Ok((topic.clone(), Now { id: reader.id(topic)?, extents: reader.extents(topic)? }))
    };
    let topics = topics.collect::<BTreeSet<_>>().into_iter().map(now).collect::<Result<_, _>>()?;
    Ok(Ours::new(&workers, &plan.topics, names.with_topic, topics))
}

fn open_output(plan: &SinkPlan, root: &Path, replica: u32, secrets: &Secrets) -> Result<Box<dyn Output>, Fault> {
    Ok(match &plan.spec.output {
        frame_sink::Output::JpegFiles(spec) => {
            let (disk, topics) = (Disk::default(), &plan.topics);
            let files = JpegFiles::open(root, spec, &plan.name, replica, topics, disk.clone())?;
            Box::new(match &plan.spec.retention {
                Some(_) => files.keep_stock(
                    topics,
                    |folder, names| ours(plan, sink_folder(folder, replica), names, secrets),
                    &disk,
                )?,
                None => files.keep_no_stock()?,
            })
        }
        frame_sink::Output::Video(spec) => {
            let keep = plan.spec.retention.is_some();
            Box::new(Video::open(root, spec, &plan.name, &plan.topics)?.keep_stock(keep)?)
        }
        frame_sink::Output::Dataset(spec) => Box::new(Dataset::open(root, spec, &plan.name, &plan.topics)?),
    })
}
