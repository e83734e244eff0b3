//! Finds where a JPEG ends, in a stream that may be cut anywhere.

use memchr::memchr;

/// Where a JPEG ends, counted within the bytes that were fed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind its EOI: this many of the bytes belong to it.
    After(usize),
    /// Another JPEG begins before this one has ended. Its SOI are the last two bytes that were read; nothing behind
    /// them was looked at, and [`Walk::read`] tells how far that is.
    Restarts,
}

/// Walks over a JPEG from its SOI on. Segments are stepped over by their length, so that a thumbnail's EOI inside one
/// does not count; only scans are searched.
#[derive(Clone, Debug)]
pub struct Walk {
    state: State,
    read: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a scan (or in what is no JPEG at all): searching for an FF.
    Scan,
    /// Behind an FF.
    Marker,
    /// Behind a marker that has a length.
    LengthHigh,
    LengthLow(u8),
    /// In a segment, with so many bytes to go.
    Segment(u16),
}

impl Default for Walk {
    fn default() -> Self {
        Walk::new()
    }
}

impl Walk {
    /// A walk that expects a SOI.
    pub fn new() -> Self {
        Walk { state: State::Scan, read: 0 }
    }

    /// How many bytes were read, over all calls.
    pub fn read(&self) -> usize {
        self.read
    }

    /// How many bytes the segment still has in which the walk stands; `None` outside of one.
    pub fn in_segment(&self) -> Option<usize> {
        match self.state {
            State::Segment(left) if left > 0 => Some(left.into()),
            _ => None,
        }
    }

    /// Reads on; `None` when the end is not among these bytes.
    pub fn feed(&mut self, data: &[u8]) -> Option<End> {
        let before = self.read;
        let mut at = 0;
        while at < data.len() {
            match self.state {
                State::Scan => match memchr(0xFF, &data[at..]) {
                    Some(n) => {
                        at += n + 1;
                        self.state = State::Marker;
                    }
                    None => at = data.len(),
                },
                State::Marker => {
                    let marker = data[at];
                    at += 1;
                    self.state = match marker {
                        0xFF => State::Marker,
                        0xD9 => {
                            self.read = before + at;
                            return Some(End::After(at));
                        }
                        0xD8 if before + at > 2 => {
                            self.read = before + at;
                            return Some(End::Restarts);
                        }
                        // A stuffed zero, a restart, the SOI, or nothing that has a length.
                        0x00..=0xBF | 0xD0..=0xD8 => State::Scan,
                        _ => State::LengthHigh,
                    };
                }
                State::LengthHigh => {
                    self.state = State::LengthLow(data[at]);
                    at += 1;
                }
                State::LengthLow(high) => {
                    let length = u16::from_be_bytes([high, data[at]]);
                    at += 1;
                    self.state = State::Segment(length.saturating_sub(2));
                }
                State::Segment(left) => {
                    let step = usize::from(left).min(data.len() - at);
                    at += step;
                    let left = left - step as u16;
                    self.state = if left == 0 { State::Scan } else { State::Segment(left) };
                }
            }
        }
        self.read = before + data.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{encode, picture, with_comment};

    proptest! {
        #[test]
        fn the_end_is_found_however_the_stream_is_cut(
            cuts in prop::collection::vec(0usize..4000, 0..6), progressive in any::<bool>()
        ) {
            // A comment with an EOI inside, and another picture behind.
            let jpeg = with_comment(&encode(32, 32, 5, |e| e.set_progressive(progressive)), "\u{ff}\u{d9}");
            let jpeg = [&jpeg[..2], &[0xFF, 0xE1, 0, 4, 0xFF, 0xD9], &jpeg[2..]].concat();
            let stream = [&jpeg[..], &picture(16, 16, 6)].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % stream.len()).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut walk = Walk::new();
            let end = cuts.windows(2).find_map(|c| match walk.feed(&stream[c[0]..c[1]])? {
                End::After(n) => Some(c[0] + n),
                End::Restarts => None,
            });
            prop_assert_eq!(end, Some(jpeg.len()));
            prop_assert_eq!(walk.read(), jpeg.len());
        }
    }

    #[test]
    fn a_picture_that_was_cut_short_ends_where_the_next_begins() {
        let jpeg = picture(32, 32, 5);
        let mut walk = Walk::new();
        assert_eq!(walk.feed(&jpeg[..jpeg.len() - 2]), None);
        assert_eq!(walk.feed(&jpeg), Some(End::Restarts));
        assert_eq!(walk.read(), jpeg.len());
    }
}
