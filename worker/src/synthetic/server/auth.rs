//! A camera's login: basic (RFC 7617) or digest (RFC 7616).

use base64::{Engine, prelude::BASE64_STANDARD};
use digest_auth::{AuthContext, AuthorizationHeader, HttpMethod};

const REALM: &str = "edgereel camera";

/// How a camera asks for the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// Name and password in base64.
    Basic,
    /// Digest with MD5, as most cameras do.
    Digest,
    /// Digest with SHA-256.
    #[value(name = "digest-sha256")]
    DigestSha256,
}

/// Who may see the camera.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
    /// How it is asked for.
    pub scheme: Scheme,
    nonce: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Login {
    /// A login with a nonce of its own.
    pub fn new(user: &str, password: &str, scheme: Scheme) -> Self {
        let nonce = format!("{:032x}", rand::random::<u128>());
        Login { user: user.into(), password: password.into(), scheme, nonce }
    }

    /// The challenge for WWW-Authenticate.
    pub fn challenge(&self) -> String {
        let digest =
            |name| format!("Digest realm=\"{REALM}\", qop=\"auth\", algorithm={name}, nonce=\"{}\"", self.nonce);
        match self.scheme {
            Scheme::Basic => format!("Basic realm=\"{REALM}\""),
            Scheme::Digest => digest("MD5"),
            Scheme::DigestSha256 => digest("SHA-256"),
        }
    }

    /// Whether a request's Authorization opens the camera.
    pub fn admits(&self, method: &str, target: &str, authorization: Option<&str>) -> bool {
        let Some((scheme, rest)) = authorization.and_then(|header| header.trim().split_once(' ')) else {
            return false;
        };
        match self.scheme {
            Scheme::Basic => {
                let expected = format!("{}:{}", self.user, self.password);
                scheme.eq_ignore_ascii_case("basic")
                    && BASE64_STANDARD.decode(rest.trim()).is_ok_and(|given| given == expected.as_bytes())
            }
            Scheme::Digest | Scheme::DigestSha256 => {
                scheme.eq_ignore_ascii_case("digest")
                    && AuthorizationHeader::parse(rest).is_ok_and(|given| self.proves(method, target, given))
            }
        }
    }

    fn proves(&self, method: &str, target: &str, given: AuthorizationHeader) -> bool {
        let algorithm = match self.scheme {
            Scheme::DigestSha256 => "SHA-256",
            Scheme::Basic | Scheme::Digest => "MD5",
        };
        let fitting = given.realm == REALM
            && given.nonce == self.nonce
            && given.uri == target
            && given.username == self.user
            && given.algorithm.to_string() == algorithm;
        let context = AuthContext::new_with_method(
            self.user.as_str(),
            self.password.as_str(),
            target,
            None::<&[u8]>,
            HttpMethod::from(method),
        );
        let mut ours = given.clone();
        ours.digest(&context);
        fitting && ours.response == given.response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_takes_the_right_password_only() {
        let login = Login::new("ann", "s:cret", Scheme::Basic);
        let header = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(login.admits("GET", "/cam0", Some(&header("ann:s:cret"))));
        for wrong in
            [None, Some(header("ann:secret")), Some(header("bob:s:cret")), Some("Basic !".into()), Some("Basic".into())]
        {
            assert!(!login.admits("GET", "/cam0", wrong.as_deref()), "{wrong:?}");
        }
    }

    #[test]
    fn digest_takes_the_right_proof_for_this_target_and_nonce_only() {
        for scheme in [Scheme::Digest, Scheme::DigestSha256] {
            let login = Login::new("ann", "secret", scheme);
            let prove = |login: &Login, target: &str, password: &str| {
                let mut prompt = digest_auth::parse(&login.challenge()).expect("a challenge");
                prompt.respond(&AuthContext::new("ann", password, target)).expect("an answer").to_header_string()
            };
            let right = prove(&login, "/cam0?bad=stall", "secret");
            assert!(login.admits("GET", "/cam0?bad=stall", Some(&right)), "{right}");
            assert!(!login.admits("GET", "/cam1", Some(&right)), "another target");
            assert!(!login.admits("POST", "/cam0?bad=stall", Some(&right)), "another method");
            assert!(!login.admits("GET", "/cam0", Some(&prove(&login, "/cam0", "wrong"))), "a wrong password");
            let stranger = Login::new("ann", "secret", scheme);
            assert!(!login.admits("GET", "/cam0", Some(&prove(&stranger, "/cam0", "secret"))), "another nonce");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        assert!(!format!("{:?}", Login::new("ann", "secret", Scheme::Basic)).contains("secret"));
    }
}
