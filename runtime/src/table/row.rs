//! A resource as the table shows it: from its report to words and numbers, without regard for the room that there is.

use std::collections::BTreeMap;

use edgereel_crds::{
    status::{Condition, ConditionStatus, ConditionType, Reason},
    worker_status::ResourceReport,
};
use jiff::Timestamp;

use crate::{
    run::fleet::Member,
    state::{SUSPENDED, is_error},
};

/// An error of a resource that works is shown for so long, in seconds.
const FRESH: i64 = 60;
/// From this size on a frame is red, unless the resource says otherwise.
const WARN_BYTES: u64 = 100_000;

/// One resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Its kind, as `kubectl` shortens it.
    pub kind: String,
    /// Its name, with the namespace where that is not `default`.
    pub name: String,
    /// `Ready`, or why it is not.
    pub state: String,
    /// Whether all is well, in the words of traffic lights.
    pub light: Light,
    /// Frames a second.
    pub fps: f64,
    /// Mean size of a frame.
    pub bytes: u64,
    /// How large frames are.
    pub size: Light,
    /// Frames that came; none where only what is stored counts.
    pub captured: Option<u64>,
    /// Frames that are safe: acknowledged by Kafka, or written.
    pub stored: u64,
    /// Records not yet committed; none where there are none to be, or nobody knows.
    pub lag: Option<i64>,
    /// Frames that were dropped, and records that were no frames or were lost.
    pub dropped: u64,
    /// Whether some of them were not meant to be.
    pub losing: bool,
    /// What goes wrong, since when; or what it is waiting for. Then why frames were dropped.
    pub note: String,
}

/// Good, on its way, or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Light {
    /// Nothing to say.
    #[default]
    Off,
    /// Good.
    Green,
    /// On its way; large.
    Yellow,
    /// Bad; too large.
    Red,
}

impl Row {
    /// What a member says at this time.
    pub fn of(member: &Member, now: Timestamp) -> Self {
        let report = &member.report();
        let ready = report.conditions.iter().find(|c| c.kind == ConditionType::Ready);
        let is_ready = ready.is_some_and(|c| c.status == ConditionStatus::True);
        let reason = ready.map_or(Reason::Starting, |c| c.reason);
        let error = unmended(report, is_ready, reason, now);
        let (state, light) = match (is_ready, reason) {
            (true, Reason::Completed | Reason::Scheduled) => (reason.as_str(), Light::Green),
            (true, Reason::CapturedTwice) => ("Ready", Light::Yellow),
            (true, _) => ("Ready", if error.is_some() { Light::Yellow } else { Light::Green }),
            (false, Reason::Suspended) => (reason.as_str(), Light::Off),
            (false, _) => (reason.as_str(), if is_error(reason) { Light::Red } else { Light::Yellow }),
        };
        let worth_telling = [Reason::CapturedTwice, Reason::Completed, Reason::Scheduled];
        let told = |c: &&Condition| !is_ready || worth_telling.contains(&c.reason);
        let as_asked = |c: &Condition| c.reason == Reason::Stopping || c.message == SUSPENDED;
        let waiting = ready.filter(told).filter(|c| !as_asked(c));
        let next_try = member.state.next_try().filter(|_| !is_ready && error.is_some());
        let mut notes: Vec<String> = error.or_else(|| waiting.map(|c| c.message.clone())).into_iter().collect();
        notes.extend(next_try.map(|wait| format!("next try in {}", in_words(wait.as_secs() as i64 + 1))));
        let overview = report.overview.clone().unwrap_or_default();
        if !overview.dropped.is_empty() {
            notes.push(format!("dropped: {}", counted(&overview.dropped)));
        }
        let bytes = report.figures.uint("frameBytes").unwrap_or(0);
        Row {
            name: match report.namespace.as_str() {
                "default" => report.name.clone(),
                namespace => format!("{namespace}/{}", report.name),
            },
            state: state.into(),
            light,
            fps: report.figures.number("fps").unwrap_or(0.0),
            bytes,
            size: size_light(bytes, overview.warn_bytes.unwrap_or(WARN_BYTES)),
            captured: overview.came,
            stored: overview.safe,
            lag: overview.lag,
            dropped: overview.dropped_total(),
            losing: overview.is_losing(),
            note: notes.join("; ").replace(|c: char| c.is_control(), " "),
            kind: overview.short,
        }
    }

    /// Whether somebody should look at it.
    pub fn in_trouble(&self) -> bool {
        self.light == Light::Red || (self.light == Light::Yellow && self.state == "Ready")
    }
}

/// The last error with its age, unless it is mended: Ready has become true since, or it was a passing one a while ago.
fn unmended(report: &ResourceReport, is_ready: bool, reason: Reason, now: Timestamp) -> Option<String> {
    let error = report.last_error.as_ref()?;
    let age = now.as_second().saturating_sub(error.time.as_second()).max(0);
    let ready = report.conditions.iter().find(|c| c.kind == ConditionType::Ready);
    let since = ready.and_then(|c| c.last_transition_time.parse::<Timestamp>().ok());
    let mended = is_ready && (age >= FRESH || since.is_some_and(|since| since >= error.time));
    let over = mended || matches!(reason, Reason::Suspended | Reason::Stopping);
    (!over).then(|| format!("{} ago: {}", in_words(age), error.message))
}

/// Seconds as people say them, one unit.
fn in_words(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `12 truncated, 3 pacing`: the most frequent first, without zeros.
pub fn counted(reasons: &BTreeMap<String, u64>) -> String {
    let mut all: Vec<_> = reasons.iter().filter(|(_, count)| **count > 0).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    all.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}

/// Red from `encoding.warnFrameBytes` on and yellow from 60 % of it: by default the thresholds of the Python scripts that
/// this replaces, 60 and 100 KB.
fn size_light(bytes: u64, warn: u64) -> Light {
    match bytes {
        0 => Light::Off,
        b if b < warn / 5 * 3 => Light::Green,
        b if b < warn => Light::Yellow,
        _ => Light::Red,
    }
}

#[cfg(test)]
mod tests {
    use edgereel_crds::{name::Kind, status::ConditionType};

    use super::*;
    use crate::{state::ResourceState, testing::Idle};

    fn camera() -> (ResourceState, Idle, Member) {
        let idle = Idle::default();
        let (state, member) = idle.member(Kind::CameraStream);
        (state, idle, member)
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("a time")
    }

    #[test]
    fn an_error_has_its_age_and_goes_when_it_is_mended() {
        let (state, _, member) = camera();
        let row = |seconds| Row::of(&member, later(seconds));
        state.unready(Reason::CameraUnreachable, "no route\nto the camera");
        let shown = row(125);
        assert_eq!(
            (shown.note.as_str(), shown.state.as_str()),
            ("2m ago: no route to the camera", "CameraUnreachable")
        );
        assert!(shown.in_trouble());
        state.healthy(ConditionType::CameraOnline, "frames arrive");
        assert_eq!((row(1).note.as_str(), row(1).light), ("", Light::Green));
        state.note_error("a commit failed");
        assert!(row(3).note.ends_with("s ago: a commit failed") && row(3).in_trouble(), "{:?}", row(3));
        assert_eq!((row(70).note.as_str(), row(70).in_trouble()), ("", false), "what passes is not shown for ever");
    }

    #[test]
    fn what_failed_says_when_it_is_tried_again() {
        let (state, _, member) = camera();
        state.unready(Reason::CameraUnreachable, "no route");
        state.try_again_in(std::time::Duration::from_millis(29_900));
        let note = || Row::of(&member, later(1800)).note;
        assert_eq!(note(), "30m ago: no route; next try in 30s");
        state.healthy(ConditionType::CameraOnline, "frames arrive");
        assert!(!note().contains("next try"), "{}", note());
        state.unready(Reason::CameraUnreachable, "no route");
        state.try_again_in(std::time::Duration::ZERO);
        assert_eq!(note(), "30m ago: no route", "it is being tried");
    }

    #[test]
    fn what_is_on_its_way_says_what_it_waits_for_and_is_no_trouble() {
        let (state, _, member) = camera();
        state.unready(Reason::KafkaConnecting, "joining the consumer group g");
        let row = Row::of(&member, later(1));
        assert_eq!(
            (row.note.as_str(), row.light, row.in_trouble()),
            ("joining the consumer group g", Light::Yellow, false)
        );
        state.set(ConditionType::Ready, ConditionStatus::False, Reason::Suspended, SUSPENDED);
        assert_eq!(Row::of(&member, later(1)).note, "");
    }

    #[test]
    fn dropped_frames_say_why_and_pacing_is_no_loss() {
        let (state, idle, member) = camera();
        state.healthy(ConditionType::CameraOnline, "frames arrive");
        let drop_frames = |reason: &str, count| {
            idle.set(|overview| {
                overview.meant = vec!["pacing".into()];
                overview.dropped.insert(reason.into(), count);
            });
        };
        let row = || Row::of(&member, later(1));
        drop_frames("pacing", 1);
        assert_eq!((row().note.as_str(), row().losing), ("dropped: 1 pacing", false));
        drop_frames("truncated", 2);
        assert_eq!((row().note.as_str(), row().losing), ("dropped: 2 truncated, 1 pacing", true));
    }

    #[test]
    fn sizes_have_the_colours_that_users_know() {
        assert_eq!(
            [0, 59_999, 99_999, 100_000].map(|bytes| size_light(bytes, 100_000)),
            [Light::Off, Light::Green, Light::Yellow, Light::Red]
        );
    }

    #[test]
    fn ages_are_said_in_one_unit() {
        assert_eq!([5, 65, 7300, 200_000].map(in_words), ["5s", "1m", "2h", "2d"]);
    }
}
