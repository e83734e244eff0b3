//! Two things that librdkafka has and rdkafka 0.39 does not hand out.
//!
//! - The end of a partition as the last fetch saw it; asking the broker instead costs a round trip for each partition.
//! - The answer to an asynchronous commit: rdkafka takes it from an event that librdkafka makes only for clients with a
//!   commit callback, which rdkafka does not set, so `ConsumerContext::commit_callback` is never called.
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{collections::VecDeque, ffi::CString, marker::PhantomData, ptr};

use rdkafka::{
    TopicPartitionList,
    bindings::{self, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    types::{RDKafkaErrorCode, RDKafkaQueue},
};

/// The offset after the partition's last record, without asking the broker; none before the first fetch.
pub fn cached_high<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`, the name is NUL-terminated and outlives the call, and the two
    // integers are written to before the call returns or not at all.
    let code = unsafe {
        bindings::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Commits that do not wait, and their answers. `T` is given with a commit and comes back with its answer.
pub struct Commits<'a, C: ConsumerContext, T> {
    consumer: &'a BaseConsumer<C>,
    queue: *mut RDKafkaQueue,
    /// What was given with the commits under way, oldest first: librdkafka answers in order.
    under_way: VecDeque<T>,
    _not_shared: PhantomData<*mut RDKafkaQueue>,
}

impl<'a, C: ConsumerContext, T> Commits<'a, C, T> {
    /// Commits of this consumer.
    pub fn new(consumer: &'a BaseConsumer<C>) -> Self {
        // SAFETY: the client outlives `self`, and so the queue, which is destroyed with `self`.
        let queue = unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Commits { consumer, queue, under_way: VecDeque::new(), _not_shared: PhantomData }
    }

    /// Sends a commit; on an error it was not sent and has no answer.
    pub fn send(&mut self, offsets: &TopicPartitionList, token: T) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: client and queue live, the list is copied by the call, and without a callback there is no opaque.
        let code = unsafe {
            bindings::rd_kafka_commit_queue(
                self.consumer.client().native_ptr(),
                offsets.ptr(),
                self.queue,
                None,
                ptr::null_mut(),
            )
        };
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(code.into());
        }
        self.under_way.push_back(token);
        Ok(())
    }

    /// The next answer, if one has come.
    pub fn answer(&mut self) -> Option<(T, Result<(), RDKafkaErrorCode>)> {
        // SAFETY: the queue lives; a zero timeout does not block. The event is ours and destroyed below.
        let event = unsafe { bindings::rd_kafka_queue_poll(self.queue, 0) };
        if event.is_null() {
            return None;
        }
        // SAFETY: the event is not null. The list belongs to the event (or is null) and is read before that is destroyed.
        let code = unsafe {
            let mut code = bindings::rd_kafka_event_error(event);
            let list = bindings::rd_kafka_event_topic_partition_list(event);
            // The request may have been taken while a partition of it was not.
            if code == RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null() {
                for i in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                    let element = &*(*list).elems.add(i);
                    if element.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                        code = element.err;
                    }
                }
            }
            bindings::rd_kafka_event_destroy(event);
            code
        };
        let result = if code == RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) };
        Some((self.under_way.pop_front()?, result))
    }
}

impl<C: ConsumerContext, T> Drop for Commits<'_, C, T> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, used nowhere else, destroyed once, before the client.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue) };
    }
}
