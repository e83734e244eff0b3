//! What the world may ask: `/metrics`, `/healthz`, `/readyz`, `/status` and `/snapshot.jpg`.

use std::{collections::HashMap, io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use edgereel_crds::status::{ConditionType, Reason};
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::exposition::{Format, merged},
    run::fleet::{Fleet, Member},
    work::Snapshot,
};

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, fleet: Arc<Fleet>, shutdown: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(fleet)).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
}

/// All routes.
pub fn router(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/snapshot.jpg", get(snapshot))
        .with_state(fleet)
}

async fn index() -> &'static str {
    "edgereel\n\n/metrics       Prometheus\n/healthz       the process works\n/readyz        every resource works (200) or which do not (503); ?any: one works\n/status        every resource's conditions and figures, JSON\n/snapshot.jpg  a camera's last frame: ?camera=NAME or ?camera=NAMESPACE/NAME (with --snapshots)\n"
}

async fn metrics(State(fleet): State<Arc<Fleet>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accept.join(","));
    let members = fleet.members();
    members.iter().for_each(|member| member.note_readiness());
    let others = join_all(members.iter().map(|member| member.work.exposition(format))).await;
    let others: Vec<String> = others.into_iter().flatten().collect();
    ([(header::CONTENT_TYPE, format.content_type())], merged(fleet.metrics.text(format), &others)).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 when every resource works or is suspended; else 503 and a line for each that does not. With `?any`, one that works is
/// enough: a process that runs many is no worse for one whose camera is away.
async fn readyz(State(fleet): State<Arc<Fleet>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let members = fleet.members();
    let waiting: String = members.iter().filter_map(|member| unready_line(member)).collect();
    if query.contains_key("any") && members.iter().any(|member| member.state.is_ready()) {
        return format!("ok\n{waiting}").into_response();
    }
    if waiting.is_empty() {
        let suspended = members.iter().filter(|member| is_suspended(member)).count();
        let text = if suspended == 0 { "ok\n".into() } else { format!("ok, {suspended} suspended\n") };
        return text.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, waiting).into_response()
}

/// Nothing is to be done for it, so it cannot fail to be ready.
fn is_suspended(member: &Member) -> bool {
    member.state.condition(ConditionType::Ready).is_some_and(|ready| ready.reason == Reason::Suspended)
}

fn unready_line(member: &Member) -> Option<String> {
    if member.state.is_ready() || is_suspended(member) {
        return None;
    }
    let (kind, name) = (member.state.kind.as_str(), &member.state.name);
    let why = member.state.condition(ConditionType::Ready);
    let why = why.map_or_else(String::new, |c| format!("{:?}: {}", c.reason, c.message));
    Some(format!("{kind} {name}: {why}\n"))
}

async fn status(State(fleet): State<Arc<Fleet>>) -> Response {
    Json(fleet.status()).into_response()
}

async fn snapshot(State(fleet): State<Arc<Fleet>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let wanted = query.get("camera").map(String::as_str);
    let fits = |m: &&Arc<Member>| {
        let name = &m.state.name;
        wanted.is_none_or(|w| w == name.name || w == name.to_string())
    };
    let members = fleet.members();
    let pictures = join_all(members.iter().filter(fits).map(|member| member.work.snapshot())).await;
    let mut cameras = pictures.into_iter().filter(|picture| !matches!(picture, Snapshot::Nothing));
    let refuse = |status, text: &str| (status, format!("{text}\n")).into_response();
    let Some(picture) = cameras.next() else {
        return refuse(StatusCode::NOT_FOUND, "no such camera");
    };
    if cameras.next().is_some() {
        return refuse(StatusCode::BAD_REQUEST, "several cameras fit: add ?camera=NAMESPACE/NAME");
    }
    match picture {
        Snapshot::Nothing | Snapshot::Off => refuse(StatusCode::FORBIDDEN, "snapshots are off: start with --snapshots"),
        Snapshot::None => refuse(StatusCode::SERVICE_UNAVAILABLE, "no frame yet"),
        Snapshot::Some(jpeg, captured_at) => {
            let headers = [
                (header::CONTENT_TYPE, "image/jpeg".to_owned()),
                (header::CACHE_CONTROL, "no-store".to_owned()),
                (header::HeaderName::from_static("x-captured-at"), captured_at.to_string()),
            ];
            (headers, jpeg).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{name::Kind, status::ConditionStatus};

    use super::*;
    use crate::{metrics::Metrics, testing::Idle};

    #[tokio::test]
    async fn a_suspended_resource_does_not_make_the_process_unready_and_a_failing_one_does() {
        let (state, member) = Idle::default().member(Kind::FrameSink);
        let fleet = Arc::new(Fleet::new(Metrics::default(), vec![Arc::new(member)]));
        assert_eq!(answer(&fleet, "").await, StatusCode::SERVICE_UNAVAILABLE);
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Suspended, "spec.suspend is true");
        assert_eq!(answer(&fleet, "").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn of_many_one_that_works_is_enough_where_that_is_asked_for() {
        let (members, states): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (state, member) = Idle::default().member(Kind::CameraStream);
                (Arc::new(member), state)
            })
            .unzip();
        let none = Arc::new(Fleet::new(Metrics::default(), vec![]));
        assert_eq!(answer(&none, "any").await, StatusCode::OK, "there is nothing to wait for");
        let fleet = Arc::new(Fleet::new(Metrics::default(), members));
        assert_eq!(answer(&fleet, "any").await, StatusCode::SERVICE_UNAVAILABLE);
        states[1].healthy(ConditionType::CameraOnline, "frames flow");
        assert_eq!(answer(&fleet, "any").await, StatusCode::OK);
        assert_eq!(answer(&fleet, "").await, StatusCode::SERVICE_UNAVAILABLE);
    }

    async fn answer(fleet: &Arc<Fleet>, query: &str) -> StatusCode {
        let query = query.split('&').filter(|key| !key.is_empty()).map(|key| (key.to_owned(), String::new())).collect();
        readyz(State(fleet.clone()), Query(query)).await.status()
    }
}
