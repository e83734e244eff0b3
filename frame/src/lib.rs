//! A frame and its wire formats.
//!
//! - [`encode`] makes a JPEG of what a decoder of video gives.
//! - [`jpeg`] looks at a JPEG's structure without decoding it, and mends what cameras leave out.
//! - [`reencode`] decodes and encodes anew, where `encoding.reencode` asks for it.
//! - [`picture`] tells pictures of several kinds apart.
//! - [`reasons`] says why a frame is dropped, mended or refused.
//! - [`wire`] turns a frame into a Kafka record and back.

pub mod encode;
pub mod jpeg;
pub mod picture;
pub mod reasons;
pub mod reencode;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
pub mod wire;

use bytes::Bytes;
use jiff::Timestamp;

/// One picture as it came from a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The whole JPEG, from SOI to EOI.
    pub jpeg: Bytes,
    /// When its last byte arrived.
    pub captured_at: Timestamp,
    /// Counts up from 0 within a session of the worker; dropped frames leave gaps.
    pub sequence: u64,
}
