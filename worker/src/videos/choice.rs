//! Which frames of a video are wanted: by their times in it, and their numbers. The same ones, whoever asks and however often.

use std::{cell::Cell, rc::Rc, time::Duration};

use edgereel_crds::camera_stream::CameraStreamSpec;
use edgereel_crds::file::FileSource;

use crate::source::{Part, media::pictures::Choice};

/// Times are sums of rounded ones.
const TOLERANCE: f64 = 1e-6;

/// What is wanted of each video, or each sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Leave out what comes before.
    pub start: Duration,
    /// Leave out what comes from here on.
    pub end: Option<Duration>,
    /// Each so manieth.
    pub interval: u64,
    /// So many for each second of the video.
    pub rate: Option<f64>,
}

impl Wanted {
    /// As a camera has it. What is repeated is paced as every camera is.
    pub fn of(file: &FileSource, camera: &CameraStreamSpec) -> Self {
        Wanted {
            start: file.start.map(|start| *start).unwrap_or_default(),
            end: file.end.map(|end| *end),
            interval: u64::from(file.frame_interval.unwrap_or(1).max(1)),
            rate: camera.frame_rate.target.filter(|_| !file.repeat),
        }
    }
}

/// A frame's place in its video.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// Its number, from 0 on.
    pub number: u64,
    /// Its time, in seconds.
    pub time: f64,
}

/// How the times of a video are to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// How long the unit of its times is, in seconds.
    pub unit: f64,
    /// The time at which it begins, in such units.
    pub begin: i64,
    /// Frames a second, for those that have no time.
    pub rate: f64,
}

/// Asks of one video after the other.
pub struct Chosen {
    wanted: Wanted,
    clock: Clock,
    /// Frames before this one are known already.
    from: u64,
    number: u64,
    /// How many were between `start` and `end`.
    within: u64,
    slot: i64,
    /// The frame that was asked for last.
    place: Rc<Cell<Place>>,
    /// Whether `end` has come.
    over: Rc<Cell<bool>>,
}

impl Chosen {
    /// Of the video with this clock, from a frame on.
    pub fn new(wanted: Wanted, clock: Clock, from: u64) -> Self {
        Chosen { wanted, clock, from, number: 0, within: 0, slot: -1, place: Rc::default(), over: Rc::default() }
    }

    /// Where the frame that was asked for last stands.
    pub fn place(&self) -> Rc<Cell<Place>> {
        self.place.clone()
    }

    /// Whether nothing more is wanted.
    pub fn over(&self) -> Rc<Cell<bool>> {
        self.over.clone()
    }

    /// What is given instead of the next frame, if it is not wanted.
    pub fn next(&mut self, time: Option<i64>) -> Option<Part> {
        let number = self.number;
        self.number += 1;
        let in_units = |time: i64| (time - self.clock.begin) as f64 * self.clock.unit;
        let time = time.map_or(number as f64 / self.clock.rate, in_units).max(0.0);
        self.place.set(Place { number, time });
        let start = self.wanted.start.as_secs_f64();
        if self.wanted.end.is_some_and(|end| time + TOLERANCE >= end.as_secs_f64()) {
            self.over.set(true);
            return Some(Part::Beside);
        }
        if time + TOLERANCE < start {
            return Some(Part::Beside);
        }
        let nth = self.within;
        self.within += 1;
        let wanted = match self.wanted.rate {
            Some(rate) => {
                let slot = ((time - start) * rate + TOLERANCE).floor() as i64;
                let before = self.slot;
                self.slot = slot.max(before);
                before < slot
            }
            None => nth.is_multiple_of(self.wanted.interval),
        };
        match (number < self.from, wanted) {
            (true, _) => Some(Part::Beside),
            (false, true) => None,
            (false, false) => Some(Part::NotWanted),
        }
    }
}

impl Choice for Chosen {
    fn passes(&mut self, time: Option<i64>) -> Option<Part> {
        self.next(time)
    }

    fn decoded(&mut self, time: Option<i64>) -> Option<Part> {
        self.next(time)
    }

    fn damaged(&mut self, time: Option<i64>) -> Part {
        // One that was not wanted is no loss.
        self.next(time).unwrap_or(Part::Skipped(edgereel_frame::reasons::DropReason::undecodable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { unit: 0.001, begin: 1000, rate: 25.0 };

    fn wanted() -> Wanted {
        Wanted { start: Duration::ZERO, end: None, interval: 1, rate: None }
    }

    /// The numbers that go on of a video of 25 frames a second and four seconds.
    fn numbers(wanted: Wanted, from: u64) -> Vec<u64> {
        let mut chosen = Chosen::new(wanted, CLOCK, from);
        (0..100).filter(|n| chosen.next(Some(1000 + n * 40)).is_none()).map(|n| n as u64).collect()
    }

    #[test]
    fn a_rate_is_of_the_videos_own_time_and_an_interval_of_its_numbers() {
        assert_eq!(numbers(wanted(), 0).len(), 100);
        assert_eq!(numbers(Wanted { interval: 30, ..wanted() }, 0), [0, 30, 60, 90]);
        // As `int(fps / 3)`, but for the rounding.
        assert_eq!(numbers(Wanted { rate: Some(3.0), ..wanted() }, 0), [0, 9, 17, 25, 34, 42, 50, 59, 67, 75, 84, 92]);
        assert_eq!(numbers(Wanted { rate: Some(50.0), ..wanted() }, 0).len(), 100, "no more than there are");
        assert_eq!(numbers(Wanted { rate: Some(0.5), ..wanted() }, 0), [0, 50]);
    }

    #[test]
    fn what_lies_outside_of_start_and_end_does_not_count() {
        let part = Wanted { start: Duration::from_secs(1), end: Some(Duration::from_secs(2)), ..wanted() };
        assert_eq!(numbers(part.clone(), 0), (25..50).collect::<Vec<_>>());
        assert_eq!(numbers(Wanted { interval: 10, ..part.clone() }, 0), [25, 35, 45]);
        assert_eq!(numbers(Wanted { rate: Some(2.0), ..part }, 0), [25, 38]);
    }

    #[test]
    fn who_goes_on_in_the_middle_takes_the_same_ones() {
        for wanted in [Wanted { rate: Some(3.0), ..wanted() }, Wanted { interval: 7, ..wanted() }] {
            let all = numbers(wanted.clone(), 0);
            for from in 0..100 {
                let rest: Vec<u64> = all.iter().copied().filter(|n| *n >= from).collect();
                assert_eq!(numbers(wanted.clone(), from), rest, "{from}");
            }
        }
    }

    #[test]
    fn frames_without_a_time_have_that_of_their_number() {
        let mut chosen = Chosen::new(Wanted { end: Some(Duration::from_secs(1)), ..wanted() }, CLOCK, 0);
        assert_eq!((0..100).filter(|_| chosen.next(None).is_none()).count(), 25);
        assert!(chosen.over().get());
        assert_eq!(chosen.place().get().number, 99);
    }
}
