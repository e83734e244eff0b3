//! The camera's task with a camera that plays a script.

use std::collections::VecDeque;

use edgereel_crds::plan::Plan;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::*;
use crate::{
    frame::jpeg::tests::picture,
    metrics::Metrics,
    state::{Kind, ResourceState},
};

/// Connections one after the other, each with its parts; then it tells that all were played, and does not answer.
struct Script {
    connections: VecDeque<Vec<Part>>,
    played: Arc<Notify>,
}

impl Source for Script {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async {
            match self.connections.pop_front() {
                Some(parts) => Ok(Box::new(Connection(parts.into())) as Box<dyn FrameStream>),
                None => {
                    self.played.notify_one();
                    std::future::pending().await
                }
            }
        })
    }
}

struct Connection(VecDeque<Part>);

impl FrameStream for Connection {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        let next = self.0.pop_front();
        Box::pin(async { next.ok_or_else(|| SourceError::new(Reason::CameraUnreachable, "it hung up")) })
    }
}

fn plan() -> Plan {
    let documents = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"127.0.0.1:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {mjpeg: {url: \"http://gate/video\"}}
  topic: {name: gate}
  kafka: {connectionRef: {name: lab}}
";
    edgereel_crds::load(&[("camera.yaml".into(), documents.into())]).expect("sound")
}

/// Plays the connections to the end, and gives what the camera kept.
async fn play(connections: impl IntoIterator<Item = Vec<Part>>) -> Keep {
    let (plan, played) = (plan(), Arc::new(Notify::new()));
    let plan = &plan.cameras[0];
    let keep = Keep::new(plan, Metrics::default().camera(&plan.name), None);
    keep.outbox.open(1 << 20);
    let source = Script { connections: connections.into_iter().collect(), played: played.clone() };
    let health = Arc::new(Health::new(ResourceState::new(Kind::CameraStream, plan.name.clone())));
    let (camera, stop) = (Camera::new(plan, Box::new(source), health, &keep), CancellationToken::new());
    let task = tokio::spawn(camera.run(stop.clone()));
    played.notified().await;
    stop.cancel();
    task.await.expect("it stops");
    keep
}

fn part(jpeg: &[u8]) -> Part {
    Part::Picture(jpeg.to_vec().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learnt_of_missing_end_markers_ends_with_the_connection() {
    let (whole, other) = (picture(64, 64, 1), picture(64, 64, 2));
    let endless = &other[..other.len() - 2];
    let same = play([vec![part(&whole), part(endless)]]).await;
    assert_eq!(same.metrics.account().dropped_total(), 1, "a camera that ends its pictures cut this one short");
    let anew = play([vec![part(&whole)], vec![part(endless)]]).await;
    let account = anew.metrics.account();
    assert_eq!((account.captured, account.waiting, account.dropped_total()), (2, 2, 0));
    assert_eq!(anew.metrics.mended(MendReason::end_of_image).get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_is_captured_and_has_its_fate() {
    let whole = picture(64, 64, 1);
    let parts = vec![Part::Skipped(DropReason::empty), part(&whole), part(b"not a picture"), part(&whole)];
    let keep = play([parts]).await;
    let account = keep.metrics.account();
    assert_eq!((account.captured, account.waiting, account.acknowledged), (4, 2, 0));
    assert_eq!(account.dropped.into_iter().collect::<Vec<_>>(), [("empty", 1), ("not_jpeg", 1)]);
    keep.finish();
    let account = keep.metrics.account();
    assert_eq!((account.waiting, account.dropped["shutdown"]), (0, 2), "at the end nothing waits any more");
}
