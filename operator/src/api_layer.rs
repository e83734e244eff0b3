//! Counts every request to the API server by verb, resource and code, and sees by what comes back whether the watches live.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// Puts [`Counted`] around a client's service.
#[derive(Clone)]
pub struct Counting(pub Arc<Metrics>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.0.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: BodyExt<Data = Bytes> + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<Bytes, R::Error>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, resource) = what(request.method(), request.uri());
        let metrics = self.metrics.clone();
        let path = request.uri().path().to_owned();
        metrics.watching(&path, verb);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |response| response.status().as_u16());
            metrics.requested(verb, resource, code);
            metrics.watching(&path, verb);
            let brings = move |frame| {
                if verb == "watch" {
                    metrics.watching(&path, verb);
                }
                frame
            };
            Ok(answer?.map(|body| body.map_frame(brings).boxed_unsync()))
        })
    }
}

/// The verb and the resource of a request, as RBAC names them. Source: Kubernetes' "API concepts".
fn what(method: &Method, uri: &Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _version, rest @ ..] => rest,
        ["apis", _group, _version, rest @ ..] => rest,
        _ => &[],
    };
    let rest = match rest {
        ["namespaces", _namespace, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let (resource, named) = match rest {
        [] => ("other".to_owned(), true),
        [resource] => ((*resource).to_owned(), false),
        [resource, _name] => ((*resource).to_owned(), true),
        [resource, _name, sub, ..] => (format!("{resource}/{sub}"), true),
    };
    let watch = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let verb = match (method, named) {
        (&Method::GET, _) if watch => "watch",
        (&Method::GET, true) => "get",
        (&Method::GET, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PATCH, _) => "patch",
        (&Method::PUT, _) => "update",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_as_rbac_names_it() {
        for (method, uri, verb, resource) in [
            (Method::GET, "/api/v1/pods?&limit=500", "list", "pods"),
            (Method::GET, "/api/v1/namespaces/lab/pods?&watch=true&timeoutSeconds=290", "watch", "pods"),
            (Method::GET, "/api/v1/namespaces/lab/secrets/login", "get", "secrets"),
            (Method::PATCH, "/apis/apps/v1/namespaces/lab/deployments/a?&fieldManager=x", "patch", "deployments"),
            (
                Method::PATCH,
                "/apis/edgereel.dev/v1alpha1/namespaces/lab/framesinks/a/status",
                "patch",
                "framesinks/status",
            ),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/lab/events?", "create", "events"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", "update", "leases"),
            (Method::DELETE, "/api/v1/namespaces/lab/pods/a", "delete", "pods"),
            (Method::GET, "/version", "get", "other"),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(what(&method, &uri), (verb, resource.to_owned()), "{uri}");
        }
    }
}
