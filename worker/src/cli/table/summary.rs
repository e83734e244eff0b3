//! What `edgereel run` says at its end: how many frames went where, what was dropped, and why something did not work.

use edgereel_crds::worker_status::Figures;
use tracing::info;

use super::row::counted;
use crate::run::fleet::{Fleet, Member};
use edgereel_runtime::state::is_error;

/// A line for each resource.
pub fn lines(fleet: &Fleet) -> Vec<String> {
    fleet.members().iter().map(|member| line(member)).collect()
}

fn line(member: &Member) -> String {
    let label = format!("{}/{}", member.state.kind.as_str(), member.state.name.name);
    let (bytes, goes_to) = (in_words(member.bytes()), &member.goes_to);
    let (what, dropped, arrived) = match member.figures() {
        Figures::Camera(c) => {
            let what =
                format!("{} frames captured ({bytes}), {} in {goes_to}", c.frames_captured, c.frames_acknowledged);
            (what, counted(c.dropped.iter().map(|(reason, count)| (reason.as_str(), *count))), c.frames_acknowledged)
        }
        Figures::Sink(s) => {
            let what = format!("{} frames ({bytes}) stored in {goes_to}", s.frames_stored);
            let dropped = counted([("not frames", s.records_invalid), ("lost", s.records_lost)].into_iter());
            (what, dropped, s.frames_stored)
        }
    };
    let dropped = if dropped.is_empty() { String::new() } else { format!("; dropped: {dropped}") };
    format!("{label}: {what}{dropped}{}", trouble(member, arrived > 0))
}

/// Why it was not ready at the end. One that was about to become so says it if it never worked: its figures are zeros.
fn trouble(member: &Member, worked: bool) -> String {
    let why = member.state.not_ready().filter(|why| !worked || is_error(why.reason));
    let said = why.map(|why| format!("; not ready at the end: {}: {}", why.reason.as_str(), why.message));
    said.unwrap_or_default().replace(|c: char| c.is_control(), " ")
}

/// The same as log lines.
pub fn log(fleet: &Fleet) {
    lines(fleet).iter().for_each(|line| info!("{line}"));
}

/// Bytes as people say them.
fn in_words(bytes: u64) -> String {
    let bytes = bytes as f64;
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(|| format!("{bytes} bytes"), |(size, unit)| format!("{:.1} {unit}", bytes / size))
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{
        name::ObjectName,
        status::{ConditionStatus, ConditionType, Reason},
    };

    use super::*;
    use crate::{metrics::Metrics, run::fleet::Handles};
    use edgereel_frame::reasons::DropReason;
    use edgereel_runtime::state::{Kind, ResourceState};

    #[test]
    fn the_end_says_what_became_of_all_frames_and_where_they_lie() {
        let (metrics, name) = (Metrics::default(), ObjectName { namespace: "default".into(), name: "gate".into() });
        let (camera, sink) = (metrics.camera(&name), metrics.sink(&name));
        (0..3).for_each(|_| camera.take_in(1));
        (0..2).for_each(|_| camera.acknowledge());
        camera.refuse(DropReason::truncated);
        camera.captured_bytes.inc_by(340_000);
        sink.stored.inc_by(2);
        sink.stored_bytes.inc_by(170);
        let member = |kind, handles, goes_to: &str| {
            let state = ResourceState::new(kind, name.clone());
            state.unready(Reason::KafkaConnecting, "giving partitions back");
            let mut member = Member::new(state, handles, None);
            member.goes_to = goes_to.into();
            member.into()
        };
        let members = vec![
            member(Kind::CameraStream, Handles::Camera(camera), "topic Gate"),
            member(Kind::FrameSink, Handles::Sink(sink), "/data/gate"),
        ];
        assert_eq!(
            lines(&Fleet::new(Metrics::default(), members)),
            [
                "CameraStream/gate: 4 frames captured (340.0 KB), 2 in topic Gate; dropped: 1 truncated",
                "FrameSink/gate: 2 frames (170 bytes) stored in /data/gate",
            ]
        );
    }

    #[test]
    fn what_did_not_work_says_why() {
        let (metrics, name) = (Metrics::default(), ObjectName { namespace: "default".into(), name: "gate".into() });
        let (camera, sink) = (metrics.camera(&name), metrics.sink(&name));
        let line = |kind, handles, reason, message: &str| {
            let state = ResourceState::new(kind, name.clone());
            state.unready(reason, message);
            state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
            let mut member = Member::new(state, handles, None);
            member.goes_to = "there".into();
            super::line(&member)
        };
        assert_eq!(
            line(Kind::FrameSink, Handles::Sink(sink), Reason::StorageMissing, "/data cannot be used"),
            "FrameSink/gate: 0 frames (0 bytes) stored in there; not ready at the end: StorageMissing: /data cannot be used"
        );
        let of_camera = |reason| line(Kind::CameraStream, Handles::Camera(camera.clone()), reason, "no\nroute");
        let never = of_camera(Reason::CameraConnecting);
        assert!(never.ends_with("; not ready at the end: CameraConnecting: no route"), "{never}");
        camera.take_in(1);
        camera.acknowledge();
        let late = of_camera(Reason::CameraUnreachable);
        assert!(late.ends_with("1 in there; not ready at the end: CameraUnreachable: no route"), "{late}");
        assert!(of_camera(Reason::CameraConnecting).ends_with("1 in there"), "about to work again");
    }
}
