//! Tells a thread that a client has something to serve.
//!
//! rdkafka's own `BaseProducer::poll` with a time-out waits in whole milliseconds and spins for what is left of the last
//! one: with a time-out of 100 ms, a hundredth of a core for each producer that does nothing.
#![allow(unsafe_code)] // calls into librdkafka; what each relies on stands beside it

use std::{ffi::c_void, marker::PhantomData, ptr, thread::Thread};

use rdkafka::{
    ClientContext, bindings,
    client::Client,
    types::{RDKafka, RDKafkaQueue},
};

/// Wakes a thread whenever the client's main queue is no longer empty.
pub struct Bell<'a> {
    queue: *mut RDKafkaQueue,
    /// Boxed, as librdkafka keeps its address.
    _thread: Box<Thread>,
    _client: PhantomData<&'a ()>,
}

impl<'a> Bell<'a> {
    /// Has `thread` unparked from here on. Look at [`has_rung`](Self::has_rung) before it is parked: what is in the queue
    /// already wakes nobody.
    pub fn new<C: ClientContext>(client: &'a Client<C>, thread: Thread) -> Self {
        let thread = Box::new(thread);
        let opaque = ptr::from_ref::<Thread>(&thread).cast_mut().cast::<c_void>();
        // SAFETY: the client outlives `self`, and so the queue, whose reference is given back with `self`; the callback's
        // opaque is a `Thread` that lives as long as the callback is set.
        let queue = unsafe {
            let queue = bindings::rd_kafka_queue_get_main(client.native_ptr());
            bindings::rd_kafka_queue_cb_event_enable(queue, Some(ring), opaque);
            queue
        };
        Bell { queue, _thread: thread, _client: PhantomData }
    }

    /// Whether something waits to be served.
    pub fn has_rung(&self) -> bool {
        // SAFETY: the queue lives.
        unsafe { bindings::rd_kafka_queue_length(self.queue) > 0 }
    }
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once. The first call takes the queue's lock, under which the callback runs:
        // after it, nobody holds the opaque.
        unsafe {
            bindings::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            bindings::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// On a thread of librdkafka's, under the queue's lock: it may call nothing of librdkafka's.
unsafe extern "C" fn ring(_client: *mut RDKafka, opaque: *mut c_void) {
    // SAFETY: the pointer that `new` gave, to what lives until the callback is taken away.
    unsafe { &*opaque.cast::<Thread>() }.unpark();
}
