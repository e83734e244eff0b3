//! What a part's header says of the part.

use super::boundary::declared;

/// As far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// `Content-Length`, while it is believed.
    pub(super) length: Option<usize>,
    /// What `Content-Type` promises.
    pub(super) content: Content,
    /// Whether it has any line.
    pub(super) any: bool,
}

/// What a part is said to be. A picture that is there all the same goes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// A picture; so is what is said to be nothing.
    #[default]
    Picture,
    /// Text: no picture is missing where there is none.
    Text,
    /// Sound or film, which can look like anything.
    Sound,
    /// A stream, with its boundary: the header is that of the whole answer.
    Stream(Option<String>),
}

impl Content {
    fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.split_once('/').unwrap_or_default() {
            ("multipart", _) => Content::Stream(declared(content_type)),
            ("audio" | "video", _) => Content::Sound,
            ("text", _) => Content::Text,
            (_, kind) if ["json", "xml", "javascript"].iter().any(|text| kind.ends_with(text)) => Content::Text,
            _ => Content::Picture,
        }
    }
}

impl Header {
    /// Takes in a line, without its line break.
    pub(super) fn take(&mut self, line: &[u8]) {
        self.any = true;
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { return };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("content-length") {
            self.length = value.parse().ok().or(self.length);
        } else if name.eq_ignore_ascii_case("content-type") {
            self.content = Content::of(value);
        }
    }

    /// Whether a part without a picture has lost one.
    pub(super) fn means_a_picture(&self) -> bool {
        self.any && self.content == Content::Picture
    }
}

/// Whether a line can only be one of a part's header.
pub(super) fn is_part_header(line: &[u8]) -> bool {
    line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) && line.contains(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_whether_a_picture_is_missing() {
        for (content_type, content) in [
            ("image/jpeg", Content::Picture),
            ("image/png", Content::Picture),
            ("application/octet-stream", Content::Picture),
            ("", Content::Picture),
            ("Text/Plain; charset=utf-8", Content::Text),
            ("application/soap+xml", Content::Text),
            ("application/json", Content::Text),
            ("audio/basic", Content::Sound),
            ("multipart/x-mixed-replace", Content::Stream(None)),
            ("multipart/x-mixed-replace; boundary=\"--x\"", Content::Stream(Some("--x".into()))),
        ] {
            assert_eq!(Content::of(content_type), content, "{content_type}");
        }
    }
}
