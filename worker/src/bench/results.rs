//! What was found, in the columns and units of the Python scripts' `kafka_performance_results.csv`.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::setting::{Setting, codec};

/// The CSV's heads, as the scripts write them.
pub const HEADS: [&str; 10] = [
    "Batch Size",
    "Linger (ms)",
    "Compression",
    "Num Partitions",
    "Producer Throughput (msg/sec)",
    "Consumer Throughput (msg/sec)",
    "Producer Latency (sec/msg)",
    "Consumer Latency (sec/msg)",
    "Consumer Lag",
    "Partition Distribution",
];

/// What was found of a setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was tried.
    pub setting: Setting,
    /// The topic; it is gone by now.
    pub topic: String,
    /// Records that were acknowledged.
    pub produced: u64,
    /// Records that were read.
    pub consumed: u64,
    /// Their values.
    pub bytes: u64,
    /// From the first record to the last acknowledgement.
    pub producing: Duration,
    /// From the request for the first record to the last.
    pub consuming: Duration,
    /// Records of the topic that were not read.
    pub lag: i64,
    /// How many records each partition got.
    pub distribution: BTreeMap<i32, i64>,
}

impl Row {
    /// Acknowledged records a second.
    pub fn producer_throughput(&self) -> f64 {
        per_second(self.produced as f64, self.producing)
    }

    /// Records read a second.
    pub fn consumer_throughput(&self) -> f64 {
        per_second(self.consumed as f64, self.consuming)
    }

    /// Megabytes (10^6) of values acknowledged, and read, a second.
    pub fn megabytes(&self) -> (f64, f64) {
        let bytes = self.bytes as f64 / 1e6;
        (per_second(bytes, self.producing), per_second(bytes, self.consuming))
    }

    /// The partitions as the scripts name them, `TOPIC-PARTITION`.
    fn partitions(&self) -> impl Iterator<Item = (String, i64)> {
        self.distribution.iter().map(|(partition, records)| (format!("{}-{partition}", self.topic), *records))
    }

    fn cells(&self) -> [String; 10] {
        let Row { setting, lag, .. } = self;
        let distribution: Vec<String> = self.partitions().map(|(name, n)| format!("'{name}': {n}")).collect();
        [
            setting.batch.0.to_string(),
            setting.linger_ms().to_string(),
            codec(setting.compression).to_owned(),
            setting.partitions.to_string(),
            format!("{:.2}", self.producer_throughput()),
            format!("{:.2}", self.consumer_throughput()),
            format!("{:.6}", 1.0 / self.producer_throughput()),
            format!("{:.6}", 1.0 / self.consumer_throughput()),
            lag.to_string(),
            format!("{{{}}}", distribution.join(", ")),
        ]
    }
}

fn per_second(number: f64, time: Duration) -> f64 {
    number / time.as_secs_f64().max(1e-9)
}

/// The same values as in the CSV, and those that it has no column for.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (produced, consumed) = self.megabytes();
        let distribution: serde_json::Map<_, _> = self.partitions().map(|(name, n)| (name, n.into())).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("batchSize", &self.setting.batch.0)?;
        map.serialize_entry("lingerMs", &self.setting.linger_ms())?;
        map.serialize_entry("compression", codec(self.setting.compression))?;
        map.serialize_entry("numPartitions", &self.setting.partitions)?;
        map.serialize_entry("producerThroughput", &self.producer_throughput())?;
        map.serialize_entry("consumerThroughput", &self.consumer_throughput())?;
        map.serialize_entry("producerLatency", &(1.0 / self.producer_throughput()))?;
        map.serialize_entry("consumerLatency", &(1.0 / self.consumer_throughput()))?;
        map.serialize_entry("producerMegabytesPerSecond", &produced)?;
        map.serialize_entry("consumerMegabytesPerSecond", &consumed)?;
        map.serialize_entry("consumerLag", &self.lag)?;
        map.serialize_entry("partitionDistribution", &distribution)?;
        map.serialize_entry("records", &self.produced)?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.end()
    }
}

/// Writes the CSV: whole, or not at all.
///
/// # Errors
/// Those of the disk; what stood there before is kept then.
pub fn write_csv(path: &Path, rows: &[Row]) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(vec![]);
    csv.write_record(HEADS)?;
    for row in rows {
        csv.write_record(row.cells())?;
    }
    write_whole(path, &csv.into_inner().map_err(|e| e.into_error())?)
}

/// Writes a file beside its place, and moves it there.
///
/// # Errors
/// Those of the disk; what stood there before is kept then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| _ = fs::remove_file(&beside))
}

#[cfg(test)]
pub(super) mod tests {
    use edgereel_crds::{
        camera_stream::Compression,
        units::{ByteSize, Duration as Time},
    };

    use super::*;

    /// The row that the scripts' documentation shows.
    pub fn row() -> Row {
        Row {
            setting: Setting {
                batch: ByteSize(16384),
                linger: Time::millis(0),
                compression: Compression::None,
                partitions: 4,
            },
            topic: "image-data7".into(),
            produced: 856,
            consumed: 856,
            bytes: 85_600_000,
            producing: Duration::from_millis(6_672),
            consuming: Duration::from_millis(66_979),
            lag: 0,
            distribution: BTreeMap::from([(0, 518), (1, 338)]),
        }
    }

    #[test]
    fn the_csv_has_the_scripts_columns_and_units() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kafka_performance_results.csv");
        write_csv(&path, &[row()]).expect("written");
        let expected = "Batch Size,Linger (ms),Compression,Num Partitions,Producer Throughput (msg/sec),Consumer \
                        Throughput (msg/sec),Producer Latency (sec/msg),Consumer Latency (sec/msg),Consumer \
                        Lag,Partition Distribution\n16384,0,none,4,128.30,12.78,0.007794,0.078246,0,\"{'image-data7-0': \
                        518, 'image-data7-1': 338}\"\n";
        assert_eq!(fs::read_to_string(&path).expect("there"), expected);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results");
        fs::create_dir_all(path.join("in the way")).expect("made");
        write_csv(&path, &[]).expect_err("a directory");
        assert!(path.join("in the way").is_dir());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
