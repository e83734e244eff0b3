//! The HTTP client for cameras: login, redirects, TLS, and errors that say what to do.
//!
//! Cameras speak HTTP loosely, so what can be borne is borne: invalid headers, and bodies without any (HTTP/0.9).

mod chunks;
mod client;
mod cookies;
mod login;
mod page;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use client::Client;
use cookies::Cookies;
use edgereel_crds::{camera_stream::CameraTls, common::LocalRef, redact, status::Reason};
use edgereel_runtime::{
    plain::plain,
    secrets::{SecretError, Secrets},
};
use login::{Asked, Challenge};
use native_tls::{Certificate, TlsConnector};
pub use page::Page;
use reqwest::{
    Method, Response, StatusCode, Version,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE,
    },
};
use url::Url;

use super::{
    Again, SourceError,
    login::{Credentials, Login},
};

const MAX_REDIRECTS: usize = 5;
/// How much of an error page is read, to keep the connection.
const MAX_PAGE: usize = 64 << 10;
/// How long an error page is read.
const PAGE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a camera is asked for, and how.
#[derive(Clone)]
pub struct HttpCamera {
    client: Client,
    /// Without user name and password.
    url: Url,
    login: Login,
    /// How the camera's own host wants to be answered, once it has said so.
    challenge: Option<Challenge>,
    cookies: Cookies,
    /// The last answer left its connection to be used again.
    kept: bool,
}

impl HttpCamera {
    /// A client for one URL. Fails when the URL, a secret or a certificate cannot be used.
    pub fn new(
        url: &str,
        credentials: Option<&LocalRef>,
        tls: Option<&CameraTls>,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<Self, SourceError> {
        let invalid = |message: String| SourceError::new(Reason::InvalidConfiguration, message);
        let secret_missing = |e: SecretError| SourceError::new(Reason::SecretMissing, e.to_string());
        // The message must not show the URL: a password with an unescaped `/` is what breaks it most often.
        let mut url = Url::parse(url).map_err(|e| {
            invalid(format!("`url` is not a URL: {e}; write special characters of a password as %XX, or use a Secret"))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("`url` must be `http://HOST/…` or `https://HOST/…`".into()));
        }
        let login = Login::take(&mut url, credentials, namespace, secrets).map_err(secret_missing)?;
        let mut builder = TlsConnector::builder();
        if let Some(tls) = tls {
            builder.danger_accept_invalid_certs(tls.insecure_skip_verify);
            if let Some(ca) = &tls.ca_secret_ref {
                let pem = secrets.text(namespace, &ca.name, &ca.key).map_err(secret_missing)?;
                let certificates =
                    Certificate::stack_from_pem(pem.as_bytes()).ok().filter(|c| !c.is_empty()).ok_or_else(|| {
                        invalid(format!(
                            "tls.caSecretRef: `{}` of secret `{}` is not a PEM certificate",
                            ca.key, ca.name
                        ))
                    })?;
                builder.disable_built_in_roots(true);
                for certificate in certificates {
                    builder.add_root_certificate(certificate);
                }
            }
        }
        let tls = builder.build().map_err(|e| invalid(format!("cannot set up TLS: {}", root_cause(&e))))?;
        let client = Client::new(tls);
        Ok(HttpCamera { client, url, login, challenge: None, cookies: Cookies::default(), kept: false })
    }

    /// The camera's URL as it may be shown.
    pub fn shown(&self) -> String {
        redact::url(&self.url)
    }

    fn error(&self, url: &Url, reason: Reason, message: impl std::fmt::Display) -> SourceError {
        let via = if *url == self.url { String::new() } else { format!(" (redirected to {})", redact::url(url)) };
        SourceError::new(reason, format!("{}{via}: {message}", self.shown()))
    }

    /// Asks for the URL, logs in as the camera asks, follows redirects, and returns an answer that is a success and not
    /// encoded.
    pub async fn get(&mut self) -> Result<Response, SourceError> {
        let response = self.ask(Method::GET, "", Bytes::new()).await?;
        self.check(&response.url().clone(), response).await
    }

    /// Sends this body of this type as [`HttpCamera::get`] asks, and returns the answer whatever its status: the body says
    /// what went wrong.
    pub async fn post(&mut self, content_type: &str, body: Bytes) -> Result<Response, SourceError> {
        self.ask(Method::POST, content_type, body).await
    }

    async fn ask(&mut self, method: Method, content_type: &str, body: Bytes) -> Result<Response, SourceError> {
        let mut url = self.url.clone();
        let mut challenge = self.challenge.clone();
        let mut hops = 0;
        // Whether the challenge that is being answered came in this call.
        let mut fresh = false;
        loop {
            // A login is for the camera alone: never for a host that a redirect names, nor over a plainer connection.
            let own = same_origin(&self.url, &url);
            let credentials = match (&challenge, own) {
                (Some(_), true) => self.credentials()?,
                _ => None,
            };
            let mut request = self.client.request(method.clone(), url.clone(), body.clone()).header(ACCEPT, "*/*");
            if !content_type.is_empty() {
                request = request.header(CONTENT_TYPE, content_type);
            }
            if let (Some(challenge), Some(credentials)) = (&mut challenge, &credentials) {
                let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
                let asked = Asked { method: method.as_str(), target, body: &body };
                let answer = HeaderValue::from_bytes(&challenge.answer(credentials, &asked)).map_err(|_| {
                    let message = "its login cannot be answered: the user name or what the camera sent has bytes that HTTP \
                                   does not allow";
                    self.error(&url, Reason::CameraUnauthorized, message)
                })?;
                request = request.header(AUTHORIZATION, answer);
            }
            if own && let Some(cookies) = self.cookies.header() {
                request = request.header(COOKIE, cookies);
            }
            let response = match request.send().await {
                Ok(response) => response,
                // The camera let go of a connection that it had kept: no fault, and a new one will do.
                Err(e) if std::mem::take(&mut self.kept) && is_hang_up(&e) => continue,
                Err(e) => return Err(self.explain(&url, &e)),
            };
            self.kept = keeps(&response);
            if own {
                self.challenge = challenge.clone();
            }
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED {
                let offered = challenge_in(response.headers());
                // A kept nonce may have run out; but a fresh challenge that was answered in vain is a refusal.
                let refused = fresh && !offered.as_ref().is_ok_and(Challenge::is_stale);
                if !own || refused || hops > MAX_REDIRECTS || self.credentials()?.is_none() {
                    self.challenge = None;
                    return Err(self.unauthorized(&url, own, offered));
                }
                match offered {
                    Ok(offered) => challenge = Some(offered),
                    Err(_) => return Err(self.unauthorized(&url, own, offered)),
                }
                hops += usize::from(fresh);
                fresh = true;
                self.drain(response).await;
            } else if status.is_redirection() {
                let next = self.redirect(&url, &response)?;
                if own {
                    self.cookies.take(response.headers());
                }
                hops += 1;
                if hops > MAX_REDIRECTS {
                    let message = format!(
                        "{MAX_REDIRECTS} redirects lead nowhere, the last to {}: check the path",
                        redact::url(&next)
                    );
                    return Err(self.error(&self.url, Reason::CameraProtocolError, message));
                }
                self.drain(response).await;
                url = next;
            } else {
                return Ok(response);
            }
        }
    }

    /// How the last request was logged in, in words.
    pub fn login(&self) -> String {
        match (&self.login, &self.challenge) {
            (Login::None, _) => "no login".into(),
            (_, None) => "no login asked for".into(),
            (_, Some(challenge)) => format!("{} login", challenge.name()),
        }
    }

    /// The camera is dialled anew: how it wants to be answered is asked anew.
    pub fn forget_login(&mut self) {
        self.kept = false;
        self.challenge = None;
        self.cookies = Cookies::default();
    }

    fn credentials(&self) -> Result<Option<Credentials>, SourceError> {
        self.login.credentials().map_err(|e| SourceError::new(Reason::SecretMissing, e.to_string()))
    }

    fn unauthorized(&self, url: &Url, own: bool, offered: Result<Challenge, String>) -> SourceError {
        let message = match (&self.login, offered) {
            _ if !own => "answered 401, and the login is not sent to another host: use its URL in the resource".into(),
            (Login::None, _) => "answered 401: it wants a login, set `credentialsSecretRef`".into(),
            (_, Err(asked)) => format!(
                "answered 401, and wants a login that is not known here: {asked}; allow basic or digest in the camera"
            ),
            (_, Ok(challenge)) => {
                let message =
                    format!("answered 401: it refuses this user name and password ({} login)", challenge.name());
                return self.error(url, Reason::CameraUnauthorized, message).again(Again::MuchLater);
            }
        };
        self.error(url, Reason::CameraUnauthorized, message)
    }

    /// Where a redirect leads.
    fn redirect(&self, url: &Url, response: &Response) -> Result<Url, SourceError> {
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = location.and_then(|to| url.join(to).ok()).filter(|to| matches!(to.scheme(), "http" | "https"));
        let Some(mut next) = next else {
            let message = format!("answered {status} without a usable location: check the path");
            return Err(self.error(url, Reason::CameraProtocolError, message));
        };
        let _ = next.set_username("");
        let _ = next.set_password(None);
        Ok(next)
    }

    /// Reads a short body to its end, so that the connection can be used again.
    async fn drain(&self, mut response: Response) {
        if response.content_length().is_some_and(|n| n <= MAX_PAGE as u64) {
            let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
            let _ = tokio::time::timeout(PAGE_TIMEOUT, rest).await;
        }
    }

    /// Turns away what cannot be pictures.
    async fn check(&self, url: &Url, response: Response) -> Result<Response, SourceError> {
        let status = response.status();
        if !status.is_success() {
            let (reason, advice) = match status {
                StatusCode::FORBIDDEN => (Reason::CameraUnauthorized, "this user may not see it"),
                StatusCode::NOT_FOUND | StatusCode::GONE => (Reason::CameraProtocolError, "check the path"),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    (Reason::CameraProtocolError, "it may serve its most viewers already")
                }
                s if s.is_server_error() => (Reason::CameraProtocolError, "restart the camera if this stays"),
                _ => (Reason::CameraProtocolError, "check the URL"),
            };
            self.drain(response).await;
            return Err(self.error(url, reason, format!("answered {}: {advice}", describe(status))));
        }
        self.check_encoding(url, &response)?;
        Ok(response)
    }

    /// A failure while a body was read.
    pub fn broke_off(&self, error: &reqwest::Error) -> SourceError {
        let cause = root_cause(error);
        if cause.to_ascii_lowercase().contains("chunk") && !cause.contains("EOF") {
            return self.protocol_error(format!("its answer's chunks are not as HTTP/1.1 has them ({cause})"));
        }
        self.unreachable(format!("the connection broke off: {cause}"))
    }

    /// A camera that answers, but not with what we want.
    pub fn protocol_error(&self, message: impl std::fmt::Display) -> SourceError {
        self.error(&self.url, Reason::CameraProtocolError, message)
    }

    /// A camera that went away.
    pub fn unreachable(&self, message: impl std::fmt::Display) -> SourceError {
        self.error(&self.url, Reason::CameraUnreachable, message)
    }

    /// What a failed request means.
    fn explain(&self, url: &Url, error: &client::Error) -> SourceError {
        let cause = root_cause(error);
        let lower = cause.to_ascii_lowercase();
        let is_tls = ["certificate", "ssl", "tls", "hostname mismatch"].iter().any(|word| lower.contains(word));
        if url.scheme() == "https" && is_tls {
            let message = format!(
                "TLS failed: {cause}; give the camera's authority with `tls.caSecretRef`, or set `tls.insecureSkipVerify`"
            );
            return self.error(url, Reason::CameraProtocolError, message);
        }
        if error.is_connect() || error.is_timeout() {
            let advice = if error.is_timeout() {
                "it does not answer: check that it is on and that the address is right".to_owned()
            } else if ["dns", "lookup", "name or service"].iter().any(|word| lower.contains(word)) {
                format!("its name does not resolve ({cause}): check the host name and the DNS")
            } else {
                format!("cannot connect ({cause}): check that it is on and that address and port are right")
            };
            return self.error(url, Reason::CameraUnreachable, advice);
        }
        if lower.contains("too large") {
            return self.error(url, Reason::CameraProtocolError, "the header of its answer does not end");
        }
        if lower.contains("content-length") {
            let message = "its header has a Content-Length that is no number, or two that differ";
            return self.error(url, Reason::CameraProtocolError, message);
        }
        if lower.contains("invalid") {
            return self.error(
                url,
                Reason::CameraProtocolError,
                format!("does not answer in HTTP ({cause}): check the port"),
            );
        }
        self.error(url, Reason::CameraUnreachable, format!("the connection broke off before an answer: {cause}"))
    }
}

/// Whether a body came without any header: a bare TCP stream.
pub fn is_bare(response: &Response) -> bool {
    response.version() == Version::HTTP_09
}

/// The `Content-Type`, or nothing.
pub fn content_type(response: &Response) -> String {
    response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn challenge_in(headers: &HeaderMap) -> Result<Challenge, String> {
    Challenge::strongest(headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes))
}

/// Whether a connection may be used again after this answer.
fn keeps(response: &Response) -> bool {
    let lists = response.headers().get_all(CONNECTION);
    let has = |word: &str| {
        let words = lists.iter().filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        words.map(str::trim).any(|given| given.eq_ignore_ascii_case(word))
    };
    !has("close") && (response.version() == Version::HTTP_11 || has("keep-alive"))
}

/// Whether a connection ended before an answer.
fn is_hang_up(error: &client::Error) -> bool {
    let cause = root_cause(error).to_ascii_lowercase();
    let answered = ["too large", "invalid"].iter().any(|word| cause.contains(word));
    !error.is_connect() && !error.is_timeout() && !answered
}

/// Same host, and not from TLS to plain text. Another port is another server.
fn same_origin(camera: &Url, url: &Url) -> bool {
    let upgraded =
        camera.scheme() == "http" && url.scheme() == "https" && camera.port().is_none() && url.port().is_none();
    let same = camera.scheme() == url.scheme() && camera.port_or_known_default() == url.port_or_known_default();
    camera.host() == url.host() && (same || upgraded)
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// The innermost cause: the outer ones repeat the URL or say nothing.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    plain(cause)
}
