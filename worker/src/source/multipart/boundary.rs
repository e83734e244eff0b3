//! The line that parts a multipart stream, as cameras write it rather than as RFC 2046 wants it.

use memchr::memmem::Finder;

/// More than a delimiter has around its boundary: dashes, spaces and a line end.
const AROUND: usize = 32;

/// What is known of a stream's boundary.
///
/// Servers declare it with or without the two dashes, write three or more, close the stream between any two parts, or
/// forget the line break before it. So the dashes around a boundary are not part of it here, any number of them is taken
/// on both sides (but, behind other text, not fewer than two before it), and only the line end behind it has to be there.
pub(super) struct Boundary {
    /// Without dashes before it; empty when unknown.
    core: Vec<u8>,
    finder: Option<Finder<'static>>,
    /// Whether a delimiter was met, and the boundary is certain.
    seen: bool,
    /// It is written without dashes.
    bare: bool,
}

/// Whether a text begins with a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Yes,
    No,
    /// More bytes will tell.
    Maybe,
}

impl Boundary {
    /// As declared, with or without dashes; none or only dashes means that the body shows it.
    pub(super) fn new(declared: Option<&str>) -> Self {
        let mut boundary = Boundary { core: Vec::new(), finder: None, seen: false, bare: false };
        boundary.set(strip_dashes(declared.unwrap_or_default().as_bytes()));
        boundary
    }

    fn set(&mut self, core: &[u8]) {
        self.core = core.to_vec();
        self.finder = (!core.is_empty()).then(|| Finder::new(core).into_owned());
    }

    /// Whether a delimiter was met.
    pub(super) fn seen(&self) -> bool {
        self.seen
    }

    /// Whether it was declared or met.
    pub(super) fn is_known(&self) -> bool {
        !self.core.is_empty()
    }

    /// No delimiter is longer.
    pub(super) fn max_len(&self) -> usize {
        self.core.len() + AROUND
    }

    /// Whether a line (without its line feed) is a delimiter; if so, the boundary is certain from now on.
    pub(super) fn meets(&mut self, line: &[u8]) -> bool {
        let met = self.matches(line);
        if met {
            self.seen = true;
            self.bare = !line.starts_with(b"-");
        }
        met
    }

    /// A delimiter was [found](Self::find).
    pub(super) fn see(&mut self) {
        self.seen = true;
    }

    fn matches(&self, line: &[u8]) -> bool {
        !self.core.is_empty()
            && strip_dashes(line.trim_ascii_end())
                .strip_prefix(self.core.as_slice())
                .is_some_and(|rest| rest.len() <= AROUND / 2 && rest.iter().all(|b| *b == b'-'))
    }

    /// What boundary a line would show that is a delimiter although nobody declared it so.
    pub(super) fn shown_by(line: &[u8]) -> Option<&[u8]> {
        let line = line.trim_ascii_end();
        let core = line.strip_prefix(b"--").map(strip_dashes)?;
        let core = core.strip_suffix(b"--").unwrap_or(core);
        (!core.is_empty() && core.len() <= 200 && core.iter().all(|b| (b' '..=b'~').contains(b))).then_some(core)
    }

    /// Takes the boundary from the body.
    pub(super) fn learn(&mut self, core: &[u8]) {
        self.set(core);
        self.seen = true;
    }

    /// The first whole delimiter in a text: where it begins, and where the text behind its line begins.
    pub(super) fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let finder = self.finder.as_ref()?;
        finder.find_iter(text).find_map(|at| {
            let dashes = text[..at].iter().rev().take(AROUND / 4).take_while(|b| **b == b'-').count();
            let alone = self.bare && text[..at - dashes].ends_with(b"\n");
            let after = at + self.core.len();
            let tail = text[after..].iter().take(AROUND / 2).take_while(|b| b"- \t\r".contains(b)).count();
            let whole = text.get(after + tail) == Some(&b'\n');
            (whole && (dashes >= 2 || alone)).then_some((at - dashes, after + tail + 1))
        })
    }

    /// Whether a text begins with a delimiter, line breaks before it aside.
    pub(super) fn begins(&self, text: &[u8]) -> Begins {
        let breaks = text.iter().take(8).take_while(|b| b"\r\n".contains(b)).count();
        let text = &text[breaks..];
        if !self.seen {
            match text {
                [b'-', b'-', ..] => return Begins::Yes,
                [b'-'] => return Begins::Maybe,
                _ => {}
            }
        }
        let window = &text[..text.len().min(self.max_len())];
        match window.iter().position(|b| *b == b'\n') {
            Some(end) if self.matches(&window[..end]) => Begins::Yes,
            Some(_) => Begins::No,
            None if text.is_empty() => Begins::Maybe,
            None => {
                let rest = strip_dashes(window);
                let fits = self.core.starts_with(rest) || (rest.starts_with(&self.core) && !self.core.is_empty());
                if fits && text.len() < self.max_len() { Begins::Maybe } else { Begins::No }
            }
        }
    }
}

fn strip_dashes(text: &[u8]) -> &[u8] {
    let dashes = text.iter().take_while(|b| **b == b'-').count();
    &text[dashes..]
}

/// The `boundary` of a `Content-Type`, quoted or not.
pub(super) fn declared(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"').trim();
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_declared_in_many_ways() {
        for (content_type, boundary) in [
            ("multipart/x-mixed-replace;boundary=frame", Some("frame")),
            ("multipart/x-mixed-replace; boundary=--frame", Some("--frame")),
            ("multipart/x-mixed-replace; charset=utf-8; Boundary = \"a frame\" ; x=y", Some("a frame")),
            ("multipart/x-mixed-replace", None),
            ("multipart/x-mixed-replace; boundary=", None),
            ("application/octet-stream", None),
        ] {
            assert_eq!(declared(content_type).as_deref(), boundary, "{content_type}");
        }
    }

    #[test]
    fn a_delimiter_is_known_with_any_dashes_and_not_without_its_line_end() {
        let boundary = Boundary::new(Some("--frame"));
        for (text, found) in [
            ("--frame\r\n", Some((0, 9))),
            ("xx----frame--\n", Some((2, 14))),
            ("xx--frame \r\nContent", Some((2, 12))),
            ("--frames\r\n--frame\r\n", Some((10, 19))),
            ("frame\r\n", None),
            ("--frame\r", None),
            ("--fram\n", None),
        ] {
            assert_eq!(boundary.find(text.as_bytes()), found, "{text:?}");
        }
    }

    #[test]
    fn a_text_begins_with_a_delimiter_or_not_or_more_bytes_will_tell() {
        let mut boundary = Boundary::new(Some("frame"));
        assert!(boundary.meets(b"--frame\r"));
        for (text, begins) in [
            ("", Begins::Maybe),
            ("\r\n", Begins::Maybe),
            ("\r\n-", Begins::Maybe),
            ("\r\n--fra", Begins::Maybe),
            ("--frame--\r", Begins::Maybe),
            ("\r\n\r\n--frame\r\n", Begins::Yes),
            ("--from", Begins::No),
            ("--frames\n", Begins::No),
            ("{\"a\"", Begins::No),
        ] {
            assert_eq!(boundary.begins(text.as_bytes()), begins, "{text:?}");
        }
    }
}
