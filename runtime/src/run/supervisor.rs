//! One resource's supervisor: starts it again and again until it is to stop.

use std::{future::Future, time::Duration};

use edgereel_crds::status::{ConditionStatus, ConditionType, Reason};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{fleet::Member, schedule};
use crate::{
    backoff::Backoff,
    fault::Fault,
    state::{ResourceState, SUSPENDED},
    work::Surroundings,
};

/// The first wait before a resource is restarted, and the longest.
const RESTART: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A resource that ran this long before it failed starts its waits anew.
const SETTLED: Duration = Duration::from_secs(60);

/// Runs a resource until shutdown or its own end, unless it is suspended.
pub(super) async fn supervise(member: &Member, around: &Surroundings) {
    let Member { state, work, .. } = member;
    if !work.is_suspended() {
        work.watch(around);
    }
    let run = || {
        let start = || work.start(state, around);
        keep_running(state, work.is_suspended(), &around.shutdown, || member.count_restart(), start)
    };
    match work.schedule().filter(|_| !work.is_suspended()) {
        Some(times) => schedule::keep(&times, state, &around.shutdown, Timestamp::now, run).await,
        None => run().await,
    }
    work.finish();
}

/// Starts a resource again and again until shutdown, waiting longer after each failure. One that has come to its end says so
/// itself.
async fn keep_running<F: Future<Output = Result<(), Fault>>>(
    state: &ResourceState,
    suspended: bool,
    shutdown: &CancellationToken,
    restarted: impl Fn(),
    mut start: impl FnMut() -> F,
) {
    let resource = format!("{}/{}", state.kind.as_str(), state.name);
    if suspended {
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Suspended, SUSPENDED);
        info!(resource, "suspended");
        return shutdown.cancelled().await;
    }
    let mut backoff = Backoff::new(RESTART.0, RESTART.1);
    loop {
        let began = tokio::time::Instant::now();
        match start().await {
            Ok(()) if state.is_completed() => return info!(resource, "completed"),
            Ok(()) => break,
            Err(_) if shutdown.is_cancelled() => break,
            Err(fault) => {
                if began.elapsed() >= SETTLED {
                    backoff.reset();
                }
                let wait = backoff.next(&mut rand::rng());
                state.unready(fault.reason, &fault.message);
                state.try_again_in(wait);
                error!(resource, reason = ?fault.reason, again_in_ms = wait.as_millis() as u64, "{fault}");
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = tokio::time::sleep(wait) => restarted(),
                }
            }
        }
    }
    state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
    info!(resource, "stopped");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use edgereel_crds::name::{Kind, ObjectName};

    use super::*;

    fn state() -> ResourceState {
        ResourceState::new(Kind::FrameSink, ObjectName { namespace: "d".into(), name: "n".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_resource_is_started_again_and_says_why() {
        let (state, shutdown, starts) = (state(), CancellationToken::new(), AtomicU32::new(0));
        keep_running(
            &state,
            false,
            &shutdown,
            || (),
            || async {
                if starts.fetch_add(1, Ordering::Relaxed) == 2 {
                    return Ok(());
                }
                Err(Fault::new(Reason::StorageMissing, "cannot open /nowhere"))
            },
        )
        .await;
        assert_eq!(starts.load(Ordering::Relaxed), 3);
        assert_eq!(state.last_error().expect("remembered").message, "cannot open /nowhere");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_came_to_its_end_is_not_started_again_and_says_so() {
        let (state, shutdown, starts) = (state(), CancellationToken::new(), AtomicU32::new(0));
        let run = || async {
            starts.fetch_add(1, Ordering::Relaxed);
            state.set(ConditionType::Ready, ConditionStatus::True, Reason::Completed, "7 files sent");
            Ok(())
        };
        keep_running(&state, false, &shutdown, || (), run).await;
        assert_eq!(starts.load(Ordering::Relaxed), 1);
        assert!(state.is_completed() && state.is_ready());
        assert_eq!(state.condition(ConditionType::Ready).expect("set").message, "7 files sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_resource_is_never_started() {
        let (state, shutdown) = (state(), CancellationToken::new());
        shutdown.cancel();
        keep_running(&state, true, &shutdown, || (), || async { panic!("started") }).await;
        assert_eq!(state.condition(ConditionType::Ready).expect("set").reason, Reason::Suspended);
    }
}
