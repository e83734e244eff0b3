//! Runs a resource when its time has come, one run after the other. What falls due while one is at work, or while the machine
//! sleeps, is made up for once, and that is said.

use std::future::Future;

use edgereel_crds::{
    schedule::{Due, Schedule},
    status::{ConditionStatus, ConditionType, Reason},
};
use jiff::{SignedDuration, Timestamp, Zoned};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{clock::passed, state::ResourceState};

/// A run that begins so long after its time is late.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// Runs at each of the times until shutdown. `run` ends when the run does; how it ended, it says in the state.
pub(super) async fn keep<F: Future<Output = ()>>(
    times: &Schedule,
    state: &ResourceState,
    shutdown: &CancellationToken,
    clock: impl Fn() -> Timestamp,
    mut run: impl FnMut() -> F,
) {
    let resource = format!("{}/{}", state.kind.as_str(), state.name);
    let (mut from, mut last) = (clock(), None);
    while !shutdown.is_cancelled() {
        let now = clock();
        let Some(due) = times.due(from, now) else {
            let next = times.next(now);
            rest(state, next.as_ref(), last.as_deref());
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = passed(next.as_ref(), &clock) => {}
            }
            continue;
        };
        let lateness = lateness(&due, now);
        match &lateness {
            Some(lateness) => warn!(resource, due = %due.last, "its run is late: {lateness}"),
            None => info!(resource, due = %due.last, "its time has come"),
        }
        run().await;
        if !state.is_completed() {
            // It was stopped.
            return;
        }
        let ended = state.condition(ConditionType::Ready).map(|ready| ready.message).unwrap_or_default();
        let late = lateness.map(|words| format!(" ({words})")).unwrap_or_default();
        last = Some(format!("the last one, due at {}{late}: {ended}", due.last));
        from = due.last;
    }
    state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
}

/// Says that it waits, and until when.
fn rest(state: &ResourceState, next: Option<&Zoned>, last: Option<&str>) {
    let mut words = match next {
        Some(next) => format!("the next run is at {}", next.strftime("%a %Y-%m-%d %H:%M %Z")),
        None => "no further run is due".to_owned(),
    };
    if let Some(last) = last {
        words = format!("{words}; {last}");
    }
    state.unknown_but_ready(Reason::Scheduled, "it waits for its schedule");
    state.set(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled, words);
}

/// How a run that is due comes too late, in words.
fn lateness(due: &Due, now: Timestamp) -> Option<String> {
    let by = now.duration_since(due.last);
    let mut words = vec![];
    if by >= LATE {
        words.push(format!("{} s after its time", by.as_secs()));
    }
    match due.before {
        0 => {}
        1 => words.push("one more that fell due before it is left out".into()),
        count => words.push(format!("{count} more that fell due before it are left out")),
    }
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use edgereel_crds::name::{Kind, ObjectName};
    use tokio::time::Instant;

    use super::*;

    fn state() -> ResourceState {
        ResourceState::new(Kind::CameraStream, ObjectName { namespace: "default".into(), name: "videos".into() })
    }

    /// Runs of so many seconds each, until so many seconds have gone by: when each began, and what is said in the end.
    async fn runs(schedule: &str, begin: &str, lasts: u64, until: u64) -> (Vec<String>, String) {
        let (shutdown, state) = (CancellationToken::new(), state());
        let (begin, began) = (begin.parse::<Timestamp>().expect("a time"), Instant::now());
        let clock = || begin + began.elapsed();
        let (starts, said) = (Mutex::new(vec![]), state.clone());
        let run = || async {
            starts.lock().expect("sound").push(clock().strftime("%d %H:%M:%S").to_string());
            tokio::time::sleep(Duration::from_secs(lasts)).await;
            said.set(ConditionType::Ready, ConditionStatus::True, Reason::Completed, "7 frames sent");
        };
        let times = Schedule::new(schedule, None).expect("sound");
        let ready = async {
            tokio::time::sleep(Duration::from_secs(until)).await;
            let ready = state.condition(ConditionType::Ready).expect("set");
            shutdown.cancel();
            format!("{:?} {:?}: {}", ready.status, ready.reason, ready.message)
        };
        let (ready, ()) = tokio::join!(ready, keep(&times, &state, &shutdown, clock, run));
        (starts.into_inner().expect("sound"), ready)
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_runs_and_waits() {
        let (starts, ready) = runs("0 2 * * *", "2024-06-04T01:00:00Z", 60, 30 * 3600).await;
        assert_eq!(starts, ["04 02:00:00", "05 02:00:00"]);
        let words = "True Scheduled: the next run is at Thu 2024-06-06 02:00 UTC; the last one, due at 2024-06-05T02:00:00Z: 7 frames \
                     sent";
        assert_eq!(ready, words);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_has_gone_by_when_it_begins_is_none_of_its_own() {
        let (starts, ready) = runs("0 2 * * *", "2024-06-04T02:00:00Z", 60, 60).await;
        assert_eq!(starts, [""; 0]);
        assert_eq!(ready, "True Scheduled: the next run is at Wed 2024-06-05 02:00 UTC");
    }

    #[tokio::test(start_paused = true)]
    async fn what_falls_due_while_one_is_at_work_is_made_up_for_once_and_that_is_said() {
        let (starts, ready) = runs("*/10 * * * *", "2024-06-04T01:55:00Z", 35 * 60, 80 * 60).await;
        assert_eq!(starts[..2], ["04 02:00:00", "04 02:35:00"]);
        assert!(
            ready.contains("Completed") || ready.contains("2 more that fell due before it are left out"),
            "{ready}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_it_while_it_waits() {
        let (shutdown, state) = (CancellationToken::new(), state());
        shutdown.cancel();
        let times = Schedule::new("0 2 * * *", None).expect("sound");
        keep(&times, &state, &shutdown, Timestamp::now, || async { panic!("started") }).await;
        assert_eq!(state.condition(ConditionType::Ready).expect("set").reason, Reason::Stopping);
    }
}
