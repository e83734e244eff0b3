//! A request's head, and what its query asks of the camera.

use std::{collections::HashMap, time::Duration};

use edgereel_crds::units;

use super::{
    fault::{Fault, Plan},
    wire::Format,
};

/// The longest head that is read, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// What matters of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD` and so on.
    pub method: String,
    /// Path and query as they were sent; a digest login signs them.
    pub target: String,
    /// Authorization.
    pub authorization: Option<String>,
    /// Whether the client would ask again over this connection.
    pub keep_alive: bool,
}

impl Request {
    /// Reads a head; with it, how many bytes it has. Nothing while it is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(format!("a head of more than {MAX_HEAD} bytes")),
            Err(e) => return Err(e.to_string()),
        };
        let header = |name: &str| {
            let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok()
        };
        let connection = header("connection").unwrap_or_default().to_ascii_lowercase();
        let keep_alive = if request.version == Some(1) { connection != "close" } else { connection == "keep-alive" };
        // A body would stand where the next request is looked for.
        let body = header("content-length").is_some_and(|n| n.trim() != "0") || header("transfer-encoding").is_some();
        let parsed = Request {
            method: request.method.unwrap_or_default().into(),
            target: request.path.unwrap_or_default().into(),
            authorization: header("authorization").map(str::to_owned),
            keep_alive: keep_alive && !body,
        };
        Ok(Some((parsed, length)))
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's keys and values.
    pub fn query(&self) -> HashMap<String, String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }
}

/// How one client is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How the stream is written.
    pub format: Format,
    /// What goes wrong on this connection; the outer nothing leaves it to the camera.
    pub fault: Option<Option<Plan>>,
    /// The pause of [`Fault::Drip`].
    pub pause: Duration,
}

impl View {
    /// Applies a query's `format`, `bad`, `after`, `for` and `pause`. Refuses what has no effect.
    pub fn with_query(self, query: &HashMap<String, String>, snapshot: bool) -> Result<View, String> {
        if let Some(key) = query.keys().find(|k| !["format", "bad", "after", "for", "pause"].contains(&k.as_str())) {
            return Err(format!("`{key}` is not known: take format, bad, after, for or pause"));
        }
        let mut view = self;
        if let Some(format) = query.get("format") {
            view.format = format.parse()?;
        }
        let duration = |key: &str| {
            let value = query.get(key).map(|text| text.parse::<units::Duration>()).transpose()?;
            Ok::<_, String>(value.map(|value| *value))
        };
        let (lasts, pause) = (duration("for")?, duration("pause")?);
        let after = query.get("after").map(|text| text.parse().map_err(|_| format!("after: `{text}` is not a number")));
        let after = after.transpose()?;
        view.pause = pause.unwrap_or(view.pause);
        let fault: Option<Fault> = match query.get("bad").map(String::as_str) {
            None => None,
            Some("none") => {
                view.fault = Some(None);
                None
            }
            Some(name) => Some(name.parse()?),
        };
        let Some(fault) = fault else {
            let useless = [("after", after.is_some()), ("for", lasts.is_some()), ("pause", pause.is_some())];
            return match useless.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(format!("`{key}` needs a fault: add `bad=stall`, for example")),
                None => Ok(view),
            };
        };
        if pause.is_some() && fault != Fault::Drip {
            return Err("`pause` belongs to `bad=drip`".into());
        }
        if (fault.is_answer() || snapshot) && (after.is_some() || lasts.is_some()) {
            return Err(format!("`{fault}` comes with one answer here: `after` and `for` have no effect"));
        }
        if fault == Fault::Disconnect && lasts.is_some() {
            return Err("`disconnect` ends the connection: `for` has no effect".into());
        }
        if snapshot && !fault.is_for_snapshots() {
            return Err(format!("`{fault}` is for streams, not for a snapshot"));
        }
        view.fault = Some(Some(Plan { fault, after: after.unwrap_or(0), lasts }));
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Request {
        Request::parse(text.as_bytes()).expect("a request").expect("a whole one").0
    }

    fn view(query: &str, snapshot: bool) -> Result<View, String> {
        let view = View { format: Format::default(), fault: None, pause: Duration::from_secs(1) };
        view.with_query(&request(&format!("GET /cam0?{query} HTTP/1.1\r\n\r\n")).query(), snapshot)
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "GET /cam1?bad=stall&after=3 HTTP/1.1\r\nHost: x\r\nauthorization: Basic eA==\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(Request::parse(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let request = request(text);
        assert_eq!((request.path(), request.authorization.as_deref()), ("/cam1", Some("Basic eA==")));
        assert_eq!(request.query()["bad"], "stall");
        assert!(Request::parse(&[b'x'; MAX_HEAD]).is_err());
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_header_say() {
        for (head, kept) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", false),
        ] {
            assert_eq!(request(head).keep_alive, kept, "{head}");
        }
    }

    #[test]
    fn a_query_says_how_the_client_is_served() {
        let plan = Plan { fault: Fault::Stall, after: 30, lasts: Some(Duration::from_millis(1500)) };
        let stall = view("bad=stall&after=30&for=1.5s&format=no-eoi", false).expect("a view");
        assert_eq!((stall.fault, stall.format.to_string()), (Some(Some(plan)), "no-eoi".into()));
        assert_eq!(view("", false).expect("a view").fault, None);
        assert_eq!(view("bad=none", false).expect("a view").fault, Some(None));
        assert_eq!(view("bad=drip&pause=5ms", false).expect("a view").pause, Duration::from_millis(5));
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        for (query, snapshot, words) in [
            ("bat=stall", false, "`bat` is not known"),
            ("bad=stal", false, "`stal` is not a fault"),
            ("format=x", false, "`x` is not a format"),
            ("after=3", false, "needs a fault"),
            ("bad=none&for=3s", false, "needs a fault"),
            ("bad=stall&for=3", false, "not a duration"),
            ("bad=stall&after=x", false, "not a number"),
            ("bad=stall&pause=1s", false, "belongs to `bad=drip`"),
            ("bad=404&after=3", false, "no effect"),
            ("bad=disconnect&for=3s", false, "no effect"),
            ("bad=flood", true, "for streams"),
            ("bad=stall&after=1", true, "no effect"),
        ] {
            let error = view(query, snapshot).expect_err(query);
            assert!(error.contains(words), "{query}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Request::parse(&bytes);
        }
    }
}
