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

/// Makes pictures of one stream's packets.
pub struct Pictures {
    largest: usize,
    decoded: Option<Decoded>,
}

impl Pictures {
    /// For a stream; in words, why it cannot be done.
    pub fn of(stream: Option<Stream<'_>>, wanted: &Wanted) -> Result<Self, String> {
        let parameters = stream.ok_or("it has no video")?.parameters();
        let decoded = match parameters.id() {
            codec::Id::MJPEG => None,
            _ => Some(Decoded::new(parameters, wanted)?),
        };
        Ok(Pictures { largest: wanted.largest, decoded })
    }

    /// Gives what a packet holds to `give`, until that says no; then says no too.
    pub fn take(&mut self, packet: &Packet, give: &mut dyn FnMut(Part) -> bool) -> bool {
        match (&mut self.decoded, packet.data()) {
            (_, None | Some([])) => give(Part::Skipped(DropReason::empty)),
            (None, Some(jpeg)) if jpeg.len() > self.largest => give(Part::TooLarge(jpeg.len())),
            (None, Some(jpeg)) => give(Part::Picture(Bytes::copy_from_slice(jpeg))),
            (Some(decoded), Some(_)) => decoded.take(packet, give),
        }
    }
}

struct Decoded {
    decoder: decoder::Video,
    jpegs: Jpegs,
    pacer: Pacer,
}

/// What becomes of a decoded picture.
enum Made {
    Encoded(Bytes),
    Damaged,
    NotWanted,
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
        let pacer = fixed(&wanted.frame_rate);
        Ok(Decoded { decoder: opened.map_err(|e| named("decode", e))?, jpegs, pacer })
    }

    fn take(&mut self, packet: &Packet, give: &mut dyn FnMut(Part) -> bool) -> bool {
        if self.decoder.send_packet(packet).is_err() && !give(Part::Skipped(DropReason::undecodable)) {
            return false;
        }
        let mut picture = Picture::empty();
        while self.decoder.receive_frame(&mut picture).is_ok() {
            let part = match self.make(&picture) {
                Ok(Made::Encoded(jpeg)) => Part::Picture(jpeg),
                Ok(Made::NotWanted) => Part::NotWanted,
                Ok(Made::Damaged) | Err(_) => Part::Skipped(DropReason::undecodable),
            };
            if !give(part) {
                return false;
            }
        }
        true
    }

    fn make(&mut self, picture: &Picture) -> Result<Made, EncodeError> {
        if is_damaged(picture) {
            return Ok(Made::Damaged);
        }
        if !self.pacer.admit(Instant::now(), false) {
            return Ok(Made::NotWanted);
        }
        match self.jpegs.encode(picture)? {
            Some(jpeg) => Ok(Made::Encoded(jpeg)),
            None => Ok(Made::Damaged),
        }
    }
}

/// Whether packets of it were missing or wrong: FFmpeg fills the holes with what it guesses.
#[allow(unsafe_code)]
fn is_damaged(picture: &Picture) -> bool {
    // SAFETY: the pointer is the picture's own AVFrame, which lives as long as the reference; a number is read from it.
    let errors = unsafe { (*picture.as_ptr()).decode_error_flags };
    picture.is_corrupt() || errors != 0
}
