//! Raw pictures: how a device lays them out in memory, and their JPEGs.

use bytes::Bytes;
use edgereel_crds::device::DeviceFormat;
use edgereel_frame::encode::EncodeError;
use ffmpeg_next::{format::Pixel, frame::Video as Picture};

use super::offer::Size;
use crate::source::jpegs::Jpegs;

/// One plane of a picture in a device's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plane {
    begin: usize,
    /// From one row to the next.
    stride: usize,
    row: usize,
    rows: usize,
}

impl Plane {
    fn end(&self) -> usize {
        self.begin + self.stride * self.rows.saturating_sub(1) + self.row
    }
}

/// How a format's pictures are laid out (source: the kernel's documentation of V4L2's image formats).
fn layout(format: DeviceFormat, Size(width, height): Size, stride: usize) -> Option<(Pixel, Vec<Plane>)> {
    let (width, height) = (width as usize, height as usize);
    let packed = |row: usize| vec![Plane { begin: 0, stride: stride.max(row), row, rows: height }];
    let (half, halves) = (width.div_ceil(2), height.div_ceil(2));
    let luma = Plane { begin: 0, stride: stride.max(width), row: width, rows: height };
    Some(match format {
        DeviceFormat::Auto | DeviceFormat::Mjpeg => return None,
        DeviceFormat::Yuyv => (Pixel::YUYV422, packed(half * 4)),
        DeviceFormat::Uyvy => (Pixel::UYVY422, packed(half * 4)),
        DeviceFormat::Rgb24 => (Pixel::RGB24, packed(width * 3)),
        DeviceFormat::Bgr24 => (Pixel::BGR24, packed(width * 3)),
        DeviceFormat::Grey => (Pixel::GRAY8, packed(width)),
        DeviceFormat::Nv12 => {
            let chroma =
                Plane { begin: luma.stride * height, stride: luma.stride.max(half * 2), row: half * 2, rows: halves };
            (Pixel::NV12, vec![luma, chroma])
        }
        DeviceFormat::Yu12 => {
            let u = Plane { begin: luma.stride * height, stride: (luma.stride / 2).max(half), row: half, rows: halves };
            let v = Plane { begin: u.begin + u.stride * halves, ..u };
            (Pixel::YUV420P, vec![luma, u, v])
        }
    })
}

/// Encodes a device's raw pictures.
pub struct Raw {
    planes: Vec<Plane>,
    picture: Picture,
    jpegs: Jpegs,
}

impl Raw {
    /// For pictures of this format and size, with so many bytes from a row to the next; none of what is no raw format.
    pub fn new(format: DeviceFormat, size: Size, stride: usize, quality: u8) -> Result<Option<Self>, EncodeError> {
        let Some((pixel, planes)) = layout(format, size, stride) else { return Ok(None) };
        Ok(Some(Raw { planes, picture: Picture::new(pixel, size.0, size.1), jpegs: Jpegs::new(quality)? }))
    }

    /// How many bytes a whole picture has.
    pub fn bytes(&self) -> usize {
        self.planes.iter().map(Plane::end).max().unwrap_or_default()
    }

    /// The JPEG of a whole picture; none of one that has too few bytes or cannot be turned.
    pub fn encode(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, EncodeError> {
        if bytes.len() < self.bytes() {
            return Ok(None);
        }
        for (n, plane) in self.planes.iter().enumerate() {
            let stride = self.picture.stride(n);
            let target = self.picture.data_mut(n);
            for row in 0..plane.rows {
                let from = &bytes[plane.begin + row * plane.stride..][..plane.row];
                target[row * stride..][..plane.row].copy_from_slice(from);
            }
        }
        self.jpegs.encode(&self.picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture that is dark on its left half and bright on its right.
    fn halves(format: DeviceFormat, Size(width, height): Size, stride: usize) -> Vec<u8> {
        let (_, planes) = layout(format, Size(width, height), stride).expect("raw");
        let mut bytes = vec![0x55; planes.iter().map(Plane::end).max().unwrap_or_default()];
        for (n, plane) in planes.iter().enumerate() {
            for row in 0..plane.rows {
                for at in 0..plane.row {
                    let (x, chroma) = match format {
                        DeviceFormat::Yuyv => (at / 2, at % 2 == 1),
                        DeviceFormat::Uyvy => (at / 2, at % 2 == 0),
                        DeviceFormat::Rgb24 | DeviceFormat::Bgr24 => (at / 3, false),
                        _ => (at, n > 0),
                    };
                    let bright = x >= width as usize / 2;
                    bytes[plane.begin + row * plane.stride + at] = match (chroma, bright) {
                        (true, _) => 128,
                        (false, true) => 230,
                        (false, false) => 20,
                    };
                }
            }
        }
        bytes
    }

    #[test]
    fn raw_pictures_of_all_formats_become_jpegs_that_show_the_same() {
        use DeviceFormat::{Bgr24, Grey, Nv12, Rgb24, Uyvy, Yu12, Yuyv};
        for format in [Yuyv, Uyvy, Nv12, Yu12, Rgb24, Bgr24, Grey] {
            for (size, padding) in [(Size(64, 48), 0), (Size(62, 50), 18), (Size(63, 49), 1)] {
                let (_, planes) = layout(format, size, 0).expect("raw");
                let stride = (planes[0].row + padding).next_multiple_of(2);
                let mut raw = Raw::new(format, size, stride, 90).expect("an encoder").expect("a raw format");
                let bytes = halves(format, size, stride);
                let jpeg = raw.encode(&bytes).expect("encoded").unwrap_or_else(|| panic!("{format:?} {size}"));
                let decoded = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::GRAY).expect("a JPEG");
                assert_eq!((decoded.width, decoded.height), (size.0 as usize, size.1 as usize), "{format:?}");
                let at = |x: usize| decoded.pixels[decoded.pitch * (decoded.height / 2) + x];
                let (left, right) = (at(8), at(decoded.width - 8));
                assert!(left < 60 && right > 200, "{format:?} {size}: {left} and {right}");
                assert_eq!(raw.encode(&bytes[..raw.bytes() - 1]).expect("no fault"), None, "cut short");
            }
        }
    }

    #[test]
    fn jpeg_is_no_raw_format() {
        assert!(Raw::new(DeviceFormat::Mjpeg, Size(64, 48), 0, 90).expect("no fault").is_none());
    }
}
