//! Encodes pictures anew, to a quality or to a size (`encoding.reencode`). From YUV to YUV: colours are never converted,
//! the subsampling stays as it is.
//!
//! Comments and application data of the original are not kept.

use bytes::Bytes;
use edgereel_crds::camera_stream::Reencode;
use turbojpeg::{Colorspace, Compressor, Decompressor, YuvImage};

use super::jpeg::JpegInfo;
use crate::reasons::DropReason;

/// Larger pictures are refused: a header of some bytes must not make us ask for gigabytes.
pub const MAX_PIXELS: u64 = 64_000_000;
/// A progressive picture may have this many scans; some are made to take hours.
const MAX_SCANS: u32 = 100;
/// Rows of planes are aligned to this many bytes.
const ALIGN: usize = 4;

/// Why a picture was not encoded anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReencodeError {
    /// It cannot be decoded.
    #[error("the picture cannot be decoded: {0}")]
    Undecodable(String),
    /// No quality makes it small enough.
    #[error("even with quality 1 the picture has {bytes} bytes, maxFrameBytes is {limit}: raise it")]
    TooLarge {
        /// With quality 1.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl From<&ReencodeError> for DropReason {
    fn from(error: &ReencodeError) -> Self {
        match error {
            ReencodeError::Undecodable(_) => DropReason::undecodable,
            ReencodeError::TooLarge { .. } => DropReason::too_large,
        }
    }
}

fn undecodable(error: turbojpeg::Error) -> ReencodeError {
    ReencodeError::Undecodable(error.to_string())
}

/// Encodes one camera's pictures anew. Its buffers are used again and again: about four bytes for each pixel.
pub struct Reencoder {
    mode: Reencode,
    quality: u8,
    max_bytes: usize,
    codec: Option<Codec>,
    /// The quality that made the last picture fit: the next one is likely alike.
    last_fit: u8,
}

struct Codec {
    decompressor: Decompressor,
    compressor: Compressor,
    yuv: Vec<u8>,
    jpeg: Vec<u8>,
}

impl Reencoder {
    /// For `encoding.reencode`, `encoding.quality` (1 to 100) and `encoding.maxFrameBytes`.
    pub fn new(mode: Reencode, quality: u8, max_bytes: usize) -> Self {
        let quality = quality.clamp(1, 100);
        Reencoder { mode, quality, max_bytes, codec: None, last_fit: quality }
    }

    /// The picture anew, or `None` when it stays as it is: with `never`, and with `size` if it is small enough.
    pub fn apply(&mut self, jpeg: &Bytes, info: &JpegInfo) -> Result<Option<Bytes>, ReencodeError> {
        match self.mode {
            Reencode::Never => return Ok(None),
            Reencode::Size if jpeg.len() <= self.max_bytes => return Ok(None),
            Reencode::Quality | Reencode::Size => {}
        }
        if u64::from(info.width) * u64::from(info.height) > MAX_PIXELS {
            let message = format!("{}x{} is more than {} megapixels", info.width, info.height, MAX_PIXELS / 1_000_000);
            return Err(ReencodeError::Undecodable(message));
        }
        let codec = match &mut self.codec {
            Some(codec) => codec,
            None => self.codec.insert(Codec::new().map_err(undecodable)?),
        };
        let image = codec.decode(jpeg, info)?;
        if self.mode == Reencode::Quality {
            return codec.encode(image, self.quality).map(|n| Some(Bytes::copy_from_slice(&codec.jpeg[..n])));
        }
        let mut best = None;
        let search = highest_fit(self.quality, self.last_fit, |quality| {
            let bytes = codec.encode(image, quality)?;
            let fits = bytes <= self.max_bytes;
            if fits {
                best = Some(Bytes::copy_from_slice(&codec.jpeg[..bytes]));
            }
            Ok(fits)
        })?;
        match (search, best) {
            (Some(quality), Some(best)) => {
                self.last_fit = quality;
                Ok(Some(best))
            }
            _ => Err(ReencodeError::TooLarge { bytes: codec.encode(image, 1)?, limit: self.max_bytes }),
        }
    }
}

/// The highest quality up to `max` that fits, given that all below one that fits do too; the last one tried that fits is
/// the answer. Beginning with `guess`, two tries are enough when the guess is right.
fn highest_fit<E>(max: u8, guess: u8, mut fits: impl FnMut(u8) -> Result<bool, E>) -> Result<Option<u8>, E> {
    let (mut low, mut high) = (0, max + 1);
    let mut next = guess.clamp(1, max);
    let mut tries = 0;
    while high - low > 1 {
        if fits(next)? {
            low = next;
        } else {
            high = next;
        }
        tries += 1;
        let neighbour = if low == next { low + 1 } else { high - 1 };
        next = if tries == 1 && neighbour > low && neighbour < high { neighbour } else { low + (high - low) / 2 };
    }
    Ok((low > 0).then_some(low))
}

/// A decoded picture's shape; its pixels are the codec's.
#[derive(Clone, Copy)]
struct Shape {
    width: usize,
    height: usize,
    subsamp: turbojpeg::Subsamp,
}

impl Codec {
    fn new() -> turbojpeg::Result<Self> {
        let mut decompressor = Decompressor::new()?;
        decompressor.set_scan_limit(MAX_SCANS)?;
        Ok(Codec { decompressor, compressor: Compressor::new()?, yuv: Vec::new(), jpeg: Vec::new() })
    }

    /// Decodes into `yuv`. Damage that a viewer would show as a grey stripe is an error too.
    fn decode(&mut self, jpeg: &[u8], info: &JpegInfo) -> Result<Shape, ReencodeError> {
        let header = self.decompressor.read_header(jpeg).map_err(undecodable)?;
        if (header.width, header.height) != (info.width.into(), info.height.into()) {
            return Err(ReencodeError::Undecodable("it states its size twice, and differently".into()));
        }
        if !matches!(header.colorspace, Colorspace::YCbCr | Colorspace::Gray) || header.is_lossless {
            return Err(ReencodeError::Undecodable(format!(
                "its colour space {:?} is not supported",
                header.colorspace
            )));
        }
        let shape = Shape { width: header.width, height: header.height, subsamp: header.subsamp };
        let Shape { width, height, subsamp } = shape;
        let size = turbojpeg::yuv_pixels_len(width, ALIGN, height, subsamp).map_err(undecodable)?;
        self.yuv.resize(size, 0);
        let image = YuvImage { pixels: self.yuv.as_mut_slice(), width, align: ALIGN, height, subsamp };
        self.decompressor.decompress_to_yuv(jpeg, image).map_err(undecodable)?;
        Ok(shape)
    }

    /// Encodes what was decoded last into `jpeg`, and says how many bytes it took.
    fn encode(&mut self, shape: Shape, quality: u8) -> Result<usize, ReencodeError> {
        let Shape { width, height, subsamp } = shape;
        let size = turbojpeg::compressed_buf_len(width, height, subsamp).map_err(undecodable)?;
        self.jpeg.resize(size, 0);
        self.compressor.set_quality(i32::from(quality)).map_err(undecodable)?;
        let image = YuvImage { pixels: self.yuv.as_slice(), width, align: ALIGN, height, subsamp };
        self.compressor.compress_yuv_to_slice(image, &mut self.jpeg).map_err(undecodable)
    }
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::SamplingFactor;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        jpeg::inspect,
        samples::{encode, picture},
    };

    fn apply(reencoder: &mut Reencoder, jpeg: &[u8]) -> Result<Option<Bytes>, ReencodeError> {
        let info = inspect(jpeg).expect("sound");
        reencoder.apply(&Bytes::copy_from_slice(jpeg), &info)
    }

    #[test]
    fn never_and_small_enough_pictures_stay_as_they_are() {
        let jpeg = picture(64, 64, 1);
        assert_eq!(apply(&mut Reencoder::new(Reencode::Never, 10, 1), &jpeg), Ok(None));
        assert_eq!(apply(&mut Reencoder::new(Reencode::Size, 10, jpeg.len()), &jpeg), Ok(None));
    }

    #[test]
    fn quality_encodes_every_picture_and_keeps_its_size_and_sampling() {
        let mut reencoder = Reencoder::new(Reencode::Quality, 30, 1 << 20);
        for (width, height, factor) in [
            (96, 64, SamplingFactor::F_2_2),
            (33, 17, SamplingFactor::F_2_1),
            (160, 120, SamplingFactor::F_1_1),
            (8, 8, SamplingFactor::F_2_2),
        ] {
            let jpeg = encode(width, height, 1, |e| e.set_sampling_factor(factor));
            let small = apply(&mut reencoder, &jpeg).expect("decodable").expect("encoded anew");
            let (before, after) = (inspect(&jpeg).expect("sound"), inspect(&small).expect("sound"));
            assert_eq!((after.width, after.height, after.sampling), (width, height, before.sampling));
            assert!(small.len() < jpeg.len());
        }
    }

    #[test]
    fn size_takes_the_highest_quality_that_fits() {
        let jpeg = picture(160, 120, 1);
        let sizes: Vec<usize> = (1..=85)
            .map(|quality| {
                let anew = apply(&mut Reencoder::new(Reencode::Quality, quality, 1), &jpeg);
                anew.expect("decodable").expect("anew").len()
            })
            .collect();
        let mut reencoder = Reencoder::new(Reencode::Size, 85, 0);
        for limit in [sizes[0], sizes[40] + 1, sizes[40], sizes[70], jpeg.len() - 1] {
            reencoder.max_bytes = limit;
            let anew = apply(&mut reencoder, &jpeg).expect("decodable").expect("anew");
            let best = sizes.iter().copied().filter(|size| *size <= limit).max();
            assert_eq!(Some(anew.len()), best, "at most {limit} bytes");
        }
        reencoder.max_bytes = sizes[0] - 1;
        let error = apply(&mut reencoder, &jpeg).expect_err("nothing fits");
        assert_eq!(error, ReencodeError::TooLarge { bytes: sizes[0], limit: sizes[0] - 1 });
        assert_eq!(DropReason::from(&error), DropReason::too_large);
    }

    #[test]
    fn a_picture_without_colour_stays_so() {
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
        encoder.encode(&[90; 64 * 64], 64, 64, jpeg_encoder::ColorType::Luma).expect("sound");
        let anew = apply(&mut Reencoder::new(Reencode::Quality, 50, 0), &jpeg).expect("decodable").expect("anew");
        assert_eq!(inspect(&anew).expect("sound").components, 1);
    }

    #[test]
    fn a_header_that_asks_for_gigabytes_is_refused() {
        let mut jpeg = picture(64, 64, 1);
        let sof = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).expect("a SOF");
        jpeg[sof + 5..sof + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
        let error = apply(&mut Reencoder::new(Reencode::Quality, 50, 0), &jpeg).expect_err("refused");
        assert!(error.to_string().contains("65500x65500"), "{error}");
    }

    proptest! {
        #[test]
        fn the_search_finds_the_highest_that_fits(max in 1u8..=100, guess in 0u8..=101, threshold in 0u8..=101) {
            let mut tries = Vec::new();
            let found = highest_fit::<()>(max, guess, |q| {
                assert!((1..=max).contains(&q));
                tries.push(q);
                Ok(q <= threshold)
            });
            let expected = (threshold > 0).then_some(threshold.min(max));
            prop_assert_eq!(found, Ok(expected));
            prop_assert!(tries.len() <= 9);
            prop_assert_eq!(tries.into_iter().rfind(|q| *q <= threshold), expected);
        }

        #[test]
        fn a_damaged_picture_is_an_error_and_no_crash(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()
        ) {
            let mut jpeg = encode(48, 48, 1, |e| e.set_sampling_factor(SamplingFactor::F_2_2));
            for (at, value) in damage {
                let at = at.index(jpeg.len());
                jpeg[at] = value;
            }
            let mut reencoder = Reencoder::new(Reencode::Quality, 50, 0);
            if let Ok(info) = inspect(&jpeg) {
                let _ = reencoder.apply(&Bytes::from(jpeg.clone()), &info);
                // What a damaged header says need not be what a decoder makes of it.
                jpeg.truncate(cut.index(jpeg.len()));
                prop_assert!(reencoder.apply(&Bytes::from(jpeg), &info).is_err());
            }
        }
    }
}
