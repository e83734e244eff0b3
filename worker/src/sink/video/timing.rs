//! Keeps a video in real time: decides for each frame how often the picture before it is shown again, or whether it is
//! left out.
//!
//! A file has one speed, frames do not come at one. So the speed is learned from a file's first frames (30 intervals and
//! three seconds, or ten seconds of a slow camera), which are each written once meanwhile: nothing is held back. A backlog
//! that a camera sends at once when it is dialled, and bursts, do not mislead it; one whose pace still rises is waited for, ten
//! seconds at most. It is the next usual speed at or above
//! what was seen, so that a steady camera loses no frame; a repetition costs space, a lost frame cannot be had again. From
//! then on a frame's place follows from its capture time:
//!
//! - Jitter does nothing: the mean error over about 16 frames has to reach a whole frame before one picture is repeated or
//!   left out. An error above a quarter of a second (and 1½ frames) is put right at once.
//! - A camera that was away for more than 10 s (and 10 frames) leaves a [`Decision::Gap`], not hours of one picture.
//! - A camera that becomes faster than the file asks for a new one ([`Decision::Faster`]) rather than lose frames. What was
//!   seen by then is of a pace on its way, so the new file learns its speed anew.
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
/// A pace is rising where the newer half of the intervals, so many at least, is shorter than all of them by more than this.
const ENOUGH_TO_RISE: usize = 15;
const RISING: f64 = 0.985;
/// For so long a file waits at most for the end of that.
const LONG_TO_SETTLE: i64 = 10 * SECOND;
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

    /// The file's speed, once it can be told: when the pace has stopped rising, or has not in time.
    fn settled(&self) -> Option<Rate> {
        let settled =
            self.knows_enough() && (!self.is_rising() || self.last.saturating_sub(self.anchor) >= LONG_TO_SETTLE);
        settled.then(|| steady_interval(&self.intervals).map(usual)).flatten()
    }

    fn is_rising(&self) -> bool {
        let newer = &self.intervals[self.intervals.len() / 2..];
        let both = steady_interval(newer).zip(steady_interval(&self.intervals));
        newer.len() >= ENOUGH_TO_RISE && both.is_some_and(|(newer, all)| newer < all * RISING)
    }

    /// As it was for a file that is too slow: the next one learns its own speed, and begins with that of the last frames.
    fn unsettled(self) -> Self {
        let old = self.intervals.len().saturating_sub(ENOUGH - 1);
        Timing { rate: None, intervals: self.intervals[old..].to_vec(), ..self }
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
            then.rate = then.settled();
            if then.rate.is_none() {
                return (show(0), then);
            }
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
            return (Decision::Faster, then.unsettled());
        }
        then.skipped = if decision == Decision::Skip { self.skipped + 1 } else { 0 };
        (then.without_detour(decision), then)
    }
}

#[cfg(test)]
mod tests;
