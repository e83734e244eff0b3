//! After a crash or a failure: which of the files that were being sent stand in the topic. Kafka knows it, by their `ce_id`.

use std::{
    collections::HashMap,
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

/// Reads the topic from where the first of the pending files may stand, and notes of each whether it is there.
///
/// # Errors
/// That the topic cannot be read: then nothing is sent, for it might stand there already.
pub fn settle(ledger: &mut Ledger, reader: &TopicReader, topic: &str, source: &str) -> Result<(), Fault> {
    let mut pending: HashMap<String, Id> = ledger.pending().into_iter().map(|id| (in_words(id), id)).collect();
    if pending.is_empty() {
        return Ok(());
    }
    let age = ledger.written().ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    thread::sleep(ON_ITS_WAY.saturating_sub(age.unwrap_or_default()));
    let asked = pending.len();
    let mut found = vec![];
    let floor = ledger.floor().clone();
    for (partition, (low, high)) in reader.bounds(topic).map_err(refused)? {
        // A topic that ends before the floor was made anew.
        let from = floor.get(&partition).copied().filter(|floor| *floor <= high).unwrap_or(low).max(low);
        let read = reader.read(topic, partition, from..high, |record| {
            let ours = text_header(&record.headers, CE_SOURCE) == Some(source);
            if ours && let Some(id) = text_header(&record.headers, CE_ID).and_then(|id| pending.remove(id)) {
                found.push((id, partition, record.offset));
            }
            Ok::<(), KafkaFault>(())
        });
        read.map_err(refused)?;
    }
    info!(topic, asked, found = found.len(), "asked the topic which files had been sent before the last end");
    for (id, partition, offset) in found {
        ledger.sent(id, partition, offset)?;
    }
    for id in pending.into_values() {
        ledger.given_up(id)?;
    }
    Ok(())
}

fn refused(fault: KafkaFault) -> Fault {
    let words = "which of the files were sent before the last end has to be read from the topic";
    let remedy = match fault.reason {
        Reason::KafkaUnauthorized => ": this user needs Read on it",
        _ => "",
    };
    Fault::new(fault.reason, format!("{words}{remedy}: {fault}"))
}
