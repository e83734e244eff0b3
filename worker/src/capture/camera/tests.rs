//! The camera's task with a camera that plays a script.

use std::collections::VecDeque;

use edgereel_crds::{
    name::Kind,
    plan::Plan,
    status::{Condition, ConditionStatus, ConditionType},
};
use edgereel_frame::samples::picture;
use edgereel_runtime::{metrics::Metrics, state::ResourceState};
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::*;
use crate::capture::metrics::CameraFamilies;

/// Connections one after the other, each with its parts; then it tells that all were played, and does not answer.
struct Script {
    connections: VecDeque<Vec<Part>>,
    /// How each of them ends.
    end: Again,
    played: Arc<Notify>,
}

impl Source for Script {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        Box::pin(async {
            match self.connections.pop_front() {
                Some(parts) => Ok(Box::new(Connection(parts.into(), self.end)) as Box<dyn FrameStream>),
                None => {
                    self.played.notify_one();
                    std::future::pending().await
                }
            }
        })
    }
}

struct Connection(VecDeque<Part>, Again);

impl FrameStream for Connection {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        let next = self.0.pop_front();
        let end = SourceError::new(Reason::CameraUnreachable, "it hung up").again(self.1);
        Box::pin(async { next.ok_or(end) })
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
    play_to(connections, Again::Later).await.0
}

/// As [`play`], each connection ending in this way; gives the resource's state too.
async fn play_to(connections: impl IntoIterator<Item = Vec<Part>>, end: Again) -> (Keep, ResourceState) {
    let played = Arc::new(Notify::new());
    let source = Script { connections: connections.into_iter().collect(), end, played: played.clone() };
    run_until(source, &played).await
}

/// Runs a camera until its source has played all that it has; gives what it kept, and what is said of it then.
async fn run_until(source: impl Source + 'static, played: &Notify) -> (Keep, ResourceState) {
    let plan = plan();
    let plan = &plan.cameras[0];
    let keep = Keep::new(plan, CameraFamilies::new(&mut Metrics::default()).of(&plan.name), None);
    keep.outbox.open(1 << 20);
    let state = ResourceState::new(Kind::CameraStream, plan.name.clone());
    let health = Arc::new(Health::new(state.clone()));
    let (camera, stop) = (Camera::new(plan, Box::new(source), health, &keep), CancellationToken::new());
    let task = tokio::spawn(camera.run(stop.clone()));
    played.notified().await;
    stop.cancel();
    task.await.expect("it stops");
    (keep, state)
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

/// A request that brought something else than a picture.
fn bad(message: &str) -> Part {
    Part::Bad(DropReason::not_jpeg, SourceError::new(Reason::CameraProtocolError, message))
}

fn camera_is(state: &ResourceState) -> (bool, String) {
    let online = state.condition(ConditionType::CameraOnline).expect("set");
    (online.status == ConditionStatus::True, online.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_among_pictures_are_counted_and_end_nothing() {
    let whole = picture(64, 64, 1);
    let answers = (0..20).map(|n| if n % 5 == 0 { part(&whole) } else { bad("answered 503") });
    let (keep, state) = play_to([answers.collect()], Again::AtOnce).await;
    let account = keep.metrics.account();
    assert_eq!((account.captured, account.waiting, account.dropped["not_jpeg"]), (20, 4, 16));
    assert_eq!(camera_is(&state), (true, "frames arrive".into()));
    assert_eq!(state.last_error().expect("told").message, "answered 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_bad_answers_is_a_fault_and_so_is_each_one_until_a_picture_comes() {
    let whole = picture(64, 64, 1);
    let run = |pictures: usize, words: &str| [vec![part(&whole); pictures], vec![bad(words); 7]].concat();
    let (keep, state) = play_to([run(1, "answered 503"), run(0, "answered 500")], Again::Later).await;
    assert_eq!(keep.metrics.account().dropped["not_jpeg"], 6, "five end the first connection, one the second");
    assert_eq!(camera_is(&state), (false, "answered 500".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_of_all_shows_at_once_if_it_is_bad_and_is_forgotten_with_the_first_picture() {
    let whole = picture(64, 64, 1);
    let (_, state) = play_to([vec![bad("answered 503")]], Again::AtOnce).await;
    assert_eq!(state.last_error().expect("told").message, "it hung up");
    let (_, state) = play_to([vec![bad("answered 503"), part(&whole)]], Again::AtOnce).await;
    assert_eq!(state.last_error().expect("told").message, "answered 503");
    assert!(camera_is(&state).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_closes_in_order_after_each_picture_is_online_all_the_time() {
    let whole = picture(64, 64, 1);
    let start = Instant::now();
    let (keep, state) = play_to(vec![vec![part(&whole)]; 12], Again::AtOnce).await;
    assert_eq!((keep.metrics.account().waiting, keep.metrics.reconnects.get()), (12, 12));
    assert!(state.last_error().is_none() && camera_is(&state).0, "{:?}", state.last_error());
    assert!(start.elapsed() > Duration::from_secs_f64(11.0 / DIALS.1), "the camera is flooded");
    // Without a whole picture it is a fault, however orderly the end.
    let (_, state) = play_to([vec![part(&whole)], vec![Part::Skipped(DropReason::empty)]], Again::AtOnce).await;
    assert_eq!(camera_is(&state), (false, "it hung up".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_holds_two_pictures_is_two_frames() {
    let (one, two) = (picture(64, 64, 1), picture(64, 64, 2));
    let keep = play([vec![part(&[&one[..], &two].concat())]]).await;
    let account = keep.metrics.account();
    assert_eq!((account.captured, account.waiting), (2, 2));
    let frames: Vec<Bytes> = keep.outbox.take().into_iter().map(|taken| taken.frame.jpeg).collect();
    assert_eq!(frames, [one, two]);
}

/// A camera that stays connected and falls silent after its parts.
struct Silent {
    parts: Vec<Part>,
    played: Arc<Notify>,
}

impl Source for Silent {
    fn connect(&mut self) -> BoxFuture<'_, Result<Box<dyn FrameStream>, SourceError>> {
        let stream = Silent { parts: std::mem::take(&mut self.parts), played: self.played.clone() };
        Box::pin(async { Ok(Box::new(stream) as Box<dyn FrameStream>) })
    }
}

impl FrameStream for Silent {
    fn next(&mut self) -> BoxFuture<'_, Result<Part, SourceError>> {
        Box::pin(async {
            if self.parts.is_empty() {
                self.played.notify_one();
                std::future::pending().await
            }
            Ok(self.parts.remove(0))
        })
    }
}

/// What is said of a camera while it is connected, after these parts, and the last error.
async fn told_after(parts: Vec<Part>) -> (Condition, Option<String>) {
    let played = Arc::new(Notify::new());
    let (_, state) = run_until(Silent { parts, played: played.clone() }, &played).await;
    (state.condition(ConditionType::CameraOnline).expect("set"), state.last_error().map(|error| error.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_of_which_every_frame_is_dropped_says_so_and_why_at_once() {
    let jpeg = picture(64, 64, 1);
    let (large, half) = (Part::TooLarge(1_234_567), part(&jpeg[..jpeg.len() / 2]));
    let why = "a picture of 1234567 bytes is larger than `encoding.maxFrameBytes`, 750Ki: set it to 1536Ki, or \
               `encoding.reencode` to `size`";
    let (online, error) = told_after(vec![half.clone(), large.clone(), Part::Beside, large.clone()]).await;
    assert_eq!((online.status, online.reason), (ConditionStatus::False, Reason::CameraFramesDropped));
    assert_eq!(online.message, format!("pictures come, 2 dropped as too_large, 1 as truncated; the last: {why}"));
    assert_eq!(error, Some(online.message));
    // Where others go on, it is no more than the last error.
    let (online, error) = told_after(vec![part(&jpeg), large]).await;
    assert_eq!((online.status, error.as_deref()), (ConditionStatus::True, Some(why)));
}

#[test]
fn a_picture_that_is_not_even_read_is_told_with_the_most_that_is() {
    let message = too_large(17_000_000, 16 << 20, 768_000);
    assert_eq!(message, "a picture of 17000000 bytes is larger than the 16Mi that are read of one");
}
