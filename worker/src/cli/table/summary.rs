//! What `edgereel run` says at its end: how many frames went where, and what was dropped.

use edgereel_crds::worker_status::Figures;
use tracing::info;

use super::row::counted;
use crate::run::fleet::{Fleet, Member};

/// A line for each resource.
pub fn lines(fleet: &Fleet) -> Vec<String> {
    fleet.members().iter().map(|member| line(member)).collect()
}

fn line(member: &Member) -> String {
    let label = format!("{}/{}", member.state.kind.as_str(), member.state.name.name);
    let (bytes, goes_to) = (in_words(member.bytes()), &member.goes_to);
    let (what, dropped) = match member.figures() {
        Figures::Camera(c) => {
            let what =
                format!("{} frames captured ({bytes}), {} in {goes_to}", c.frames_captured, c.frames_acknowledged);
            (what, counted(c.dropped.iter().map(|(reason, count)| (reason.as_str(), *count))))
        }
        Figures::Sink(s) => {
            let what = format!("{} frames ({bytes}) stored in {goes_to}", s.frames_stored);
            (what, counted([("not frames", s.records_invalid), ("lost", s.records_lost)].into_iter()))
        }
    };
    let dropped = if dropped.is_empty() { String::new() } else { format!("; dropped: {dropped}") };
    format!("{label}: {what}{dropped}")
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
    use edgereel_crds::plan::ObjectName;

    use super::*;
    use crate::{
        metrics::{DropReason, Metrics},
        run::fleet::Handles,
        state::{Kind, ResourceState},
    };

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
            let mut member = Member::new(ResourceState::new(kind, name.clone()), handles, None);
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
}
