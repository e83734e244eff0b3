//! From what a source holds to what a clip takes: decoded, stamped with its time, encoded, where that is asked for.

use std::collections::BTreeMap;

use edgereel_frame::{
    encode::{Encoder, Plane},
    picture::{Kind, inspect},
    reencode::MAX_PIXELS,
};
use ffmpeg_next::{codec, format::Pixel, frame::Video as Picture};
use jiff::{Timestamp, tz::TimeZone};

use super::segments::Content;
use crate::{
    ffmpeg::{decoder::Decoder, words},
    synthetic::font,
};

/// The quality of JPEGs that are encoded anew, 1 to 100.
const QUALITY: u8 = 95;
/// Light and dark of the text, in either range.
const INK: u8 = 235;
const PAPER: u8 = 16;
/// What has no colour.
const GREY: u8 = 128;
/// How a time is written into a picture.
const WRITTEN: &str = "%Y-%m-%d %H:%M:%S.%3f %:z";

/// Makes pictures for one clip.
pub struct Pictures {
    /// What is to be given: YUV 4:2:0, in JPEG's full range or in the range of video.
    pixel: Pixel,
    /// The zone of the times that are written into the pictures.
    burn: Option<TimeZone>,
    decoders: BTreeMap<&'static str, Decoder>,
    encoder: Option<Encoder>,
}

/// A whole picture file.
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Pixels.
    pub size: (u32, u32),
    /// Whether these are the bytes of the record.
    pub exact: bool,
}

impl Pictures {
    /// For a clip that takes this format.
    pub fn new(pixel: Pixel, burn: Option<TimeZone>) -> Self {
        Pictures { pixel, burn, decoders: BTreeMap::new(), encoder: None }
    }

    /// The picture decoded; in words, why it cannot be.
    pub fn decoded(&mut self, content: Content, time: Timestamp) -> Result<Picture, String> {
        let mut picture = match content {
            Content::Picture(picture) => picture,
            Content::Jpeg(bytes) => {
                let kind = inspect(&bytes).map_err(|defect| defect.to_string())?.kind;
                let id = match kind {
                    Kind::Jpeg => codec::Id::MJPEG,
                    Kind::Png => codec::Id::PNG,
                    Kind::WebP => codec::Id::WEBP,
                };
                let decoder = match self.decoders.entry(kind.ending()) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(place) => {
                        place.insert(Decoder::new(id, MAX_PIXELS, self.pixel).map_err(words)?)
                    }
                };
                decoder.decode(&bytes).map_err(|e| format!("it cannot be decoded: {}", words(e)))?
            }
        };
        if let Some(zone) = &self.burn {
            let text = time.to_zoned(zone.clone()).strftime(WRITTEN).to_string();
            write_on(&mut picture, text.as_bytes());
        }
        Ok(picture)
    }

    /// The picture as a file: as it is, where nothing is to be written into it, and else a JPEG. With `jpeg`, all are JPEGs.
    pub fn file(&mut self, content: Content, time: Timestamp, jpeg: bool) -> Result<File, String> {
        if let (Content::Jpeg(bytes), None) = (&content, &self.burn) {
            let info = inspect(bytes).map_err(|defect| defect.to_string())?;
            if info.kind == Kind::Jpeg || !jpeg {
                let Content::Jpeg(bytes) = content else { unreachable!("it was one") };
                return Ok(File { bytes, kind: info.kind, size: (info.width, info.height), exact: true });
            }
        }
        let picture = self.decoded(content, time)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            None => self.encoder.insert(Encoder::new(QUALITY).map_err(|e| e.to_string())?),
        };
        let size = (picture.width(), picture.height());
        let planes = [0, 1, 2].map(|n| Plane { bytes: picture.data(n), stride: picture.stride(n) });
        let bytes = encoder.encode(size.0 as usize, size.1 as usize, planes).map_err(|e| e.to_string())?;
        Ok(File { bytes: bytes.into(), kind: Kind::Jpeg, size, exact: false })
    }
}

/// Writes a line of text into the upper left of a picture in YUV 4:2:0, on a dark ground.
fn write_on(picture: &mut Picture, text: &[u8]) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let dot = (width / 320).max(1);
    let (wide, high) = ((text.len() * font::ADVANCE + 3) * dot, (font::HEIGHT + 4) * dot);
    let (wide, high) = (wide.min(width), high.min(height));
    let stride = picture.stride(0);
    for (y, line) in picture.data_mut(0).chunks_mut(stride).take(high).enumerate() {
        for (x, value) in line.iter_mut().take(wide).enumerate() {
            let lit = || {
                let (x, y) = ((x / dot).checked_sub(2)?, (y / dot).checked_sub(2)?);
                Some(font::dot(*text.get(x / font::ADVANCE)?, x % font::ADVANCE, y))
            };
            *value = if lit() == Some(true) { INK } else { PAPER };
        }
    }
    for plane in [1, 2] {
        let stride = picture.stride(plane);
        for line in picture.data_mut(plane).chunks_mut(stride).take(high.div_ceil(2)) {
            line[..wide.div_ceil(2)].fill(GREY);
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_frame::samples::picture;

    use super::*;

    #[test]
    fn without_a_time_to_write_a_jpeg_stays_as_it_is_and_with_one_it_can_be_read() {
        let jpeg = picture(640, 64, 3);
        let file = Pictures::new(Pixel::YUVJ420P, None).file(Content::Jpeg(jpeg.clone()), Timestamp::UNIX_EPOCH, true);
        let file = file.expect("a file");
        assert!(file.exact && file.bytes == jpeg && file.size == (640, 64));
        let rome = edgereel_crds::template::zone::zone(Some("Europe/Rome")).expect("a zone");
        let mut pictures = Pictures::new(Pixel::YUVJ420P, Some(rome));
        let time = "2024-06-04T10:30:00.123456Z".parse().expect("a time");
        let stamped = pictures.file(Content::Jpeg(jpeg), time, true).expect("a file");
        assert!(!stamped.exact && stamped.size == (640, 64));
        // Read it as a person does, dot by dot.
        let decoded = Decoder::new(codec::Id::MJPEG, MAX_PIXELS, Pixel::YUVJ420P)
            .and_then(|mut decoder| decoder.decode(&stamped.bytes))
            .expect("decoded");
        let text = b"2024-06-04 12:30:00.123 +02:00";
        for (n, character) in text.iter().enumerate() {
            for (x, y) in (0..font::ADVANCE).flat_map(|x| (0..font::HEIGHT).map(move |y| (x, y))) {
                let (left, top) = ((n * font::ADVANCE + x + 2) * 2, (y + 2) * 2);
                let light = decoded.data(0)[top * decoded.stride(0) + left] > 125;
                assert_eq!(light, font::dot(*character, x, y), "{} at {x},{y}", *character as char);
            }
        }
        // Pictures that have no room for it are no reason to fail.
        pictures.file(Content::Jpeg(picture(16, 16, 1)), time, true).expect("a file");
        assert!(pictures.file(Content::Jpeg(b"none".to_vec()), time, true).is_err());
    }
}
