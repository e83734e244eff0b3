//! What `edgereel run` says at its end: how many frames went where, what was dropped, and why something did not work.

use tracing::info;

use super::row::counted;
use crate::{
    run::fleet::{Fleet, Member},
    state::is_error,
};

/// A line for each resource.
pub fn lines(fleet: &Fleet) -> Vec<String> {
    fleet.members().iter().map(|member| line(member)).collect()
}

fn line(member: &Member) -> String {
    let label = format!("{}/{}", member.state.kind, member.state.name.name);
    let overview = member.work.overview();
    let dropped = counted(&overview.dropped);
    let dropped = if dropped.is_empty() { String::new() } else { format!("; dropped: {dropped}") };
    format!("{label}: {}{dropped}{}", overview.told, trouble(member, overview.safe > 0))
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
pub fn in_words(bytes: u64) -> String {
    let bytes = bytes as f64;
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(|| format!("{bytes} bytes"), |(size, unit)| format!("{:.1} {unit}", bytes / size))
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{
        name::Kind,
        status::{ConditionStatus, ConditionType, Reason},
    };

    use super::*;
    use crate::testing::Idle;

    fn idle(told: &str, safe: u64) -> Idle {
        let idle = Idle::default();
        idle.set(|overview| (overview.told, overview.safe) = (told.into(), safe));
        idle
    }

    #[test]
    fn the_end_says_what_became_of_all_frames() {
        let idle = idle("4 frames captured (340.0 KB), 2 in topic Gate", 2);
        idle.set(|overview| overview.dropped = [("truncated".to_owned(), 1)].into());
        let (state, member) = idle.member(Kind::CameraStream);
        state.unready(Reason::KafkaConnecting, "giving partitions back");
        assert_eq!(
            line(&member),
            "CameraStream/gate: 4 frames captured (340.0 KB), 2 in topic Gate; dropped: 1 truncated"
        );
        assert_eq!([170, 340_000].map(in_words), ["170 bytes", "340.0 KB"]);
    }

    #[test]
    fn what_did_not_work_says_why() {
        let line = |safe, reason, message: &str| {
            let (state, member) = idle("0 frames", safe).member(Kind::FrameSink);
            state.unready(reason, message);
            state.set(ConditionType::Ready, ConditionStatus::False, Reason::Stopping, "stopped");
            super::line(&member)
        };
        assert_eq!(
            line(0, Reason::StorageMissing, "/data cannot be used"),
            "FrameSink/gate: 0 frames; not ready at the end: StorageMissing: /data cannot be used"
        );
        let never = line(0, Reason::CameraConnecting, "no\nroute");
        assert!(never.ends_with("; not ready at the end: CameraConnecting: no route"), "{never}");
        assert!(line(1, Reason::CameraUnreachable, "no route").contains("not ready at the end"));
        assert_eq!(line(1, Reason::CameraConnecting, "no route"), "FrameSink/gate: 0 frames", "about to work again");
    }
}
