//! Reads `WWW-Authenticate` as loosely as cameras write it: the scheme and the parameters of each challenge, as bytes.
//!
//! Several challenges may stand in one header, with commas between them as between their parameters. Names come in any
//! case; there may be blanks around `=`; values stand in quotes or not, and hold any bytes.

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// In small letters.
    pub scheme: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Offer {
    /// A parameter by its name in small letters; of those that stand twice, the last.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// A parameter whose value is a word.
    pub fn word(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).trim().to_ascii_lowercase())
    }
}

/// The challenges of one header.
pub(super) fn read(header: &[u8]) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = header;
    loop {
        let (start, comma) = skip(rest);
        if start.is_empty() {
            return offers;
        }
        let end = start.iter().position(|b| matches!(b, b' ' | b'\t' | b',' | b'=')).unwrap_or(start.len());
        let name = String::from_utf8_lossy(&start[..end]).to_ascii_lowercase();
        rest = start[end..].trim_ascii_start();
        if let Some(text) = rest.strip_prefix(b"=") {
            let (value, left) = value(text);
            if let Some(offer) = offers.last_mut() {
                offer.parameters.push((name, value));
            }
            rest = left;
            continue;
        }
        match offers.last_mut().map(|offer| &mut offer.parameters) {
            // `Negotiate YIIB…`: a scheme's one value without a name.
            Some(parameters) if !comma && parameters.is_empty() => {}
            // `qop=auth,auth-int`: a list that should have stood in quotes.
            Some(parameters) if matches!(rest.first(), None | Some(b',')) && ends_with_qop(parameters) => {
                if let Some((_, list)) = parameters.last_mut() {
                    list.extend([b",", name.as_bytes()].concat());
                }
            }
            _ => offers.push(Offer { scheme: name, parameters: Vec::new() }),
        }
    }
}

fn ends_with_qop(parameters: &[(String, Vec<u8>)]) -> bool {
    parameters.last().is_some_and(|(name, _)| name == "qop")
}

/// What comes behind blanks and commas, and whether there was a comma.
fn skip(text: &[u8]) -> (&[u8], bool) {
    let passed = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
    (&text[passed..], text[..passed].contains(&b','))
}

/// A parameter's value, and what stands behind it.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let text = text.trim_ascii_start();
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let comma = text.iter().position(|b| *b == b',').unwrap_or(text.len());
        // A blank belongs to the value (`realm=My Camera`), unless the next parameter begins behind it.
        let end = (0..comma).find(|at| text[*at] == b' ' && is_parameter(&text[at + 1..comma])).unwrap_or(comma);
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let (mut value, mut bytes) = (Vec::new(), quoted.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            byte => value.push(*byte),
        }
    }
    (value, &[])
}

/// Whether a name and `=` stand here.
fn is_parameter(text: &[u8]) -> bool {
    let name = text.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')).count();
    name > 0 && text[name..].trim_ascii_start().starts_with(b"=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The challenges of a header, as `scheme name=value …`.
    fn shown(header: &[u8]) -> Vec<String> {
        let parameter = |(name, value): &(String, Vec<u8>)| format!(" {name}={}", value.escape_ascii());
        let offer = |offer: &Offer| offer.scheme.clone() + &offer.parameters.iter().map(parameter).collect::<String>();
        read(header).iter().map(offer).collect()
    }

    #[test]
    fn a_header_is_read_however_loosely_it_is_written() {
        for (header, offers) in [
            (
                &br#"Digest realm="a, basic b", nonce="n=="  ,qop="auth""#[..],
                &["digest realm=a, basic b nonce=n== qop=auth"][..],
            ),
            (b"BASIC", &["basic"]),
            (b"Basic Realm = \"caf\xE9 \\\"x\\\"\"", &[r#"basic realm=caf\xe9 \"x\""#]),
            (b"Digest realm=My Camera, nonce=ab/c==", &["digest realm=My Camera nonce=ab/c=="]),
            (b"Digest realm=cam nonce=n algorithm=MD5", &["digest realm=cam nonce=n algorithm=MD5"]),
            (b"Digest nonce=\"n\" realm=\"r\"opaque=\"o\"", &["digest nonce=n realm=r opaque=o"]),
            (b"Digest qop=auth,auth-int,nonce=n", &["digest qop=auth,auth-int nonce=n"]),
            (
                b"Negotiate, NTLM TlRM==, Basic realm=\"r\", Digest nonce=n",
                &["negotiate", "ntlm tlrm==", "basic realm=r", "digest nonce=n"],
            ),
            (b"Negotiate YIIB, Basic", &["negotiate", "basic"]),
            (b", ,Digest qop=\"\", nonce=\"never closed", &["digest qop= nonce=never closed"]),
            (b"", &[]),
            (b"=,\"", &["\""]),
        ] {
            assert_eq!(shown(header), offers, "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_to_its_end(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let offers = read(&header);
            prop_assert!(offers.len() <= header.len());
        }

        #[test]
        fn what_is_quoted_comes_back_as_it_was(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let header = [b"Digest realm=\"", super::super::quoted(&text).as_slice(), b"\", nonce=n"].concat();
            let offers = read(&header);
            prop_assert_eq!(offers.len(), 1);
            prop_assert_eq!((offers[0].get("realm"), offers[0].get("nonce")), (Some(&text[..]), Some(&b"n"[..])));
        }
    }
}
