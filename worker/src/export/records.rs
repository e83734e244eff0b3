//! What the topics still hold of a range.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use edgereel_crds::plan::SinkPlan;
use edgereel_frame::wire::{self, RecordView};
use edgereel_kafka::reader::TopicReader;
use edgereel_runtime::fault::Fault;
use jiff::{SignedDuration, Timestamp};

use super::{
    cut::{At, Frame, Range},
    target::full,
};

/// A record's own time may differ so much from when its frame was captured.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// Pictures that were taken from a topic, in a file that has no name: it goes with this program, however that ends.
pub struct Spool {
    directory: PathBuf,
    file: Option<File>,
    end: u64,
}

impl Spool {
    /// In this directory.
    pub fn new(directory: &Path) -> Self {
        Spool { directory: directory.to_owned(), file: None, end: 0 }
    }

    fn add(&mut self, picture: &[u8]) -> io::Result<At> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = self.directory.join(format!(".edgereel-export-{}", std::process::id()));
                let file = File::options().read(true).write(true).create_new(true).open(&path)?;
                std::fs::remove_file(&path)?;
                self.file.insert(file)
            }
        };
        file.write_all(picture)?;
        let at = At::Spooled(self.end, picture.len() as u32);
        self.end += picture.len() as u64;
        Ok(at)
    }

    /// A picture's bytes.
    pub fn read(&self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// Gives the frames of a range that the sink's topics hold, as those of the source of this number. Their pictures go into the
/// spool, if there is one. With `all`, each record is looked at, whatever its own time. Blocks.
pub fn frames(
    plan: &SinkPlan,
    reader: &TopicReader,
    (range, all): (&Range, bool),
    source: usize,
    mut spool: Option<&mut Spool>,
    frames: &mut Vec<Frame>,
) -> Result<(), Fault> {
    let wide = if all { Range { from: Timestamp::MIN, to: Timestamp::MAX } } else { range.widened(MARGIN) };
    for topic in &plan.topics {
        let name: Rc<str> = topic.as_str().into();
        let begins = reader.offsets_at(topic, wide.from)?;
        let mut ends = reader.offsets_at(topic, wide.to)?;
        for (partition, begin) in begins {
            let Some(begin) = begin else { continue };
            let end = match ends.remove(&partition).flatten() {
                Some(end) => end,
                None => reader.watermarks(topic, partition)?.1,
            };
            reader.read(topic, partition, begin..end, |record| {
                let view = RecordView {
                    value: record.value.clone(),
                    headers: &record.headers,
                    key: record.key.as_deref(),
                    timestamp: record.timestamp,
                };
                // What is no frame is none here either.
                let decoded = wire::decode(&view, plan.spec.format, (&plan.spec.output).into());
                let Some(decoded) = decoded.ok().filter(|decoded| range.holds(decoded.captured_at)) else {
                    return Ok(());
                };
                let at = match &mut spool {
                    Some(spool) => spool.add(&decoded.picture).map_err(|e| full("write", &spool.directory, &e))?,
                    None => At::Spooled(0, 0),
                };
                let (time, offset) = (decoded.captured_at, record.offset);
                frames.push(Frame { time, topic: name.clone(), partition, offset, source, at });
                Ok::<(), Fault>(())
            })?;
        }
    }
    Ok(())
}
