//! JPEGs of pictures that came otherwise: decoded video, raw pictures.

use bytes::Bytes;
use edgereel_crds::camera_stream::FrameRate;
use edgereel_frame::encode::{EncodeError, Encoder, Plane};
use ffmpeg_next::{format::Pixel, frame::Video as Picture};

use crate::{
    ffmpeg::{self, scaler::Scaler},
    pacing::Pacer,
};

/// Encodes pictures of any format, one after the other.
pub struct Jpegs {
    scaler: Option<Scaler>,
    encoder: Encoder,
}

/// The rate at which pictures are encoded: `target`, whatever Kafka does.
pub fn fixed(rate: &FrameRate) -> Pacer {
    Pacer::new(&FrameRate { adaptive: false, minimum: None, ..*rate })
}

impl Jpegs {
    /// For this quality, 1 to 100.
    pub fn new(quality: u8) -> Result<Self, EncodeError> {
        ffmpeg::init();
        Ok(Jpegs { scaler: None, encoder: Encoder::new(quality)? })
    }

    /// The JPEG of a picture; none of one that cannot be turned into JPEG's own YUV 4:2:0.
    pub fn encode(&mut self, picture: &Picture) -> Result<Option<Bytes>, EncodeError> {
        let full_range;
        let picture = match picture.format() {
            Pixel::YUVJ420P => picture,
            _ => {
                let scaler = Scaler::for_picture(&mut self.scaler, picture, Pixel::YUVJ420P);
                full_range = match scaler.and_then(|scaler| scaler.run(picture)) {
                    Ok(picture) => picture,
                    Err(_) => return Ok(None),
                };
                &full_range
            }
        };
        let plane = |n| Plane { bytes: picture.data(n), stride: picture.stride(n) };
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        self.encoder.encode(width, height, [plane(0), plane(1), plane(2)]).map(Some)
    }
}
