//! The bytes of a multipart stream, and the ways in which real cameras write them.
//!
//! Everything here is pure: options and a picture in, bytes out.

use std::{fmt, str::FromStr};

use bytes::{Bytes, BytesMut};

use crate::synthetic::entropy::segments;

/// The boundary, without the dashes of a delimiter.
pub const BOUNDARY: &str = "edgereel-frame";

macro_rules! quirks {
    ($($name:ident = $text:literal: $help:literal,)*) => {
        /// A camera's way of writing a stream; several go together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Quirk {
            $(#[doc = $help] $name,)*
        }

        impl Quirk {
            /// All of them, with their names and what they do.
            pub const ALL: &[(Quirk, &str, &str)] = &[$((Quirk::$name, $text, $help),)*];
        }
    };
}

quirks! {
    NoContentLength = "no-content-length": "parts without Content-Length",
    ParamWithDashes = "param-dashes": "the header's boundary has the delimiter's dashes",
    ParamQuoted = "param-quoted": "the header's boundary parameter stands in quotes",
    ParamMissing = "param-missing": "the header has no boundary parameter",
    Doubled = "boundary-doubled": "each boundary comes twice",
    FirstMissing = "boundary-first-missing": "no boundary before the first part",
    Terminated = "boundary-terminated": "each boundary is `--x--`, as if it were the last",
    BlankLine = "blank-line": "an empty line before each boundary",
    LfOnly = "lf-only": "lines in the body end with LF instead of CR LF",
    LowerCase = "lower-case": "part headers in small letters",
    NoHuffman = "no-huffman": "pictures without Huffman tables",
    NoEoi = "no-eoi": "pictures without their end marker",
    Padding = "padding": "512 zero bytes after each picture, in its length",
}

/// A set of quirks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format(u32);

impl Format {
    /// Whether the camera has this quirk.
    pub fn has(self, quirk: Quirk) -> bool {
        self.0 >> quirk as u32 & 1 == 1
    }
}

impl FromIterator<Quirk> for Format {
    fn from_iter<T: IntoIterator<Item = Quirk>>(quirks: T) -> Self {
        Format(quirks.into_iter().fold(0, |set, quirk| set | 1 << quirk as u32))
    }
}

impl FromStr for Format {
    type Err = String;

    /// Reads `no-content-length,blank-line`; `plain` is none.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = |name: &str| Quirk::ALL.iter().find(|(_, text, _)| *text == name);
        let names = text.split(',').filter(|name| !matches!(*name, "" | "plain"));
        names
            .map(|name| {
                known(name).map(|(quirk, ..)| *quirk).ok_or_else(|| {
                    let names: Vec<&str> = Quirk::ALL.iter().map(|(_, name, _)| *name).collect();
                    format!("`{name}` is not a format: take plain, {}", names.join(", "))
                })
            })
            .collect()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Quirk::ALL.iter().filter(|(q, ..)| self.has(*q)).map(|(_, name, _)| *name).collect();
        f.write_str(if names.is_empty() { "plain".into() } else { names.join(",") }.as_str())
    }
}

impl Format {
    /// The stream's Content-Type.
    pub fn content_type(self) -> String {
        let kind = "multipart/x-mixed-replace";
        match self {
            _ if self.has(Quirk::ParamMissing) => kind.into(),
            _ if self.has(Quirk::ParamQuoted) && self.has(Quirk::ParamWithDashes) => {
                format!("{kind}; boundary=\"--{BOUNDARY}\"")
            }
            _ if self.has(Quirk::ParamQuoted) => format!("{kind}; boundary=\"{BOUNDARY}\""),
            _ if self.has(Quirk::ParamWithDashes) => format!("{kind}; boundary=--{BOUNDARY}"),
            _ => format!("{kind}; boundary={BOUNDARY}"),
        }
    }

    /// The end of a line in the body.
    fn eol(self) -> &'static str {
        if self.has(Quirk::LfOnly) { "\n" } else { "\r\n" }
    }

    /// What comes before a part's content: the delimiter and the part's header. `claimed` is the Content-Length.
    pub fn before(self, first: bool, kind: &str, claimed: usize) -> String {
        let eol = self.eol();
        let mut text = String::new();
        if !(first && self.has(Quirk::FirstMissing)) {
            let end = if self.has(Quirk::Terminated) && !first { "--" } else { "" };
            let delimiter = format!("--{BOUNDARY}{end}{eol}");
            text.push_str(&delimiter.repeat(if self.has(Quirk::Doubled) { 2 } else { 1 }));
        }
        let (kind_name, length_name) = match self.has(Quirk::LowerCase) {
            true => ("content-type", "content-length"),
            false => ("Content-Type", "Content-Length"),
        };
        text.push_str(&format!("{kind_name}: {kind}{eol}"));
        if !self.has(Quirk::NoContentLength) {
            text.push_str(&format!("{length_name}: {claimed}{eol}"));
        }
        text + eol
    }

    /// What comes after a part's content.
    pub fn after(self) -> &'static [u8] {
        let eol = self.eol().as_bytes();
        match (self.has(Quirk::BlankLine), self.has(Quirk::LfOnly)) {
            (true, true) => b"\n\n",
            (true, false) => b"\r\n\r\n",
            (false, _) => eol,
        }
    }

    /// What ends a stream in good order.
    pub fn end(self) -> String {
        format!("--{BOUNDARY}--{}", self.eol())
    }

    /// A frame as this camera writes it.
    pub fn picture(self, jpeg: Bytes) -> Bytes {
        let mut jpeg = jpeg;
        if self.has(Quirk::NoHuffman) {
            jpeg = without_huffman_tables(&jpeg);
        }
        if self.has(Quirk::NoEoi) {
            jpeg.truncate(jpeg.len() - 2);
        }
        if self.has(Quirk::Padding) {
            let mut padded = BytesMut::from(&jpeg[..]);
            padded.resize(jpeg.len() + 512, 0);
            jpeg = padded.freeze();
        }
        jpeg
    }
}

fn without_huffman_tables(jpeg: &[u8]) -> Bytes {
    const DHT: u8 = 0xC4;
    let starts: Vec<(u8, usize)> = segments(jpeg).collect();
    let ends = starts.iter().skip(1).map(|(_, at)| *at).chain([jpeg.len()]);
    let mut kept = BytesMut::from(&jpeg[..2]);
    for ((marker, start), end) in starts.iter().zip(ends) {
        if *marker != DHT {
            kept.extend_from_slice(&jpeg[*start..end]);
        }
    }
    kept.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> Format {
        text.parse().expect("a format")
    }

    #[test]
    fn each_quirk_changes_the_delimiter_and_header_as_it_says() {
        let rest = "Content-Type: image/jpeg\r\nContent-Length: 7\r\n\r\n";
        for (name, first, second, after) in [
            ("plain", "--edgereel-frame\r\n", "--edgereel-frame\r\n", "\r\n"),
            (
                "boundary-doubled",
                "--edgereel-frame\r\n--edgereel-frame\r\n",
                "--edgereel-frame\r\n--edgereel-frame\r\n",
                "\r\n",
            ),
            ("boundary-first-missing", "", "--edgereel-frame\r\n", "\r\n"),
            ("boundary-terminated", "--edgereel-frame\r\n", "--edgereel-frame--\r\n", "\r\n"),
            ("blank-line", "--edgereel-frame\r\n", "--edgereel-frame\r\n", "\r\n\r\n"),
        ] {
            let format = format(name);
            assert_eq!(format.before(true, "image/jpeg", 7), format!("{first}{rest}"), "{name}");
            assert_eq!(format.before(false, "image/jpeg", 7), format!("{second}{rest}"), "{name}");
            assert_eq!(format.after(), after.as_bytes(), "{name}");
        }
        assert_eq!(
            format("no-content-length,lf-only,lower-case").before(true, "image/jpeg", 7),
            "--edgereel-frame\ncontent-type: image/jpeg\n\n"
        );
        assert_eq!(format("lf-only").end(), "--edgereel-frame--\n");
    }

    #[test]
    fn the_boundary_parameter_has_its_variants() {
        for (name, parameter) in [
            ("plain", "; boundary=edgereel-frame"),
            ("param-dashes", "; boundary=--edgereel-frame"),
            ("param-quoted", "; boundary=\"edgereel-frame\""),
            ("param-quoted,param-dashes", "; boundary=\"--edgereel-frame\""),
            ("param-missing", ""),
        ] {
            assert_eq!(format(name).content_type(), format!("multipart/x-mixed-replace{parameter}"), "{name}");
        }
    }

    #[test]
    fn pictures_lose_their_tables_or_end_or_gain_padding() {
        let pattern = crate::synthetic::Pattern::new(64, 64, 3_000).expect("a pattern");
        let whole = pattern.frame(0, jiff::Timestamp::UNIX_EPOCH, "lab");
        let bare = format("no-huffman").picture(whole.clone());
        assert!(segments(&whole).any(|(m, _)| m == 0xC4) && !segments(&bare).any(|(m, _)| m == 0xC4));
        assert_eq!(bare.len() + 432, whole.len(), "four standard tables have 420 bytes and four headers of 3");
        assert_eq!(format("no-eoi").picture(whole.clone()), whole[..whole.len() - 2]);
        let padded = format("padding").picture(whole.clone());
        assert!(padded.starts_with(&whole) && padded[whole.len()..] == [0; 512]);
    }

    #[test]
    fn names_are_read_and_written_back_and_an_unknown_one_names_the_others() {
        for (_, name, _) in Quirk::ALL {
            assert_eq!(format(name).to_string(), *name);
        }
        assert_eq!(format("plain").to_string(), "plain");
        let error = "no-content".parse::<Format>().expect_err("refused");
        assert!(error.contains("`no-content`") && error.contains("no-content-length"), "{error}");
    }
}
