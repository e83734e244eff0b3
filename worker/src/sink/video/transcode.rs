//! From a frame's JPEG to a packet of the current file, each frame encoded once: an encoder that has moved on cannot go
//! back.

use ffmpeg_next::{Packet, frame::Video as Picture};

use super::{
    avi::Rate,
    xvid::{Encoder, JpegDecoder},
};
use crate::sink::{
    fault::OutputError,
    output::{SinkFrame, TopicPartition},
};

/// The encoder's side of an `xvid` output.
pub struct Transcoder {
    decoder: JpegDecoder,
    /// Of the current file.
    encoder: Option<Encoder>,
    /// A frame that was encoded and not written yet: perhaps the disk was full.
    encoded: Option<(TopicPartition, i64, Packet)>,
}

impl Transcoder {
    /// With no file begun.
    pub fn new() -> Result<Self, OutputError> {
        Ok(Transcoder { decoder: JpegDecoder::new()?, encoder: None, encoded: None })
    }

    /// The next packet begins a file, or goes on with one that was cut: it builds on none before.
    pub fn begin_anew(&mut self) {
        self.encoder = None;
        self.encoded = None;
    }

    /// A frame's picture.
    ///
    /// # Errors
    /// [`OutputError::Frame`] when it is damaged.
    pub fn decode(&mut self, jpeg: &[u8]) -> Result<Picture, OutputError> {
        self.decoder.decode(jpeg)
    }

    /// The packet that shows this frame. Called again for the same frame it gives the same packet, until
    /// [`written`](Self::written).
    pub fn encode(&mut self, frame: &SinkFrame, picture: &mut Picture, rate: Rate) -> Result<&[u8], OutputError> {
        let same = |(source, offset, _): &(TopicPartition, i64, _)| (source, *offset) == (&frame.source, frame.offset);
        if self.encoded.take_if(|encoded| !same(encoded)).is_some() {
            // What was encoded will never be written: later packets must not build on it.
            self.encoder = None;
        }
        if self.encoded.is_none() {
            let encoder = match &mut self.encoder {
                Some(encoder) => encoder,
                none => none.insert(Encoder::new(picture.width(), picture.height(), rate)?),
            };
            self.encoded = Some((frame.source.clone(), frame.offset, encoder.encode(picture)?));
        }
        Ok(self.encoded.as_ref().and_then(|(.., packet)| packet.data()).unwrap_or_default())
    }

    /// The packet stands in the file.
    pub fn written(&mut self) {
        self.encoded = None;
    }
}
