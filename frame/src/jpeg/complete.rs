//! Whether a JPEG's scan is all there: decoded once, as only that can tell a picture without its end marker from half a
//! picture.

use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

/// As in `reencode`: larger pictures are not decoded, and so count as cut.
const MAX_PIXELS: usize = 64_000_000;
/// A progressive picture may have this many scans; some are made to take hours.
const MAX_SCANS: u32 = 100;

/// Decodes pictures of one camera, an eighth of their size; its buffers are used again and again.
#[derive(Default)]
pub struct Completeness {
    decoder: Option<Decompressor>,
    pixels: Vec<u8>,
}

impl std::fmt::Debug for Completeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completeness").field("pixels", &self.pixels.len()).finish_non_exhaustive()
    }
}

impl Completeness {
    /// Whether every block of the picture is there and decodes. The JPEG has to end in an EOI, put there if need be.
    pub fn is_complete(&mut self, jpeg: &[u8]) -> bool {
        self.decode(jpeg).is_ok()
    }

    /// TurboJPEG makes an error of each of libjpeg's warnings; "premature end of data segment" is the one looked for.
    fn decode(&mut self, jpeg: &[u8]) -> turbojpeg::Result<()> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                let mut decoder = Decompressor::new()?;
                decoder.set_scan_limit(MAX_SCANS)?;
                decoder.set_scaling_factor(ScalingFactor::ONE_EIGHTH)?;
                self.decoder.insert(decoder)
            }
        };
        let header = decoder.read_header(jpeg)?;
        if header.width.saturating_mul(header.height) > MAX_PIXELS {
            return Err(turbojpeg::Error::IntegerOverflow("pixels"));
        }
        let small = header.scaled(ScalingFactor::ONE_EIGHTH);
        self.pixels.resize(small.width * small.height, 0);
        let (width, height) = (small.width, small.height);
        let image =
            Image { pixels: self.pixels.as_mut_slice(), width, pitch: width, height, format: PixelFormat::GRAY };
        decoder.decompress(jpeg, image)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::EOI, *};
    use crate::samples::encode;

    #[test]
    fn only_a_picture_with_all_its_blocks_is_complete() {
        let mut completeness = Completeness::default();
        for (width, height) in [(64, 48), (33, 17), (320, 240)] {
            for progressive in [false, true] {
                let jpeg = encode(width, height, 1, |e| e.set_progressive(progressive));
                assert!(completeness.is_complete(&jpeg), "{width}x{height}");
                let scan = crate::jpeg::inspect(&jpeg).expect("sound").scan_start as usize;
                for part in [2, 4, 10] {
                    let cut = jpeg.len() - (jpeg.len() - scan) / part;
                    let cut = [&jpeg[..cut], &EOI].concat();
                    assert!(!completeness.is_complete(&cut), "{width}x{height} without 1/{part}");
                }
            }
        }
    }
}
