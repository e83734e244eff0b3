//! Finds the pictures in what MJPEG cameras send: a pure, incremental parser with bounded memory.
//!
//! It is multipart by RFC 2046 in name. Real servers send lengths that belong to another part, boundaries that they did
//! not declare, none before the first part, pictures with no part around them at all. The rules that cope with all:
//!
//! - A part with `Content-Length` is taken by its length, if it then ends as a JPEG does or a delimiter follows. Otherwise
//!   the length was wrong: the same bytes are read again as if there were none. After two such parts, lengths count for
//!   nothing. So the picture is passed on with its last byte, and a wrong length costs no picture.
//! - A part without length ends with its JPEG (see [`Walk`](edgereel_frame::jpeg::Walk)), or, where that was cut short, before the next delimiter.
//!   What looks like a delimiter within one of the picture's segments is a part of it, if the segment ends where its
//!   length says.
//! - The picture decides, not the labels around it: in a part of any type, whatever stands before the picture is passed
//!   over, and behind it another one may stand. A part that has none is counted, unless its type says that it is not
//!   meant to have any. (Sound can look like anything: there a picture has to be the first thing.)
//! - Between parts everything is passed over up to the next delimiter. Before the first delimiter, part headers or a
//!   JPEG may begin right away, a line with two dashes before part headers shows an undeclared boundary, and a header
//!   that announces a multipart stream is that of the answer, come late or twice.
//!
//! Where a picture begins and ends depends on the stream's bytes alone, never on how they arrive. A picture's bytes are
//! copied once, into an allocation of their own that goes on to Kafka.

mod boundary;
mod content;
mod header;
mod scan;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, mem};

use boundary::{Begins, Boundary};
use bytes::{Buf, Bytes, BytesMut};
use edgereel_frame::{
    jpeg::{BEGINNING, EOI, SOI},
    reasons::DropReason,
};
use header::{Content, Header, is_part_header};
use memchr::{memchr, memmem};
use scan::Scan;

use super::Part;

/// The longest part header.
const MAX_HEADER: usize = 16 << 10;
/// The longest line before the first delimiter.
const MAX_LINE: usize = 4 << 10;
/// How much may come before the first part.
const MAX_PREAMBLE: usize = 64 << 10;
/// How much is read as text at a time. What of it belongs to a picture is copied twice: so it is small.
const TEXT_PIECE: usize = 1 << 10;
/// Wrong lengths after which lengths count for nothing. VLC's first part alone has one.
const WRONG_LENGTHS: u32 = 2;

/// Why a stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A part's header does not end.
    #[error("a part's header is longer than {} KiB", MAX_HEADER >> 10)]
    EndlessHeader,
    /// Nothing in the beginning looks like a part.
    #[error("no picture and no boundary in the first {} KiB; it begins with {begins}", MAX_PREAMBLE >> 10)]
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
    /// Whether the stream has ended.
    ended: bool,
}

enum State {
    /// Between parts; or behind a picture in its part, where another one may stand.
    Seek {
        pictures: bool,
    },
    /// In a part's header; `read` bytes of it are done.
    Header {
        header: Header,
        read: usize,
    },
    /// Before the first byte of a part's body.
    Start(Header),
    /// Before the picture in a part's body, if it has one: it does not begin with it.
    Lead(Header),
    /// In a picture whose length is known.
    Sized {
        body: Vec<u8>,
        length: usize,
    },
    /// Behind a picture whose length is known, and which does not end as pictures do.
    Doubt {
        body: Vec<u8>,
    },
    /// In a picture whose end has to be found.
    Scan(Scan),
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
            state: State::Seek { pictures: false },
            input: VecDeque::new(),
            text: BytesMut::new(),
            preamble: 0,
            begins: String::new(),
            wrong_lengths: 0,
            last_scan: 0,
            ended: false,
        }
    }

    /// Adds bytes. Call [`next`](Self::next) until it returns `None` before more are added: what was pushed is kept.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.input.push_back(bytes);
        }
    }

    /// The stream has ended. Call [`next`](Self::next) once more: a picture that was begun is given as far as it came.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Whether nothing was seen yet that a stream of pictures has: no boundary, no part, no picture.
    pub fn knows_nothing(&self) -> bool {
        !self.boundary.is_known() && matches!(self.state, State::Seek { pictures: false })
    }

    /// The next part; `None` when more bytes are needed. After an error there is nothing more.
    #[allow(clippy::should_implement_trait)] // `None` is not the end: bytes may be pushed and parts follow
    pub fn next(&mut self) -> Option<Result<Part, ParseError>> {
        loop {
            let step = match mem::replace(&mut self.state, State::Failed) {
                State::Seek { pictures } if self.boundary.seen() => self.seek(pictures),
                State::Seek { .. } => self.seek_first(),
                State::Header { header, read } => self.header(header, read),
                State::Start(header) => self.start(header),
                State::Lead(header) => self.lead(header),
                State::Sized { body, length } => self.sized(body, length),
                State::Doubt { body } => self.doubt(body),
                State::Scan(scan) => self.scan(scan),
                State::Failed => {
                    self.input.clear();
                    return None;
                }
            };
            match step {
                Step::Again => {}
                Step::Part(part) => return Some(Ok(part)),
                Step::NeedMore if self.ended && self.is_within_a_picture() => {
                    if let Some(part) = self.last() {
                        return Some(Ok(part));
                    }
                }
                Step::NeedMore => return None,
                Step::Fail(error) => return Some(Err(error)),
            }
        }
    }

    /// Whether no part has begun that is not whole: the stream may end here in order.
    pub fn is_between_parts(&self) -> bool {
        self.input.is_empty()
            && match &self.state {
                State::Seek { .. } => true,
                State::Header { header, .. } => !header.any,
                State::Scan(scan) => scan.body.trim_ascii_end().ends_with(&EOI),
                _ => false,
            }
    }

    fn is_within_a_picture(&self) -> bool {
        matches!(self.state, State::Sized { .. } | State::Doubt { .. } | State::Scan(_))
    }

    /// What the stream's end leaves of a picture. One whose length was wrong is looked through first: it may be whole.
    fn last(&mut self) -> Option<Part> {
        match mem::replace(&mut self.state, State::Failed) {
            State::Sized { body, .. } | State::Doubt { body } => {
                self.distrust(body);
                None
            }
            State::Scan(scan) if scan.too_large => Some(Part::TooLarge(scan.total())),
            State::Scan(scan) if !scan.body.is_empty() => Some(Part::Picture(scan.body.into())),
            _ => None,
        }
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

    /// Passes over everything before the next delimiter, or before another picture.
    fn seek(&mut self, pictures: bool) -> Step {
        let delimiter = self.boundary.find(&self.text);
        let before = delimiter.map_or(self.text.len(), |(at, _)| at);
        if pictures && let Some(at) = memmem::find(&self.text[..before], &BEGINNING) {
            self.text.advance(at);
            return self.go(State::Start(Header::default()));
        }
        if let Some((_, end)) = delimiter {
            self.text.advance(end);
            return self.go(State::Header { header: Header::default(), read: 0 });
        }
        self.pass_over();
        self.read_text(State::Seek { pictures })
    }

    /// Passes over the text, but for what may be the beginning of a delimiter (and so of a picture, which is shorter).
    fn pass_over(&mut self) {
        let passed = self.text.len().saturating_sub(self.boundary.max_len());
        self.text.advance(passed);
    }

    /// Looks for the first part, as long as no delimiter was met: line by line.
    fn seek_first(&mut self) -> Step {
        let breaks = self.text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text.advance(breaks);
        if self.text.first() == Some(&SOI[0]) && self.text.len() < 2 {
            return self.read_text(State::Seek { pictures: false });
        }
        if self.text.starts_with(&SOI) {
            return self.go(State::Start(Header::default()));
        }
        let Some(line) = line(&self.text) else { return self.read_text(State::Seek { pictures: false }) };
        if self.boundary.meets(&self.text[..line]) {
            self.text.advance(line);
            return self.go(State::Header { header: Header::default(), read: 0 });
        }
        if let Some((_, end)) = self.boundary.find(&self.text[..line]) {
            self.boundary.see();
            self.text.advance(end);
            return self.go(State::Header { header: Header::default(), read: 0 });
        }
        if is_part_header(&self.text[..line]) {
            return self.go(State::Header { header: Header::default(), read: 0 });
        }
        if let Some(core) = Boundary::shown_by(&self.text[..line]) {
            let Some(next) = self::line(&self.text[line..]) else {
                return self.read_text(State::Seek { pictures: false });
            };
            let next = &self.text[line..line + next];
            if is_part_header(next) || next.trim_ascii().is_empty() || Boundary::shown_by(next) == Some(core) {
                let core = core.to_vec();
                self.boundary.learn(&core);
                self.text.advance(line);
                return self.go(State::Header { header: Header::default(), read: 0 });
            }
        }
        if self.begins.is_empty() {
            let start = &self.text[..line.min(32)];
            self.begins = match std::str::from_utf8(start.trim_ascii()) {
                Ok(text) => format!("`{}`", text.escape_debug()),
                Err(_) => "bytes that are no text".into(),
            };
        }
        let passed = match memmem::find(&self.text[..line], &BEGINNING) {
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
        self.go(State::Seek { pictures: false })
    }

    /// Reads a part's header line by line.
    fn header(&mut self, mut header: Header, read: usize) -> Step {
        if self.text.starts_with(&SOI) {
            return self.go(State::Start(header));
        }
        let room = MAX_HEADER - read;
        let Some(end) = memchr(b'\n', &self.text[..self.text.len().min(room)]) else {
            let endless = self.text.len() >= room;
            let again = State::Header { header, read };
            return if endless { Step::Fail(ParseError::EndlessHeader) } else { self.read_text(again) };
        };
        let line = self.text.split_to(end + 1);
        let read = read + line.len();
        if self.boundary.meets(&line[..end]) {
            return self.go(State::Header { header: Header::default(), read: 0 });
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            header.take(line);
            return self.go(State::Header { header, read });
        }
        if let Content::Stream(declared) = &header.content {
            if let Some(declared) = declared
                && !self.boundary.seen()
            {
                self.boundary = Boundary::new(Some(declared));
            }
            return self.go(State::Seek { pictures: false });
        }
        self.go(State::Start(header))
    }

    /// Decides by the first bytes of its body what to do with a part.
    fn start(&mut self, header: Header) -> Step {
        let beginning = if header.content == Content::Sound { &BEGINNING[..] } else { &SOI };
        if self.text.starts_with(beginning) {
            return self.picture(header.length);
        }
        if beginning.starts_with(&self.text) {
            return self.read_text(State::Start(header));
        }
        match self.boundary.begins(&self.text) {
            Begins::Maybe => self.read_text(State::Start(header)),
            Begins::Yes => match header.means_a_picture() && self.boundary.seen() {
                true => self.emit(Part::Skipped(DropReason::empty), State::Seek { pictures: false }),
                false => self.go(State::Seek { pictures: false }),
            },
            // A length that may or may not count these line breaks is of no use.
            Begins::No if matches!(self.text[0], b'\r' | b'\n') => {
                self.text.advance(1);
                self.go(State::Start(Header { length: None, ..header }))
            }
            Begins::No if self.boundary.seen() => self.go(State::Lead(header)),
            Begins::No => self.go(State::Seek { pictures: false }),
        }
    }

    /// A picture begins here.
    fn picture(&mut self, length: Option<usize>) -> Step {
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

    /// Looks for the picture in a part that begins with something else.
    fn lead(&mut self, header: Header) -> Step {
        let delimiter = self.boundary.find(&self.text).map(|(at, _)| at);
        let before = delimiter.unwrap_or(self.text.len());
        if header.content != Content::Sound
            && let Some(at) = memmem::find(&self.text[..before], &BEGINNING)
        {
            self.text.advance(at);
            // The length may or may not count what was passed over.
            return self.go(State::Start(Header { length: None, ..header }));
        }
        if delimiter.is_none() {
            self.pass_over();
            return self.read_text(State::Lead(header));
        }
        let lost = match header.length {
            _ if !header.means_a_picture() => Part::Beside,
            Some(length) if length > self.max_frame_bytes => Part::TooLarge(length),
            _ => Part::Skipped(DropReason::not_jpeg),
        };
        self.emit(lost, State::Seek { pictures: false })
    }
}

/// The length of the first line with its line feed, or of as much as a line may be; `None` when more bytes will tell.
fn line(text: &[u8]) -> Option<usize> {
    let window = &text[..text.len().min(MAX_LINE)];
    memchr(b'\n', window).map(|at| at + 1).or((window.len() == MAX_LINE).then_some(MAX_LINE))
}
