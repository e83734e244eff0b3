//! Encodes JPEGs as MPEG-4 ASP (the FourCC `XVID`), one picture in, one packet out.
//!
//! No B-frames, so that what was written is all there is to show; a key frame every [`KEY_EVERY`] frames and after a
//! restart, so that a file that was cut back goes on decodable. The quantiser is fixed at 3, about what OpenCV's XVID
//! writer makes.

use edgereel_crds::status::Reason;
use edgereel_frame::{reasons::InvalidReason, reencode::MAX_PIXELS};
use ffmpeg_next::{
    Error, Packet, Rational, codec, encoder, format::Pixel, frame::Video as Picture, picture, util::error::ENOMEM,
};

use super::avi::Rate;
use crate::{
    ffmpeg::{decoder::Decoder, init, single_threaded, words},
    sink::fault::OutputError,
};

/// Frames from one key frame to the next.
const KEY_EVERY: u32 = 250;
const QUANTISER: i32 = 3;

fn broken(what: &str, error: Error) -> OutputError {
    OutputError::storage(Reason::InternalError, format!("FFmpeg cannot {what}: {}; use `codec: mjpeg`", words(error)))
}

fn unencodable(width: u32, height: u32) -> OutputError {
    OutputError::Frame {
        reason: InvalidReason::unencodable,
        message: format!(
            "a picture of {width}x{height} cannot be encoded as XVID; use `codec: mjpeg` for such pictures"
        ),
    }
}

/// Turns JPEGs into pictures as the encoder wants them.
pub struct JpegDecoder(Decoder);

impl JpegDecoder {
    /// A decoder.
    pub fn new() -> Result<Self, OutputError> {
        let decoder = Decoder::new(codec::Id::MJPEG, MAX_PIXELS, Pixel::YUV420P);
        Ok(JpegDecoder(decoder.map_err(|e| broken("open its MJPEG decoder", e))?))
    }

    /// Decodes a JPEG to YUV 4:2:0 in video range.
    ///
    /// # Errors
    /// [`OutputError::Frame`] when it is damaged.
    pub fn decode(&mut self, jpeg: &[u8]) -> Result<Picture, OutputError> {
        self.0.decode(jpeg).map_err(|e| OutputError::Frame {
            reason: InvalidReason::undecodable,
            message: format!("the JPEG cannot be decoded: {}", words(e)),
        })
    }
}

/// Encodes one file's pictures.
pub struct Encoder {
    encoder: encoder::Video,
    next: i64,
}

impl Encoder {
    /// Whether there is an encoder for pictures of this size.
    ///
    /// # Errors
    /// [`OutputError::Frame`] when the size is the reason that there is none.
    pub fn check(width: u32, height: u32) -> Result<(), OutputError> {
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(unencodable(width, height));
        }
        match Self::open(width, height, Rate::per_second(1)) {
            Ok(_) => Ok(()),
            // What fails with any picture is not this one's fault.
            Err(Error::Other { errno }) if errno != ENOMEM && Self::open(64, 64, Rate::per_second(1)).is_ok() => {
                Err(unencodable(width, height))
            }
            Err(error) => Err(broken("make an MPEG-4 encoder", error)),
        }
    }

    /// An encoder for pictures of this size; its first packet is a key frame.
    pub fn new(width: u32, height: u32, rate: Rate) -> Result<Self, OutputError> {
        Self::open(width, height, rate).map_err(|e| broken(&format!("encode {width}x{height} as XVID"), e))
    }

    fn open(width: u32, height: u32, rate: Rate) -> Result<Self, Error> {
        init();
        let codec = encoder::find(codec::Id::MPEG4).ok_or(Error::EncoderNotFound)?;
        let mut video = single_threaded(codec::Context::new_with_codec(codec)).encoder().video()?;
        video.set_width(width);
        video.set_height(height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(Rational(rate.seconds as i32, rate.frames as i32));
        video.set_gop(KEY_EVERY);
        video.set_max_b_frames(0);
        video.set_qmin(QUANTISER);
        video.set_qmax(QUANTISER);
        let encoder = video.open_as(codec)?.0;
        Ok(Encoder { encoder: encoder::Video(encoder), next: 0 })
    }

    /// Encodes a picture.
    pub fn encode(&mut self, picture: &mut Picture) -> Result<Packet, OutputError> {
        picture.set_pts(Some(self.next));
        picture.set_kind(if self.next == 0 { picture::Type::I } else { picture::Type::None });
        self.next += 1;
        let mut packet = Packet::empty();
        self.encoder.send_frame(picture).and_then(|()| self.encoder.receive_packet(&mut packet)).map_err(|error| {
            match error {
                Error::Other { errno: ENOMEM } => broken("encode a picture", error),
                _ => unencodable(picture.width(), picture.height()),
            }
        })?;
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use edgereel_frame::samples::picture;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_picture_is_not_said_in_the_systems_words() {
        let jpeg = picture(64, 48, 1);
        let mut decoder = JpegDecoder::new().expect("a decoder");
        let mut refused = 0;
        for at in 2..jpeg.len().min(900) {
            for value in [0x00, 0x01, 0x7F, 0xC3, 0xC9, 0xDA, 0xFF] {
                let mut damaged = jpeg.clone();
                damaged[at] = value;
                if let Err(error) = decoder.decode(&damaged) {
                    let OutputError::Frame { reason: InvalidReason::undecodable, message } = &error else {
                        panic!("byte {at} as {value:02x}: {error:?}");
                    };
                    let words = ["permitted", "os error", "argument", "unavailable"];
                    assert!(words.iter().all(|word| !message.contains(word)), "byte {at} as {value:02x}: {message}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 500, "{refused}");
    }
}
