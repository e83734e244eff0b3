//! Decodes pictures that come one by one, each as it comes.

use ffmpeg_next::{Dictionary, Error, Packet, codec, decoder, format::Pixel, frame::Video as Picture};

use super::{init, scaler::Scaler, single_threaded};

/// Turns packets into pictures of one pixel format: one in, one out.
pub struct Decoder {
    decoder: decoder::Video,
    scaler: Option<Scaler>,
    to: Pixel,
}

impl Decoder {
    /// For a codec whose pictures have no more pixels than this. `to` is the format of what it gives, as for a [`Scaler`].
    pub fn new(id: codec::Id, max_pixels: u64, to: Pixel) -> Result<Self, Error> {
        init();
        let codec = decoder::find(id).ok_or(Error::DecoderNotFound)?;
        let mut decoder = single_threaded(codec::Context::new_with_codec(codec)).decoder();
        decoder.check(codec::decoder::Check::EXPLODE);
        let mut limits = Dictionary::new();
        limits.set("max_pixels", &max_pixels.to_string());
        let decoder = decoder.open_with(limits).and_then(|decoder| decoder.video())?;
        Ok(Decoder { decoder, scaler: None, to })
    }

    /// Decodes a picture.
    ///
    /// # Errors
    /// When it is damaged: the next has to stand by itself then.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Picture, Error> {
        let mut decoded = Picture::empty();
        let result = self
            .decoder
            .send_packet(&Packet::copy(bytes))
            .and_then(|()| self.decoder.receive_frame(&mut decoded))
            .and_then(|()| if decoded.is_corrupt() { Err(Error::InvalidData) } else { Ok(()) });
        if let Err(error) = result {
            self.decoder.flush();
            return Err(error);
        }
        Scaler::for_picture(&mut self.scaler, &decoded, self.to)?.run(&decoded)
    }
}
