//! Questions to the brokers, each one request for all partitions, answered through the [event queue](super::native).
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{collections::BTreeSet, ffi::c_int, ptr, sync::Arc, time::Duration};

use rdkafka::{
    ClientContext,
    bindings::{self as rd, rd_kafka_admin_op_t as Op},
    client::Client,
    error::RDKafkaErrorCode as Code,
};

use super::{
    mark::TopicId,
    messages::TopicPartition,
    native::{Element, EventQueue, NativeAnswer, element, elements, opaque},
};
use crate::admin::{self, GROUP_REQUEST, Owned, c_string, text};

/// A failed question: the code, and the broker's or the library's words.
pub type Refused = (Code, String);

/// An offset to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first that is there.
    First,
    /// The one after the last record, committed or not.
    End,
    /// The one after the last record that a reader of committed records gets to see.
    CommittedEnd,
    /// The first at or after a time in Unix milliseconds.
    At(i64),
}

/// A topic as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id, where the brokers give one.
    pub id: Option<TopicId>,
    /// Its partitions, and whether each has a leader.
    pub partitions: Vec<(i32, bool)>,
    /// Why nothing is known of it.
    pub error: Option<Refused>,
}

impl Topic {
    /// Whether there is no such topic.
    pub fn is_missing(&self) -> bool {
        let unknown = |code: &Code| matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic);
        self.error.as_ref().is_some_and(|(code, _)| unknown(code))
    }
}

/// The names of those that are not there.
pub fn missing(topics: &[Topic]) -> Vec<String> {
    topics.iter().filter(|topic| topic.is_missing()).map(|topic| topic.name.clone()).collect()
}

/// All partitions of these topics.
pub fn partitions(topics: &[Topic]) -> impl Iterator<Item = TopicPartition> + '_ {
    topics.iter().flat_map(|topic| {
        let name: Arc<str> = topic.name.as_str().into();
        topic.partitions.iter().map(move |(partition, _)| TopicPartition { topic: name.clone(), partition: *partition })
    })
}

/// What the members of a group have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Whether no rebalance is under way.
    pub stable: bool,
    /// All that is assigned to any member.
    pub assigned: BTreeSet<TopicPartition>,
}

impl EventQueue<'_> {
    /// Asks all that a group has committed: [`committed`] reads the answer. A client that gets none must be dropped
    /// ([`GROUP_REQUEST`]).
    pub fn ask_committed(&self, group: &str, number: u64) {
        let Ok(group) = c_string(group) else { return };
        // SAFETY: the name lives through the call, which copies it; no list means all partitions; the request is freed
        // once.
        unsafe {
            let request = rd::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), ptr::null());
            let Some(request) = Owned::new(request, rd::rd_kafka_ListConsumerGroupOffsets_destroy) else { return };
            let operation = Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
            let Some(options) = self.options(operation, number, GROUP_REQUEST) else { return };
            let mut requests = [request.ptr];
            let (client, queue) = (self.client(), self.native());
            rd::rd_kafka_ListConsumerGroupOffsets(client, requests.as_mut_ptr(), 1, options.ptr, queue);
        }
    }

    /// Asks for an offset of each partition: [`offsets`] reads the answer.
    pub fn ask_offsets(&self, partitions: &[TopicPartition], wanted: Wanted, number: u64, patience: Duration) {
        let spec = match wanted {
            Wanted::First => rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
            Wanted::End | Wanted::CommittedEnd => rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
            Wanted::At(millis) => millis,
        };
        let isolation = match wanted {
            Wanted::CommittedEnd => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            _ => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        let Some(list) = list(partitions, spec) else { return };
        // SAFETY: list and options live through the call, which copies them; an error is freed once.
        unsafe {
            let Some(options) = self.options(Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, number, patience) else { return };
            let error = rd::rd_kafka_AdminOptions_set_isolation_level(options.ptr, isolation);
            drop(Owned::new(error, rd::rd_kafka_error_destroy as Free));
            rd::rd_kafka_ListOffsets(self.client(), list.ptr, options.ptr, self.native());
        }
    }

    /// Asks for the topics' ids and partitions: [`topics`] reads the answer.
    pub fn ask_topics(&self, names: &[String], number: u64, patience: Duration) {
        let Some(collection) = collection(names) else { return };
        // SAFETY: the collection lives through the call, which copies it.
        unsafe {
            let Some(options) = self.options(Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, number, patience) else { return };
            rd::rd_kafka_DescribeTopics(self.client(), collection.ptr, options.ptr, self.native());
        }
    }

    /// Asks what the members of a group have: [`members`] reads the answer. A client that gets none must be dropped
    /// ([`GROUP_REQUEST`]).
    pub fn ask_members(&self, group: &str, number: u64) {
        let Ok(group) = c_string(group) else { return };
        // SAFETY: the name lives through the call, which copies it.
        unsafe {
            let operation = Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
            let Some(options) = self.options(operation, number, GROUP_REQUEST) else { return };
            let mut groups = [group.as_ptr()];
            rd::rd_kafka_DescribeConsumerGroups(self.client(), groups.as_mut_ptr(), 1, options.ptr, self.native());
        }
    }

    fn options(&self, operation: Op, number: u64, patience: Duration) -> Option<Owned<rd::rd_kafka_AdminOptions_t>> {
        // SAFETY: the client lives; options are freed once.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(self.client(), operation);
            let options = Owned::new(options, rd::rd_kafka_AdminOptions_destroy)?;
            admin::set_time(options.ptr, patience).ok()?;
            rd::rd_kafka_AdminOptions_set_opaque(options.ptr, opaque(number));
            Some(options)
        }
    }
}

/// Asks a client without an event queue for the topics' ids and partitions. Blocks until the brokers answer, `patience` at
/// most.
pub fn describe<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    patience: Duration,
) -> Result<Vec<Topic>, Refused> {
    let Some(collection) = collection(names) else { return Err((Code::InvalidArgument, String::new())) };
    let answer = admin::request(
        client,
        Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        patience,
        |_| Ok(()),
        |options, queue| {
            // SAFETY: collection, options and queue live through the call, which copies the first two.
            unsafe { rd::rd_kafka_DescribeTopics(client.native_ptr(), collection.ptr, options, queue) }
        },
    );
    topics(&NativeAnswer(answer.map_err(|refusal| (refusal.code, refusal.words))?))
}

/// Names of topics, for librdkafka.
fn collection(names: &[String]) -> Option<Owned<rd::rd_kafka_TopicCollection_t>> {
    let names: Vec<_> = names.iter().filter_map(|name| c_string(name).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the names live through the call, which copies them; the collection is freed once.
    unsafe {
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        Owned::new(collection, rd::rd_kafka_TopicCollection_destroy)
    }
}

type Free = unsafe extern "C" fn(*mut rd::rd_kafka_error_t);

/// librdkafka's list of partitions, each with this offset.
fn list(partitions: &[TopicPartition], offset: i64) -> Option<Owned<rd::rd_kafka_topic_partition_list_t>> {
    let size = c_int::try_from(partitions.len()).ok()?;
    // SAFETY: the list is freed once; names are copied; a new element is valid until the next.
    unsafe {
        let list = rd::rd_kafka_topic_partition_list_new(size);
        let list = Owned::new(list, rd::rd_kafka_topic_partition_list_destroy)?;
        for source in partitions {
            let topic = c_string(&source.topic).ok()?;
            let element = rd::rd_kafka_topic_partition_list_add(list.ptr, topic.as_ptr(), source.partition);
            (*element).offset = offset;
        }
        Some(list)
    }
}

/// Whether the answer as a whole is an error.
fn whole(answer: &NativeAnswer) -> Result<(), Refused> {
    // SAFETY: the event lives, and its string with it.
    unsafe {
        match Code::from(rd::rd_kafka_event_error(answer.0.ptr)) {
            Code::NoError => Ok(()),
            code => Err((code, text(rd::rd_kafka_event_error_string(answer.0.ptr)))),
        }
    }
}

/// # Safety
/// The error is null, or lives.
unsafe fn refusal(error: *const rd::rd_kafka_error_t) -> Option<Refused> {
    // SAFETY: as promised; librdkafka takes null for no error.
    unsafe {
        let code = if error.is_null() { Code::NoError } else { Code::from(rd::rd_kafka_error_code(error)) };
        (code != Code::NoError).then(|| (code, text(rd::rd_kafka_error_string(error))))
    }
}

fn unreadable(what: &str) -> Refused {
    (Code::Fail, format!("the answer has no {what}"))
}

/// What a group has committed; a negative offset is none.
pub fn committed(answer: &NativeAnswer) -> Result<Vec<Element>, Refused> {
    whole(answer)?;
    // SAFETY: results live as long as the event; arrays have `count` valid pointers.
    unsafe {
        let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0.ptr);
        let mut count = 0;
        let groups = if result.is_null() {
            ptr::null_mut()
        } else {
            rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count)
        };
        if groups.is_null() || count == 0 {
            return Err(unreadable("group"));
        }
        match refusal(rd::rd_kafka_group_result_error(*groups)) {
            Some(refused) => Err(refused),
            None => Ok(elements(rd::rd_kafka_group_result_partitions(*groups))),
        }
    }
}

/// An offset of each partition; each may have an error of its own. For a time after the last record it is negative.
pub fn offsets(answer: &NativeAnswer) -> Result<Vec<Element>, Refused> {
    whole(answer)?;
    // SAFETY: as above.
    unsafe {
        let result = rd::rd_kafka_event_ListOffsets_result(answer.0.ptr);
        if result.is_null() {
            return Err(unreadable("offsets"));
        }
        let mut count = 0;
        let infos = rd::rd_kafka_ListOffsets_result_infos(result, &mut count);
        Ok((0..count).map(|i| element(&*rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(i)))).collect())
    }
}

/// The topics.
pub fn topics(answer: &NativeAnswer) -> Result<Vec<Topic>, Refused> {
    whole(answer)?;
    // SAFETY: as above; ids and nodes live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(answer.0.ptr);
        if result.is_null() {
            return Err(unreadable("topics"));
        }
        let mut count = 0;
        let found = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let topic = |i| {
            let described = *found.add(i);
            let mut count = 0;
            let partitions = rd::rd_kafka_TopicDescription_partitions(described, &mut count);
            let partition = |i| {
                let partition = *partitions.add(i);
                let led = !rd::rd_kafka_TopicPartitionInfo_leader(partition).is_null();
                (rd::rd_kafka_TopicPartitionInfo_partition(partition), led)
            };
            let count = if partitions.is_null() { 0 } else { count };
            Topic {
                name: text(rd::rd_kafka_TopicDescription_name(described)),
                id: topic_id(rd::rd_kafka_TopicDescription_topic_id(described)),
                partitions: (0..count).map(partition).collect(),
                error: refusal(rd::rd_kafka_TopicDescription_error(described)),
            }
        };
        Ok((0..count).map(topic).collect())
    }
}

/// Brokers before 2.8 give none, and librdkafka all zeroes for it.
///
/// # Safety
/// The id is null, or lives.
unsafe fn topic_id(id: *const rd::rd_kafka_Uuid_t) -> Option<TopicId> {
    // SAFETY: as promised; the text lives as long as the id.
    unsafe {
        let none = id.is_null()
            || rd::rd_kafka_Uuid_most_significant_bits(id) == 0 && rd::rd_kafka_Uuid_least_significant_bits(id) == 0;
        (!none).then(|| TopicId::new(text(rd::rd_kafka_Uuid_base64str(id))))
    }
}

/// What the members have.
pub fn members(answer: &NativeAnswer) -> Result<Members, Refused> {
    whole(answer)?;
    // SAFETY: as above.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(answer.0.ptr);
        let mut count = 0;
        let groups = if result.is_null() {
            ptr::null_mut()
        } else {
            rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count)
        };
        if groups.is_null() || count == 0 {
            return Err(unreadable("group"));
        }
        let group = *groups;
        if let Some(refused) = refusal(rd::rd_kafka_ConsumerGroupDescription_error(group)) {
            return Err(refused);
        }
        let stable = rd::rd_kafka_ConsumerGroupDescription_state(group)
            == rd::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
        let mut assigned = BTreeSet::new();
        for i in 0..rd::rd_kafka_ConsumerGroupDescription_member_count(group) {
            let member = rd::rd_kafka_ConsumerGroupDescription_member(group, i);
            let assignment = rd::rd_kafka_MemberDescription_assignment(member);
            if !assignment.is_null() {
                let list = rd::rd_kafka_MemberAssignment_partitions(assignment);
                assigned.extend(elements(list).into_iter().map(|element| element.source));
            }
        }
        Ok(Members { stable, assigned })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use edgereel_crds::{KafkaConnectionSpec, name::ObjectName, plan::Connection};
    use edgereel_runtime::secrets::Secrets;
    use rdkafka::{
        ClientConfig,
        consumer::BaseConsumer,
        mocking::{MockCluster, MockCoordinator},
    };

    use super::{
        super::{
            context::GroupContext,
            native::{Happened, Waker},
        },
        *,
    };
    use crate::client::Context;

    const MOMENT: Duration = Duration::from_millis(200);

    fn client(brokers: &MockCluster<'_, impl ClientContext>) -> BaseConsumer<GroupContext> {
        let servers = brokers.bootstrap_servers();
        let spec: KafkaConnectionSpec = serde_json::from_str(r#"{"bootstrapServers": ["mock:9092"]}"#).expect("sound");
        let connection = Connection { name: ObjectName { namespace: "default".into(), name: "lab".into() }, spec };
        let context = Context::new(&connection, &Secrets::default()).expect("no login");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("group.id", "g");
        config.create_with_context(GroupContext(context)).expect("a client")
    }

    /// What is answered within this time, by its number.
    fn answer(queue: &EventQueue<'_>, within: Duration) -> Option<(u64, NativeAnswer)> {
        let until = Instant::now() + within;
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            if let Some(Happened::Answered(number, answer)) = queue.poll(left) {
                return Some((number, answer));
            }
        }
    }

    #[test]
    fn a_client_may_go_while_its_groups_coordinator_is_away_and_has_not_answered() {
        let brokers = MockCluster::new(2).expect("brokers");
        brokers.coordinator(MockCoordinator::Group("g".into()), 2).expect("set");
        brokers.broker_down(2).expect("down");
        for _ in 0..10 {
            let consumer = client(&brokers);
            let queue = EventQueue::new(&consumer, &Waker::default());
            queue.ask_committed("g", 1);
            queue.ask_members("g", 2);
            assert!(answer(&queue, MOMENT).is_none(), "nobody can have answered");
        }
    }
}
