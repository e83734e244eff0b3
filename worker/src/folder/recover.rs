//! After a crash or a failure: which of the files that were being sent stand in the topic. Kafka knows it, by their `ce_id`.

use std::{
    collections::{BTreeMap, HashMap},
    thread,
    time::{Duration, SystemTime},
};

use edgereel_crds::status::Reason;
use edgereel_frame::wire::{CE_ID, CE_SOURCE, text_header};
use edgereel_kafka::{client::KafkaFault, reader::TopicReader};
use edgereel_runtime::fault::Fault;
use tracing::info;

use super::ledger::{Id, Ledger};

/// What a process that was killed had on its way is with the broker, or lost, after so long: its sockets closed with it.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// A record's `ce_id`.
pub fn in_words(id: Id) -> String {
    format!("{id:032x}")
}

/// Finds out of each pending file whether it stands in the topic, and notes it.
///
/// # Errors
/// That the topic cannot be read: then nothing is sent, for it might stand there already.
pub fn settle(ledger: &mut Ledger, reader: &TopicReader, topic: &str, source: &str) -> Result<(), Fault> {
    let mut pending: HashMap<String, Id> = ledger.pending().into_iter().map(|id| (in_words(id), id)).collect();
    let sought = Sought { topic, source, floor: ledger.floor(), written: ledger.written().ok() };
    for (id, partition, offset) in sought.find(&mut pending, reader)? {
        ledger.sent(id, partition, offset)?;
    }
    for id in pending.into_values() {
        ledger.given_up(id)?;
    }
    Ok(())
}

/// Where something is looked for.
pub struct Sought<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The records' `ce_source`.
    pub source: &'a str,
    /// From where on a partition may hold them; a partition that is none of these is read as a whole.
    pub floor: &'a BTreeMap<i32, i64>,
    /// When it was noted last that something is being sent.
    pub written: Option<SystemTime>,
}

impl Sought<'_> {
    /// Reads the topic, and takes out of `pending` (by their `ce_id`) what stands there; with its partition and offset.
    ///
    /// # Errors
    /// That the topic cannot be read.
    pub fn find<T>(&self, pending: &mut HashMap<String, T>, reader: &TopicReader) -> Result<Vec<(T, i32, i64)>, Fault> {
        let mut found = vec![];
        if pending.is_empty() {
            return Ok(found);
        }
        let age = self.written.and_then(|written| SystemTime::now().duration_since(written).ok());
        thread::sleep(ON_ITS_WAY.saturating_sub(age.unwrap_or_default()));
        let (asked, topic) = (pending.len(), self.topic);
        for (partition, (low, high)) in reader.bounds(topic).map_err(refused)? {
            // A topic that ends before the floor was made anew.
            let floor = self.floor.get(&partition).copied().filter(|floor| *floor <= high);
            let read = reader.read(topic, partition, floor.unwrap_or(low).max(low)..high, |record| {
                let ours = text_header(&record.headers, CE_SOURCE) == Some(self.source);
                if ours && let Some(id) = text_header(&record.headers, CE_ID).and_then(|id| pending.remove(id)) {
                    found.push((id, partition, record.offset));
                }
                Ok::<(), KafkaFault>(())
            });
            read.map_err(refused)?;
        }
        info!(topic, asked, found = found.len(), "asked the topic what had been sent before the last end");
        Ok(found)
    }
}

fn refused(fault: KafkaFault) -> Fault {
    let words = "which of the files were sent before the last end has to be read from the topic";
    let remedy = match fault.reason {
        Reason::KafkaUnauthorized => ": this user needs Read on it",
        _ => "",
    };
    Fault::new(fault.reason, format!("{words}{remedy}: {fault}"))
}
