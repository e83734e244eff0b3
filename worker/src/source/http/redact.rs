//! URLs for people's eyes.

use url::Url;

/// Query parameters that say which stream is meant. All others may hold a login (`pwd`, `loginpas`, `auth`, …) and the
/// list of names that cameras found for that has no end, so their values are not shown.
const HARMLESS: &[&str] = &[
    "action",
    "camera",
    "channel",
    "chn",
    "compression",
    "extra_headers",
    "fps",
    "height",
    "id",
    "profile",
    "quality",
    "rate",
    "res",
    "resolution",
    "size",
    "stream",
    "subtype",
    "type",
    "width",
];

/// A URL without user name and password, and without values in its query that may be secret.
pub fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // These fail for URLs that have no host, and so no user name either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if let Some(query) = url.query() {
        let shown: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if HARMLESS.contains(&name.to_ascii_lowercase().as_str()) => {
                    format!("{name}={value}")
                }
                Some((name, _)) => format!("{name}=***"),
                // A bare token may be a key.
                None if HARMLESS.contains(&pair) || pair.is_empty() => pair.to_owned(),
                None => "***".to_owned(),
            })
            .collect();
        url.set_query(Some(&shown.join("&")));
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_login_and_no_secret_in_its_query() {
        for (url, shown) in [
            ("http://ann:s3cret@cam:81/video?action=stream", "http://cam:81/video?action=stream"),
            (
                "http://cam/v.cgi?user=ann&pwd=s3cret&resolution=640x480",
                "http://cam/v.cgi?user=***&pwd=***&resolution=640x480",
            ),
            ("http://cam/v?s3cret", "http://cam/v?***"),
            ("http://cam/v#s3cret", "http://cam/v"),
            ("https://10.1.56.46:9085/", "https://10.1.56.46:9085/"),
        ] {
            assert_eq!(redacted(&Url::parse(url).expect("a URL")), shown);
        }
    }
}
