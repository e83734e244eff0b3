//! Answers a camera's challenge: basic (RFC 7617) or digest (RFC 7616), as the camera asks.
//!
//! A camera that refuses a few logins locks the account: what cannot be answered rightly is not answered at all, and said.

mod challenge;
mod digest;

use base64::{Engine, engine::general_purpose::STANDARD};
use digest::Digest;

use crate::source::login::Credentials;

/// A request that is logged in.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// A path with its query.
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
}

impl<'a> Asked<'a> {
    /// A GET.
    #[cfg(test)]
    fn get(target: &'a str) -> Self {
        Asked { method: "GET", target, body: &[] }
    }
}

/// How a camera wants to be answered.
#[derive(Clone, Debug)]
pub(super) enum Challenge {
    Basic,
    Digest(Box<Digest>),
}

impl Challenge {
    /// The strongest of the challenges in a response's `WWW-Authenticate` headers that can be answered; or, in words,
    /// what there is instead.
    pub(super) fn strongest<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Result<Challenge, String> {
        let (mut best, mut unknown) = (None::<Challenge>, Vec::new());
        for offer in headers.into_iter().flat_map(challenge::read) {
            let challenge = match offer.scheme.as_str() {
                "basic" => Ok(Challenge::Basic),
                "digest" => Digest::new(&offer).map(|digest| Challenge::Digest(Box::new(digest))),
                scheme => Err(format!("`{}`", word(scheme.as_bytes()))),
            };
            match challenge {
                // Of two alike, the first.
                Ok(known) if best.as_ref().is_none_or(|best| best.strength() < known.strength()) => best = Some(known),
                Ok(_) => {}
                Err(words) => unknown.push(words),
            }
        }
        best.ok_or_else(|| match unknown.is_empty() {
            true => "it names none (no `WWW-Authenticate`)".into(),
            false => unknown.join(", "),
        })
    }

    fn strength(&self) -> u8 {
        match self {
            Challenge::Basic => 0,
            Challenge::Digest(digest) => digest.strength(),
        }
    }

    /// The `Authorization` header for a request.
    pub(super) fn answer(&mut self, credentials: &Credentials, asked: &Asked<'_>) -> Vec<u8> {
        let Credentials { username, password } = credentials;
        match self {
            Challenge::Basic => format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))).into_bytes(),
            Challenge::Digest(digest) => digest.answer(credentials, asked),
        }
    }

    /// The last answer was right but for its nonce.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Challenge::Digest(digest) if digest.stale)
    }

    /// Its name, for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Challenge::Basic => "basic".into(),
            Challenge::Digest(digest) => format!("digest {}", digest.name()),
        }
    }
}

/// What stands between quotes, with those that belong to it escaped.
fn quoted(value: &[u8]) -> Vec<u8> {
    value.iter().flat_map(|b| [b'\\', *b].into_iter().skip(usize::from(!matches!(b, b'"' | b'\\')))).collect()
}

/// A camera's word, as it may be shown.
fn word(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(40).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_challenge_that_we_know_is_answered() {
        let md5 = r#"Digest realm="a, basic b", nonce="n", qop="auth""#;
        let sha = r#"digest realm="r", nonce="n", algorithm=SHA-256, qop="auth""#;
        for (headers, name) in [
            (vec![r#"Basic realm="cam""#], Ok("basic")),
            (vec!["basic"], Ok("basic")),
            (vec![md5], Ok("digest MD5")),
            (vec![r#"Basic realm="cam""#, md5, sha], Ok("digest SHA-256")),
            (vec![&format!(r#"Basic realm="cam", {md5}, {sha}"#)], Ok("digest SHA-256")),
            (vec![&format!(r#"{sha}, Basic realm="cam""#)], Ok("digest SHA-256")),
            (vec![r#"Digest nonce="n", algorithm=MD6"#, r#"Basic realm="cam""#], Ok("basic")),
            (vec!["Negotiate", "Bearer realm=\"x\""], Err("`negotiate`, `bearer`")),
            (vec![r#"Digest realm="r", nonce="n", algorithm=MD6"#], Err("digest with the algorithm `MD6`")),
            (vec!["Digest"], Err("digest without a nonce")),
            (vec![], Err("it names none (no `WWW-Authenticate`)")),
        ] {
            let challenge = Challenge::strongest(headers.iter().map(|header| header.as_bytes()));
            assert_eq!(challenge.map(|c| c.name()), name.map(str::to_owned).map_err(str::to_owned), "{headers:?}");
        }
    }

    #[test]
    fn a_kept_challenge_is_answered_with_a_higher_count() {
        let header = br#"Digest realm="r", nonce="n", qop="auth""#;
        let mut challenge = Challenge::strongest([&header[..]]).expect("known");
        let credentials = Credentials { username: "ann".into(), password: "s".into() };
        for count in ["nc=00000001", "nc=00000002"] {
            let answer = String::from_utf8(challenge.answer(&credentials, &Asked::get("/a?b"))).expect("text");
            assert!(answer.starts_with("Digest ") && answer.contains(count) && answer.contains(r#"uri="/a?b""#));
        }
    }
}
