//! librdkafka's event queue of a consumer, as it is.
//!
//! rdkafka's own `poll` reads the same queue and throws away what identity needs: of which partition an end or an error is,
//! the broker's words, header names as bytes, and to which commit an answer belongs. It also makes a callback of a
//! rebalance, inside which nothing can be polled. Here everything is an event: records, ends, errors, rebalances, and the
//! answers to commits and [`questions`](super::questions).
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{
    ffi::{CStr, c_int, c_void},
    ptr, slice,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    bindings::{self as rd, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR},
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{context::GroupContext, mark::TopicId, messages::TopicPartition};
use crate::{
    admin::{Owned, c_string, text},
    headers::{self, Header},
};

/// A partition in one of librdkafka's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The partition.
    pub source: TopicPartition,
    /// What the list says of it; negative for none.
    pub offset: i64,
    /// What was committed with the offset.
    pub metadata: String,
    /// What went wrong with it.
    pub error: Option<Code>,
}

/// What came.
pub enum Happened {
    /// A record.
    Record(NativeRecord),
    /// A partition was read to its end, which is this offset.
    End(TopicPartition, i64),
    /// A partition could not be read.
    PartitionFailed(TopicPartition, Code, String),
    /// The group gives partitions.
    Given(Vec<Element>),
    /// The group asks for partitions back.
    Taken(Vec<Element>),
    /// The client or the subscription has an error; the last may be that it can do nothing more.
    Failed(Code, String, bool),
    /// librdkafka was told that a topic has another id now, and fetches from that one from now on. It comes before the
    /// first record of it.
    TopicChanged(String, TopicId),
    /// The commit of this number was answered.
    Committed(u64, Result<(), Code>),
    /// A question of this number was answered.
    Answered(u64, NativeAnswer),
}

/// Interrupts a poll from another thread.
#[derive(Clone, Default)]
pub struct Waker(Arc<Mutex<Option<QueueRef>>>);

struct QueueRef(*mut rd::rd_kafka_queue_t);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for QueueRef {}

impl Waker {
    /// The poll under way returns, or the next does at once.
    pub fn wake(&self) {
        if let Some(queue) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // SAFETY: an `EventQueue` takes its queue out before it gives it back.
            unsafe { rd::rd_kafka_queue_yield(queue.0) };
        }
    }

    fn set(&self, queue: Option<QueueRef>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }
}

/// The queue of a consumer.
pub struct EventQueue<'a> {
    consumer: &'a BaseConsumer<GroupContext>,
    queue: *mut rd::rd_kafka_queue_t,
    waker: Waker,
}

impl<'a> EventQueue<'a> {
    /// The queue, which `waker` interrupts from now on.
    pub fn new(consumer: &'a BaseConsumer<GroupContext>, waker: &Waker) -> Self {
        // SAFETY: the client outlives `self`, which gives the reference back.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        // SAFETY: client and queue live through the call. It does nothing where logs have no queue.
        unsafe { rd::rd_kafka_set_log_queue(consumer.client().native_ptr(), queue) };
        waker.set(Some(QueueRef(queue)));
        EventQueue { consumer, queue, waker: waker.clone() }
    }

    /// The client, for questions.
    pub fn client(&self) -> *mut rd::rd_kafka_t {
        self.consumer.client().native_ptr()
    }

    /// The queue, for answers.
    pub fn native(&self) -> *mut rd::rd_kafka_queue_t {
        self.queue
    }

    /// Waits for what comes next. None when nothing came, when it was for the client's context alone, or when a waker
    /// called.
    pub fn poll(&self, timeout: Duration) -> Option<Happened> {
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives; the event is ours and destroyed once.
        let event =
            unsafe { Owned::new(rd::rd_kafka_queue_poll(self.queue, millis), rd::rd_kafka_event_destroy as Destroy) }?;
        // SAFETY: the event lives for as long as what is read of it here; librdkafka gives valid pointers or null.
        unsafe { self.read(event) }
    }

    /// # Safety
    /// The event came from this queue.
    unsafe fn read(&self, event: Owned<rd::rd_kafka_event_t>) -> Option<Happened> {
        let context = self.consumer.context();
        // SAFETY: each accessor is called on an event of its own kind, or gives null and zero for others.
        unsafe {
            match rd::rd_kafka_event_type(event.ptr) {
                rd::RD_KAFKA_EVENT_FETCH => NativeRecord::of(event).map(Happened::Record),
                rd::RD_KAFKA_EVENT_REBALANCE => {
                    let given = rd::rd_kafka_event_error(event.ptr)
                        == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
                    let list = rd::rd_kafka_event_topic_partition_list(event.ptr);
                    Some(if given { Happened::Given(elements(list)) } else { Happened::Taken(elements(list)) })
                }
                rd::RD_KAFKA_EVENT_OFFSET_COMMIT => {
                    let list = rd::rd_kafka_event_topic_partition_list(event.ptr);
                    let whole = Some(Code::from(rd::rd_kafka_event_error(event.ptr)));
                    // The request may have been taken while a partition of it was not.
                    let failed = whole
                        .filter(|code| *code != Code::NoError)
                        .or_else(|| elements(list).into_iter().find_map(|element| element.error));
                    Some(Happened::Committed(number(event.ptr), failed.map_or(Ok(()), Err)))
                }
                rd::RD_KAFKA_EVENT_ERROR => self.error(event.ptr),
                rd::RD_KAFKA_EVENT_LOG => {
                    let (mut kind, mut words, mut level) = (ptr::null(), ptr::null(), 0);
                    if rd::rd_kafka_event_log(event.ptr, &mut kind, &mut words, &mut level) == 0 {
                        let (kind, words) = (text(kind), text(words));
                        if let Some((topic, id)) = changed_id(&words) {
                            return Some(Happened::TopicChanged(topic.to_owned(), TopicId::new(id)));
                        }
                        context.log(log_level(level), kind.trim(), words.trim());
                    }
                    None
                }
                rd::RD_KAFKA_EVENT_STATS => {
                    let json = rd::rd_kafka_event_stats(event.ptr);
                    if !json.is_null() {
                        context.stats_raw(CStr::from_ptr(json).to_bytes());
                    }
                    None
                }
                rd::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => {
                    self.refresh_token();
                    None
                }
                _ => {
                    let number = number(event.ptr);
                    Some(Happened::Answered(number, NativeAnswer(event)))
                }
            }
        }
    }

    /// # Safety
    /// The event lives and is an error.
    unsafe fn error(&self, event: *mut rd::rd_kafka_event_t) -> Option<Happened> {
        // SAFETY: as promised; the partition is ours and destroyed once.
        unsafe {
            let code = Code::from(rd::rd_kafka_event_error(event));
            let words = text(rd::rd_kafka_event_error_string(event)).trim().to_owned();
            let found = rd::rd_kafka_event_topic_partition(event);
            if found.is_null() {
                let fatal = rd::rd_kafka_event_error_is_fatal(event) != 0;
                // Told to the context, too: the health follows the brokers' connections.
                self.consumer.context().error(KafkaError::Global(code), &words);
                return Some(Happened::Failed(code, words, fatal));
            }
            let Element { source, offset, .. } = element(&*found);
            rd::rd_kafka_topic_partition_destroy(found);
            Some(match code {
                Code::PartitionEOF => Happened::End(source, offset),
                code => Happened::PartitionFailed(source, code, words),
            })
        }
    }

    /// Gives librdkafka the token that the context has, or its reason to have none.
    fn refresh_token(&self) {
        let mut why = [0 as std::ffi::c_char; 512];
        let refused = match self.consumer.context().generate_oauth_token(None) {
            Ok(token) => match (c_string(&token.token), c_string(&token.principal_name)) {
                (Ok(value), Ok(principal)) => {
                    // SAFETY: client, strings and buffer live through the call, which copies the strings.
                    let code = unsafe {
                        rd::rd_kafka_oauthbearer_set_token(
                            self.client(),
                            value.as_ptr(),
                            token.lifetime_ms,
                            principal.as_ptr(),
                            ptr::null_mut(),
                            0,
                            why.as_mut_ptr(),
                            why.len(),
                        )
                    };
                    // SAFETY: librdkafka ends what it writes there with a zero.
                    (code != NO_ERROR).then(|| unsafe { text(why.as_ptr()) })
                }
                _ => Some("the token has a zero byte".to_owned()),
            },
            Err(error) => Some(error.to_string().replace('\0', " ")),
        };
        if let Some(words) = refused.and_then(|words| c_string(&words).ok()) {
            // SAFETY: client and string live through the call.
            unsafe { rd::rd_kafka_oauthbearer_set_token_failure(self.client(), words.as_ptr()) };
        }
    }

    /// Commits; answered by [`Happened::Committed`] with the same number. On an error it was not sent.
    pub fn commit(&self, offsets: &TopicPartitionList, number: u64) -> Result<(), Code> {
        // SAFETY: client and queue live, the list is copied by the call; the opaque is a number, never a pointer.
        let code = unsafe { rd::rd_kafka_commit_queue(self.client(), offsets.ptr(), self.queue, None, opaque(number)) };
        if code == NO_ERROR { Ok(()) } else { Err(code.into()) }
    }
}

impl Drop for EventQueue<'_> {
    fn drop(&mut self) {
        self.waker.set(None);
        // SAFETY: taken in `new`, given back once, before the client goes.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

type Destroy = unsafe extern "C" fn(*mut rd::rd_kafka_event_t);

/// A number as what librdkafka carries for us.
pub fn opaque(number: u64) -> *mut c_void {
    ptr::without_provenance_mut(number as usize)
}

/// The number that an answer brings back.
fn number(event: *mut rd::rd_kafka_event_t) -> u64 {
    // SAFETY: the event lives; the opaque is the number that was given.
    unsafe { rd::rd_kafka_event_opaque(event) }.addr() as u64
}

/// The topic and its new id, if this line says that it changed. librdkafka says so nowhere else, and goes on at the offset
/// that it had in the former topic ("FIXME: an offset reset must be triggered", `rd_kafka_topic_metadata_update`).
fn changed_id(line: &str) -> Option<(&str, &str)> {
    let (before, ids) = line.trim().split_once(" changed id from ")?;
    let (_, topic) = before.rsplit_once("Topic ")?;
    let (_, id) = ids.split_once(" to ")?;
    Some((topic, id))
}

fn log_level(level: c_int) -> RDKafkaLogLevel {
    use RDKafkaLogLevel::*;
    match level {
        0 => Emerg,
        1 => Alert,
        2 => Critical,
        3 => Error,
        4 => Warning,
        5 => Notice,
        6 => Info,
        _ => Debug,
    }
}

/// What a list holds.
///
/// # Safety
/// The list is null, or valid.
pub unsafe fn elements(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<Element> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a valid list has `cnt` elements.
    unsafe { (0..usize::try_from((*list).cnt).unwrap_or(0)).map(|i| element(&*(*list).elems.add(i))).collect() }
}

/// What a list holds, its metadata as text whatever they are.
pub fn elements_of(list: &TopicPartitionList) -> Vec<Element> {
    // SAFETY: rdkafka's list is valid as long as it lives.
    unsafe { elements(list.ptr()) }
}

/// # Safety
/// The topic is a C string, and the metadata has its length.
pub unsafe fn element(found: &rd::rd_kafka_topic_partition_t) -> Element {
    // SAFETY: as promised.
    unsafe {
        let metadata = bytes_of(found.metadata, found.metadata_size).unwrap_or_default();
        Element {
            source: TopicPartition { topic: text(found.topic).into(), partition: found.partition },
            offset: found.offset,
            metadata: String::from_utf8_lossy(metadata).into_owned(),
            error: Some(Code::from(found.err)).filter(|code| *code != Code::NoError),
        }
    }
}

/// # Safety
/// The pointer is null, or has so many bytes that live as long as the result is used.
unsafe fn bytes_of<'b>(pointer: *const c_void, length: usize) -> Option<&'b [u8]> {
    // SAFETY: as promised.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer.cast(), length) })
}

/// The end of a partition as the last fetch saw it; none before the first.
pub fn cached_high(consumer: &BaseConsumer<GroupContext>, source: &TopicPartition) -> Option<i64> {
    let topic = c_string(&source.topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives as long as `consumer`, the name outlives the call, and the two integers are written to
    // before the call returns or not at all.
    let code = unsafe {
        rd::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            source.partition,
            &mut low,
            &mut high,
        )
    };
    (code == NO_ERROR && high >= 0).then_some(high)
}

/// An answer to a question, in librdkafka's memory.
pub struct NativeAnswer(pub Owned<rd::rd_kafka_event_t>);

/// A record in librdkafka's memory.
pub struct NativeRecord {
    /// Holds the memory.
    _event: Owned<rd::rd_kafka_event_t>,
    message: *const rd::rd_kafka_message_t,
}

impl NativeRecord {
    /// # Safety
    /// The event is a fetch.
    unsafe fn of(event: Owned<rd::rd_kafka_event_t>) -> Option<Self> {
        // SAFETY: a fetch's message lives as long as its event.
        let message = unsafe { rd::rd_kafka_event_message_next(event.ptr) };
        (!message.is_null()).then_some(NativeRecord { _event: event, message })
    }

    fn message(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: not null, and it lives as long as the event.
        unsafe { &*self.message }
    }

    /// The topic. Kafka allows ASCII only.
    pub fn topic(&self) -> &str {
        // SAFETY: the name lives as long as the message's topic, which the message holds.
        unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(self.message().rkt)) }.to_str().unwrap_or_default()
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// The offset.
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// The key.
    pub fn key(&self) -> Option<&[u8]> {
        // SAFETY: the bytes live as long as the message.
        unsafe { bytes_of(self.message().key, self.message().key_len) }
    }

    /// The value; none for a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above.
        unsafe { bytes_of(self.message().payload, self.message().len) }
    }

    /// Milliseconds since 1970; none where the record has no time.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: message and integer live through the call.
        let millis = unsafe { rd::rd_kafka_message_timestamp(self.message, &mut kind) };
        (kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis != -1).then_some(millis)
    }

    /// The headers, in order.
    pub fn headers(&self) -> Vec<Header> {
        // SAFETY: the message lives through the call, and only its owner's thread reads it.
        unsafe { headers::read_native(self.message.cast_mut()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_new_id_is_read_from_the_line_that_tells_it() {
        let line = "[thrd:main]: Topic lab.frames-1 changed id from JbVGNn2fTIyWcqWvLGWOkg to 0qqf63xjS5uLUw4-JlgXaA";
        assert_eq!(changed_id(line), Some(("lab.frames-1", "0qqf63xjS5uLUw4-JlgXaA")));
        assert_eq!(changed_id("[thrd:main]: Topic frames has permanent error: Broker: Unknown topic"), None);
    }
}
