//! A producer's settings: what `spec.producer` and the topic's limit mean to librdkafka.

use edgereel_crds::{
    camera_stream::{Acks, Compression, Producer as Settings},
    check::largest_record,
    plan::CameraPlan,
};
use rdkafka::ClientConfig;

use super::fault::Role;

/// The range of librdkafka's `message.max.bytes`.
const MESSAGE_MAX_BYTES: (u64, u64) = (1_000, 1_000_000_000);

/// What a producer is made from.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// How the brokers' logs name it.
    pub client_id: String,
    /// What it works for.
    pub role: Role,
    /// The topic that it sends to.
    pub topic: &'a str,
    /// Acknowledgement, batches and patience.
    pub settings: &'a Settings,
    /// How many bytes may wait or be in flight. A single record is always taken.
    pub budget: u64,
    /// The largest record or batch that the topic takes (its `max.message.bytes`).
    pub limit: u64,
    /// Nothing is given up for having waited too long: whoever sends waits as long as Kafka does.
    pub patient: bool,
}

impl<'a> Options<'a> {
    /// A camera's producer, to a topic that takes records up to `topic_limit` (as [`super::topics::ensure`] reports).
    pub fn for_camera(plan: &'a CameraPlan, topic_limit: Option<u64>) -> Self {
        let encoding = &plan.spec.encoding;
        Options {
            client_id: format!("edgereel-{}.{}", plan.name.namespace, plan.name.name),
            role: Role::Camera,
            topic: &plan.spec.topic.name,
            settings: &plan.spec.producer,
            budget: plan.spec.buffer.memory.0,
            limit: topic_limit.unwrap_or_else(|| largest_record(encoding.max_frame_bytes, encoding.format)),
            patient: false,
        }
    }
}

/// A producer's own settings.
pub fn configure(config: &mut ClientConfig, options: &Options<'_>) {
    let settings = options.settings;
    let patience = settings.delivery_timeout.as_millis().clamp(1_000, i32::MAX as u128);
    // A broker that hangs is left for its successor in time for another try, or two.
    let answer = (patience / 3).clamp(1_000, 60_000);
    let limit = options.limit.clamp(MESSAGE_MAX_BYTES.0, MESSAGE_MAX_BYTES.1);
    // librdkafka's own limit is only the second fence: ours counts headers too.
    let queue = options.budget.max(limit).div_ceil(1024).min(i32::MAX as u64);
    let (acks, idempotent) = match settings.acks {
        Acks::All => ("all", "true"),
        Acks::Leader => ("1", "false"),
    };
    let compression = match settings.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    for (key, value) in [
        ("acks", acks.to_owned()),
        ("enable.idempotence", idempotent.to_owned()),
        ("max.in.flight.requests.per.connection", "5".to_owned()),
        ("compression.type", compression.to_owned()),
        ("linger.ms", format!("{}", settings.linger.as_secs_f64().clamp(0.0, 900.0) * 1000.0)),
        ("batch.size", settings.batch_bytes.0.clamp(1, i32::MAX as u64).to_string()),
        // 0 is for ever.
        ("message.timeout.ms", if options.patient { "0".to_owned() } else { patience.to_string() }),
        ("request.timeout.ms", answer.to_string()),
        ("socket.timeout.ms", (answer + 1_000).to_string()),
        // Also the largest batch: never more than the topic takes, since librdkafka does not split a refused batch.
        ("message.max.bytes", limit.to_string()),
        ("queue.buffering.max.kbytes", queue.to_string()),
        ("queue.buffering.max.messages", "1000000".to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        // `ensure` has seen the topic's leaders: when it is unknown for this long, it is deleted, not just made.
        ("topic.metadata.propagation.max.ms", "10000".to_owned()),
        // Each record without a key finds its own partition, as the Python producers' do.
        ("sticky.partitioning.linger.ms", "0".to_owned()),
    ] {
        config.set(key, value);
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::units::{self, ByteSize};

    use super::*;

    fn configured(settings: Settings, budget: u64, limit: u64) -> ClientConfig {
        let mut config = ClientConfig::new();
        let options = Options {
            client_id: "c".into(),
            role: Role::Camera,
            topic: "t",
            settings: &settings,
            budget,
            limit,
            patient: false,
        };
        configure(&mut config, &options);
        config.create_native_config().expect("librdkafka takes every setting");
        config
    }

    #[test]
    fn acks_all_means_idempotent_and_acks_leader_does_not() {
        for (acks, expected) in [(Acks::All, ("all", "true")), (Acks::Leader, ("1", "false"))] {
            let config = configured(Settings { acks, ..Settings::default() }, 64 << 20, 1 << 20);
            assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some(expected.0), Some(expected.1)));
        }
    }

    #[test]
    fn no_batch_is_larger_than_the_topic_takes_and_one_largest_record_always_fits_the_queue() {
        for (budget, limit, message, queue) in [
            (64 << 20, 1_048_588, "1048588", "65536"),
            (1 << 20, 104_857_600, "104857600", "102400"),
            (1, 1, "1000", "1"),
            (u64::MAX, u64::MAX, "1000000000", "2147483647"),
        ] {
            let config = configured(Settings::default(), budget, limit);
            assert_eq!(config.get("message.max.bytes"), Some(message));
            assert_eq!(config.get("queue.buffering.max.kbytes"), Some(queue));
        }
    }

    #[test]
    fn extreme_settings_are_brought_into_librdkafkas_ranges() {
        for millis in [0, 1, 30_000, u64::from(u32::MAX) * 1000] {
            let settings = Settings {
                delivery_timeout: units::Duration::millis(millis),
                linger: units::Duration::millis(millis),
                batch_bytes: ByteSize(millis),
                ..Settings::default()
            };
            let config = configured(settings, millis, millis);
            let number = |key| config.get(key).and_then(|v| v.parse::<u64>().ok()).expect("a number");
            assert!(number("message.timeout.ms") >= number("request.timeout.ms"), "{millis}");
            assert!(number("socket.timeout.ms") > number("request.timeout.ms"), "{millis}");
        }
    }

    #[test]
    fn every_compression_is_built_in() {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};
        for compression in [None, Gzip, Snappy, Lz4, Zstd] {
            configured(Settings { compression, ..Settings::default() }, 1 << 20, 1 << 20);
        }
    }
}
