//! Encodes planes of YUV 4:2:0 in JPEG's full range, as a decoder of video gives them.

use bytes::Bytes;
use turbojpeg::{Compressor, Subsamp, YuvPlanesImage};

/// The longest side that libjpeg encodes (`JPEG_MAX_DIMENSION`).
pub const MAX_SIDE: usize = 65_500;

/// Why a picture cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the picture cannot be encoded as JPEG: {0}")]
pub struct EncodeError(String);

impl From<turbojpeg::Error> for EncodeError {
    fn from(error: turbojpeg::Error) -> Self {
        EncodeError(error.to_string())
    }
}

/// One plane: its bytes, and from one row to the next.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// The rows, the last of which may end early.
    pub bytes: &'a [u8],
    /// At least the plane's width.
    pub stride: usize,
}

impl Plane<'_> {
    fn holds(&self, (width, height): (usize, usize)) -> bool {
        let last = height.checked_sub(1).and_then(|rows| rows.checked_mul(self.stride));
        let needed = last.and_then(|last| last.checked_add(width));
        self.stride >= width && needed.is_some_and(|needed| needed <= self.bytes.len())
    }

    /// A copy with even sides, whose last column and row are there twice if they were odd.
    fn evened(&self, (width, height): (usize, usize)) -> Vec<u8> {
        let row = |row: usize| {
            let row = &self.bytes[row * self.stride..][..width];
            row.iter().chain(row.last().filter(|_| width % 2 == 1)).copied()
        };
        (0..height.next_multiple_of(2)).flat_map(|n| row(n.min(height - 1))).collect()
    }
}

/// Encodes pictures one after the other, in the same memory.
pub struct Encoder {
    compressor: Compressor,
    jpeg: Vec<u8>,
}

impl Encoder {
    /// For this quality, 1 to 100.
    pub fn new(quality: u8) -> Result<Self, EncodeError> {
        let mut compressor = Compressor::new()?;
        compressor.set_quality(i32::from(quality.clamp(1, 100)))?;
        Ok(Encoder { compressor, jpeg: Vec::new() })
    }

    /// The JPEG of a picture: luma, and the two planes of chroma, which have half its width and height, rounded up.
    ///
    /// # Errors
    /// When a side is 0 or above [`MAX_SIDE`], or a plane has too few bytes.
    pub fn encode(&mut self, width: usize, height: usize, planes: [Plane<'_>; 3]) -> Result<Bytes, EncodeError> {
        let (half, subsamp) = ((width.div_ceil(2), height.div_ceil(2)), Subsamp::Sub2x2);
        // The binding panics where a plane is too small.
        if ![width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(EncodeError(format!("its size is {width}x{height}")));
        }
        if ![(width, height), half, half].into_iter().zip(&planes).all(|(size, plane)| plane.holds(size)) {
            return Err(EncodeError("a plane has too few bytes".into()));
        }
        let [mut y, u, v] = planes;
        // Where a side is odd, the encoder reads luma as if it were even.
        let evened;
        if width % 2 == 1 || height % 2 == 1 {
            evened = y.evened((width, height));
            y = Plane { bytes: &evened, stride: width.next_multiple_of(2) };
        }
        self.jpeg.resize(turbojpeg::compressed_buf_len(width, height, subsamp)?, 0);
        let image = YuvPlanesImage {
            y_plane: y.bytes,
            u_plane: u.bytes,
            v_plane: v.bytes,
            width,
            height,
            y_stride: y.stride,
            u_stride: u.stride,
            v_stride: v.stride,
            subsamp,
        };
        let length = self.compressor.compress_yuv_planes_to_slice(&image, &mut self.jpeg)?;
        Ok(Bytes::copy_from_slice(&self.jpeg[..length]))
    }
}

#[cfg(test)]
mod tests {
    use turbojpeg::{Decompressor, Image, PixelFormat};

    use super::*;
    use crate::jpeg::inspect;

    /// A picture whose left half is light and whose right half is dark, in rows that are longer than they are wide.
    fn halves(width: usize, height: usize) -> Result<Bytes, EncodeError> {
        let stride = width + 13;
        let mut luma: Vec<u8> = (0..stride * height).map(|at| if at % stride < width / 2 { 250 } else { 5 }).collect();
        // The last rows end where the picture does.
        luma.truncate(stride * (height - 1) + width);
        let chroma = vec![128; stride * (height.div_ceil(2) - 1) + width.div_ceil(2)];
        let grey = Plane { bytes: &chroma, stride };
        Encoder::new(90)?.encode(width, height, [Plane { bytes: &luma, stride }, grey, grey])
    }

    #[test]
    fn planes_with_padded_rows_and_odd_sides_become_the_picture_that_they_are() {
        for (width, height) in [(64, 48), (65, 47), (16, 16), (1, 1), (33, 2)] {
            let jpeg = halves(width, height).expect("encoded");
            let info = inspect(&jpeg).expect("sound");
            assert_eq!((usize::from(info.width), usize::from(info.height)), (width, height));
            if width < 32 {
                continue;
            }
            let mut grey =
                Image { pixels: vec![0; width * height], width, pitch: width, height, format: PixelFormat::GRAY };
            Decompressor::new().and_then(|mut it| it.decompress(&jpeg, grey.as_deref_mut())).expect("decoded");
            for row in grey.pixels.chunks(width) {
                assert!(row[1] > 240 && row[width - 2] < 15, "{width}x{height}: {row:?}");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let nothing = Plane { bytes: &[], stride: 0 };
        let mut encoder = Encoder::new(85).expect("an encoder");
        for (width, height) in [(0, 0), (0, 16), (16, 0), (70_000, 1), (1, 70_000), (16, 16)] {
            assert!(encoder.encode(width, height, [nothing; 3]).is_err(), "{width}x{height}");
        }
        // And it goes on.
        let plane = Plane { bytes: &[128; 16], stride: 4 };
        assert!(encoder.encode(4, 4, [plane; 3]).is_ok());
    }
}
