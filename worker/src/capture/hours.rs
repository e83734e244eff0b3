//! Captures in the active hours, and lets the camera go outside of them.

use std::future::Future;

use edgereel_crds::{
    active_hours::{ActiveHours, Hours, Standing},
    status::{ConditionStatus, ConditionType, Reason},
};
use edgereel_runtime::{clock::passed, fault::Fault};
use jiff::{Timestamp, Zoned};
use tracing::info;

use super::CaptureEnv;

/// Runs `capture` in each window, and ends it in order where the window ends. A fault of it ends this too.
pub(super) async fn keep<F>(
    spec: &ActiveHours,
    env: CaptureEnv,
    clock: impl Fn() -> Timestamp,
    capture: impl Fn(CaptureEnv) -> F,
) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>>,
{
    let hours = Hours::new(spec);
    let hours = hours.map_err(|e| Fault::new(Reason::InvalidConfiguration, format!("spec.activeHours: {e}")))?;
    while !env.shutdown.is_cancelled() {
        let Standing { active, until } = hours.at(clock());
        if !active {
            rest(&env, until.as_ref());
            tokio::select! {
                () = env.shutdown.cancelled() => {}
                () = passed(until.as_ref(), &clock) => {}
            }
            continue;
        }
        let shutdown = env.shutdown.child_token();
        let running = capture(CaptureEnv { shutdown: shutdown.clone(), ..env.clone() });
        let mut running = std::pin::pin!(running);
        tokio::select! {
            result = &mut running => return result,
            () = passed(until.as_ref(), &clock) => {
                shutdown.cancel();
                running.await?;
            }
        }
    }
    Ok(())
}

/// Says that it rests, and until when.
fn rest(env: &CaptureEnv, until: Option<&Zoned>) {
    let message = match until {
        Some(until) => format!("outside of its activeHours until {}", until.strftime("%a %Y-%m-%d %H:%M %Z")),
        None => "its activeHours never begin".to_owned(),
    };
    info!(camera = %env.state.name, "{message}");
    env.state.set(ConditionType::CameraOnline, ConditionStatus::Unknown, Reason::Suspended, &message);
    env.state.set(ConditionType::Ready, ConditionStatus::False, Reason::Suspended, message);
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use edgereel_crds::name::{Kind, ObjectName};
    use edgereel_runtime::{metrics::Metrics, secrets::Secrets, state::ResourceState};
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::capture::{Keep, metrics::CameraFamilies};

    const DOCUMENTS: &str = "
apiVersion: edgereel.dev/v1alpha1
kind: KafkaConnection
metadata: {name: lab}
spec: {bootstrapServers: [\"127.0.0.1:9092\"]}
---
apiVersion: edgereel.dev/v1alpha1
kind: CameraStream
metadata: {name: gate}
spec:
  source: {synthetic: {}}
  topic: {name: gate}
  kafka: {connectionRef: {name: lab}}
";

    fn env(shutdown: &CancellationToken) -> CaptureEnv {
        let plan = edgereel_crds::load(&[("lab.yaml".into(), DOCUMENTS.into())]).expect("sound").cameras.remove(0);
        let families = CameraFamilies::new(&mut Metrics::default());
        let name = ObjectName { namespace: "default".into(), name: "gate".into() };
        CaptureEnv {
            secrets: Secrets::default(),
            keep: Keep::new(&plan, families.of(&plan.name), None),
            state: ResourceState::new(Kind::CameraStream, name),
            shutdown: shutdown.clone(),
        }
    }

    fn hours(from: &str, until: &str) -> ActiveHours {
        serde_json::from_value(serde_json::json!({"windows": [{"from": from, "until": until}]})).expect("sound")
    }

    /// A clock that shows this time now, and goes as tokio's does.
    fn clock(time: &str) -> impl Fn() -> Timestamp + use<> {
        let (begin, began) = (time.parse::<Timestamp>().expect("a time"), Instant::now());
        move || begin + began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_captures_in_its_hours_and_says_until_when_it_rests() {
        let (shutdown, spans) = (CancellationToken::new(), Mutex::new(vec![]));
        let env = env(&shutdown);
        let (state, clock) = (env.state.clone(), clock("2024-06-07T07:30:00Z"));
        let (spans, clock) = (&spans, &clock);
        let minute = |time: Timestamp| time.strftime("%d %H:%M").to_string();
        let capture = |env: CaptureEnv| async move {
            let began = clock();
            env.shutdown.cancelled().await;
            spans.lock().expect("sound").push((minute(began), minute(clock())));
            Ok(())
        };
        let spec = hours("08:00", "18:00");
        let looking = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let ready = state.condition(ConditionType::Ready).expect("set");
            assert_eq!(ready.reason, Reason::Suspended);
            assert_eq!(ready.message, "outside of its activeHours until Fri 2024-06-07 08:00 UTC");
            tokio::time::sleep(Duration::from_secs(36 * 3600)).await;
            shutdown.cancel();
        };
        let (result, ()) = tokio::join!(keep(&spec, env, clock, capture), looking);
        assert_eq!(result, Ok(()));
        let expected = [("07 08:00", "07 18:00"), ("08 08:00", "08 18:00")];
        let expected = expected.map(|(began, ended)| (began.to_owned(), ended.to_owned()));
        assert_eq!(*spans.lock().expect("sound"), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_it_and_so_does_a_stop() {
        let shutdown = CancellationToken::new();
        let fault = || Fault::new(Reason::KafkaUnreachable, "away");
        let noon = clock("2024-06-07T12:00:00Z");
        let failing = |_| async move { Err(fault()) };
        assert_eq!(keep(&hours("08:00", "18:00"), env(&shutdown), &noon, failing).await, Err(fault()));
        shutdown.cancel();
        let never = |_| async { panic!("captured") };
        assert_eq!(keep(&hours("08:00", "18:00"), env(&shutdown), &noon, never).await, Ok(()));
    }
}
