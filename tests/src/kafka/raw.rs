//! Records that no client library would write: names of headers are bytes in Kafka's protocol, and clients take text.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::Cluster;

const PATIENCE: Duration = Duration::from_secs(10);

impl Cluster {
    /// Appends one record to the topic's first partition, by a produce request of our own. For clusters without a login.
    ///
    /// # Panics
    /// When Kafka does not take it.
    pub fn produce_raw(&self, topic: &str, timestamp: i64, value: &[u8], headers: &[(&[u8], &[u8])]) {
        self.try_produce_raw(topic, timestamp, value, headers)
            .unwrap_or_else(|e| panic!("cannot produce to {topic}: {e:#}"));
    }

    fn try_produce_raw(&self, topic: &str, timestamp: i64, value: &[u8], headers: &[(&[u8], &[u8])]) -> Result<()> {
        let client: BaseConsumer = self.client().create()?;
        let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
        let leader = metadata.topics().first().and_then(|t| t.partitions().first()).map(|p| p.leader());
        let broker = metadata.brokers().iter().find(|b| Some(b.id()) == leader).context("no leader")?;
        let mut stream = TcpStream::connect((broker.host(), broker.port() as u16))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = request(topic, &batch(timestamp, value, headers));
        stream.write_all(&(request.len() as i32).to_be_bytes())?;
        stream.write_all(&request)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer)?;
        // Correlation, one topic and its name, one partition and its number; then the error.
        let at = 4 + 4 + 2 + topic.len() + 4 + 4;
        match answer.get(at..at + 2) {
            Some([0, 0]) => Ok(()),
            error => bail!("Kafka's error {error:?}"),
        }
    }
}

/// A produce request, version 3, with `acks=all`.
fn request(topic: &str, batch: &[u8]) -> Vec<u8> {
    let mut request = vec![];
    let text = |request: &mut Vec<u8>, text: &str| {
        request.extend((text.len() as i16).to_be_bytes());
        request.extend(text.as_bytes());
    };
    let (produce, version, correlation) = (0i16, 3i16, 1i32);
    request.extend([produce.to_be_bytes(), version.to_be_bytes()].concat());
    request.extend(correlation.to_be_bytes());
    text(&mut request, "raw");
    let (no_transaction, acks_all) = (-1i16, -1i16);
    request.extend([no_transaction.to_be_bytes(), acks_all.to_be_bytes()].concat());
    let (timeout, topics) = (10_000i32, 1i32);
    request.extend([timeout.to_be_bytes(), topics.to_be_bytes()].concat());
    text(&mut request, topic);
    for n in [1, 0, batch.len() as i32] {
        request.extend(n.to_be_bytes());
    }
    request.extend(batch);
    request
}

/// A batch of one record, in the format of version 2.
fn batch(timestamp: i64, value: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut record = vec![0]; // attributes
    varint(&mut record, 0); // timestamp and offset, from the batch's
    varint(&mut record, 0);
    varint(&mut record, -1); // no key
    sized(&mut record, value);
    varint(&mut record, headers.len() as i64);
    for (name, value) in headers {
        sized(&mut record, name);
        sized(&mut record, value);
    }
    let mut body = vec![];
    body.extend(0i16.to_be_bytes()); // attributes
    body.extend(0i32.to_be_bytes()); // last offset
    body.extend([timestamp.to_be_bytes(), timestamp.to_be_bytes()].concat());
    body.extend((-1i64).to_be_bytes()); // no producer id, epoch, sequence
    body.extend((-1i16).to_be_bytes());
    body.extend((-1i32).to_be_bytes());
    body.extend(1i32.to_be_bytes());
    sized(&mut body, &record);
    let mut batch = vec![];
    batch.extend(0i32.to_be_bytes()); // leader's epoch
    batch.push(2); // magic
    batch.extend(crc32c(&body).to_be_bytes());
    batch.extend(body);
    [&0i64.to_be_bytes()[..], &(batch.len() as i32).to_be_bytes(), &batch].concat()
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as i64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, n: i64) {
    let mut n = ((n << 1) ^ (n >> 63)) as u64;
    while n > 127 {
        out.push(n as u8 & 127 | 128);
        n >>= 7;
    }
    out.push(n as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
