//! The end of a partition as the last fetch saw it: librdkafka keeps it, rdkafka does not hand it out.
#![allow(unsafe_code)] // one call with two out-parameters; asking the broker instead costs a round trip for each partition

use std::ffi::CString;

use rdkafka::{
    bindings,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
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
    (code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
