//! Errors in words: the system's own texts end in numbers ("os error 2") that tell a user nothing.

use std::fmt::Display;

/// The error's text without the numbers of the operating system's errors. Every [`std::io::Error`] that a user can meet
/// is shown through this, on its own or as a cause in another error's text.
pub fn plain(error: impl Display) -> String {
    let mut text = error.to_string();
    while let Some(start) = text.find(" (os error ") {
        let Some(length) = text[start..].find(')') else { break };
        text.replace_range(start..=start + length, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_numbers_of_the_systems_errors_are_left_out_wherever_they_stand() {
        let missing = io::Error::from_raw_os_error(2);
        assert!(missing.to_string().contains("os error"), "the system's text still has a number: {missing}");
        assert_eq!(plain(&missing), "No such file or directory");
        let both = format!("cannot copy: {missing}, then {}", io::Error::from_raw_os_error(13));
        assert_eq!(plain(both), "cannot copy: No such file or directory, then Permission denied");
        assert_eq!(plain("no number (at all)"), "no number (at all)");
        assert_eq!(plain("cut (os error 1"), "cut (os error 1");
    }
}
