//! Which producers are tried.

use std::fmt;

use edgereel_crds::{
    camera_stream::{Compression, Producer},
    units::{ByteSize, Duration},
};

/// A producer, and the topic that it sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The largest batch.
    pub batch: ByteSize,
    /// How long a record waits for others.
    pub linger: Duration,
    /// Of batches.
    pub compression: Compression,
    /// The topic's partitions.
    pub partitions: i32,
}

/// The five producers that users of the Python scripts compare.
pub const SCRIPTS: [(u64, u64, Compression); 5] = [
    (16_384, 0, Compression::None),
    (32_768, 5, Compression::Gzip),
    (65_536, 10, Compression::Snappy),
    (128_000, 20, Compression::None),
    (512_000, 50, Compression::Gzip),
];

/// As many partitions as the scripts' topic had.
const PARTITIONS: i32 = 4;

/// What is asked for; an empty list leaves the choice open.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // as in `Setting`
pub struct Asked {
    pub batch: Vec<ByteSize>,
    pub linger: Vec<Duration>,
    pub compression: Vec<Compression>,
    pub partitions: Vec<i32>,
}

impl Asked {
    /// Each combination of what is asked for; without a batch, a linger and a compression, [`SCRIPTS`]. What alone is left open
    /// is as a camera's producer has it.
    pub fn sweep(&self) -> Vec<Setting> {
        let open = self.batch.is_empty() && self.linger.is_empty() && self.compression.is_empty();
        let producers = if open {
            SCRIPTS
                .map(|(batch, linger, compression)| (ByteSize(batch), Duration::millis(linger), compression))
                .to_vec()
        } else {
            self.producers()
        };
        let partitions = or(&self.partitions, PARTITIONS);
        let with = |(batch, linger, compression)| {
            partitions.iter().map(move |&partitions| Setting { batch, linger, compression, partitions })
        };
        producers.into_iter().flat_map(with).collect()
    }

    /// The one setting that is asked for.
    ///
    /// # Errors
    /// Where several are.
    pub fn single(&self) -> Result<Setting, String> {
        let partitions = or(&self.partitions, PARTITIONS);
        match (&self.producers()[..], &partitions[..]) {
            (&[(batch, linger, compression)], &[partitions]) => Ok(Setting { batch, linger, compression, partitions }),
            (producers, partitions) => Err(format!(
                "these are {} configurations: add `--sweep` to measure each, or give one value each",
                producers.len() * partitions.len()
            )),
        }
    }

    fn producers(&self) -> Vec<(ByteSize, Duration, Compression)> {
        let usual = Producer::default();
        let (batches, lingers) = (or(&self.batch, usual.batch_bytes), or(&self.linger, usual.linger));
        let compressions = or(&self.compression, usual.compression);
        let mut all = vec![];
        for batch in batches {
            for &linger in &lingers {
                all.extend(compressions.iter().map(|&compression| (batch, linger, compression)));
            }
        }
        all
    }
}

fn or<T: Copy>(asked: &[T], usual: T) -> Vec<T> {
    if asked.is_empty() { vec![usual] } else { asked.to_vec() }
}

/// A codec by the name that Kafka gives it.
///
/// # Errors
/// For any other name.
pub fn compression(name: &str) -> Result<Compression, String> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let all = [None, Gzip, Snappy, Lz4, Zstd];
    let found = all.into_iter().find(|compression| codec(*compression) == name);
    found.ok_or_else(|| format!("`{name}` is none of {}", all.map(codec).join(", ")))
}

/// The name that Kafka gives a codec.
pub fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

impl Setting {
    /// The linger in milliseconds.
    pub fn linger_ms(&self) -> f64 {
        self.linger.as_secs_f64() * 1000.0
    }
}

/// `16384 bytes, 0 ms, none, 4 partitions`
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { batch, compression, partitions, .. } = self;
        let plural = if *partitions == 1 { "" } else { "s" };
        let (batch, linger, codec) = (batch.0, self.linger_ms(), codec(*compression));
        write!(f, "{batch} bytes, {linger} ms, {codec}, {partitions} partition{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_the_scripts_five_or_each_combination_of_what_is_asked_for() {
        let words = |asked: &Asked| asked.sweep().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            words(&Asked::default()),
            [
                "16384 bytes, 0 ms, none, 4 partitions",
                "32768 bytes, 5 ms, gzip, 4 partitions",
                "65536 bytes, 10 ms, snappy, 4 partitions",
                "128000 bytes, 20 ms, none, 4 partitions",
                "512000 bytes, 50 ms, gzip, 4 partitions",
            ]
        );
        let twice = Asked { partitions: vec![1, 8], ..Asked::default() };
        assert_eq!(twice.sweep().len(), 10);
        let asked = Asked {
            compression: vec![Compression::None, Compression::Zstd],
            linger: vec![Duration::millis(0), Duration("2.5ms".parse::<Duration>().expect("one").0)],
            partitions: vec![1],
            ..Asked::default()
        };
        assert_eq!(
            words(&asked),
            [
                "1048576 bytes, 0 ms, none, 1 partition",
                "1048576 bytes, 0 ms, zstd, 1 partition",
                "1048576 bytes, 2.5 ms, none, 1 partition",
                "1048576 bytes, 2.5 ms, zstd, 1 partition",
            ]
        );
    }

    #[test]
    fn several_settings_are_only_measured_where_a_sweep_is_asked_for() {
        let one = Asked::default().single().expect("one");
        assert_eq!(one.to_string(), "1048576 bytes, 0 ms, none, 4 partitions");
        let several = Asked { batch: vec![ByteSize(1), ByteSize(2)], partitions: vec![1, 2], ..Asked::default() };
        assert!(several.single().expect_err("four").starts_with("these are 4 configurations"));
    }

    #[test]
    fn codecs_have_the_names_that_kafka_gives_them() {
        for name in ["none", "gzip", "snappy", "lz4", "zstd"] {
            assert_eq!(codec(compression(name).expect(name)), name);
        }
        assert_eq!(compression("zip"), Err("`zip` is none of none, gzip, snappy, lz4, zstd".into()));
    }
}
