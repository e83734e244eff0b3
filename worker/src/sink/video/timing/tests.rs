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

/// Frames of a camera that has this pace in frames a second at each time in seconds, and how many of them begin a new file.
fn files_of(pace: impl Fn(f64) -> f64, seconds: f64) -> (usize, Timing) {
    let mut timing = Timing::begin(None, 0);
    let (mut files, mut slot, mut at) = (1, 1, 0.0);
    while at < seconds {
        at += 1.0 / pace(at);
        let time = (at * 1e6) as i64;
        let (decision, then) = timing.next(time, false, slot);
        timing = then;
        match decision {
            Decision::Show { repeats } => slot += u64::from(repeats) + 1,
            Decision::Skip => {}
            Decision::Gap => panic!("a gap at {at}"),
            Decision::Faster => {
                (files, slot) = (files + 1, 1);
                timing = Timing::begin(Some(&timing), time);
            }
        }
    }
    (files, timing)
}

/// As `frameRate.adaptive` raises it after Kafka was slow, or a camera finds its exposure at dawn.
#[test]
fn a_pace_that_rises_for_some_seconds_makes_one_more_file_at_most() {
    for (begins, at) in [(0.0, 12.0), (0.0, 5.0), (2.0, 10.0), (5.0, 12.0), (20.0, 15.0), (60.0, 7.5)] {
        for step in [1.5, 3.0, 6.0] {
            let pace = |time: f64| (at + ((time - begins).max(0.0)).floor() * step).min(30.0);
            let (files, timing) = files_of(pace, 120.0);
            assert_eq!(timing.rate(), Rate::per_second(30), "from {at} at {begins} s by {step}");
            assert!(files <= 2, "from {at} at {begins} s by {step}: {files} files");
        }
    }
}

#[test]
fn a_pace_that_rises_in_the_first_seconds_costs_no_frame() {
    let mut times = vec![0];
    while let Some(last) = times.last().copied().filter(|last| *last < 60_000_000) {
        times.push(last + 1_000_000 * 2 / (24 + 3 * (last / 1_000_000)).min(60));
    }
    let (count, begins) = (times.len() as u64, 1_700_000_000_000_000);
    let (shown, _, skipped, _, timing) = run(times.into_iter().map(|time| begins + time));
    assert_eq!((shown, skipped, timing.rate()), (count, 0, Rate::per_second(30)));
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
        // A slow camera's buffers hold as many seconds, not as many frames.
        let (backlog, burst) = (backlog.min(fps as usize / 2), burst.min(fps as usize / 2));
        let interval = 1e6 / f64::from(fps);
        let at = |n: usize| start + ((n - n % burst) as f64 * interval + jitter[n] * interval) as i64;
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
