//! Answers a camera's challenge: basic (RFC 7617) or digest (RFC 7616), as the camera asks.

use base64::{Engine, engine::general_purpose::STANDARD};
use digest_auth::{Algorithm, AlgorithmType, AuthContext, WwwAuthenticateHeader};

/// A user name and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub username: String,
    pub password: String,
}

/// How a camera wants to be answered. A digest challenge is kept and answered again with a higher count, so that a
/// snapshot costs one request, not two.
#[derive(Clone)]
pub(super) enum Challenge {
    Basic,
    Digest(Box<WwwAuthenticateHeader>),
}

impl Challenge {
    /// The strongest of the challenges in a response's `WWW-Authenticate` headers that we can answer.
    pub(super) fn strongest<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
        headers.into_iter().flat_map(split).max_by_key(Challenge::strength)
    }

    fn strength(&self) -> u8 {
        match self {
            Challenge::Basic => 0,
            Challenge::Digest(prompt) => match prompt.algorithm.algo {
                AlgorithmType::MD5 => 1,
                AlgorithmType::SHA2_256 => 2,
                AlgorithmType::SHA2_512_256 => 3,
            },
        }
    }

    /// The `Authorization` header for a request of `target`, a path with its query. `None` when the challenge cannot be
    /// answered.
    pub(super) fn answer(&mut self, credentials: &Credentials, target: &str) -> Option<String> {
        let Credentials { username, password } = credentials;
        match self {
            Challenge::Basic => Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))),
            Challenge::Digest(prompt) => {
                let context = AuthContext::new(username.as_str(), password.as_str(), target);
                prompt.respond(&context).ok().map(|answer| answer.to_header_string())
            }
        }
    }
}

/// A header may hold several challenges, and their parameters hold commas too.
fn split(header: &str) -> Vec<Challenge> {
    let lower = header.to_ascii_lowercase();
    let starts = |scheme: &str| {
        let quoted = |at: usize| lower[..at].matches('"').count() % 2 == 1;
        let begins = |at: &usize| *at == 0 || (lower[..*at].trim_end().ends_with(',') && !quoted(*at));
        lower.match_indices(scheme).map(|(at, _)| at).filter(begins).map(|at| (at, scheme.len())).collect::<Vec<_>>()
    };
    let basics = starts("basic");
    let mut challenges: Vec<Challenge> = basics.iter().map(|_| Challenge::Basic).collect();
    let digests = starts("digest ");
    for (at, len) in &digests {
        let next = basics.iter().chain(&digests).map(|(other, _)| *other).filter(|other| other > at).min();
        let parameters = header[at + len..next.unwrap_or(header.len())].trim_end_matches([' ', ',']);
        // One with an algorithm that we do not know is no challenge to us.
        challenges.extend(digest_auth::parse(parameters).ok().map(|prompt| Challenge::Digest(Box::new(prompt))));
    }
    challenges
}

/// The name of a digest's algorithm, for messages.
impl Challenge {
    pub(super) fn name(&self) -> String {
        match self {
            Challenge::Basic => "basic".into(),
            Challenge::Digest(prompt) => {
                let Algorithm { algo, .. } = prompt.algorithm;
                format!("digest {algo:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_challenge_that_we_know_is_answered() {
        let md5 = r#"Digest realm="a, basic b", nonce="n", qop="auth""#;
        let sha = r#"digest realm="r", nonce="n", algorithm=SHA-256, qop="auth""#;
        for (headers, name) in [
            (vec![r#"Basic realm="cam""#], Some("basic")),
            (vec!["basic"], Some("basic")),
            (vec![md5], Some("digest MD5")),
            (vec![r#"Basic realm="cam""#, md5, sha], Some("digest SHA2_256")),
            (vec![&format!(r#"Basic realm="cam", {md5}, {sha}"#)], Some("digest SHA2_256")),
            (vec![&format!(r#"{sha}, Basic realm="cam""#)], Some("digest SHA2_256")),
            (vec!["Negotiate", "Bearer realm=\"x\""], None),
            (vec![r#"Digest realm="r", nonce="n", algorithm=MD6"#], None),
            (vec!["Digest"], None),
        ] {
            let challenge = Challenge::strongest(headers.iter().copied());
            assert_eq!(challenge.map(|c| c.name()).as_deref(), name, "{headers:?}");
        }
    }

    #[test]
    fn a_kept_challenge_is_answered_with_a_higher_count() {
        let mut challenge = Challenge::strongest([r#"Digest realm="r", nonce="n", qop="auth""#]).expect("known");
        let credentials = Credentials { username: "ann".into(), password: "s".into() };
        for count in ["nc=00000001", "nc=00000002"] {
            let answer = challenge.answer(&credentials, "/a?b").expect("an answer");
            assert!(answer.starts_with("Digest ") && answer.contains(count) && answer.contains(r#"uri="/a?b""#));
        }
    }
}
