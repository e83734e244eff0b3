//! In a picture: by its length, or up to its own end or the next delimiter.

use bytes::{Buf, Bytes};
use edgereel_frame::jpeg::{EOI, End, SOI};

use super::{MultipartParser, State, Step, boundary::Begins, header::Header, scan::Scan};
use crate::source::Part;

/// How much of a part without length is read at a time.
const SCAN_PIECE: usize = 16 << 10;

impl MultipartParser {
    pub(super) fn go_scan(&mut self) -> Step {
        let guess = (self.last_scan + self.last_scan / 8).clamp(SCAN_PIECE, self.max_frame_bytes + SCAN_PIECE);
        self.go(State::Scan(Scan::new(guess)))
    }

    /// The length was wrong: reads the same bytes again without one.
    pub(super) fn distrust(&mut self, body: Vec<u8>) -> Step {
        self.wrong_lengths += 1;
        self.unread_text();
        self.unread(body.into());
        self.go_scan()
    }

    /// Collects a picture of known length.
    pub(super) fn sized(&mut self, mut body: Vec<u8>, length: usize) -> Step {
        while body.len() < length {
            let Some(front) = self.input.front_mut() else {
                self.state = State::Sized { body, length };
                return Step::NeedMore;
            };
            let piece = front.len().min(length - body.len());
            body.extend_from_slice(&front[..piece]);
            front.advance(piece);
            if front.is_empty() {
                self.input.pop_front();
            }
        }
        if body.ends_with(&EOI) {
            return self.emit(Part::Picture(body.into()), State::Seek { pictures: true });
        }
        self.go(State::Doubt { body })
    }

    /// Looks whether a delimiter follows; else the length was wrong.
    pub(super) fn doubt(&mut self, body: Vec<u8>) -> Step {
        match self.boundary.begins(&self.text) {
            Begins::Maybe => self.read_text(State::Doubt { body }),
            Begins::Yes if body.len() >= SOI.len() => {
                self.emit(Part::Picture(body.into()), State::Seek { pictures: false })
            }
            Begins::Yes | Begins::No => self.distrust(body),
        }
    }

    /// Collects a picture up to its own end or the next delimiter, whichever comes first.
    pub(super) fn scan(&mut self, mut scan: Scan) -> Step {
        let Some(front) = self.input.front_mut() else {
            self.state = State::Scan(scan);
            return Step::NeedMore;
        };
        let mut piece = front.split_to(front.len().min(SCAN_PIECE));
        if front.is_empty() {
            self.input.pop_front();
        }
        let read_before = scan.walk.read();
        let end = scan.walk.feed(&piece);
        self.unread(piece.split_off(scan.walk.read() - read_before));
        reserve(&mut scan.body, piece.len(), self.max_frame_bytes + SCAN_PIECE + self.boundary.max_len());
        scan.body.extend_from_slice(&piece);
        let (next, bytes) = if let Some(at) = scan.delimiter(&self.boundary) {
            let behind = scan.body.len() - at;
            self.unread(Bytes::from(scan.body.split_off(at)));
            // The line break before a delimiter belongs to it.
            let breaks = scan.body.ends_with(b"\r\n") as usize + scan.body.ends_with(b"\n") as usize;
            scan.body.truncate(scan.body.len() - breaks);
            (Some(State::Seek { pictures: false }), scan.total() - behind - breaks)
        } else {
            let next = match end {
                Some(end) if scan.goes_on(end) => None,
                Some(End::After(_)) => Some(State::Seek { pictures: true }),
                Some(End::Restarts) => {
                    self.unread(Bytes::from_static(&SOI));
                    scan.body.truncate(scan.body.len() - SOI.len());
                    Some(State::Start(Header::default()))
                }
                None => None,
            };
            (next, scan.total())
        };
        if let Some(next) = next {
            if scan.too_large || scan.body.len() > self.max_frame_bytes {
                return self.emit(Part::TooLarge(bytes), next);
            }
            self.last_scan = scan.body.len();
            return self.emit(Part::Picture(scan.body.into()), next);
        }
        scan.too_large |= scan.body.len() > self.max_frame_bytes + self.boundary.max_len();
        if scan.too_large {
            scan.forget(self.boundary.max_len());
        }
        self.go(State::Scan(scan))
    }
}

/// Makes room for `more` bytes by doubling, but never for more than `limit` in all.
fn reserve(body: &mut Vec<u8>, more: usize, limit: usize) {
    if body.capacity() - body.len() < more {
        let goal = (2 * body.capacity()).min(limit).max(body.len() + more);
        body.reserve_exact(goal - body.len());
    }
}
