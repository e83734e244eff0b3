//! URLs for people's eyes: in status, log, metrics and messages. What is not known to be harmless is not shown.

use percent_encoding::percent_decode_str;
use url::Url;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Query parameters that say which stream is meant. All others may hold a login (`pwd`, `loginpas`, `auth`, …), and the
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

/// Names of what is secret. In a path, what follows one is secret too.
const TELLING: &[&str] = &[
    "access_token",
    "account",
    "apikey",
    "api_key",
    "auth",
    "key",
    "login",
    "loginpas",
    "loginuse",
    "pass",
    "passwd",
    "password",
    "pwd",
    "secret",
    "session",
    "sid",
    "sig",
    "signature",
    "token",
    "user",
    "username",
    "usr",
];

/// What separates parameters, somewhere.
const SEPARATORS: [char; 3] = ['&', ';', '?'];

/// Values of harmless parameters and segments of paths are no longer.
const LONGEST: usize = 32;

/// A URL without user name, password, fragment, and whatever else may be secret.
pub fn url(url: &Url) -> String {
    let path = if url.cannot_be_a_base() { HIDDEN.to_owned() } else { path(url.path()) };
    let host = match url.host_str() {
        // `http://ann:1/2@cam/`: a password that was not escaped makes a host of the user's name.
        Some(_) if has_at(url.path()) => format!("//{HIDDEN}"),
        Some(host) => format!("//{host}{}", url.port().map(|port| format!(":{port}")).unwrap_or_default()),
        None => String::new(),
    };
    let query = url.query().map(|query| format!("?{}", self::query(query))).unwrap_or_default();
    format!("{}:{host}{path}{query}", url.scheme())
}

/// Any text that may hold a URL, as somebody wrote it: behind the scheme only what is known to be harmless is shown.
pub fn text(text: &str) -> String {
    if let Some(at) = text.find("://") {
        let scheme = text[..at]
            .rfind(|c: char| !c.is_ascii_alphanumeric())
            .map_or(0, |before| before + text[before..].chars().next().map_or(1, char::len_utf8));
        let shown = match Url::parse(&text[scheme..]) {
            Ok(parsed) => match url(&parsed) {
                // Nothing is hidden: as it was written.
                all if all == parsed.as_str() => return text.to_owned(),
                shown => shown,
            },
            Err(_) if is_plain(&text[at + 3..]) => return text.to_owned(),
            Err(_) => format!("{}://{HIDDEN}", &text[scheme..at]),
        };
        return format!("{}{shown}", &text[..scheme]);
    }
    match text.rsplit_once('@') {
        Some((login, rest)) if login.contains(':') => format!("{HIDDEN}@{rest}"),
        _ => text.to_owned(),
    }
}

/// What a server said of a URL, without those of its parts that [`url`] does not show.
pub fn echo(url: &Url, said: &str) -> String {
    let mut secrets: Vec<&str> = vec![url.username(), url.password().unwrap_or_default()];
    let separates = |c: char| SEPARATORS.contains(&c) || "=/:@,".contains(c);
    let shown = self::url(url);
    for part in [url.path(), url.query().unwrap_or_default(), url.fragment().unwrap_or_default()] {
        secrets.extend(part.split(SEPARATORS).chain(part.split('/')).chain(part.split(separates)));
    }
    secrets.retain(|secret| !shown.contains(*secret));
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(said.to_owned(), |text, secret| without(&text, secret))
}

/// A text without a secret, in whatever way it is escaped. What is shorter than four bytes is in too many words.
pub fn without(text: &str, secret: &str) -> String {
    let decoded = percent_decode_str(secret).decode_utf8_lossy().into_owned();
    let twice = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = [secret.to_owned(), decoded, twice, encoded];
    forms.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
    forms.iter().filter(|form| form.len() >= 4).fold(text.to_owned(), |text, form| text.replace(form.as_str(), HIDDEN))
}

/// Whether there is an `@`, escaped once, twice or not.
fn has_at(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["@", "%40", "%2540"].iter().any(|at| lower.contains(at))
}

/// Nothing that could separate, escape or encode something else.
fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Letters and digits in a mix that nobody types.
fn is_random(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(char::is_ascii_alphabetic).count();
    text.len() >= 16 && digits >= 4 && letters >= 4
}

/// A word, as parameters are named.
fn is_name(text: &str) -> bool {
    text.len() <= 16 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.contains(&name.to_ascii_lowercase().as_str())
}

fn path(path: &str) -> String {
    let mut after_telling = false;
    let segments = path.split('/').map(|segment| {
        let (name, parameters) = match segment.split_once(';') {
            Some((name, _)) => (name, format!(";{HIDDEN}")),
            None => (segment, String::new()),
        };
        let secret = !name.is_empty() && (after_telling || !is_plain(name) || is_random(name));
        // An empty segment between a name and its value changes nothing; `…/token` at the end is an endpoint's.
        after_telling = is_one_of(name, TELLING) || after_telling && name.is_empty();
        format!("{}{parameters}", if secret { HIDDEN } else { name })
    });
    segments.collect::<Vec<_>>().join("/")
}

fn query(query: &str) -> String {
    let mut shown = String::new();
    for piece in query.split_inclusive(SEPARATORS) {
        let pair = piece.trim_end_matches(SEPARATORS);
        let separator = &piece[pair.len()..];
        shown += &match pair.split_once('=') {
            Some((name, value)) if is_one_of(name, HARMLESS) && is_plain(value) && !is_random(value) => {
                format!("{name}={value}")
            }
            // What stands before `=` may be a token with its padding.
            Some((name, value)) if is_name(name) && !value.trim_matches('=').is_empty() => format!("{name}={HIDDEN}"),
            None if is_one_of(pair, HARMLESS) || pair.is_empty() => pair.to_owned(),
            // A bare token may be a key.
            _ => HIDDEN.to_owned(),
        };
        shown += separator;
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        url(&Url::parse(text).expect("a URL"))
    }

    #[test]
    fn a_shown_url_has_no_login_and_no_secret() {
        for (url, expected) in [
            ("http://ann:s3cret@cam:81/video?action=stream", "http://cam:81/video?action=stream"),
            (
                "http://cam/v.cgi?user=ann&pwd=s3cret&resolution=640x480",
                "http://cam/v.cgi?user=***&pwd=***&resolution=640x480",
            ),
            ("http://cam/v?s3cret", "http://cam/v?***"),
            ("http://cam/v?c2VjcmV0==", "http://cam/v?***"),
            ("http://cam/v#s3cret", "http://cam/v"),
            ("http://cam/v?user=ann;pwd=s3cret", "http://cam/v?user=***;pwd=***"),
            ("http://cam/v?action=stream?pwd=s3cret", "http://cam/v?action=stream?pwd=***"),
            ("http://cam/v?action=stream%26pwd=s3cret", "http://cam/v?action=***"),
            ("http://cam/v?action=stream%2526pwd%253Ds3cret", "http://cam/v?action=***"),
            ("http://cam/v?id=ann:s3cret", "http://cam/v?id=***"),
            ("http://cam/v;jsessionid=s3cret/live;a=b?fps=5", "http://cam/v;***/live;***?fps=5"),
            ("http://cam/token/s3cret/live.mjpg", "http://cam/token/***/live.mjpg"),
            ("http://cam/user=ann&pwd=s3cret/live", "http://cam/***/live"),
            ("http://cam/a8f5f167f44f4964e6c998dee827110c/1", "http://cam/***/1"),
            ("http://ann:80/s3cret@cam/v", "http://***/***/v"),
            ("https://10.1.56.46:9085/", "https://10.1.56.46:9085/"),
            ("http://[fe80::1]:81/axis-cgi/mjpg/video.cgi", "http://[fe80::1]:81/axis-cgi/mjpg/video.cgi"),
            (
                "https://idp.example/realms/lab/protocol/openid-connect/token",
                "https://idp.example/realms/lab/protocol/openid-connect/token",
            ),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn text_that_holds_a_url_shows_only_what_is_harmless_of_it() {
        for (written, expected) in [
            ("http://ann:s3cret@cam/v?pwd=x", "http://cam/v?pwd=***"),
            ("see http://ann:s3 cret@cam/v", "see http://cam/v"),
            ("http://ann:s3/cret@cam/v", "http://***"),
            ("rtsp://ann:s3cret@cam/1", "rtsp://cam/1"),
            ("ann:s3cret@kafka:9092", "***@kafka:9092"),
            ("no URL at all: 640x480", "no URL at all: 640x480"),
        ] {
            assert_eq!(text(written), expected);
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_url_is_hidden() {
        let url = Url::parse("http://ann:pass%20word@cam/v/a=t0k%2541n?action=stream&pwd=s3cret#frag1").expect("a URL");
        let said = "no t0k%41n, t0kAn, s3cret, pass word, frag1 for stream of cam";
        assert_eq!(echo(&url, said), "no ***, ***, ***, ***, *** for stream of cam");
    }

    /// The secret in some way of writing it.
    fn written(secret: &str, way: u8) -> String {
        let all = |bytes: &[u8]| bytes.iter().map(|b| format!("%{b:02X}")).collect::<String>();
        match way {
            0 => secret.to_owned(),
            1 => all(secret.as_bytes()),
            _ => all(secret.as_bytes()).replace('%', "%25"),
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives_whatever_separates_it(
            secret in "Q[A-Za-z0-9]{5,12}Z",
            before in prop::sample::select(vec![
                "http://ann:", "http://cam/v?", "http://cam/v?pwd=", "http://cam/v?a=b", "http://cam/v?action=stream",
                "http://cam/v?id=a", "http://cam/v?stream=b", "http://cam/v;", "http://cam/x=", "http://cam/token/",
                "http://cam/key//", "http://cam/v#", "http://cam/v?fps=5&width=6",
            ]),
            separator in prop::sample::select(vec![
                "&", ";", "?", "=", ":", ",", "|", "@", "%26", "%3B", "%3f", "%3D", "%2526", "&&", "=&x=", "+", "$",
            ]),
            after in prop::sample::select(vec!["", "@cam/v", "&fps=5", ";x", "/live", "==", "%3D", "#x"]),
            way in 0u8..3,
        ) {
            // Behind these only a separator tells that something else begins.
            let separator = if before.ends_with('/') || before.ends_with([':', '#', ';']) { "" } else { separator };
            let written = format!("{before}{separator}{}{after}", written(&secret, way));
            let mut shown = vec![text(&written)];
            shown.extend(Url::parse(&written).map(|parsed| url(&parsed)));
            for shown in shown {
                let mut seen = shown.clone();
                for _ in 0..3 {
                    prop_assert!(!seen.contains(&secret), "{} of {} shows {}", shown, written, secret);
                    seen = percent_decode_str(&seen).decode_utf8_lossy().into_owned();
                }
            }
        }

        #[test]
        fn any_text_is_taken(text in ".{0,60}", said in ".{0,60}") {
            self::text(&text);
            self::text(&format!("http://{text}"));
            if let Ok(parsed) = Url::parse(&format!("http://cam/{text}")) {
                url(&parsed);
                echo(&parsed, &said);
            }
        }
    }
}
