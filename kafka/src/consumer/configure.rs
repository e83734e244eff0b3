//! librdkafka's settings for a group's consumer, each with its reason.

use std::time::Duration;

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use edgereel_crds::frame_sink::GroupProtocol;

use super::Settings;

/// How long the group waits for a heartbeat before it gives the partitions to others.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// From one heartbeat to the next.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
/// What librdkafka may fetch ahead, for all partitions together.
const PREFETCH_KB: &str = "12288";

/// Adds ours to the connection's.
pub fn configure(config: &mut ClientConfig, settings: &Settings) {
    let ours = [
        ("group.id", settings.group.as_str()),
        ("group.instance.id", settings.instance.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", "read_committed"),
        // A record goes out as it comes: the broker answers a fetch as soon as there is a byte.
        ("fetch.min.bytes", "1"),
        ("fetch.wait.max.ms", "500"),
        // The default of a second caps a backlog's throughput once the queue has been full.
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.error.backoff.ms", "200"),
        // What a broker's disk has spoilt is an error and no frame; the Java client checks by default, librdkafka does not.
        ("check.crcs", "true"),
        // librdkafka counts keys and values, not headers: so few records are held back even where headers are large. A
        // fetch's answer counts whole, so that small records are not slowed down.
        ("queued.min.messages", "32"),
        ("queued.max.messages.kbytes", PREFETCH_KB),
        ("fetch.message.max.bytes", "1048576"),
        // A broker sends a first batch that is larger than these two all the same, so that 100 MB records pass.
        ("fetch.max.bytes", "4194304"),
        ("receive.message.max.bytes", "268435456"),
        // A topic that comes later, or gets more partitions, is noticed within seconds.
        ("topic.metadata.refresh.interval.ms", "5000"),
    ];
    let (session, heartbeat) = (SESSION_TIMEOUT.as_millis().to_string(), HEARTBEAT.as_millis().to_string());
    let of_protocol: &[_] = match settings.protocol {
        // Eager strategies, so that members that know no other (kafka-python) can be in the group meanwhile.
        GroupProtocol::Classic => &[
            ("partition.assignment.strategy", "range,roundrobin"),
            ("session.timeout.ms", session.as_str()),
            ("heartbeat.interval.ms", heartbeat.as_str()),
        ],
        // The broker has all of these.
        GroupProtocol::Consumer => &[("group.protocol", "consumer")],
    };
    for (key, value) in ours.iter().chain(of_protocol) {
        config.set(*key, *value);
    }
    // That a topic has another id now is said in a line of `debug: topic`, and nowhere else; it comes as an event.
    let debug = config.get("debug").map_or_else(|| "topic".to_owned(), |contexts| format!("{contexts},topic"));
    config.set("debug", debug).set("log.queue", "true").set_log_level(RDKafkaLogLevel::Debug);
}
