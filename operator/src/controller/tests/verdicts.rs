//! What is observed, and the conditions that it makes: as a table.

use edgereel_crds::{
    resource_status::{CameraStreamStatus, FrameSinkStatus},
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::{Figures, ResourceReport, Semantics},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    controller::{
        figures::WorthWriting,
        observe::{PodView, Rollout},
        verdict::{Asked, conditions, of_workload},
    },
    kinds::frame_sink::figures as of_sink,
};

fn report(ready: ConditionStatus, reason: Reason, message: &str) -> ResourceReport {
    let condition = |kind, status| Condition {
        kind,
        status,
        reason,
        message: message.into(),
        last_transition_time: "2024-06-04T10:30:00Z".into(),
    };
    ResourceReport {
        kind: "CameraStream".into(),
        namespace: "lab".into(),
        name: "gate".into(),
        revision: None,
        conditions: vec![condition(ConditionType::Ready, ready), condition(ConditionType::CameraOnline, ready)],
        last_error: None,
        connections: Vec::new(),
        overview: None,
        figures: Figures::new(),
    }
}

fn pod() -> PodView {
    PodView {
        name: "gate-camera-x".into(),
        uid: "u".into(),
        node: Some("edge-1".into()),
        lost: None,
        ip: Some("10.0.0.1".into()),
        ready: true,
        running: true,
        leaving: false,
        revision: None,
        declared: true,
        last_words: None,
        job: None,
        finished: false,
        config: None,
        follows: None,
        trouble: None,
        ready_since: None,
        report: Some(Ok(report(ConditionStatus::True, Reason::Running, "30 fps"))),
    }
}

fn done() -> Rollout {
    Rollout { desired: 1, current: 1, updated: 1, ready: 1, observed: true, ..Rollout::default() }
}

/// `Ready` with its reason, then `Reconciling` and `Stalled` where they hold.
fn judged(asked: Asked, rollout: &Rollout, pods: &[PodView]) -> String {
    let verdict = of_workload(asked, rollout, pods, Some(ConditionType::CameraOnline));
    let mut text = format!("{:?} {}: {}", verdict.ready, verdict.reason.as_str(), verdict.message);
    for (holds, name) in [(verdict.reconciling, "Reconciling"), (verdict.stalled, "Stalled")] {
        if holds {
            text = format!("{text} [{name}]");
        }
    }
    text
}

#[test]
fn every_state_of_a_workload_has_its_conditions() {
    let unready = Rollout { ready: 0, ..done() };
    let none = Rollout { desired: 0, current: 0, updated: 0, ready: 0, ..done() };
    let well = Asked { well: "frames flow", ..Asked::default() };
    let suspended = Asked { suspended: true, ..Asked::default() };
    let trouble = |reason, words: &str| PodView {
        ready: false,
        running: false,
        trouble: Some((reason, words.into())),
        report: None,
        ..pod()
    };
    let says = |reason, message: &str| PodView {
        ready: false,
        report: Some(Ok(report(ConditionStatus::False, reason, message))),
        ..pod()
    };
    let table: Vec<(Asked, Rollout, Vec<PodView>, &str)> = vec![
        (well, done(), vec![pod()], "True Running: frames flow"),
        (
            Asked::default(),
            unready.clone(),
            vec![],
            "False RolloutInProgress: 0 of 1 workers are ready, 1 are up to date [Reconciling]",
        ),
        (
            Asked::default(),
            Rollout { observed: false, ..done() },
            vec![pod()],
            "False RolloutInProgress: 1 of 1 workers are ready, 1 are up to date [Reconciling]",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![trouble(Reason::Unschedulable, "0/1 nodes are available")],
            "False Unschedulable: 0/1 nodes are available [Stalled]",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![trouble(Reason::ImagePullFailed, "ErrImagePull: no such image")],
            "False ImagePullFailed: ErrImagePull: no such image [Stalled]",
        ),
        (
            Asked::default(),
            Rollout { failure: Some("exceeded quota".into()), ..unready.clone() },
            vec![],
            "False PodFailed: no pod can be made: exceeded quota [Stalled]",
        ),
        (
            Asked::default(),
            Rollout { waits_for: Some("FailedMount: a moment".into()), ..unready.clone() },
            vec![],
            "False RolloutInProgress: 0 of 1 workers are ready, 1 are up to date; FailedMount: a moment [Reconciling]",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![says(Reason::CameraUnreachable, "no route to gate")],
            "False CameraUnreachable: no route to gate",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![says(Reason::KafkaConnecting, "joining the group")],
            "False KafkaConnecting: joining the group [Reconciling]",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![says(Reason::StorageReadOnly, "chown it")],
            "False StorageReadOnly: chown it [Stalled]",
        ),
        (
            well,
            done(),
            vec![PodView { report: Some(Err("no answer within 3 s".into())), ..pod() }],
            "True Running: frames flow",
        ),
        (
            well,
            done(),
            vec![PodView { ready: true, ..says(Reason::Suspended, "outside of its activeHours until 08:00") }],
            "False Suspended: outside of its activeHours until 08:00",
        ),
        (
            well,
            done(),
            vec![PodView { ready: true, ..says(Reason::CameraUnreachable, "not yet as the kubelet has it") }],
            "True Running: frames flow",
        ),
        (
            Asked::default(),
            unready.clone(),
            vec![PodView { ready: false, report: Some(Err("no answer within 3 s".into())), ..pod() }],
            "False RolloutInProgress: 0 of 1 workers are ready, 1 are up to date; its /status does not say why: no answer \
             within 3 s [Reconciling]",
        ),
        (
            Asked::default(),
            done(),
            vec![PodView { ready: false, ..pod() }],
            "False RolloutInProgress: 1 of 1 workers are ready, 1 are up to date [Reconciling]",
        ),
        (
            Asked { capped_from: Some(5), ..Asked::default() },
            done(),
            vec![pod()],
            "True ReplicasCapped: 1 workers run, not 5: the topic has 1 partitions",
        ),
        (suspended, none.clone(), vec![], "False Suspended: spec.suspend is true: nothing runs, everything is kept"),
        (
            suspended,
            none.clone(),
            vec![PodView { finished: true, running: false, ready: false, report: None, ..pod() }],
            "False Suspended: spec.suspend is true: nothing runs, everything is kept",
        ),
        (
            suspended,
            none,
            vec![PodView { leaving: true, ..pod() }],
            "False Stopping: spec.suspend is true: the workers are stopping [Reconciling]",
        ),
    ];
    for (asked, rollout, pods, expected) in table {
        assert_eq!(judged(asked, &rollout, &pods), expected);
    }
}

#[test]
fn a_camera_that_rests_says_until_when_in_its_own_condition_too() {
    let rests = report(ConditionStatus::False, Reason::Suspended, "outside of its activeHours until 08:00");
    let pod = PodView { report: Some(Ok(rests)), ..pod() };
    let verdict = of_workload(Asked::default(), &done(), &[pod], Some(ConditionType::CameraOnline));
    let until = "outside of its activeHours until 08:00".to_owned();
    assert_eq!(verdict.aspect, Some((ConditionStatus::False, Reason::Suspended, until)));
}

#[test]
fn of_several_workers_the_one_in_trouble_is_named() {
    let rollout = Rollout { desired: 2, current: 2, updated: 2, ready: 1, ..done() };
    let mut bad = pod();
    bad.name = "gate-sink-1".into();
    bad.ready = false;
    bad.report = Some(Ok(report(ConditionStatus::False, Reason::StorageFull, "no room")));
    assert_eq!(judged(Asked::default(), &rollout, &[pod(), bad]), "False StorageFull: gate-sink-1: no room");
}

#[test]
fn a_transitions_time_moves_only_with_the_conditions_status() {
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    let verdict = of_workload(Asked::default(), &done(), &[pod()], Some(ConditionType::CameraOnline));
    let aspect = Some(ConditionType::CameraOnline);
    let first = conditions(&verdict, aspect, Some(1), &[], time("2024-06-04T10:30:00Z"));
    let second = conditions(&verdict, aspect, Some(2), &first, time("2024-06-04T10:31:00Z"));
    assert_eq!(second.len(), 4);
    assert!(second.iter().zip(&first).all(|(b, a)| b.last_transition_time == a.last_transition_time));
    assert!(second.iter().all(|c| c.observed_generation == Some(2) && !c.reason.is_empty()));
    let unready =
        of_workload(Asked::default(), &Rollout { ready: 0, ..done() }, &[], Some(ConditionType::CameraOnline));
    let third = conditions(&unready, aspect, Some(2), &second, time("2024-06-04T10:32:00Z"));
    assert_ne!(third[0].last_transition_time, second[0].last_transition_time);
    assert_eq!(third[2].last_transition_time, second[2].last_transition_time, "Stalled is false as before");
}

#[test]
fn figures_are_written_when_they_matter_and_otherwise_once_in_a_while() {
    use std::time::Duration;
    let old = CameraStreamStatus {
        fps: Some(30.0),
        frame_kilobytes: Some(85),
        frames_acknowledged: Some(1000),
        frames_dropped: Some(0),
        ..CameraStreamStatus::default()
    };
    let with = |change: fn(&mut CameraStreamStatus)| {
        let mut new = old.clone();
        change(&mut new);
        new
    };
    let soon = Duration::from_secs(30);
    for (new, matters, what) in [
        (old.clone(), false, "nothing changed"),
        (with(|s| s.fps = Some(28.0)), false, "a rate within a tenth"),
        (with(|s| s.fps = Some(20.0)), true, "a rate that fell"),
        (with(|s| s.fps = Some(0.0)), true, "no frame"),
        (with(|s| s.frame_kilobytes = Some(95)), false, "frames a little larger"),
        (with(|s| s.frame_kilobytes = Some(200)), true, "frames twice as large"),
        (with(|s| s.frames_acknowledged = Some(1900)), false, "a count that grows as it should"),
        (with(|s| s.frames_acknowledged = Some(2000)), true, "a count that doubled"),
        (with(|s| s.frames_acknowledged = Some(3)), true, "a worker that started anew"),
        (with(|s| s.frames_dropped = Some(1)), true, "the first dropped frame"),
        (with(|s| s.node = Some("edge-2".into())), true, "another node"),
    ] {
        assert_eq!(new.worth_writing(&old, soon), matters, "{what}");
    }
    let grown = with(|s| s.frames_acknowledged = Some(1900));
    assert!(grown.worth_writing(&old, Duration::from_secs(300)), "the count is brought up to date");
    assert!(!old.worth_writing(&old, Duration::from_secs(3000)), "what is the same is never written");
}

#[test]
fn a_sinks_figures_are_those_of_all_its_workers() {
    let worker = |fps: f64, bytes: u64, stored, lag, free: i64| PodView {
        report: Some(Ok(ResourceReport {
            figures: Figures::new()
                .with("fps", Semantics::Rate, Value::from(fps))
                .with("frameBytes", Semantics::Mean, Value::from(bytes))
                .count("framesStored", stored)
                .amount("lagRecords", lag)
                .with("diskFreeBytes", Semantics::Least, Value::from(free))
                .with("diskSizeBytes", Semantics::Least, Value::from(100)),
            ..report(ConditionStatus::True, Reason::Running, "")
        })),
        ..pod()
    };
    let mut status = FrameSinkStatus::default();
    of_sink(
        &[worker(10.0, 100_000, 5, Some(2), 40), worker(30.0, 60_000, 7, Some(3), 10)],
        &FrameSinkStatus::default(),
        &mut status,
    );
    assert_eq!((status.fps, status.frame_kilobytes, status.frames_stored), (Some(40.0), Some(70), Some(12)));
    assert_eq!((status.lag_records, status.disk_used.as_deref()), (Some(5), Some("90%")));
    let silent = PodView { report: None, ..pod() };
    let mut kept = FrameSinkStatus::default();
    of_sink(&[silent], &status, &mut kept);
    assert_eq!(kept.frames_stored, Some(12), "what is not known now was known before");
    assert_eq!(kept.lag_records, None, "an old lag says nothing of now");
    let mut unknown = FrameSinkStatus::default();
    of_sink(&[worker(1.0, 1, 1, Some(2), 40), worker(1.0, 1, 1, None, 40)], &status, &mut unknown);
    assert_eq!(unknown.lag_records, None, "what one worker does not know is no zero in the sum");
}

#[test]
fn a_camera_that_is_captured_twice_is_ready_and_says_so() {
    let twice = report(ConditionStatus::True, Reason::CapturedTwice, "process 7 on edge-2 captures this camera, too");
    let pod = PodView { report: Some(Ok(twice)), ..pod() };
    let verdict = of_workload(Asked::default(), &done(), &[pod], Some(ConditionType::CameraOnline));
    assert_eq!((verdict.ready, verdict.reason), (ConditionStatus::True, Reason::CapturedTwice));
    assert!(verdict.message.contains("process 7 on edge-2"), "{}", verdict.message);
}
