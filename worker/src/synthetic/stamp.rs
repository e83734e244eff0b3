//! The text in a synthetic frame's JPEG comment: `edgereel seq=123 time=2024-06-04T10:30:00.123456Z camera=lab`.
//!
//! It lets a test follow a frame from the camera to the disk without reading pictures.

use std::fmt;

use jiff::Timestamp;

/// Which frame of which camera this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts up from 0 for each camera.
    pub sequence: u64,
    /// When it was made; microseconds survive writing and reading.
    pub time: Timestamp,
    /// The camera's name.
    pub camera: String,
}

/// A comment is a segment of at most 64 KiB: a longer name is cut.
const MAX_NAME: usize = 1024;

impl Stamp {
    /// A stamp; a name over 1024 characters is cut.
    pub fn new(sequence: u64, time: Timestamp, camera: &str) -> Self {
        Stamp { sequence, time, camera: camera.chars().take(MAX_NAME).collect() }
    }

    /// Reads a comment's text back. Nothing for a comment that is not a stamp.
    pub fn parse(comment: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(comment).ok()?.strip_prefix("edgereel seq=")?;
        let (sequence, text) = text.split_once(" time=")?;
        // The name comes last because it may have spaces.
        let (time, camera) = text.split_once(" camera=")?;
        Some(Stamp { sequence: sequence.parse().ok()?, time: time.parse().ok()?, camera: camera.into() })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edgereel seq={} time={:.6} camera={}", self.sequence, self.time, self.camera)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_the_documented_one() {
        let time = "2024-06-04T10:30:00.123456Z".parse().expect("a time");
        let text = Stamp::new(123, time, "lab").to_string();
        assert_eq!(text, "edgereel seq=123 time=2024-06-04T10:30:00.123456Z camera=lab");
    }

    #[test]
    fn other_comments_are_no_stamps() {
        for text in ["", "edgereel", "Created with GIMP", "edgereel seq=x time=2024-06-04T10:30:00Z camera=lab"] {
            assert_eq!(Stamp::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Stamp::parse(&[0xFF, 0xFE]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sequence: u64, us in 0i64..4_000_000_000_000_000, camera in ".{0,80}") {
            let stamp = Stamp::new(sequence, Timestamp::from_microsecond(us).expect("in range"), &camera);
            prop_assert_eq!(Stamp::parse(stamp.to_string().as_bytes()), Some(stamp));
        }

        #[test]
        fn reading_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Stamp::parse(&bytes);
        }
    }
}
