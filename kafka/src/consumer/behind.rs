//! How far a group is behind its topics, asked of the brokers without joining it: what `kafka-consumer-groups.sh` tells.

use std::time::{Duration, Instant};

use edgereel_crds::frame_sink::StartFrom;
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    topic_partition_list::TopicPartitionListElem,
};

use super::{
    context::GroupContext,
    messages::TopicPartition,
    native::{Element, EventQueue, Happened, NativeAnswer, Waker},
    questions::{self, Wanted},
};
use crate::client::{Context, KafkaFault};

/// How long all answers together are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at a group from outside.
pub struct Onlooker {
    consumer: BaseConsumer<GroupContext>,
    topics: Vec<String>,
    start_from: StartFrom,
}

impl Onlooker {
    /// A client that never joins.
    pub fn open(
        mut config: ClientConfig,
        context: Context,
        group: &str,
        topics: &[String],
        start_from: &StartFrom,
    ) -> Result<Self, KafkaFault> {
        config.set("group.id", group).set("enable.auto.commit", "false");
        let context = context.unheard();
        let subject = context.subject().clone();
        let consumer = config.create_with_context(GroupContext(context)).map_err(|e: KafkaError| subject.fault(&e))?;
        Ok(Onlooker { consumer, topics: topics.into(), start_from: start_from.clone() })
    }

    /// The records that wait, if the brokers tell all that it takes. Blocks, for some seconds at most.
    pub fn lag(&self) -> Option<i64> {
        let queue = EventQueue::new(&self.consumer, &Waker::default());
        let until = Instant::now() + PATIENCE;
        queue.ask_topics(&self.topics, 1, PATIENCE);
        let topics = questions::topics(&answer(&queue, 1, until)?).ok()?;
        if topics.iter().any(|topic| topic.error.is_some()) {
            return None;
        }
        let partitions: Vec<TopicPartition> = questions::partitions(&topics).collect();
        if partitions.is_empty() {
            return Some(0);
        }
        let committed = self.committed(&partitions)?;
        queue.ask_offsets(&partitions, Wanted::First, 4, PATIENCE);
        let low = questions::offsets(&answer(&queue, 4, until)?).ok()?;
        // Asked last: no commit is ahead of its end.
        queue.ask_offsets(&partitions, Wanted::CommittedEnd, 5, PATIENCE);
        let ends = questions::offsets(&answer(&queue, 5, until)?).ok()?;
        behind(&partitions, &committed, &low, &ends, &self.start_from)
    }
}

impl Onlooker {
    /// What the group has committed. Not by the admin request for it, which must not run out of time
    /// ([`GROUP_REQUEST`](crate::admin::GROUP_REQUEST)): this client stays whether it is answered or not.
    fn committed(&self, partitions: &[TopicPartition]) -> Option<Vec<Element>> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for source in partitions {
            wanted.add_partition(&source.topic, source.partition);
        }
        let found = self.consumer.committed_offsets(wanted, PATIENCE).ok()?;
        let element = |of: TopicPartitionListElem<'_>| Element {
            source: TopicPartition { topic: of.topic().into(), partition: of.partition() },
            offset: of.offset().to_raw().unwrap_or(-1),
            metadata: String::new(),
            error: of.error().err().and_then(|error| error.rdkafka_error_code()),
        };
        // A partition that could not be asked is no partition without a commit.
        let all: Vec<Element> = found.elements().into_iter().map(element).collect();
        all.iter().all(|found| found.error.is_none()).then_some(all)
    }
}

/// The answer of this number; what else comes is nobody's.
fn answer(queue: &EventQueue<'_>, number: u64, until: Instant) -> Option<NativeAnswer> {
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        if let Some(Happened::Answered(answered, answer)) = queue.poll(left)
            && answered == number
        {
            return Some(answer);
        }
    }
}

/// Records between the commits and the ends; none if some partition's are not known.
fn behind(
    partitions: &[TopicPartition],
    committed: &[Element],
    low: &[Element],
    ends: &[Element],
    start_from: &StartFrom,
) -> Option<i64> {
    let of = |all: &[Element], source: &TopicPartition| {
        all.iter().find(|e| e.source == *source && e.error.is_none() && e.offset >= 0).map(|e| e.offset)
    };
    partitions.iter().try_fold(0, |sum, source| {
        let (low, end) = (of(low, source)?, of(ends, source)?);
        let next = match (of(committed, source), start_from) {
            (Some(next), _) => next.max(low),
            (None, StartFrom::Earliest) => low,
            // Where it begins is decided when it does.
            (None, _) => return None,
        };
        Some(sum + (end - next).max(0))
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    fn at(partition: i32, offset: i64) -> Element {
        let source = TopicPartition { topic: "frames".into(), partition };
        Element { source, offset, metadata: String::new(), error: None }
    }

    fn waits(committed: &[Element], ends: &[Element], start_from: &StartFrom) -> Option<i64> {
        let low = [at(0, 100), at(1, 0)];
        let partitions: Vec<_> = low.iter().map(|element| element.source.clone()).collect();
        behind(&partitions, committed, &low, ends, start_from)
    }

    #[test]
    fn what_waits_is_what_is_there_and_not_committed() {
        let (ends, earliest) = ([at(0, 1000), at(1, 50)], &StartFrom::Earliest);
        assert_eq!(waits(&[at(0, 990), at(1, 50)], &ends, earliest), Some(10));
        assert_eq!(waits(&[at(0, 40), at(1, 50)], &ends, earliest), Some(900), "what retention took waits no more");
        assert_eq!(waits(&[at(0, 2000), at(1, 49)], &ends, earliest), Some(1), "of a topic made anew");
        assert_eq!(waits(&[], &ends, earliest), Some(950), "a sink that never began");
        assert_eq!(waits(&[at(0, -1001), at(1, 50)], &ends, earliest), Some(900), "no offset is below zero");
    }

    #[test]
    fn what_no_broker_told_is_not_known() {
        let (both, earliest) = ([at(0, 1000), at(1, 50)], &StartFrom::Earliest);
        assert_eq!(waits(&both, &[at(0, 1000)], earliest), None, "an end is missing");
        let failed = Element { error: Some(Code::LeaderNotAvailable), ..at(1, 50) };
        assert_eq!(waits(&both, &[at(0, 1000), failed], earliest), None);
        assert_eq!(waits(&[at(0, 1000)], &both, &StartFrom::Latest), None, "it begins when it does");
        assert_eq!(waits(&both, &both, &StartFrom::Latest), Some(0));
    }
}
