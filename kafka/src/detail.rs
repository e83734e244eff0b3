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

/// How librdkafka tells that a broker cannot be reached, or is no longer: all of these come again and again while it is away.
const UNREACHED: [&str; 10] = [
    "Disconnected",
    "Connect to ",
    "Connection setup timed out",
    "Failed to resolve",
    "ApiVersionRequest failed: Local: Timed out",
    "timed out",
    "Timed out",
    "Broken pipe",
    "reset by peer",
    "Send failed",
];

/// Whether a line is about a connection that is lost or cannot be had.
pub fn is_unreached(message: &str) -> bool {
    UNREACHED.iter().any(|words| message.contains(words))
}

/// Whether a line says that a cluster is still getting up: its new internal topic has no leader yet, or is being read. It
/// is asked again within a moment.
pub fn is_getting_up(message: &str) -> bool {
    message.starts_with("Failed to acquire ")
        && ["Coordinator load in progress", "Coordinator not available"].iter().any(|words| message.contains(words))
}

/// What a tidied message of a broker's thread says of the way to the broker, in plain words; none of other messages.
pub fn way_words(detail: &str) -> Option<String> {
    let (broker, what) = detail.split_once(": ").filter(|(name, _)| !name.contains(' '))?;
    // `sasl_ssl://host:9092/bootstrap`, `GroupCoordinator: host:9092`.
    let (broker, what) = match what.split_once(": ") {
        Some((node, rest)) if broker.ends_with("Coordinator") => (node, rest),
        _ => (broker, what),
    };
    let broker = broker.rsplit_once("://").map_or(broker, |(_, rest)| rest);
    let broker = broker.split_once('/').map_or(broker, |(address, _)| address);
    let failed = |why: &str| what.starts_with("Connect to ") && what.contains(why);
    let why = what.rsplit_once("failed: ").map_or(what, |(_, why)| why);
    if failed("Connection refused") {
        Some(format!("nothing listens at {broker} (connection refused)"))
    } else if failed("timed out") || what.starts_with("Connection setup timed out in state CONNECT") {
        Some(format!("{broker} does not take the connection (timed out)"))
    } else if failed("") {
        Some(format!("there is no way to {broker} ({})", why.to_lowercase()))
    } else if let Some(name) = what.strip_prefix("Failed to resolve '").and_then(|rest| rest.split_once('\'')) {
        Some(format!("the name of {} is not found", name.0))
    } else if what.starts_with("Disconnected") {
        Some(format!("{broker} has closed the connection"))
    } else {
        None
    }
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
    fn a_broker_that_is_not_there_is_said_to_be_that() {
        for (tidied, said) in [
            (
                "127.0.0.1:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused",
                Some("nothing listens at 127.0.0.1:9092 (connection refused)"),
            ),
            (
                "sasl_ssl://kafka.lab:9093/2: Connect to ipv4#10.0.0.1:9093 failed: No route to host",
                Some("there is no way to kafka.lab:9093 (no route to host)"),
            ),
            (
                "GroupCoordinator: kafka.lab:9092: Connect to ipv4#10.0.0.1:9092 failed: Connection timed out",
                Some("kafka.lab:9092 does not take the connection (timed out)"),
            ),
            (
                "a:9092/1: Connection setup timed out in state CONNECT",
                Some("a:9092 does not take the connection (timed out)"),
            ),
            (
                "a:9092/bootstrap: Failed to resolve 'a:9092': Name or service not known",
                Some("the name of a:9092 is not found"),
            ),
            (
                "a:9092/1: Disconnected: connection closed by peer: receive 0 after POLLIN",
                Some("a:9092 has closed the connection"),
            ),
            ("a:9092/1: SASL authentication error", None),
            ("the broker said: no", None),
            ("", None),
        ] {
            assert_eq!(way_words(tidied).as_deref(), said, "{tidied}");
        }
    }

    #[test]
    fn lines_of_a_broker_that_is_away_are_told_from_others() {
        for (line, unreached) in [
            ("a:9092/1: Disconnected (after 12ms in state UP)", true),
            ("a:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)", true),
            ("a:9092/1: Failed to resolve 'a:9092': Name or service not known (after 1ms in state CONNECT)", true),
            ("a:9092/1: 3 request(s) timed out: disconnect (average rtt 2.1ms) (after 9000ms in state UP)", true),
            ("a:9092/1: SASL authentication error: no (after 3ms in state AUTH_REQ)", false),
            ("ssl://a:9092/1: SSL handshake failed: certificate verify failed", false),
        ] {
            assert_eq!(is_unreached(line), unreached, "{line}");
        }
    }

    #[test]
    fn a_cluster_that_is_getting_up_is_no_fault_and_one_that_refuses_is() {
        let line =
            |why: &str| format!("Failed to acquire idempotence PID from broker 127.0.0.1:9092/1: {why}: retrying");
        assert!(is_getting_up(&line("Broker: Coordinator load in progress")));
        assert!(is_getting_up(&line("Broker: Coordinator not available")));
        assert!(!is_getting_up(&line("Broker: Cluster authorization failed")));
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
            way_words(&tidy(&detail));
        }
    }
}
