//! The HTTP client under a camera: hyper's, over connections that [`Unextended`] listens to, with reqwest's answers.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::USER_AGENT};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use reqwest::{Body, Response, ResponseBuilderExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service;
use url::Url;

use super::chunks::Unextended;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// So many lines a header may have; some have a hundred.
const MAX_HEADERS: usize = 400;

/// Asks, and keeps a connection that may be asked again. Cheap to clone; all clones share it.
#[derive(Clone)]
pub(super) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Request(#[from] legacy::Error),
    #[error(transparent)]
    Url(#[from] http::uri::InvalidUri),
}

impl Error {
    /// There was no connection.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Error::Request(error) if error.is_connect())
    }

    /// It took too long.
    pub(super) fn is_timeout(&self) -> bool {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        let io = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
        io.map(io::Error::kind).any(|kind| kind == io::ErrorKind::TimedOut)
    }
}

/// A request that is being made up.
pub(super) struct RequestBuilder {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl RequestBuilder {
    /// With this header too.
    pub(super) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.append(name, value);
        }
        self
    }

    /// Makes the request, and gives the head of its answer.
    pub(super) async fn send(self) -> Result<Response, Error> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::try_from(self.url.as_str())?;
        *request.headers_mut() = self.headers;
        let (mut head, body) = self.client.inner.request(request).await?.into_parts();
        // reqwest's way to say where an answer comes from.
        if let Ok(from) = http::Response::builder().url(self.url).body(()) {
            head.extensions.extend(from.into_parts().0.extensions);
        }
        Ok(http::Response::from_parts(head, Body::wrap(body)).into())
    }
}

impl Client {
    /// For a camera over plain HTTP, and over TLS as it is set here.
    pub(super) fn new(tls: native_tls::TlsConnector) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = Connector { http, tls: tls.into() };
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .http09_responses(true)
            .http1_max_headers(MAX_HEADERS)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .build(connector);
        Client { inner }
    }

    /// A request for this URL.
    pub(super) fn request(&self, method: Method, url: Url, body: Bytes) -> RequestBuilder {
        let own = HeaderValue::from_static(concat!("edgereel/", env!("CARGO_PKG_VERSION")));
        RequestBuilder { client: self.clone(), method, url, headers: HeaderMap::from_iter([(USER_AGENT, own)]), body }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Dials, over TLS where the URL says so.
#[derive(Clone)]
struct Connector {
    http: HttpConnector,
    tls: tokio_native_tls::TlsConnector,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Unextended<Box<dyn Duplex>>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (tcp, tls) = (self.http.call(uri.clone()), self.tls.clone());
        let dialling = async move {
            let tcp = tcp.await?.into_inner();
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let stream: Box<dyn Duplex> = match uri.scheme_str() {
                Some("https") => Box::new(tls.connect(host, tcp).await?),
                _ => Box::new(tcp),
            };
            Ok(TokioIo::new(Unextended::new(stream)))
        };
        Box::pin(async {
            tokio::time::timeout(CONNECT_TIMEOUT, dialling)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        })
    }
}
