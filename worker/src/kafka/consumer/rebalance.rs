//! The callbacks of a group's consumer: what happens when partitions come and go.

use std::{
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};

use super::{
    HANDOVER_TIME, Listener, Settings,
    budget::Share,
    configure::{HEARTBEAT, SESSION_TIMEOUT},
    messages::{Commit, Event, Handover},
    partitions::{Partition, State},
    polled::offsets_list,
    tenure::{PollClock, Tenure, boot_time_ms},
};
use crate::kafka::client::{Context, KafkaFault};

/// The consumer's context.
pub struct GroupContext {
    pub(super) inner: Context,
    pub(super) settings: Settings,
    tenure: Tenure,
    pub(super) send: Listener,
    state: Mutex<State>,
    /// The consumer is being dropped: callbacks only let go.
    leaving: AtomicBool,
    /// A callback ran: the time that it took is not the poller's.
    busy: AtomicBool,
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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
