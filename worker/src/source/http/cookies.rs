//! The cookies that a camera's redirects hand out: some lead back to the same URL until they are brought along.

use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

/// More than any camera needs.
const MAX_BYTES: usize = 4 << 10;

/// What a camera wants to be told, until it is dialled anew. For its own host alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// Takes in what an answer sets. Where and for how long a cookie is meant is not looked at.
    pub(super) fn take(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()) {
            let Some((name, value)) = line.split(';').next().and_then(|cookie| cookie.split_once('=')) else {
                continue;
            };
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            self.0.retain(|(known, _)| *known != name);
            let bytes = |(name, value): &(String, String)| name.len() + value.len() + 3;
            let room = MAX_BYTES.saturating_sub(self.0.iter().map(bytes).sum());
            let cookie = (name, value);
            if bytes(&cookie) <= room {
                self.0.push(cookie);
            }
        }
    }

    /// As they are sent back; nothing when there are none.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let cookies: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        HeaderValue::try_from(cookies.join("; ")).ok().filter(|_| !self.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_sent_back_as_they_were_set_and_never_grow_without_end() {
        let mut cookies = Cookies::default();
        assert_eq!(cookies.header(), None);
        let set = |cookies: &mut Cookies, line: &str| {
            let headers = [(SET_COOKIE, HeaderValue::try_from(line).expect("a value"))];
            cookies.take(&headers.into_iter().collect());
        };
        set(&mut cookies, "session=1; Path=/; HttpOnly");
        set(&mut cookies, "lang=en");
        set(&mut cookies, "session=a=b");
        set(&mut cookies, "not a cookie");
        assert_eq!(cookies.header().expect("two"), "lang=en; session=a=b");
        (0..5000).for_each(|n| set(&mut cookies, &format!("c{n}=x")));
        assert!(cookies.header().expect("many").len() <= MAX_BYTES);
    }
}
