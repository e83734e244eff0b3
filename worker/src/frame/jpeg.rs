//! A JPEG's structure, without decoding it.

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegInfo {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}
