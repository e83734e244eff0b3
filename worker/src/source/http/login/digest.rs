//! Digest login (RFC 7616, and 2069 for cameras without `qop`), byte for byte as curl answers: cameras are tried with it.

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha512_256};

use super::{Asked, Credentials, challenge::Offer, quoted, word};

/// The algorithms, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Md5,
    Sha256,
    Sha512Trunc256,
}

impl Hash {
    /// The hash of these parts with colons between them, in hexadecimal digits.
    fn of(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        let hash = match self {
            Hash::Md5 => Md5::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
            Hash::Sha512Trunc256 => Sha512_256::digest(text).to_vec(),
        };
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A challenge that is answered again with a higher count for each request, so that a snapshot costs one request, not two.
#[derive(Clone, Debug)]
pub(crate) struct Digest {
    hash: Hash,
    /// `-sess`: the password's hash counts with both nonces.
    session: bool,
    /// As the camera wrote it, if it did.
    algorithm: Option<Vec<u8>>,
    qop: Option<&'static str>,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    cnonce: String,
    opaque: Option<Vec<u8>>,
    /// The user's name goes as a hash.
    userhash: bool,
    /// The last answer was right but for its nonce, which had run out.
    pub(super) stale: bool,
    count: u32,
}

impl Digest {
    /// The challenge, or what in it is not known, in words.
    pub(super) fn new(offer: &Offer) -> Result<Self, String> {
        let algorithm = offer.word("algorithm");
        let name = algorithm.as_deref().unwrap_or("md5");
        let (base, session) = name.strip_suffix("-sess").map_or((name, false), |base| (base, true));
        let hash = match base {
            "md5" => Hash::Md5,
            "sha-256" => Hash::Sha256,
            "sha-512-256" => Hash::Sha512Trunc256,
            _ => {
                return Err(format!(
                    "digest with the algorithm `{}`",
                    word(offer.get("algorithm").unwrap_or_default())
                ));
            }
        };
        let list = offer.word("qop").unwrap_or_default();
        let members: Vec<&str> = list.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
        let qop = match ["auth", "auth-int"].into_iter().find(|known| members.contains(known)) {
            None if !members.is_empty() => {
                return Err(format!("digest with the qop `{}`", word(offer.get("qop").unwrap_or_default())));
            }
            None if session => {
                return Err(format!("digest with the algorithm `{}` and without qop", word(name.as_bytes())));
            }
            qop => qop,
        };
        let Some(nonce) = offer.get("nonce") else { return Err("digest without a nonce".into()) };
        Ok(Digest {
            hash,
            session,
            algorithm: offer.get("algorithm").map(<[u8]>::to_vec),
            qop,
            realm: offer.get("realm").unwrap_or_default().to_vec(),
            nonce: nonce.to_vec(),
            cnonce: format!("{:032x}", rand::random::<u128>()),
            opaque: offer.get("opaque").map(<[u8]>::to_vec),
            userhash: offer.word("userhash").as_deref() == Some("true"),
            stale: offer.word("stale").as_deref() == Some("true"),
            count: 0,
        })
    }

    /// The stronger, the higher.
    pub(super) fn strength(&self) -> u8 {
        1 + self.hash as u8
    }

    /// The algorithm, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self.hash {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512Trunc256 => "SHA-512-256",
        }
    }

    /// The `Authorization` header for a request.
    pub(super) fn answer(&mut self, credentials: &Credentials, asked: &Asked<'_>) -> Vec<u8> {
        self.count = self.count.wrapping_add(1);
        let hash = |parts: &[&[u8]]| self.hash.of(parts);
        let (user, password) = (credentials.username.as_bytes(), credentials.password.as_bytes());
        let (method, target) = (asked.method.as_bytes(), asked.target.as_bytes());
        let (nonce, cnonce, nc) = (self.nonce.as_slice(), self.cnonce.as_bytes(), format!("{:08x}", self.count));
        let mut who = hash(&[user, &self.realm, password]);
        if self.session {
            who = hash(&[who.as_bytes(), nonce, cnonce]);
        }
        let what = match self.qop {
            Some("auth-int") => hash(&[method, target, hash(&[asked.body]).as_bytes()]),
            _ => hash(&[method, target]),
        };
        let response = match self.qop {
            Some(qop) => hash(&[who.as_bytes(), nonce, nc.as_bytes(), cnonce, qop.as_bytes(), what.as_bytes()]),
            None => hash(&[who.as_bytes(), nonce, what.as_bytes()]),
        };
        let user = if self.userhash { hash(&[user, &self.realm]).into_bytes() } else { user.to_vec() };
        let mut header = b"Digest ".to_vec();
        let quoted = |name: &str, value: &[u8]| [name.as_bytes(), b"=\"", &quoted(value), b"\""].concat();
        let plain = |name: &str, value: &[u8]| [name.as_bytes(), b"=", value].concat();
        let mut parts = vec![
            quoted("username", &user),
            quoted("realm", &self.realm),
            quoted("nonce", nonce),
            quoted("uri", target),
        ];
        if let Some(qop) = self.qop {
            parts.extend([quoted("cnonce", cnonce), plain("nc", nc.as_bytes()), plain("qop", qop.as_bytes())]);
        }
        parts.push(quoted("response", response.as_bytes()));
        parts.extend(self.opaque.as_deref().map(|opaque| quoted("opaque", opaque)));
        parts.extend(self.algorithm.as_deref().map(|algorithm| plain("algorithm", algorithm)));
        if self.userhash {
            parts.push(plain("userhash", b"true"));
        }
        header.extend(parts.join(&b", "[..]));
        header
    }
}

#[cfg(test)]
mod tests {
    use super::{super::challenge, *};

    fn digest(header: &[u8]) -> Result<Digest, String> {
        Digest::new(&challenge::read(header)[0])
    }

    /// The value of `name` in an answer.
    fn given<'a>(answer: &'a str, name: &str) -> &'a str {
        let at = answer.find(&format!("{name}=")).expect("a parameter") + name.len() + 1;
        answer[at..].split(", ").next().expect("a value").trim_matches('"')
    }

    #[test]
    fn the_answers_are_those_of_the_rfcs() {
        let rfc7616 = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        let rfc2069 = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"".to_owned();
        for (header, password, response) in [
            (rfc7616("MD5"), "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"),
            (rfc7616("SHA-256"), "Circle of Life", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            // With the erratum of RFC 2069.
            (rfc2069, "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"),
        ] {
            let mut digest = digest(header.as_bytes()).expect("known");
            digest.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".into();
            let credentials = Credentials { username: "Mufasa".into(), password: password.into() };
            let answer = String::from_utf8(digest.answer(&credentials, &Asked::get("/dir/index.html"))).expect("text");
            assert_eq!(given(&answer, "response"), response, "{answer}");
        }
        // RFC 7616, 3.9.2.
        let header = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
                      nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", charset=UTF-8, userhash=true";
        let credentials = Credentials { username: "Jäsøn Doe".into(), password: "Secret, or not?".into() };
        let answer = digest(header.as_bytes()).expect("known").answer(&credentials, &Asked::get("/doe.json"));
        let answer = String::from_utf8(answer).expect("text");
        let name = "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b";
        assert_eq!(given(&answer, "username"), name, "{answer}");
        assert!(answer.ends_with(", userhash=true"), "{answer}");
    }

    #[test]
    fn what_is_written_otherwise_means_the_same() {
        for header in [
            &b"Digest nonce=n, algorithm=md5, qop=\"AUTH\", Realm=\"r\""[..],
            b"Digest nonce = \"n\", qop=\"auth-conf, auth\", charset=utf-8, stale=FALSE",
            b"Digest nonce=n, qop=\"auth-int,auth\"",
        ] {
            let digest = digest(header).expect("known");
            assert_eq!((digest.hash, digest.qop, digest.stale), (Hash::Md5, Some("auth"), false));
        }
        assert_eq!(digest(b"Digest nonce=n, qop=\"Auth-Int\"").expect("known").qop, Some("auth-int"));
        for header in [&b"Digest nonce=n, qop=\"\""[..], b"Digest nonce=n, qop=, stale=True", b"Digest nonce=n"] {
            assert_eq!(digest(header).expect("known").qop, None, "{}", header.escape_ascii());
        }
        assert!(digest(b"Digest nonce=n, stale=TRUE").expect("known").stale);
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        for (header, words) in [
            (&b"Digest nonce=n, algorithm=MD6"[..], "digest with the algorithm `MD6`"),
            (b"Digest nonce=n, qop=\"auth-conf\"", "digest with the qop `auth-conf`"),
            (b"Digest nonce=n, algorithm=MD5-sess", "digest with the algorithm `md5-sess` and without qop"),
            (b"Digest realm=r", "digest without a nonce"),
        ] {
            assert_eq!(digest(header).expect_err("unknown"), words);
        }
    }

    #[test]
    fn bytes_go_back_as_they_came() {
        let mut digest = digest(b"Digest realm=\"caf\xE9 \\\"1\\\"\", nonce=\"a\\\\b\", qop=\"auth\", algorithm=md5")
            .expect("known");
        let credentials = Credentials { username: "a\"n".into(), password: "s".into() };
        let answer = digest.answer(&credentials, &Asked::get("/"));
        let holds = |part: &[u8]| answer.windows(part.len()).any(|window| window == part);
        for part in [&b"realm=\"caf\xE9 \\\"1\\\"\""[..], b"nonce=\"a\\\\b\"", b"username=\"a\\\"n\"", b"algorithm=md5"]
        {
            assert!(holds(part), "{} lacks {}", answer.escape_ascii(), part.escape_ascii());
        }
        let who = Hash::Md5.of(&[b"a\"n", b"caf\xE9 \"1\"", b"s"]);
        let what = Hash::Md5.of(&[b"GET", b"/"]);
        let cnonce = digest.cnonce.as_bytes();
        let response = Hash::Md5.of(&[who.as_bytes(), b"a\\b", b"00000001", cnonce, b"auth", what.as_bytes()]);
        assert!(holds(response.as_bytes()));
    }
}
