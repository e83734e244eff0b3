//! A picture whose end has to be found: what was read of it so far.

use edgereel_frame::jpeg::{End, Walk, images};

use super::boundary::Boundary;

pub(super) struct Scan {
    /// The picture's bytes; of one that is too large, the last ones.
    pub(super) body: Vec<u8>,
    pub(super) walk: Walk,
    /// What was read before the walk began anew, within an MPO.
    read: usize,
    /// Up to here there is no delimiter in the body.
    searched: usize,
    /// Pictures of the same MPO that are still to come, once it is known.
    more: Option<u32>,
    /// Nothing is kept any more but what a delimiter may begin in.
    pub(super) too_large: bool,
}

impl Scan {
    /// Nothing was read yet; of so many bytes perhaps.
    pub(super) fn new(guess: usize) -> Self {
        let body = Vec::with_capacity(guess);
        Scan { body, walk: Walk::new(), read: 0, searched: 0, more: None, too_large: false }
    }

    /// How many bytes were read.
    pub(super) fn total(&self) -> usize {
        self.read + self.walk.read()
    }

    /// Whether the walk's end is not the picture's: it is an MPO of which more is to come.
    pub(super) fn goes_on(&mut self, end: End) -> bool {
        let more = match (end, self.more) {
            (End::After(_), None) => images(&self.body) - 1,
            (End::After(_), Some(more)) => more,
            // The next one of the MPO begins, behind some padding.
            (End::Restarts, more) => more.map_or(0, |more| more + 1),
        };
        if more > 0 {
            self.more = Some(more - 1);
            self.read += self.walk.read();
            self.walk = Walk::new();
        }
        more > 0
    }

    /// Where the first delimiter lies that is not the content of one of the picture's segments. It is, if the segment ends
    /// where its length says: before a marker. If it does not, the picture was cut short in it.
    pub(super) fn delimiter(&mut self, boundary: &Boundary) -> Option<usize> {
        loop {
            let Some((at, _)) = boundary.find(&self.body[self.searched..]) else {
                self.searched = self.searched.max(self.body.len().saturating_sub(boundary.max_len()));
                return None;
            };
            let at = self.searched + at;
            let mut walk = Walk::new();
            walk.feed(&self.body[..at]);
            let Some(left) = walk.in_segment().filter(|_| !self.too_large) else { return Some(at) };
            match self.body.get(at + left..at + left + 2) {
                Some([0xFF, 0x01..=0xFF]) => self.searched = at + left,
                Some(_) => return Some(at),
                // More bytes will tell.
                None => return None,
            }
        }
    }

    /// It is too large: keeps no more than a delimiter may begin in.
    pub(super) fn forget(&mut self, keep: usize) {
        self.body.drain(..self.body.len().saturating_sub(keep));
        self.body.shrink_to(32 << 10);
        self.searched = 0;
    }
}
