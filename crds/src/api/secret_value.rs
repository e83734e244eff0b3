//! What of a Secret's value is used. One rule for every value, wherever it comes from: a byte order mark before it and line
//! ends behind it are left out, since no login has them and editors, `echo x | base64` and some exporters put them there; all
//! else is used as it is.

use super::declared::{SecretUses, Source};

/// The text that a value stands for.
pub fn text(value: &str) -> &str {
    value.strip_prefix(BYTE_ORDER_MARK).unwrap_or(value).trim_end_matches(LINE_ENDS)
}

const BYTE_ORDER_MARK: char = '\u{feff}';
const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// What is odd about a value, and what is done about it; none for most. A text of several lines is a file, which may end in a
/// line feed.
pub fn oddity(value: &[u8]) -> Option<String> {
    let Ok(value) = std::str::from_utf8(value) else { return Some("is not UTF-8 text, and cannot be used".to_owned()) };
    let used = text(value);
    let blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let several = used.contains('\n');
    let found = [
        (used.is_empty(), "is empty"),
        (value.starts_with(BYTE_ORDER_MARK), "begins with a byte order mark, which is left out"),
        (blank(used.chars().next()), "begins with a blank, which is used as it is"),
        (blank(used.chars().next_back()) && !several, "ends in a blank, which is used as it is"),
        (value.ends_with(LINE_ENDS) && !several, "ends in a line feed, which is left out"),
    ];
    let words: Vec<&str> = found.iter().filter(|(is_so, _)| *is_so).map(|(_, words)| *words).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// A remark on each value in use that is odd; `value` gives what is known of one.
pub fn remarks(uses: &SecretUses, value: impl Fn(&Source, &str) -> Option<String>) -> Vec<String> {
    let keys = uses.iter().flat_map(|(source, keys)| keys.iter().map(move |key| (source, key)));
    keys.filter_map(|(source, key)| Some(format!("`{key}` of the {source} {}", value(source, key)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_line_ends_are_left_out_and_nothing_else_is() {
        for (value, used) in [
            ("ann", "ann"),
            ("ann\n", "ann"),
            ("ann\r\n\n", "ann"),
            ("\u{feff}ann", "ann"),
            (" ann \t", " ann \t"),
            ("a\nb\n", "a\nb"),
            ("\u{feff}\u{feff}ann", "\u{feff}ann"),
        ] {
            assert_eq!(text(value), used, "{value:?}");
        }
    }

    #[test]
    fn what_nobody_sees_in_a_value_is_named_with_what_is_done_about_it() {
        for (value, said) in [
            ("ann", None),
            ("with a blank", None),
            ("-----BEGIN\nabc\n-----END\n", None),
            ("ann\n", Some("ends in a line feed, which is left out")),
            ("ann \n", Some("ends in a blank, which is used as it is, ends in a line feed, which is left out")),
            ("\u{feff}ann", Some("begins with a byte order mark, which is left out")),
            ("\tann", Some("begins with a blank, which is used as it is")),
            ("\n", Some("is empty, ends in a line feed, which is left out")),
            ("", Some("is empty")),
        ] {
            assert_eq!(oddity(value.as_bytes()).as_deref(), said, "{value:?}");
        }
        assert!(oddity(&[0xff, 0xfe, b'a', 0]).is_some_and(|said| said.contains("not UTF-8")));
    }
}
