//! Takes out of a chunked answer what stands behind a chunk's length, before the HTTP client sees it.
//!
//! The client bounds such extensions for a whole body, and the body of a stream never ends: after 16 KiB of them, over
//! hours perhaps, it would break off. Here the bound is a line's. All else is passed on as it comes, in place.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line of a chunk.
const MAX_CHUNK_LINE: usize = 16 << 10;
/// As much of a header's line as is looked at.
const MAX_HEAD_LINE: usize = 1 << 10;

/// Follows a connection's answers, as they come in pieces of any size.
#[derive(Debug)]
struct Answers {
    state: State,
    /// The current line of a header.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a header.
    Head(Head),
    /// In a chunk's line. Behind its length, `passed_over` bytes so far.
    Size {
        length: u64,
        passed_over: Option<usize>,
    },
    /// In a chunk's bytes, and its line break.
    Chunk {
        left: u64,
    },
    ChunkEnd,
    /// Behind the last chunk; `blank` if nothing stands in the line so far.
    Trailer {
        blank: bool,
    },
    /// In a body of known length.
    Body {
        left: u64,
    },
    /// Whatever comes is no matter of ours.
    Raw,
}

/// What a header has said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    status: Option<u16>,
    chunked: bool,
    length: Option<u64>,
}

impl Head {
    /// Takes in a line that is not the last.
    fn take(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        if self.status.is_none() {
            self.status = line.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()).or(Some(0));
        } else if let Some((name, value)) = line.split_once(':') {
            let (name, value) = (name.trim(), value.trim().to_ascii_lowercase());
            if name.eq_ignore_ascii_case("transfer-encoding") {
                self.chunked = value.rsplit(',').next().is_some_and(|last| last.trim() == "chunked");
            } else if name.eq_ignore_ascii_case("content-length") {
                self.length = value.parse().ok();
            }
        }
    }

    /// What follows behind it.
    fn body(self) -> State {
        match self {
            Head { status: Some(100..=199 | 204 | 304), .. } | Head { length: Some(0), chunked: false, .. } => {
                State::Head(Head::default())
            }
            Head { chunked: true, .. } => State::Size { length: 0, passed_over: None },
            Head { length: Some(left), .. } => State::Body { left },
            Head { .. } => State::Raw,
        }
    }
}

impl Answers {
    fn new() -> Self {
        Answers { state: State::Head(Head::default()), line: Vec::new() }
    }

    /// Filters the next bytes in place, and tells how many are left.
    fn filter(&mut self, data: &mut [u8]) -> io::Result<usize> {
        let (mut read, mut kept) = (0, 0);
        while read < data.len() {
            let (step, keep) = self.step(&data[read..])?;
            if keep {
                if kept < read {
                    data.copy_within(read..read + step, kept);
                }
                kept += step;
            }
            read += step;
        }
        Ok(kept)
    }

    /// How many of these bytes, one at least, are passed on, or are not.
    fn step(&mut self, data: &[u8]) -> io::Result<(usize, bool)> {
        let up_to = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        match self.state {
            State::Head(head) => Ok((self.head(head, data), true)),
            State::Size { length, passed_over } => self.size(length, passed_over, data),
            State::Chunk { left } => {
                let step = up_to(left);
                let left = left - step as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk { left } };
                Ok((step, true))
            }
            State::ChunkEnd => {
                if data[0] == b'\n' {
                    self.state = State::Size { length: 0, passed_over: None };
                }
                Ok((1, true))
            }
            State::Trailer { blank } => {
                self.state = match data[0] {
                    b'\n' if blank => State::Head(Head::default()),
                    b'\n' => State::Trailer { blank: true },
                    byte => State::Trailer { blank: blank && byte == b'\r' },
                };
                Ok((1, true))
            }
            State::Body { left } => {
                let step = up_to(left);
                let left = left - step as u64;
                self.state = if left == 0 { State::Head(Head::default()) } else { State::Body { left } };
                Ok((step, true))
            }
            State::Raw => Ok((data.len(), true)),
        }
    }

    /// Reads on in a header's line.
    fn head(&mut self, mut head: Head, data: &[u8]) -> usize {
        let step = memchr(b'\n', data).map_or(data.len(), |at| at + 1);
        let room = MAX_HEAD_LINE - self.line.len();
        self.line.extend_from_slice(&data[..step.min(room)]);
        let (line, http) = (self.line.trim_ascii(), b"HTTP/");
        let begins = &line[..line.len().min(http.len())];
        if head.status.is_none() && !http.starts_with(begins) {
            // No header at all, but the body.
            self.state = State::Raw;
        } else if data[step - 1] == b'\n' {
            self.state = match line {
                // Line breaks before an answer.
                [] if head.status.is_none() => self.state,
                [] => head.body(),
                line => {
                    head.take(line);
                    State::Head(head)
                }
            };
            self.line.clear();
        }
        step
    }

    /// Reads on in a chunk's line.
    fn size(&mut self, length: u64, passed_over: Option<usize>, data: &[u8]) -> io::Result<(usize, bool)> {
        let digit = (data[0] as char).to_digit(16);
        match (data[0], digit, passed_over) {
            (b'\n', ..) => {
                self.state = if length == 0 { State::Trailer { blank: true } } else { State::Chunk { left: length } };
                Ok((1, true))
            }
            (b'\r', ..) => Ok((1, true)),
            (_, Some(digit), None) => {
                let length = length.checked_mul(16).and_then(|length| length.checked_add(digit.into()));
                // The client says what is wrong with it.
                self.state = length.map_or(State::Raw, |length| State::Size { length, passed_over });
                Ok((1, true))
            }
            _ => {
                let line = data.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(data.len());
                let passed_over = passed_over.unwrap_or_default() + line;
                if passed_over > MAX_CHUNK_LINE {
                    let message = format!("a chunk's line is longer than {} KiB", MAX_CHUNK_LINE >> 10);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                self.state = State::Size { length, passed_over: Some(passed_over) };
                Ok((line, false))
            }
        }
    }
}

/// A connection whose chunks come without extensions.
pub(super) struct Unextended<S> {
    stream: S,
    answers: Answers,
}

impl<S> Unextended<S> {
    /// Of a connection that is new.
    pub(super) fn new(stream: S) -> Self {
        Unextended { stream, answers: Answers::new() }
    }
}

impl<S> Connection for Unextended<S> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unextended<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let kept = this.answers.filter(&mut buf.filled_mut()[before..])?;
            buf.set_filled(before + kept);
            // Nothing would mean the end.
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unextended<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Filters a connection's bytes, cut at these places.
    fn filtered(wire: &[u8], cuts: &[prop::sample::Index]) -> io::Result<Vec<u8>> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        at.extend([0, wire.len()]);
        at.sort_unstable();
        let (mut answers, mut out) = (Answers::new(), Vec::new());
        for cut in at.windows(2) {
            let mut piece = wire[cut[0]..cut[1]].to_vec();
            let kept = answers.filter(&mut piece)?;
            out.extend_from_slice(&piece[..kept]);
        }
        Ok(out)
    }

    /// A chunked answer with these chunks, each with an extension.
    fn chunked(chunks: &[Vec<u8>], extension: &str, trailer: &str) -> Vec<u8> {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            wire.extend([format!("{:x}{extension}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        wire.extend(format!("0{extension}\r\n{trailer}\r\n").bytes());
        wire
    }

    /// Bytes that look like the lines around them.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b"0a;\r\n :HTP/1."[..]), 0..80)
    }

    proptest! {
        #[test]
        fn extensions_are_taken_out_and_nothing_else_however_the_connection_is_cut(
            chunks in prop::collection::vec(body(), 0..5), plain in body(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            extension in prop::sample::select(vec!["", ";a", " ;note=\"x 0a\"", "  "]), trailer in prop::sample::select(vec!["", "X: y\r\n"]),
        ) {
            let length = format!("\r\nHTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", plain.len());
            let others: [&[u8]; 4] = [
                b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n",
                &[length.as_bytes(), &plain].concat(), b"HTTP/1.0 200 OK\r\n\r\n4;x\r\nraw to the end",
            ];
            let wire = |extension: &str| {
                [&others[..1].concat(), &chunked(&chunks, extension, trailer), &others[1..3].concat(),
                    &chunked(&chunks, extension, trailer), &others[3].to_vec()].map(|part| part.to_vec()).concat()
            };
            prop_assert_eq!(filtered(&wire(extension), &cuts).expect("short lines"), wire(""));
        }

        #[test]
        fn arbitrary_bytes_pass_and_never_panic(wire in body(), start in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
            let head = if start { &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"[..] } else { b"" };
            let wire = [head, &wire].concat();
            prop_assert!(filtered(&wire, &cuts).expect("short lines").len() <= wire.len());
        }
    }

    #[test]
    fn the_bound_is_a_lines_and_not_a_connections() {
        let chunks = vec![vec![7; 50]; 1000];
        let long = format!(";{}", "n".repeat(1000));
        assert_eq!(filtered(&chunked(&chunks, &long, ""), &[]).expect("each is short"), chunked(&chunks, "", ""));
        let too_long = format!(";{}", "n".repeat(MAX_CHUNK_LINE));
        let error = filtered(&chunked(&chunks, &too_long, ""), &[]).expect_err("a line without end");
        assert_eq!(error.to_string(), "a chunk's line is longer than 16 KiB");
    }
}
