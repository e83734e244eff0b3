//! What librdkafka's messages say between the lines.

use std::borrow::Cow;

/// A client and a listener that speak different protocols: neither says so, one hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// We speak plain text, it speaks TLS.
    SpeaksTls,
    /// The other way round.
    IsPlain,
    /// We do not log in, and it wants us to.
    WantsLogin,
    /// The other way round.
    TakesNoLogin,
}

impl Misfit {
    /// From where in the handshake it broke off: `… (after 3ms in state APIVERSION_QUERY)`. librdkafka 2.12 means to
    /// say the same, but lost the hint when it gave its messages more detail.
    pub fn guess(detail: &str, tls: bool, sasl: bool) -> Option<Self> {
        let hung_up = ["isconnected", "Broken pipe", "reset by peer"].iter().any(|words| detail.contains(words));
        let within_two_seconds = || {
            let (_, tail) = detail.rsplit_once("(after ")?;
            let millis: u64 = tail.split_once("ms in state UP")?.0.parse().ok()?;
            Some(millis < 2_000)
        };
        let in_handshake = detail.contains("in state SSL_HANDSHAKE");
        let cut_off = ["unexpected eof", "wrong version number", "PLAINTEXT broker listener"];
        if hung_up && !tls && detail.contains("in state APIVERSION_QUERY") {
            Some(Misfit::SpeaksTls)
        } else if tls && (hung_up && in_handshake || cut_off.iter().any(|words| detail.contains(words))) {
            Some(Misfit::IsPlain)
        } else if hung_up && !sasl && within_two_seconds().unwrap_or(false) {
            Some(Misfit::WantsLogin)
        } else if sasl && detail.contains("in current SASL state") {
            Some(Misfit::TakesNoLogin)
        } else {
            None
        }
    }

    /// What it does, and what to change.
    pub fn words(self) -> &'static str {
        match self {
            Misfit::SpeaksTls => {
                "the broker hangs up on plain text; if that port speaks TLS, set spec.tls, or dial the plain-text port"
            }
            Misfit::IsPlain => {
                "the broker does not go on with TLS; if that port takes plain text, remove spec.tls, or dial the TLS port"
            }
            Misfit::WantsLogin => {
                "the broker hangs up right after the connection; if that port wants a login, set spec.sasl"
            }
            Misfit::TakesNoLogin => "that port takes no login: remove spec.sasl, or dial the port that does",
        }
    }
}

/// What a failed TLS handshake means, and what to change.
pub fn tls_words(detail: &str) -> String {
    // librdkafka does not pass on which of these OpenSSL found.
    let remedy = if detail.contains("certificate verify failed") {
        "the broker's certificate is not signed by the authority in spec.tls.caSecretRef, has expired, or names another \
         host than the one that was dialled (spec.tls.verifyHostname)"
    } else if detail.contains("alert") {
        "the broker wants a client certificate that it trusts: check spec.tls.clientCertificateSecretRef"
    } else {
        "check spec.tls and the brokers' listeners"
    };
    format!("TLS with the broker fails: {detail}; {remedy}")
}

/// librdkafka's guesses at why a broker does not say which requests it knows, each with what is known. Brokers that are too
/// old for the question are ten years old; what is frozen, or speaks another protocol, is not asked for its age.
const GUESSES: [(&str, &str); 3] = [
    (
        ": probably due to broker version < 0.10 (see api.version.request configuration)",
        ": the broker took the connection, and not the first request",
    ),
    (" or broker version is < 0.10 (see api.version.request)", ""),
    (": might be caused by broker version < 0.10 (see api.version.request)", ""),
];

/// librdkafka's message without what it guesses of the broker's age.
pub fn without_guesses(message: &str) -> Cow<'_, str> {
    GUESSES.iter().fold(Cow::Borrowed(message), |text, (guess, known)| match text.contains(guess) {
        true => Cow::Owned(text.replace(guess, known)),
        false => text,
    })
}

/// librdkafka's message without what only its authors need: source files of OpenSSL, times in states, counts.
pub fn tidy(detail: &str) -> String {
    let mut text = detail.trim();
    for tail in [" (after ", ", errno ", ": broker certificate could not be verified"] {
        if let Some((head, _)) = text.rsplit_once(tail) {
            text = head;
        }
    }
    // OpenSSL: `error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed: …`.
    match text.split_once("error:") {
        Some((head, rest)) if rest.contains("routines:") => {
            let reason = rest.splitn(4, ':').nth(3).unwrap_or(rest);
            format!("{}{}", head, reason.trim_matches([':', ' ']))
        }
        _ => text.trim_end_matches([':', ' ']).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_detail_keeps_what_a_person_can_use() {
        for (raw, tidied) in [
            (
                "a/1: Connect to x failed: Connection refused (after 0ms in state CONNECT)",
                "a/1: Connect to x failed: Connection refused",
            ),
            (
                "error:0A000126:SSL routines::unexpected eof while reading (after 0ms in state X)",
                "unexpected eof while reading",
            ),
            ("no such topic: ", "no such topic"),
            ("an error: of another kind", "an error: of another kind"),
        ] {
            assert_eq!(tidy(raw), tidied);
        }
    }

    #[test]
    fn a_frozen_broker_is_not_called_old() {
        for (raw, said) in [
            (
                "a:9092/1: ApiVersionRequest failed: Local: Timed out: probably due to broker version < 0.10 (see \
                 api.version.request configuration) (after 10000ms in state APIVERSION_QUERY)",
                "a:9092/1: ApiVersionRequest failed: Local: Timed out: the broker took the connection, and not the first \
                 request (after 10000ms in state APIVERSION_QUERY)",
            ),
            (
                "requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL \
                 listener?) or broker version is < 0.10 (see api.version.request) (after 2ms in state APIVERSION_QUERY)",
                "requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL \
                 listener?) (after 2ms in state APIVERSION_QUERY)",
            ),
            (
                "requesting ApiVersion: might be caused by broker version < 0.10 (see api.version.request)",
                "requesting ApiVersion",
            ),
            ("Disconnected", "Disconnected"),
        ] {
            assert_eq!(without_guesses(raw), said);
        }
    }

    proptest! {
        #[test]
        fn any_detail_is_read_without_harm(
            detail in "(Disconnected|error:)?.{0,20}( \\(after [0-9]{0,30}ms in state UP)?.{0,20}",
            tls in any::<bool>(),
            sasl in any::<bool>(),
        ) {
            Misfit::guess(&detail, tls, sasl);
            prop_assert!(tidy(&detail).len() <= detail.len());
            prop_assert!(tls_words(&detail).contains("spec.tls"));
        }
    }
}
