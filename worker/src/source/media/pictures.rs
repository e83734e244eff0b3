//! From packets to pictures: JPEG goes on as it came, everything else is decoded and encoded.

use std::time::Instant;

use bytes::Bytes;
use edgereel_crds::camera_stream::FrameRate;
use edgereel_frame::{encode::EncodeError, reasons::DropReason, reencode::MAX_PIXELS};
use ffmpeg_next::{Dictionary, Discard, Error, Packet, Stream, codec, decoder, frame::Video as Picture};

use crate::{
    ffmpeg::{single_threaded, words},
    pacing::Pacer,
    source::{
        Part,
        jpegs::{Jpegs, fixed},
    },
};

/// What is to be made of a stream.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Larger JPEGs are not passed on, in bytes.
    pub largest: usize,
    /// How many pictures a second are encoded.
    pub frame_rate: FrameRate,
    /// The quality with which they are, 1 to 100.
    pub quality: u8,
    /// Decode key frames alone.
    pub key_frames_only: bool,
}

/// Decides which of a stream's pictures go on. It is asked once for each, in the order in which they are shown, with its time in the
/// stream's own units, where that has one.
pub trait Choice {
    /// Of a JPEG that would be passed on; what is given instead, if it does not go on.
    fn passes(&mut self, time: Option<i64>) -> Option<Part>;
    /// Of a picture that was decoded, and would be encoded.
    fn decoded(&mut self, time: Option<i64>) -> Option<Part>;
    /// Of a picture that is damaged; what is given of it.
    fn damaged(&mut self, _time: Option<i64>) -> Part {
        Part::Skipped(DropReason::undecodable)
    }
}

/// Of a camera: decoded pictures at the target rate, as they come. JPEGs are paced where they cost nothing.
pub struct Live(Pacer);

impl Live {
    /// By this rate.
    pub fn new(rate: &FrameRate) -> Self {
        Live(fixed(rate))
    }
}

impl Choice for Live {
    fn passes(&mut self, _: Option<i64>) -> Option<Part> {
        None
    }

    fn decoded(&mut self, _: Option<i64>) -> Option<Part> {
        (!self.0.admit(Instant::now(), false)).then_some(Part::NotWanted)
    }
}

/// Makes pictures of one stream's packets.
pub struct Pictures {
    largest: usize,
    choice: Box<dyn Choice>,
    decoded: Option<Decoded>,
}

impl Pictures {
    /// For a stream; in words, why it cannot be done.
    pub fn of(stream: Option<Stream<'_>>, wanted: &Wanted, choice: Box<dyn Choice>) -> Result<Self, String> {
        let parameters = stream.ok_or("it has no video")?.parameters();
        let decoded = match parameters.id() {
            codec::Id::MJPEG => None,
            _ => Some(Decoded::new(parameters, wanted)?),
        };
        Ok(Pictures { largest: wanted.largest, choice, decoded })
    }

    /// Gives what a packet holds to `give`, until that says no; then says no too.
    pub fn take(&mut self, packet: &Packet, give: &mut dyn FnMut(Part) -> bool) -> bool {
        match (&mut self.decoded, packet.data()) {
            (_, None | Some([])) => give(Part::Skipped(DropReason::empty)),
            (None, Some(jpeg)) => match self.choice.passes(packet.pts().or(packet.dts())) {
                Some(instead) => give(instead),
                None if jpeg.len() > self.largest => give(Part::TooLarge(jpeg.len())),
                None => give(Part::Picture(Bytes::copy_from_slice(jpeg))),
            },
            (Some(decoded), Some(_)) => decoded.take(packet, self.choice.as_mut(), give),
        }
    }

    /// Gives what is still in the decoder at the stream's end.
    pub fn finish(&mut self, give: &mut dyn FnMut(Part) -> bool) -> bool {
        match &mut self.decoded {
            None => true,
            Some(decoded) => decoded.finish(self.choice.as_mut(), give),
        }
    }
}

struct Decoded {
    decoder: decoder::Video,
    jpegs: Jpegs,
}

/// What becomes of a decoded picture.
enum Made {
    Encoded(Bytes),
    Damaged,
}

impl Decoded {
    fn new(parameters: codec::Parameters, wanted: &Wanted) -> Result<Self, String> {
        let id = parameters.id();
        let named =
            |what: &str, e: Error| format!("its video is {}, which FFmpeg cannot {what}: {}", id.name(), words(e));
        let codec = decoder::find(id).ok_or_else(|| named("decode", Error::DecoderNotFound))?;
        let context = codec::Context::from_parameters(parameters).map_err(|e| named("decode", e))?;
        let mut decoder = single_threaded(context).decoder();
        if wanted.key_frames_only {
            decoder.skip_frame(Discard::NonKey);
        }
        let mut options = Dictionary::new();
        options.set("max_pixels", &MAX_PIXELS.to_string());
        let opened = decoder.open_as_with(codec, options).and_then(|opened| opened.video());
        let jpegs = Jpegs::new(wanted.quality).map_err(|e| e.to_string())?;
        Ok(Decoded { decoder: opened.map_err(|e| named("decode", e))?, jpegs })
    }

    fn take(&mut self, packet: &Packet, choice: &mut dyn Choice, give: &mut dyn FnMut(Part) -> bool) -> bool {
        if self.decoder.send_packet(packet).is_err() && !give(Part::Skipped(DropReason::undecodable)) {
            return false;
        }
        self.receive(choice, give)
    }

    fn finish(&mut self, choice: &mut dyn Choice, give: &mut dyn FnMut(Part) -> bool) -> bool {
        // It may have come to its end already.
        let _ = self.decoder.send_eof();
        self.receive(choice, give)
    }

    fn receive(&mut self, choice: &mut dyn Choice, give: &mut dyn FnMut(Part) -> bool) -> bool {
        let mut picture = Picture::empty();
        while self.decoder.receive_frame(&mut picture).is_ok() {
            let instead = match is_damaged(&picture) {
                true => Some(choice.damaged(picture.timestamp())),
                false => choice.decoded(picture.timestamp()),
            };
            let part = instead.unwrap_or_else(|| match self.make(&picture) {
                Ok(Made::Encoded(jpeg)) => Part::Picture(jpeg),
                Ok(Made::Damaged) | Err(_) => Part::Skipped(DropReason::undecodable),
            });
            if !give(part) {
                return false;
            }
        }
        true
    }

    fn make(&mut self, picture: &Picture) -> Result<Made, EncodeError> {
        Ok(self.jpegs.encode(picture)?.map_or(Made::Damaged, Made::Encoded))
    }
}

/// Whether packets of it were missing or wrong: FFmpeg fills the holes with what it guesses.
#[allow(unsafe_code)]
fn is_damaged(picture: &Picture) -> bool {
    // SAFETY: the pointer is the picture's own AVFrame, which lives as long as the reference; a number is read from it.
    let errors = unsafe { (*picture.as_ptr()).decode_error_flags };
    picture.is_corrupt() || errors != 0
}
