//! How many frames a second go on: `frameRate.target`, lowered while Kafka cannot keep up.
//!
//! The rule is a leaky bucket (GCRA): a frame goes on when the schedule of the current rate owes one. A short tolerance
//! lets jittering cameras pass, a longer one frames that were held up on their way; a surplus is dropped evenly. A camera
//! that is faster from its first frames on begins without the tolerance: one frame, and the next an interval later. With
//! `adaptive`, backpressure halves the rate and its absence raises it step by step (additive increase, multiplicative
//! decrease), between `minimum` and `target`.

use std::time::{Duration, Instant};

use edgereel_crds::camera_stream::FrameRate;

/// A camera's quartz is off by up to some 100 ppm, and "30 fps" may mean 30.02: that much is not a surplus.
const CLOCK_TOLERANCE: f64 = 1.01;
/// A frame may come this many intervals ahead of the schedule: cameras send in bursts of two or three …
const BURST: f64 = 2.5;
/// … which are no longer than this: of a slow target two intervals are no burst.
const LONGEST_BURST: Duration = Duration::from_millis(250);
/// Frames that were held up for this long at most (by a network, a busy machine) go on when they come all at once: they
/// were owed meanwhile. So the target holds over seconds, not over shorter times.
const HELD_UP: Duration = Duration::from_secs(1);
/// The rate changes at most this often, so that a change has shown its effect before the next.
const STEP: Duration = Duration::from_secs(1);
/// What one calm second adds, as a part of the target.
const INCREASE: f64 = 0.05;

/// Decides frame by frame.
#[derive(Debug)]
pub struct Pacer {
    target: Option<f64>,
    minimum: f64,
    adaptive: bool,
    rate: f64,
    /// When the schedule owes the next frame.
    due: Option<Instant>,
    /// Until when a surplus shows that the camera was faster from the beginning.
    beginning: Option<Instant>,
    changed: Option<Instant>,
}

impl Pacer {
    /// A pacer at the target rate.
    pub fn new(spec: &FrameRate) -> Self {
        let target = spec.target;
        let rate = target.unwrap_or(f64::INFINITY);
        Pacer {
            target,
            minimum: spec.minimum.unwrap_or(1.0).min(rate),
            adaptive: spec.adaptive,
            rate,
            due: None,
            beginning: None,
            changed: None,
        }
    }

    /// Frames a second that go on now; infinite without a target.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The camera is dialled anew: what it did not send meanwhile is not owed.
    pub fn dialled(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.max(now));
        self.beginning = None;
    }

    /// Whether the frame that came at `now` goes on. `pressed`: Kafka is behind at this moment.
    pub fn admit(&mut self, now: Instant, pressed: bool) -> bool {
        let Some(target) = self.target else { return true };
        if self.adaptive {
            self.adapt(target, now, pressed);
        }
        let interval = Duration::from_secs_f64(1.0 / (self.rate * CLOCK_TOLERANCE));
        let due = self.due.unwrap_or(now);
        let ahead = interval.mul_f64(BURST).min(LONGEST_BURST);
        let beginning = self.beginning.get_or_insert(now + interval + ahead);
        if now + ahead < due {
            if now < std::mem::replace(beginning, now) {
                self.due = Some(due + ahead);
            }
            return false;
        }
        // A longer pause earns no more credit than this.
        self.due = Some(due.max(now.checked_sub(HELD_UP).unwrap_or(now)) + interval);
        true
    }

    fn adapt(&mut self, target: f64, now: Instant, pressed: bool) {
        let changed = *self.changed.get_or_insert(now);
        if now.duration_since(changed) < STEP && !(pressed && self.rate == target) {
            return;
        }
        let rate = if pressed { self.rate / 2.0 } else { self.rate + target * INCREASE };
        self.rate = rate.clamp(self.minimum, target);
        self.changed = Some(now);
        // The new rate holds at once, not after the old schedule has run out; and under pressure nothing is owed.
        let latest = now + Duration::from_secs_f64(1.0 / self.rate);
        self.due = self.due.map(|due| due.min(latest)).map(|due| if pressed { due.max(now) } else { due });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pacer(target: f64, minimum: f64, adaptive: bool) -> Pacer {
        Pacer::new(&FrameRate { target: Some(target), minimum: Some(minimum), adaptive })
    }

    /// How many frames of a camera of `fps` go on in `secs` seconds.
    fn admitted(pacer: &mut Pacer, start: Instant, fps: f64, secs: f64, pressed: bool) -> usize {
        let frames = (fps * secs) as u32;
        (0..frames).filter(|i| pacer.admit(start + Duration::from_secs_f64(f64::from(*i) / fps), pressed)).count()
    }

    #[test]
    fn without_a_target_every_frame_goes_on() {
        let mut pacer = Pacer::new(&FrameRate::default());
        assert_eq!(admitted(&mut pacer, Instant::now(), 240.0, 10.0, true), 2400);
    }

    #[test]
    fn a_camera_at_its_target_loses_nothing_even_when_its_clock_is_a_little_fast() {
        for fps in [25.0, 29.97, 30.0, 30.02] {
            assert_eq!(
                admitted(&mut pacer(30.0, 1.0, false), Instant::now(), fps, 600.0, false),
                (fps * 600.0) as usize
            );
        }
    }

    #[test]
    fn a_surplus_is_dropped_evenly() {
        let (start, mut pacer) = (Instant::now(), pacer(10.0, 1.0, false));
        let kept: Vec<u32> =
            (0..600).filter(|i| pacer.admit(start + Duration::from_millis(u64::from(*i) * 1000 / 60), false)).collect();
        assert!((98..=106).contains(&kept.len()), "{}", kept.len());
        let gaps = kept.windows(2).skip(5).map(|w| w[1] - w[0]);
        assert!(gaps.clone().all(|gap| (5..=7).contains(&gap)), "{:?}", gaps.collect::<Vec<_>>());
    }

    /// Which frames of a camera of 30 a second go on within so many seconds, in milliseconds.
    fn times_of_a_fast_camera(pacer: &mut Pacer, start: Instant, seconds: u64) -> Vec<u64> {
        let times = (0..seconds * 30).map(|frame| frame * 1000 / 30);
        times.filter(|time| pacer.admit(start + Duration::from_millis(*time), false)).collect()
    }

    #[test]
    fn a_camera_that_is_much_faster_begins_with_one_frame_and_the_next_goes_on_an_interval_later() {
        for target in [0.5, 1.0, 2.0, 3.0] {
            let (start, mut pacer) = (Instant::now(), pacer(target, 0.1, false));
            let interval = 1000.0 / target;
            // The second time it is dialled anew.
            for start in [start, start + Duration::from_secs(60)] {
                pacer.dialled(start);
                let kept = times_of_a_fast_camera(&mut pacer, start, 10);
                let gaps = kept.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
                assert!(
                    kept[0] == 0 && gaps.min_by(f64::total_cmp).is_some_and(|gap| gap > interval - 40.0),
                    "{kept:?}"
                );
                assert!(kept.len() <= (10.0 * target) as usize + 1, "{target}: {kept:?}");
            }
        }
        for target in [5.0, 10.0, 15.0] {
            let kept = times_of_a_fast_camera(&mut pacer(target, 0.1, false), Instant::now(), 1);
            assert!(kept.len() <= target as usize, "{target}: {kept:?}");
        }
    }

    #[test]
    fn a_slow_camera_at_its_target_loses_nothing_though_its_answers_take_their_time() {
        let (start, mut pacer) = (Instant::now(), pacer(1.0, 0.1, false));
        let late = |n: u64| [200, 0, 90, 150, 10][n as usize % 5];
        assert!((0..600).all(|n| pacer.admit(start + Duration::from_millis(n * 1000 + late(n)), false)));
    }

    #[test]
    fn frames_that_were_held_up_for_less_than_a_second_all_go_on() {
        let (start, mut pacer) = (Instant::now(), pacer(30.0, 1.0, true));
        // At 10 s the network stops for 0.9 s; what the camera sent meanwhile comes at once.
        let arrival = |i: u32| {
            let sent = f64::from(i) / 30.0;
            if (10.0..10.9).contains(&sent) { 10.9 } else { sent }
        };
        let kept = (0..900).filter(|i| pacer.admit(start + Duration::from_secs_f64(arrival(*i)), false)).count();
        assert_eq!(kept, 900);
    }

    #[test]
    fn a_long_silence_earns_no_more_than_a_second_of_frames() {
        let (start, mut pacer) = (Instant::now(), pacer(10.0, 1.0, false));
        assert!(pacer.admit(start, false));
        let kept = (0..1000).filter(|_| pacer.admit(start + Duration::from_secs(600), false)).count();
        assert!((10..=14).contains(&kept), "{kept}");
    }

    #[test]
    fn what_was_not_sent_before_a_new_connection_is_not_owed() {
        let (start, mut pacer) = (Instant::now(), pacer(10.0, 1.0, false));
        assert!(pacer.admit(start, false));
        let later = start + Duration::from_secs(600);
        pacer.dialled(later);
        let kept = (0..1000).filter(|_| pacer.admit(later, false)).count();
        assert!((1..=4).contains(&kept), "{kept}");
        // And a camera that is dialled again and again gets no more than its target.
        let kept = (0..100).filter(|_| {
            pacer.dialled(later);
            pacer.admit(later, false)
        });
        assert_eq!(kept.count(), 0);
    }

    #[test]
    fn backpressure_halves_the_rate_down_to_the_minimum_and_calm_raises_it_to_the_target() {
        let (start, mut pacer) = (Instant::now(), pacer(32.0, 4.0, true));
        let at = |s: f64| start + Duration::from_secs_f64(s);
        let mut rates = vec![];
        for second in 0..5 {
            pacer.admit(at(f64::from(second) * 1.1), true);
            rates.push(pacer.rate());
        }
        assert_eq!(rates, [16.0, 8.0, 4.0, 4.0, 4.0]);
        for second in 0..30 {
            pacer.admit(at(6.0 + f64::from(second) * 1.1), false);
        }
        assert_eq!(pacer.rate(), 32.0);
    }

    proptest! {
        #[test]
        fn whatever_the_arrivals_no_more_go_on_than_the_target_and_its_tolerance(
            gaps in prop::collection::vec(0u64..200_000, 1..400), target in 1.0f64..60.0,
        ) {
            let (start, mut pacer) = (Instant::now(), pacer(target, 1.0, false));
            let (mut now, mut passed) = (start, 0usize);
            for gap in gaps {
                now += Duration::from_micros(gap);
                passed += usize::from(pacer.admit(now, false));
            }
            let most = (now.duration_since(start) + HELD_UP).as_secs_f64() * target * CLOCK_TOLERANCE + BURST + 2.0;
            prop_assert!(passed as f64 <= most, "{passed} > {most}");
        }
    }
}
