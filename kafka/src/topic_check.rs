//! Whether a topic is what its `CameraStream` asks for, and the commands that mend it.

use std::collections::BTreeMap;

use edgereel_crds::{camera_stream::Topic, status::Reason};

use super::fault::KafkaFault;

/// Kafka's setting for the largest batch of records; our largest record travels in a batch of its own.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// A topic as it stands in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicShape {
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; the lowest among the partitions.
    pub replication_factor: i32,
    /// Partitions without a leader.
    pub leaderless: Vec<i32>,
}

/// Compares a topic with what is asked for; the error lists every difference with the command that mends it.
pub fn verify(
    asked: &Topic,
    shape: &TopicShape,
    settings: &BTreeMap<String, String>,
    bootstrap: &str,
) -> Result<(), KafkaFault> {
    let name = &asked.name;
    let mut differences = Vec::new();
    if asked.partitions != shape.partitions {
        let remedy = if asked.partitions > shape.partitions {
            format!(
                "kafka-topics --bootstrap-server {bootstrap} --alter --topic {name} --partitions {}",
                asked.partitions
            )
        } else {
            format!("partitions cannot be taken away: set spec.topic.partitions: {}", shape.partitions)
        };
        differences.push(format!("partitions: {} asked for, {} there ({remedy})", asked.partitions, shape.partitions));
    }
    if let Some(replicas) = asked.replication_factor.filter(|replicas| *replicas != shape.replication_factor) {
        differences.push(format!(
            "replicationFactor: {replicas} asked for, {there} there (move it with kafka-reassign-partitions, or set \
             spec.topic.replicationFactor: {there})",
            there = shape.replication_factor
        ));
    }
    for (key, value) in &asked.config {
        match settings.get(key) {
            Some(there) if same_value(value, there) => {}
            Some(there) => differences.push(format!(
                "config {key}: `{value}` asked for, `{there}` there (kafka-configs --bootstrap-server {bootstrap} \
                 --alter --entity-type topics --entity-name {name} --add-config {key}={})",
                shell_value(value)
            )),
            None => {
                differences.push(format!("config {key}: Kafka has no such topic setting (look for a typing error)"))
            }
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("topic {name} is not what spec.topic asks for: {}", differences.join("; "));
    Err(KafkaFault::lasting(Reason::TopicMismatch, message))
}

/// Whether the topic takes records as large as the camera may send.
pub fn check_limit(topic: &str, limit: u64, required: u64, bootstrap: &str) -> Result<(), KafkaFault> {
    if limit >= required {
        return Ok(());
    }
    let message = format!(
        "topic {topic} takes records up to {limit} bytes ({MAX_MESSAGE_BYTES}), and ours may have {required} \
         (spec.encoding.maxFrameBytes, with base64 a third more, and headers): lower maxFrameBytes, or raise the topic's \
         limit (kafka-configs --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} \
         --add-config {MAX_MESSAGE_BYTES}={required}), and with it the brokers' replica.fetch.max.bytes and \
         socket.request.max.bytes where they are lower"
    );
    Err(KafkaFault::lasting(Reason::MessageTooLarge, message))
}

/// The settings to make a topic with: those asked for, and room for our largest record where nothing is said of it.
///
/// Kafka's own default (1048588 bytes) leaves no room for the headers of a frame of 1 MiB.
pub fn settings_for_creation(asked: &Topic, required: u64) -> BTreeMap<String, String> {
    let mut settings = asked.config.clone();
    let room = required.max(KAFKA_DEFAULT_LIMIT).next_multiple_of(1024).min(i32::MAX as u64);
    settings.entry(MAX_MESSAGE_BYTES.into()).or_insert_with(|| room.to_string());
    settings
}

/// `message.max.bytes` of Apache Kafka: 1 MiB and a batch's 12 bytes of overhead.
const KAFKA_DEFAULT_LIMIT: u64 = 1_048_588;

/// Whether two values mean the same: numbers by value, lists (`compact,delete`) in any order, words in any case.
fn same_value(asked: &str, there: &str) -> bool {
    let (asked, there) = (asked.trim(), there.trim());
    if asked == there {
        return true;
    }
    match (asked.parse::<f64>(), there.parse::<f64>()) {
        // Whole numbers beyond 2^53 must not be rounded to equality.
        (Ok(a), Ok(b)) => match (asked.parse::<i128>(), there.parse::<i128>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a == b,
        },
        _ => items(asked) == items(there),
    }
}

fn items(list: &str) -> std::collections::BTreeSet<String> {
    list.split(',').map(|item| item.trim().to_ascii_lowercase()).collect()
}

/// A value for `--add-config`: lists stand in brackets.
fn shell_value(value: &str) -> String {
    if value.contains(',') { format!("[{value}]") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::camera_stream::{EnsureTopic, RecordKey};
    use proptest::prelude::*;

    use super::*;

    fn asked(partitions: i32, replication_factor: Option<i32>, config: &[(&str, &str)]) -> Topic {
        Topic {
            name: "lab".into(),
            partitions,
            replication_factor,
            key: RecordKey::Camera,
            ensure: EnsureTopic::Verify,
            config: config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    fn there(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    fn shape(partitions: i32, replication_factor: i32) -> TopicShape {
        TopicShape { partitions, replication_factor, leaderless: vec![] }
    }

    #[test]
    fn every_difference_is_listed_with_what_mends_it() {
        let asked =
            asked(3, Some(3), &[("retention.ms", "604800000"), ("cleanup.policy", "compact,delete"), ("nope", "1")]);
        let settings = there(&[("retention.ms", "86400000"), ("cleanup.policy", "delete")]);
        let fault = verify(&asked, &shape(1, 1), &settings, "b:9092").expect_err("different");
        assert_eq!((fault.reason, fault.retriable), (Reason::TopicMismatch, false));
        for words in [
            "partitions: 3 asked for, 1 there (kafka-topics --bootstrap-server b:9092 --alter --topic lab --partitions 3)",
            "replicationFactor: 3 asked for, 1 there",
            "kafka-configs --bootstrap-server b:9092 --alter --entity-type topics --entity-name lab --add-config retention.ms=604800000",
            "--add-config cleanup.policy=[compact,delete]",
            "config nope: Kafka has no such topic setting",
        ] {
            assert!(fault.message.contains(words), "{words}\n{}", fault.message);
        }
        let fault = verify(&self::asked(1, None, &[]), &shape(3, 1), &there(&[]), "b").expect_err("too many");
        assert!(fault.message.contains("set spec.topic.partitions: 3"), "{}", fault.message);
    }

    #[test]
    fn values_that_mean_the_same_are_no_difference() {
        let asked = asked(
            3,
            None,
            &[
                ("retention.ms", " 604800000 "),
                ("min.cleanable.dirty.ratio", "0.50"),
                ("cleanup.policy", "delete, compact"),
                ("unclean.leader.election.enable", "True"),
            ],
        );
        let settings = there(&[
            ("retention.ms", "604800000"),
            ("min.cleanable.dirty.ratio", "0.5"),
            ("cleanup.policy", "compact,delete"),
            ("unclean.leader.election.enable", "true"),
        ]);
        assert_eq!(verify(&asked, &shape(3, 7), &settings, "b"), Ok(()));
        assert!(!same_value("9223372036854775807", "9223372036854775806"));
    }

    #[test]
    fn a_topic_that_takes_less_than_our_largest_record_is_named_with_both_limits() {
        assert_eq!(check_limit("lab", 1_048_588, 1_048_588, "b"), Ok(()));
        let fault = check_limit("lab", 1_048_588, 1_398_102, "b").expect_err("too small");
        assert_eq!(fault.reason, Reason::MessageTooLarge);
        assert!(fault.message.contains("1048588") && fault.message.contains("max.message.bytes=1398102"));
    }

    #[test]
    fn a_new_topic_has_room_for_our_largest_record_unless_the_resource_says_otherwise() {
        let settings = settings_for_creation(&asked(1, None, &[]), 104_857_600);
        assert_eq!(settings[MAX_MESSAGE_BYTES], "104857600");
        let settings = settings_for_creation(&asked(1, None, &[]), 10);
        assert_eq!(settings[MAX_MESSAGE_BYTES], "1049600");
        let settings = settings_for_creation(&asked(1, None, &[(MAX_MESSAGE_BYTES, "5")]), 10);
        assert_eq!(settings[MAX_MESSAGE_BYTES], "5");
    }

    proptest! {
        #[test]
        fn equality_of_settings_is_reflexive_and_symmetric(a in "[a-zA-Z0-9,. -]{0,12}", b in "[a-zA-Z0-9,. -]{0,12}") {
            prop_assert!(same_value(&a, &a));
            prop_assert_eq!(same_value(&a, &b), same_value(&b, &a));
        }
    }
}
