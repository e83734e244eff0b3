//! The time that a record has among its neighbours: no single time is trusted. Pure.
//!
//! A partition's records come in the order in which they were sent, so a record's time lies near that of the one before
//! it: by what is usual there, and [`NEAR`], and what has passed between their arrivals. One that does not has to be
//! vouched for by [`WITNESSES`] others that follow it (or went before it and were not believed):
//!
//! - Nobody does: the time is *far*. The record stands where the one before it stands, and is counted.
//! - They do, and it is later: the camera was away. Time goes on there.
//! - They do, and it is earlier: its clock was put back. From then on what it was put back by is added to its times
//!   (`shift`), so that the order goes on. All partitions of the camera meet the same leap, and take the same shift. Of
//!   two cameras in one partition whose clocks differ, each gets its own.
//!
//! A time that is near may go back: the record sorts with the one before it. What comes next lies near the record before
//! it, not near the latest: one time that is somewhat ahead, and believed, moves nothing but what it holds up.

use std::time::Instant;

/// Microseconds on the clock of the order: capture times, shifted.
pub type Micros = i64;

/// So far a time may lie from that before it, beside what is usual.
pub const NEAR: Micros = 1_000_000;
/// So many others have to confirm a leap.
pub const WITNESSES: usize = 2;
/// A pace that stands for none.
const ANY_PACE: Micros = 2_500_000;
/// So far the first record of a partition may lie from where others are, if nobody can vouch for it.
const FIRST: Micros = 3_600_000_000;

/// One partition's time.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The last record whose time was believed.
    last: Option<Last>,
    /// The one before it, where the step between them was long enough to be a mistake.
    doubtful: Option<Last>,
    /// What is added to capture times.
    shift: Micros,
    /// The shift before that.
    former: Micros,
    /// The mean step between times.
    pace: Micros,
    /// The last times that were not believed, one after the other.
    strays: Vec<Micros>,
}

/// The last record whose time was believed.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Its own time on the clock of the order.
    own: Micros,
    /// Its place in the order: the latest time so far.
    key: Micros,
    arrived: Instant,
}

/// A record, as far as its time is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// When it says that it was captured.
    pub captured: Micros,
    /// When it came.
    pub arrived: Instant,
    /// The claims of the records behind it, the first [`WITNESSES`] at most.
    pub next: &'a [Micros],
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its place in the order; never before that of the record before it.
    pub key: Micros,
    /// Its own time on the clock of the order: the key, or somewhat before it.
    pub own: Micros,
    /// Its own time is not believed.
    pub far: bool,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { last: None, doubtful: None, shift: 0, former: 0, pace: ANY_PACE, strays: Vec::new() }
    }
}

impl Timeline {
    /// What is added to capture times.
    pub fn shift(&self) -> Micros {
        self.shift
    }

    /// That, and what was added before it.
    pub fn shifts(&self) -> [Micros; 2] {
        [self.shift, self.former]
    }

    /// Nothing that comes stands before it.
    pub fn latest(&self) -> Option<Micros> {
        self.last.map(|last| last.key)
    }

    /// Places the next record. `elsewhere` is the time that other partitions have reached, for the first record of this
    /// one, and `shifts` are theirs. None: those behind it have to be known, ask again; not when it has to be `now`.
    pub fn place(
        &mut self,
        claim: Claim<'_>,
        elsewhere: Option<(Micros, Instant)>,
        shifts: &[Micros],
        now: bool,
    ) -> Option<Placed> {
        let elsewhere = elsewhere.map(|(time, arrived)| Last { own: time, key: time, arrived });
        let Some(last) = self.last.or(elsewhere) else { return self.place_first(claim, now) };
        let before = last.own;
        let passed = claim.arrived.saturating_duration_since(last.arrived).as_micros();
        let near = self.near();
        let until = before.saturating_add(near).saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        let fits = |shift: &Micros| {
            let time = claim.captured.saturating_add(*shift);
            (before.saturating_sub(near)..=until).contains(&time)
        };
        let fitting = || self.shifts().into_iter().chain(shifts.iter().copied()).chain([0]).filter(fits);
        let nearest = fitting().min_by_key(|shift| claim.captured.saturating_add(*shift).abs_diff(before));
        // Partitions that met the same leap on their own measured it a little differently, none of them too large: all
        // settle on the largest.
        let settled = nearest.and_then(|near| fitting().filter(|shift| shift.abs_diff(near) <= NEAR as u64).max());
        if let Some(shift) = settled {
            self.take(shift);
            return Some(self.believe(claim.captured.saturating_add(shift), claim.arrived));
        }
        let own = claim.captured.saturating_add(self.shift);
        if let Some(doubtful) = self.doubtful.filter(|last| own < before && own >= last.own.saturating_sub(near)) {
            // It was the one before that was wrong.
            self.last = Some(Last { arrived: last.arrived, ..doubtful });
            return Some(self.believe(own, claim.arrived));
        }
        let vouches = |other: &&Micros| {
            let other = other.saturating_add(self.shift);
            other.abs_diff(own) < other.abs_diff(before)
        };
        let behind = claim.next.iter().take_while(vouches).count();
        let ahead = self.strays.iter().rev().take_while(vouches).count();
        if behind + ahead >= WITNESSES {
            if own < before {
                self.take(self.shift.saturating_add(last.key.saturating_sub(own)));
            }
            return Some(self.believe(if own < before { last.key } else { own }, claim.arrived));
        }
        if claim.next.len() < WITNESSES && behind == claim.next.len() {
            if !now {
                return None;
            }
            if self.last.is_none() && own.abs_diff(before) <= FIRST as u64 {
                return Some(self.believe(own, claim.arrived));
            }
        }
        if self.strays.len() == WITNESSES {
            self.strays.remove(0);
        }
        self.strays.push(claim.captured);
        Some(Placed { key: last.key, own: last.key, far: true })
    }

    /// How far from the record before it a time may lie.
    fn near(&self) -> Micros {
        NEAR.saturating_add(self.pace.saturating_mul(4))
    }

    /// The first record of all: believed, unless those behind it agree on another time.
    fn place_first(&mut self, claim: Claim<'_>, now: bool) -> Option<Placed> {
        match claim.next {
            [first, second, ..]
                if first.abs_diff(claim.captured) > self.near() as u64 && first.abs_diff(*second) <= NEAR as u64 =>
            {
                Some(Placed { key: *first, own: *first, far: true })
            }
            [_, _, ..] => Some(self.believe(claim.captured, claim.arrived)),
            _ => now.then(|| self.believe(claim.captured, claim.arrived)),
        }
    }

    fn take(&mut self, shift: Micros) {
        if shift != self.shift {
            self.former = self.shift;
            self.shift = shift;
        }
    }

    fn believe(&mut self, own: Micros, arrived: Instant) -> Placed {
        let believed = Last { own, key: self.latest().map_or(own, |latest| latest.max(own)), arrived };
        self.doubtful = None;
        if let Some(last) = self.last.replace(believed) {
            let step = own.saturating_sub(last.own).max(0);
            let passed = arrived.saturating_duration_since(last.arrived).as_micros();
            self.doubtful = Some(last).filter(|_| step > NEAR && step as u128 > passed);
            // A long pause says little of the pace.
            self.pace += (step.min(self.pace.saturating_mul(4).saturating_add(NEAR)) - self.pace) / 8;
        }
        self.strays.clear();
        Placed { key: believed.key, own, far: false }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Micros = 1_700_000_000_000_000;
    const SECOND: Micros = 1_000_000;
    const YEAR_2100: Micros = 4_102_444_800_000_000;

    /// Places records that are all there at once.
    fn place_all(times: &[Micros]) -> (Vec<Placed>, Timeline) {
        let (mut timeline, arrived) = (Timeline::default(), Instant::now());
        let place = |n: usize| {
            let next = &times[n + 1..times.len().min(n + 1 + WITNESSES)];
            timeline.place(Claim { captured: times[n], arrived, next }, None, &[], true).unwrap()
        };
        ((0..times.len()).map(place).collect(), timeline)
    }

    fn steady(from: Micros, n: i64) -> impl Iterator<Item = Micros> {
        (0..n).map(move |i| from + i * 40_000)
    }

    #[test]
    fn one_time_far_away_stands_with_the_record_before_it_and_moves_no_other() {
        for stray in [YEAR_2100, 0, START - 3600 * SECOND, START + 3600 * SECOND] {
            for at in [0, 1, 50, 99] {
                let mut times: Vec<_> = steady(START, 100).collect();
                times.insert(at, stray);
                let (placed, _) = place_all(&times);
                let far: Vec<_> = (0..placed.len()).filter(|n| placed[*n].far).collect();
                assert_eq!(far, [at], "{stray}");
                assert!((START..START + 4 * SECOND).contains(&placed[at].key));
                assert!((0..placed.len()).all(|n| n == at || placed[n].key == times[n]));
            }
        }
    }

    #[test]
    fn a_camera_that_was_away_and_a_clock_that_was_never_set_are_followed_from_the_first_frame_on() {
        for from in [START + 3600 * SECOND, YEAR_2100] {
            let times: Vec<_> = steady(START, 50).chain(steady(from, 50)).collect();
            let (placed, _) = place_all(&times);
            assert!(placed.iter().zip(&times).all(|(placed, time)| placed.key == *time && !placed.far));
        }
        let times: Vec<_> = steady(0, 50).chain(steady(START, 50)).collect();
        assert!(place_all(&times).0.iter().zip(&times).all(|(placed, time)| placed.key == *time && !placed.far));
    }

    #[test]
    fn one_time_seconds_ahead_holds_up_what_it_passed_and_moves_nothing() {
        // Believed, as the pace was not known yet; when it was, those behind it were too far back.
        let ahead = START + 2_412_733;
        let times: Vec<_> = steady(START, 5).chain([ahead]).chain(steady(START + 200_000, 95)).collect();
        let (placed, timeline) = place_all(&times);
        assert!(placed.iter().zip(&times).all(|(placed, time)| placed.own == *time && !placed.far));
        assert!(placed[5..].iter().zip(&times[5..]).all(|(placed, time)| placed.key == ahead.max(*time)));
        assert_eq!(timeline.shift(), 0);
    }

    #[test]
    fn a_camera_of_one_frame_an_hour_is_believed() {
        let times: Vec<_> = (0..20).map(|n| START + n * 3600 * SECOND).collect();
        let (placed, _) = place_all(&times);
        // The last two have too few behind them.
        assert!(placed[..18].iter().all(|placed| !placed.far));
    }

    #[test]
    fn a_clock_that_was_put_back_goes_on_where_it_was() {
        let times: Vec<_> = steady(START, 50).chain(steady(START - 3600 * SECOND, 50)).collect();
        let (placed, timeline) = place_all(&times);
        assert!(placed.windows(2).all(|w| w[0].key <= w[1].key && w[1].key - w[0].key <= 40_000));
        assert!(placed.iter().all(|placed| !placed.far));
        assert_eq!(timeline.shift(), 3600 * SECOND + 49 * 40_000);
        // And forward again, as a daylight saving time that is not one: no hour is missing.
        let again: Vec<_> = times.iter().copied().chain(steady(START + 4 * SECOND, 50)).collect();
        let (placed, timeline) = place_all(&again);
        assert_eq!((timeline.shift(), placed[149].key), (0, again[149]));
    }

    #[test]
    fn a_live_pause_is_explained_by_the_clock_on_the_wall() {
        let (mut timeline, arrived) = (Timeline::default(), Instant::now());
        timeline.place(Claim { captured: START, arrived, next: &[] }, None, &[], true).unwrap();
        let hour = Claim { captured: START + 3600 * SECOND, arrived: arrived + Duration::from_secs(3600), next: &[] };
        assert_eq!(timeline.place(hour, None, &[], false).map(|placed| placed.far), Some(false));
        let leap = Claim { captured: START + 7300 * SECOND, ..hour };
        assert_eq!(timeline.clone().place(leap, None, &[], false), None, "those behind it have to be known");
        assert_eq!(timeline.place(leap, None, &[], true).map(|placed| placed.far), Some(true));
    }

    #[test]
    fn a_leap_is_followed_after_three_frames_though_none_behind_was_known() {
        let (mut timeline, arrived) = (Timeline::default(), Instant::now());
        let times: Vec<_> = steady(START, 10).chain(steady(START + 3600 * SECOND, 10)).collect();
        let place = |captured: &Micros| {
            timeline.place(Claim { captured: *captured, arrived, next: &[] }, None, &[], true).unwrap()
        };
        let placed: Vec<_> = times.iter().map(place).collect();
        let far: Vec<_> = (0..20).filter(|n| placed[*n].far).collect();
        assert_eq!(far, [10, 11]);
        assert_eq!(placed[19].key, times[19]);
    }

    #[test]
    fn a_second_partition_takes_the_shift_of_the_first() {
        let (mut timeline, arrived) = (Timeline::default(), Instant::now());
        timeline.place(Claim { captured: START, arrived, next: &[] }, None, &[], true).unwrap();
        let back = Claim { captured: START - 3600 * SECOND, arrived, next: &[] };
        let placed = timeline.place(back, None, &[3600 * SECOND + 7], false).unwrap();
        assert_eq!((placed.own, placed.far, timeline.shift()), (START + 7, false, 3600 * SECOND + 7));
    }

    proptest! {
        /// Whatever the times: each record gets a place, and none before its own time.
        #[test]
        fn any_times_are_placed(times in prop::collection::vec(any::<i64>(), 1..60)) {
            let (placed, _) = place_all(&times);
            prop_assert_eq!(placed.len(), times.len());
            prop_assert!(placed.iter().all(|placed| placed.own <= placed.key));
        }

        /// Few outliers, anywhere and of any size: none is lost, no other is doubted, and the time that they are near
        /// enough to hold up is short.
        #[test]
        fn few_outliers_move_no_other(
            outliers in prop::collection::btree_map(0usize..20, prop_oneof![
                any::<i64>(), Just(0), Just(YEAR_2100), START - 100 * SECOND..START + 100 * SECOND,
            ], 0..8),
        ) {
            let mut times = Vec::new();
            for (n, time) in steady(START, 100).enumerate() {
                times.push((time, false));
                // One in five at most.
                if let Some(outlier) = outliers.get(&(n / 5)).filter(|_| n % 5 == 4) {
                    times.push((*outlier, true));
                }
            }
            let all: Vec<_> = times.iter().map(|(time, _)| *time).collect();
            let (placed, _) = place_all(&all);
            let mut near = 0;
            for (placed, (time, outlier)) in placed.iter().zip(&times) {
                if *outlier {
                    near = near.max(if placed.far { 0 } else { placed.key });
                    prop_assert!(placed.key <= START + 16 * SECOND);
                } else {
                    prop_assert!(!placed.far);
                    prop_assert_eq!(placed.own, *time);
                    prop_assert!(placed.key <= near.max(*time));
                }
            }
        }
    }
}
