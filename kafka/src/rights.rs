//! What this user may do with a topic or a group, as the brokers say when they describe it. Asking changes nothing.
#![allow(unsafe_code)]

use std::time::Duration;

use rdkafka::{
    bindings as rd,
    client::{Client, ClientContext},
    error::RDKafkaErrorCode as Code,
    types::RDKafkaAdminOp,
};

use super::admin::{GROUP_REQUEST, Owned, Refusal, c_string, request, set_time, succeeded, text};

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read records, or take part in the group.
    pub read: bool,
    /// Write records.
    pub write: bool,
}

/// The rights on a topic that is there; `None` where the brokers do not tell. Blocks, `timeout` at most.
pub fn on_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<Rights>, Refusal> {
    let name = c_string(topic)?;
    let mut names = [name.as_ptr()];
    // SAFETY: the name lives through the call, which copies it; the destructor belongs to the constructor.
    let topics = unsafe {
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        Owned::new(topics, rd::rd_kafka_TopicCollection_destroy)
    };
    let topics = topics.ok_or_else(|| Refusal::new(Code::InvalidArgument, "not a topic's name"))?;
    let describe = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let answer = request(client, describe, timeout, with_rights, |options, queue| {
        // SAFETY: the request copies the names; options and queue live through the call.
        unsafe { rd::rd_kafka_DescribeTopics(client.native_ptr(), topics.ptr, options, queue) }
    });
    let Some(answer) = told(answer)? else { return Ok(None) };
    // SAFETY: the result and its topics live as long as the event, which `answer` keeps; librdkafka gives arrays of `count`
    // valid pointers.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(answer.ptr);
        let mut count = 0;
        let topics = if result.is_null() {
            std::ptr::null_mut()
        } else {
            rd::rd_kafka_DescribeTopics_result_topics(result, &mut count)
        };
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        fine(rd::rd_kafka_TopicDescription_error(*topics))?;
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(*topics, &mut count);
        Ok(rights(operations, count))
    }
}

/// The rights on a consumer group, which need not be there, and how many members it has; `None` where the brokers do not
/// tell. Blocks, `timeout` at most; a client that was not answered must be dropped ([`GROUP_REQUEST`]).
pub fn on_group<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    timeout: Duration,
) -> Result<Option<(Rights, usize)>, Refusal> {
    let name = c_string(group)?;
    let mut names = [name.as_ptr()];
    let describe = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let prepare = |options| with_rights(options).and_then(|()| set_time(options, GROUP_REQUEST));
    let answer = request(client, describe, timeout, prepare, |options, queue| {
        // SAFETY: the request copies the name; options and queue live through the call.
        unsafe { rd::rd_kafka_DescribeConsumerGroups(client.native_ptr(), names.as_mut_ptr(), 1, options, queue) }
    });
    let Some(answer) = told(answer)? else { return Ok(None) };
    // SAFETY: as above, for groups.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(answer.ptr);
        let mut count = 0;
        let groups = if result.is_null() {
            std::ptr::null_mut()
        } else {
            rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count)
        };
        if groups.is_null() || count == 0 {
            return Ok(None);
        }
        match fine(rd::rd_kafka_ConsumerGroupDescription_error(*groups)) {
            // From Kafka 4.0 on, of a group that is not there nothing else is told.
            Err(refusal) if refusal.code == Code::GroupIdNotFound => return Ok(None),
            described => described?,
        }
        let operations = rd::rd_kafka_ConsumerGroupDescription_authorized_operations(*groups, &mut count);
        let members = rd::rd_kafka_ConsumerGroupDescription_member_count(*groups);
        Ok(rights(operations, count).map(|rights| (rights, members)))
    }
}

/// Asks for the rights too.
fn with_rights(options: *mut rd::rd_kafka_AdminOptions_t) -> Result<(), Refusal> {
    // SAFETY: the options live through the call; an error that it returns is ours, and freed once.
    unsafe {
        let error = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        match Owned::new(error, rd::rd_kafka_error_destroy) {
            Some(error) => fine(error.ptr),
            None => Ok(()),
        }
    }
}

/// An answer; none of brokers that do not know the question.
fn told<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(refusal) if matches!(refusal.code, Code::UnsupportedFeature | Code::UnsupportedVersion) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// # Safety
/// `error` is null or lives through the call.
unsafe fn fine(error: *const rd::rd_kafka_error_t) -> Result<(), Refusal> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { succeeded(rd::rd_kafka_error_code(error), || text(rd::rd_kafka_error_string(error))) }
}

/// # Safety
/// `operations` is null or points to `count` of them.
unsafe fn rights(operations: *const rd::rd_kafka_AclOperation_t, count: usize) -> Option<Rights> {
    use rd::rd_kafka_AclOperation_t as Operation;
    if operations.is_null() {
        return None;
    }
    // SAFETY: as above.
    let all = unsafe { std::slice::from_raw_parts(operations, count) };
    let may =
        |operation| all.iter().any(|known| *known == operation || *known == Operation::RD_KAFKA_ACL_OPERATION_ALL);
    let read = may(Operation::RD_KAFKA_ACL_OPERATION_READ);
    Some(Rights { read, write: may(Operation::RD_KAFKA_ACL_OPERATION_WRITE) })
}
