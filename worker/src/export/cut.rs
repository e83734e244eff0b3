//! The frames of a range of time: which they are, in which order, and where there are none.

use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::sink::video::avi::Rate;

/// An interval that is shorter is no gap.
const SHORTEST_GAP: SignedDuration = SignedDuration::from_secs(2);
/// A gap is longer than so many usual intervals.
const USUAL: i32 = 5;
/// Times of one record in several sources differ by less: the names of files may tell the second only.
const COARSEST: SignedDuration = SignedDuration::from_secs(1);
/// A longer one takes no time in a clip: the next picture follows as if the camera had gone on.
const LONGEST: SignedDuration = SignedDuration::from_secs(10);

/// From the first of these instants on, before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// It begins.
    pub from: Timestamp,
    /// It has ended.
    pub to: Timestamp,
}

impl Range {
    /// Whether an instant lies in it.
    pub fn holds(&self, time: Timestamp) -> bool {
        (self.from..self.to).contains(&time)
    }

    /// With so much before and behind.
    #[must_use]
    pub fn widened(&self, by: SignedDuration) -> Range {
        let from = self.from.checked_sub(by).unwrap_or(Timestamp::MIN);
        Range { from, to: self.to.checked_add(by).unwrap_or(Timestamp::MAX) }
    }
}

/// Where the picture of a frame stands in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The frame of this number, from 0, in a video.
    Number(u64),
    /// A file of this name.
    File(Box<str>),
    /// Among the pictures that were taken from the topic: where, and how many bytes.
    Spooled(u64, u32),
}

/// A frame that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was captured.
    pub time: Timestamp,
    /// Its record.
    pub topic: Rc<str>,
    /// Its record's partition.
    pub partition: i32,
    /// Its record's offset.
    pub offset: i64,
    /// Which of the sources has it.
    pub source: usize,
    /// Where in it.
    pub at: At,
}

/// A stretch of the range without frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// The last frame before it, or the beginning of the range.
    pub from: Timestamp,
    /// The first frame after it, or the end of the range.
    pub to: Timestamp,
    /// Its length.
    pub seconds: f64,
}

/// The frames of the range by their time, each record once: of one that stands in several sources, the first. (A topic that was
/// made anew has the same places with other times.)
pub fn arrange(mut frames: Vec<Frame>, range: &Range) -> Vec<Frame> {
    frames.retain(|frame| range.holds(frame.time));
    frames.sort_by(|a, b| place(a).cmp(&place(b)).then(a.source.cmp(&b.source)));
    frames.dedup_by(|next, before| {
        place(next) == place(before) && next.time.duration_since(before.time).abs() < COARSEST
    });
    frames.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| place(a).cmp(&place(b))));
    frames
}

fn place(frame: &Frame) -> (&str, i32, i64) {
    (&frame.topic, frame.partition, frame.offset)
}

fn intervals(frames: &[Frame]) -> impl Iterator<Item = SignedDuration> {
    frames.windows(2).map(|pair| pair[1].time.duration_since(pair[0].time))
}

/// The usual time from one frame to the next: the median. None of a single frame.
pub fn usual(frames: &[Frame]) -> Option<SignedDuration> {
    let mut all: Vec<SignedDuration> = intervals(frames).collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable(middle).1)
}

/// Where the range has no frames for longer than 2 s and than five usual intervals. `frames` are [arranged](arrange).
pub fn gaps(frames: &[Frame], range: &Range) -> Vec<Gap> {
    let least = usual(frames).map_or(SHORTEST_GAP, |usual| SHORTEST_GAP.max(usual.saturating_mul(USUAL)));
    let times = frames.iter().map(|frame| frame.time);
    let ends = [range.from].into_iter().chain(times.clone()).zip(times.chain([range.to]));
    let gap = |(from, to): (Timestamp, Timestamp)| Gap { from, to, seconds: to.duration_since(from).as_secs_f64() };
    ends.filter(|(from, to)| to.duration_since(*from) > least).map(gap).collect()
}

/// When each frame is shown, from 0 on: as it was captured, but for gaps of more than ten seconds, which take no time.
pub fn timeline(frames: &[Frame]) -> Vec<SignedDuration> {
    let step = usual(frames).unwrap_or(SignedDuration::ZERO).min(LONGEST);
    let mut shown = Vec::with_capacity(frames.len());
    let mut at = SignedDuration::ZERO;
    shown.extend(frames.first().map(|_| at));
    for interval in intervals(frames) {
        at += if interval > LONGEST { step } else { interval };
        shown.push(at);
    }
    shown
}

/// The one speed at which a video without times of its own takes as long as the [timeline].
pub fn pace(frames: &[Frame]) -> Rate {
    let lasts = timeline(frames).last().map_or(0.0, SignedDuration::as_secs_f64);
    if lasts <= 0.0 {
        return Rate::per_second(if frames.len() > 1 { 25 } else { 1 });
    }
    let thousandths = ((frames.len() - 1) as f64 / lasts * 1000.0).round().clamp(1.0, 1e6) as u32;
    let whole = thousandths.div_ceil(1000).max(1);
    let nearest = if thousandths % 1000 < 500 && thousandths >= 1000 { thousandths / 1000 } else { whole };
    // What is off by less than half a per cent is jitter.
    match thousandths.abs_diff(nearest * 1000) * 200 < thousandths {
        true => Rate::per_second(nearest),
        false => Rate { frames: thousandths, seconds: 1000 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_717_495_200_000 + ms).expect("in range")
    }

    fn frame(ms: i64, offset: i64) -> Frame {
        Frame { time: at(ms), topic: "gate".into(), partition: 0, offset, source: 0, at: At::Number(offset as u64) }
    }

    fn all(times: &[i64]) -> Vec<Frame> {
        times.iter().enumerate().map(|(n, ms)| frame(*ms, n as i64)).collect()
    }

    #[test]
    fn a_gap_is_what_is_far_longer_than_usual_and_the_ends_count() {
        let frames = all(&[5000, 5100, 5200, 9000, 9100]);
        let gaps = gaps(&frames, &Range { from: at(0), to: at(20_000) });
        let ends: Vec<_> = gaps.iter().map(|gap| (gap.from, gap.to, gap.seconds)).collect();
        let expected = [(at(0), at(5000), 5.0), (at(5200), at(9000), 3.8), (at(9100), at(20_000), 10.9)].to_vec();
        assert_eq!(ends, expected);
        // A picture a minute is no gap to a camera that takes one a minute.
        let slow = all(&[0, 60_000, 120_000, 600_000]);
        assert_eq!(super::gaps(&slow, &Range { from: at(0), to: at(600_001) }).len(), 1);
    }

    #[test]
    fn a_clip_is_as_long_as_what_it_shows_without_the_long_gaps() {
        let frames = all(&[0, 100, 200, 3_600_000, 3_600_100]);
        let shown: Vec<i128> = timeline(&frames).iter().map(SignedDuration::as_millis).collect();
        assert_eq!(shown, [0, 100, 200, 300, 400]);
        assert_eq!(pace(&frames), Rate::per_second(10));
        assert_eq!(pace(&all(&[0, 3000, 6000])), Rate { frames: 333, seconds: 1000 });
        assert_eq!(pace(&all(&[0, 80, 160])), Rate { frames: 12_500, seconds: 1000 });
        assert_eq!((pace(&all(&[7])), pace(&[])), (Rate::per_second(1), Rate::per_second(1)));
    }

    proptest! {
        #[test]
        fn exactly_the_frames_whose_time_is_in_the_range_are_taken_once_in_order(
            times in prop::collection::vec((0i64..60_000, 0usize..4), 0..200), from in 0i64..60_000, length in 0i64..60_000,
        ) {
            // Each record's time is its own; some stand in several sources.
            let times_of = |n: usize| times[n].0;
            let frames: Vec<Frame> = times.iter().enumerate().flat_map(|(n, (_, copies))| {
                (0..=*copies).map(move |source| Frame { source, ..frame(times_of(n), n as i64) })
            }).collect();
            let range = Range { from: at(from), to: at(from + length) };
            let cut = arrange(frames, &range);
            let mut expected: Vec<(i64, i64)> = times.iter().enumerate()
                .filter(|(_, (ms, _))| (from..from + length).contains(ms)).map(|(n, (ms, _))| (*ms, n as i64)).collect();
            expected.sort_unstable();
            let found: Vec<(i64, i64)> = cut.iter().map(|f| (f.time.as_millisecond() - 1_717_495_200_000, f.offset)).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(cut.iter().all(|frame| frame.source == 0));
            // Gaps and frames together are the whole range.
            for gap in gaps(&cut, &range) {
                prop_assert!(cut.iter().all(|frame| frame.time <= gap.from || frame.time >= gap.to));
            }
            let shown = timeline(&cut);
            prop_assert_eq!(shown.len(), cut.len());
            prop_assert!(shown.is_sorted() && pace(&cut).frames > 0);
        }
    }
}
