//! Finds the pictures in what MJPEG cameras send: a pure, incremental parser with bounded memory.
//!
//! It is multipart by RFC 2046 in name. Real servers send lengths that belong to another part, boundaries that they did
//! not declare, none before the first part, pictures with no part around them at all. The rules that cope with all:
//!
//! - A part with `Content-Length` is taken by its length, if it then ends as a JPEG does or a delimiter follows. Otherwise
//!   the length was wrong: the same bytes are read again as if there were none. After two such parts, lengths count for
//!   nothing. So the picture is passed on with its last byte, and a wrong length costs no picture.
//! - A part without length ends with its JPEG (see [`Walk`]), or, where that was cut short, before the next delimiter.
//! - Between parts everything is passed over up to the next delimiter. Before the first delimiter, part headers or a
//!   JPEG may begin right away, and a line with two dashes before part headers shows an undeclared boundary.
//!
//! Where a picture begins and ends depends on the stream's bytes alone, never on how they arrive. A picture's bytes are
//! copied once, into an allocation of their own that goes on to Kafka.

mod boundary;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, mem};

use boundary::{Begins, Boundary};
use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::Part;
use crate::{
    frame::jpeg::{EOI, End, SOI, Walk},
    metrics::DropReason,
};

/// The longest part header.
const MAX_HEADER: usize = 16 << 10;
/// The longest line before the first delimiter.
const MAX_LINE: usize = 4 << 10;
/// How much may come before the first part.
const MAX_PREAMBLE: usize = 64 << 10;
/// How much is read as text at a time. What of it belongs to a picture is copied twice: so it is small.
const TEXT_PIECE: usize = 1 << 10;
/// How much of a part without length is read at a time.
const SCAN_PIECE: usize = 16 << 10;
/// Wrong lengths after which lengths count for nothing. VLC's first part alone has one.
const WRONG_LENGTHS: u32 = 2;

/// Why a stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A part's header does not end.
    #[error("a part's header is longer than {} KiB", MAX_HEADER >> 10)]
    EndlessHeader,
    /// Nothing in the beginning looks like a part.
    #[error("no picture and no boundary in the first {} KiB; it begins with `{begins}`", MAX_PREAMBLE >> 10)]
    NoParts {
        /// The first bytes, as text.
        begins: String,
    },
}

/// The parser. Give it bytes with [`push`](Self::push), then call [`next`](Self::next) until it has nothing more.
pub struct MultipartParser {
    max_frame_bytes: usize,
    boundary: Boundary,
    state: State,
    /// Pushed and not yet read, in order.
    input: VecDeque<Bytes>,
    /// The text that is being read, taken from the input.
    text: BytesMut,
    /// Bytes passed over since the last part, while no delimiter was met.
    preamble: usize,
    begins: String,
    wrong_lengths: u32,
    /// The size of the last part without length, to guess the next one's.
    last_scan: usize,
}

enum State {
    /// Between parts.
    Seek,
    /// In a part's header; `read` bytes of it are done.
    Header {
        length: Option<usize>,
        any: bool,
        read: usize,
    },
    /// Before the first byte of a part's body.
    Start {
        length: Option<usize>,
        any: bool,
    },
    /// In a picture whose length is known.
    Sized {
        body: Vec<u8>,
        length: usize,
    },
    /// Behind a picture whose length is known, and which does not end as pictures do.
    Doubt {
        body: Vec<u8>,
    },
    /// In a picture whose end has to be found; without `keep`, in one that is too large.
    Scan {
        body: Vec<u8>,
        walk: Walk,
        keep: bool,
    },
    Failed,
}

enum Step {
    Again,
    Part(Part),
    NeedMore,
    Fail(ParseError),
}

impl MultipartParser {
    /// A parser of a body with this `Content-Type`. Pictures above `max_frame_bytes` are skipped; memory stays below
    /// three times that and some 64 KiB, apart from what was pushed last.
    pub fn new(content_type: &str, max_frame_bytes: usize) -> Self {
        MultipartParser {
            max_frame_bytes,
            boundary: Boundary::new(boundary::declared(content_type).as_deref()),
            state: State::Seek,
            input: VecDeque::new(),
            text: BytesMut::new(),
            preamble: 0,
            begins: String::new(),
            wrong_lengths: 0,
            last_scan: 0,
        }
    }

    /// Adds bytes. Call [`next`](Self::next) until it returns `None` before more are added: what was pushed is kept.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.input.push_back(bytes);
        }
    }

    /// The next part; `None` when more bytes are needed. After an error there is nothing more.
    #[allow(clippy::should_implement_trait)] // `None` is not the end: bytes may be pushed and parts follow
    pub fn next(&mut self) -> Option<Result<Part, ParseError>> {
        loop {
            let step = match mem::replace(&mut self.state, State::Failed) {
                State::Seek if self.boundary.seen() => self.seek(),
                State::Seek => self.seek_first(),
                State::Header { length, any, read } => self.header(length, any, read),
                State::Start { length, any } => self.start(length, any),
                State::Sized { body, length } => self.sized(body, length),
                State::Doubt { body } => self.doubt(body),
                State::Scan { body, walk, keep } => self.scan(body, walk, keep),
                State::Failed => {
                    self.input.clear();
                    return None;
                }
            };
            match step {
                Step::Again => {}
                Step::Part(part) => return Some(Ok(part)),
                Step::NeedMore => return None,
                Step::Fail(error) => return Some(Err(error)),
            }
        }
    }

    /// Whether no part has begun that is not whole: the stream may end here in order.
    pub fn is_between_parts(&self) -> bool {
        self.input.is_empty() && matches!(self.state, State::Seek | State::Header { any: false, .. })
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Step::Again
    }

    fn emit(&mut self, part: Part, state: State) -> Step {
        self.state = state;
        Step::Part(part)
    }

    /// Reads on as text, and comes back to `state`.
    fn read_text(&mut self, state: State) -> Step {
        self.state = state;
        let Some(front) = self.input.front_mut() else { return Step::NeedMore };
        let piece = front.len().min(TEXT_PIECE);
        self.text.extend_from_slice(&front[..piece]);
        front.advance(piece);
        if front.is_empty() {
            self.input.pop_front();
        }
        Step::Again
    }

    /// What was read as text is not.
    fn unread_text(&mut self) {
        let text = self.text.split().freeze();
        self.unread(text);
    }

    fn unread(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.input.push_front(bytes);
        }
    }

    /// Passes over everything before the next delimiter.
    fn seek(&mut self) -> Step {
        if let Some((_, end)) = self.boundary.find(&self.text) {
            self.text.advance(end);
            return self.go(State::Header { length: None, any: false, read: 0 });
        }
        let passed = self.text.len().saturating_sub(self.boundary.max_len());
        self.text.advance(passed);
        self.read_text(State::Seek)
    }

    /// Looks for the first part, as long as no delimiter was met: line by line.
    fn seek_first(&mut self) -> Step {
        let breaks = self.text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text.advance(breaks);
        if self.text.first() == Some(&SOI[0]) && self.text.len() < 2 {
            return self.read_text(State::Seek);
        }
        if self.text.starts_with(&SOI) {
            return self.go(State::Start { length: None, any: false });
        }
        let Some(line) = line(&self.text) else { return self.read_text(State::Seek) };
        if self.boundary.meets(&self.text[..line]) {
            self.text.advance(line);
            return self.go(State::Header { length: None, any: false, read: 0 });
        }
        if let Some((_, end)) = self.boundary.find(&self.text[..line]) {
            self.boundary.see();
            self.text.advance(end);
            return self.go(State::Header { length: None, any: false, read: 0 });
        }
        if is_part_header(&self.text[..line]) {
            return self.go(State::Header { length: None, any: false, read: 0 });
        }
        if let Some(core) = Boundary::shown_by(&self.text[..line]) {
            let Some(next) = self::line(&self.text[line..]) else { return self.read_text(State::Seek) };
            let next = &self.text[line..line + next];
            if is_part_header(next) || next.trim_ascii().is_empty() || Boundary::shown_by(next) == Some(core) {
                let core = core.to_vec();
                self.boundary.learn(&core);
                self.text.advance(line);
                return self.go(State::Header { length: None, any: false, read: 0 });
            }
        }
        if self.begins.is_empty() {
            let start = &self.text[..line.min(32)];
            self.begins = String::from_utf8_lossy(start.trim_ascii()).escape_debug().to_string();
        }
        let passed = match memmem::find(&self.text[..line], &[SOI[0], SOI[1], 0xFF]) {
            Some(at) => at,
            // A delimiter may begin in what is no whole line.
            None if self.text[line - 1] != b'\n' => line - 256,
            None => line,
        };
        self.text.advance(passed);
        self.preamble += passed;
        if self.preamble > MAX_PREAMBLE {
            return Step::Fail(ParseError::NoParts { begins: mem::take(&mut self.begins) });
        }
        self.go(State::Seek)
    }

    /// Reads a part's header line by line.
    fn header(&mut self, length: Option<usize>, any: bool, read: usize) -> Step {
        let again = State::Header { length, any, read };
        if self.text.starts_with(&SOI) {
            return self.go(State::Start { length, any });
        }
        let room = MAX_HEADER - read;
        let Some(end) = memchr(b'\n', &self.text[..self.text.len().min(room)]) else {
            let endless = self.text.len() >= room;
            return if endless { Step::Fail(ParseError::EndlessHeader) } else { self.read_text(again) };
        };
        let line = self.text.split_to(end + 1);
        let read = read + line.len();
        if self.boundary.meets(&line[..end]) {
            return self.go(State::Header { length: None, any: false, read: 0 });
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return self.go(State::Start { length, any });
        }
        let length = content_length(line).or(length);
        self.go(State::Header { length, any: true, read })
    }

    /// Decides by the first bytes of its body what to do with a part.
    fn start(&mut self, length: Option<usize>, any: bool) -> Step {
        match *self.text {
            [] | [0xFF] => return self.read_text(State::Start { length, any }),
            [0xFF, 0xD8, ..] => {}
            _ => match self.boundary.begins(&self.text) {
                Begins::Maybe => return self.read_text(State::Start { length, any }),
                Begins::Yes if any => return self.emit(Part::Skipped(DropReason::empty), State::Seek),
                Begins::Yes => return self.go(State::Seek),
                // A length that may or may not count these line breaks is of no use.
                Begins::No if matches!(self.text[0], b'\r' | b'\n') => {
                    self.text.advance(1);
                    return self.go(State::Start { length: None, any });
                }
                Begins::No if !any => return self.go(State::Seek),
                Begins::No => {
                    let large = length.is_some_and(|n| n > self.max_frame_bytes);
                    let reason = if large { DropReason::too_large } else { DropReason::not_jpeg };
                    return self.emit(Part::Skipped(reason), State::Seek);
                }
            },
        }
        self.preamble = 0;
        self.unread_text();
        match length {
            // A length above the limit may be a lie: the part itself will tell.
            Some(length) if length <= self.max_frame_bytes && self.wrong_lengths < WRONG_LENGTHS => {
                self.go(State::Sized { body: Vec::with_capacity(length), length })
            }
            _ => self.go_scan(),
        }
    }

    fn go_scan(&mut self) -> Step {
        let guess = (self.last_scan + self.last_scan / 8).clamp(SCAN_PIECE, self.max_frame_bytes + SCAN_PIECE);
        self.go(State::Scan { body: Vec::with_capacity(guess), walk: Walk::new(), keep: true })
    }

    /// Collects a picture of known length.
    fn sized(&mut self, mut body: Vec<u8>, length: usize) -> Step {
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
            return self.emit(Part::Picture(body.into()), State::Seek);
        }
        self.go(State::Doubt { body })
    }

    /// Looks whether a delimiter follows; else the length was wrong.
    fn doubt(&mut self, body: Vec<u8>) -> Step {
        match self.boundary.begins(&self.text) {
            Begins::Maybe => self.read_text(State::Doubt { body }),
            Begins::Yes if body.len() >= SOI.len() => self.emit(Part::Picture(body.into()), State::Seek),
            Begins::Yes | Begins::No => {
                self.wrong_lengths += 1;
                self.unread_text();
                self.unread(body.into());
                self.go_scan()
            }
        }
    }

    /// Collects a picture up to its own end or the next delimiter, whichever comes first.
    fn scan(&mut self, mut body: Vec<u8>, mut walk: Walk, mut keep: bool) -> Step {
        let Some(front) = self.input.front_mut() else {
            self.state = State::Scan { body, walk, keep };
            return Step::NeedMore;
        };
        let mut piece = front.split_to(front.len().min(SCAN_PIECE));
        if front.is_empty() {
            self.input.pop_front();
        }
        let read_before = walk.read();
        let end = walk.feed(&piece);
        let read = walk.read() - read_before;
        self.unread(piece.split_off(read));
        let searched = body.len().saturating_sub(self.boundary.max_len());
        reserve(&mut body, piece.len(), self.max_frame_bytes + SCAN_PIECE + self.boundary.max_len());
        body.extend_from_slice(&piece);
        let state = if let Some((at, _)) = self.boundary.find(&body[searched..]) {
            self.unread(Bytes::from(body.split_off(searched + at)));
            // The line break before a delimiter belongs to it.
            let breaks = body.ends_with(b"\r\n") as usize + body.ends_with(b"\n") as usize;
            body.truncate(body.len() - breaks);
            Some(State::Seek)
        } else {
            match end {
                Some(End::After(_)) => Some(State::Seek),
                Some(End::Restarts) => {
                    self.unread(Bytes::from_static(&SOI));
                    body.truncate(body.len() - SOI.len());
                    Some(State::Start { length: None, any: false })
                }
                None => None,
            }
        };
        if let Some(state) = state {
            if !keep {
                return self.go(state);
            }
            if body.len() <= self.max_frame_bytes {
                self.last_scan = body.len();
                return self.emit(Part::Picture(body.into()), state);
            }
            return self.emit(Part::Skipped(DropReason::too_large), state);
        }
        let too_large = keep && body.len() > self.max_frame_bytes + self.boundary.max_len();
        keep &= !too_large;
        if !keep {
            body.drain(..body.len().saturating_sub(self.boundary.max_len()));
            body.shrink_to(2 * SCAN_PIECE);
        }
        let state = State::Scan { body, walk, keep };
        if too_large { self.emit(Part::Skipped(DropReason::too_large), state) } else { self.go(state) }
    }
}

/// Makes room for `more` bytes by doubling, but never for more than `limit` in all.
fn reserve(body: &mut Vec<u8>, more: usize, limit: usize) {
    if body.capacity() - body.len() < more {
        let goal = (2 * body.capacity()).min(limit).max(body.len() + more);
        body.reserve_exact(goal - body.len());
    }
}

/// The length of the first line with its line feed, or of as much as a line may be; `None` when more bytes will tell.
fn line(text: &[u8]) -> Option<usize> {
    let window = &text[..text.len().min(MAX_LINE)];
    memchr(b'\n', window).map(|at| at + 1).or((window.len() == MAX_LINE).then_some(MAX_LINE))
}

fn is_part_header(line: &[u8]) -> bool {
    line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) && line.contains(&b':')
}

fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    if name.trim().eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
}
