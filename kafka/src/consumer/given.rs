//! What the group has given to this member, in either protocol.

use edgereel_crds::frame_sink::GroupProtocol;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

use super::{context::GroupContext, messages::TopicPartition};

/// The partitions that the group has given and not taken back, and how librdkafka is told what is made of that.
pub struct Given {
    protocol: GroupProtocol,
    all: Vec<TopicPartition>,
}

impl Given {
    /// Nothing yet.
    pub fn new(protocol: GroupProtocol) -> Self {
        Given { protocol, all: Vec::new() }
    }

    /// What the group has given altogether.
    pub fn all(&self) -> Vec<TopicPartition> {
        self.all.clone()
    }

    /// Whether the group gives and takes some at a time.
    pub fn by_and_by(&self) -> bool {
        match self.protocol {
            GroupProtocol::Classic => false,
            GroupProtocol::Consumer => true,
        }
    }

    /// The group gives these; what it has given altogether is now this.
    pub fn give(&mut self, given: Vec<TopicPartition>) -> Vec<TopicPartition> {
        if !self.by_and_by() {
            self.all.clear();
        }
        self.all.retain(|known| !given.contains(known));
        self.all.extend(given);
        self.all.clone()
    }

    /// Has librdkafka read just these, from the offsets in the list: also those that it reads already.
    ///
    /// # Errors
    /// It does not know one of them.
    pub fn read(&self, consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> Result<(), KafkaError> {
        if !self.by_and_by() {
            return consumer.assign(list);
        }
        let before = consumer.assignment()?;
        if before.count() > 0 {
            consumer.incremental_unassign(&before)?;
        }
        // Also where there is nothing to read: the group waits for a word.
        consumer.incremental_assign(list)
    }

    /// Lets these go, and gives what is left.
    ///
    /// # Errors
    /// librdkafka has a fatal error.
    pub fn let_go(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        taken: &[TopicPartition],
    ) -> Result<Vec<TopicPartition>, KafkaError> {
        if !self.by_and_by() {
            self.all.clear();
            return consumer.unassign().map(|()| Vec::new());
        }
        self.all.retain(|known| !taken.contains(known));
        // Only what was given to read can be unassigned, but the group waits for a word in any case.
        let read = consumer.assignment()?;
        let mut list = TopicPartitionList::new();
        for source in taken.iter().filter(|source| read.find_partition(&source.topic, source.partition).is_some()) {
            list.add_partition(&source.topic, source.partition);
        }
        consumer.incremental_unassign(&list)?;
        Ok(self.all.clone())
    }

    /// All are gone, whatever this member says.
    ///
    /// # Errors
    /// librdkafka has a fatal error.
    pub fn lose(&mut self, consumer: &BaseConsumer<GroupContext>) -> Result<(), KafkaError> {
        let all = std::mem::take(&mut self.all);
        self.let_go(consumer, &all).map(drop)
    }
}
