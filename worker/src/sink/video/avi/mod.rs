//! AVI files: RIFF with OpenDML, one video stream.
//!
//! - [`layout`] is the shape of the file as pure functions from plain data to bytes: header and indexes.
//! - [`write`](mod@write) appends frames to a file; [`recover`] takes up a file that was left at a checkpoint.
//! - [`read`] finds the frames of a file, by its chunks or by its index, and trusts nothing in it.
//!
//! ```text
//! RIFF AVI   hdrl (avih, strl (strh, strf, indx), odml (dmlh)), JUNK, movi (00dc …, ix00), idx1
//! RIFF AVIX  movi (00dc …, ix00)
//! …
//! ```
//!
//! Everything up to the first frame has a fixed size: counts, sizes and the list of indexes (`indx`) are patched in place,
//! all else is appended. A RIFF stays near 1 GiB, so that 32-bit readers cope; its index stands at its end.
//!
//! A picture that is shown again is written again. The format has a cheaper way, a chunk without content; players keep the
//! time then, but programs that count and seek by frames (OpenCV) find fewer frames than the header says, and other ones.
//! Such chunks, and index entries that point at one chunk twice, are passed over by FFmpeg's index.
//!
//! Sources: Microsoft's "AVI RIFF File Reference"; Matrox's "OpenDML AVI File Format Extensions" 1.02.

pub mod layout;
pub mod read;
pub mod recover;
pub mod write;

#[cfg(test)]
mod large_tests;

/// Frames a second, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// So many frames …
    pub frames: u32,
    /// … in so many seconds.
    pub seconds: u32,
}

impl Rate {
    /// `n` frames each second.
    pub const fn per_second(n: u32) -> Self {
        Rate { frames: n, seconds: 1 }
    }

    /// As a number.
    pub fn fps(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }
}

/// What a file holds; one file holds one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// `MJPG` or `XVID`.
    pub codec: [u8; 4],
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// Motion JPEG.
pub const MJPG: [u8; 4] = *b"MJPG";
/// MPEG-4 ASP.
pub const XVID: [u8; 4] = *b"XVID";

/// How large the parts of a file grow. Only tests use others than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A RIFF's size, in bytes. A single frame may exceed it.
    pub riff_bytes: u64,
    /// A RIFF's frames: bounds the memory for its index and the time to rebuild it.
    pub riff_frames: usize,
    /// RIFFs in a file: places reserved in the header.
    pub riffs: usize,
}

impl Default for Limits {
    /// 8 TiB or two thousand million frames in a file, 4 MiB of memory for an index.
    fn default() -> Self {
        Limits { riff_bytes: 1 << 30, riff_frames: 1 << 18, riffs: 1 << 13 }
    }
}
