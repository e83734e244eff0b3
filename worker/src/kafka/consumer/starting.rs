//! Asks the brokers what [`start`](super::start) needs to decide where reading begins.

use std::time::Duration;

use edgereel_crds::{frame_sink::StartFrom, status::Reason};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use super::{
    messages::{Assigned, Begun, TopicPartition},
    rebalance::GroupContext,
    start::{First, Start, decide_start},
};
use crate::kafka::client::KafkaFault;

/// How long the brokers may take to say where a partition begins and ends.
const LOOK_UP: Duration = Duration::from_secs(15);

impl GroupContext {
    /// Decides where each partition begins.
    pub(super) fn begin(
        &self,
        consumer: &BaseConsumer<GroupContext>,
        partitions: &TopicPartitionList,
    ) -> Result<Vec<Begun>, KafkaFault> {
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

    /// How many partitions the topics have.
    pub(super) fn count_partitions(&self, consumer: &BaseConsumer<GroupContext>) -> Result<usize, KafkaFault> {
        let mut total = 0;
        for topic in &self.settings.topics {
            let metadata = consumer.fetch_metadata(Some(topic), LOOK_UP);
            let metadata = metadata.map_err(|e| self.inner.subject().fault(&e))?;
            total += metadata.topics().iter().map(|t| t.partitions().len()).sum::<usize>();
        }
        Ok(total)
    }
}
