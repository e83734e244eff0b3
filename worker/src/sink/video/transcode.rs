//! From a frame's JPEG to a packet of the current file, each frame encoded once: an encoder that has moved on cannot go
//! back.

use edgereel_crds::frame_sink::Codec;
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
    /// The picture that the file ends with; unknown after a restart.
    last: Option<Picture>,
    /// A frame that was encoded and not written yet: perhaps the disk was full.
    encoded: Option<Encoded>,
    /// A size that there is an encoder for.
    accepted: Option<(u32, u32)>,
}

/// Whether a video of this codec cannot show a JPEG: the record that holds it is no frame for it.
pub fn refuses(codec: Codec, jpeg: &[u8]) -> Result<bool, OutputError> {
    if codec != Codec::Xvid {
        return Ok(false);
    }
    let encode = |mut picture: Picture| {
        Encoder::new(picture.width(), picture.height(), Rate::per_second(1))?.encode(&mut picture)
    };
    match JpegDecoder::new()?.decode(jpeg).and_then(encode) {
        Err(OutputError::Frame { .. }) => Ok(true),
        result => result.map(|_| false),
    }
}

struct Encoded {
    source: TopicPartition,
    offset: i64,
    picture: Picture,
    /// The picture before, as often as it is shown again; then the frame's own.
    packets: Vec<Packet>,
}

impl Transcoder {
    /// With no file begun.
    pub fn new() -> Result<Self, OutputError> {
        Ok(Transcoder { decoder: JpegDecoder::new()?, encoder: None, last: None, encoded: None, accepted: None })
    }

    /// The next packet begins a file, or goes on with one that was cut: it builds on none before.
    pub fn begin_anew(&mut self) {
        self.encoder = None;
        self.last = None;
        self.encoded = None;
    }

    /// A frame's picture, which can be encoded.
    ///
    /// # Errors
    /// [`OutputError::Frame`] when it is damaged, or of a size that cannot be encoded.
    pub fn decode(&mut self, frame: &SinkFrame) -> Result<Picture, OutputError> {
        // Its header's word for it is enough to refuse it: nothing is allocated for it.
        self.accept(frame.info.width, frame.info.height)?;
        let picture = self.decoder.decode(&frame.picture)?;
        self.accept(picture.width(), picture.height())?;
        Ok(picture)
    }

    fn accept(&mut self, width: u32, height: u32) -> Result<(), OutputError> {
        if self.accepted != Some((width, height)) {
            Encoder::check(width, height)?;
            self.accepted = Some((width, height));
        }
        Ok(())
    }

    /// The packets that show the picture before `repeats` times again, and then this frame. Called again for the same it
    /// gives the same packets, until [`written`](Self::written).
    ///
    /// After a restart the picture before is not known until a frame was written: its repetitions are empty packets then,
    /// which keep the time.
    pub fn encode(
        &mut self,
        frame: &SinkFrame,
        mut picture: Picture,
        repeats: u32,
        rate: Rate,
    ) -> Result<&[Packet], OutputError> {
        let count = repeats as usize + 1;
        let same = |e: &Encoded| (&e.source, e.offset, e.packets.len()) == (&frame.source, frame.offset, count);
        if self.encoded.take_if(|encoded| !same(encoded)).is_some() {
            // What was encoded will never be written: later packets must not build on it.
            self.encoder = None;
        }
        let encoded = match self.encoded.take() {
            Some(encoded) => encoded,
            None => {
                // Not kept if it fails: nothing is known of its state then.
                let mut encoder = match self.encoder.take() {
                    Some(encoder) => encoder,
                    None => Encoder::new(picture.width(), picture.height(), rate)?,
                };
                let mut packets = Vec::with_capacity(count);
                for _ in 0..repeats {
                    let again = self.last.as_mut().map(|last| encoder.encode(last)).transpose()?;
                    packets.push(again.unwrap_or_else(Packet::empty));
                }
                packets.push(encoder.encode(&mut picture)?);
                self.encoder = Some(encoder);
                Encoded { source: frame.source.clone(), offset: frame.offset, picture, packets }
            }
        };
        Ok(&self.encoded.insert(encoded).packets)
    }

    /// The packets stand in the file.
    pub fn written(&mut self) {
        self.last = self.encoded.take().map(|encoded| encoded.picture);
    }
}
