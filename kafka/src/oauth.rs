//! OAuth 2 client-credentials tokens (RFC 6749 §4.4) for SASL OAUTHBEARER: here they are fetched, [`keeper`] keeps them.

pub mod keeper;

use std::{thread, time::Duration};

use edgereel_crds::{kafka_connection::OAuth, plan::Connection, redact};
use edgereel_runtime::secrets::Secrets;
use jiff::Timestamp;
use rdkafka::client::OAuthToken;
use reqwest::{Certificate, Client, Url, header};

use super::fault::{KafkaFault, Subject};

/// Long enough for a slow identity provider.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For an endpoint that does not say how long its token lives (RFC 6749 §5.1 only recommends it).
const DEFAULT_LIFETIME_SECS: i64 = 300;
/// A token is text of a few KB; more than this is not a token endpoint's answer.
const MAX_ANSWER: usize = 256 << 10;

/// Fetches tokens. Holds the client's secret: no `Debug`.
#[derive(Clone)]
pub struct TokenSource {
    endpoint: Url,
    client_id: String,
    client_secret: String,
    scope: Option<String>,
    authority: Option<Vec<Certificate>>,
    /// The authority as it stands in the secret.
    authority_pem: Option<String>,
}

impl PartialEq for TokenSource {
    fn eq(&self, other: &Self) -> bool {
        let login = |s: &Self| (s.endpoint.clone(), s.client_id.clone(), s.client_secret.clone(), s.scope.clone());
        login(self) == login(other) && self.authority_pem == other.authority_pem
    }
}

impl TokenSource {
    /// From the connection's `sasl.oauth`. The endpoint may also be signed by the authority in `tls.caSecretRef`.
    pub fn new(
        spec: &OAuth,
        connection: &Connection,
        secrets: &Secrets,
        subject: &Subject,
    ) -> Result<Self, KafkaFault> {
        let namespace = &connection.name.namespace;
        let text = |field: &str, secret: &edgereel_crds::common::SecretKeyRef| {
            secrets
                .text(namespace, &secret.name, &secret.key)
                .map_err(|e| KafkaFault::lasting(edgereel_crds::status::Reason::SecretMissing, format!("{field}: {e}")))
        };
        let endpoint = spec.token_url.parse::<Url>().map_err(|e| subject.misconfigured("sasl.oauth.tokenUrl", e))?;
        let mut authority_pem = None;
        let authority = match connection.spec.tls.as_ref().and_then(|tls| tls.ca()) {
            Some(ca) if endpoint.scheme() == "https" => {
                let pem = secrets.read(namespace, &ca.source, ca.key);
                let missing = |e| KafkaFault::lasting(ca.source.missing(), format!("spec.tls.{}: {e}", ca.field));
                let pem = pem.map_err(missing)?;
                let certificates = Certificate::from_pem_bundle(pem.as_bytes());
                authority_pem = Some(pem);
                Some(certificates.map_err(|e| subject.misconfigured(&format!("tls.{}", ca.field), e))?)
            }
            _ => None,
        };
        Ok(TokenSource {
            endpoint,
            client_id: text("spec.sasl.oauth.clientIdSecretRef", &spec.client_id_secret_ref)?,
            client_secret: text("spec.sasl.oauth.clientSecretSecretRef", &spec.client_secret_secret_ref)?,
            scope: spec.scope.clone(),
            authority,
            authority_pem,
        })
    }

    /// Fetches a token, blocking. Errors name the endpoint and never the token.
    ///
    /// It works on a thread of its own, so that a panic is an error as any other.
    fn fetch(&self) -> Result<OAuthToken, String> {
        thread::scope(|scope| {
            let work = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(|e| e.to_string())?.block_on(self.ask())
            };
            let thread = thread::Builder::new().name("oauth token".into()).spawn_scoped(scope, work);
            let joined = thread.map_err(|e| e.to_string())?.join();
            joined.unwrap_or_else(|_| Err("the token fetcher panicked".into()))
        })
        .map_err(|detail: String| format!("token endpoint {}: {}", self.shown(), self.without_secrets(&detail)))
    }

    /// The endpoint as it may be shown.
    fn shown(&self) -> String {
        redact::url(&self.endpoint)
    }

    /// What the endpoint says may repeat what it was asked.
    fn without_secrets(&self, text: &str) -> String {
        redact::echo(&self.endpoint, &redact::without(text, &self.client_secret))
    }

    #[cfg(test)]
    fn for_test(endpoint: &str, client_id: &str, client_secret: &str) -> Self {
        TokenSource {
            endpoint: endpoint.parse().expect("a URL"),
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            scope: None,
            authority: None,
            authority_pem: None,
        }
    }

    async fn ask(&self) -> Result<OAuthToken, String> {
        let mut client = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        for certificate in self.authority.iter().flatten() {
            client = client.add_root_certificate(certificate.clone());
        }
        let client = client.build().map_err(|e| chain(&e))?;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        // RFC 6749 §2.3.1: id and secret are form-encoded before they become the Basic login.
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let mut answer = client
            .post(self.endpoint.clone())
            .basic_auth(encoded(&self.client_id), Some(encoded(&self.client_secret)))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form.finish())
            .send()
            .await
            .map_err(|e| chain(&e.without_url()))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| chain(&e.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err("the answer is too long for a token".into());
            }
        }
        token(status.as_u16(), &body, Timestamp::now(), &self.client_id)
    }
}

/// Reads an endpoint's answer (RFC 6749 §5).
fn token(status: u16, body: &[u8], now: Timestamp, client_id: &str) -> Result<OAuthToken, String> {
    #[derive(serde::Deserialize)]
    struct Granted {
        access_token: String,
        #[serde(default)]
        token_type: Option<String>,
        #[serde(default)]
        expires_in: Option<f64>,
    }
    #[derive(serde::Deserialize)]
    struct Refused {
        error: String,
        #[serde(default)]
        error_description: Option<String>,
    }
    if status != 200 {
        let why = match serde_json::from_slice::<Refused>(body) {
            Ok(Refused { error, error_description: Some(text) }) => format!(": {error} ({text})"),
            Ok(Refused { error, .. }) => format!(": {error}"),
            Err(_) => String::new(),
        };
        let remedy = match status {
            400 | 401 | 403 => "; check spec.sasl.oauth: clientIdSecretRef, clientSecretSecretRef and scope",
            300..=399 | 404 | 405 => "; check spec.sasl.oauth.tokenUrl",
            _ => "",
        };
        return Err(format!("HTTP {status}{why}{remedy}").replace(char::is_control, " "));
    }
    let granted: Granted = serde_json::from_slice(body)
        .map_err(|_| "the answer is not a token in JSON; check spec.sasl.oauth.tokenUrl".to_owned())?;
    if let Some(other) = granted.token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(format!("the token's type is `{other}`, not `Bearer`").replace(char::is_control, " "));
    }
    let lifetime = granted.expires_in.map_or(DEFAULT_LIFETIME_SECS, |secs| secs.clamp(1.0, 31_536_000.0) as i64);
    Ok(OAuthToken {
        token: granted.access_token,
        principal_name: client_id.to_owned(),
        lifetime_ms: now.as_millisecond() + lifetime * 1000,
    })
}

/// An error with its causes: reqwest's own words stop at "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(status: u16, body: &str) -> Result<(String, i64), String> {
        token(status, body.as_bytes(), Timestamp::UNIX_EPOCH, "edge").map(|t| (t.token, t.lifetime_ms))
    }

    #[test]
    fn a_granted_token_lives_as_long_as_the_endpoint_says() {
        let granted = r#"{"access_token": "abc", "token_type": "bearer", "expires_in": 60}"#;
        assert_eq!(ask(200, granted), Ok(("abc".into(), 60_000)));
        assert_eq!(ask(200, r#"{"access_token": "abc"}"#), Ok(("abc".into(), 300_000)));
    }

    #[test]
    fn a_refusal_says_what_to_check_and_what_the_endpoint_said() {
        let refused = r#"{"error": "invalid_client", "error_description": "no such client"}"#;
        for (status, body, words) in [
            (401, refused, "invalid_client (no such client); check spec.sasl.oauth: clientId"),
            (404, "<html>", "HTTP 404; check spec.sasl.oauth.tokenUrl"),
            (200, "<html>", "not a token in JSON"),
            (200, r#"{"access_token": "abc", "token_type": "mac"}"#, "`mac`, not `Bearer`"),
            (503, "", "HTTP 503"),
        ] {
            let message = ask(status, body).expect_err("refused");
            assert!(message.contains(words), "{status} {body}: {message}");
        }
    }

    #[test]
    fn neither_the_endpoint_nor_what_it_says_shows_a_secret() {
        let source = TokenSource::for_test("https://me:secret@idp.example:8443/token?key=k3y7", "edge", "s3cret%");
        assert_eq!(source.shown(), "https://idp.example:8443/token?key=***");
        assert_eq!(source.without_secrets("no k3y7 with s3cret% (s3cret%25)"), "no *** with *** (***)");
    }

    proptest! {
        #[test]
        fn any_answer_gives_a_token_or_a_message_fit_for_a_c_string(status in 200..600u16, body in any::<Vec<u8>>()) {
            if let Err(message) = token(status, &body, Timestamp::UNIX_EPOCH, "edge") {
                prop_assert!(!message.contains(char::is_control));
            }
        }
    }
}
