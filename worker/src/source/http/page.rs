//! What an answer says that holds no picture. Its type is no proof: pictures come as text, and pages as pictures.

use edgereel_crds::{redact, status::Reason};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use url::Url;

use super::HttpCamera;
use crate::source::SourceError;

/// How much of a page is kept, for its title.
const MAX_PAGE: usize = 4 << 10;

/// The compressions that HTTP knows. Other words there (`none`, `utf-8`, `binary`) say nothing of the bytes.
const COMPRESSIONS: [&str; 7] = ["gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"];

/// The beginning of an answer that may turn out to be a page.
pub struct Page {
    url: Url,
    essence: String,
    beginning: Vec<u8>,
}

impl Page {
    /// Of this answer; nothing of it was read yet.
    pub fn of(response: &Response) -> Self {
        let content_type = header(response, CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Page { url: response.url().clone(), essence, beginning: Vec::new() }
    }

    /// The next bytes of it.
    pub fn take(&mut self, bytes: &[u8]) {
        let room = MAX_PAGE - self.beginning.len();
        self.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether anything was read.
    pub fn has_begun(&self) -> bool {
        !self.beginning.is_empty()
    }

    /// Whether it calls itself text.
    pub fn is_text(&self) -> bool {
        let essence = &self.essence;
        essence.starts_with("text/") || essence.ends_with("json") || essence.ends_with("xml")
    }
}

impl HttpCamera {
    /// The answer has turned out to hold no picture. Says its title or its first words; nothing of what is no text.
    pub fn no_pictures(&self, page: &Page) -> SourceError {
        // It may repeat what was asked for.
        let words = redact::echo(&self.url, &redact::echo(&page.url, &words(&page.beginning)));
        let what = if page.essence.is_empty() { words } else { format!("{} ({words})", page.essence) };
        let message = format!("answers with {what} instead of pictures: check the path");
        self.error(&page.url, Reason::CameraProtocolError, message)
    }

    /// Turns an answer away that nobody could read.
    pub(super) fn check_encoding(&self, url: &Url, response: &Response) -> Result<(), SourceError> {
        let encoding = header(response, CONTENT_ENCODING).to_ascii_lowercase();
        if !encoding.split(',').any(|word| COMPRESSIONS.contains(&word.trim())) {
            return Ok(());
        }
        let message =
            format!("answers with the encoding `{encoding}` that nobody asked for: turn it off in the camera");
        Err(self.error(url, Reason::CameraProtocolError, message))
    }
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> String {
    response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().trim().to_owned()
}

/// The title of a page, or its first words.
fn words(page: &[u8]) -> String {
    let text = match std::str::from_utf8(page) {
        Ok(text) => text,
        // Cut within a character, or else in an old encoding, or no text.
        Err(e) if e.valid_up_to() > 0 => std::str::from_utf8(&page[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return format!("{} bytes that are no text", page.len()),
    };
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return format!("{} bytes that are no text", page.len());
    }
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let start = at + lower[at..].find('>')? + 1;
        Some(&text[start..start + lower[start..].find("</title")?])
    });
    let mut words = title.unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(60) {
        words.truncate(at);
        words.push('…');
    }
    if words.is_empty() { "an empty page".into() } else { format!("\"{}\"", words.escape_debug()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_title_or_its_first_words_and_bytes_by_their_number() {
        let latin = b"<title>Kamera Gr\xFC\xDF</title>";
        for (page, told) in [
            (&b"<html><TITLE>\n Log  in\n</TITLE>"[..], "\"Log in\""),
            (b"", "an empty page"),
            (b"  \r\n", "an empty page"),
            (b"{\"error\": 7}", "\"{\\\"error\\\": 7}\""),
            (latin, "\"<title>Kamera Gr\""),
            (b"\xFF\xD8\xFF\xE0\0\x10JFIF", "10 bytes that are no text"),
            (b"\x89PNG\r\n\x1A\n", "8 bytes that are no text"),
            (b"GIF89a\x01\0", "8 bytes that are no text"),
        ] {
            assert_eq!(words(page), told);
        }
    }
}
