//! The requests about topics that need librdkafka's C interface: create, delete, and describe the settings.
//!
//! rdkafka's `AdminClient` would do but for three things: nobody polls its event queue, so a wrong password looks like a
//! timeout and OAUTHBEARER cannot log in at all; it throws away the broker's words ("Replication factor: 3 larger than
//! available brokers: 1"); and it takes a refused description for an empty one. So these requests go through a client
//! that is polled, and keep the words.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int},
    ptr,
    time::Duration,
};

use rdkafka::{
    bindings as rd,
    client::{Client, ClientContext},
    error::RDKafkaErrorCode as Code,
    types::{RDKafkaAdminOp, RDKafkaRespErr},
};

/// What a broker (or librdkafka) said no to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// The broker's own words; may be empty.
    pub words: String,
}

impl Refusal {
    pub(super) fn new(code: Code, words: impl Into<String>) -> Self {
        Refusal { code, words: words.into() }
    }
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; the brokers' default without.
    pub replication_factor: Option<i32>,
    /// Settings.
    pub config: &'a BTreeMap<String, String>,
}

/// What librdkafka is told as the time of a request about a group: longer than any client with such a request lives.
///
/// In librdkafka 2.12 the request looks for the group's coordinator first. If its time is over before that is found, it is
/// freed twice when the coordinator is there again: `rd_kafka_coord_req_fsm` calls `rd_kafka_admin_coord_request`, which
/// finds nobody, and for that `rd_kafka_admin_coord_response_parse`, with the same `eonce`. An assertion
/// (`rd_kafka_enq_once_del_source_return: eonce->refcnt > 0`) then ends the process (confluentinc/librdkafka#4605, mended by
/// #5397, which no release has that there is a crate of). So its time is never over: patience is ours, and a client whose
/// request stays without an answer is dropped, which answers it first (`rd_kafka_coord_reqs_term`).
pub(super) const GROUP_REQUEST: Duration = Duration::from_secs(3600);

/// Whether a request changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// It does.
    Really,
    /// The brokers only say whether they would.
    Validate,
}

/// Makes a topic. Blocks until the controller answers, `timeout` at most.
pub fn create_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &NewTopic<'_>,
    make: Make,
    timeout: Duration,
) -> Result<(), Refusal> {
    let name = c_string(topic.name)?;
    let mut why = [0 as c_char; 512];
    // SAFETY: `name` and the buffer live through the call; librdkafka copies the name.
    let native = unsafe {
        let replicas = topic.replication_factor.unwrap_or(-1);
        rd::rd_kafka_NewTopic_new(name.as_ptr(), topic.partitions, replicas, why.as_mut_ptr(), why.len())
    };
    // SAFETY: the destructor belongs to the constructor, and the pointer is used up by it alone.
    let native = unsafe { Owned::new(native, rd::rd_kafka_NewTopic_destroy) }.ok_or_else(|| {
        // SAFETY: librdkafka ends what it writes there with a zero.
        Refusal::new(Code::InvalidArgument, unsafe { text(why.as_ptr()) })
    })?;
    for (key, value) in topic.config {
        let (key_c, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: all three live through the call, which copies the strings.
        let set = unsafe { rd::rd_kafka_NewTopic_set_config(native.ptr, key_c.as_ptr(), value.as_ptr()) };
        succeeded(set, || format!("setting {key}"))?;
    }
    let millis = millis(timeout);
    let prepare = |options| {
        let mut why = [0 as c_char; 512];
        let (text_at, length) = (why.as_mut_ptr(), why.len());
        // SAFETY: options and buffer live through the calls.
        unsafe {
            let set = match make {
                // Without it the controller answers before the topic exists.
                Make::Really => rd::rd_kafka_AdminOptions_set_operation_timeout(options, millis, text_at, length),
                Make::Validate => rd::rd_kafka_AdminOptions_set_validate_only(options, 1, text_at, length),
            };
            succeeded(set, || text(why.as_ptr()))
        }
    };
    let answer =
        request(client, RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout, prepare, |options, queue| {
            let mut topics = [native.ptr];
            // SAFETY: the request copies the topic; options and queue live through the call.
            unsafe { rd::rd_kafka_CreateTopics(client.native_ptr(), topics.as_mut_ptr(), 1, options, queue) }
        })?;
    // SAFETY: the result and its topics live as long as the event, which `answer` keeps.
    unsafe {
        let result = rd::rd_kafka_event_CreateTopics_result(answer.ptr);
        let mut count = 0;
        let topics = if result.is_null() {
            ptr::null_mut()
        } else {
            rd::rd_kafka_CreateTopics_result_topics(result, &mut count)
        };
        first_succeeded(topics, count)
    }
}

/// Deletes a topic with all that it holds. Blocks until the controller answers, `timeout` at most.
pub fn delete_topic<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<(), Refusal> {
    let name = c_string(topic)?;
    // SAFETY: `name` lives through the call, which copies it; the destructor belongs to the constructor.
    let native = unsafe { Owned::new(rd::rd_kafka_DeleteTopic_new(name.as_ptr()), rd::rd_kafka_DeleteTopic_destroy) };
    let native = native.ok_or_else(|| Refusal::new(Code::InvalidArgument, "not a topic's name"))?;
    let delete = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DELETETOPICS;
    let answer = request(
        client,
        delete,
        timeout,
        |_| Ok(()),
        |options, queue| {
            let mut topics = [native.ptr];
            // SAFETY: the request copies the topic; options and queue live through the call.
            unsafe { rd::rd_kafka_DeleteTopics(client.native_ptr(), topics.as_mut_ptr(), 1, options, queue) }
        },
    )?;
    // SAFETY: the result and its topics live as long as the event, which `answer` keeps.
    unsafe {
        let result = rd::rd_kafka_event_DeleteTopics_result(answer.ptr);
        let mut count = 0;
        let topics = if result.is_null() {
            ptr::null_mut()
        } else {
            rd::rd_kafka_DeleteTopics_result_topics(result, &mut count)
        };
        first_succeeded(topics, count)
    }
}

/// What became of the one topic of a request.
///
/// # Safety
/// `topics` is null or points to `count` valid pointers, which live through the call.
unsafe fn first_succeeded(topics: *mut *const rd::rd_kafka_topic_result_t, count: usize) -> Result<(), Refusal> {
    if topics.is_null() || count == 0 {
        return Err(Refusal::new(Code::Fail, "the answer names no topic"));
    }
    // SAFETY: as above; librdkafka's words are C strings of the result.
    unsafe {
        let topic = *topics;
        let words = || text(rd::rd_kafka_topic_result_error_string(topic));
        succeeded(rd::rd_kafka_topic_result_error(topic), words)
    }
}

/// A topic's settings as they are in effect. Blocks until a broker answers, `timeout` at most.
pub fn topic_config<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<BTreeMap<String, String>, Refusal> {
    let name = c_string(topic)?;
    // SAFETY: `name` lives through the call, which copies it; the destructor belongs to the constructor.
    let resource = unsafe {
        let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        Owned::new(rd::rd_kafka_ConfigResource_new(kind, name.as_ptr()), rd::rd_kafka_ConfigResource_destroy)
    }
    .ok_or_else(|| Refusal::new(Code::InvalidArgument, "not a topic's name"))?;
    let describe = RDKafkaAdminOp::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
    let answer = request(
        client,
        describe,
        timeout,
        |_| Ok(()),
        |options, queue| {
            let mut resources = [resource.ptr];
            // SAFETY: the request copies the resource; options and queue live through the call.
            unsafe { rd::rd_kafka_DescribeConfigs(client.native_ptr(), resources.as_mut_ptr(), 1, options, queue) }
        },
    )?;
    // SAFETY: the result, its resources and their entries live as long as the event, which `answer` keeps; librdkafka
    // gives arrays of `count` valid pointers.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConfigs_result(answer.ptr);
        let mut count = 0;
        let resources = if result.is_null() {
            ptr::null_mut()
        } else {
            rd::rd_kafka_DescribeConfigs_result_resources(result, &mut count)
        };
        if resources.is_null() || count == 0 {
            return Err(Refusal::new(Code::Fail, "the answer names no topic"));
        }
        let resource = *resources;
        let words = || text(rd::rd_kafka_ConfigResource_error_string(resource));
        succeeded(rd::rd_kafka_ConfigResource_error(resource), words)?;
        let mut count = 0;
        let entries = rd::rd_kafka_ConfigResource_configs(resource, &mut count);
        let settings = (0..count).map(|i| {
            let entry = *entries.add(i);
            (text(rd::rd_kafka_ConfigEntry_name(entry)), text(rd::rd_kafka_ConfigEntry_value(entry)))
        });
        Ok(settings.collect())
    }
}

fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).max(1)
}

/// Sends a request, with its options prepared, and waits for its event.
pub(super) fn request<C: ClientContext>(
    client: &Client<C>,
    operation: RDKafkaAdminOp,
    timeout: Duration,
    prepare: impl FnOnce(*mut rd::rd_kafka_AdminOptions_t) -> Result<(), Refusal>,
    send: impl FnOnce(*const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
) -> Result<Owned<rd::rd_kafka_event_t>, Refusal> {
    let millis = millis(timeout);
    // SAFETY: the client outlives this function; each destructor belongs to its constructor.
    let (options, queue) = unsafe {
        let options = rd::rd_kafka_AdminOptions_new(client.native_ptr(), operation);
        (
            Owned::new(options, rd::rd_kafka_AdminOptions_destroy),
            Owned::new(rd::rd_kafka_queue_new(client.native_ptr()), rd::rd_kafka_queue_destroy),
        )
    };
    let (Some(options), Some(queue)) = (options, queue) else {
        return Err(Refusal::new(Code::InvalidArgument, "librdkafka does not know the request"));
    };
    set_time(options.ptr, timeout)?;
    prepare(options.ptr)?;
    send(options.ptr, queue.ptr);
    // librdkafka answers a request by its timeout at the latest, unless `prepare` set another; the second is for its timers.
    // SAFETY: the queue lives through the call; the event belongs to us and is destroyed once.
    let event = unsafe {
        let event = rd::rd_kafka_queue_poll(queue.ptr, millis.saturating_add(1000));
        Owned::new(event, rd::rd_kafka_event_destroy)
    };
    let event = event.ok_or_else(|| Refusal::new(Code::OperationTimedOut, ""))?;
    // SAFETY: the event lives; its string lives as long.
    unsafe {
        let words = || text(rd::rd_kafka_event_error_string(event.ptr));
        succeeded(rd::rd_kafka_event_error(event.ptr), words)?;
    }
    Ok(event)
}

/// Sets how long a request may take.
pub(super) fn set_time(options: *mut rd::rd_kafka_AdminOptions_t, time: Duration) -> Result<(), Refusal> {
    let mut why = [0 as c_char; 512];
    // SAFETY: options and buffer live through the calls.
    unsafe {
        let set = rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(time), why.as_mut_ptr(), why.len());
        succeeded(set, || text(why.as_ptr()))
    }
}

pub(super) fn succeeded(code: RDKafkaRespErr, words: impl FnOnce() -> String) -> Result<(), Refusal> {
    match Code::from(code) {
        Code::NoError => Ok(()),
        code => Err(Refusal::new(code, words())),
    }
}

/// A text as C takes it.
pub(super) fn c_string(text: &str) -> Result<CString, Refusal> {
    CString::new(text).map_err(|_| Refusal::new(Code::InvalidArgument, "a zero byte in a name or a setting"))
}

/// A C string as text.
///
/// # Safety
/// `string` is null or a C string that lives through the call.
pub(super) unsafe fn text(string: *const c_char) -> String {
    // SAFETY: as above.
    if string.is_null() { String::new() } else { unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned() }
}

/// A pointer with the function that frees it.
pub(super) struct Owned<T> {
    /// Never null.
    pub(super) ptr: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes ownership; none of a null pointer.
    ///
    /// # Safety
    /// `ptr` is null, or valid, owned by the caller, and freed by `destroy`.
    pub(super) unsafe fn new(ptr: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!ptr.is_null()).then_some(Owned { ptr, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised this, and `self` is dropped once.
        unsafe { (self.destroy)(self.ptr) }
    }
}
