//! Keeps a video in real time: decides for each frame how often the picture before it is shown again, or whether it is
//! left out.
//!
//! A file has one speed, frames do not come at one. So the speed is learned from a file's first frames (30 intervals and
//! three seconds, or ten seconds of a slow camera), which are each written once meanwhile: nothing is held back. A backlog
//! that a camera sends at once when it is dialled, and bursts, do not mislead it. It is the next usual speed at or above
//! what was seen, so that a steady camera loses no frame; a repetition costs space, a lost frame cannot be had again. From
//! then on a frame's place follows from its capture time:
//!
//! - Jitter does nothing: the mean error over about 16 frames has to reach a whole frame before one picture is repeated or
//!   left out. An error above a quarter of a second (and 1½ frames) is put right at once.
//! - A camera that was away for more than 10 s (and 10 frames) leaves a [`Decision::Gap`], not hours of one picture.
//! - A camera that becomes faster than the file asks for a new one ([`Decision::Faster`]) rather than lose frames.
//! - A frame that belongs before the one that was written last is written all the same, and counts as no time: a *detour*,
//!   which is made good where a picture would have been repeated. So nothing is left out because it is late.
//! - Times that go back by more than 2 s are followed after three frames.
//!
//! Left out is what a file has no place for: more frames than its speed shows, one by one.

use serde::{Deserialize, Serialize};

use super::avi::Rate;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write it, after showing the picture before it so many times again.
    Show {
        /// So many times.
        repeats: u32,
    },
    /// Leave it out.
    Skip,
    /// The camera was away: begin a new file with it, or [`Timing::cut`] the time out.
    Gap,
    /// The camera is faster than the file's speed now: begin a new file with it.
    Faster,
}

/// Where a video stands in time. Times are capture times in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// The file's speed, once it is known.
    rate: Option<Rate>,
    /// A moment …
    anchor: i64,
    /// … and the place in the file that belongs to it.
    slot: u64,
    /// The mean error: how many thousandths of a place the video is behind. Whole, so that it survives JSON.
    mean: i32,
    /// When the latest frame so far was captured.
    last: i64,
    /// Frames left out, or whose time went back, since the last that was neither.
    skipped: u32,
    /// Frames that were written and count as no time.
    #[serde(default, skip_serializing_if = "is_zero")]
    detour: u64,
    /// Whether the last frame belonged before the one before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    behind: bool,
    /// The last intervals between frames.
    intervals: Vec<i64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Intervals that are remembered.
const REMEMBERED: usize = 63;
/// So many are enough to know the speed, once they have lasted for [`LONG_ENOUGH`]: a camera's backlog comes at once.
const ENOUGH: usize = 30;
const LONG_ENOUGH: i64 = 3 * SECOND;
/// Slow cameras: fewer are enough when they, without stalls, have lasted for [`LONG_IF_SLOW`].
const ENOUGH_IF_SLOW: usize = 4;
const LONG_IF_SLOW: i64 = 10 * SECOND;
const SECOND: i64 = 1_000_000;
/// How much of an error goes into the mean.
const SMOOTHING: f64 = 1.0 / 16.0;

/// The usual speeds up to one frame a second, as seconds a frame; those above, as frames a second.
const SLOW: [u32; 14] = [3600, 1800, 900, 600, 300, 120, 60, 30, 20, 15, 10, 5, 3, 2];
const FAST: [u32; 24] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 20, 22, 24, 25, 30, 40, 48, 50, 60, 75, 100, 120, 144];

/// The speed shown in a file whose speed is not known yet.
pub const UNKNOWN: Rate = Rate::per_second(25);

/// The next usual speed at or above the one of this mean interval in microseconds; 1.5 % of mismeasure are forgiven.
fn usual(interval: f64) -> Rate {
    let measured = SECOND as f64 / interval.max(1.0);
    let slow = SLOW.iter().map(|seconds| Rate { frames: 1, seconds: *seconds });
    let fast = FAST.iter().map(|frames| Rate::per_second(*frames));
    slow.chain(fast).find(|rate| rate.fps() >= measured * 0.985).unwrap_or(Rate::per_second(240))
}

/// Intervals that are no stalls: those beyond a second that are longer than eight times the mean of the rest are left out.
fn without_stalls(intervals: &[i64]) -> Vec<i64> {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    let mut sum: i128 = sorted.iter().map(|i| i128::from(*i)).sum();
    let mut longest = i64::MAX;
    while let [others @ .., last] = sorted.as_slice() {
        longest = *last;
        let rest = sum - i128::from(longest);
        let stall = longest > SECOND && !others.is_empty() && i128::from(longest) * others.len() as i128 > 8 * rest;
        if !stall {
            break;
        }
        sum = rest;
        sorted.pop();
    }
    intervals.iter().copied().filter(|i| *i <= longest).collect()
}

/// The median of the slopes between all frames that are at least a quarter of the whole apart (Theil and Sen). Frames that
/// come in bursts do not move it, which a median of the intervals themselves does not stand.
fn median_slope(intervals: &[i64]) -> Option<f64> {
    let mut times = vec![0i128];
    for interval in intervals {
        times.push(times[times.len() - 1] + i128::from(*interval));
    }
    let apart = (times.len() / 4).max(1);
    let slope = |i: usize, j: usize| (times[j] - times[i]) as f64 / (j - i) as f64;
    let pairs = (0..times.len()).flat_map(|i| (i + apart..times.len()).map(move |j| (i, j)));
    let mut slopes: Vec<f64> = pairs.map(|(i, j)| slope(i, j)).collect();
    if slopes.is_empty() {
        return None;
    }
    let middle = slopes.len() / 2;
    let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// The steady interval behind these: without stalls, and without the backlog that comes all at once when a camera is dialled,
/// which would lead any mean astray.
fn steady_interval(intervals: &[i64]) -> Option<f64> {
    let steady = without_stalls(intervals);
    let all = median_slope(&steady)?;
    let backlog = steady.iter().take_while(|interval| (**interval as f64) < all / 4.0).count();
    if backlog + ENOUGH_IF_SLOW > steady.len() { Some(all) } else { median_slope(&steady[backlog..]) }
}

impl Timing {
    /// Begins a file with a frame of this time. What `previous` knows of the speed goes on.
    pub fn begin(previous: Option<&Timing>, time: i64) -> Self {
        let intervals = previous.map(|p| p.intervals.clone()).unwrap_or_default();
        let rate = (intervals.len() >= ENOUGH).then(|| steady_interval(&intervals).map(usual)).flatten();
        Timing { rate, anchor: time, slot: 0, mean: 0, last: time, skipped: 0, detour: 0, behind: false, intervals }
    }

    /// The file's speed, as far as it is known.
    pub fn rate(&self) -> Rate {
        self.rate.or_else(|| steady_interval(&self.intervals).map(usual)).unwrap_or(UNKNOWN)
    }

    /// Goes on at place `slot` with a frame of this time, as if no time lay between it and the frame before.
    pub fn cut(&self, time: i64, slot: u64) -> Self {
        Timing { anchor: time, slot, mean: 0, last: time, skipped: 0, detour: 0, behind: false, ..self.clone() }
    }

    /// Whether the speed can be told from what was seen since the file began.
    fn knows_enough(&self) -> bool {
        let steady = without_stalls(&self.intervals);
        let lasted = steady.iter().fold(0i64, |sum, interval| sum.saturating_add(*interval));
        let since = self.last.saturating_sub(self.anchor);
        (since >= LONG_ENOUGH && steady.len() >= ENOUGH) || (lasted >= LONG_IF_SLOW && steady.len() >= ENOUGH_IF_SLOW)
    }

    /// Whether the remembered frames came faster than the file's speed, and over a time that a burst does not last.
    fn is_faster(&self) -> bool {
        let sum: f64 = self.intervals.iter().map(|i| *i as f64).sum();
        let speed = steady_interval(&self.intervals).map_or(0.0, |interval| usual(interval).fps());
        self.intervals.len() == REMEMBERED && sum > 400_000.0 && speed > self.rate().fps()
    }

    /// Makes good a detour where pictures would be repeated.
    fn without_detour(&mut self, decision: Decision) -> Decision {
        let Decision::Show { repeats } = decision else { return decision };
        let fewer = u32::try_from(self.detour).unwrap_or(u32::MAX).min(repeats);
        self.detour -= u64::from(fewer);
        Decision::Show { repeats: repeats - fewer }
    }

    /// What to do with a frame of this time when the file's next place is `slot`; and how things stand after it. `behind`
    /// says that it belongs before the one before it, whose time it was given.
    pub fn next(&self, time: i64, behind: bool, slot: u64) -> (Decision, Timing) {
        let mut then = self.clone();
        then.behind = behind;
        let interval = time.saturating_sub(self.last);
        then.last = self.last.max(time);
        let show = |repeats| Decision::Show { repeats };
        let known = self.rate.is_some() || !self.intervals.is_empty();
        let rate = self.rate();
        let fps = rate.fps();
        let gap = (10.0 * fps).max(10.0);
        if known && interval as f64 * fps / SECOND as f64 > gap {
            return (Decision::Gap, self.cut(time, slot));
        }
        // A frame that comes late counts as one that comes with the frame before it; many at once, or a clock that was put
        // back, do not.
        if interval > -SECOND && !(behind && self.behind) {
            if then.intervals.len() == REMEMBERED {
                then.intervals.remove(0);
            }
            then.intervals.push(interval.max(0));
        }
        if self.rate.is_none() {
            if time < self.anchor {
                return (show(0), Timing { intervals: then.intervals, ..self.cut(time, slot) });
            }
            if !then.knows_enough() {
                return (show(0), then);
            }
            then.rate = steady_interval(&then.intervals).map(usual);
        }
        let fps = then.rate().fps();
        let gap = (10.0 * fps).max(10.0);
        let band = 0.25 * fps + 1.5;
        let due = time.saturating_sub(self.anchor) as f64 * fps / SECOND as f64;
        let error = due - (slot - self.slot).saturating_sub(self.detour) as f64;
        let before = f64::from(self.mean) / 1000.0;
        let mean = if self.rate.is_none() { error } else { before + (error - before) * SMOOTHING };
        let thousandths = |mean: f64| (mean * 1000.0) as i32;
        then.mean = thousandths(mean);
        if error > gap {
            return (Decision::Gap, Timing { intervals: then.intervals, rate: then.rate, ..self.cut(time, slot) });
        }
        let back = time < self.last;
        if back && error < -(2.0 * fps + band) && self.skipped >= 3 {
            return (show(0), Timing { intervals: then.intervals, rate: then.rate, ..self.cut(time, slot) });
        }
        // A frame that no time has passed for is written in front of the clock.
        let ahead = error < -band || (mean < -1.0 && error < -0.5);
        if (behind && error < -0.5) || (time <= self.last && ahead) {
            then.mean = self.mean;
            then.detour += 1;
            then.skipped = if back { self.skipped + 1 } else { 0 };
            return (show(0), then);
        }
        let decision = if error > band {
            then.mean = thousandths(error.fract());
            show(error as u32)
        } else if error < -band {
            // The mean would go on falling while frames are left out, and take some more with it afterwards.
            then.mean = self.mean.max(-1000);
            Decision::Skip
        } else if mean > 1.0 && error > 0.5 {
            then.mean -= 1000;
            show(1)
        } else if mean < -1.0 && error < -0.5 {
            then.mean += 1000;
            Decision::Skip
        } else {
            show(0)
        };
        if decision == Decision::Skip && then.is_faster() {
            return (Decision::Faster, then);
        }
        then.skipped = if decision == Decision::Skip { self.skipped + 1 } else { 0 };
        (then.without_detour(decision), then)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds frames of these times; gives shown, repeated, skipped, gaps, and the timing.
    fn run(times: impl IntoIterator<Item = i64>) -> (u64, u64, u64, u64, Timing) {
        let mut times = times.into_iter();
        let mut timing = Timing::begin(None, times.next().unwrap());
        let (mut shown, mut repeated, mut skipped, mut gaps, mut slot) = (1, 0, 0, 0, 1);
        for time in times {
            let (decision, then) = timing.next(time, false, slot);
            timing = then;
            match decision {
                Decision::Show { repeats } => {
                    shown += 1;
                    repeated += u64::from(repeats);
                    slot += u64::from(repeats) + 1;
                }
                Decision::Skip => skipped += 1,
                Decision::Gap => {
                    gaps += 1;
                    shown += 1;
                    slot += 1;
                }
                Decision::Faster => {
                    timing = Timing::begin(Some(&timing), time);
                    shown += 1;
                    slot = 1;
                }
            }
        }
        (shown, repeated, skipped, gaps, timing)
    }

    fn steady(fps: f64, n: i64) -> impl Iterator<Item = i64> {
        (0..n).map(move |i| 1_700_000_000_000_000 + (i as f64 * 1e6 / fps) as i64)
    }

    #[test]
    fn a_steady_camera_keeps_every_frame_once_at_its_own_speed() {
        for (fps, rate) in [
            (30.0, Rate::per_second(30)),
            (10.0, Rate::per_second(10)),
            (25.0, Rate::per_second(25)),
            (1.0, Rate::per_second(1)),
            (60.0, Rate::per_second(60)),
            (0.2, Rate { frames: 1, seconds: 5 }),
            (1.0 / 3600.0, Rate { frames: 1, seconds: 3600 }),
        ] {
            let (shown, repeated, skipped, gaps, timing) = run(steady(fps, 2000));
            assert_eq!((shown, repeated, skipped, gaps, timing.rate()), (2000, 0, 0, 0, rate), "{fps}");
        }
    }

    #[test]
    fn a_camera_between_two_usual_speeds_loses_no_frame_and_stays_in_time() {
        let (shown, repeated, skipped, _, timing) = run(steady(27.0, 2700));
        assert_eq!((shown, skipped, timing.rate()), (2700, 0, Rate::per_second(30)));
        assert!((290..=310).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_camera_that_becomes_twice_as_fast_gets_a_new_file_of_its_speed() {
        let slow = steady(15.0, 300);
        let fast = steady(30.0, 900).map(|t| t + 20_000_000);
        let (shown, _, skipped, _, timing) = run(slow.chain(fast));
        assert_eq!((shown + skipped, timing.rate()), (1200, Rate::per_second(30)));
        assert!(skipped < 64, "{skipped}");
    }

    #[test]
    fn a_stall_among_the_first_frames_does_not_make_the_file_slow() {
        let (shown, _, skipped, _, timing) = run(steady(30.0, 1).chain(steady(30.0, 500).map(|t| t + 4_000_000)));
        assert_eq!((shown, skipped, timing.rate()), (501, 0, Rate::per_second(30)));
    }

    #[test]
    fn jitter_causes_neither_repetitions_nor_losses() {
        let jitter = steady(30.0, 3000).enumerate().map(|(i, t)| t + [0, 12_000, -9_000, 16_000, -7_000][i * i % 5]);
        let (shown, repeated, skipped, gaps, timing) = run(jitter);
        assert_eq!((shown, repeated, skipped, gaps, timing.rate()), (3000, 0, 0, 0, Rate::per_second(30)));
    }

    #[test]
    fn bursts_lose_no_frame() {
        let (shown, _, skipped, gaps, timing) = run(steady(30.0, 3000).map(|t| t - t % 166_667));
        assert!(shown >= 2997 && skipped <= 3 && gaps == 0, "{shown} {skipped} {gaps} {:?}", timing.rate());
    }

    #[test]
    fn a_camera_that_was_away_leaves_a_gap_and_not_a_still_picture() {
        let before = steady(10.0, 100);
        let after = steady(10.0, 100).map(|t| t + 3_600_000_000);
        let (shown, repeated, skipped, gaps, _) = run(before.chain(after));
        assert_eq!((shown, repeated, skipped, gaps), (200, 0, 0, 1));
    }

    #[test]
    fn a_short_stall_is_filled_with_the_picture_before_it() {
        let after = steady(10.0, 100).map(|t| t + 15_000_000);
        let (shown, repeated, skipped, gaps, _) = run(steady(10.0, 100).chain(after));
        assert_eq!((shown, repeated, skipped, gaps), (200, 50, 0, 0));
    }

    #[test]
    fn neither_a_clock_that_is_put_back_nor_a_late_frame_costs_a_frame() {
        let back = steady(10.0, 100).map(|t| t - 3_600_000_000);
        let (shown, repeated, skipped, gaps, _) = run(steady(10.0, 100).chain(back));
        assert_eq!((shown, repeated, skipped, gaps), (200, 0, 0, 0));
        let mut late: Vec<_> = steady(10.0, 100).collect();
        late.insert(90, late[50]);
        let (shown, repeated, skipped, _, _) = run(late);
        assert_eq!((shown, repeated, skipped), (101, 0, 0));
    }

    /// Frames of these times and whether they are behind; gives shown, repeated, skipped, the places taken and the timing.
    fn run_standing(frames: impl IntoIterator<Item = (i64, bool)>) -> (u64, u64, u64, u64, Timing) {
        let mut frames = frames.into_iter();
        let mut timing = Timing::begin(None, frames.next().unwrap().0);
        let (mut shown, mut repeated, mut skipped, mut slot) = (1, 0, 0, 1);
        for (time, behind) in frames {
            let (decision, then) = timing.next(time, behind, slot);
            timing = then;
            match decision {
                Decision::Show { repeats } => {
                    shown += 1;
                    repeated += u64::from(repeats);
                    slot += u64::from(repeats) + 1;
                }
                Decision::Skip => skipped += 1,
                other => panic!("{other:?}"),
            }
        }
        (shown, repeated, skipped, slot, timing)
    }

    #[test]
    fn late_frames_are_written_and_take_no_frame_s_place() {
        // A partition of three is away from the 200th frame to the 500th; then its hundred frames come at once.
        let all: Vec<_> = steady(30.0, 900).collect();
        let away = |n: &usize| (200..500).contains(n) && n.is_multiple_of(3);
        let on_time = |n: usize| (all[n], false);
        let before = (0..500).filter(|n| !away(n)).map(on_time);
        let late = (200..500).filter(away).map(|_| (all[499], true));
        let (shown, repeated, skipped, slots, timing) = run_standing(before.chain(late).chain((500..900).map(on_time)));
        assert_eq!((shown, skipped, timing.rate()), (900, 0, Rate::per_second(30)));
        assert!((90..=100).contains(&repeated), "{repeated}");
        assert_eq!(slots, 900 + repeated);
    }

    #[test]
    fn a_detour_is_made_good_where_pictures_would_be_repeated() {
        // Twenty late frames, then a stall of two seconds: the video is in time again.
        let all: Vec<_> = steady(30.0, 900).collect();
        let on_time = |n: usize| (all[n], false);
        let frames = (0..300).map(on_time).chain((0..20).map(|_| (all[299], true))).chain((360..900).map(on_time));
        let (shown, repeated, skipped, slots, timing) = run_standing(frames);
        assert_eq!((shown, skipped, timing.detour), (860, 0, 0));
        assert_eq!((slots, repeated), (900, 40), "{timing:?}");
    }

    #[test]
    fn a_clock_that_stands_still_loses_no_frame() {
        let stands = steady(30.0, 300).chain((0..300).map(|_| 1_700_000_010_000_000));
        let (shown, _, skipped, _, _) = run(stands);
        assert_eq!((shown, skipped), (600, 0));
    }

    #[test]
    fn the_next_file_begins_with_the_speed_that_is_known() {
        let (.., timing) = run(steady(12.0, 40));
        let next = Timing::begin(Some(&timing), timing.last + 83_333);
        assert_eq!(next.rate, Some(Rate::per_second(12)));
    }

    #[test]
    fn a_backlog_at_the_start_does_not_make_the_file_fast() {
        // What lay in the buffers between camera and capture comes within 20 ms, then the camera's own speed.
        for backlog in [3, 8, 20, 48] {
            let burst = (0..backlog).map(|i| 1_700_000_000_000_000 + i * 20_000 / backlog);
            let (shown, _, skipped, gaps, timing) = run(burst.chain(steady(30.0, 600).map(|t| t + 50_000)));
            assert_eq!((timing.rate(), gaps), (Rate::per_second(30), 0), "{backlog} frames at once");
            assert!(shown as i64 >= 600 && (skipped as i64) < backlog, "{backlog}: {shown} shown, {skipped} left out");
        }
    }

    proptest! {
        /// Whatever the camera's speed, its backlog at the start, its jitter and its bursts.
        #[test]
        fn the_speed_is_the_cameras_own(
            fps in prop::sample::select(vec![2u32, 5, 10, 15, 25, 30, 60]),
            backlog in 0usize..30,
            burst in 1usize..6,
            jitter in proptest::collection::vec(-0.15f64..0.15, 400),
        ) {
            let start = 1_700_000_000_000_000i64;
            let interval = 1e6 / f64::from(fps);
            let at = |n: usize| start + ((n - n % burst) as f64 * interval + jitter[n] * interval) as i64;
            // A slow camera's buffers hold as many seconds, not as many frames.
            let backlog = backlog.min(fps as usize / 2);
            let times = (0..backlog).map(|_| start).chain((0..400).map(at));
            let (.., timing) = run(times);
            prop_assert_eq!(timing.rate(), Rate::per_second(fps));
        }

        #[test]
        fn the_video_never_drifts_from_the_clock(intervals in proptest::collection::vec(1i64..3_000_000, 100..400)) {
            let mut time = 1_700_000_000_000_000i64;
            let mut timing = Timing::begin(None, time);
            let mut slot = 1u64;
            for interval in intervals {
                time += interval;
                let (decision, then) = timing.next(time, false, slot);
                match decision {
                    Decision::Show { repeats } => slot += u64::from(repeats) + 1,
                    Decision::Skip => {}
                    Decision::Gap | Decision::Faster => slot += 1,
                }
                let shown = matches!(decision, Decision::Show { .. });
                if let (Some(rate), true) = (then.rate, shown) {
                    let due = (time - then.anchor) as f64 * rate.fps() / 1e6;
                    let stands = (slot - 1 - then.slot) as f64;
                    prop_assert!((due - stands).abs() <= 0.25 * rate.fps() + 2.5, "due {due}, stands {stands}");
                }
                timing = then;
            }
        }

        #[test]
        fn any_times_are_taken_and_the_state_survives_a_restart(
            times in proptest::collection::vec(any::<i64>(), 2..60),
        ) {
            let (.., timing) = run(times);
            let text = serde_json::to_string(&timing).unwrap();
            prop_assert!(text.len() < 2000, "{text}");
            prop_assert_eq!(serde_json::from_str::<Timing>(&text).unwrap(), timing);
        }
    }
}
