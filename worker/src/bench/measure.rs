//! Sends all records, waits for the last acknowledgement, and reads them back. Blocks.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use edgereel_crds::{camera_stream::Producer as Settings, status::Reason};
use edgereel_kafka::{
    client::KafkaFault,
    producer::{FrameProducer, Options, Record, Role, SendError},
    reader::TopicReader,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Progress, Wish, results::Row, setting::Setting};

/// What may wait to be acknowledged, in bytes: as a camera's buffer.
const BUDGET: u64 = 64 << 20;
/// From one try to the next, while so much waits: a small part of the time in which it goes out.
const PAUSE: Duration = Duration::from_millis(1);
/// Records that go ahead of what is measured, for each partition: connections are made and leaders found by then.
const AHEAD: u64 = 2;

/// A measurement.
pub(super) struct Job {
    pub wish: Wish,
    pub setting: Setting,
    pub topic: String,
    /// The largest record or batch that the topic takes.
    pub limit: u64,
    pub stop: CancellationToken,
    pub progress: Progress,
}

/// It does not go on.
enum End {
    Stopped,
    Fault(KafkaFault),
}

impl From<KafkaFault> for End {
    fn from(fault: KafkaFault) -> Self {
        End::Fault(fault)
    }
}

/// What came back of the records that were sent.
#[derive(Default)]
struct Returned {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    acknowledged: u64,
    fault: Option<KafkaFault>,
}

impl Returned {
    fn tell(&self, result: Result<(), KafkaFault>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => state.acknowledged += 1,
            Err(fault) => _ = state.fault.get_or_insert(fault),
        }
        self.changed.notify_one();
    }

    /// Waits until so many are acknowledged: each has its report in time.
    fn wait(&self, wanted: u64) -> Result<(), KafkaFault> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |state: &mut State| state.acknowledged < wanted && state.fault.is_none();
        let mut state = self.changed.wait_while(state, open).unwrap_or_else(PoisonError::into_inner);
        state.fault.take().map_or(Ok(()), Err)
    }

    fn has_failed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fault.is_some()
    }
}

impl Job {
    /// What was found; none when it was told to stop.
    pub fn run(self) -> Result<Option<Row>, KafkaFault> {
        match self.measure() {
            Ok(row) => Ok(Some(row)),
            Err(End::Stopped) => Ok(None),
            Err(End::Fault(fault)) => Err(fault),
        }
    }

    fn measure(&self) -> Result<Row, End> {
        let Wish { connection, secrets, records, payload, .. } = &self.wish;
        let returned = Arc::<Returned>::default();
        let producer = self.producer(returned.clone())?;
        let reader = TopicReader::open(connection, secrets, "edgereel-bench")?;
        let ahead = AHEAD * self.setting.partitions.unsigned_abs() as u64;
        for n in 0..ahead {
            self.send(&producer, payload.value(n))?;
        }
        returned.wait(ahead)?;
        let starts = self.ends(&reader)?;
        let began = Instant::now();
        for n in 0..*records {
            self.send(&producer, payload.value(n))?;
            if returned.has_failed() {
                break;
            }
            (self.progress)(n + 1);
        }
        returned.wait(ahead + records)?;
        let producing = began.elapsed();
        // Nothing is on its way any more.
        producer.close(Duration::ZERO);

        let ends = self.ends(&reader)?;
        let ranges: BTreeMap<i32, Range<i64>> = starts.iter().map(|(p, start)| (*p, *start..ends[p])).collect();
        let (mut read, mut bytes) = (0, 0);
        let began = Instant::now();
        reader.read_all(&self.topic, &ranges, |record| {
            if self.stop.is_cancelled() {
                return Err(End::Stopped);
            }
            read += 1;
            bytes += record.value.map_or(0, |value| value.len() as u64);
            (self.progress)(records + read);
            Ok(())
        })?;
        let consuming = began.elapsed();
        let written = |ends: &BTreeMap<i32, i64>| ends.iter().map(|(p, end)| end - starts[p]).sum::<i64>();
        let lag = written(&self.ends(&reader)?) - read as i64;
        if read == 0 {
            let message = format!("topic {} gave no record back", self.topic);
            return Err(KafkaFault::passing(Reason::KafkaUnreachable, message).into());
        }
        Ok(Row {
            setting: self.setting.clone(),
            topic: self.topic.clone(),
            produced: *records,
            consumed: read,
            bytes,
            producing,
            consuming,
            lag,
            distribution: ranges.into_iter().map(|(p, range)| (p, range.end - range.start)).collect(),
        })
    }

    fn producer(&self, returned: Arc<Returned>) -> Result<FrameProducer<()>, KafkaFault> {
        let Setting { batch, linger, compression, .. } = self.setting;
        let settings =
            Settings { acks: self.wish.acks, compression, linger, batch_bytes: batch, ..Settings::default() };
        let options = Options {
            client_id: "edgereel-bench".into(),
            role: Role::Other,
            topic: &self.topic,
            settings: &settings,
            budget: BUDGET,
            limit: self.limit,
            patient: false,
        };
        FrameProducer::new(&self.wish.connection, &self.wish.secrets, &options, move |delivery| {
            returned.tell(delivery.result.map(drop).map_err(|undelivered| undelivered.fault));
        })
    }

    fn send(&self, producer: &FrameProducer<()>, value: &[u8]) -> Result<(), End> {
        loop {
            if self.stop.is_cancelled() {
                return Err(End::Stopped);
            }
            let headers: [(&str, Option<&[u8]>); 0] = [];
            let record = Record { key: None, value: Some(value), headers, timestamp: Timestamp::now() };
            match producer.send(record, ()) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) => std::thread::sleep(PAUSE),
                Err(SendError::TooLarge) => {
                    let message = format!("a record of {} bytes is larger than the brokers take", value.len());
                    return Err(KafkaFault::lasting(Reason::MessageTooLarge, message).into());
                }
                Err(SendError::Fatal(fault)) => return Err(fault.into()),
            }
        }
    }

    /// The offset that each partition's next record gets.
    fn ends(&self, reader: &TopicReader) -> Result<BTreeMap<i32, i64>, KafkaFault> {
        let end = |partition| Ok((partition, reader.watermarks(&self.topic, partition)?.1));
        (0..self.setting.partitions).map(end).collect()
    }
}
