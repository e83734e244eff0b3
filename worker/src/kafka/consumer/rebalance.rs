//! The callbacks of a group's consumer: what happens when partitions come and go, and the state of those assigned.

use std::{
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use edgereel_crds::{frame_sink::StartFrom, status::Reason};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};

use super::{
    Assigned, Begun, Commit, Event, HANDOVER_TIME, HEARTBEAT, Handover, Listener, SESSION_TIMEOUT, Settings,
    TopicPartition,
    budget::{Charge, Held, Share},
    native::cached_high,
    offsets_list,
    start::{First, Start, decide_start},
    tenure::{PollClock, Tenure, boot_time_ms},
};
use crate::kafka::client::{Context, KafkaFault};

/// How long the brokers may take to say where a partition begins and ends.
const LOOK_UP: Duration = Duration::from_secs(15);

/// The consumer's context.
pub struct GroupContext {
    inner: Context,
    settings: Settings,
    tenure: Tenure,
    send: Listener,
    state: Mutex<State>,
    /// The consumer is being dropped: callbacks only let go.
    leaving: AtomicBool,
    /// A callback ran: the time that it took is not the poller's.
    busy: AtomicBool,
}

#[derive(Default)]
struct State {
    generation: u64,
    partitions: Vec<Partition>,
    share: Option<Share>,
    failure: Option<KafkaFault>,
    /// librdkafka's words for its last error.
    reason: String,
}

/// An assigned partition.
struct Partition {
    source: TopicPartition,
    /// The next offset that is new.
    next: i64,
    /// The end that was told last.
    told_end: Option<i64>,
    held: Held,
    paused: bool,
}

/// A record's place and its charge.
pub struct Taken {
    pub generation: u64,
    pub source: TopicPartition,
    pub charge: Charge,
    pub held: Held,
    pub share: Share,
}

impl GroupContext {
    pub fn new(inner: Context, settings: Settings, tenure: Tenure, send: Listener) -> Self {
        GroupContext {
            inner,
            settings,
            tenure,
            send,
            state: Mutex::default(),
            leaving: AtomicBool::new(false),
            busy: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on callbacks only let go.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether a callback ran since the last question.
    pub fn took_its_time(&self) -> bool {
        self.busy.swap(false, Ordering::AcqRel)
    }

    /// What a callback failed with.
    pub fn take_failure(&self) -> Option<KafkaFault> {
        self.state().failure.take()
    }

    /// librdkafka's words for its last error.
    pub fn take_reason(&self) -> String {
        std::mem::take(&mut self.state().reason)
    }

    /// Notes a record as sent on. None when it is not of this assignment, or was sent before.
    pub fn take(&self, topic: &str, partition: i32, offset: i64, size: usize) -> Option<Taken> {
        let mut state = self.state();
        let (generation, share) = (state.generation, state.share?);
        let found = state.find(topic, partition)?;
        if offset < found.next {
            return None;
        }
        found.next = offset + 1;
        let charge = found.held.charge(size);
        Some(Taken { generation, source: found.source.clone(), charge, held: found.held.clone(), share })
    }

    /// Pauses one partition.
    pub fn pause(&self, consumer: &BaseConsumer<Self>, source: &TopicPartition) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&source.topic, source.partition);
        if let Some(found) = self.state().find(&source.topic, source.partition) {
            found.paused = consumer.pause(&list).is_ok();
        }
    }

    /// Resumes the paused partitions that have room again.
    pub fn resume_with_room(&self, consumer: &BaseConsumer<Self>) {
        let mut state = self.state();
        let Some(share) = state.share else { return };
        for partition in state.partitions.iter_mut().filter(|p| p.paused && share.has_room(p.held.bytes())) {
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.source.topic, partition.source.partition);
            partition.paused = consumer.resume(&list).is_err();
        }
    }

    /// librdkafka met the end of a partition, but rdkafka does not say of which topic: with several, the watermark
    /// tells.
    pub fn ended(&self, consumer: &BaseConsumer<Self>, partition: i32) -> bool {
        let mut state = self.state();
        let same_number = state.partitions.iter().filter(|p| p.source.partition == partition).count();
        let generation = state.generation;
        let mut listening = true;
        for found in state.partitions.iter_mut().filter(|p| p.source.partition == partition) {
            let at_end = same_number == 1 || found.is_at_end(consumer);
            if at_end && !found.paused {
                listening = found.tell_end(generation, &self.send);
            }
        }
        listening
    }

    /// Tells that a partition was read to its end if that was its last record: sooner than librdkafka, which waits for the
    /// next fetch.
    pub fn tell_end_after(&self, consumer: &BaseConsumer<Self>, source: &TopicPartition) {
        let mut state = self.state();
        let generation = state.generation;
        if let Some(found) = state.find(&source.topic, source.partition).filter(|found| found.is_at_end(consumer)) {
            found.tell_end(generation, &self.send);
        }
    }

    /// Tells how far the partitions reach, and which of them have been read to their end.
    pub fn tell_watermarks(&self, consumer: &BaseConsumer<Self>) {
        let mut state = self.state();
        let generation = state.generation;
        let mut marks = Vec::with_capacity(state.partitions.len());
        for partition in &mut state.partitions {
            let high = cached_high(consumer, &partition.source.topic, partition.source.partition);
            marks.extend(high.map(|high| (partition.source.clone(), high)));
            if high.is_some_and(|high| partition.next >= high) {
                partition.tell_end(generation, &self.send);
            }
        }
        drop(state);
        (self.send)(Event::Watermarks(marks));
    }

    /// Partitions came. On a failure the consumer is left without any, and the poller is told.
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let begun = self.begin(consumer, partitions).and_then(|begun| {
            let total = self.count_partitions(consumer)?;
            let begun = if self.settings.whole && begun.len() < total { Vec::new() } else { begun };
            let mut list = TopicPartitionList::with_capacity(begun.len());
            for partition in &begun {
                let source = &partition.assigned.source;
                list.add_partition_offset(&source.topic, source.partition, Offset::Offset(partition.start))
                    .map_err(|e| self.inner.subject().fault(&e))?;
            }
            Ok((begun, list, total))
        });
        let (begun, list, total) = match begun {
            Ok(begun) => begun,
            Err(fault) => {
                let _ = consumer.unassign();
                self.state().failure = Some(fault);
                return;
            }
        };
        let generation = self.tenure.begin();
        {
            let mut state = self.state();
            state.generation = generation;
            state.share = Some(Share::of(self.settings.memory, begun.len()));
            state.partitions = begun.iter().map(Partition::new).collect();
        }
        (self.send)(Event::Assigned { generation, partitions: begun, total });
        if let Err(e) = consumer.assign(&list) {
            self.state().failure = Some(self.inner.subject().fault(&e));
            return;
        }
        // Whatever was paused in an earlier assignment.
        let _ = consumer.resume(&list);
    }

    /// Decides where each partition begins.
    fn begin(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> Result<Vec<Begun>, KafkaFault> {
        if partitions.count() == 0 {
            return Ok(Vec::new());
        }
        let fault = |e: &KafkaError| self.inner.subject().fault(e);
        let committed = consumer.committed_offsets(partitions.clone(), LOOK_UP).map_err(|e| fault(&e))?;
        let wanted = self.first_by_time(consumer, partitions)?;
        let mut begun = Vec::with_capacity(partitions.count());
        for element in committed.elements() {
            element.error().map_err(|e| fault(&e))?;
            let (topic, partition) = (element.topic(), element.partition());
            let (low, high) = consumer.fetch_watermarks(topic, partition, LOOK_UP).map_err(|e| fault(&e))?;
            let next = match element.offset() {
                Offset::Offset(next) => Some((next, element.metadata().to_owned())),
                _ => None,
            };
            let first = match (&self.settings.start_from, &wanted) {
                (StartFrom::Latest, _) => First::Latest,
                (StartFrom::Timestamp(_), Some(found)) => {
                    First::At(match found.find_partition(topic, partition).map(|e| e.offset()) {
                        Some(Offset::Offset(offset)) => Some(offset),
                        _ => None,
                    })
                }
                _ => First::Earliest,
            };
            let committed_next = next.as_ref().map(|(next, _)| *next);
            let decision = decide_start(committed_next, low, high, first, self.settings.on_offset_lost);
            let Start::From { offset, lost } = decision else {
                return Err(self.lost(decision, topic, partition, committed_next.unwrap_or_default(), low, high));
            };
            let source = TopicPartition { topic: topic.into(), partition };
            begun.push(Begun { assigned: Assigned { source, committed: next }, start: offset, high, lost });
        }
        Ok(begun)
    }

    fn lost(&self, start: Start, topic: &str, partition: i32, next: i64, low: i64, high: i64) -> KafkaFault {
        let why = match start {
            Start::Lost { made_anew: true } => "the topic was made anew",
            _ => "retention deleted records before they were read",
        };
        KafkaFault::lasting(
            Reason::OffsetLost,
            format!(
                "topic {topic}, partition {partition}: group {} is to go on at offset {next}, but the topic holds \
                 {low} to {high}: {why}; set spec.onOffsetLost to `earliest` or `latest` to go on with what is there",
                self.settings.group
            ),
        )
    }

    /// The offsets that `startFrom: <time>` leads to.
    fn first_by_time(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> Result<Option<TopicPartitionList>, KafkaFault> {
        let StartFrom::Timestamp(text) = &self.settings.start_from else { return Ok(None) };
        let time: jiff::Timestamp = text.parse().map_err(|e| {
            KafkaFault::lasting(Reason::InvalidConfiguration, format!("spec.startFrom: `{text}` is not a time: {e}"))
        })?;
        let fault = |e: KafkaError| self.inner.subject().fault(&e);
        let mut wanted = partitions.clone();
        wanted.set_all_offsets(Offset::Offset(time.as_millisecond().max(0))).map_err(fault)?;
        consumer.offsets_for_times(wanted, LOOK_UP).map(Some).map_err(fault)
    }

    fn count_partitions(&self, consumer: &BaseConsumer<Self>) -> Result<usize, KafkaFault> {
        let mut total = 0;
        for topic in &self.settings.topics {
            let metadata = consumer.fetch_metadata(Some(topic), LOOK_UP);
            let metadata = metadata.map_err(|e| self.inner.subject().fault(&e))?;
            total += metadata.topics().iter().map(|t| t.partitions().len()).sum::<usize>();
        }
        Ok(total)
    }

    /// Lets the writer flush, commit and finish; then the generation ends.
    pub fn hand_over(&self, consumer: &BaseConsumer<Self>) {
        if self.state().share.is_none() {
            return;
        }
        let (ask, asked) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        (self.send)(Event::Revoked(Handover { ask, answer: answered }));
        // Heartbeats go on from librdkafka's own thread meanwhile; but a process that is stopped in here, too, has to
        // notice that it slept.
        let mut clock = PollClock::new(self.tenure.clone(), SESSION_TIMEOUT - HEARTBEAT, boot_time_ms());
        let deadline = Instant::now() + HANDOVER_TIME;
        loop {
            match asked.recv_timeout(Duration::from_millis(50)) {
                Ok(commit) => {
                    let result = self.commit_now(consumer, &commit);
                    clock.restart(boot_time_ms());
                    let _ = answer.send(result);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    tracing::warn!(
                        group = self.settings.group,
                        "the writer did not finish in time; the next owner writes again what is not committed"
                    );
                    break;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if clock.tick(boot_time_ms()).is_err() {
                break;
            }
        }
        self.let_go();
    }

    fn commit_now(&self, consumer: &BaseConsumer<Self>, commit: &Commit) -> Result<(), KafkaFault> {
        let result = if self.tenure.is_current(commit.generation) {
            offsets_list(commit).and_then(|list| consumer.commit(&list, CommitMode::Sync))
        } else {
            Err(KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::IllegalGeneration))
        };
        result.map_err(|e| self.inner.subject().fault(&e))
    }

    fn let_go(&self) {
        self.tenure.end();
        let mut state = self.state();
        state.partitions.clear();
        state.share = None;
    }
}

impl State {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions.iter_mut().find(|p| p.source.partition == partition && *p.source.topic == *topic)
    }
}

impl Partition {
    fn new(begun: &Begun) -> Self {
        Partition {
            source: begun.assigned.source.clone(),
            next: begun.start,
            told_end: None,
            held: Held::default(),
            paused: false,
        }
    }

    fn is_at_end(&self, consumer: &BaseConsumer<GroupContext>) -> bool {
        cached_high(consumer, &self.source.topic, self.source.partition).is_some_and(|high| self.next >= high)
    }

    /// Tells each end once.
    fn tell_end(&mut self, generation: u64, send: &Listener) -> bool {
        if self.told_end == Some(self.next) {
            return true;
        }
        self.told_end = Some(self.next);
        send(Event::EndOfPartition { generation, source: self.source.clone() })
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        self.busy.store(true, Ordering::Release);
        if self.leaving.load(Ordering::Acquire) {
            self.tenure.end();
            let _ = consumer.unassign();
            return;
        }
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => {
                if consumer.assignment_lost() {
                    self.let_go();
                    (self.send)(Event::Lost);
                } else {
                    self.hand_over(consumer);
                }
                if let Err(e) = consumer.unassign() {
                    self.state().failure = Some(self.inner.subject().fault(&e));
                }
            }
        }
        self.busy.store(true, Ordering::Release);
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, kind: &str, message: &str) {
        self.inner.log(level, kind, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.inner.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.state().reason = reason.to_owned();
        self.inner.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.inner.generate_oauth_token(config)
    }
}
